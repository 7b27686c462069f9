"""What a store costs: a watched one against a bare fault, registering, and code that has nothing to do with it."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.answers import answering
from benchmarks.table import Row, in_turn, median
from benchmarks.writing import writing_into
from memwatch_core import unwatch, watch
from memwatch_core.native import core

STORES = 20_000
PAGES = 5_000


def build(folder: str) -> Any:
    """store.c as a library."""
    library = Path(folder) / "store.so"
    source = Path(__file__).with_name("store.c")
    subprocess.run(["cc", "-D_GNU_SOURCE", "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.stores.argtypes, loaded.stores.restype = [ctypes.c_void_p, ctypes.c_uint64], ctypes.c_double
    loaded.bare_faults.argtypes, loaded.bare_faults.restype = [ctypes.c_uint64], ctypes.c_double
    loaded.registrations.restype = ctypes.c_double
    loaded.registrations.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64]
    return loaded


def register_pages(loaded: Any) -> float:
    """ns for each of PAGES registrations of pages that are allocated."""
    pages = (ctypes.c_void_p * PAGES)(
        *(int(core.ffi.cast("uintptr_t", core.lib.mw_page_alloc(1))) for _ in range(PAGES))
    )
    function = int(core.ffi.cast("uintptr_t", core.ffi.addressof(core.lib, "mw_register_page")))
    first = core.lib.mw_register_page(core.lib.mw_page_alloc(1), 4096, 3, (0, 2**64 - 1))
    each: float = loaded.registrations(function, pages, PAGES)
    for variable in range(first + 1, first + 1 + PAGES):
        core.lib.mw_unregister_page(variable)
    for page in pages:
        core.lib.mw_page_free(core.ffi.cast("void *", page), 1)
    return each


def watch_one(count: int = 2_000) -> float:
    """µs for each `watch(0)`."""
    kept = []
    start = time.perf_counter()
    for _ in range(count):
        kept.append(watch(0, name="x"))
    each = (time.perf_counter() - start) / count * 1e6
    for proxy in kept:
        unwatch(proxy)
    return each


WORK = """
import sys, time

if sys.argv[1:]:
    from memwatch_core import config, watch
    from memwatch_core.adapter import process
    from memwatch_core.journal.session import create_session
    process.open_journal(create_session(sys.argv[1], []), config.load())
    watched = watch(0, name="watched")

def work(n=200_000):  # attributes, lists, dictionaries, calls: nothing watched
    start = time.perf_counter()
    total, seen = 0, {}
    for i in range(n):
        seen[i & 255] = total
        total += len(seen) ^ i
    return time.perf_counter() - start

for line in sys.stdin:
    print(work() * 1e3, flush=True)
"""


def unwatched_work(folder: str) -> tuple[float, float, float]:
    """ms that ordinary code takes in a process that watches a value, and in one that never heard of us, in turn."""
    command = [sys.executable, "-c", WORK]
    with answering([*command, folder]) as ours, answering(command) as theirs:
        ours(""), theirs("")
        return in_turn(lambda: ours(""), lambda: theirs(""), times=41)


UNDER_QUEUE = """
import ctypes, sys
from memwatch_core import config, watch
from memwatch_core.adapter import process
from memwatch_core.journal.session import create_session
settings = config.load(overrides={"core": {"tracker": "uffd-queue"}})
process.open_journal(create_session(sys.argv[2], []), settings)
value = watch(0, name="value")
address = ctypes.addressof(ctypes.c_char.from_buffer(value))
loaded = ctypes.CDLL(sys.argv[1])
loaded.stores.argtypes, loaded.stores.restype = [ctypes.c_void_p, ctypes.c_uint64], ctypes.c_double
for line in sys.stdin:
    print(loaded.stores(address, 2_000), flush=True)
"""


def under_queue(loaded: Any, address: int, folder: str) -> list[Row]:
    """The same store under uffd-queue, where that can be had, against this process's tracker."""
    if core.probe_tracker("uffd-queue"):
        return []
    with answering([sys.executable, "-c", UNDER_QUEUE, loaded._name, folder]) as ask:
        ours, theirs, ratio = in_turn(lambda: ask(""), lambda: loaded.stores(address, STORES), 11)
    return [Row("store, under uffd-queue", ours / 1e3, "µs", core.tracker_name(), theirs / 1e3, pairwise=ratio)]


def rows() -> list[Row]:
    """All figures of this file, in one process."""
    with tempfile.TemporaryDirectory() as folder, writing_into(folder):
        loaded = build(folder)
        value = watch(0, name="value")
        buffer: Any = value
        address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        ours, theirs, ratio = in_turn(lambda: loaded.stores(address, STORES), lambda: loaded.bare_faults(STORES), 21)
        queue = under_queue(loaded, address, folder)
        registration = median(lambda: register_pages(loaded)) / 1e3
        each_watch = median(watch_one)
        work, plain, slower = unwatched_work(folder)
    return [
        Row(
            f"store, with journal and Python line ({core.tracker_name()})",
            ours / 1e3,
            "µs",
            "bare SIGSEGV and return",
            theirs / 1e3,
            1.3,
            ratio,
        ),
        *queue,
        Row("registering a page", registration, "µs", target=2),
        Row("watch(0)", each_watch, "µs", target=15),
        Row(
            "code that touches nothing watched",
            work,
            "ms",
            "the same without us",
            plain,
            1.02,
            slower,
        ),
    ]
