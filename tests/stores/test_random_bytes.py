"""Bytes that nobody meant as an instruction, at a fault on a watched page: a neighbour that is changed, a change
without an event, a refusal that has done something, a crash of the executor itself."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

from .conftest import FLAGS, SOAK, gcc
from .machine import CORE, HERE

COUNT = 5_000_000 if SOAK else 40_000


def test_random_bytes_change_what_their_events_say_and_nothing_else(tmp_path: Path) -> None:
    program = tmp_path / "random_bytes"
    sources = CORE.rglob("*.c")  # with what libmwcore.so doesn't export
    flags = [flag for flag in FLAGS if flag != "-O2"]
    gcc(*flags, "-O1", "-o", program, HERE / "random_bytes.c", *sources, "-lZydis", "-lpthread", "-ldl")
    seed = random.randrange(2**32)
    done = subprocess.run(
        [program, str(seed), str(COUNT), tmp_path / "journal"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = {name: int(count) for name, count in re.findall(r"(\w+) (\d+)", done.stdout)}
    assert counts["done"] > COUNT / 100, "hardly anything was run: the test shows little"
    assert counts["refused"] > COUNT / 10
    assert counts["events"] >= counts["done"] / 2
