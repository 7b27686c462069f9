"""Memory of arrays that is watched where it lies, and that its owner does away with: the watch ends with a record that
names the line, and what has the memory next is whole."""

from __future__ import annotations

import array
import ctypes
import mmap
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memwatch_core.native import core
from memwatch_core.records import Event, Lost, Record, Unwatched
from memwatch_plugins.testing.sessions import real_session

PAGE = 4096
SIZE = 3 << 20
MAPPED, HEAP = 1 << 17, 1 << 30
"""From how many bytes on a block has a mapping of its own; a block of the heap has neighbours on its pages."""
M_MMAP_THRESHOLD = -3
lib, ffi = core.lib, core.ffi


@pytest.fixture(autouse=True)
def threshold(request: pytest.FixtureRequest) -> Iterator[None]:
    """Left to itself, it grows with the blocks that are freed."""
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, getattr(request, "param", MAPPED))
    yield
    libc.mallopt(M_MMAP_THRESHOLD, MAPPED)


def adopt(address: int, size: int) -> int:
    """Watches the pages on which bytes lie, where they lie."""
    start = address & -PAGE
    pages = ffi.cast("void *", start)
    ident = lib.mw_register_page(pages, -(-(address + size - start) // PAGE) * PAGE, core.TRACK_THREADS, (0, 2**64 - 1))
    assert ident > 0, core.explain(ident)
    return int(ident)


def address_of(value: Any) -> int:
    return int(np.frombuffer(value, "u1").__array_interface__["data"][0])


def line() -> int:
    return sys._getframe(1).f_lineno


def ended(records: list[Record]) -> list[tuple[str, str, int]]:
    assert not [record for record in records if isinstance(record, Lost)]
    return [
        (record.why, record.target, record.site.line if record.site is not None else 0)
        for record in records
        if isinstance(record, Unwatched)
    ]


def events(records: list[Record], first: int = 0, size: int = 1 << 32) -> int:
    """Of stores to so many bytes of what is watched."""
    return len([record for record in records if isinstance(record, Event) and 0 <= record.offset - first < size])


def test_array_that_is_dropped_ends_its_watch_at_the_line(tmp_path: Path) -> None:
    with real_session(tmp_path) as session:
        a = np.ones(SIZE // 8)
        adopt(address_of(a), a.nbytes)
        a[5] = 7
        del a; where = line()  # fmt: skip
        records = session.records()
    assert ended(records) == [("released", "free", where)]
    assert events(records) == 1


@pytest.mark.parametrize("factor", [0.4, 0.999, 2, 50])
def test_array_that_is_resized_keeps_its_values_and_ends_its_watch(factor: float, tmp_path: Path) -> None:
    with real_session(tmp_path) as session:
        a = np.arange(SIZE // 8, dtype=float)
        adopt(address_of(a), a.nbytes)
        a[5] = 7
        n = int(len(a) * factor)
        a.resize(n, refcheck=False); where = line()  # fmt: skip
        a[9] = 8
        a[-1] = 9
        records = session.records()
    assert ended(records) == [("released", "realloc", where)]
    assert events(records) == 1
    assert (a[5], a[9], a[-1], a[100], len(a)) == (7, 8, 9, 100, n)
    kept = min(n, SIZE // 8) - 1
    assert (a[200:kept] == np.arange(200, kept)).all()


def grow_array() -> tuple[Any, Callable[[Any], None], str]:
    return array.array("d", [0.0]) * (SIZE // 8), lambda a: a.extend([1.0] * (SIZE // 4)), "realloc"


def shrink_array() -> tuple[Any, Callable[[Any], None], str]:
    def cut(a: Any) -> None:
        del a[100:]

    return array.array("d", [0.0]) * (SIZE // 8), cut, "realloc"


def grow_bytearray() -> tuple[Any, Callable[[Any], None], str]:
    return bytearray(SIZE), lambda a: a.extend(bytes(2 * SIZE)), "realloc"


def close_mmap() -> tuple[Any, Callable[[Any], None], str]:
    return anonymous(), lambda a: a.close(), "munmap"


def resize_mmap() -> tuple[Any, Callable[[Any], None], str]:
    return anonymous(), lambda a: a.resize(2 * SIZE), "mremap"


def advise_mmap() -> tuple[Any, Callable[[Any], None], str]:
    return anonymous(), lambda a: a.madvise(mmap.MADV_DONTNEED), "madvise"


def anonymous() -> mmap.mmap:
    made = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    made[:] = bytes([3]) * SIZE
    return made


WAYS = (grow_array, shrink_array, grow_bytearray, close_mmap, resize_mmap, advise_mmap)


@pytest.mark.parametrize("threshold", [MAPPED, HEAP], indirect=True, ids=["mapped", "heap"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_owner_that_does_away_with_its_memory_ends_its_watch(
    way: Callable[[], tuple[Any, Callable[[Any], None], str]], tmp_path: Path
) -> None:
    with real_session(tmp_path) as session:
        owner, change, call = way()
        other = way()[0]
        at = address_of(owner)
        adopt(at, SIZE)
        owner[5] = 7
        change(owner)
        change(other)
        if call != "munmap":
            assert owner[:5] == other[:5]
            assert call == "madvise" or owner[5] == 7
            owner[6] = 1
        records = session.records()
    assert [(why, target) for why, target, _ in ended(records)] == [("released", call)]
    assert events(records, at % PAGE, SIZE) == 1


def test_what_is_read_into_the_next_array_at_the_same_place_arrives(tmp_path: Path) -> None:
    data = os.urandom(SIZE)
    (tmp_path / "data").write_bytes(data)
    with real_session(tmp_path) as session:
        a = np.ones(SIZE, "u1")
        place = address_of(a)
        adopt(place, a.nbytes)
        del a
        following = [np.zeros(SIZE, "u1") for _ in range(3)]
        with (tmp_path / "data").open("rb", buffering=0) as file:
            for b in following:
                file.seek(0)
                assert file.readinto(b) == SIZE
        records = session.records()
    assert place in [address_of(b) for b in following]
    assert all(b.tobytes() == data for b in following)
    assert not events(records)


def test_ctypes_buffer_that_is_freed_ends_its_watch(tmp_path: Path) -> None:
    with real_session(tmp_path) as session:
        made = ctypes.create_string_buffer(SIZE)
        adopt(ctypes.addressof(made), SIZE)
        made[5] = b"x"
        ctypes.memmove(made, b"abc", 3)
        del made
        records = session.records()
    assert [(why, target) for why, target, _ in ended(records)] == [("released", "free")]
    assert events(records) >= 2


def test_array_that_is_unwatched_is_the_array_it_was(tmp_path: Path) -> None:
    with real_session(tmp_path) as session:
        a = np.arange(SIZE // 8)
        view = a[10:20]
        ident = adopt(address_of(a), a.nbytes)
        a[:1000] += 1
        assert lib.mw_unregister_page(ident) == 0
        view += 5
        a.resize(SIZE, refcheck=False)
        records = session.records()
    assert ended(records) == [("", "", 0)]
    assert (a[0], a[9], a[10], a[SIZE // 8 - 1]) == (1, 10, 16, SIZE // 8 - 1)
