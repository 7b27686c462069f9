"""Programs that do what few do end and print the same with their locals watched."""

from __future__ import annotations

import subprocess
import sys
import zipapp
from pathlib import Path

import pytest
from samples import SOAK
from strange_programs import PROGRAMS

WATCHED = ("-m", "memwatch_core.cli", "run", "--quiet", "--sink", "jsonl", "--track-all-vars", "--track-locals")


def run(folder: Path, *command: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.returncode, done.stdout


NAMES = [*PROGRAMS] if SOAK or sys.version_info >= (3, 12) else ["finalizers", "forks"]
"""Of the others, `make pythons` runs all."""


@pytest.mark.parametrize("name", NAMES)
def test_a_program_prints_what_it_does_without(tmp_path: Path, name: str) -> None:
    (tmp_path / "program.py").write_text(PROGRAMS[name])
    plain = run(tmp_path, "program.py")
    assert plain[1]
    assert run(tmp_path, *WATCHED, "program.py") == plain
    assert '"activation":1' in (tmp_path / "events.jsonl").read_text()


def test_a_zip_file_is_run_as_it_is_without(tmp_path: Path) -> None:
    (tmp_path / "app" / "pkg").mkdir(parents=True)
    (tmp_path / "app" / "pkg" / "__init__.py").write_text("")
    (tmp_path / "app" / "pkg" / "orders.py").write_text(
        "def add(n):\n    total = n\n    total += 2\n    return total\n"
    )
    (tmp_path / "app" / "__main__.py").write_text("from pkg import orders\nprint(orders.add(3))\n")
    zipapp.create_archive(tmp_path / "app", tmp_path / "app.pyz")
    assert run(tmp_path, "app.pyz") == run(tmp_path, *WATCHED, "app.pyz") == (0, "5\n")
    assert '"variable":"pkg.orders:add()"' in (tmp_path / "events.jsonl").read_text()
