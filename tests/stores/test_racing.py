"""Calls of memwatch.h in each other's way: a deadlock, a crash; under ThreadSanitizer (make sanitize), a race."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .conftest import SOAK, Build


def test_every_call_at_once_from_ten_threads_while_the_journal_rotates(
    tracker: str, build: Build, tmp_path: Path
) -> None:
    count = 250_000 if SOAK else 4_000
    journal = tmp_path / "journal"
    command: list[str | Path] = [build("racing.c"), tracker, journal, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60 * (20 if SOAK else 2))
    assert done.returncode == 0, f"status {done.returncode}: {done.stdout}{done.stderr}"
    assert journal.stat().st_blocks * 512 <= 4 << 20
