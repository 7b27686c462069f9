"""The real console script, in a folder of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from console_script import SCRIPT, environment

from memwatch_core.cli.group import group
from memwatch_core.errors import ConfigError, JournalError, SessionError

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def memwatch(tmp_path: Path) -> Run:
    """``memwatch("run", "x.py", fakes=["success"], MEMWATCH_...="...")`` runs it in the test's folder."""
    assert SCRIPT.exists(), "install the distribution first: make setup"

    def run(*arguments: str, fakes: tuple[str, ...] = (), **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SCRIPT, *arguments],
            cwd=tmp_path,
            env=environment(*fakes, **variables),
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    return run


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """``ask("blame", "total")`` of the session in the test's folder, in this process: status, output, errors."""

    def asked(*arguments: str) -> tuple[int, str, str]:
        done = CliRunner().invoke(group, [*arguments, "--session", str(tmp_path)], terminal_width=80)
        told = done.exception
        if told is not None and not isinstance(told, SystemExit):
            assert isinstance(told, ConfigError | SessionError | JournalError), repr(told)
            return 2, done.stdout, str(told) + done.stderr
        return done.exit_code, done.stdout, done.stderr

    return asked
