"""Signals that belong to the program reach it, and end it with the right one, while its pages are watched."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from .conftest import Build
from .forms import cpu_flags

SURVIVE = (
    "own-before", "own-after", "sent-to-handler", "sent-once", "sent-ignored", "blocked", "full-mask-before",
    "full-mask-after", "setuid", "cancel", "errno", "nested", "own-exceptions", "depth",
)  # fmt: skip
DIE = {
    "die-fault": signal.SIGSEGV,
    "die-null": signal.SIGSEGV,
    "die-call": signal.SIGSEGV,
    "die-sent": signal.SIGSEGV,
    "die-ignored": signal.SIGSEGV,
    "die-beyond": signal.SIGSEGV,
    "die-bus": signal.SIGBUS,
    "die-sent-bus": signal.SIGBUS,
    "die-exception": signal.SIGFPE,
    "die-exception-ignored": signal.SIGFPE,
    "die-exception-blocked": signal.SIGFPE,
    "reset-before": signal.SIGSEGV,
    "reset-after": signal.SIGSEGV,
}


def run(build: Build, tracker: str, scenario: str, folder: Path) -> subprocess.CompletedProcess[str]:
    if "exception" in scenario and "f16c" not in cpu_flags():
        pytest.skip("the CPU lacks f16c")
    command: list[str | Path] = [build("signals.c"), tracker, folder / "journal", scenario]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("scenario", SURVIVE)
def test_program_keeps_its_signals(scenario: str, tracker: str, build: Build, tmp_path: Path) -> None:
    done = run(build, tracker, scenario, tmp_path)
    assert done.returncode == 0, f"status {done.returncode}: {done.stderr}"


@pytest.mark.parametrize("scenario", DIE)
def test_fatal_signal_stays_fatal(scenario: str, tracker: str, build: Build, tmp_path: Path) -> None:
    done = run(build, tracker, scenario, tmp_path)
    assert done.returncode == -DIE[scenario], f"status {done.returncode}: {done.stderr}"
