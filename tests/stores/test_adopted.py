"""Adopted pages that come and go: one that isn't found any more, one that still is, searches that get ever longer."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

from .conftest import FLAGS, SOAK, gcc
from .machine import CORE, HERE


def test_adopted_pages_are_found_and_no_others_and_leave_nothing_in_the_table(tmp_path: Path) -> None:
    program = tmp_path / "adopted"
    sources = CORE.rglob("*.c")  # with what libmwcore.so doesn't export
    flags = [flag for flag in FLAGS if flag != "-O2"]
    gcc(*flags, "-O1", "-o", program, HERE / "adopted.c", *sources, "-lZydis", "-lpthread", "-ldl")
    seed, steps = random.randrange(2**32), 100_000 if SOAK else 1_500
    command: list[str | Path] = [program, "readonly", tmp_path / "journal", str(seed), str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    (tmp_path / "journal").unlink(missing_ok=True)
    assert done.returncode == 0, f"seed {seed}, status {done.returncode}: {done.stdout}{done.stderr}"
