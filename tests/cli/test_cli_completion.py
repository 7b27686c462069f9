"""The shell completes what the guide says it does: commands, options, files and the names of sinks and trackers."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from console_script import SCRIPT

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"


def completed(line: str, folder: Path) -> list[str]:
    """What bash offers for the last word, set up as the guide says."""
    if not shutil.which("bash"):
        pytest.skip("bash isn't here")
    (setup,) = re.findall(r"^(eval .*_MEMWATCH_COMPLETE=bash_source memwatch.*?)(?: +#.*)?$", GUIDE.read_text(), re.M)
    words = line.split(" ")
    ask = f"""
        {setup}
        COMP_WORDS=({" ".join(repr(word) for word in words)}) COMP_CWORD={len(words) - 1}
        compopt() {{ echo "left to bash"; }}  # which needs a terminal
        _memwatch_completion memwatch
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    path = f"{SCRIPT.parent}:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-c", ask], cwd=folder, env={"PATH": path, "HOME": str(folder)}, capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


NAMES = [
    *("run", "attach", "log", "blame", "history", "at", "diff", "dap", "strip"),
    *("plugins", "config", "doctor"),
]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("memwatch ru", ["run"]),
        ("memwatch ", NAMES),
        ("memwatch run --track-s", ["--track-sql"]),
        ("memwatch run --sink js", ["jsonl"]),
        ("memwatch run --tracker r", ["readonly"]),
        ("memwatch log --vari", ["--variable"]),
    ],
)
def test_words_are_completed(line: str, offered: list[str], tmp_path: Path) -> None:
    assert completed(line, tmp_path) == offered


@pytest.mark.parametrize("line", ["memwatch run pro", "memwatch run -- ./pro", "memwatch config --check memw"])
def test_files_are_left_to_the_shell(line: str, tmp_path: Path) -> None:
    assert completed(line, tmp_path)[0] == "left to bash"
