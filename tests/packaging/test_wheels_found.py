"""``make wheels`` builds for every CPython that is here and suits, and says of the others why it doesn't."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from built_wheels import ROOT, sources

SCRIPT = ROOT / "tests" / "pythons" / "wheels.py"
WHEELS: dict[str, Any] = runpy.run_path(str(SCRIPT), run_name="wheels")
SUITS: dict[str, Any] = {
    "implementation": "CPython", "version": [3, 13], "free_threaded": False, "headers": True, "ensurepip": True,
    "executable": "/usr/bin/python3.13",
}  # fmt: skip


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        ({}, ""),
        ({"free_threaded": True}, "a free-threaded build: memwatch needs CPython with its global interpreter lock"),
        ({"headers": False}, "Python.h isn't there: apt-get install python3.13-dev"),
        ({"ensurepip": False}, "it can't make environments: apt-get install python3.13-venv"),
        ({"version": [3, 10]}, "memwatch is for CPython 3.11 to 3.15"),
        ({"version": [3, 16]}, "memwatch is for CPython 3.11 to 3.15"),
        ({"implementation": "PyPy"}, "memwatch is for CPython 3.11 to 3.15"),
    ],
    ids=str,
)
def test_interpreter_that_does_not_suit_is_refused_with_a_sentence(lacking: dict[str, Any], said: str) -> None:
    assert WHEELS["Facts"](**SUITS | lacking).refusal() == said


def test_interpreters_are_found_once_for_each_version() -> None:
    """Among them that of these tests, or another of its version; the environments of a project are not."""
    found = WHEELS["found"]()
    versions = [python.facts.version[1] for python in found]
    assert len(set(versions)) == len(versions)
    assert sys.version_info[1] in versions
    for python in found:
        facts = python.facts
        assert python.command[-1] == facts.executable
        ask = "import sys; print(sys.prefix == sys.base_prefix, sys.version_info[1])"
        done = subprocess.run([*python.command, "-c", ask], cwd=ROOT, capture_output=True, text=True)
        assert done.stdout == f"True {facts.version[1]}\n", done.stderr


def test_interpreter_that_was_asked_for_is_refused_or_no_program() -> None:
    def ask(python: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, SCRIPT, "all", "nowhere", python]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    done = ask("/nowhere/python3")
    assert (done.returncode, done.stderr) == (1, "/nowhere/python3: it doesn't run\n")
    others = [python for command in candidates() if (python := WHEELS["ask"](command)) and python.facts.refusal()]
    if not others:
        pytest.skip("each interpreter that is here suits")
    done = ask(others[0].facts.executable)
    assert done.returncode == 1
    assert not (ROOT / "nowhere").exists()
    assert done.stdout == f"{others[0].facts.shown}: no wheel: {others[0].facts.refusal()}\n"


def candidates() -> list[str]:
    pyenv = Path.home().glob(".pyenv/versions/3.[0-9]*/bin/python3")
    return [*map(str, sorted(pyenv)), *filter(None, (shutil.which(f"python3.{n}") for n in (8, 9, 10)))]


def test_wheels_of_every_interpreter_are_built_and_tried(tmp_path: Path) -> None:
    if not os.environ.get("MEMWATCH_SOAK"):
        pytest.skip("minutes: in the long tests (make soak)")
    for path in (
        *sources(),
        Path("requirements/wheels.txt"),
        Path("requirements/run.txt"),
        Path("tests/pythons/sid.sh"),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, tmp_path / path)
    command = [sys.executable, "tests/pythons/wheels.py", "all", "dist"]
    sid = str(ROOT / os.environ.get("SID", ".python"))
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "SID": sid}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    suited = [python for python in WHEELS["found"]() if not python.facts.refusal()]
    assert done.stdout.count("built, installed alone, tried") == len(suited)
    assert len(list((tmp_path / "dist").glob("memwatch_core-*.whl"))) == len(suited)
