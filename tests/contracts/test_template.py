"""The template of a driver, with the names of a library in the place of its own, is a plugin that can be installed, is
found by its entry point, and keeps the contract."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import minilite
import pytest

TEMPLATE = Path(__file__).parents[2] / "plugins/_template/memwatch-sql-dbx"


def instance(folder: Path, name: str) -> Path:
    """A copy of the template, as its README says to make one: ``dbx`` replaced in files and their names."""
    made = folder / f"memwatch-sql-{name}"
    for file in TEMPLATE.rglob("*"):
        if file.is_file() and not {"__pycache__", "build"} & set(file.parts) and "egg-info" not in str(file):
            copy = made / str(file.relative_to(TEMPLATE)).replace("dbx", name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(file.read_text().replace("dbx", name).replace("Dbx", name.title()))
    return made


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("template")
    made, site = instance(folder, "minilite"), folder / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*pip, f"--target={site}", made], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    shutil.copy(minilite.__file__, site)
    return made, os.environ | {"PYTHONPATH": str(site)}


def test_template_keeps_the_contract(installed: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    made, environment = installed
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'base'}", "tests"]
    done = subprocess.run(suite, cwd=made, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.rsplit(" passed", 1)[0].rsplit(maxsplit=1)[-1]) > 50


def test_template_is_found_by_its_entry_point(installed: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    (tmp_path / "memwatch.toml").write_text('[plugins]\nsql = ["minilite"]\n')
    (tmp_path / "prog.py").write_text(
        "import minilite\nfrom memwatch_core import watch\ntotal = watch(0, track_sql=True)\n"
        "cursor = minilite.connect(':memory:').cursor()\ncursor.execute('SELECT 5')\ntotal += cursor.fetchone()[0]\n"
    )
    run = [sys.executable, "-m", "memwatch_core.cli", "run", "prog.py"]
    done = subprocess.run(run, cwd=tmp_path, env=installed[1], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "minilite: SELECT ?" in done.stdout + done.stderr
