"""What a number behind a name means: a call of a function, one of several functions, an instance of a class."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "journal"))
from journal_writer import JournalWriter, cell

from memwatch_core.cli.group import group

BEGINS, TRACK_LOCALS = 0x80, 8
Ask = Callable[..., tuple[int, str, str]]


class Program:
    """Functions, whose calls bind names."""

    def __init__(self) -> None:
        self.writer = JournalWriter()
        self.writer.site(1, "/srv/orders.py", 7, "add")
        self.writer.thread(7, "MainThread")
        self.writer.thread(8, "worker-1")
        self.cells: dict[int, bytes] = {}

    def function(self, ident: int, name: str) -> None:
        self.writer.variable(ident, 4096, flags=1 | TRACK_LOCALS)
        self.writer.metadata(ident, name=name, cells=64, shown="locals")
        self.writer.place(ident, 0, ".total")
        self.cells[ident] = cell()

    def bind(self, ident: int, call: int | None, value: Any, *, begins: bool = False, **options: Any) -> None:
        now = cell(value)
        kind = now[:1] if not begins else bytes([now[0] | BEGINS])
        self.writer.change(ident, 0, self.cells[ident], kind + now[1:], site=1, activation=call, **options)
        self.cells[ident] = now

    def save(self, folder: Path) -> None:
        self.writer.save(folder)


@pytest.fixture
def log(tmp_path: Path) -> Ask:
    def asked(*arguments: str) -> tuple[int, str, str]:
        done = CliRunner().invoke(group, ["log", str(tmp_path), *arguments], terminal_width=80)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.stdout, done.stderr

    return asked


@pytest.fixture
def two(tmp_path: Path) -> Program:
    """Two functions of one name, of two calls each."""
    program = Program()
    for ident in (3, 57):
        program.function(ident, "m:f()")
        for call in (1, 2):
            program.bind(ident, call, 10 * ident + call, begins=True)
    program.save(tmp_path)
    return program


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("asked", "values"),
    [
        ("m:f()#57", [(2, 572)]), ("m:f()#3.total", [(2, 32)]), ("m:f()#57#1", [(1, 571)]),
        ("m:f()#3#2.total", [(2, 32)]), ("m:f()#57#*", [(1, 571), (2, 572)]),
        ("m:f()#*", [(1, 31), (2, 32), (1, 571), (2, 572)]), ("m:*()#1.to*", [(1, 31), (1, 571)]),
    ],
)  # fmt: skip
def test_the_first_of_two_numbers_says_which_function(ask: Ask, asked: str, values: list[tuple[int, int]]) -> None:
    for command in (["blame", asked], ["at", "end", asked]):
        status, out, error = ask(*command, "--json")
        assert status == 0, error
        rows = [json.loads(line) for line in out.splitlines()]
        assert sorted((row["activation"], row["value"]) for row in rows) == sorted(values)
    status, out, _ = ask("history", asked, "--each", "--json")
    numbers = [json.loads(line)["new"] for line in out.splitlines()]
    assert {value for _, value in values} <= set(numbers)


@pytest.mark.usefixtures("two")
def test_a_call_of_several_functions_is_no_answer(ask: Ask) -> None:
    for command in (["blame", "m:f()#2"], ["history", "m:f()#2.total"]):
        status, out, error = ask(*command)
        assert (status, out) == (2, "")
        assert "2 variables have this name; say which: m:f()#3#2" in error
        assert "m:f()#57#2" in error


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("name", "numbers"),
    [("m:f()#57", [571, 572]), ("m:f()#3", [31, 32]), ("m:f()#57#2", [572]), ("m:f()#2", [32, 572]), ("m:f()", None)],
)
def test_filters_take_the_number_of_one_of_several_functions(log: Ask, name: str, numbers: list[int] | None) -> None:
    for option, text in (("--variable", name), ("--path", f"{name}.total"), ("--variable", f"{name}.total")):
        status, out, error = log("--json", option, text)
        assert status == 0, error
        events = [json.loads(line) for line in out.splitlines()]
        assert [e["part"]["new"] for e in events if "seq" in e] == (numbers or [31, 32, 571, 572])


def test_a_call_that_is_not_there_is_told(tmp_path: Path, ask: Ask, log: Ask) -> None:
    program = Program()
    program.function(3, "m:f()")
    program.bind(3, 1, 5, begins=True)
    program.save(tmp_path)
    status, _, error = ask("blame", "m:f()#3")
    assert status == 2
    assert "nothing was bound there; m:f() was called once" in error
    status, _, error = log("--path", "m:f()#3.total")
    assert status == 1
    assert "behind the name of a function, a number says which call" in error


def test_what_two_calls_add_to_names_of_their_own_is_not_lost(tmp_path: Path, ask: Ask) -> None:
    program = Program()
    program.function(3, "m:f()")
    for call, tid in ((1, 7), (2, 8)):
        program.bind(3, call, 0, begins=True, tid=tid)
    for value in range(1, 9):
        for call, tid in ((1, 7), (2, 8)):
            program.cells[3] = cell(value - 1)
            program.bind(3, call, value, tid=tid)
    program.save(tmp_path)
    status, out, error = ask("blame", "m:f()")
    assert (status, error) == (0, "")
    assert "lost update" not in out


def test_what_two_threads_add_to_a_name_of_one_call_may_be(tmp_path: Path, ask: Ask) -> None:
    """``nonlocal``: here the second one began with what the first one had written over."""
    program = Program()
    program.function(3, "m:f()")
    program.bind(3, 4, 0, begins=True)
    for old, new, tid in ((0, 1, 7), (1, 2, 7), (2, 3, 8), (3, 4, 8), (4, 5, 7), (5, 6, 7), (6, 6, 8)):
        program.cells[3] = cell(old)
        program.bind(3, 4, new, tid=tid)
    program.save(tmp_path)
    for asked in ("m:f()", "m:f()#4", "m:f().total", "m:f()#4.total"):
        rows = [json.loads(line) for line in ask("blame", asked, "--json")[1].splitlines()]
        (lost,) = [row for row in rows if row["answer"] == "lost update"]
        assert (lost["part"], lost["activation"], lost["event"]["seq"]) == (".total", 4, 8)
    assert "lost update of m:f()#4.total, once" in " ".join(ask("blame", "m:f()")[1].split())


def test_what_is_gone_of_a_call_is_not_guessed(tmp_path: Path, memwatch: Any) -> None:
    """A journal with a limit: one call is older than what is left of it."""
    (tmp_path / "memwatch.toml").write_text('[journal]\nmax_bytes = 4194304\npolicy = "rotate"\n')
    (tmp_path / "loop.py").write_text(
        "def add(n):\n    total = n\n    return total\n"
        "def outer(n):\n    first = n\n    for i in range(40_000):\n        add(i)\n    first = 7\nouter(5)\n"
    )
    assert memwatch("run", "-q", "--track-locals", "--sink", "jsonl", "loop.py").returncode == 0
    rows = [json.loads(line) for line in memwatch("diff", "start", "end", "loop:outer()", "--json").stdout.splitlines()]
    assert {row["part"]: (row["old"], row["new"]) for row in rows} == {
        ".first": ({"shown": "unknown"}, 7), ".i": ({"shown": "unknown"}, 39_999),
    }  # fmt: skip
    (row,) = (json.loads(memwatch("at", "end", "loop:outer()#1.first", "--json").stdout),)
    assert (row["activation"], row["value"]) == (1, 7)
    done = memwatch("blame", "loop:add()#3")
    assert (
        "nothing was bound there; loop:add() was called 40,000 times, counted from 1, and events before" in done.stderr
    )


@pytest.mark.parametrize("number", [1, 2, 7])
def test_a_number_behind_an_attribute_of_a_class_is_an_instance(
    tmp_path: Path, ask: Ask, log: Ask, number: int
) -> None:
    """Also one that is the number of the variable."""
    writer = JournalWriter()
    writer.slab(2, "m:Order.total", shown="absent")
    for at, each in enumerate((1, 2, 7)):
        writer.place(2, 64 * at, f"#{each}")
        writer.change(2, 64 * at, cell(), cell(each))
        writer.change(2, 64 * at, cell(each), cell(10 * each))
    writer.save(tmp_path)
    asked = f"m:Order.total#{number}"
    for command in (["blame", asked], ["at", "end", asked]):
        (row,) = [json.loads(line) for line in ask(*command, "--json")[1].splitlines()]
        assert (row["part"], row["activation"], row["value"]) == (f"#{number}", None, 10 * number)
    runs = [json.loads(line) for line in ask("history", asked, "--each", "--json")[1].splitlines()]
    assert [run["new"] for run in runs] == [number, 10 * number]
    for option in ("--variable", "--path"):
        events = [json.loads(line) for line in log("--json", option, asked)[1].splitlines()]
        assert [e["part"]["new"] for e in events if "seq" in e] == [number, 10 * number]
