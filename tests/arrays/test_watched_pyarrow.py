"""Buffers of Arrow in watched memory."""

from __future__ import annotations

import gc
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import memwatch_serializer_pyarrow
import numpy as np
import pytest

from memwatch_core import unwatch, watch
from memwatch_core.adapter.watch import variable
from memwatch_core.errors import WatchError
from memwatch_core.native import core
from memwatch_core.records import Event, Lost
from memwatch_plugins.testing.sessions import RealSession, real_session

pa = pytest.importorskip("pyarrow", reason="pyarrow isn't installed: make soak brings it")

SERIALIZERS = memwatch_serializer_pyarrow.memwatch_serializers()


@pytest.fixture
def session(tmp_path: Path) -> Iterator[RealSession]:
    with real_session(tmp_path, serializers=SERIALIZERS) as opened:
        yield opened


def told(session: RealSession) -> list[tuple[str, Any]]:
    records = session.records()
    assert not [record for record in records if isinstance(record, Lost)]
    return [(f"{e.variable}{e.part.name}", e.part.new) for e in records if isinstance(e, Event) and e.part]


def test_stores_of_all_who_have_the_buffer_are_seen(session: RealSession) -> None:
    b = watch(pa.py_buffer(bytearray(64)))
    array = pa.Array.from_buffers(pa.float64(), 8, [None, b])
    memoryview(b)[3] = 7
    np.frombuffer(b, "f8")[2] = 1.5
    pa.FixedSizeBufferWriter(b).write(b"ab")
    assert array[2].as_py() == 1.5
    events = told(session)
    assert events[0] == ("b[3]", 7)
    assert events[1] == ("b[16:24]", [0, 0, 0, 0, 0, 0, 0xF8, 0x3F])
    assert {name for name, _ in events[2:]} <= {"b[0]", "b[1]", "b[0:2]"}
    assert b.to_pybytes()[:2] == b"ab"


@pytest.mark.parametrize("make", [lambda: pa.py_buffer(bytearray(b"abc")), lambda: pa.allocate_buffer(5000)])
def test_buffer_is_of_its_type_and_has_its_bytes(make: Any, session: RealSession) -> None:
    before = core.stats().pages
    plain = make()
    memoryview(plain).cast("B")[1] = 9
    b = watch(plain)
    assert (type(b), b.is_mutable) == (type(plain), True)
    assert b.equals(plain)
    assert variable(b).name == "b"
    assert variable(b.slice(1)).name == "b"
    with pytest.raises(WatchError, match="watched memory already"):
        watch(b, name="c")
    c = unwatch(b)
    assert c.equals(plain)
    assert c.is_mutable
    del b
    gc.collect()
    assert core.stats().pages <= before
    assert memwatch_serializer_pyarrow._known == {}


def test_memory_lives_as_long_as_an_array_over_it(session: RealSession) -> None:
    array = pa.Array.from_buffers(pa.uint8(), 4, [None, watch(pa.py_buffer(bytearray(4)), name="b")])
    gc.collect()
    np.frombuffer(array.buffers()[1], "u1").view()
    assert array.to_pylist() == [0, 0, 0, 0]
    assert len(memwatch_serializer_pyarrow._known) == 1
    del array
    gc.collect()
    assert memwatch_serializer_pyarrow._known == {}


REFUSED: dict[str, tuple[Any, str]] = {
    "read-only": (lambda: pa.py_buffer(b"abc"), "can't be written to"),
    "a slice": (lambda: pa.py_buffer(bytearray(8)).slice(4), "can't be written to"),
    "resizable": (lambda: pa.allocate_buffer(8, resizable=True), "moves its memory"),
    "empty": (lambda: pa.allocate_buffer(0), "no bytes"),
    "an array": (lambda: pa.array([1, 2]), "immutable"),
    "chunks": (lambda: pa.chunked_array([[1, 2]]), "immutable"),
    "a table": (lambda: pa.table({"a": [1]}), "Table of pyarrow is immutable"),
    "a scalar": (lambda: pa.scalar(1), "immutable"),
}


@pytest.mark.parametrize(("make", "why"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_watched_says_why(make: Any, why: str, session: RealSession) -> None:
    value = make()
    with pytest.raises(WatchError, match=why):
        watch(value, name="b")


@pytest.mark.parametrize("kind", ["DataFrame", "LazyFrame", "Series"])
def test_polars_is_immutable(kind: str, session: RealSession) -> None:
    polars: types.ModuleType = pytest.importorskip("polars", reason="polars isn't installed: make soak brings it")
    value = getattr(polars, kind)([1, 2] if kind == "Series" else {"a": [1, 2]})
    with pytest.raises(WatchError, match=f"{kind} of polars is immutable"):
        watch(value, name="frame")
