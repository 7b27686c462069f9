"""The line that is shown first is the program's own; callers on request."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from console_script import SCRIPT, environment

Run = Any

PROGRAM = """\
import random
import helpers
from memwatch_core import watch
cards = watch(bytearray(range(3)))
total = watch(0)
def deal():
    random.Random(1).shuffle(cards)
def main():
    deal()
    total.value = 5
    helpers.double(total)
main()
"""
HELPERS = "def double(x): x.value = 2 * x.value\n"


def call(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, *arguments], cwd=folder, env=environment(**variables), capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the program, a session of it, and what that has shown. Who runs it again says another folder for
    sessions."""
    folder = tmp_path_factory.mktemp("program")
    (folder / "program.py").write_text(PROGRAM)
    (folder / "helpers.py").write_text(HELPERS)
    done = call(folder, "run", "program.py")
    assert done.returncode == 0, done.stderr
    (folder / "shown").write_text(done.stderr)
    return folder


def lines_of(text: str, word: str) -> list[str]:
    return [line.split("  ", 1)[1] for line in text.splitlines() if line.split("  ", 1)[1:] and word in line]


def test_a_write_in_a_library_names_its_caller_and_then_itself(recorded: Path) -> None:
    shown = (recorded / "shown").read_text()
    (*writes,) = lines_of(shown, "cards[")
    assert len(writes) == 4
    for line in writes:
        own, library = line.split("  in ")
        assert own.endswith("program.py:7  deal")
        assert "random.py:" in library
        assert library.split()[1] == "shuffle"
    (plain,) = lines_of(shown, "0 -> 5")
    assert "program.py:10  main" in plain
    assert "  in " not in plain
    assert "at program.py:7 deal in …/" in shown, "the summary too"


def test_line_matches_the_own_place_and_the_innermost_one(recorded: Path) -> None:
    for place, found in (("program.py:7", 4), ("random.py", 4), ("program.py:9", 0), ("program.py", 5), (":1", 1)):
        shown = call(recorded, "log", "--line", place)
        assert len(shown.stdout.splitlines()) == found, place
        last = call(recorded, "log", "--line", place, "--last", "2")
        assert last.stdout.splitlines() == shown.stdout.splitlines()[-2:], place
    assert "but from program.py:7" in call(recorded, "log", "--line", "program.py:9").stderr


def test_stacks_show_the_callers_where_they_are_asked_for(recorded: Path, tmp_path: Path) -> None:
    callers = ["from  program.py:7  deal", "from  program.py:9  main", "from  program.py:12  <module>"]
    *_, event, first, second, third = call(
        recorded, "log", "--stacks", "--line", ":7", "--last", "1"
    ).stdout.splitlines()
    assert "cards[" in event
    assert [line.strip() for line in (first, second, third)] == callers
    assert "from  " not in (recorded / "shown").read_text()
    shown = call(recorded, "run", "--stacks", "--stack", "2", "--folder", str(tmp_path), "program.py").stderr
    assert shown.count("from  program.py:7  deal") == 4
    assert shown.count("and more, not recorded") == 5
    (tmp_path / "a.toml").write_text("[sinks.console]\nstacks = true\n[watch]\nstack = 3\n")
    run = ("run", "--config", str(tmp_path / "a.toml"), "--folder", str(tmp_path))
    assert call(recorded, *run, "program.py").stderr.count("from  program.py:9  main") == 4
    assert "from" not in call(recorded, *run, "--no-stacks", "program.py").stderr


def test_stacks_without_a_console_are_a_mistake(recorded: Path) -> None:
    done = call(recorded, "run", "--stacks", "--sink", "jsonl", "program.py")
    assert done.returncode == 2
    assert "add --sink console" in done.stderr


def test_json_has_own_and_stack_and_the_site_as_ever(recorded: Path) -> None:
    events = [json.loads(line) for line in call(recorded, "log", "--json").stdout.splitlines()]
    events = [event for event in events if "seq" in event]
    for event in events[:4]:
        assert event["site"]["function"] == "shuffle"
        assert (event["own"]["line"], event["own"]["function"]) == (7, "deal")
        assert [frame["line"] for frame in event["stack"]] == [7, 9, 12]
        assert event["stack_cut"] is False
    for event in events[4:]:
        assert event["own"] == event["site"]


@pytest.mark.parametrize("by", ["file", "environment"])
def test_own_code_is_asked_for_when_a_session_is_read(recorded: Path, tmp_path: Path, by: str) -> None:
    file = tmp_path / "memwatch.toml"
    file.write_text(f'[sites]\nown = ["{recorded}/program.py", "{recorded}/src"]\n')
    variables = {"MEMWATCH_CONFIG": str(file)} if by == "file" else {"MEMWATCH_SITES_OWN": "program.py,src"}
    doubled, folder = "program.py:11  main  in helpers.py:1  double", f"{recorded}/.memwatch"
    shown = call(recorded, "log", "--folder", folder, "--variable", "total", **variables).stdout
    assert doubled in shown.replace(f"{recorded}/", "")
    assert call(recorded, "log", "--folder", folder, "--line", ":11", **variables).stdout.count("\n") == 1
    assert doubled in call(recorded, "run", "--folder", str(tmp_path), "program.py", **variables).stderr
    shown = call(recorded, "log", "--folder", str(tmp_path), "--variable", "total").stdout
    assert doubled in shown, "as the session's settings say"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("[watch]\nstack = 0", 'watch.stack = 0: must be "auto" or a number of frames, from 1 to 128'),
        ("[watch]\nstack = 129", "from 1 to 128"),
        ("[watch]\nstack = true", "from 1 to 128"),
        ('[watch]\nstack = "all"', "from 1 to 128"),
        ('[sites]\nown = "src"', 'must be a list of files and folders, such as ["src"]'),
        ('[sites]\nown = [""]', "must be a list of files and folders"),
        ('[sites]\nowm = ["src"]', "unknown key sites.owm; did you mean 'own'?"),
    ],
)
def test_wrong_setting_is_one_clear_sentence(memwatch: Run, tmp_path: Path, line: str, complaint: str) -> None:
    (tmp_path / "memwatch.toml").write_text(line + "\n")
    done = memwatch("config")
    assert done.returncode != 0
    assert complaint in done.stderr
    assert "memwatch.toml:2" in done.stderr
