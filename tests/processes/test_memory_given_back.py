"""Unwatching: memory that is never given back, and pages that come back writable, or with what they held before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import ctypes, re, sys
from pathlib import Path
from memwatch_core import config
from memwatch_core.adapter import process
from memwatch_core.journal.session import create_session
from memwatch_core.native import core

lib, FULL, COUNT = core.lib, (0, 2**64 - 1), 20_000

def shared():
    '''Bytes of the arena in memory, this process's part: KiB.'''
    inside, total = False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-", line):
            inside = "memfd:memwatch" in line
        elif inside and line.startswith("Pss:"):
            total += int(line.split()[1])
    return total

process.open_journal(create_session("sessions", []), config.load(overrides={"core": {"tracker": sys.argv[1]}}))
begin = shared()

def watch_all():
    pages = []
    for i in range(COUNT):
        page = lib.mw_page_alloc(1)
        assert bytes(core.ffi.buffer(page, 4096)) == bytes(4096), "a page that isn't zeroed"
        ident = lib.mw_register_page(page, 4096, 0, FULL)
        assert ident > 0
        pages.append((page, ident))
    return pages

def store_everywhere(pages):
    before = core.stats()
    for page, _ in pages:
        ctypes.c_int64.from_address(int(core.ffi.cast("uintptr_t", page)) + 8).value = -1
    after = core.stats()
    assert after.stores - before.stores == len(pages), "stores that nobody has seen"
    assert after.slots - before.slots >= len(pages)

for _ in range(3):
    pages = watch_all()
    store_everywhere(pages[::7])
    peak = shared()
    kept, pages = pages[::1000], [pair for i, pair in enumerate(pages) if i % 1000]  # some stay in between
    for page, ident in pages:
        assert lib.mw_unregister_page(ident) == 0
        assert lib.mw_page_free(page, 1) == 0
    end = shared()
    assert peak - begin > COUNT * 4, (begin, peak)
    assert end - begin < 25_000, (begin, peak, end)
    store_everywhere(kept)
    for page, ident in kept:
        assert int.from_bytes(core.ffi.buffer(page, 16)[8:], "little") == 2**64 - 1, "a value that was given back"
        assert lib.mw_unregister_page(ident) == 0
        assert lib.mw_page_free(page, 1) == 0
process.close_journal()
"""


@pytest.mark.parametrize("tracker", ["uffd-sigbus", "readonly"])
def test_pages_of_ended_watches_go_back_and_are_watched_when_they_come_again(tmp_path: Path, tracker: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tracker], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
