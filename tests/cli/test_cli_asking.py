"""``memwatch blame``, ``history``, ``at``, ``diff``: wrong questions, damaged journals, and what a page looks like."""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from console_script import SCRIPT, environment
from hostile_text import HOSTILE, check

sys.path.insert(0, str(Path(__file__).parents[1] / "journal"))
from journal_writer import LOST, JournalWriter, cell

from memwatch_core.answers import moments
from memwatch_core.answers.blamed import by_place
from memwatch_core.records import Context, Event, Request

HERE = os.getcwd()
ASKED = {
    "blame": lambda what, moment: ["blame", what, "--at", moment],
    "history": lambda what, moment: ["history", what, "--until", moment],
    "at": lambda what, moment: ["at", moment, what],
    "diff": lambda what, moment: ["diff", "start", moment, what],
}


def int64(number: int) -> bytes:
    return struct.pack("<q", number)


def written(pid: int = 4242) -> JournalWriter:
    """``total`` twice, one of which is written by two threads, ``grid`` and ``order``."""
    writer = JournalWriter(pid)
    at = {"file": f"{HERE}/orders.py", "line": 7, "function": "<module>"}
    writer.site(1, f"{HERE}/orders.py", 41, "add")
    writer.site(2, f"{HERE}/orders.py", 50, "reset")
    writer.thread(7, "MainThread")
    writer.thread(8, "worker-1")
    writer.watch(1, int64(0), "price", site=at)
    writer.watch(2, int64(5), "total", site=at)
    writer.watch(3, int64(5), "total", site=at | {"line": 9})
    writer.watch(4, bytes(24), "grid", "struct", options={"format": "<3q"}, site=at)
    writer.watch(5, int64(4) + b"abcd" + bytes(4), "data", "bytearray", options={"capacity": 8}, site=at)
    writer.slab(6, "order", site=at)
    writer.place(6, 0, ".qty")
    writer.store(1, 0, int64(0), int64(3), site=1)
    writer.store(1, 0, int64(3), int64(9), site=2, tid=8)
    writer.store(2, 0, int64(5), int64(6), site=1)
    writer.store(4, 8, int64(0), int64(70), site=1)
    writer.store(5, 9, b"bc", b"XY", site=2)
    writer.change(6, 0, cell(1), cell(2), site=1)
    return writer


Ask = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("command", ASKED)
@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("prize", "no variable has this name; did you mean 'price'?"),
        ("zzz", "no variable has this name; there are price, total, grid, data, order"),
        ("", "no variable has this name; there are"),
        ("zzz*", "no variable's name is like this; there are price, "),
        ("total", "2 variables have this name; say which: total#2 (orders.py:7), total#3 (orders.py:9)"),
        ("total#9", "no variable has this name"),
        ("total#x", "no variable has this name; did you mean 'total'?"),
    ],
)
def test_variable_that_is_not_there_or_not_the_only_one_is_named(
    tmp_path: Path, ask: Ask, command: str, what: str, said: str
) -> None:
    written().save(tmp_path)
    status, out, error = ask(*ASKED[command](what, "end"))
    assert (status, out) == (2, "")
    assert error.startswith(repr(what))
    assert said in error


@pytest.mark.parametrize("command", ASKED)
@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ("7", "process 4242 has events 1 to 6"),
        ("0", "process 4242 has events 1 to 6"),
        ("4242:99", "process 4242 has events 1 to 6"),
        ("1:1", "the session has no process 1; it has 4242"),
        ("4242.1:1", "the session has no process 4242.1; it has 4242"),
        ("1999-01-01", "the session began later, at 2023-11-1"),
        ("1999-01-01T00:00:00.5+02:00", "the session began later"),
        ("24:00:00", "hour must be in 0..23"),
        ("12:60:00", "minute must be in 0..59"),
    ],
)
def test_moment_outside_of_the_session_is_told(tmp_path: Path, ask: Ask, command: str, moment: str, said: str) -> None:
    written().save(tmp_path)
    status, out, error = ask(*ASKED[command]("price", moment))
    assert (status, out) == (2, "")
    assert said in error


@pytest.mark.parametrize(
    "moment",
    ["", "yesterday", "-1", "1:2:3:4", "5 apples", "²", "1" * 30, "4242:", *HOSTILE.values()],
)
def test_text_that_is_no_moment_is_told_with_what_is_one(tmp_path: Path, ask: Ask, moment: str) -> None:
    written().save(tmp_path)
    status, out, error = ask("blame", "price", "--at", moment)
    assert (status, out) == (2, "")
    assert "no moment: write start, end" in error
    check(error)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("price.x", "price has no part '.x'; it has none"),
        ("price[0]", "price has no part '[0]'; it has none"),
        ("grid[3]", "grid has no part '[3]'; its parts are [0], [1], [2]"),
        ("grid.x", "grid has no part '.x'"),
        ("data[4:6]", "data has no part '[4:6]' at that moment: it ends before"),
        ("data[2:2]", "data has no part '[2:2]'"),
        ("order.zzz", "'order.zzz': nothing was written to such a place; did you mean"),
        ("order.q", "'order.q': nothing was written to such a place; did you mean 'order.qty'?"),
    ],
)
def test_part_that_is_not_there_is_told_with_those_that_are(tmp_path: Path, ask: Ask, what: str, said: str) -> None:
    written().save(tmp_path)
    status, _, error = ask("blame", what)
    assert status == 2
    assert said in error


@pytest.mark.parametrize(
    ("what", "rows"),
    [
        ("price", [("", 9, 2)]),
        ("total#2", [("", 6, 3)]),
        ("total#3", [("", 5, None)]),
        ("grid", [("[0]", 0, None), ("[1]", 70, 4), ("[2]", 0, None)]),
        ("grid[1]", [("[1]", 70, 4)]),
        ("data", [("len()", 4, None), ("[0:1]", "61", None), ("[1:3]", "5859", 5), ("[3:4]", "64", None)]),
        ("data[2:4]", [("[2:3]", "59", 5), ("[3:4]", "64", None)]),
        ("len(data)", [("len()", 4, None)]),
        ("order", [(".qty", 2, 6)]),
        ("order.qty", [(".qty", 2, 6)]),
        ("order.*", [(".qty", 2, 6)]),
        ("ord*", [(".qty", 2, 6)]),
    ],
)
def test_words_mean_a_variable_or_a_part_of_it(
    tmp_path: Path, ask: Ask, what: str, rows: list[tuple[str, object, int | None]]
) -> None:
    written().save(tmp_path)
    status, out, _ = ask("blame", what, "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [(row["part"], row["value"], row["last"] and row["last"]["seq"]) for row in found] == rows


@pytest.mark.parametrize("command", ASKED)
def test_several_processes_are_shown_each_and_a_number_needs_its_process(
    tmp_path: Path, ask: Ask, command: str
) -> None:
    written(4242).save(tmp_path)
    written(4243).save(tmp_path)
    status, _, error = ask(*ASKED[command]("price", "2"))
    assert status == 2
    assert "each of the session's 2 processes counts its events; write 4242:2, 4243:2" in error
    status, out, _ = ask(*ASKED[command]("price", "4243:2"), "--json")
    assert status == 0
    assert {json.loads(line)["pid"] for line in out.splitlines()} == {4242, 4243}


@pytest.mark.parametrize("command", ASKED)
def test_session_without_events_or_journals_is_told(tmp_path: Path, ask: Ask, command: str) -> None:
    writer = JournalWriter()
    writer.save(tmp_path)
    status, out, error = ask(*ASKED[command]("price", "end"))
    assert (status, out) == (2, "")
    assert "no variable has this name; nothing was watched" in error
    status, _, error = ask(*ASKED[command]("price", "1"))
    assert status == 2
    assert "process 4242 has no events" in error


@pytest.mark.parametrize("command", ASKED)
@pytest.mark.parametrize("cut", [4096, 4096 + 64 * 9, 4096 + 64 * 30, 5000])
def test_journal_that_is_cut_short_gives_what_it_has(tmp_path: Path, ask: Ask, command: str, cut: int) -> None:
    path = written().save(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    status, out, error = ask(*ASKED[command]("price", "end"))
    assert status in (0, 2)
    assert out or error
    assert "Traceback" not in error


def test_file_that_is_no_journal_is_told_beside_the_answer(tmp_path: Path, ask: Ask) -> None:
    written().save(tmp_path)
    (tmp_path / "7-python.mwj").write_bytes(b"nothing of the kind" * 400)
    status, out, error = ask("blame", "price")
    assert status == 1
    assert "price = 9" in out
    assert "7-python.mwj" in error


def test_loss_that_is_told_after_the_last_write_leaves_a_doubt_and_what_is_said_later_takes_it(
    tmp_path: Path, ask: Ask
) -> None:
    writer = written()
    writer.blob(LOST, 1, struct.pack("<Q", 2) + b"the disk was full")
    writer.blob(LOST, 4, struct.pack("<Q", 2) + b"the disk was full")
    writer.content(4, int64(0) + int64(70) + int64(8))
    writer.store(4, 0, int64(0), int64(1), site=2)
    writer.save(tmp_path)
    rows = {row["variable"] + row["part"]: row for row in map(json.loads, ask("at", "end", "--json")[1].splitlines())}
    assert rows["price"]["doubt"] == "the disk was full"
    assert rows["grid"]["value"] == [1, 70, 8]
    assert rows["grid"]["doubt"] == ""
    blamed = {row["part"]: row for row in map(json.loads, ask("blame", "grid", "--json")[1].splitlines())}
    assert {part: row["last"] and row["last"]["seq"] for part, row in blamed.items()} == {
        "[0]": 7,
        "[1]": 4,
        "[2]": None,
    }
    _, out, _ = ask("blame", "price")
    assert "price = 9?" in out
    assert "what has a ? may have changed unseen: the disk was full" in out
    earlier = {row["variable"]: row for row in map(json.loads, ask("at", "1", "--json")[1].splitlines())}
    assert earlier["price"]["doubt"], "the loss may have been before"


def test_place_that_was_found_to_have_changed_is_in_doubt_before(tmp_path: Path, ask: Ask) -> None:
    writer = written()
    writer.change(6, 0, cell(2), cell(5), origin=5, flags=3)
    writer.save(tmp_path)
    before = {row["variable"]: row for row in map(json.loads, ask("at", "6", "--json", "order")[1].splitlines())}
    assert (before["order"]["value"], before["order"]["doubt"]) == (2, "it changed unseen, perhaps before")
    assert "found: changed unseen" in ask("blame", "order")[1]


def test_watch_that_ended_is_not_there_any_more_and_can_still_be_blamed(tmp_path: Path, ask: Ask) -> None:
    writer = written()
    writer.unregistered(1, 2, 1)
    writer.unregistered(2, 0, 8)
    writer.save(tmp_path)
    names = {json.loads(line)["variable_id"] for line in ask("at", "end", "--json")[1].splitlines()}
    assert names == {2, 3, 4, 5, 6}
    assert "until" in ask("blame", "price")[1]
    assert "unwatch() at orders.py:50 reset" in ask("blame", "price")[1]
    assert "price = 9" in ask("at", "end", "price")[1]


def test_place_is_found_by_each_of_its_names_and_where_not_all_are_known_there_is_a_doubt(
    tmp_path: Path, ask: Ask
) -> None:
    writer = written()
    writer.slab(7, "cart")
    writer.place(7, 0, ".sum")
    writer.change(7, 0, cell(1), cell(2), site=2)
    writer.place(6, 64, ".customer.age")
    writer.alias(6, 64, [(7, ".owner.age")])
    writer.change(6, 64, cell(40), cell(41), site=1)
    writer.save(tmp_path)
    for what in ("order.customer.age", "cart.owner.age"):
        (row,) = map(json.loads, ask("blame", what, "--json")[1].splitlines())
        assert (row["value"], row["last"]["seq"], row["doubt"]) == (41, 8, "")
        (run,) = map(json.loads, ask("history", what, "--json")[1].splitlines())
        assert (run["old"], run["new"]) == (40, 41)
        assert f"{what} = 40" in ask("at", "7", what)[1]
        assert f"{what} 40 -> 41" in ask("diff", "7", "end", what)[1]
    (row,) = map(json.loads, ask("blame", "cart.owner.age", "--by", "site", "--json")[1].splitlines())
    assert row["writes"] == 1
    writer.alias(6, 64, [(7, ".owner.age")], cut=True)
    writer.change(6, 64, cell(41), cell(42), site=1)
    writer.not_followed(7, 3, 1, "deque", ".queue")
    writer.save(tmp_path)
    _, out, _ = ask("blame", "cart")
    assert "cart.owner.age = 42\n" in out
    assert "cart.sum = 2?\n" in out
    assert "more names lead to something that it holds than are recorded" in out
    assert "cart.queue is not followed: changes in it aren't told (deque) (3 such)" in out


STEPS = {
    "adds": ([(1, 1), (1, 2), (1, 3), (2, 4), (2, 5), (1, 4), (1, 5)], 1),
    "adds by both at once": ([(1, 1), (1, 2), (1, 3), (2, 4), (2, 5), (1, 4), (2, 6), (2, 7)], 2),
    "adds in turn": ([(1, 1), (1, 2), (1, 3), (2, 4), (1, 5), (2, 6)], 0),
    "sets the same": ([(1, 1), (1, 1), (2, 1), (1, 1), (2, 1), (1, 1)], 0),
    "adds other numbers": ([(1, 1), (1, 2), (1, 3), (2, 9), (2, 10), (1, 4)], 0),
    "once only": ([(1, 1), (2, 1)], 0),
    "jumps": ([(1, 1), (1, 2), (1, 3), (2, 4), (1, 77), (1, 78)], 0),
}


@pytest.mark.parametrize("name", STEPS)
def test_lost_update_is_told_where_nothing_else_explains_the_value(tmp_path: Path, ask: Ask, name: str) -> None:
    steps, expected = STEPS[name]
    writer, now = JournalWriter(), 0
    writer.watch(1, int64(0), "total")
    writer.site(1, f"{HERE}/orders.py", 41, "add")
    for thread, value in steps:
        writer.store(1, 0, int64(now), int64(value), site=1, tid=thread)
        now = value
    writer.save(tmp_path)
    found = [json.loads(line) for line in ask("blame", "total", "--json")[1].splitlines()]
    lost = [row for row in found if row.get("answer") == "lost update"]
    assert sum(row["count"] for row in lost) == expected
    assert ("lost update of total" in ask("blame", "total")[1]) == bool(expected)


@pytest.mark.parametrize("reads", [True, False])
def test_line_that_may_count_by_itself_only_looks_like_a_lost_update(tmp_path: Path, ask: Ask, reads: bool) -> None:
    writer, now = JournalWriter(), 0
    writer.watch(1, int64(0), "progress")
    writer.site(1, f"{HERE}/orders.py", 41, "work")
    others = [(2, 4), (2, 5)] if reads else [(2, 1), (2, 2)]
    for thread, value in [(1, 1), (1, 2), (1, 3), *others, (1, 4)]:
        writer.store(1, 0, int64(now), int64(value), site=1, tid=thread)
        now = value
    writer.save(tmp_path)
    told = " ".join(ask("blame", "progress")[1].split())
    assert ("looks like a lost update of progress" in told) == (not reads)
    assert ("or this line counts by itself" in told) == (not reads)
    assert "lost update of progress" in told


LABELLED = """\
import memwatch_core
total = memwatch_core.watch(0, name="total")
with memwatch_core.label("order 17"):
    total.value = 1
"""


def test_blame_names_the_request_under_which_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(LABELLED)
    subprocess.run([sys.executable, "program.py"], cwd=tmp_path, env=environment(), timeout=60, check=True)
    told = subprocess.check_output([SCRIPT, "blame", "total"], cwd=tmp_path, env=environment(), text=True)
    assert told.splitlines()[-1] == "  1: order 17"


RACE = """\
import json, random, sys, threading, time
from memwatch_core import watch
hits = watch(0, name="hits")
sys.setswitchinterval(1e-5)
reads = {}
def count():
    draw, mine = random.Random(threading.current_thread().name), []
    for _ in range(300):
        seen = int(hits)
        if draw.random() < 0.1:
            time.sleep(1e-4)
        hits.value = seen + 1
        mine.append(seen)
    reads[threading.get_native_id()] = mine
threads = [threading.Thread(target=count, name=f"t{n}") for n in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
json.dump(reads, open("reads", "w"))
"""


def test_update_that_is_called_lost_was_made_from_an_older_value(tmp_path: Path) -> None:
    """Of threads that really race: by what each has read before it stored."""
    (tmp_path / "program.py").write_text(RACE)
    subprocess.run([sys.executable, "program.py"], cwd=tmp_path, env=environment(), timeout=60, check=True)
    ask = [SCRIPT, "blame", "hits", "--json"], [SCRIPT, "log", "--json"]
    blamed, logged = (
        [json.loads(line) for line in subprocess.check_output(each, cwd=tmp_path, env=environment()).splitlines()]
        for each in ask
    )
    reads = {int(tid): iter(seen) for tid, seen in json.loads((tmp_path / "reads").read_text()).items()}
    events = [event | {"read": next(reads[event["tid"]])} for event in logged if "seq" in event]
    stale = {event["seq"]: event for event in events if event["old"] != event["read"]}
    lost = [row for row in blamed if row["answer"] == "lost update"]
    assert len(stale) > 5, "they raced"
    assert sum(row["count"] for row in lost) <= len(stale)
    for row in lost:
        assert row["event"]["seq"] in stale
        assert stale[row["event"]["seq"]]["read"] == row["from"] == row["over"]["old"]
        assert row["over"]["tid"] != row["event"]["tid"]
    assert lost


PROGRAM = """\
from memwatch_core import watch
total = watch(0)
for n in range(5):
    total.value = n + 1
print("ready", flush=True)
input()
"""


@pytest.mark.parametrize("command", ASKED)
def test_program_that_still_writes_is_answered(tmp_path: Path, command: str) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    with subprocess.Popen(
        [sys.executable, "program.py"], cwd=tmp_path, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    ) as program:  # fmt: skip
        assert program.stdout is not None
        assert program.stdin is not None
        assert program.stdout.readline() == "ready\n"
        done = subprocess.run(
            [SCRIPT, *ASKED[command]("total", "end"), "--json"], cwd=tmp_path, env=environment(), capture_output=True,
            text=True, timeout=60, check=False,
        )  # fmt: skip
        program.communicate("\n", timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    (found,) = map(json.loads, done.stdout.splitlines())
    assert found["last"]["seq"] == 5


def test_values_and_names_can_not_steer_a_terminal(tmp_path: Path, ask: Ask) -> None:
    writer = JournalWriter()
    hostile = "".join(HOSTILE.values())
    writer.slab(1, hostile, shown=hostile, site={"file": hostile, "line": 1, "function": hostile})
    writer.site(1, hostile, 3, hostile)
    writer.thread(7, hostile)
    writer.place(1, 0, f".{hostile}")
    writer.change(1, 0, cell("a"), cell(hostile[:10]), site=1)
    writer.save(tmp_path)
    for arguments in (
        ["at", "end"],
        ["diff", "start", "end"],
        ["blame", "*"],
        ["history", "*"],
        ["blame", "*", "--by", "thread"],
    ):
        for more in ([], ["--json"]):
            status, out, error = ask(*arguments, *more)
            assert status == 0, error
            check(out + error)


def test_damage_gives_an_answer_or_a_sentence_and_never_a_traceback(tmp_path: Path, ask: Ask) -> None:
    writer = written()
    writer.blob(LOST, 1, struct.pack("<Q", 2) + b"the disk was full")
    writer.content(4, int64(0) + int64(70) + int64(8))
    writer.store(4, 0, int64(0), int64(1), site=2)
    good, draw = writer.bytes(whole_segments=False), random.Random(5)
    for number in range(40):
        data = bytearray(good)
        for _ in range(draw.randint(1, 6)):
            at = draw.randrange(4096, len(data))
            data[at] = draw.choice([0, 255, data[at] ^ 1 << draw.randrange(8)])
        (tmp_path / "4242-python.mwj").write_bytes(data)
        asked = [["at", "3"], ["diff", "2", "end"], ["blame", "*"], ["history", "*"]][number % 4]
        status, out, error = ask(*asked, *(["--json"] if number % 3 else []))
        assert status in (0, 1, 2), error
        assert out or error
        if number % 3:
            assert all(map(json.loads, out.splitlines()))


def test_value_that_claims_a_terabyte_takes_no_more_than_what_is_written_of_it(tmp_path: Path, ask: Ask) -> None:
    writer = JournalWriter()
    writer.variable(1, 1 << 40)
    writer.metadata(1, name="huge")
    writer.variable(2, 1 << 40)
    writer.metadata(2, name="many", serializer="typedarray", options={"class": "Float64Array"})
    writer.store(1, (1 << 31) - 1, b"\0\0", b"ab")
    writer.store(2, 1 << 30, bytes(8), struct.pack("<d", 1.5))
    writer.save(tmp_path)
    middle = f"[{(1 << 31) - 1}:{(1 << 31) + 1}]"
    rows = [json.loads(line) for line in ask("blame", "huge", "--json")[1].splitlines()]
    assert [(row["part"], row["value"]) for row in rows if row["last"]] == [(middle, "6162")]
    assert f"huge{middle}" in ask("diff", "start", "end", "huge")[1]
    assert "61 62" not in ask("blame", "huge")[1], "the two bytes are on two lines"
    assert "  0007ffffff0  " in ask("blame", "huge", "--each")[1]
    assert f"many[{1 << 27}] = 1.5" in ask("blame", f"many[{1 << 27}]")[1]
    assert ask("at", "end")[0] == 0


def test_history_of_several_processes_says_whose_each_row_is_in_order_of_time(tmp_path: Path, ask: Ask) -> None:
    for name, start in (("4242-python.1", 10**6), ("4242-python", 0)):
        writer = JournalWriter(started=1_700_000_000_000_000_000 + start)
        writer.site(1, f"{HERE}/orders.py", 41, "add")
        writer.watch(1, int64(0), "price")
        writer.store(1, 0, int64(0), int64(3), site=1)
        if start:
            writer.store(1, 0, int64(3), int64(4), site=1, tid=8)
            writer.store(1, 0, int64(4), int64(5), site=1)
        writer.save(tmp_path).rename(tmp_path / f"{name}.mwj")
    status, out, _ = ask("history", "price")
    rows = [(line.split()[0], line.split("  ")[-1]) for line in out.splitlines()[1:7]]
    assert status == 0
    assert rows == [
        ("4242", "watched: 0"),
        ("4242:1", "0 -> 3"),
        ("4242.1", "watched: 0"),
        ("4242.1:1", "0 -> 3"),
        ("4242.1:2", "3 -> 4"),
        ("4242.1:3", "4 -> 5"),
    ]
    assert out.splitlines()[7].startswith("4242.1: 3 "), "and whose the picture is"


def test_history_is_in_order_of_time_and_waits_for_no_more_than_a_limit(
    tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = JournalWriter()
    writer.watch(1, int64(0), "long")
    writer.watch(2, int64(0), "short")
    writer.store(1, 0, int64(0), int64(1))
    for number in range(20):
        writer.store(2, 0, int64(number), int64(number + 1))
    writer.save(tmp_path)

    def numbers(*options: str) -> list[int]:
        found = map(json.loads, ask("history", "*", "--json", *options)[1].splitlines())
        return [row["first"]["seq"] for row in found]

    monkeypatch.setattr("memwatch_core.cli.history.ROWS", 4)
    assert numbers("--each") == [*range(1, 22)]
    assert numbers() == [1, 2]
    monkeypatch.setattr("memwatch_core.cli.history.HELD", 8)
    assert sorted(numbers("--each")) == [*range(1, 22)]


@pytest.mark.parametrize(
    "what", ["price.x", "price[0]", "grid[3]", "grid.x", "data[4:6]", "data[2:2]", "order.zzz", "order.q"]
)
def test_history_refuses_a_part_that_is_not_there_as_blame_does(tmp_path: Path, ask: Ask, what: str) -> None:
    written().save(tmp_path)
    refused = ask("blame", what)
    assert refused[0] == 2
    assert ask("history", what) == refused
    assert ask("history", what, "--json") == refused


def test_history_of_several_variables_says_whose_watch_began_and_ended(tmp_path: Path, ask: Ask) -> None:
    writer = written()
    writer.unregistered(1, 2, 1)
    writer.unregistered(2, 2, 1)
    writer.save(tmp_path)
    out = ask("history", "*")[1]
    assert "watched price: 0" in out
    assert "watched total#2: 5" in out
    assert "watch of price ended: unwatch() at orders.py:50" in out
    assert "watch of total#2 ended: unwatch()" in out
    assert "watched: 0" in ask("history", "price")[1]


def test_key_that_is_added_later_was_absent_and_not_unknown(tmp_path: Path, ask: Ask) -> None:
    writer = JournalWriter()
    writer.slab(1, "cfg", shown="dict")
    writer.place(1, 0, ".old")
    writer.place(1, 64, ".key")
    writer.change(1, 0, cell(1), cell(2))
    writer.change(1, 64, cell(...), cell(("{1: 2}",)))
    writer.save(tmp_path)
    (row,) = map(json.loads, ask("diff", "1", "end", "--json")[1].splitlines())
    assert (row["part"], row["old"], row["known"]) == (".key", {"shown": "absent"}, True)
    assert "cfg.key" not in ask("at", "1")[1]


@pytest.mark.parametrize("command", [["history", "--position"], ["blame", "--by", "site"]])
def test_index_that_may_have_been_of_another_item_is_remarked(tmp_path: Path, ask: Ask, command: list[str]) -> None:
    writer = JournalWriter()
    writer.slab(1, "items", shown="list")
    writer.place(1, 0, "[1]")
    writer.change(1, 0, cell("b"), cell("WRONG"))
    writer.place(1, 64, "[3]")
    writer.change(1, 64, cell(...), cell("last"))
    writer.place(1, 128, "[0]")
    writer.change(1, 128, cell(...), cell("first"))
    writer.save(tmp_path)
    remark = "items of items were added, deleted or moved: an item is called by its index"
    status, out, _ = ask(*command, "items[2]")
    assert status == 0
    assert remark in " ".join(out.split())
    assert remark not in " ".join(ask(*command, "items")[1].split())
    until = ["--until" if command[0] == "history" else "--at", "2"]
    assert remark not in " ".join(ask(*command, "items[1]", *until)[1].split()), "one at the end moves none"


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


def test_page_in_a_pipe(tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    written().save(tmp_path)
    at = "22:13:20.000"
    assert lines(ask("blame", "data")[1]) == [
        "data: bytearray of 16 bytes, watched at orders.py:7 <module>",
        "   event  written       by                  thread      writes  bytes",
        f"a  5      {at}  orders.py:50 reset  MainThread  1       [1:3]",
        "  0000  61 58 59 64                                       |aXYd|",
        "            a  a",
    ]
    assert lines(ask("history", "price")[1]) == [
        "event  written       by                    thread      change",
        f"       {at}  orders.py:7 <module>              watched: 0",
        f"1      {at}  orders.py:41 add      MainThread  0 -> 3",
        f"2      {at}  orders.py:50 reset    worker-1    3 -> 9",
    ]
    assert lines(ask("diff", "1", "end", "price", "order")[1]) == [
        "event  written       by                  thread      writes  change",
        f"2      {at}  orders.py:50 reset  worker-1    1       price 3 -> 9",
        f"6      {at}  orders.py:41 add    MainThread  1       order.qty 1 -> 2",
    ]
    assert lines(ask("at", "3", "price", "order", "total#3")[1]) == [
        "event  written       by                  value",
        f"2      {at}  orders.py:50 reset  price = 9",
        "-      -             as watched          order.qty = 1",
        "-      -             as watched          total = 5",
    ]


def test_diff_of_a_place_is_of_no_place_whose_name_begins_alike(ask: Ask, tmp_path: Path) -> None:
    writer = JournalWriter(4242)
    writer.site(1, f"{HERE}/orders.py", 41, "add")
    writer.slab(6, "o")
    for number, name in enumerate((".n", ".name", ".n[1]")):
        writer.place(6, 64 * number, name)
        writer.change(6, 64 * number, cell(1), cell(2), site=1)
    writer.save(tmp_path)
    _, told, _ = ask("diff", "start", "end", "o.n", "--json")
    assert [json.loads(line)["part"] for line in told.splitlines()] == [".n", ".n[1]"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-30", 86400), ("20261130", 86400), ("2026-11-30T08", 3600), ("20261130T0820", 60),
        ("20261130T082000", 1), ("2026-11-30T08:20:00", 1), ("2026-11-30T08:20:00+01:00", 1), ("08:20:00", 1),
        ("08:20:00.123", 0.001), ("2026-11-30T08:20:00.5Z", 0.1), ("20261130T082000.25", 0.01),
        ("2026-11-30T08:20:00.123456789", 0.000001), ("08:20:00.123456789", 1e-9),
    ],
)  # fmt: skip
def test_a_time_stands_for_all_of_what_it_names(text: str, seconds: float) -> None:
    assert moments._unit(text) == round(seconds * 10**9)


def test_writes_for_several_requests_or_with_several_ends_are_several_runs() -> None:
    event = Event(*[None] * 19)  # type: ignore[arg-type]
    first = msgspec.structs.replace(event, request=Request("order 1"))
    second = msgspec.structs.replace(event, request=Request("order 2"))
    assert len({by_place(event), by_place(first), by_place(second)}) == 3
    context = Context(1, "sqlite3", "insert", "ab")
    ended = msgspec.structs.replace(context, outcome="rolled back")
    assert by_place(msgspec.structs.replace(event, context=context)) != by_place(
        msgspec.structs.replace(event, context=ended)
    )
