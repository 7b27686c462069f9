"""Runs a suite twice, in processes of their own, and tells which tests ended differently."""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import own_suites.outcomes
from own_suites.outcomes import Ends, Prepared, SuiteError
from recorded import contexts

CONFIG = "[plugins]\nsinks = []\n"


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
        return own_suites.outcomes.differences(self.untraced, self.traced)

    def passed(self) -> int:
        return own_suites.outcomes.passed(self.untraced)


Databases = Callable[[], AbstractContextManager[Any]]
"""Makes an empty database, for as long as a block runs."""


def run(suite: Suite, databases: Databases, more: Sequence[str] = ()) -> Result:
    """Both runs at once, each on a database of its own; with ``more`` arguments for pytest. Raises SuiteError."""
    with ThreadPoolExecutor() as pool:
        untraced, traced = pool.map(lambda traced: _run(suite, databases, traced, more), (False, True))
    return Result(untraced[0], traced[0], traced[1])


def settled_differences(suite: Suite, databases: Databases, result: Result) -> dict[str, tuple[str, str]]:
    """What differs in a result without being known to, and again in another: some tests fail by chance, or if late."""

    def again() -> own_suites.outcomes.Differences:
        return run(suite, databases).differences()

    return own_suites.outcomes.settled(result.differences(), again, suite.explains)


def _run(suite: Suite, databases: Databases, traced: bool, more: Sequence[str]) -> tuple[Ends, int]:
    with tempfile.TemporaryDirectory(prefix=f"memwatch-suite-{suite.name}-") as scratch, databases() as database:
        folder = Path(scratch)
        prepared = suite.prepare(database, folder)
        (folder / "memwatch.toml").write_text(CONFIG)
        prepared = replace(prepared, arguments=[*prepared.arguments, *more])
        python: list[str | Path] = [sys.executable]
        if traced:
            options = ["--quiet", "--track-sql", "--config", folder / "memwatch.toml", "--folder", folder / "sessions"]
            python = [Path(sys.executable).parent / "memwatch", "run", *options]
        try:
            ends = own_suites.outcomes.run(prepared, python, folder, suite.seconds)
        except SuiteError as error:
            raise SuiteError(f"{suite.name} ({'traced' if traced else 'untraced'}): {error}") from None
        return ends, sum(map(contexts, (folder / "sessions").glob("*/*.mwj")))
