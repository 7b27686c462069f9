"""What a store costs: a watched one against a bare fault, registering, and code that has nothing to do with it."""

from __future__ import annotations

import ctypes
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.table import Row, alternate, median
from memwatch_core import session, unwatch, watch
from memwatch_core.native import core

STORES = 20_000
PAGES = 5_000


def build(folder: str) -> Any:
    """store.c as a library."""
    library = Path(folder) / "store.so"
    source = Path(__file__).with_name("store.c")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
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


def work(n: int = 300_000) -> float:
    """Seconds that ordinary code takes: attributes, lists, dictionaries, calls."""
    start = time.perf_counter()
    total, seen = 0, {}
    for i in range(n):
        seen[i & 255] = total
        total += len(seen) ^ i
    return time.perf_counter() - start


def rows() -> list[Row]:
    """All figures of this file, in one process."""
    before = [work() for _ in range(9)]
    with tempfile.TemporaryDirectory() as folder, session(folder=folder, sinks=[]):
        loaded = build(folder)
        value = watch(0, name="value")
        address = ctypes.addressof(ctypes.c_char.from_buffer(value))
        ours, theirs = alternate(lambda: loaded.stores(address, STORES), lambda: loaded.bare_faults(STORES))
        registration = median(lambda: register_pages(loaded)) / 1e3
        each_watch = median(watch_one)
        during = [work() for _ in range(9)]
    return [
        Row(
            f"store, with journal and Python line ({core.tracker_name()})",
            ours / 1e3,
            "µs",
            "bare SIGSEGV and return",
            theirs / 1e3,
            1.3,
        ),
        Row("registering a page", registration, "µs", target=2),
        Row("watch(0)", each_watch, "µs", target=15),
        Row(
            "code that touches nothing watched",
            statistics.median(during) * 1e3,
            "ms",
            "the same, before",
            statistics.median(before) * 1e3,
            1.02,
        ),
    ]
