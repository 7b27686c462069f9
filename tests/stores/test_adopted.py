"""What the core knows of memory: adopted pages that come and go, mappings, blocks of any length, ranges, copies."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import FLAGS, SOAK, gcc
from .machine import CORE, HERE


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Builds a program that sees what libmwcore.so doesn't export, once."""
    folder = tmp_path_factory.mktemp("whole")

    def build(source: str) -> Path:
        program = folder / Path(source).stem
        if not program.exists():
            flags = [flag for flag in FLAGS if flag != "-O2"]
            gcc(*flags, "-O1", "-o", program, HERE / source, *CORE.rglob("*.c"), "-lZydis", "-lpthread", "-ldl")
        return program

    return build


def run(program: Path, tracker: str, folder: Path, steps: int) -> None:
    seed = random.randrange(2**32)
    command: list[str | Path] = [program, tracker, folder / "journal", str(seed), str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    (folder / "journal").unlink(missing_ok=True)
    assert done.returncode == 0, f"seed {seed}, status {done.returncode}: {done.stdout}{done.stderr}"


def test_adopted_pages_are_found_and_no_others(whole: Callable[[str], Path], tmp_path: Path) -> None:
    run(whole("adopted.c"), "readonly", tmp_path, 100_000 if SOAK else 1_500)


def test_mappings_blocks_ranges_and_copies_are_what_they_are_taken_for(
    tracker: str, whole: Callable[[str], Path], tmp_path: Path
) -> None:
    run(whole("pages.c"), tracker, tmp_path, 20_000 if SOAK else 800)
