"""What a whole program pays for `memwatch run --track-all-vars --track-locals`: modules outside the pattern, a hundred
modules in it.

Each round runs the program once with and once without, in processes of their own; the program measures its own time on
the CPU.
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

ROUNDS = 11
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
import importlib, json, sys, time
import {watched}

def spent(function, *arguments):
    start = time.thread_time_ns()
    function(*arguments)
    return time.thread_time_ns() - start

def loop(turns):
    total = 0
    for i in range(turns):
        total += i * i % 7
    return total

def imports():
    for number in range({modules}):
        importlib.import_module(f"outside_{{number}}")

# the first runs of a loop are slower, watched or not
loop({turns})
found = {{"loop": spent(loop, {turns}) / {turns}, "imports": spent(imports) / {modules}}}
import outside_0 as outside
outside.add(range({turns}))
found["calls"] = spent(outside.add, range({turns})) / {turns}
for name, module in (("outside", outside), ("watched", {watched})):
    for what in ("put", "get"):
        function = getattr(module, what)
        function({turns})
        found[f"{{what}} {{name}}"] = spent(function, {turns}) / {turns}
print(json.dumps(found))
"""
TURNS = 200_000
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
    (folder / "program.py").write_text(PROGRAM.format(watched="inside_0", modules=MODULES, turns=TURNS))


def run(folder: Path, *flags: str) -> dict[str, float]:
    """ns of each part."""
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


def rows() -> list[Row]:
    """What `make bench` prints."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, 1)
        flags = ("--track-all-vars", "--track-locals")
        run(folder, *flags)  # what is compiled is kept
        rounds = [(run(folder, *flags), run(folder)) for _ in range(ROUNDS)]
        found = []
        for part, (figure, unit, by) in OUTSIDE.items():
            a, b, ratio = _medians([(ours[part] / by, theirs[part] / by) for ours, theirs in rounds])
            found.append(Row(figure, a, unit, "without memwatch", b, 1.02, ratio))
        make(folder, MODULES)
        run(folder, "--track-all-vars")
        many = [(run(folder, "--track-all-vars"), run(folder)) for _ in range(ROUNDS)]
    for part, figure in {"put": "LEVEL = i", "get": "LEVEL"}.items():
        a, b, ratio = _medians([(ours[f"{part} watched"], theirs[f"{part} watched"]) for ours, theirs in many])
        target = 1.02 if part == "get" and sys.version_info >= (3, 12) else None
        found.append(Row(f"{figure}, of one of 100 watched modules", a, "ns", "without memwatch", b, target, ratio))
    return found


def _medians(pairs: list[tuple[float, float]]) -> tuple[float, float, float]:
    ours, theirs = zip(*pairs, strict=True)
    return statistics.median(ours), statistics.median(theirs), statistics.median(a / b for a, b in pairs)


if __name__ == "__main__":
    print(markdown(rows()))
