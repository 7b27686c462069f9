"""The serializers of ctypes and of memoryviews keep the contract."""

from __future__ import annotations

import array
import ctypes
from typing import Any

import memwatch_serializer_ctypes
from hypothesis import strategies as st

from memwatch_plugins.testing.serializers import SerializerContract


class Point(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int), ("y", ctypes.c_double), ("tag", ctypes.c_char * 4), ("grid", ctypes.c_short * 3))


def plain(value: Any) -> Any:
    if isinstance(value, Point):
        return {"x": value.x, "y": value.y, "tag": bytes(value)[16:20].rstrip(b"\0"), "grid": list(value.grid)}
    return value if isinstance(value, dict | list) else memoryview(value).tolist()


class TestStructures(SerializerContract):
    plugin, name = memwatch_serializer_ctypes, "ctypes"
    values = st.binary(min_size=ctypes.sizeof(Point), max_size=ctypes.sizeof(Point)).map(Point.from_buffer_copy)
    refused = (ctypes.c_char_p(b"a"), ctypes.pointer(ctypes.c_int(5)), (Point * 2)()[1])
    foreign = (1.5, b"abc", memoryview(b"abc"), Point, None)

    def same(self, value: Any, back: Any) -> bool:
        return repr(plain(value)) == repr(plain(back))

    def write(self, watched: Any, value: Any) -> None:
        ctypes.memmove(ctypes.addressof(watched), bytes(value), ctypes.sizeof(watched))


class TestMemoryviews(SerializerContract):
    plugin, name = memwatch_serializer_ctypes, "memoryview"
    values = st.binary(min_size=24, max_size=24).map(lambda data: memoryview(bytearray(data)).cast("h", (3, 4)))
    refused = (memoryview(b"abc"), array.array("i", [1]))
    foreign = (1.5, b"abc", bytearray(b"abc"), ctypes.c_int(5), None)

    def same(self, value: Any, back: Any) -> bool:
        return bool(plain(value) == plain(back))

    def write(self, watched: Any, value: Any) -> None:
        watched.cast("B")[:] = value.cast("B")
