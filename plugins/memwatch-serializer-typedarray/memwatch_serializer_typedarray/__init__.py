"""``typedarray``: JavaScript's buffer-backed values, little-endian, as Node's adapter stores them. Only for reading."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Literal

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import Extent, Items, Layout, Serializer

Format = Literal["b", "B", "e", "h", "H", "i", "I", "q", "Q", "f", "d"]
FORMATS: Mapping[str, Format] = {
    "Int8Array": "b",
    "Uint8Array": "B",
    "Uint8ClampedArray": "B",
    "Float16Array": "e",
    "Int16Array": "h",
    "Uint16Array": "H",
    "Int32Array": "i",
    "Uint32Array": "I",
    "BigInt64Array": "q",
    "BigUint64Array": "Q",
    "Float32Array": "f",
    "Float64Array": "d",
}
"""Class -> struct format of one element. Other classes (Buffer, DataView, ArrayBuffer) are bytes."""


def _format(options: Mapping[str, Any]) -> str | None:
    kind = options.get("class")
    return FORMATS.get(kind) if isinstance(kind, str) else None


def _decode(data: bytes, options: Mapping[str, Any]) -> Any:
    form = _format(options)
    if form is None:
        return data
    if form == "e":  # memoryview can't cast to it
        return [number for (number,) in struct.iter_unpack("<e", data)]
    view: Any = memoryview(data)
    return view.cast(form).tolist()


def _part(start: int, stop: int, options: Mapping[str, Any]) -> Extent:
    """The elements that contain the bytes; for a class without elements, the bytes."""
    form = _format(options)
    if form is None:
        return Extent(f"[{start}:{stop}]", start, stop, bytes)
    size = struct.calcsize(form)
    first, last = start // size, -(-stop // size)
    if last - first == 1:
        return Extent(f"[{first}]", first * size, last * size, partial(_first, f"<{form}"))
    return Extent(f"[{first}:{last}]", first * size, last * size, lambda data: _decode(data, options))


def _items(options: Mapping[str, Any]) -> Items:
    """The elements; of a class without elements, bytes."""
    return Items(0, _format(options) or "B")


def _first(form: str, data: bytes) -> Any:
    return struct.unpack(form, data)[0]


def _encode(value: Any, options: Mapping[str, Any]) -> bytes:
    raise TypeError("typed arrays are watched in Node.js, by the npm package @memwatch/node")


def _layout(value: Any, options: Mapping[str, Any]) -> Layout:
    raise TypeError("typed arrays are watched in Node.js, by the npm package @memwatch/node")


@hookimpl
def memwatch_serializers() -> Iterator[Serializer]:
    """One serializer, for all classes."""
    yield Serializer(
        name="typedarray",
        summary="typed arrays of Node.js (read only)",
        accepts=lambda value: False,
        layout=_layout,
        encode=_encode,
        decode=_decode,
        part=_part,
        items=_items,
    )
