"""A store to a watched attribute, and code that touches nothing watched, beside tracers that tell the same: hunter,
viztracer, watchpoints, and a `__setattr__` in Python that keeps line, thread and both values. CPython 3.12 is the last
one on which watchpoints works; on later ones its rows are left out.

One process a tracer and round, in turn. What they write goes nowhere, but for viztracer's and ours: into files. They
are installed as requirements/tracers.txt says, into an environment beside ours, and stay there.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from benchmarks.table import Row, markdown
from memwatch_core import config
from memwatch_core.journal.session import create_session

ROOT = Path(__file__).parents[1]
PROGRAM = str(ROOT / "benchmarks/tracers_program.py")
LOG = ("--log_attr", "quantity")
ROUNDS = 5
TURNS = {"memwatch": 200_000, "plain": 200_000, "__setattr__": 50_000, "viztracer": 50_000, "hunter": 500,
         "watchpoints": 2_000}  # fmt: skip
RIVALS = {
    "__setattr__": "__setattr__ that records",
    "viztracer": "viztracer --log_attr",
    "hunter": "hunter, VarsPrinter",
}
if sys.version_info < (3, 13):
    RIVALS["watchpoints"] = "watchpoints"


def installed() -> str:
    """The Python of an environment that has the tracers. Raises CalledProcessError if pip can't."""
    folder = Path(sys.prefix) / "tracers"
    python = folder / "bin/python"
    locked = str(ROOT / "requirements/tracers.txt")
    if not (folder / "complete").exists():
        venv.create(folder, with_pip=True, clear=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "--requirement", locked]
        subprocess.run(install, check=True, capture_output=True)
        (folder / "complete").touch()
    return str(python)


def run(tracer: str, python: str, folder: str, program: str = PROGRAM, told: tuple[str, str] = LOG) -> dict[str, float]:
    """One round of one tracer: ns of a turn of each loop. ``told``: what viztracer is to tell of."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        session = create_session(Path(own), [])
        config.save(config.load(), session)
        command = [sys.executable if tracer in ("memwatch", "plain") else python]
        if tracer == "viztracer":
            command += ["-m", "viztracer", "--quiet", *told, "-o", f"{own}/trace.json", "--"]
        done = subprocess.run(
            [*command, program, tracer, str(TURNS[tracer])],
            env=os.environ | {"MEMWATCH_SESSION": str(session)},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"{tracer}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[0])
    return found


def rows() -> list[Row]:
    """What `make bench` prints."""
    python = installed()
    with tempfile.TemporaryDirectory() as folder:
        rounds = [{by: run(by, python, folder) for by in ("plain", "memwatch", *RIVALS)} for _ in range(ROUNDS)]
    found = []
    for loop, figure in {"stores": "o.quantity = i, watched", "others": "total += i, not watched"}.items():
        of = {by: statistics.median(each[by][loop] for each in rounds) for by in rounds[0]}
        for by, name in {"plain": "nothing is traced", **RIVALS}.items():
            ratio = statistics.median(each["memwatch"][loop] / each[by][loop] for each in rounds)
            found.append(Row(figure, of["memwatch"], "ns", name, of[by], None, ratio))
    return found


if __name__ == "__main__":
    print(markdown(rows()))
