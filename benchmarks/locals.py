"""What it costs to have a local variable bound, watched: beside a setter of a property, and tracers that tell the same:
`sys.settrace` and `sys.monitoring` with a function that compares, hunter, viztracer, watchpoints (CPython 3.12 is the
last one on which it works).

The setter in turn with ours, in one process. Of the tracers a process each and round, in turn, with a journal that has
just begun; of each, the time on top of the same loop without it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.locals_program import bindings, nothing, plain, setter
from benchmarks.table import Row, markdown
from benchmarks.tracers import installed
from benchmarks.writing import writing_into
from memwatch_core import config, watch_locals
from memwatch_core.journal.session import create_session

PROGRAM = str(Path(__file__).parent / "locals_program.py")
ROUNDS = 9
SHORT_ROUNDS, SHORT_TURNS = 301, 2_000
TURNS = {"memwatch": 200_000, "plain": 200_000, "settrace": 20_000, "monitoring": 20_000, "viztracer": 50_000,
         "hunter": 500, "watchpoints": 2_000}  # fmt: skip
RIVALS = {"settrace": ("sys.settrace that compares", 0.1)}
if sys.version_info >= (3, 12):
    RIVALS["monitoring"] = ("sys.monitoring that compares", 0)
RIVALS["viztracer"] = ("viztracer --log_var", 0)
RIVALS["hunter"] = ("hunter, VarsPrinter", 0)
if sys.version_info < (3, 13):
    RIVALS["watchpoints"] = ("watchpoints", 0)
OURS = ("memwatch", "plain", "settrace", "monitoring")
"""Which need no other environment."""


def run(tracer: str, python: str, folder: str) -> float:
    """One round of one tracer: ns of a turn."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        session = create_session(Path(own), [])
        config.save(config.load(), session)
        command = [sys.executable if tracer in OURS else python]
        if tracer == "viztracer":
            command += ["-m", "viztracer", "--quiet", "--log_var", "quantity", "i", "-o", f"{own}/trace.json", "--"]
        done = subprocess.run(
            [*command, PROGRAM, tracer, str(TURNS[tracer])],
            env=os.environ | {"MEMWATCH_SESSION": str(session)},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"{tracer}: {done.stderr[-2000:]}")
    return float(json.loads(done.stdout.splitlines()[0]))


def beside_a_setter() -> Row:
    """Both in this process."""
    with tempfile.TemporaryDirectory() as folder, writing_into(folder):
        watch_locals(bindings)
        rounds = [
            ((_ns(bindings) - _ns(plain)) / 2, _ns(setter) - _ns(nothing)) for _ in range(SHORT_ROUNDS)
        ]  # two names
    return _row([a for a, _ in rounds], [b for _, b in rounds], "a property's setter", 1.5)


def _ns(function: Callable[[int], None]) -> float:
    start = time.perf_counter_ns()
    function(SHORT_TURNS)
    return (time.perf_counter_ns() - start) / SHORT_TURNS


def rows() -> list[Row]:
    """What `make bench` prints."""
    python = installed()
    with tempfile.TemporaryDirectory() as folder:
        rounds = [{by: run(by, python, folder) for by in ("plain", "memwatch", *RIVALS)} for _ in range(ROUNDS)]
    ours = [(each["memwatch"] - each["plain"]) / 2 for each in rounds]  # two names
    found = [beside_a_setter()]
    for by, (name, target) in RIVALS.items():
        found.append(_row(ours, [(each[by] - each["plain"]) / 2 for each in rounds], name, target or None))
    return found


def _row(ours: list[float], theirs: list[float], name: str, target: float | None) -> Row:
    figure, ratio = "x = i, watched: more", statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return Row(figure, statistics.median(ours), "ns", name, statistics.median(theirs), target, ratio)


if __name__ == "__main__":
    print(markdown(rows()))
