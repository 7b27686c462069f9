"""A program for the tests of breaks: watched values of each kind, and each way to write to them.

A way is a function that writes once to what it is given, on the line that says ``WRITES``, and goes on with lines of no
meaning, in which a store that faulted may be noticed.
"""

from __future__ import annotations

import ctypes
import heapq
import io
import os
import struct
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

from memwatch_core import watch, watch_place

Way = Callable[[Any], None]


class Slots:
    __slots__ = ("qty",)


class Plain:
    limit = 1


# ---- ways: they write `bad`, which is 7, or what holds a 7 -----------------------------------------------------------


def value(x: Any) -> None:
    x.value = 7  # WRITES
    after = 1
    after += 1


def add(x: Any) -> None:
    x += 6  # WRITES
    after = 1
    after += 1


def from_c(x: Any) -> None:
    setattr(x, "value", 7)  # noqa: B010 WRITES
    after = 1
    after += 1


def view(x: Any) -> None:
    memory = memoryview(x)
    memory[()] = 7  # WRITES
    after = 1
    after += 1


def view_bytes(x: Any) -> None:
    memory = memoryview(x).cast("B")
    memory[0:4] = b"\x07\0\0\0"  # WRITES
    after = 1
    after += 1


def packed(x: Any) -> None:
    struct.pack_into("<q", x, 0, 7)  # WRITES
    after = 1
    after += 1


def memmove(x: Any) -> None:
    there = (ctypes.c_char * 8).from_buffer(x)
    ctypes.memmove(there, struct.pack("<q", 7), 8)  # WRITES
    after = 1
    after += 1


def numpy_item(x: Any) -> None:
    import numpy

    array = numpy.asarray(x)
    array[()] = 7  # WRITES
    after = 1
    after += 1


def numpy_ufunc(x: Any) -> None:
    import numpy

    array = numpy.asarray(x)
    numpy.add(array, 6, out=array)  # WRITES
    after = 1
    after += 1


def readinto(x: Any) -> None:
    reader, writer = os.pipe()
    os.write(writer, struct.pack("<q", 7))
    with open(reader, "rb", buffering=0) as file:
        file.readinto(memoryview(x).cast("B"))  # WRITES
        after = 1
        after += 1
    os.close(writer)


def bytes_readinto(x: Any) -> None:
    io.BytesIO(struct.pack("<q", 7)).readinto(memoryview(x).cast("B"))  # WRITES
    after = 1
    after += 1


def field(x: Any) -> None:
    x.qty = 7  # WRITES
    after = 1
    after += 1


def field_by_index(x: Any) -> None:
    x[0] = 7  # WRITES
    after = 1
    after += 1


def object_setattr(x: Any) -> None:
    object.__setattr__(x, "qty", 7)  # WRITES
    after = 1
    after += 1


def through_vars(x: Any) -> None:
    vars(x)["qty"] = 7  # WRITES
    after = 1
    after += 1


def key(x: Any) -> None:
    x["qty"] = 7  # WRITES
    after = 1
    after += 1


def update(x: Any) -> None:
    x.update(qty=7)  # WRITES
    after = 1
    after += 1


def setdefault(x: Any) -> None:
    del x["qty"]
    x.setdefault("qty", 7)  # WRITES
    after = 1
    after += 1


def item(x: Any) -> None:
    x[1] = 7  # WRITES
    after = 1
    after += 1


def append(x: Any) -> None:
    x.append(7)  # WRITES
    after = 1
    after += 1


def heap(x: Any) -> None:
    heapq.heapreplace(x, 7)  # WRITES
    after = 1
    after += 1


def member(x: Any) -> None:
    x.add(7)  # WRITES
    after = 1
    after += 1


def class_attribute(x: Any) -> None:
    x.limit = 7  # WRITES
    after = 1
    after += 1


def whole_bytes(x: Any) -> None:
    x.value = b"\x07"  # WRITES
    after = 1
    after += 1


def one_byte(x: Any) -> None:
    x[0] = 7  # WRITES
    after = 1
    after += 1


def byte_of_view(x: Any) -> None:
    memory = memoryview(x)
    memory[0] = 7  # WRITES
    after = 1
    after += 1


def _global(x: ModuleType) -> None:
    x.qty = 7  # type: ignore[attr-defined] # WRITES
    after = 1
    after += 1


NUMBER = "new == 7"
CASES: dict[str, tuple[Callable[..., Any], str, tuple[Way, ...]]] = {
    "int": (
        lambda **asked: watch(1, name="x", **asked),
        NUMBER,
        (value, add, from_c, view, view_bytes, packed, memmove, numpy_item, numpy_ufunc, readinto, bytes_readinto),
    ),
    "float": (
        lambda **asked: watch(1.0, name="x", **asked),
        NUMBER,
        (value, add, from_c, view, numpy_item, numpy_ufunc),
    ),
    "struct": (
        lambda **asked: watch((1, 2.5), format="<qd", fields=["qty", "price"], name="x", **asked),
        "new.qty == 7 and new[1] == 2.5",
        (field, field_by_index, packed, memmove),
    ),
    "bytes": (lambda **asked: watch(b"a", capacity=8, name="x", **asked), "new == b'\\x07'", (whole_bytes,)),
    "bytearray": (
        lambda **asked: watch(bytearray(b"a"), capacity=8, name="x", **asked),
        "new == b'\\x07' and len(old) == 1",
        (whole_bytes, one_byte, byte_of_view),
    ),
    "attribute": (
        lambda **asked: watch(SimpleNamespace(qty=1), name="x", **asked),
        NUMBER,
        (field, object_setattr, through_vars),
    ),
    "slot": (lambda **asked: watch(_filled(Slots()), name="x", **asked), NUMBER, (field, object_setattr)),
    "key": (lambda **asked: watch({"qty": 1}, name="x", **asked), NUMBER, (key, update, setdefault)),
    "item": (lambda **asked: watch([0, 1, 2], name="x", **asked), NUMBER, (item, append, heap)),
    "member": (lambda **asked: watch({1, 2}, name="x", **asked), NUMBER, (member,)),
    "class attribute": (
        lambda **asked: watch(type("K", (Plain,), {"limit": 1}), name="x", **asked),
        NUMBER,
        (class_attribute,),
    ),
    "global": (lambda **asked: watch(_filled(ModuleType("m")), name="x", **asked), NUMBER, (_global,)),
    "place": (lambda **asked: _place({"qty": 1}, "qty", **asked), NUMBER, (key, update)),
    "attribute's place": (lambda **asked: _place(_filled(Plain()), "qty", **asked), NUMBER, (field, through_vars)),
}


def _filled(x: Any) -> Any:
    x.qty = 1
    return x


def _place(owner: Any, name: str, **asked: Any) -> Any:
    watch_place(owner, name, name="x", **asked)
    return owner


def lines_of(way: Way) -> tuple[int, int]:
    """The line that writes, and the last one of the function."""
    import inspect

    text, first = inspect.getsourcelines(way)
    return first + next(i for i, line in enumerate(text) if "WRITES" in line), first + len(text) - 1
