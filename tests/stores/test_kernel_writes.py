"""What the kernel writes to watched pages by itself, on every path, fails or goes unseen under uffd-queue."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .conftest import SOAK, Build, need

SCENARIOS = (
    "raw", "redirected", "same_bytes", "direct", "ring", "ring_fixed", "process_vm", "other_process", "signals",
    "others", "blocked", "adopted", "freed", "forked", "unqueued",
)  # fmt: skip
SKIPPED = 77


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_kernel_writes_succeed_and_are_events(scenario: str, harness: Path, build: Build, tmp_path: Path) -> None:
    need("uffd-queue", harness)
    program = build("kernel_writes.c")
    for round in range(5 if SOAK else 1):
        journal = tmp_path / f"{round}"
        journal.mkdir()
        command = [program, journal / "journal", scenario]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path)
        if done.returncode == SKIPPED:
            pytest.skip(done.stderr.strip())
        assert done.returncode == 0, f"status {done.returncode}: {done.stderr}"
