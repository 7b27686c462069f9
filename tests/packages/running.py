"""Runs a suite, in a process of its own: as it is, or under ``memwatch run --track-all-vars --track-locals``."""

from __future__ import annotations

import re
import resource
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from own_suites import outcomes
from own_suites.outcomes import Ends, SuiteError

from .catalogue import Suite

How = Literal["plain", "watched"]
MEMWATCH = (sys.executable, "-m", "memwatch_core.cli", "run", "--track-all-vars", "--track-locals")
JOURNAL = 64 << 20
"""Bytes of it that are kept: the suites write gigabytes, which nobody reads."""
_SEEN = re.compile(r"([\d,]+) events? on (?:[\d,]+ of )?([\d,]+) variables?")


@dataclass(frozen=True)
class Run:
    """What became of a suite."""

    ends: Ends
    seconds: float
    """Of processor time, of all processes that were waited for."""
    events: int = 0
    variables: int = 0
    said: str = ""
    """By pytest, the tests and memwatch."""


def run(suite: Suite, how: How, more: Sequence[str] = ()) -> Run:
    """One run, with ``more`` arguments for pytest. Raises SuiteError."""
    with tempfile.TemporaryDirectory(prefix=f"memwatch-package-{suite.name}-") as scratch:
        folder = Path(scratch)
        (folder / "suite").mkdir()
        prepared = suite.prepare(folder / "suite")
        arguments = [*prepared.arguments, *more]
        environment = {**prepared.environment, **(_watched(suite, folder) if how == "watched" else {})}
        prepared = replace(prepared, arguments=arguments, environment=environment)
        before = _processor_seconds()
        try:
            python = MEMWATCH if how == "watched" else (sys.executable,)
            ends = outcomes.run(prepared, python, folder, suite.seconds)
        except SuiteError as error:
            raise SuiteError(f"{suite.name}, {how}: {error}") from None
        said = (folder / "said").read_text(errors="replace")
        seen = _SEEN.search(said.replace("\n", " ")) if how == "watched" else None
        events, variables = (int(each.replace(",", "")) for each in seen.groups()) if seen else (0, 0)
        return Run(ends, _processor_seconds() - before, events, variables, said)


def _watched(suite: Suite, folder: Path) -> Mapping[str, str]:
    return {
        "MEMWATCH_WATCH_MODULES": suite.modules,
        "MEMWATCH_PLUGINS_SINKS": "",
        "MEMWATCH_JOURNAL_FOLDER": str(folder / "sessions"),
        "MEMWATCH_JOURNAL_MAX_BYTES": str(JOURNAL),
        "MEMWATCH_JOURNAL_POLICY": "rotate",
    }


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
