"""Threads: no update lost, each event with its thread's id, names in the journal, threading left as it was."""

from __future__ import annotations

import struct
import sys
import threading
from pathlib import Path
from typing import Any

import journals
import numpy as np
import pytest
from journals import Opened

from memwatch_core import config
from memwatch_core.adapter import process
from memwatch_core.adapter.watch import variable, watch
from memwatch_core.journal.session import create_session

THREADS, TIMES = 4, 100_000


def run_together(count: int, function: Any) -> list[threading.Thread]:
    """`count` threads that all start function(i) at the same moment, with a short switch interval; joined."""
    barrier = threading.Barrier(count)

    def body(i: int) -> None:
        barrier.wait()
        function(i)

    threads = [threading.Thread(target=body, args=(i,), name=f"worker-{i}") for i in range(count)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    return threads


def chain(path: Path, number: int) -> list[tuple[int, int, int]]:
    """(tid, old, new) of each event of an int, in journal order."""
    data = path.read_bytes()
    slots = struct.unpack_from("<Q", data, 128)[0]
    found = []
    for word, tid, _, variable_id, _, _, _, _, old, new in struct.iter_unpack(
        "<IIQIIIIIqq12x", data[4096 : 4096 + 64 * slots]
    ):
        if word & 255 == journals.STORE and variable_id == number:
            found.append((tid, old, new))
    return found


def test_four_threads_through_one_proxy_lose_no_update(journal: Opened) -> None:
    p = watch(0)

    def add(_: int) -> None:
        nonlocal p
        for _ in range(TIMES):
            p += 1

    threads = run_together(THREADS, add)
    assert p == THREADS * TIMES
    events = chain(journal.path, variable(p).id)
    assert len(events) == THREADS * TIMES
    assert [(old, new) for _, old, new in events] == [(n, n + 1) for n in range(THREADS * TIMES)]
    counts = {thread.native_id: 0 for thread in threads}
    for tid, _, _ in events:
        counts[tid] += 1
    assert set(counts.values()) == {TIMES}


def test_big_operands_and_bytearrays_lose_no_update_either(journal: Opened) -> None:
    p, b = watch(0), watch(bytearray(), capacity=4000)

    def work(i: int) -> None:
        nonlocal p, b
        for _ in range(500):
            p += True  # not exactly an int: the general way
            b.append(i)
            b += bytes([i])

    run_together(THREADS, work)
    assert p == THREADS * 500
    assert len(b) == THREADS * 1000
    assert [b.count(i) for i in range(THREADS)] == [1000] * THREADS


def test_stores_of_threads_without_the_lock_name_their_own_lines(journal: Opened) -> None:
    big = watch(bytearray(8 * 4096))
    views = [np.frombuffer(big, dtype=np.float64)[512 * i : 512 * (i + 1)] for i in range(THREADS)]
    functions = []
    for i in range(THREADS):
        names: dict[str, Any] = {"np": np}
        source = "\n" * (10 * i) + f"def w{i}(a):\n for n in range(40): np.sqrt(a, out=a)"
        exec(compile(source, f"w{i}.py", "exec"), names)
        functions.append(names[f"w{i}"])
    threads = run_together(THREADS, lambda i: functions[i](views[i]))
    own = {thread.native_id: i for i, thread in enumerate(threads)}
    stores = journal.stores(big)
    assert len(stores) >= THREADS * 40
    for store in stores:
        i = own[store.tid]
        assert (store.file, store.function, store.line) == (f"w{i}.py", f"w{i}", 10 * i + 2)
        assert (store.offset - 8) // 4096 == i


def test_announced_writes_and_stores_of_one_page_are_in_one_order(journal: Opened) -> None:
    p = watch(0)
    view = memoryview(p).cast("B").cast("q")

    def work(i: int) -> None:
        nonlocal p
        for n in range(3000):
            if i % 2:
                p += 1
            else:
                view[0] = n

    run_together(THREADS, work)
    events = chain(journal.path, variable(p).id)
    assert len(events) == THREADS * 3000
    last = 0
    for _, old, new in events:
        assert old == last
        last = new
    assert p == last


# ---- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("watched", ["before", "after"])
def test_names_of_threads_reach_the_journal(tmp_path: Path, watched: str) -> None:
    """Those that are told before anything is watched too: the journal is made only then."""
    started, go = threading.Event(), threading.Event()
    ids: dict[str, int] = {}

    def early() -> None:
        ids["early"] = threading.get_native_id()
        started.set()
        go.wait(20)

    before = threading.Thread(target=early, name="was there before")
    before.start()
    started.wait(20)
    opened = process.open_journal(create_session(tmp_path, []), config.load())
    try:
        values = [watch(1)] if watched == "before" else []

        def late() -> None:
            ids["late"] = threading.get_native_id()
            threading.current_thread().name = "renamed €"

        after = threading.Thread(target=late, name="came later")
        after.start()
        after.join()
        go.set()
        before.join()
        assert opened.path.exists() == (watched == "before")
        values.append(watch(2))
        names = journals.read(opened.path).threads
    finally:
        process.close_journal()
    assert (threading.get_native_id(), "MainThread") in names
    assert (ids["early"], "was there before") in names
    assert (ids["late"], "renamed €") in names
    if watched == "before":
        assert names.index((ids["late"], "came later")) < names.index((ids["late"], "renamed €"))


def test_threading_is_as_it_was_after_close(tmp_path: Path) -> None:
    before = (threading.Thread._set_native_id, vars(threading.Thread)["name"])  # type: ignore[attr-defined]
    for i in range(3):
        process.open_journal(create_session(tmp_path / str(i), []), config.load())
        assert before[0] is not threading.Thread._set_native_id  # type: ignore[attr-defined]
        process.close_journal()
        now = (threading.Thread._set_native_id, vars(threading.Thread)["name"])  # type: ignore[attr-defined]
        assert now == before


@pytest.mark.parametrize("name", ["x" * 1000, "é" * 200, "\ud800"])
def test_odd_names_do_not_break_a_thread(journal: Opened, name: str) -> None:
    ran = []
    thread = threading.Thread(target=lambda: ran.append(1), name=name)
    thread.start()
    thread.join()
    assert ran
    assert all(len(text.encode()) <= 255 for _, text in journal.read().threads)
