"""``typedarray``: the buffer-backed values of JavaScript, little-endian, as Node's adapter keeps them. Reads only."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import Layout, Serializer

Format = Literal["b", "B", "h", "H", "i", "I", "q", "Q", "f", "d"]
FORMATS: Mapping[str, Format] = {
    "Int8Array": "b",
    "Uint8Array": "B",
    "Uint8ClampedArray": "B",
    "Int16Array": "h",
    "Uint16Array": "H",
    "Int32Array": "i",
    "Uint32Array": "I",
    "BigInt64Array": "q",
    "BigUint64Array": "Q",
    "Float32Array": "f",
    "Float64Array": "d",
}
"""Class -> format of the struct module, of one element. Any other class (Buffer, DataView, ArrayBuffer) is bytes."""


def _decode(data: bytes, options: Mapping[str, Any]) -> Any:
    kind = options.get("class")
    if kind == "Float16Array":  # memoryview has no cast to it
        return [number for (number,) in struct.iter_unpack("<e", data)]
    form = FORMATS.get(kind) if isinstance(kind, str) else None
    if form is None:
        return data
    view: Any = memoryview(data)
    return view.cast(form).tolist()


def _encode(value: Any, options: Mapping[str, Any]) -> bytes:
    raise TypeError("typed arrays are watched in Node.js, by the npm package @memwatch/node")


def _layout(value: Any, options: Mapping[str, Any]) -> Layout:
    raise TypeError("typed arrays are watched in Node.js, by the npm package @memwatch/node")


@hookimpl
def memwatch_serializers() -> Iterator[Serializer]:
    """One, for all classes."""
    yield Serializer(
        name="typedarray",
        summary="typed arrays of Node.js (read only)",
        accepts=lambda value: False,
        layout=_layout,
        encode=_encode,
        decode=_decode,
    )
