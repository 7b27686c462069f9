"""What a whole program pays for `memwatch run --track-all-vars --track-locals`: modules outside the pattern, a hundred
modules in it.

Each round runs the program once with and once without, in turn, in processes of their own; the program measures its
own time on the CPU: of each part many short runs, each beside a loop in C that nobody watches, so that a machine that
changes its speed meets both. How a process lays out its memory makes a loop some percent quicker or slower for as long
as it lives: so each begins with a random number of objects, and the medians of both sides are compared.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.table import Row, markdown

ROUNDS = 40
MODULES = 100
MODULE = """
LEVEL = {number}
NAMES = ["a", "b", "c"]

class Order:
    fee = 1

    def __init__(self, total, rate=2):
        self.total = total * rate

    def with_fee(self):
        total = self.total + self.fee
        return total

def add(prices):
    total = 0
    for price in prices:
        total += price
    return total

def scale(prices, by):
    scaled = [price * by for price in prices]
    rest = sum(scaled) % 7
    return scaled, rest

def put(turns):
    global LEVEL
    for i in range(turns):
        LEVEL = i

def get(turns):
    for i in range(turns):
        LEVEL
"""
PROGRAM = """
import importlib, json, random, sys, time
kept = [bytearray(random.randrange(600)) for _ in range(random.randrange(3000))]
import {watched}

def spent(function, *arguments):
    start = time.thread_time_ns()
    function(*arguments)
    return time.thread_time_ns() - start

def reference():
    sum(range({turns}))

def measured(function, turns):
    # of a turn, in turns of the reference; most of what disturbs makes it more
    reference(), function(turns)
    ratios = sorted(spent(function, turns) / spent(reference) for _ in range({repeats}))
    return ratios[len(ratios) // 4]

def loop(turns):
    total = 0
    for i in range(turns):
        total += i * i % 7
    return total

def imports():
    for number in range({modules}):
        importlib.import_module(f"outside_{{number}}")

before = sorted(spent(reference) for _ in range({repeats}))[{repeats} // 4]
found = {{"imports": spent(imports) / {modules} / (before / {turns}), "loop": measured(loop, {turns})}}
import outside_0 as outside
found["calls"] = measured(lambda turns: outside.add(range(turns)), {turns})
for name, module in (("outside", outside), ("watched", {watched})):
    for what in ("put", "get"):
        found[f"{{what}} {{name}}"] = measured(getattr(module, what), {turns})
found["reference"] = min(spent(reference) for _ in range({repeats})) / {turns}
print(json.dumps(found))
"""
TURNS, REPEATS = 10_000, 40
OUTSIDE = {
    "loop": ("total += i, outside the pattern", "ns", 1),
    "calls": ("a function's loop, in a module outside", "ns", 1),
    "put outside": ("LEVEL = i, of a module outside", "ns", 1),
    "get outside": ("LEVEL, of a module outside", "ns", 1),
    "imports": ("an import of a module outside, of 100", "µs", 1000),
}
MEMWATCH = (sys.executable, "-m", "memwatch_core.cli", "run", "--quiet")


def make(folder: Path, modules: int) -> None:
    """The program, with so many modules in the pattern, each of which the first imports."""
    for number in range(MODULES):
        (folder / f"outside_{number}.py").write_text(MODULE.format(number=number))
        (folder / f"inside_{number}.py").write_text(MODULE.format(number=number))
    others = "".join(f"import inside_{number}\n" for number in range(1, modules))
    (folder / "inside_0.py").write_text(others + MODULE.format(number=0))
    program = PROGRAM.format(watched="inside_0", modules=MODULES, turns=TURNS, repeats=REPEATS)
    (folder / "program.py").write_text(program)


def run(folder: Path, *flags: str) -> dict[str, float]:
    """Of each part, in turns of the reference; of that, ns."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MEMWATCH_")} | {
        "MEMWATCH_WATCH_MODULES": "inside_*",
        "MEMWATCH_WATCH_STACK": "1",
        "MEMWATCH_PLUGINS_SINKS": "",
        "MEMWATCH_JOURNAL_FOLDER": str(folder / "sessions"),
    }
    command = [*MEMWATCH, *flags] if flags else [sys.executable]
    done = subprocess.run(
        [*command, "program.py"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    for session in (folder / "sessions").glob("*/*.mwj"):
        session.unlink()
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def medians(rounds: list[tuple[dict[str, float], dict[str, float]]], part: str) -> tuple[float, float]:
    """ns of a part, with and without, where the reference was quickest."""
    reference = min(each["reference"] for pair in rounds for each in pair)
    ours, theirs = zip(*((ours[part], theirs[part]) for ours, theirs in rounds), strict=True)
    return statistics.median(ours) * reference, statistics.median(theirs) * reference


def rows() -> list[Row]:
    """What `make bench` prints."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, 1)
        flags = ("--track-all-vars", "--track-locals")
        run(folder, *flags)  # what is compiled is kept
        rounds = [(run(folder, *flags), run(folder)) for _ in range(ROUNDS)]
        make(folder, MODULES)
        run(folder, "--track-all-vars")
        many = [(run(folder, "--track-all-vars"), run(folder)) for _ in range(ROUNDS // 2)]
    found = []
    for part, (figure, unit, by) in OUTSIDE.items():
        a, b = medians(rounds, part)
        found.append(Row(figure, a / by, unit, "without memwatch", b / by, 1.02))
    for part, figure in {"put": "LEVEL = i", "get": "LEVEL"}.items():
        a, b = medians(many, f"{part} watched")
        target = 1.02 if part == "get" and sys.version_info >= (3, 12) else None
        found.append(Row(f"{figure}, of one of 100 watched modules", a, "ns", "without memwatch", b, target))
    return found


if __name__ == "__main__":
    print(markdown(rows()))
