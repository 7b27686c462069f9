"""The example in ``examples/memwatch-sink-example`` is what it says: short, installable, selected by configuration."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "memwatch-sink-example"
PROGRAM = """\
from memwatch_core import watch
total = watch(0, name="total")
price = watch(1.0, name="price")
for _ in range(3):
    total += 1
price *= 2
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, installed by pip into a folder of this test's."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", folder / "site", folder / "source"], check=True, timeout=120)
    return folder / "site"


def memwatch(*arguments: str, folder: Path, site: Path | None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder)} | ({"PYTHONPATH": str(site)} if site else {})
    script = Path(sys.executable).with_name("memwatch")
    return subprocess.run(
        [script, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_example_is_under_thirty_lines() -> None:
    assert len((EXAMPLE / "memwatch_sink_example.py").read_text().splitlines()) < 30


def test_example_is_selected_by_configuration_and_gets_every_event(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "memwatch.toml").write_text("[plugins]\nsinks = ['tally']\n")
    listed = memwatch("plugins", folder=tmp_path, site=installed)
    assert ["sinks", "tally", "memwatch-sink-example", "0.1.0", "loaded"] in [
        line.split()[:5] for line in listed.stdout.splitlines()
    ], listed
    done = memwatch("run", "--quiet", "program.py", folder=tmp_path, site=installed)
    assert (done.returncode, done.stdout, done.stderr) == (0, "       3 total\n       1 price\n", "")


def test_example_that_is_not_installed_is_an_error_before_the_program_runs(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("open('started', 'w')")
    done = memwatch("run", "--sink", "tally", "program.py", folder=tmp_path, site=None)
    assert done.returncode == 2
    assert "--sink: plugins.sinks names 'tally': no installed distribution offers a sink of this name" in done.stderr
    assert not (tmp_path / "started").exists()


def test_example_that_is_installed_and_not_named_is_not_imported(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    broken = tmp_path / "site"
    shutil.copytree(installed, broken)
    (broken / "memwatch_sink_example.py").write_text("raise RuntimeError('imported')")
    done = memwatch("run", "--quiet", "program.py", folder=tmp_path, site=broken)
    assert done.returncode == 0
    assert "imported" not in done.stderr
