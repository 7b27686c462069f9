"""Adopted memory that its owner does away with: what becomes of it, of who has it next, and of the watch."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .conftest import Build

CASES = 2596
EVERY = 1 if os.environ.get("MEMWATCH_SOAK") else 7
"""In a short run, each tracker has another seventh of the cases, and so has each way to know."""
TRACKERS = ("readonly", "uffd-sigbus", "uffd-queue")


def run(program: Path, *arguments: str | Path) -> str:
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, f"status {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def check(program: Path, tracker: str, folder: Path, how: str, part: int) -> None:
    part %= EVERY
    cases = sum(number % EVERY == part for number in range(1, CASES + 1))
    assert f"{cases} cases, 0 failed" in run(program, tracker, folder, how, str(EVERY), str(part))


def test_memory_that_went_is_its_next_owner_s_and_the_watch_has_ended(
    tracker: str, build: Build, tmp_path: Path
) -> None:
    """Every way to unmap, move, empty and protect; how much, by whom; who has it next; what happens then."""
    check(build("leaving.c"), tracker, tmp_path, "seen", TRACKERS.index(tracker))


def test_that_holds_where_the_kernel_can_not_be_asked(tracker: str, build: Build, tmp_path: Path) -> None:
    """No descriptor is left: then what is there is compared."""
    check(build("leaving.c"), tracker, tmp_path, "blind", 3 + TRACKERS.index(tracker))


@pytest.mark.skipif(
    os.environ.get("MEMWATCH_SANITIZE") == "address",
    reason="what lies between blocks is the sanitizer's: not to be read",
)
def test_blocks_that_are_freed_or_resized_end_their_watch(tracker: str, build: Build, tmp_path: Path) -> None:
    run(build("freeing.c"), tracker, tmp_path)


def test_owners_race_with_stores_reads_and_the_end_of_the_watch(tracker: str, build: Build, tmp_path: Path) -> None:
    run(build("leaving_threads.c"), tracker, tmp_path)
