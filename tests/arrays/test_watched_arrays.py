"""``a = watch(a)`` of an array: the program has a plain ``numpy.ndarray`` and notices nothing."""

from __future__ import annotations

import copy
import ctypes
import gc
import json
import mmap
import multiprocessing.shared_memory
import os
import pickle
import subprocess
import sys
import textwrap
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import memwatch_serializer_ctypes
import memwatch_serializer_numpy
import numpy as np
import pytest

from memwatch_core import unwatch, watch
from memwatch_core.adapter.watch import variable
from memwatch_core.errors import ConditionError, MutationError, SessionError, WatchError
from memwatch_core.native import core
from memwatch_core.records import Event, Lost, Record, Unwatched, Watched
from memwatch_plugins.testing.sessions import RealSession, real_session

SERIALIZERS = memwatch_serializer_numpy.memwatch_serializers()
ORDERS = np.dtype([("qty", "i4"), ("price", "f8"), ("pos", "f4", (2,))], align=True)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[RealSession]:
    with real_session(tmp_path, serializers=SERIALIZERS) as opened:
        yield opened


def line() -> int:
    return sys._getframe(1).f_lineno


def told(records: list[Record]) -> list[tuple[str, Any, Any]]:
    assert not [record for record in records if isinstance(record, Lost)]
    return [
        (
            record.variable + (record.part.name if record.part else ""),
            record.part and record.part.old,
            record.part and record.part.new,
        )
        for record in records
        if isinstance(record, Event)
    ]


# ---- what the program has --------------------------------------------------------------------------------------------

VALUES: dict[str, Callable[[], Any]] = {
    "C": lambda: np.arange(24.0).reshape(2, 3, 4),
    "Fortran": lambda: np.asfortranarray(np.arange(24.0).reshape(4, 6)),
    "permuted": lambda: np.arange(24.0).reshape(2, 3, 4).transpose(1, 2, 0),
    "0-d": lambda: np.array(5, "i2"),
    "no elements": lambda: np.zeros((3, 0, 2), "c8"),
    "no bytes": lambda: np.zeros(4, "V0"),
    "one element": lambda: np.ones((1, 1)),
    "records": lambda: np.zeros(5, ORDERS),
    "other byte order": lambda: np.arange(5, dtype=">i4"),
    "times": lambda: np.arange(5).astype("M8[ms]"),
    "texts": lambda: np.array(["a", "bcd"]),
    "bools": lambda: np.array([True, False]),
    "longdouble": lambda: np.zeros(3, "g"),
    "metadata": lambda: np.zeros(3, np.dtype("f8", metadata={"unit": "m"})),
    "large": lambda: np.arange(100_000, dtype="f8").reshape(1000, 100),
    "one page exactly": lambda: np.zeros(512),
    "8 dimensions": lambda: np.zeros((2,) * 8, "u1"),
    "30 dimensions": lambda: np.zeros((1,) * 30),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_watched_array_is_the_array_that_it_was(value: Callable[[], Any], session: RealSession) -> None:
    plain = value()
    a = watch(value())
    assert type(a) is np.ndarray
    assert a.dtype == plain.dtype
    assert a.dtype.metadata == plain.dtype.metadata
    assert a.dtype.isalignedstruct == plain.dtype.isalignedstruct
    assert (a.shape, a.strides if a.size else ()) == (plain.shape, plain.strides if plain.size else ())
    for flag in ("c_contiguous", "f_contiguous", "writeable", "aligned"):
        assert getattr(a.flags, flag) == getattr(plain.flags, flag), flag
    assert a.tobytes("A") == plain.tobytes("A")
    assert repr(a) == repr(plain)
    if a.nbytes:
        a[...] = a.copy()
        assert len(told(session.records())) >= 1


STRIDED: dict[str, Callable[[], Any]] = {
    "every second": lambda: np.arange(24.0).reshape(4, 6)[:, ::2],
    "backwards": lambda: np.arange(24.0)[::-1],
    "a column": lambda: np.arange(24.0).reshape(4, 6)[:, 1],
    "a field": lambda: np.zeros(5, ORDERS)["price"],
    "imaginary parts": lambda: np.zeros(5, "c16").imag,
}


@pytest.mark.parametrize("value", STRIDED.values(), ids=STRIDED)
def test_view_with_gaps_is_laid_side_by_side(value: Callable[[], Any], session: RealSession) -> None:
    a = watch(value())
    assert (a == value()).all()
    assert a.strides == tuple(map(abs, value().copy(order="K").strides))
    assert a.flags.c_contiguous
    a.flat[0] = 5
    assert [change[2] for change in told(session.records())] == [5]


def test_stores_of_all_who_have_the_array_are_seen(session: RealSession) -> None:
    a = watch(np.zeros((3, 4)))
    view, flat, held = a[1:], a.ravel(), {"a": a}
    a[0, 1] = 1
    view[0, 2] = 2
    flat[11] = 3
    held["a"].T[0, 2] = 4
    memoryview(a)[1, 1] = 5.0
    assert told(session.records()) == [
        ("a[0, 1]", 0, 1), ("a[1, 2]", 0, 2), ("a[2, 3]", 0, 3), ("a[2, 0]", 0, 4), ("a[1, 1]", 0, 5)
    ]  # fmt: skip


def test_copies_are_plain(session: RealSession) -> None:
    a = watch(np.arange(5.0))
    for b in (
        a.copy(),
        copy.copy(a),
        copy.deepcopy(a),
        pickle.loads(pickle.dumps(a)),
        np.array(a),
        a + 0,
        a[[0, 1, 2, 3, 4]],
    ):
        assert type(b) is np.ndarray
        assert not np.shares_memory(a, b)
        b += 1
    assert told(session.records()) == []


def test_events_say_the_line_that_stored(session: RealSession) -> None:
    a = watch(np.zeros(4))
    a[1] = 5; first = line()  # fmt: skip
    np.add(a[:1], 1, out=a[:1]); second = line()  # fmt: skip
    events = [record for record in session.records() if isinstance(record, Event)]
    assert [event.site and event.site.line for event in events] == [first, second]


# ---- how it ends -----------------------------------------------------------------------------------------------------


def test_watch_ends_with_the_last_view_and_says_where(session: RealSession) -> None:
    a = watch(np.zeros((3, 4)))
    view = a[1:, 2:][0]
    kept = weakref.ref(a)
    del a
    gc.collect()
    view[0] = 5
    del view; here = line()  # fmt: skip
    assert kept() is None
    records = session.records()
    assert told(records) == [("a[1, 2]", 0, 5)]
    (end,) = (record for record in records if isinstance(record, Unwatched))
    assert (end.why, end.site and end.site.line) == ("deleted", here)


def test_rebinding_is_told_as_what_ended_the_watch(session: RealSession) -> None:
    a = watch(np.zeros(4))
    a = a + 1; here = line()  # fmt: skip
    a[0] = 9
    records = session.records()
    (end,) = (record for record in records if isinstance(record, Unwatched))
    assert (end.why, end.target, end.given, end.site and end.site.line) == ("rebound", "a", "computed", here)
    assert told(records) == []


def test_pages_are_given_back(session: RealSession) -> None:
    before = core.stats()
    for _ in range(50):
        a = watch(np.zeros(5000))
        a[0] = 1
        del a
    after = core.stats()
    assert (after.variables, after.pages) == (before.variables, before.pages)


def test_unwatched_array_is_plain_again(session: RealSession) -> None:
    a = watch(np.asfortranarray(np.arange(12.0).reshape(3, 4)))
    a[0, 0] = 7
    view = a[1:]
    b = unwatch(a)
    assert type(b) is np.ndarray
    assert b.flags.f_contiguous
    assert b.flags.owndata
    b[0, 1] = 5
    view[0, 0] = 6  # goes on, and is no event
    assert (a[1, 0], b[0, 0], b[1, 0]) == (6, 7, 4)
    records = session.records()
    assert told(records) == [("a[0, 0]", 0, 7)]
    assert [record.why for record in records if isinstance(record, Unwatched)] == ["unwatched"]
    with pytest.raises(SessionError):
        unwatch(a)


def test_view_can_be_unwatched_in_the_place_of_its_array(session: RealSession) -> None:
    a = watch(np.arange(12.0)).reshape(3, 4)[1:]
    b = unwatch(a)
    assert b.tolist() == [[4, 5, 6, 7], [8, 9, 10, 11]]
    assert b.flags.owndata


def test_array_outlives_its_session(tmp_path: Path) -> None:
    with real_session(tmp_path, serializers=SERIALIZERS) as session:
        a = watch(np.arange(5.0))
        session.leave()
        a[1] = 7
        assert a.tolist() == [0, 7, 2, 3, 4]
        assert unwatch(a).tolist() == [0, 7, 2, 3, 4]


def test_array_is_known_as_a_variable(session: RealSession) -> None:
    a = watch(np.zeros((3, 4), "f4"), name="frame")
    known = variable(a[1:])
    assert (known.name, known.size, known.serializer) == ("frame", 48, "numpy")
    assert known.options == {"dtype": "<f4", "shape": [3, 4], "strides": [16, 4]}
    with pytest.raises(TypeError):
        variable(np.zeros(3))


def test_journal_says_dtype_shape_and_strides(session: RealSession) -> None:
    watch(np.zeros(5, ORDERS), name="orders")
    (seen,) = (record for record in session.records() if isinstance(record, Watched))
    fields = [["qty", "<i4", 0], ["price", "<f8", 8], ["pos", ["<f4", [2]], 16]]
    assert seen.variable.options == {"dtype": {"fields": fields, "size": 24}, "shape": [5], "strides": [24]}
    assert seen.value == [{"qty": 0, "price": 0.0, "pos": [0.0, 0.0]}] * 5


def test_secret_array_shows_no_element(tmp_path: Path) -> None:
    with real_session(tmp_path, serializers=SERIALIZERS) as session:
        a = watch(np.zeros(4, "S12"), name="card", secret=True)
        a[1] = b"1234567890"
        data = session.bytes()
        events = session.events()
    assert b"1234" not in data
    assert {event.part and event.part.name for event in events} == {"[1]"}
    assert "1234" not in str(events)


def test_only_a_range_is_reported_if_that_is_asked_for(session: RealSession) -> None:
    a = watch(np.zeros(10), mutation_depth=(16, 32))
    a[1] = a[3] = a[4] = 5
    assert told(session.records()) == [("a[3]", 0, 5)]


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_forked_child_has_an_array_of_its_own(session: RealSession) -> None:
    a = watch(np.zeros(4))
    pid = os.fork()
    if pid == 0:
        a[1] = 5
        os._exit(0 if a.tolist() == [0, 5, 0, 0] else 1)
    assert os.waitpid(pid, 0)[1] == 0
    a[2] = 6
    assert a.tolist() == [0, 0, 6, 0]


# ---- what is refused -------------------------------------------------------------------------------------------------


def read_only() -> Any:
    value = np.zeros(4)
    value.flags.writeable = False
    return value


def mapped() -> Any:
    return np.frombuffer(mmap.mmap(-1, 4096), "f8")


def sparse() -> Any:
    return pytest.importorskip("scipy.sparse").csr_matrix([[1, 0]])


REFUSED: dict[str, tuple[Callable[[], Any], str, str]] = {
    "objects": (lambda: np.array([1, "a"], object), "references", "astype"),
    "a field of objects": (lambda: np.zeros(3, [("a", "O")]), "references", "astype"),
    "broadcast": (lambda: np.lib.stride_tricks.as_strided(np.zeros(3), (4, 3), (0, 8)), "stride 0", "copy()"),
    "overlapping": (lambda: np.lib.stride_tricks.as_strided(np.zeros(9), (4, 3), (8, 8)), "overlap", "copy()"),
    "read-only": (read_only, "read-only", "copy()"),
    "broadcast_to": (lambda: np.broadcast_to(np.zeros(3), (4, 3)), "stride 0", "copy()"),
    "broadcast_arrays": (lambda: np.broadcast_arrays(np.zeros(3), np.zeros((4, 3)))[0], "stride 0", "copy()"),
    "matrix": (lambda: np.matrix([[1.0]]), "matrix", "view(numpy.matrix)"),
    "masked": (lambda: np.ma.array([1.0], mask=[0]), "two arrays", "numpy.ma.array("),
    "recarray": (lambda: np.zeros(3, ORDERS).view(np.recarray), "recarray", "view(numpy.recarray)"),
    "memmap": (lambda: np.memmap("file", "u1", "w+", shape=(10,)), "file", ""),
    "of a mapping": (mapped, "mapping", "copy()"),
    "sparse": (sparse, "sparse", "m.data = watch(m.data)"),
}
if hasattr(np.dtypes, "StringDType"):
    REFUSED["strings elsewhere"] = lambda: np.array(["a"], np.dtypes.StringDType()), "elsewhere", "astype"


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_watched_says_why_and_what_to_do(
    value: Any, session: RealSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, why, remedy = value
    with pytest.raises(WatchError) as error:
        watch(make(), name="a")
    assert "'a' can't be watched" in str(error.value)
    assert why in str(error.value)
    assert remedy in str(error.value)


def test_shared_memory_is_refused(session: RealSession) -> None:
    shared = multiprocessing.shared_memory.SharedMemory(create=True, size=4096)
    try:
        a = np.ndarray(8, "f8", shared.buf)
        with pytest.raises(WatchError, match="mapping"):
            watch(a)
        del a
    finally:
        shared.close()
        shared.unlink()


@pytest.mark.parametrize("of", [lambda a: a, lambda a: a[1:], lambda a: a.T, lambda a: np.asarray(memoryview(a))])
def test_what_is_watched_already_is_refused(of: Callable[[Any], Any], session: RealSession) -> None:
    frame = watch(np.zeros((3, 4)))
    with pytest.raises(WatchError, match="watched memory already, that of 'frame'"):
        watch(of(frame), name="b")
    b = watch(frame.copy())
    b[0, 0] = 1
    assert len(told(session.records())) == 1


def test_unknown_options_are_refused(session: RealSession) -> None:
    with pytest.raises(WatchError, match="unknown option 'in_place'"):
        watch(np.zeros(3), in_place=True)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_remedy_for_a_matrix_gives_one_that_is_watched(session: RealSession) -> None:
    m = np.matrix([[1.0, 2.0]])
    m = watch(m.view(np.ndarray)).view(np.matrix)
    m[0, 1] = 5
    assert type(m) is np.matrix
    assert [change[1:] for change in told(session.records())] == [(2, 5)]


# ---- without numpy ---------------------------------------------------------------------------------------------------


def run(text: str, *arguments: str) -> str:
    code = textwrap.dedent(text)
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_program_without_numpy_imports_nothing_for_it(tmp_path: Path) -> None:
    out = run(
        """
        import os, sys
        os.chdir(sys.argv[1])
        from memwatch_core import watch
        total = watch(5)
        total += 1
        items = watch(bytearray(b"abc"))
        print([name for name in sys.modules if name.partition(".")[0] in ("numpy", "memwatch_serializer_numpy", "mmap")
               or name.startswith("memwatch_plugins.arrays")])
        """,
        str(tmp_path),
    )
    assert out.strip() == "['memwatch_serializer_numpy']"


def test_journal_is_read_without_numpy(tmp_path: Path) -> None:
    with real_session(tmp_path, serializers=SERIALIZERS) as session:
        a, orders = watch(np.zeros((3, 4), "f4")), watch(np.zeros(5, ORDERS))
        a[1, 2] = 0.1
        orders[3]["price"] = 4.5
        session.leave()
    out = run(
        """
        import sys
        sys.modules["numpy"] = None
        from pathlib import Path
        import memwatch_serializer_numpy
        from memwatch_core.host.decoder import JournalDecoder
        (journal,) = Path(sys.argv[1]).glob("*/*.mwj")
        serializers = {each.name: each for each in memwatch_serializer_numpy.memwatch_serializers()}
        decoder = JournalDecoder(journal, serializers)
        records = []
        while not decoder.ended:
            records += decoder.poll()
        import json
        print(json.dumps([[r.part.name, r.part.new, repr(r.part.new)] for r in records if type(r).__name__ == "Event"]))
        """,
        str(tmp_path),
    )
    assert json.loads(out) == [["[1, 2]", float(np.float32(0.1)), "0.1"], ["[3].price", 4.5, "4.5"]]


def test_array_without_the_plugin_names_it(tmp_path: Path) -> None:
    with real_session(tmp_path), pytest.raises(WatchError, match="pip install memwatch-serializer-numpy"):
        watch(np.zeros(3), name="a")


# ---- conditions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["i1", "u2", "i4", ">i4", "i8", "u8", "f4", "f8", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_condition_is_judged_of_each_element(dtype: str, order: Any, session: RealSession) -> None:
    met: list[tuple[str, Any, Any]] = []
    a = watch(
        np.full((3, 4), 5, dtype, order=order),
        when="new > 100",
        then=lambda hit: met.append((hit.path, hit.old, hit.new)),
    )
    a[0, 1] = 7
    a[1, 2] = 101
    a[:, 3] = [1, 120, 3]
    assert met == [("a[1, 2]", 5, 101), ("a[1, 3]", 5, 120)]


def test_condition_raises_at_the_line(session: RealSession) -> None:
    a = watch(np.zeros(4), when="new < 0", then="raise")
    a[1] = 5
    with pytest.raises(MutationError, match=r"a\[2\] 0\.0 → -1\.0 at .*test_watched_arrays"):
        a[2] = -1
    assert a[2] == -1


def test_values_of_records_are_not_judged_but_changes_are(session: RealSession) -> None:
    with pytest.raises(ConditionError, match="aren't compared"):
        watch(np.zeros(3, ORDERS), when="new < 0", then="raise", name="a")
    met: list[str] = []
    b = watch(np.zeros(3, ORDERS), when="changed", then=lambda hit: met.append(hit.path))
    b["price"][1] = 5
    assert met == ["b[1].price"]


@pytest.mark.parametrize(
    ("dtype", "index", "value", "said"),
    [
        ("M8[D]", 1, "2020-01-01", r"a\[1\] 1970-01-01 → 2020-01-01 at "),
        ("c16", 2, 2j, r"a\[2\]\.imag 0\.0 → 2\.0 at "),
        ("S3", 0, b"x", r"a\[0\] b'' → b'x' at "),
        ([("q", "i4"), ("r", "i4")], 1, (0, 5), r"a\[1\]\.r 0 → 5 at "),
    ],
    ids=str,
)
def test_change_of_what_is_not_compared_tells_the_part(
    dtype: Any, index: int, value: Any, said: str, session: RealSession
) -> None:
    a = watch(np.zeros(3, dtype), when="changed", then="raise")
    with pytest.raises(MutationError, match=said):
        a[index] = value
    assert a[index].item() == np.array(value, dtype).item()


def test_unwatched_array_and_its_views_can_be_watched_again(session: RealSession) -> None:
    a = watch(np.zeros(4))
    view = a[1:]
    unwatch(a)
    a[0] = 1
    again = watch(a)
    part = watch(view)
    again[0], part[0] = 2, 3
    assert told(session.records()) == [("again[0]", 1, 2), ("part[0]", 0, 3)]
    with pytest.raises(SessionError, match="the watch of 'a' has ended; its value is unchanged"):
        unwatch(a)


@pytest.mark.parametrize("through", [memoryview, (ctypes.c_double * 4).from_buffer, lambda a: memoryview(a)[1:]])
def test_what_lies_in_a_watched_array_is_no_other_value(through: Callable[[Any], Any], tmp_path: Path) -> None:
    serializers = [*SERIALIZERS, *memwatch_serializer_ctypes.memwatch_serializers()]
    with real_session(tmp_path, serializers=serializers) as session:
        a = watch(np.zeros(4))
        m = through(a)
        with pytest.raises(WatchError, match="'m' lies in watched memory already, that of 'a'"):
            m = watch(m)
        m[1] = 5
        assert len(session.events()) == 1
