"""Every error of the ABI that registering and writing can give, and that a refusal changes nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .conftest import Build


def test_refusals_say_what_and_change_nothing(tracker: str, build: Build, tmp_path: Path) -> None:
    command: list[str | Path] = [build("refusals.c"), tracker, tmp_path / "journal", tmp_path / "full"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    (tmp_path / "journal").unlink(missing_ok=True)
    assert done.returncode == 0, f"status {done.returncode}\n{done.stdout}{done.stderr}"
