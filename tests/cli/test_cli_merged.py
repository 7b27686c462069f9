"""Stores to an array that one statement made are one line; ``--each`` shows every one of them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from console_script import SCRIPT, environment

Run = Any

PROGRAM = """\
from memwatch_core import watch

frame = watch(bytearray(800), name="frame")
total = watch(0, name="total")
pixels = memoryview(frame)
pixels[3::8] = b"\\xff" * 100
pixels[5] = 7
total += 1
for round in range(3):
    pixels[0:64:8] = b"\\1" * 8
"""


@pytest.fixture
def recorded(memwatch: Run, tmp_path: Path) -> Any:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = memwatch("run", "program.py")
    assert done.returncode == 0, done.stderr
    return done


def events_of(text: str) -> list[str]:
    """Lines about stores, without times and columns."""
    lines = [re.sub(" {2,}", "  ", line[14:]) for line in text.splitlines() if not line.startswith("memwatch: ")]
    return [line for line in lines if re.match(r"(frame|total)(\[|  )", line)]


LINES = [
    "frame[3:796:8]  (100 elements, 100 stores) 0 -> 255  program.py:6  <module>  MainThread",
    "frame[5:6]  b'\\x00' -> b'\\x07'  program.py:7  <module>  MainThread",
    "total  0 -> 1  program.py:8  <module>  MainThread",
    "frame[0:57:8]  (8 elements, 8 stores) 0 -> 1  program.py:10  <module>  MainThread",
    "frame[0:57:8]  (8 elements, 8 stores) 1 (unchanged)  program.py:10  <module>  MainThread",
    "frame[0:57:8]  (8 elements, 8 stores) 1 (unchanged)  program.py:10  <module>  MainThread",
]


def test_a_statement_is_a_line_on_the_console_and_in_the_log(recorded: Any, memwatch: Run) -> None:
    assert events_of(recorded.stderr) == LINES
    assert "memwatch: 126 events on 2 variables by 1 thread; nothing lost" in recorded.stderr
    assert events_of(memwatch("log").stdout) == LINES


def test_each_shows_every_store_and_a_single_one_as_it_is_shown_merged(recorded: Any, memwatch: Run) -> None:
    each, merged = memwatch("log", "--each").stdout, memwatch("log").stdout
    assert len(events_of(each)) == 126
    assert [line for line in events_of(merged) if "stores" not in line] == [
        line for line in events_of(each) if "program.py:7" in line or "total" in line
    ]


def test_the_console_shows_each_if_asked(memwatch: Run, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    assert len(events_of(memwatch("run", "--each", "program.py").stderr)) == 126
    (tmp_path / "memwatch.toml").write_text("[sinks.console]\neach = true\n")
    assert len(events_of(memwatch("run", "program.py").stderr)) == 126
    assert events_of(memwatch("run", "--merged", "program.py").stderr) == LINES


def test_lines_of_json_have_each_event_unless_merged_ones_are_asked_for(recorded: Any, memwatch: Run) -> None:
    each = [json.loads(line) for line in memwatch("log", "--json").stdout.splitlines()]
    assert [line["seq"] for line in each if "seq" in line] == [*range(1, 127)]
    merged = [json.loads(line) for line in memwatch("log", "--json", "--merged").stdout.splitlines()]
    runs = [line for line in merged if line.get("event") == "merged"]
    singles = [line for line in merged if "seq" in line and "event" not in line]
    assert singles == [line for line in each if line.get("seq") in (101, 102)]
    assert [(run["seq"], run["last_seq"], run["stores"], run["name"]) for run in runs] == [
        (1, 100, 100, "[3:796:8]"), (103, 110, 8, "[0:57:8]"), (111, 118, 8, "[0:57:8]"), (119, 126, 8, "[0:57:8]"),
    ]  # fmt: skip
    assert runs[0]["spans"] == [{"start": 11, "length": 1, "strides": [[8, 100]]}]
    assert (runs[0]["old"]["low"], runs[0]["new"]["high"], runs[0]["new"]["same"]) == (0, 255, True)


@pytest.mark.parametrize(("count", "expected"), [(1, LINES[-1:]), (4, LINES[-4:]), (50, LINES)])
def test_last_counts_lines(recorded: Any, memwatch: Run, count: int, expected: list[str]) -> None:
    assert events_of(memwatch("log", "--last", str(count)).stdout) == expected


def test_last_of_events_that_cannot_merge_counts_events(recorded: Any, memwatch: Run) -> None:
    assert events_of(memwatch("log", "--last", "2", "--variable", "total").stdout) == [LINES[2]]
    assert len(events_of(memwatch("log", "--last", "7", "--each").stdout)) == 7


def test_filters_choose_events_before_they_are_merged(recorded: Any, memwatch: Run) -> None:
    assert events_of(memwatch("log", "--variable", "frame[0:20]").stdout) == [
        "frame[3:20:8]  (3 elements, 3 stores) 0 -> 255  program.py:6  <module>  MainThread",
        LINES[1],
        "frame[0:17:8]  (3 elements, 3 stores) 0 -> 1  program.py:10  <module>  MainThread",
        *2 * ["frame[0:17:8]  (3 elements, 3 stores) 1 (unchanged)  program.py:10  <module>  MainThread"],
    ]
    assert events_of(memwatch("log", "--line", "program.py:6").stdout) == LINES[:1]
    nothing = memwatch("log", "--variable", "frame[700]")
    assert events_of(nothing.stdout) == []
    assert "none of its 126 events matches" in nothing.stderr


def test_sinks_get_what_they_ask_for_in_one_run(memwatch: Run, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = memwatch("run", "--sink", "console", "--sink", "jsonl", "program.py")
    assert events_of(done.stderr) == LINES
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["seq"] for line in lines if "seq" in line] == [*range(1, 127)]
    assert not [line for line in lines if line.get("event") == "merged"]
    (tmp_path / "memwatch.toml").write_text("[sinks.jsonl]\neach = false\nappend = false\n")
    done = memwatch("run", "--each", "--sink", "console", "--sink", "jsonl", "program.py")
    assert len(events_of(done.stderr)) == 126
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line.get("event", "one") for line in lines if "seq" in line] == ["merged", "one", "one"] + 3 * ["merged"]


def test_a_line_is_shown_while_the_program_goes_on(tmp_path: Path) -> None:
    """It isn't known yet that nothing will follow; after the gap, the run is over."""
    (tmp_path / "program.py").write_text(PROGRAM.split("pixels[5]")[0] + "print('up', flush=True)\ninput()\n")
    process = subprocess.Popen(
        [SCRIPT, "run", "program.py"], cwd=tmp_path, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        assert process.stdin is not None
        seen = ""
        while "(100 elements, 100 stores)" not in seen:
            line = process.stderr.readline()
            assert line, seen
            seen += line
        assert process.poll() is None
        process.stdin.write("\n")
        process.stdin.close()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def test_each_of_a_console_that_is_no_sink_is_refused(memwatch: Run, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = memwatch("run", "--each", "--sink", "jsonl", "program.py")
    assert done.returncode == 2
    assert "--each is for the console, which isn't among the sinks: add --sink console" in done.stderr


STATEMENTS = """\
import sqlite3
from memwatch_core import watch

frame = watch(bytearray(800), name="frame")
pixels = memoryview(frame)
db = sqlite3.connect(":memory:")
db.execute("CREATE TABLE t (a)")
cursor = db.execute("INSERT INTO t VALUES (1)")
pixels[3::8] = b"\\xff" * 100
db.rollback()
"""


def test_an_outcome_says_what_merged_stores_wrote(memwatch: Run, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(STATEMENTS)
    done = memwatch("run", "--track-sql", "program.py")
    assert "frame[3:796:8] 0 -> 255 (100 writes)" in done.stderr, done.stderr
    assert "100 events under 1 that was rolled back" in done.stderr
