"""A working folder that is gone, standard streams that are closed or full: one sentence at most, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from console_script import SCRIPT, environment

WATCHES = "from memwatch_core import watch\nx = watch(0, name='x')\nx += 1\n"


def shell(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """A line of the shell; $M is the command, $P this Python."""
    env = environment(M=str(SCRIPT), P=sys.executable)
    return subprocess.run(["sh", "-c", line], cwd=folder, env=env, capture_output=True, text=True, timeout=60)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with a program and, inside, another that is to be removed."""
    (tmp_path / "gone").mkdir()
    (tmp_path / "p.py").write_text(WATCHES)
    return tmp_path


@pytest.mark.parametrize(
    "command", ["$M run ../p.py", "$M run -m p", "$M run -- true", "$M log", "$M log --list", "$M config", "$M plugins",
                "$M config --check x", "$M doctor"],
)  # fmt: skip
def test_working_folder_that_was_removed_is_one_sentence(work: Path, command: str) -> None:
    done = shell(work / "gone", f"rmdir ../gone; {command}")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("memwatch: the working folder can't be used: No such file or directory; ")
    assert done.stderr.count("\n") == 1


def test_watch_in_a_working_folder_that_was_removed_raises_an_error_of_ours(work: Path) -> None:
    (work / "p.py").write_text(
        "from memwatch_core import watch, errors\n"
        "try: watch(0)\n"
        "except errors.ConfigError as error: print(error)\n"
    )  # fmt: skip
    done = shell(work / "gone", f"rmdir ../gone; $P {work}/p.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("the working folder can't be used: No such file or directory")


def test_program_may_remove_the_working_folder(work: Path) -> None:
    (work / "p.py").write_text(f"import os; os.rmdir('{work}/gone')\n{WATCHES}")
    done = shell(work / "gone", f"$M run --folder {work}/kept {work}/p.py")
    assert done.returncode == 0, done.stderr
    assert "0 -> 1" in done.stderr
    assert f"memwatch log {work}/kept/" in done.stderr
    assert "Traceback" not in done.stderr
