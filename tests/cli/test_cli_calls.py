"""``memwatch log``, ``blame``, ``history``, ``at`` and ``diff`` tell calls of a function apart: beside what functions
said themselves, with an index beside the journal and without."""

from __future__ import annotations

import json
import random
import signal
import subprocess
from pathlib import Path
from typing import Any

import naive_locals
import pytest
from click.testing import CliRunner
from console_script import SCRIPT, environment
from samples import SOAK

from memwatch_core.cli.group import group
from memwatch_core.host import indexing, merge, skipping
from memwatch_core.journal import index as index_file
from memwatch_core.journal import reader

CLIMB, STEPS, ORDER = "orders:climb()", "orders:steps()", "orders:body.<locals>.Order"
FUNCTIONS = (CLIMB, STEPS, ORDER)


class Recorded:
    """A session, and what its process said."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.process = folder, naive_locals.Process(folder / "said")

    def print(self, *arguments: str, width: int = 80) -> str:
        command = [*arguments, "--folder", str(self.folder / ".memwatch")]
        done = CliRunner().invoke(group, command, terminal_width=width)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert done.exit_code == 0, done.output
        return done.stdout

    def ask(self, *arguments: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.print(*arguments, "--json").splitlines()]


def record(folder: Path, seed: int, turns: int, ends: str) -> Recorded:
    (folder / "said").mkdir()
    (folder / "memwatch.toml").write_text('[watch]\nmodules = ["orders"]\n')
    for name in ("ORDERS", "SAYING", "PROGRAM"):
        (folder / f"{name.lower()}.py").write_text(getattr(naive_locals, name).lstrip("\n"))
    done = subprocess.run(
        [SCRIPT, "run", "--quiet", "--track-locals", "program.py", str(folder / "said"), str(seed), str(turns), ends],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == (0 if ends == "exit" else -signal.SIGKILL), done.stderr
    return Recorded(folder)


@pytest.fixture(scope="module", params=range(20) if SOAK else [1])
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    ends = ("exit", "kill")[request.param % 2]
    return record(tmp_path_factory.mktemp(ends), request.param, 40, ends)


@pytest.fixture(params=["with an index", "without an index"][: 2 if SOAK else 1], autouse=True)
def index(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of small parts, for journals of any size."""
    if request.param == "with an index":
        monkeypatch.setattr(indexing, "LEAST", 1)
        monkeypatch.setattr(index_file.Index, "pays", lambda index: True)
        monkeypatch.setattr(indexing, "SHARE", 1)
        monkeypatch.setattr(indexing, "PART_SLOTS", 60)
        for module in (indexing, skipping, index_file):
            monkeypatch.setattr(module, "STRETCH", 4)
        for module in (reader, merge):
            monkeypatch.setattr(module, "BLOCK_SLOTS", 255)


def moments(recorded: Recorded, seed: object, count: int = 3) -> list[int]:
    draw, end = random.Random(repr(seed)), len(recorded.process.said)
    assert end > 500
    return sorted([end, *(draw.randint(1, end) for _ in range(count))])


def some_calls(recorded: Recorded, variable: str) -> list[int]:
    calls = sorted({each.call for each in recorded.process.said if each.variable == variable})
    return [calls[0], calls[len(calls) // 2], calls[-1]]


def value(shown: Any) -> Any:
    return shown["shown"] if isinstance(shown, dict) else shown


@pytest.mark.parametrize("variable", FUNCTIONS)
def test_at_has_what_the_call_held_that_bound_a_name_last(recorded: Recorded, variable: str) -> None:
    for seq in moments(recorded, variable):
        expected = recorded.process.last(variable, seq)
        rows = recorded.ask("at", str(seq), variable) if expected else []
        found = {row["part"][1:]: (row["activation"], row["value"], row["last"]["seq"]) for row in rows}
        assert found == {name: each[:3] for name, each in expected.items() if each[1] != "absent"}, seq


@pytest.mark.parametrize("variable", FUNCTIONS)
def test_at_has_what_each_call_held(recorded: Recorded, variable: str) -> None:
    for seq in moments(recorded, variable):
        held = recorded.process.in_calls(variable, seq)
        for call in (*some_calls(recorded, variable), "*"):
            expected = {key: each[:2] for key, each in held.items() if call in ("*", key[0]) and each[0] != "absent"}
            rows = recorded.ask("at", str(seq), f"{variable}#{call}") if held else []
            found = {(row["activation"], row["part"][1:]): (row["value"], row["last"]["seq"]) for row in rows}
            assert found == expected, (seq, call)


@pytest.mark.parametrize("variable", FUNCTIONS)
def test_history_has_each_binding_of_a_call(recorded: Recorded, variable: str) -> None:
    said = recorded.process.said
    for call in (None, *some_calls(recorded, variable)):
        for name in (None, "total" if variable != ORDER else "limit"):
            numbers = recorded.process.of(variable, call, name)
            asked = variable + (f"#{call}" if call else "") + (f".{name}" if name else "")
            rows = recorded.ask("history", asked, "--each") if numbers else []
            assert [row["first"]["seq"] for row in rows] == numbers, asked
            held: dict[tuple[int, str], Any] = {}
            for row, number in zip(rows, numbers, strict=True):
                key = said[number - 1].call, said[number - 1].name
                assert (row["activation"], row["part"][1:]) == key
                assert (value(row["old"]), value(row["new"])) == (held.get(key, "absent"), said[number - 1].value)
                held[key] = value(row["new"])


def test_a_run_of_history_is_of_one_call(recorded: Recorded) -> None:
    for row in recorded.ask("history", CLIMB):
        calls = {recorded.process.said[row[which]["seq"] - 1].call for which in ("first", "last")}
        assert calls == {row["activation"]}


@pytest.mark.parametrize("variable", FUNCTIONS)
def test_blame_names_who_bound_a_name_last(recorded: Recorded, variable: str) -> None:
    for seq in moments(recorded, variable, 2):
        all_calls = recorded.process.last(variable, seq)
        for call in (None, *some_calls(recorded, variable)):
            in_call = {key[1]: each for key, each in recorded.process.in_calls(variable, seq).items() if key[0] == call}
            if call is None:
                expected = {name: (of, number, count) for name, (of, _, number, count) in all_calls.items()}
            else:
                expected = {name: (call, number, count) for name, (_, number, count) in in_call.items()}
            if not expected:
                continue
            rows = recorded.ask("blame", variable + (f"#{call}" if call else ""), "--at", str(seq))
            rows = [row for row in rows if row["answer"] == "part"]
            assert {r["part"][1:]: (r["activation"], r["last"]["seq"], r["writes"]) for r in rows} == expected
            for row in rows:
                said = recorded.process.said[row["last"]["seq"] - 1]
                assert (row["last"]["site"]["line"], row["last"]["thread"]) == (said.line, said.thread)


@pytest.mark.parametrize("variable", FUNCTIONS)
def test_diff_compares_what_the_same_call_held(recorded: Recorded, variable: str) -> None:
    process = recorded.process
    for since, until in zip(*[iter(moments(recorded, variable, 5))] * 2, strict=True):
        before, after = process.in_calls(variable, since), process.in_calls(variable, until)
        lasts = {(each[0], name) for name, each in process.last(variable, until).items()}
        written = process.in_calls(variable, until, since)
        for asked, keys in ((variable, lasts), (f"{variable}#*", set(after))):
            expected = {}
            for key in keys & set(written):
                old = before[key][0] if key in before else "absent"
                if old != after[key][0]:
                    expected[key] = (old, *after[key][:2])
            rows = recorded.ask("diff", str(since), str(until), asked) if after else []
            found = {
                (row["activation"], row["part"][1:]): (value(row["old"]), value(row["new"]), row["last"]["seq"])
                for row in rows
            }
            assert found == expected, (since, until, asked)


@pytest.mark.parametrize("variable", FUNCTIONS)
def test_filters_pass_the_events_of_a_call(recorded: Recorded, variable: str) -> None:
    for call in some_calls(recorded, variable):
        for option, name, of in (
            ("--variable", f"{variable}#{call}", (call, None)),
            ("--path", f"{variable}#{call}.*", (call, None)),
            ("--path", f"{variable}#{call}.limit", (call, "limit")),
            ("--path", f"{variable}.total", (None, "total")),
            ("--variable", f"{variable}#{call}.total", (call, "total")),
        ):
            numbers = recorded.process.of(variable, *of)
            if not numbers:
                continue
            for last in ([], ["--last", "3"]):
                lines = [line for line in recorded.ask("log", option, name, *last) if "seq" in line]
                assert [line["seq"] for line in lines] == (numbers[-3:] if last else numbers), (option, name)


def test_no_update_of_a_local_is_lost(recorded: Recorded) -> None:
    """Threads that run one function each have their own."""
    assert not [row for row in recorded.ask("blame", CLIMB) if row["answer"] == "lost update"]


def test_pages_are_no_wider_than_the_terminal_and_name_the_call(recorded: Recorded) -> None:
    page = recorded.print("blame", CLIMB)
    assert f"{CLIMB}#" in page
    assert f"of a function, each name is that of the call that bound it last; {CLIMB}#2 asks for one call" in page
    assert f"{CLIMB}#1.total" in recorded.print("at", "end", f"{CLIMB}#1")
    assert "of a function" not in recorded.print("blame", f"{CLIMB}#1")
