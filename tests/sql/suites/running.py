"""Runs a suite twice, in processes of their own, and tells which tests ended differently."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recorded import contexts

from .recorder import FILE

CONFIG = "[plugins]\nsinks = []\n"
NOT_PASSED_ON = ("MEMWATCH_", "PYTEST_", "PG")
Ends = dict[str, str]
"""What became of each test: ``passed``, ``call failed: AssertionError``, ``setup skipped`` ..."""


class SuiteError(Exception):
    """A suite didn't run to its end, or what should trace it didn't."""


@dataclass(frozen=True)
class Prepared:
    """A suite ready to run: pytest's arguments in a folder, the environment."""

    folder: Path
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """A driver's own tests.

    ``prepare(server)`` is called once for each run, so that both start from the same state; ``server`` is an empty
    database of its own on the server that the suite needs.
    """

    name: str
    drivers: tuple[str, ...]
    """Names of the plugins that trace it."""
    server: str
    """Name of the fixture that starts the server; empty: none."""
    prepare: Callable[[Any, Path], Prepared]
    tests: int
    """At least so many must pass without tracing, or the suite isn't what it was taken for."""
    contexts: int
    """At least so many statements must be in the journal, or it wasn't traced."""
    known: Mapping[str, str] = field(default_factory=dict)
    """Tests that end differently (a regular expression for the whole name), and why."""
    seconds: int = 600
    """When a run counts as hung."""

    def missing(self) -> str:
        """The first of its plugins that isn't installed; empty if all are."""
        installed = {point.name for point in importlib.metadata.entry_points(group="memwatch.sql")}
        return next((driver for driver in self.drivers if driver not in installed), "")

    def explains(self, test: str) -> bool:
        """Whether this test is known to end differently."""
        return any(re.fullmatch(pattern, test) for pattern in self.known)


@dataclass(frozen=True)
class Result:
    """What became of a suite."""

    untraced: Ends
    traced: Ends
    contexts: int
    """SQL contexts in the journal of the traced run."""

    def differences(self) -> dict[str, tuple[str, str]]:
        """Test -> how it ended without tracing, and with it."""
        names = self.untraced.keys() | self.traced.keys()
        both = {name: (self.untraced.get(name, "not run"), self.traced.get(name, "not run")) for name in sorted(names)}
        return {name: ends for name, ends in both.items() if ends[0] != ends[1]}

    def passed(self) -> int:
        return sum(end == "passed" for end in self.untraced.values())


Databases = Callable[[], AbstractContextManager[Any]]
"""Makes an empty database, for as long as a block runs."""


def run(suite: Suite, databases: Databases, more: Sequence[str] = ()) -> Result:
    """Both runs at once, each on a database of its own; with ``more`` arguments for pytest. Raises SuiteError."""
    with ThreadPoolExecutor() as pool:
        untraced, traced = pool.map(lambda traced: _run(suite, databases, traced, more), (False, True))
    return Result(untraced[0], traced[0], traced[1])


def settled_differences(suite: Suite, databases: Databases, result: Result) -> dict[str, tuple[str, str]]:
    """What differs in a result without being known to, and again in another: some tests fail by chance, or if late."""
    differences = {name: ends for name, ends in result.differences().items() if not suite.explains(name)}
    for _ in range(2):
        if differences:
            again = run(suite, databases).differences()
            differences = {name: ends for name, ends in again.items() if name in differences}
    return differences


def _run(suite: Suite, databases: Databases, traced: bool, more: Sequence[str]) -> tuple[Ends, int]:
    with tempfile.TemporaryDirectory(prefix=f"memwatch-suite-{suite.name}-") as scratch, databases() as database:
        folder = Path(scratch)
        prepared = suite.prepare(database, folder)
        (folder / "memwatch.toml").write_text(CONFIG)
        python = [sys.executable]
        if traced:
            options = ["--quiet", "--track-sql", "--config", folder / "memwatch.toml", "--folder", folder / "sessions"]
            python = [Path(sys.executable).parent / "memwatch", "run", *options]
        pytest = ["-m", "pytest", "-q", "-p", "suites.recorder", "-o", f"cache_dir={folder}/cache"]
        path = [str(Path(__file__).parents[1]), prepared.environment.get("PYTHONPATH", "")]
        environment = {key: value for key, value in os.environ.items() if not key.startswith(NOT_PASSED_ON)}
        environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **prepared.environment}
        environment |= {"PYTHONPATH": os.pathsep.join(filter(None, path)), FILE: str(folder / "outcomes")}
        try:
            with open(folder / "said", "w") as said:
                subprocess.run(
                    [*python, *pytest, *prepared.arguments, *more], cwd=prepared.folder, env=environment,
                    timeout=suite.seconds, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, check=False,
                )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise SuiteError(f"{suite.name} hung ({'traced' if traced else 'untraced'})\n{_tail(folder)}") from None
        return _ends(suite, folder), sum(map(contexts, (folder / "sessions").glob("*/*.mwj")))


def _ends(suite: Suite, folder: Path) -> Ends:
    outcomes = folder / "outcomes"
    lines = [json.loads(line) for line in outcomes.read_text().splitlines()] if outcomes.exists() else []
    if not lines or not isinstance(lines[-1], dict):
        raise SuiteError(f"{suite.name} didn't run to its end\n{_tail(folder)}")
    if lines[-1]["troubles"]:
        raise SuiteError(f"{suite.name}: something failed inside tracing\n{_tail(folder)}")
    ends: Ends = {}
    for name, phase, outcome, raised in lines[:-1]:
        if outcome != "passed":
            end = f"{phase} {outcome}" + (f": {raised}" if outcome == "failed" else "")
            ends[name] = f"{ends[name]}, {end}" if ends.get(name, "passed") != "passed" else end
        elif phase == "call":
            ends.setdefault(name, "passed")
    return ends


def _tail(folder: Path) -> str:
    return (folder / "said").read_text(errors="replace")[-3000:]
