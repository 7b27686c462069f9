"""Items of a list that others come before, or that are sorted: ``memwatch history`` follows one, ``diff`` tells what
was written."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "journal"))
from journal_writer import JournalWriter, cell

Ask = Callable[..., tuple[int, str, str]]


class Written:
    """A list ``items`` of dicts, and its journal."""

    def __init__(self) -> None:
        self.writer = JournalWriter()
        self.writer.slab(1, "items", shown="list", pages=64)
        self.writer.site(1, "/srv/app.py", 41, "work")
        self.cells = self.seq = 0
        self.real: list[int] = []
        self.names: dict[int, list[tuple[int, int | None, int]]] = {}
        """Of each item: (event, its index after it, its number), None when it goes."""

    def event(self, path: str, before: Any, after: Any) -> None:
        self.writer.place(1, 64 * self.cells, path)
        self.writer.change(1, 64 * self.cells, cell(before), cell(after), site=1)
        self.cells = (self.cells + 1) % 4000
        self.seq += 1

    def insert(self, index: int, item: int) -> None:
        self.real.insert(index, item)
        self.event(f"[{index}]", ..., item)
        self.names[item] = [(self.seq, index, item)]

    def delete(self, index: int) -> None:
        item = self.real.pop(index)
        self.event(f"[{index}]", item, ...)

    def sort(self) -> None:
        self.writer.place(1, 64 * 4000, "")
        before, self.real = self.real, sorted(self.real)
        texts = [("[1, 2, 3, …" if len(self.real) > 5 else str(each),) for each in (before, self.real)]
        after = cell(texts[1])
        self.writer.change(1, 64 * 4000, cell(texts[0]), after[:2] + b"\2" + after[3:], site=1)  # "moved"
        self.seq += 1

    def set(self, index: int, step: int = 1000) -> None:
        item = self.real[index] % step
        old, self.real[index] = self.real[index], self.real[index] + step
        self.event(f"[{index}]", old, self.real[index])
        self.names[item].append((self.seq, index, self.real[index]))


def runs(asked: Ask, *arguments: str) -> list[tuple[int, str, Any, Any]]:
    status, out, error = asked("history", *arguments, "--each", "--json")
    assert status == 0, error
    rows = [json.loads(line) for line in out.splitlines()]
    return [(row["first"]["seq"], row["part"], row["old"], row["new"]) for row in rows]


@pytest.mark.parametrize("seed", range(3))
def test_history_follows_an_item_wherever_it_was(tmp_path: Path, ask: Ask, seed: int) -> None:
    draw, written = random.Random(seed), Written()
    for number in range(1, 160):
        at = draw.randrange(len(written.real) + 1)
        match draw.choice(["insert", "insert", "delete", "set", "set", "set"]):
            case "insert":
                written.insert(at, number)
            case "delete" if at < len(written.real):
                written.delete(at)
            case "set" if at < len(written.real):
                written.set(at)
    written.writer.save(tmp_path)
    assert len(written.real) > 6
    for index in draw.sample(range(len(written.real)), 5):
        expected = written.names[written.real[index] % 1000]
        found = runs(ask, f"items[{index}]")
        assert [(seq, part, new) for seq, part, _, new in found] == [(seq, f"[{at}]", n) for seq, at, n in expected]
        assert found[0][2] == {"shown": "absent"}
        assert all(new == old for (_, _, _, new), (_, _, old, _) in pairwise(found))


def test_history_of_a_position_is_of_whatever_was_there(tmp_path: Path, ask: Ask) -> None:
    written = Written()
    for number in (1, 2, 3):
        written.insert(0, number)
    written.set(1)
    written.writer.save(tmp_path)
    assert [seq for seq, *_ in runs(ask, "items[1]")] == [2, 4]
    assert [seq for seq, *_ in runs(ask, "items[1]", "--position")] == [4]
    assert [seq for seq, *_ in runs(ask, "items[0]", "--position")] == [1, 2, 3]
    assert [seq for seq, *_ in runs(ask, "items[0]", "--until", "2")] == [2], "the item that was there at that moment"
    words = " ".join(ask("history", "items[1]")[1].split())
    assert "items[1] is one item, called by its index at that time" in words
    assert "an item is called by its index" in " ".join(ask("history", "items[1]", "--position")[1].split())


def test_history_of_an_item_that_is_gone_is_of_its_position(tmp_path: Path, ask: Ask) -> None:
    written = Written()
    for number in (1, 2, 3):
        written.insert(len(written.real), number)
    for _ in range(3):
        written.delete(0)
    written.writer.save(tmp_path)
    assert [seq for seq, *_ in runs(ask, "items[0]")] == [1, 4, 5, 6]


def test_history_of_an_item_begins_where_its_list_was_sorted(tmp_path: Path, ask: Ask) -> None:
    written = Written()
    written.insert(0, 2)
    written.insert(1, 1)
    written.sort()
    written.set(0)
    written.writer.save(tmp_path)
    assert [seq for seq, *_ in runs(ask, "items[0]")] == [3, 4]
    assert [seq for seq, *_ in runs(ask, "items[0]", "--position")] == [1, 3, 4]
    assert "before event 3 was another item" in " ".join(ask("history", "items[0]")[1].split())


def different(asked: Ask, one: int | str, other: int | str = "end") -> dict[str, tuple[Any, Any, int | None]]:
    status, out, error = asked("diff", str(one), str(other), "--json")
    assert status == 0, error
    rows = [json.loads(line) for line in out.splitlines()]
    return {row["part"]: (row["old"], row["new"], row["last"] and row["last"]["seq"]) for row in rows}


def test_diff_tells_what_was_written_and_not_what_only_has_another_index(tmp_path: Path, ask: Ask) -> None:
    written = Written()
    for number in (1, 2, 3, 4):
        written.insert(len(written.real), number)
    written.insert(0, 9)
    written.set(2)
    written.delete(4)
    written.set(3)
    written.writer.save(tmp_path)
    absent = {"shown": "absent"}
    found = different(ask, 4)
    opened = found.pop("")
    assert (opened[1], opened[2]) == ({"shown": "[…]"}, 7)
    assert found == {"[0]": (absent, 9, 5), "[2]": (2, 1002, 6), "[3]": (3, 1003, 8)}
    assert "items: items were added or deleted" in ask("diff", "4", "end")[1]


@pytest.mark.parametrize("count", [3, 6])
@pytest.mark.parametrize("written_to", [False, True])
def test_diff_after_a_sort_calls_no_item_unknown(tmp_path: Path, ask: Ask, count: int, written_to: bool) -> None:
    written = Written()
    written.real = [*range(count, 0, -1)]
    if written_to:
        written.delete(0)
    first = written.seq
    written.sort()
    written.writer.save(tmp_path)
    found = different(ask, first) if first else different(ask, "start")
    assert [(part, seq) for part, (_, _, seq) in found.items()] == [("", first + 1)]
    line = ask("diff", str(first) if first else "start", "end")[1].splitlines()[1]
    assert ("items [3, 2, 1] -> [1, 2, 3]" in line) == (count == 3 and not written_to)
    assert ("items: its items were put in another order" in line) == (count == 6 or written_to)
