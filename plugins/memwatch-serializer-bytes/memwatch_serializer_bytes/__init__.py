"""``bytes`` and ``bytearray``: their length in 8 bytes, little-endian, then ``capacity`` bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import Extent, Items, Layout, Serializer

HEADER = 8
LINE = 64
CAPACITY_MAX = 1 << 30


def default_capacity(length: int) -> int:
    """The length, rounded up so that header and content fill whole cache lines: 56, 120, 184, ..."""
    return -(-max(length + HEADER, LINE) // LINE) * LINE - HEADER


def _layout(value: bytes | bytearray, options: Mapping[str, Any]) -> Layout:
    kind: Literal["bytes", "bytearray"] = "bytes" if isinstance(value, bytes) else "bytearray"
    unknown = [name for name in options if name != "capacity"]
    if unknown:
        raise TypeError(f"unknown option {unknown[0]!r}: {kind} has capacity")
    capacity = options.get("capacity", default_capacity(len(value)))
    if not isinstance(capacity, int) or isinstance(capacity, bool):
        raise TypeError(f"capacity is a number of bytes, not {capacity!r}")
    if not 1 <= capacity <= CAPACITY_MAX:
        raise ValueError(f"capacity={capacity} is not between 1 and {CAPACITY_MAX}")
    _check(value, capacity)
    return Layout(kind, HEADER + capacity, {"capacity": capacity})


def _check(value: bytes | bytearray, capacity: int) -> None:
    if len(value) > capacity:
        raise ValueError(
            f"{len(value)} bytes don't fit into a capacity of {capacity}: watch(..., capacity={len(value)})"
        )


def _encode(value: bytes | bytearray, options: Mapping[str, Any]) -> bytes:
    if not isinstance(value, bytes | bytearray):
        raise TypeError(f"bytes or a bytearray is expected, not {type(value).__name__}")
    capacity: int = options["capacity"]
    _check(value, capacity)
    return len(value).to_bytes(HEADER, "little") + bytes(value).ljust(capacity, b"\0")


def _content(data: bytes) -> bytes:
    """The content by its length, as far as there are bytes."""
    return data[HEADER : HEADER + min(int.from_bytes(data[:HEADER], "little"), len(data))]


def _length(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _part(start: int, stop: int, options: Mapping[str, Any], before: bytes = b"", after: bytes = b"") -> Extent:
    """Bytes are counted as in the program; the length before them is ``len()``.

    A part reads like a slice assignment: if ``[0:6]`` becomes two bytes, all six were replaced and the length is two.
    So a part that changes the length is as wide as the longer of the two values. Bytes that weren't part of the value
    before the store aren't shown: they are left over from an earlier, longer value.
    """
    if stop <= HEADER:
        return Extent("len()", 0, HEADER, _length)
    first, last = max(start - HEADER, 0), stop - HEADER
    capacity = options.get("capacity", last)
    old, new = (min(_length(head), capacity) if before else last for head in (before, after))
    if start >= HEADER:
        held = max(0, old - first)
        older = (lambda data: bytes(data[:held])) if held < last - first else None
        return Extent(f"[{first}:{last}]", start, stop, bytes, older)
    end = min(old, last) if old == new else max(old, new)
    return Extent(f"[0:{end}]", 0, max(stop, HEADER + end), _content)


def _items(options: Mapping[str, Any]) -> Items:
    return Items(HEADER, "B")


@hookimpl
def memwatch_serializers() -> Iterator[Serializer]:
    """Two serializers, which differ in the type that they return."""
    yield Serializer(
        name="bytes",
        summary="bytes, up to a capacity",
        accepts=lambda value: type(value) is bytes,
        layout=_layout,
        encode=_encode,
        decode=lambda data, options: _content(data),
        part=_part,
        head=HEADER,
        items=_items,
    )
    yield Serializer(
        name="bytearray",
        summary="bytearray, up to a capacity",
        accepts=lambda value: type(value) is bytearray,
        layout=_layout,
        encode=_encode,
        decode=lambda data, options: bytearray(_content(data)),
        part=_part,
        head=HEADER,
        items=_items,
    )
