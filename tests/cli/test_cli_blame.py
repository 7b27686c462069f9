"""``memwatch blame``, ``history``, ``at`` and ``diff`` say of random sessions what a naive model says."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import naive_model
import pytest
from click.testing import CliRunner
from console_script import SCRIPT, environment

from memwatch_core.cli.group import group


class Recorded:
    """A session, and what its processes said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes = naive_model.read(folder / "said")

    def ask(self, *arguments: str) -> list[dict[str, Any]]:
        done = CliRunner().invoke(group, [*arguments, "--json", "--folder", str(self.folder / ".memwatch")])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert done.exit_code == 0, done.output
        return [json.loads(line) for line in done.stdout.splitlines()]


def record(folder: Path, seed: int, writes: int, ends: str = "exit", settings: str = "") -> Recorded:
    (folder / "said").mkdir()
    (folder / "program.py").write_text(naive_model.PROGRAM)
    (folder / "memwatch.toml").write_text(settings)
    done = subprocess.run(
        [SCRIPT, "run", "--quiet", "program.py", str(folder / "said"), str(seed), str(writes), ends],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Recorded(folder)


@pytest.fixture(scope="module", params=["exit", "kill"])
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return record(tmp_path_factory.mktemp(request.param), 7, 400, request.param)


def moments(recorded: Recorded, draw: random.Random) -> Iterator[tuple[int, int]]:
    for pid, process in recorded.processes.items():
        assert len(process.writes) > 100
        for seq in [1, len(process.writes), *(draw.randint(1, len(process.writes)) for _ in range(2))]:
            yield pid, seq


def by_byte(rows: list[dict[str, Any]], pid: int, name: str) -> list[dict[str, Any] | None]:
    """For each byte of a variable the row that it is in."""
    found: list[dict[str, Any] | None] = [None] * naive_model.SIZES[name]
    for row in rows:
        if (row["pid"], row["variable"]) == (pid, name):
            for at in range(*row["bytes"]):
                found[at] = row
    return found


@pytest.mark.parametrize("name", naive_model.SIZES)
def test_blame_names_the_last_writer_of_every_byte(recorded: Recorded, name: str) -> None:
    for pid, seq in moments(recorded, random.Random(name)):
        process = recorded.processes[pid]
        rows = recorded.ask("blame", name, "--at", f"{pid}:{seq}")
        authors, counts, lines = process.authors(seq)[name], process.counts(seq)[name], process.lines(seq)[name]
        value = process.at(seq)[name]
        for at, row in enumerate(by_byte(rows, pid, name)):
            assert row is not None
            mine = range(*row["bytes"])
            newest = max(authors[byte] for byte in mine)
            assert (row["last"] and row["last"]["seq"]) == (newest or None)
            assert row["writes"] == max(counts[byte] for byte in mine)
            assert row["sites"] == len(set().union(*(lines[byte] for byte in mine)))
            if newest:
                _, _, _, thread, line = process.writes[newest - 1]
                assert (row["last"]["thread"], row["last"]["site"]["line"]) == (thread, line)
            if name == "data" and at >= 8:
                assert row["value"] == bytes(value[slice(*row["bytes"])]).hex()
                assert len({authors[byte] for byte in mine}) == 1
            assert not row["doubt"]


def test_values_at_any_event_are_those_that_the_program_had(recorded: Recorded) -> None:
    for pid, seq in moments(recorded, random.Random(1)):
        found = {row["variable"]: row for row in recorded.ask("at", f"{pid}:{seq}") if row["pid"] == pid}
        expected = {name: naive_model.decoded(name, data) for name, data in recorded.processes[pid].at(seq).items()}
        assert {name: row["value"] for name, row in found.items()} == expected
        assert not any(row["doubt"] for row in found.values())


def test_moment_is_the_same_for_all_processes(recorded: Recorded) -> None:
    """As a number, as a time to the microsecond, and as the clock of ``memwatch log`` shows it."""
    events = sorted((event["time"], event["pid"], event["seq"]) for event in recorded.ask("log") if "seq" in event)
    one, other = recorded.processes
    both = [event for event in events if events[0][0] < event[0] and event[1] == other]
    draw = random.Random(4)
    for time, pid, seq in draw.sample(both, 4):
        clock = datetime.fromisoformat(time).astimezone().strftime("%H:%M:%S.%f")
        for moment, until in ((f"{pid}:{seq}", time), (time, time), (clock[:-3], time[:-4] + "999Z"), (clock, time)):
            rows = recorded.ask("at", moment)
            for each in (one, other):
                least = most = max((s for t, p, s in events if p == each and t <= until), default=0)
                if moment == f"{pid}:{seq}":  # its nanosecond, which lines of JSON don't say, is that moment's end
                    most = seq if each == pid else most
                    least = seq if each == pid else max((s for t, p, s in events if p == each and t < time), default=0)
                found = {row["variable"]: row["value"] for row in rows if row["pid"] == each}
                assert found in [
                    {name: naive_model.decoded(name, data) for name, data in recorded.processes[each].at(count).items()}
                    for count in range(least, most + 1)
                ], moment


def test_ends_of_two_sessions_are_compared(recorded: Recorded, tmp_path: Path) -> None:
    again = record(tmp_path, 8, 40)
    a, b = (next((each.folder / ".memwatch").glob("2*")) for each in (recorded, again))
    found = recorded.ask("diff", str(a), str(b))
    for one, other in zip(recorded.processes.values(), again.processes.values(), strict=True):
        before, after = (process.at(len(process.writes)) for process in (one, other))
        rows = [row for row in found if row["pid"] == other.pid]
        assert {row["variable"] for row in rows} == {name for name in before if before[name] != after[name]}
        for row in rows:
            if row["variable"] in ("total", "price"):
                values = [naive_model.decoded(row["variable"], data[row["variable"]]) for data in (before, after)]
                assert [row["old"], row["new"]] == values


def test_difference_of_two_moments_is_what_changed_in_between(recorded: Recorded) -> None:
    draw = random.Random(2)
    for pid, process in recorded.processes.items():
        for _ in range(3):
            a, b = sorted(draw.sample(range(1, len(process.writes)), 2))
            before, after = process.at(a), process.at(b)
            counts, authors = process.counts(b, a), process.authors(b, a)
            found = [row for row in recorded.ask("diff", f"{pid}:{a}", f"{pid}:{b}") if row["pid"] == pid]
            for name, data in before.items():
                rows = [row for row in found if row["variable"] == name]
                assert bool(rows) == (data != after[name])
                for row in rows:
                    if name == "data":
                        first, last = map(int, row["part"].strip("[]").split(":"))
                        span = range(8 + first, 8 + last)
                        assert row["old"] == bytes(data[slice(span.start, span.stop)]).hex()
                        assert row["new"] == bytes(after[name][slice(span.start, span.stop)]).hex()
                        assert row["writes"] == max(counts[name][at] for at in span)
                        assert row["last"]["seq"] == max(authors[name][at] for at in span)
                    elif not row["part"]:
                        assert [row["old"], row["new"]] == [naive_model.decoded(name, x) for x in (data, after[name])]
                if name == "data":
                    told = [at for row in rows for at in range(*map(int, row["part"].strip("[]").split(":")))]
                    changed = [at for at in range(40) if data[8 + at] != after[name][8 + at]]
                    assert set(changed) <= set(told)


@pytest.mark.parametrize("each", [False, True])
def test_history_has_every_write_in_order(recorded: Recorded, each: bool) -> None:
    rows = recorded.ask("history", "total", *(["--each"] if each else []))
    for pid, process in recorded.processes.items():
        runs = [row for row in rows if row["pid"] == pid]
        writes = [(seq, write) for seq, write in enumerate(process.writes, 1) if write[0] == "total"]
        assert sum(row["count"] for row in runs) == len(writes)
        values = [int.from_bytes(write[2], "little", signed=True) for _, write in writes]
        at, before = 0, int.from_bytes(process.first["total"], "little", signed=True)
        for row in runs:
            first, last = writes[at], writes[at + row["count"] - 1]
            assert (row["first"]["seq"], row["last"]["seq"]) == (first[0], last[0])
            assert (row["old"], row["new"]) == (values[at - 1] if at else before, values[at + row["count"] - 1])
            assert len({write[3:] for _, write in writes[at : at + row["count"]]}) == 1
            at += row["count"]
        if not each:
            for one, other in pairwise(runs):
                assert (one["last"]["site"], one["last"]["tid"]) != (other["first"]["site"], other["first"]["tid"])


def test_history_of_a_part_has_the_values_of_that_part(recorded: Recorded) -> None:
    rows = recorded.ask("history", "data[5:9]", "--each")
    for pid, process in recorded.processes.items():
        expected, now = [], bytearray(process.first["data"])
        for seq, (name, first, data, _, _) in enumerate(process.writes, 1):
            if name == "data":
                old = bytes(now[13:17])
                now[first : first + len(data)] = data
                if first < 17 and first + len(data) > 13:
                    expected.append((seq, old.hex(), bytes(now[13:17]).hex()))
        assert [(row["first"]["seq"], row["old"], row["new"]) for row in rows if row["pid"] == pid] == expected


@pytest.mark.parametrize("by", ["site", "thread", "function"])
def test_authors_are_counted(recorded: Recorded, by: str) -> None:
    rows = recorded.ask("blame", "data[3:20]", "--by", by)
    for pid, process in recorded.processes.items():
        writes = [w for w in process.writes if w[0] == "data" and w[1] < 28 and w[1] + len(w[2]) > 11]
        expected: dict[object, int] = {}
        for _, _, _, thread, line in writes:
            key = thread if by == "thread" else line
            expected[key] = expected.get(key, 0) + 1
        found = {
            row["thread"] if by == "thread" else row["last"]["site"]["line"]: row["writes"] for row in rows
            if row["pid"] == pid
        }  # fmt: skip
        assert found == expected


def test_what_rotation_has_taken_is_unknown_and_never_guessed(tmp_path: Path) -> None:
    recorded = record(tmp_path, 3, 60_000, settings='[journal]\nmax_bytes = 4194304\npolicy = "rotate"\n')
    (pid, process), *_ = recorded.processes.items()
    events = recorded.ask("log")
    first = min(event["seq"] for event in events if "seq" in event and event["pid"] == pid)
    assert first > 1
    for seq in (first, first + 5, first + 400, len(process.writes)):
        value = process.at(seq)
        for row in recorded.ask("at", f"{pid}:{seq}"):
            name, part = row["variable"], row["part"]
            if row["pid"] != pid or not row["known"]:
                continue
            assert not row["doubt"]
            if not part:
                assert row["value"] == naive_model.decoded(name, value[name])
            elif name == "data":
                begin, stop = map(int, part.strip("[]").split(":"))
                assert row["value"] == bytes(value["data"][8 + begin : 8 + stop]).hex()
            elif name == "order":
                assert row["value"] == naive_model.decoded(name, value[name])[part[1:]]
    end = {(row["variable"], row["part"]): row["known"] for row in recorded.ask("at", "end") if row["pid"] == pid}
    assert {name for name, known in end.items() if not known} == {("order", ".price"), ("data", "len()")}
    changes = [row for row in recorded.ask("diff", "start", "end") if row["pid"] == pid and row["variable"] == "total"]
    assert [row["old"] for row in changes] == [{"shown": "unknown"}]
    done = CliRunner().invoke(group, ["blame", "total", "--folder", str(recorded.folder / ".memwatch")])
    assert "are no longer there (journal.max_bytes)" in done.output
