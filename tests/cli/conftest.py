"""The real console script, in a folder of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from console_script import SCRIPT, environment

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
