"""A million variables, a tenth of them written: what each costs in time and memory, and what is left when all end.

CPU time; memory is the process's own (its private pages and its part of the arena), without the journal.
"""

from __future__ import annotations

import ctypes
import gc
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.table import Row
from memwatch_core import config, watch
from memwatch_core.adapter import process
from memwatch_core.journal.session import create_session

COUNT = 1_000_000


def memory() -> int:
    """Bytes: private memory, and the arena."""
    total, counts, own = 0, False, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-", line):
            own, counts = "memfd:memwatch" in line or "/dev/zero" in line, ".mwj" not in line
        elif counts and (line.startswith("Pss:") if own else line.startswith("Private_")):
            total += int(line.split()[1]) * 1024
    return total


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result, and seconds of CPU time."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def write_all(values: Sequence[Any]) -> None:
    for value in values:
        value.value = 7


def measure(share_page: bool) -> dict[str, float]:
    """One process's figures, each for one variable."""
    with tempfile.TemporaryDirectory() as folder:
        process.open_journal(create_session(folder, []), config.load(directory=folder, environment={}))
        values: list[Any] = [None] * COUNT
        gc.disable()

        def register() -> None:
            for i in range(COUNT):
                values[i] = watch(0, name="x", share_page=share_page)

        begin = memory()
        _, registering = timed(register)
        full = memory()
        chosen = random.Random(1).sample(values, COUNT // 10)
        _, writing = timed(lambda: write_all(chosen))
        chosen.clear()
        _, ending = timed(values.clear)
        ctypes.CDLL(None).malloc_trim(0)  # what malloc keeps for the next time isn't asked for here
        left = memory()
        process.close_journal()
    return {
        "registering": registering / COUNT * 1e6,
        "memory": (full - begin) / COUNT,
        "writing": writing / (COUNT // 10) * 1e9,
        "ending": ending / COUNT * 1e6,
        "left": (left - begin) / COUNT,
    }


def rows() -> list[Row]:
    """All figures of this file, each kind of page in a process of its own."""
    found = []
    for share_page, name in ((False, "a page each"), (True, "share_page")):
        command = [sys.executable, "-m", "benchmarks.many", json.dumps(share_page)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        figures = json.loads(done.stdout)
        found += [
            Row(f"watch(0), a million, {name}", figures["registering"], "µs", target=15),
            Row(f"memory of each, {name}", figures["memory"], "bytes"),
            Row(f"p.value = i, a tenth of them at random, {name}", figures["writing"], "ns"),
            Row(f"the end of a watch, {name}", figures["ending"], "µs"),
            Row(f"memory left of each, {name}", figures["left"], "bytes", target=100),
        ]
    return found


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))
