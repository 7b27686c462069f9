"""``memwatch log``: what was recorded is found again, by variable, thread, SQL, line, time, live and after a kill."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from console_script import SCRIPT, environment

from memwatch_core.cli.group import group

Run = Any

PROGRAM = """\
import sqlite3, threading
from memwatch_core import watch

db = sqlite3.connect(":memory:")
db.executescript("CREATE TABLE orders (qty INTEGER); INSERT INTO orders VALUES (4), (5)")
total = watch(0, name="total")
price = watch(1.5, name="price")

def read():
    global total
    for (qty,) in db.execute("SELECT qty FROM orders WHERE qty > 3"):
        total += qty

def plain():
    global price
    price *= 2

read()
thread = threading.Thread(target=plain, name="worker-1")
thread.start()
thread.join()
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [SCRIPT, "run", "--track-sql", "--quiet", "program.py"], cwd=folder, env=environment(), capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder / "shown").write_text(done.stderr)
    return folder


def log(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, "log", *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def events(folder: Path, *arguments: str) -> list[tuple[str, object, object, int]]:
    done = log(folder, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return changes(done.stdout)


def changes(output: str) -> list[tuple[str, object, object, int]]:
    lines = [json.loads(line) for line in output.splitlines()]
    return [(e["variable"], e["old"], e["new"], e["site"]["line"]) for e in lines if "event" not in e]


FIRST, SECOND, PRICE = ("total", 0, 4, 12), ("total", 4, 9, 12), ("price", 1.5, 3.0, 16)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], [FIRST, SECOND, PRICE]),
        (["--variable", "total"], [FIRST, SECOND]),
        (["--variable", "pri*"], [PRICE]),
        (["--variable", "pri*", "--variable", "total"], [FIRST, SECOND, PRICE]),
        (["--thread", "worker-1"], [PRICE]),
        (["--thread", "MainThread", "--variable", "price"], []),
        (["--sql", "from  ORDERS"], [FIRST, SECOND]),
        (["--sql", "*"], [FIRST, SECOND]),
        (["--sql", "customers"], []),
        (["--line", "program.py:16"], [PRICE]),
        (["--line", ":12"], [FIRST, SECOND]),
        (["--line", "program.py:10-15"], [FIRST, SECOND]),
        (["--last", "1"], [PRICE]),
        (["--last", "1", "--variable", "total"], [SECOND]),
        (["--last", "9" * 23, "--variable", "total"], [FIRST, SECOND]),
        (["--since", "1h"], [FIRST, SECOND, PRICE]),
        (["--since", (datetime.now() + timedelta(days=1)).isoformat()], []),
    ],
)
def test_filters_keep_what_was_asked_for(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, filters: list[str], expected: list[object]
) -> None:
    monkeypatch.chdir(recorded)
    done = CliRunner().invoke(group, ["log", "--json", *filters])  # in this process: there are many
    assert done.exit_code == 0, done.output
    assert changes(done.stdout) == expected


def test_session_whose_key_was_deleted_reads_the_same(recorded: Path, tmp_path: Path) -> None:
    shutil.copytree(recorded, tmp_path / "copy")
    (key,) = (tmp_path / "copy").glob(".memwatch/*/key")
    before = log(tmp_path / "copy", "--json")
    key.unlink()
    after = log(tmp_path / "copy", "--json")
    assert (after.returncode, after.stderr, after.stdout) == (0, "", before.stdout)
    assert after.stdout.count("statement_hash") == 2


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        (["--variable", "totel"], "--variable 'totel': no variable has this name; did you mean 'total'?"),
        (["--variable", "zzz"], "--variable 'zzz': no variable has this name; there are total, price"),
        (["--thread", "worker-7"], "--thread 'worker-7': no thread of this name, or id, wrote anything; did you mean"),
        (["--line", "foo"], "--line 'foo': nothing was written from there; write FILE:LINE, FILE or :LINE; there is"),
        (["--line", "gram.py:16"], "did you mean 'program.py'?"),
        (["--line", "program.py:99"], "program.py:99': nothing was written from there, but from program.py:"),
        (["--line", ":99"], "--line ':99': nothing was written from there, but from program.py:"),
        (["--thread", "zzz"], "--thread 'zzz': no thread of this name, or id, wrote anything; there"),
        (["--line", "foo", "--variable", "price"], "--line 'foo': nothing was written from there"),
    ],
)
def test_filter_for_what_is_not_there_is_named(recorded: Path, filters: list[str], said: str) -> None:
    done = log(recorded, *filters)
    assert (done.returncode, done.stdout) == (1, ""), done
    assert said in done.stderr


def test_filter_for_what_is_not_there_is_named_besides_what_was_found(recorded: Path) -> None:
    done = log(recorded, "--json", "--variable", "totel", "--variable", "price")
    assert (done.returncode, changes(done.stdout)) == (0, [PRICE])
    assert done.stderr == "memwatch: --variable 'totel': no variable has this name; did you mean 'total'?\n"


@pytest.mark.parametrize("wrong", ["", "a:b", "a.py:0", "a.py:9-8", ":", "a.py:1:2", "a.py:99999999999"])
def test_line_that_is_none_is_an_error_with_the_format(recorded: Path, wrong: str) -> None:
    done = log(recorded, "--line", wrong)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--line: {wrong!r}: write FILE:LINE, FILE:FIRST-LAST, FILE or :LINE" in done.stderr


def test_file_that_is_no_journal_is_named(tmp_path: Path) -> None:
    session = tmp_path / "session"
    session.mkdir()
    (session / "session.json").write_text(
        '{"format": 1, "session": "' + "0" * 32 + '", "started": "2026-11-29T10:00:00Z", "command": []}'
    )
    os.mkfifo(session / "1-python.mwj")
    done = log(tmp_path, str(session))
    assert (done.returncode, done.stdout.count("\n")) == (1, 1)
    assert done.stderr == f"memwatch: {session}/1-python.mwj: not a regular file, so no MemWatch journal\n"
    (session / "1-python.mwj").unlink()
    (session / "1-python.mwj").write_bytes(b"garbage" * 1000)
    assert f"memwatch: {session}/1-python.mwj: not a MemWatch journal; give" in log(tmp_path, str(session)).stderr
    (session / "1-python.mwj").write_bytes(b"")
    done = log(tmp_path, str(session))
    assert done.returncode == 0
    assert f"{session}/1-python.mwj: not a MemWatch journal, or one that was only just created" in done.stderr


def test_filters_work_from_the_console_script(recorded: Path) -> None:
    assert events(recorded, "--variable", "total", "--sql", "orders", "--line", "program.py:12") == [FIRST, SECOND]


def test_statement_is_found_by_its_hash(recorded: Path) -> None:
    lines = [json.loads(line) for line in log(recorded, "--json", "--sql", "*").stdout.splitlines()]
    digest = lines[0]["context"]["statement_hash"]
    assert events(recorded, "--sql", digest) == events(recorded, "--sql", digest[:6]) == [FIRST, SECOND]


def test_table_is_what_the_run_showed(recorded: Path) -> None:
    done = log(recorded)
    assert done.stderr == ""
    shown = (recorded / "shown").read_text().splitlines()
    squeezed = [re.sub(" {2,}", "  ", line) for line in done.stdout.splitlines()]
    assert squeezed == [re.sub(" {2,}", "  ", line) for line in shown]
    assert "\x1b" not in done.stdout


def test_nothing_found_says_how_much_there_was(recorded: Path) -> None:
    done = log(recorded, "--variable", "price", "--thread", "MainThread")
    assert (done.returncode, done.stdout) == (0, "")
    assert re.fullmatch(r"memwatch: session \S+: none of its 3 events matches\n", done.stderr)


def test_one_event_is_told_as_one(tmp_path: Path) -> None:
    program = "from memwatch_core import watch\nonly = watch(0)\nonly += 1\n"
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=60)
    done = log(tmp_path, "--variable", "olny", "--thread", "zzz")
    assert done.stderr.splitlines()[0].endswith(": its only event doesn't match")
    assert "did you mean 'only'?" in done.stderr
    assert done.stderr.endswith("wrote anything; there is MainThread\n")


@pytest.mark.parametrize("last", [[], ["--last", "9"]], ids=["all", "last"])
def test_filter_for_a_length_asks_every_event_of_a_line(tmp_path: Path, last: list[str]) -> None:
    """Whether one passes isn't told by variable, line and thread."""
    source = "from memwatch_core import watch\nn = watch(bytearray(b'abc'), capacity=100)\n"
    (tmp_path / "lengths.py").write_text(f"{source}for i in range(4): n[0:1] = b'z' if i % 2 else b'xy'\n")
    subprocess.run([sys.executable, "lengths.py"], cwd=tmp_path, check=True, timeout=60)
    lines = map(json.loads, log(tmp_path, "--json", "--variable", "len(n)", *last).stdout.splitlines())
    assert [line["new"] for line in lines if "seq" in line] == [b"xybc".hex(), b"xyybc".hex()]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("len(fixed)", "nothing changed the length of fixed"),
        ("len(unwritten)", "nothing changed the length of unwritten"),
        ("len(number)", "nothing changed the length of number"),
        ("len(fixd)", "no variable has this name"),
        ("len(fixed", "no variable has this name"),
        ("fixed[50]", "nothing was written to this part of fixed"),
    ],
)
def test_length_that_never_changed_is_not_called_a_name_that_is_not_there(
    lengths: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.chdir(lengths)
    for more in ([], ["--last", "9"], ["--thread", "MainThread"], ["--since", "1h"]):
        done = CliRunner().invoke(group, ["log", "--variable", text, *more])
        assert (done.exit_code, done.stdout) == (1, ""), done.output
        assert f"memwatch: --variable {text!r}: {said}" in done.stderr, more


@pytest.fixture(scope="module")
def lengths(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session with a variable whose length changes, and others whose doesn't."""
    folder = tmp_path_factory.mktemp("lengths")
    program = """
from memwatch_core import watch
fixed, unwritten = watch(bytearray(60), name="fixed"), watch(bytearray(9), name="unwritten")
number = watch(0, name="number")
grows = watch(bytearray(b"abc"), capacity=100, name="grows")
fixed[3] = 7
number += 1
grows += b"d"
"""
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True, timeout=60)
    return folder


def test_sessions_are_listed_and_found_by_name_part_folder_and_file(recorded: Path) -> None:
    listed = log(recorded, "--list").stdout.splitlines()
    assert listed[0].split() == ["session", "started", "processes", "command"]
    name = listed[1].split()[0]
    assert listed[1].endswith("1          program.py")
    folder = recorded / ".memwatch" / name
    for session in (name, name[-6:], str(folder), str(next(folder.glob("*.mwj")))):
        assert len(events(recorded, session)) == 3, session


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nosuch"], "'nosuch' is neither a session in"),
        (["--folder", "empty"], "empty: no session there yet; make one with: memwatch run script.py"),
        (["--since", "yesterday"], "write how long ago (30s, 5m, 2h, 1d) or a time"),
        (["--line", ""], "write FILE:LINE"),
        (["program.py"], "program.py: not a MemWatch journal"),
    ],
)
def test_wrong_question_is_one_error(recorded: Path, arguments: list[str], message: str) -> None:
    done = log(recorded, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_latest_session_is_the_default(recorded: Path, tmp_path: Path) -> None:
    for text in ("one", "two"):
        (tmp_path / "program.py").write_text(
            f"from memwatch_core import watch\n{text} = watch(1, name='{text}')\n{text} += 1\n"
        )
        subprocess.run([SCRIPT, "run", "program.py"], cwd=tmp_path, env=environment(), capture_output=True, check=True)
    assert [event[0] for event in events(tmp_path)] == ["two"]


def test_session_is_read_while_it_runs_and_after_its_process_was_killed(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import sys\nfrom memwatch_core import watch\nn = watch(0, name='n')\nn += 1\nprint('written', flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "program.py"], cwd=tmp_path, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        assert events(tmp_path) == [("n", 0, 1, 4)]
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    assert events(tmp_path) == [("n", 0, 1, 4)]
    assert "the process ended without closing it" in log(tmp_path).stdout


def test_log_in_a_pipe_that_closes_is_quiet(recorded: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"'{SCRIPT}' log --json | head -n 1"], cwd=recorded, env=environment(), capture_output=True,
        text=True, timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)
    assert done.stderr == ""


def test_table_on_a_terminal_has_colours_unless_no_color(recorded: Path) -> None:
    def on_terminal(**variables: str) -> bytes:
        control, terminal = os.openpty()
        try:
            subprocess.run(
                [SCRIPT, "log", "--variable", "price"], cwd=recorded, env=environment(TERM="xterm", **variables),
                stdout=terminal, stderr=subprocess.DEVNULL, timeout=60, check=True,
            )  # fmt: skip
            return os.read(control, 65536)
        finally:
            os.close(control)
            os.close(terminal)

    assert b"\x1b[" in on_terminal()
    assert b"\x1b[" not in on_terminal(NO_COLOR="1")


BRACKETS = """\
from memwatch_core import watch

grid = watch(bytearray(9000), name="grid")
grid1 = watch(0, name="grid1")
grid[8191] = 1
grid[2:5] = b"abc"
grid1 += 1
"""


@pytest.mark.parametrize(
    ("wanted", "events", "status"),
    [("grid[8191]", ["grid"], 0), ("grid[10:5]", [], 1), ("grid[3:3]", [], 1), ("grid?", ["grid1"], 0)],
)
@pytest.mark.parametrize("last", [[], ["--last", "9"]], ids=["all", "last"])
def test_brackets_of_a_part_are_no_pattern(
    wanted: str, events: list[str], status: int, last: list[str], tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(BRACKETS)
    done = subprocess.run([SCRIPT, "run", "--quiet", "program.py"], cwd=tmp_path, env=environment(), timeout=60)
    assert done.returncode == 0
    command = [SCRIPT, "log", "--json", "--variable", wanted, *last]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert ([line["variable"] for line in lines if "seq" in line], done.returncode) == (events, status), done.stderr
    assert {line["variable"] for line in lines} <= {*events}


def test_losses_are_no_match_of_a_filter(tmp_path: Path) -> None:
    (tmp_path / "memwatch.toml").write_text('[journal]\nmax_bytes = 4194304\npolicy = "rotate"\n')
    program = "from memwatch_core import watch\nx = watch(0, name='x')\nfor i in range(120_000): x += 1\n"
    (tmp_path / "program.py").write_text(program)
    plain = {**environment(), "MEMWATCH_PLUGINS_SINKS": ""}
    done = subprocess.run([SCRIPT, "run", "--quiet", "program.py"], cwd=tmp_path, env=plain, timeout=60)
    assert done.returncode == 0
    for last in ([], ["--last", "2"]):
        command = [SCRIPT, "log", "--thread", "nobody", *last]
        done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60)
        assert done.returncode == 1, done.stdout
        assert "matches" in done.stderr


TWINS = """\
from memwatch_core import watch

def one():
    total = watch(0)
    total += 1
    return total

def other():
    total = watch(bytearray(9))
    total[3] = 7
    total[5] = 8
    return total

kept = one(), other()
"""


def logged(folder: Path, *options: str) -> tuple[list[str], list[str], int]:
    """What is shown, without times; what is said; the exit status."""
    done = subprocess.run(
        [SCRIPT, "log", *options],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return [line[14:] for line in done.stdout.splitlines()], done.stderr.splitlines(), done.returncode


def test_variables_of_one_name_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "twins.py").write_text(TWINS)
    done = subprocess.run(
        [SCRIPT, "run", "twins.py"], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert "memwatch:   total#1" in done.stderr
    assert "memwatch:   total#2" in done.stderr
    which = "memwatch: --variable 'total': 2 variables have this name: total#1 (twins.py:4), total#2 (twins.py:9)"

    shown, said, status = logged(tmp_path, "--variable", "total")
    assert (len([line for line in shown if "->" in line]), said, status) == (3, [which], 0)
    shown, said, status = logged(tmp_path, "--variable", "total", "--last", "2")
    assert (len(shown), said, status) == (2, [which], 0)

    shown, said, status = logged(tmp_path, "--variable", "total#1")
    assert (said, status) == ([], 0)
    assert [line.partition(" ")[0] for line in shown[:2]] == ["total", "total"]
    assert "0 -> 1" in shown[1]
    assert logged(tmp_path, "--variable", "total#1", "--last", "5")[0] == [shown[1]]

    for wanted, changes in {"total#2[3]": 1, "total#2": 2, "tot*#2": 2, "total#2[4]": 0}.items():
        shown, said, status = logged(tmp_path, "--variable", wanted)
        assert (len([line for line in shown if "->" in line]), status) == (changes, 0 if changes else 1), (wanted, said)
    assert len(logged(tmp_path, "--path", "total#2[3:*", "--last", "9")[0]) == 1

    shown, said, status = logged(tmp_path, "--variable", "total#7")
    assert (shown, status) == ([], 1)
    assert said[-1] == (
        "memwatch: --variable 'total#7': nothing was written to this variable; there are total#1 (twins.py:4), "
        "total#2 (twins.py:9)"
    )
