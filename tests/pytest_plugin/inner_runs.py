"""Suites that tests write, run by a pytest of their own; what became of their tests, and what was found."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPORTS = "reports.jsonl"
CONFTEST = f"""
import json, os

def pytest_runtest_logreport(report):
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    line = {{
        "test": report.nodeid.partition("::")[2] or report.nodeid, "when": report.when,
        "outcome": ("x" if hasattr(report, "wasxfail") else "") + report.outcome, "text": str(report.longrepr or ""),
        "found": getattr(report, "memwatch", []), "properties": report.user_properties,
    }}
    with open({REPORTS!r}, "a") as file:
        file.write(json.dumps(line) + "\\n")
"""


@dataclass
class Test:
    """What became of one test of a suite."""

    outcomes: dict[str, str] = field(default_factory=dict)
    """By phase."""
    texts: dict[str, str] = field(default_factory=dict)
    found: list[dict[str, Any]] = field(default_factory=list)
    properties: list[Any] = field(default_factory=list)

    @property
    def own(self) -> str:
        """What became of it, leaving out what the plugin has found after it."""
        return self.outcomes.get("call") or f"setup {self.outcomes['setup']}"


@dataclass
class Ran:
    """A run of a suite."""

    code: int
    out: str
    err: str
    tests: dict[str, Test]
    folder: Path

    @property
    def section(self) -> str:
        """The plugin's own section of the report."""
        found = re.search(r"^=+ memwatch =+\n(.*?)(?=^=+ |\Z)", self.out, re.M | re.S)
        return found[1] if found else ""

    @property
    def sessions(self) -> list[Path]:
        """Folders that were kept."""
        return sorted((self.folder / ".memwatch").glob("*"))

    def heads(self) -> list[str]:
        """``place: old → new`` of all that was found."""
        return [f"{one['place']}: {one['old']} → {one['new']}" for test in self.tests.values() for one in test.found]


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in {"pytest.ini": "[pytest]\n", **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "conftest.py").write_text(files.get("conftest.py", "") + CONFTEST)


def run(
    folder: Path,
    *arguments: str,
    command: Sequence[str] = ("-m", "pytest"),
    environment: Mapping[str, str] | None = None,
) -> Ran:
    """Runs the suite in a folder."""
    reports = folder / REPORTS
    reports.unlink(missing_ok=True)
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("MEMWATCH_", "PYTEST_", "COLUMNS"))}
    done = subprocess.run(
        [sys.executable, *command, "-p", "no:cacheprovider", "-rA", *arguments],
        cwd=folder, env={**plain, "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    tests: dict[str, Test] = {}
    for line in map(json.loads, reports.read_text().splitlines() if reports.exists() else ()):
        test = tests.setdefault(line["test"], Test())
        test.outcomes[line["when"]] = line["outcome"]
        test.texts[line["when"]] = line["text"]
        test.found += line["found"]
        test.properties += [one for one in line["properties"] if one not in test.properties]
    return Ran(done.returncode, done.stdout, done.stderr, tests, folder)
