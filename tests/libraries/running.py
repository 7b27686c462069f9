"""Runs a suite three times, in processes of their own: as it is, with its instances told, and with them watched."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from own_suites import outcomes
from own_suites.outcomes import Ends, Prepared, SuiteError

HERE = Path(__file__).parent
How = Literal["plain", "told", "watched"]


@dataclass(frozen=True)
class Suite:
    """A library's own tests."""

    name: str
    prepare: Callable[[Path], Prepared]
    of: tuple[str, ...]
    """Modules whose classes have their instances watched, with all that is below them."""
    tests: int
    """At least so many must pass as it is, or the suite isn't what it was taken for."""
    watched: int
    """At least so many objects must have been watched."""
    known: Mapping[str, str] = field(default_factory=dict)
    """Tests that end differently where instances are watched (a regular expression for the whole name), and why."""
    seconds: int = 1800
    """When a run counts as hung."""


@dataclass(frozen=True)
class Run:
    """What became of a suite."""

    ends: Ends
    seconds: float
    """Of processor time."""
    counts: Mapping[str, Any] = field(default_factory=dict)
    """What watching.py has counted."""


def run(suite: Suite, how: How, more: Sequence[str] = ()) -> Run:
    """One run, with ``more`` arguments for pytest. Raises SuiteError."""
    with tempfile.TemporaryDirectory(prefix=f"memwatch-library-{suite.name}-") as scratch:
        folder = Path(scratch)
        prepared = suite.prepare(folder)
        arguments, environment = [*prepared.arguments, *more], dict(prepared.environment)
        if how != "plain":
            arguments = ["-p", "watching", *arguments]
            environment |= {"LIBRARY_INSTANCES": how, "LIBRARY_MODULES": ",".join(suite.of)}
            environment |= {"LIBRARY_BIRTHS": str(_births(folder)), "LIBRARY_COUNTS": str(folder / "counts")}
            environment |= {"LIBRARY_SESSIONS": str(folder / "sessions")}
        environment["PYTHONPATH"] = ":".join(filter(None, (str(HERE), environment.get("PYTHONPATH"))))
        before = _processor_seconds()
        try:
            prepared = replace(prepared, arguments=arguments, environment=environment)
            ends = outcomes.run(prepared, [sys.executable], folder, suite.seconds)
        except SuiteError as error:
            raise SuiteError(f"{suite.name}, {how}: {error}") from None
        counts = json.loads((folder / "counts").read_text()) if how != "plain" else {}
        return Run(ends, _processor_seconds() - before, counts)


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _births(folder: Path) -> Path:
    built = folder / "births.so"
    include = sysconfig.get_paths()["include"]
    command = ["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-I", include, HERE / "births.c"]
    subprocess.run([*command, "-o", built], check=True)
    return built
