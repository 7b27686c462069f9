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
    "command", ["$M run ../p.py", "$M run -- true", "$M log", "$M log --list", "$M config --check x", "$M doctor"]
)
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


STREAMS = {">&-": 0, "2>&-": 3, "<&-": 0, ">&- 2>&-": 3, "<&- >&- 2>&-": 0, ">/dev/full": 3, "2>/dev/full": 0}


@pytest.mark.parametrize(("streams", "status"), STREAMS.items())
def test_exit_status_is_the_program_s_whatever_becomes_of_the_streams(work: Path, streams: str, status: int) -> None:
    (work / "p.py").write_text(f"{WATCHES}import sys\nsys.exit({status})")
    done = shell(work, f"$M run p.py {streams}")
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert shell(work, "$M log --json").stdout.count('"new":1') == 1


def test_program_finds_closed_what_was_closed(work: Path) -> None:
    (work / "p.py").write_text(
        "import os, sys\nfound = [os.path.exists(f'/proc/self/fd/{n}') for n in (0, 1)] + [sys.stdin, sys.stdout]\n"
        "print(found, file=sys.stderr)"
    )
    for command in ("$P", "$M run -q --"):
        done = shell(work, f"{command} {'' if command == '$P' else '$P'} p.py <&- >&-")
        assert (done.returncode, done.stderr) == (0, "[False, False, None, None]\n")


SAYING = ("log", "log --json", "log --list", "doctor", "--help", "log --help", "no-such-command")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "p.py").write_text(WATCHES)
    assert shell(folder, "$M run -q p.py").returncode == 0
    return folder


@pytest.mark.parametrize("command", SAYING)
def test_output_that_has_nowhere_to_go_is_no_traceback(recorded: Path, command: str) -> None:
    as_ever = shell(recorded, f"$M {command}")
    closed = shell(recorded, f"$M {command} >&-")
    assert (closed.returncode, closed.stderr, closed.stdout) == (as_ever.returncode, as_ever.stderr, "")
    assert shell(recorded, f"$M {command} 2>&-").returncode == as_ever.returncode
    full = shell(recorded, f"$M {command} 2>/dev/full >/dev/full")
    assert full.returncode == (1 if as_ever.stdout else as_ever.returncode)
    full = shell(recorded, f"$M {command} >/dev/full")
    assert "Traceback" not in full.stderr
    if as_ever.stdout:
        assert full.returncode == 1
        assert full.stderr.endswith("memwatch: the output can't be written: No space left on device\n")
