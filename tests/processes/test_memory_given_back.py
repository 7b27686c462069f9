"""Unwatching: memory that is never given back, or each time and got again; pages that come back writable, or with what
they held before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

START = """
import ctypes, re, resource, sys
from pathlib import Path
from memwatch_core import config
from memwatch_core.adapter import process
from memwatch_core.journal.session import create_session
from memwatch_core.native import core

lib, FULL = core.lib, (0, 2**64 - 1)

def shared():
    '''Bytes of the arena in memory, this process's part: KiB.'''
    inside, total = False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-", line):
            inside = "/dev/zero (deleted)" in line
        elif inside and line.startswith("Pss:"):
            total += int(line.split()[1])
    return total

process.open_journal(create_session("sessions", []), config.load(overrides={"core": {"tracker": sys.argv[1]}}))
begin = shared()

def watch_all(count):
    pages = []
    for i in range(count):
        page = lib.mw_page_alloc(1)
        assert bytes(core.ffi.buffer(page, 4096)) == bytes(4096), "a page that isn't zeroed"
        ident = lib.mw_register_page(page, 4096, 0, FULL)
        assert ident > 0
        pages.append((page, ident))
    return pages

def end_all(pages):
    for page, ident in pages:
        assert lib.mw_unregister_page(ident) == 0
        assert lib.mw_page_free(page, 1) == 0

def store_everywhere(pages):
    before = core.stats()
    for page, _ in pages:
        ctypes.c_int64.from_address(int(core.ffi.cast("uintptr_t", page)) + 8).value = -1
    after = core.stats()
    assert after.stores - before.stores == len(pages), "stores that nobody has seen"
    assert after.slots - before.slots >= len(pages)
"""

COMES_AGAIN = """
COUNT = 20_000
for _ in range(3):
    pages = watch_all(COUNT)
    store_everywhere(pages[::7])
    peak = shared()
    kept, pages = pages[::1000], [pair for i, pair in enumerate(pages) if i % 1000]  # some stay in between
    end_all(pages)
    end = shared()
    assert peak - begin > COUNT * 4, (begin, peak)
    assert end - begin < 25_000, (begin, peak, end)
    store_everywhere(kept)
    for page, _ in kept:
        assert int.from_bytes(core.ffi.buffer(page, 16)[8:], "little") == 2**64 - 1, "a value that was given back"
    end_all(kept)
process.close_journal()
"""

CYCLES = """
def faults(count):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pages = [lib.mw_page_alloc(1) for _ in range(count)]
    pages = [(page, lib.mw_register_page(page, 4096, 0, FULL)) for page in pages]
    end_all(pages)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

cycles = [faults(5_000) for _ in range(40)]
assert max(cycles[1:]) < 2_500, cycles         # only what is too many is given back
assert sum(cycles[-10:]) / 10 < 500, cycles    # and in the end nothing: these are the journal's
assert shared() - begin < 25_000, (begin, shared())
faults(40_000)
assert shared() - begin < 25_000, (begin, shared())  # as many more as it ends, all but the usual goes back
process.close_journal()
"""


REFUSED = """
import sandbox
sandbox.refuse("giving memory back")
for count in 6_000, 12_000, 3_000, 24_000:  # all of it stays, and is zeroed and watched when it comes again
    pages = watch_all(count)
    store_everywhere(pages[::7])
    end_all(pages)
assert 24_000 * 4 < shared() - begin < 30_000 * 4, (begin, shared())
process.close_journal()
"""


def run(program: str, folder: Path, tracker: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", START + program, tracker]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_pages_of_ended_watches_go_back_and_are_watched_when_they_come_again(tmp_path: Path, tracker: str) -> None:
    run(COMES_AGAIN, tmp_path, tracker)


def test_a_program_that_watches_as_many_again_and_again_gets_their_memory_once(tmp_path: Path, tracker: str) -> None:
    run(CYCLES, tmp_path, tracker)


def test_memory_that_the_kernel_does_not_take_is_used_again(tmp_path: Path, tracker: str) -> None:
    run(REFUSED, tmp_path, tracker)
