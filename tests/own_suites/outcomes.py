"""Runs a suite in a process of its own, and says how each of its tests ended."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .recorder import FILE

NOT_PASSED_ON = ("MEMWATCH_", "PYTEST_", "PG")
Ends = dict[str, str]
"""What became of each test: ``passed``, ``call failed: AssertionError``, ``setup skipped`` ..."""
Differences = dict[str, tuple[str, str]]
"""By test: how it ended in each of two runs."""


class SuiteError(Exception):
    """A suite didn't run to its end, or what should look on didn't."""


@dataclass(frozen=True)
class Prepared:
    """A suite ready to run: pytest's arguments in a folder, the environment."""

    folder: Path
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def run(prepared: Prepared, python: Sequence[str | Path], scratch: Path, seconds: int) -> Ends:
    """``python``: the command before ``-m pytest``. Raises SuiteError."""
    pytest = ["-m", "pytest", "-q", "-p", "recorder", "-o", f"cache_dir={scratch}/cache"]
    places = [str(Path(__file__).parent), prepared.environment.get("PYTHONPATH", "")]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(NOT_PASSED_ON)}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **prepared.environment}
    environment |= {"PYTHONPATH": os.pathsep.join(filter(None, places)), FILE: str(scratch / "outcomes")}
    try:
        with open(scratch / "said", "w") as said:
            ended = subprocess.run(
                [*python, *pytest, *prepared.arguments], cwd=prepared.folder, env=environment, timeout=seconds,
                stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise SuiteError(f"it hung\n{_tail(scratch)}") from None
    outcomes = scratch / "outcomes"
    lines = [json.loads(line) for line in outcomes.read_text().splitlines()] if outcomes.exists() else []
    if not lines or not isinstance(lines[-1], dict):
        raise SuiteError(f"it didn't run to its end: {ended.returncode}\n{_tail(scratch)}")
    if lines[-1]["troubles"]:
        raise SuiteError(f"something failed inside tracing\n{_tail(scratch)}")
    return _ends(lines[:-1])


def settled(first: Differences, again: Callable[[], Differences], explains: Callable[[str], bool]) -> Differences:
    """What differs without being known to, and again whenever both runs are made once more: some tests fail by chance,
    or if late. ``explains``: whether a test, by its name, is known to."""
    found = {test: ends for test, ends in first.items() if not explains(test)}
    for _ in range(2):
        if found:
            found = {test: ends for test, ends in again().items() if test in found}
    return found


def known_by(patterns: Collection[str]) -> Callable[[str], bool]:
    """Whether a test's name is one of these, regular expressions."""
    return lambda test: any(re.fullmatch(pattern, test) for pattern in patterns)


def differences(one: Ends, other: Ends) -> Differences:
    """Test -> how it ended in each of two runs, where that isn't the same."""
    names = sorted(one.keys() | other.keys())
    both = {name: (one.get(name, "not run"), other.get(name, "not run")) for name in names}
    return {name: ends for name, ends in both.items() if ends[0] != ends[1]}


def passed(ends: Ends) -> int:
    return sum(end == "passed" for end in ends.values())


def _ends(lines: Sequence[tuple[str, str, str, str]]) -> Ends:
    ends: Ends = {}
    for name, phase, outcome, raised in lines:
        if outcome != "passed":
            end = f"{phase} {outcome}" + (f": {raised}" if outcome == "failed" else "")
            ends[name] = f"{ends[name]}, {end}" if ends.get(name, "passed") != "passed" else end
        elif phase == "call":
            ends.setdefault(name, "passed")
    return ends


def _tail(scratch: Path) -> str:
    return (scratch / "said").read_text(errors="replace")[-3000:]
