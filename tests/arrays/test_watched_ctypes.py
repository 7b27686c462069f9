"""Values of ctypes, and memoryviews, that lie in watched memory and stay what they are."""

from __future__ import annotations

import array
import ctypes
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import memwatch_serializer_ctypes
import pytest

from memwatch_core import unwatch, watch
from memwatch_core.adapter.watch import variable
from memwatch_core.errors import WatchError
from memwatch_core.native import core
from memwatch_core.records import Event, Lost
from memwatch_plugins.testing.sessions import RealSession, real_session

SERIALIZERS = memwatch_serializer_ctypes.memwatch_serializers()


class Point(ctypes.Structure):
    _fields_ = (
        ("x", ctypes.c_int),
        ("y", ctypes.c_double),
        ("tag", ctypes.c_char * 8),
        ("grid", ctypes.c_short * 3 * 2),
    )


class Point3(Point):
    _fields_ = (("z", ctypes.c_uint8),)


class Swapped(ctypes.BigEndianStructure):
    _fields_ = (("a", ctypes.c_uint32), ("b", ctypes.c_double), ("c", ctypes.c_int16))


class Either(ctypes.Union):
    _fields_ = (("i", ctypes.c_int), ("f", ctypes.c_float))


class Bits(ctypes.Structure):
    _fields_ = (("a", ctypes.c_int, 3), ("b", ctypes.c_int, 5))


class Linked(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("n", ctypes.c_int))


@pytest.fixture
def session(tmp_path: Path) -> Iterator[RealSession]:
    with real_session(tmp_path, serializers=SERIALIZERS) as opened:
        yield opened


def told(session: RealSession) -> list[tuple[str, Any, Any]]:
    records = session.records()
    assert not [record for record in records if isinstance(record, Lost)]
    events = [record for record in records if isinstance(record, Event)]
    return [(f"{e.variable}{e.part.name}", e.part.old, e.part.new) for e in events if e.part is not None]


def test_fields_and_elements_are_told(session: RealSession) -> None:
    p = watch(Point(1, 2.5))
    q = watch(Point3(1))
    s = watch(Swapped(1, 2, 3))
    many = watch((Point * 3)())
    p.x = 7
    p.grid[1][2] = 5
    q.z = 3
    s.a = 258
    s.c = -2
    many[2].y = 4.5
    inner = many[1]
    inner.x = 9
    ctypes.memmove(many, b"\1\0\0\0", 4)
    assert [change for change in told(session) if change[1] != change[2]] == [
        ("p.x", 1, 7), ("p.grid[1][2]", 0, 5), ("q.z", 0, 3), ("s.a", 1, 258), ("s.c", 3, -2),
        ("many[2].y", 0, 4.5), ("many[1].x", 0, 9), ("many[0].x", 0, 1),
    ]  # fmt: skip


def test_of_a_union_all_members_are_told(session: RealSession) -> None:
    u = watch(Either(5))
    u.f = 1.5
    ((name, old, new),) = told(session)
    assert (name, old["i"], new) == ("u", 5, {"i": 0x3FC00000, "f": 1.5})


VALUES: dict[str, Callable[[], Any]] = {
    "int": lambda: ctypes.c_int(5),
    "bool": lambda: ctypes.c_bool(True),
    "double": lambda: ctypes.c_double(0.5),
    "structure": lambda: Point(1, 2, b"abc"),
    "array": lambda: (ctypes.c_uint16 * 5)(1, 2, 3),
    "nested array": lambda: (ctypes.c_float * 3 * 2)(),
    "text": lambda: ctypes.create_string_buffer(b"abc", 20),
    "wide text": lambda: ctypes.create_unicode_buffer("abc", 20),
    "structures": lambda: (Point * 300)(),
    "nothing": lambda: (ctypes.c_int * 0)(),
    "bytes": lambda: memoryview(bytearray(b"abc")),
    "doubles": lambda: memoryview(bytearray(48)).cast("d", (2, 3)),
    "chars": lambda: memoryview(bytearray(b"abc")).cast("c"),
    "an array's": lambda: memoryview(array.array("i", [1, 2, 3])),
    "a part": lambda: memoryview(bytearray(range(10)))[2:9:2],
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_value_is_of_its_type_and_has_its_bytes(value: Callable[[], Any], session: RealSession) -> None:
    before = core.stats()
    plain, a = value(), watch(value(), name="a")
    assert type(a) is type(plain)
    assert bytes(memoryview(a)) == bytes(memoryview(plain))
    assert memoryview(a).format == memoryview(plain).format
    assert memoryview(a).shape == memoryview(plain).shape
    assert variable(a).name == "a"
    with pytest.raises(WatchError, match="watched memory already"):
        watch(a, name="b")
    b = unwatch(a)
    assert type(b) is type(plain)
    assert bytes(memoryview(b)) == bytes(memoryview(plain))
    del a
    gc.collect()
    assert core.stats().pages <= before.pages


def test_memory_lives_as_long_as_its_parts(session: RealSession) -> None:
    inner = watch((Point * 3)(), name="many")[1]
    gc.collect()
    inner.x = 5
    view = memoryview(watch((ctypes.c_int * 4)(), name="ints")).cast("B").cast("i")
    gc.collect()
    view[2] = 6
    assert told(session) == [("many[1].x", 0, 5), ("ints[2]", 0, 6)]


def test_memoryview_is_told_by_its_elements(session: RealSession) -> None:
    v = watch(memoryview(bytearray(16)).cast("i"))
    w = watch(memoryview(bytearray(48)).cast("d", (2, 3)))
    v[2] = 7
    w[1, 2] = 7.5
    v[2:][0] = 8
    assert told(session) == [("v[2]", 0, 7), ("w[1, 2]", 0, 7.5), ("v[2]", 7, 8)]


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a pointer": (lambda: ctypes.pointer(ctypes.c_int(5)), "pointer"),
    "a text elsewhere": (lambda: ctypes.c_char_p(b"a"), "pointer"),
    "a structure with one": (lambda: Linked(b"a", 1), "pointer"),
    "an array of them": (lambda: (ctypes.c_void_p * 3)(), "pointer"),
    "bits": (lambda: Bits(1, 2), "field of bits"),
    "a part": (lambda: (Point * 3)()[1], "part of another"),
    "a read-only view": (lambda: memoryview(b"abc"), "read-only"),
    "an array": (lambda: array.array("i", [1]), "watch a memoryview"),
    "another format": (lambda: memoryview(Point()), "none that a memoryview can be cast to"),
    "a function": (lambda: ctypes.CDLL(None).getpid, "pointer"),
}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_watched_says_why(value: Any, session: RealSession) -> None:
    make, why = value
    with pytest.raises(WatchError, match=why):
        watch(make(), name="a")


@pytest.mark.parametrize("value", ["ctypes", "memoryview"])
def test_unknown_options_are_refused(value: str, session: RealSession) -> None:
    with pytest.raises(WatchError, match="unknown option 'size'"):
        watch(VALUES["int" if value == "ctypes" else "bytes"](), size=5)
