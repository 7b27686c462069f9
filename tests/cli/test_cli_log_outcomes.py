"""``memwatch log`` by what became of statements: what was written under SQL that was rolled back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from console_script import SCRIPT, environment

from memwatch_core.cli.group import group

# The first process commits what the second one, whose statements have the same numbers, rolls back.
PROGRAM = """\
import sqlite3, subprocess, sys
from memwatch_core import watch

total = watch(0, name="total")
price = watch(1.5, name="price")
db = sqlite3.connect(":memory:")
db.execute("CREATE TABLE orders (qty INTEGER UNIQUE)")
last = sys.argv[1:] == ["last"]
db.execute("INSERT INTO orders VALUES (4)")
total += 4
db.execute("INSERT INTO orders VALUES (5)")
total += 5
price *= 2
db.rollback() if last else db.commit()
db.execute("INSERT INTO orders VALUES (6)")
total += 6
db.commit()
total += 100
if not last:
    subprocess.run([sys.executable, __file__, "last"], check=True)
"""
FOUR, NINE, PRICE, SIX = ("total", 4, 10), ("total", 9, 12), ("price", 3.0, 13), ("total", 15, 16)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [SCRIPT, "run", "--track-sql", "program.py"], cwd=folder, env=environment(MEMWATCH_WATCH_TRACK_SQL="1"),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder / "shown").write_text(done.stderr)
    return folder


def log(*arguments: str) -> tuple[list[dict[str, Any]], str]:
    done = CliRunner().invoke(group, ["log", "--json", *arguments])
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--rolled-back"], [FOUR, NINE, PRICE]),
        (["--outcome", "rolled back"], [FOUR, NINE, PRICE]),
        (["--outcome", "rolled-back", "--variable", "price"], [PRICE]),
        (["--rolled-back", "--last", "2"], [NINE, PRICE]),
        (["--rolled-back", "--line", ":10"], [FOUR]),
        (["--rolled-back", "--sql", "insert", "--thread", "MainThread", "--variable", "total"], [FOUR, NINE]),
        (["--rolled-back", "--sql", "delete"], []),
        (["--outcome", "committed"], [FOUR, NINE, PRICE, SIX, SIX]),
        (["--outcome", "committed", "--rolled-back"], [FOUR, NINE, PRICE, SIX, FOUR, NINE, PRICE, SIX]),
        (["--outcome", "failed"], []),
    ],
)
def test_outcome_is_a_filter_like_the_others(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, filters: list[str], expected: list[object]
) -> None:
    monkeypatch.chdir(recorded)
    lines, _ = log(*filters)
    assert [(e["variable"], e["new"], e["site"]["line"]) for e in lines] == expected
    if filters[0] == "--rolled-back":
        assert len({e["pid"] for e in lines}) <= 1, "numbers of statements belong to one process"
        assert {e["context"]["outcome"] for e in lines} <= {"rolled back"}


def test_lines_and_table_of_everything_say_it_too(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(recorded)
    lines, _ = log()
    outcomes = [line for line in lines if line.get("event") == "outcome"]
    assert sum(line["events"] for line in outcomes if line["outcome"] == "rolled back") == 3
    assert [e["context"]["outcome"] for e in lines if "seq" in e and e["context"]].count("rolled back") == 3
    table = CliRunner().invoke(group, ["log"]).stdout
    assert table.count("rolled back: sqlite3: INSERT INTO orders VALUES (?)") == 3
    (line,) = [line for line in table.splitlines() if "rolled back: 2 statements" in line]
    assert "under which were written: total 0 -> 9 (2 writes), price 1.5 -> 3.0" in line
    assert line.endswith("sqlite3: INSERT INTO orders VALUES (?) x2")
    shown = (recorded / "shown").read_text()
    assert line[14:] in shown, "the run has said it"
    assert "; 3 events under 2 that were rolled back; nothing lost (" in shown
    assert "exit status 0)" in shown


def test_unknown_outcome_is_an_error_with_a_suggestion(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(recorded)
    done = CliRunner().invoke(group, ["log", "--outcome", "comitted"])
    assert done.exit_code == 2
    assert "write open, committed, rolled back, failed or 'failed: ERROR'" in done.stderr
    assert "did you mean 'committed'?" in done.stderr


def test_session_that_still_runs_says_what_is_known_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "program.py").write_text(
        "import sqlite3, sys\nfrom memwatch_core import watch\nn = watch(0, name='n')\n"
        "db = sqlite3.connect(':memory:')\ndb.execute('CREATE TABLE t (x)')\n"
        "for _ in range(2):\n    db.execute('INSERT INTO t VALUES (1)')\n    n += 1\n    print(flush=True)\n"
        "    sys.stdin.readline()\n    db.rollback()\nprint(flush=True)\nsys.stdin.readline()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "program.py"], cwd=tmp_path, env=environment(MEMWATCH_WATCH_TRACK_SQL="1"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        for count in range(3):
            assert process.stdout.readline() == "\n"
            lines, said = log("--rolled-back")
            assert [line["new"] for line in lines] == list(range(1, count + 1))
            assert "a process of the session still runs: what becomes of statements from now on isn't known yet" in said
            process.stdin.write("\n")
            process.stdin.flush()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()
    lines, said = log("--rolled-back")
    assert ([line["new"] for line in lines], said) == ([1, 2], "")
