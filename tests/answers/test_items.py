"""Items of a list are followed while others come and go, and a move costs what it moves."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from counted import calls

from memwatch_core.answers.items import Items
from memwatch_core.answers.memory import Sites
from memwatch_core.answers.placed import Placed
from memwatch_core.records import ABSENT, Event, Part, Shown


@pytest.mark.parametrize("most", [1, 2, 3, 7, 1024])
def test_items_are_where_a_dict_that_is_rebuilt_has_them(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(Items, "MOST", most)
    draw, items, model = random.Random(most), Items[int](), dict[int, int]()
    for number in range(2000):
        index, way = draw.randrange(40) if number % 500 else draw.randrange(1 << 60), draw.random()
        if way < 0.4:
            items.put(index, number)
            model[index] = number
        elif way < 0.6:
            assert items.come(index) == any(at >= index for at in model)
            model = {at + (at >= index): each for at, each in model.items()}
        elif way < 0.98:
            assert items.go(index) == any(at > index for at in model)
            model = {at - (at > index): each for at, each in model.items() if at != index}
        else:
            items.cut(index)
            model = {at: each for at, each in model.items() if at < index}
        assert [*items] == sorted(model.items())
        assert bool(items) == bool(model)
        assert items.last() == max(model, default=-1)
        assert items.get(index) == model.get(index)
    assert max(len(block.keys) for block in items._blocks) <= most


def event(name: str, operation: str, new: Any, seq: int = 1) -> Event:
    empty = Event(*[None] * 19)  # type: ignore[arg-type]
    return msgspec.structs.replace(empty, seq=seq, part=Part(name, None, new), operation=operation, origin="store")


@pytest.mark.parametrize("seed", range(6))
def test_what_lies_in_items_moves_with_them(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Of a list of lists of dicts: as a real one has them."""
    monkeypatch.setattr(Items, "MOST", 3)
    draw, placed, sites = random.Random(seed), Placed("list"), Sites()
    real: list[list[dict[str, int]]] = []

    def write(name: str, operation: str, new: Any) -> None:
        placed.write(event(name, operation, new), number, 1, sites)

    for number in range(400):
        at = draw.randrange(len(real)) if real else 0
        row = real[at] if real else []
        inner = draw.randrange(len(row)) if row else 0
        match draw.choice(["row", "row", "item", "item", "value", "value", "value", "del row", "del item", "sort"]):
            case "row":
                real.insert(at, [])
                write(f"[{at}]", "add", Shown("[]"))
            case "item" if real:
                row.insert(inner, {})
                write(f"[{at}][{inner}]", "add", Shown("{}"))
            case "value" if row:
                row[inner]["k"] = number
                write(f'[{at}][{inner}]["k"]', "set", number)
            case "del row" if real:
                del real[at]
                write(f"[{at}]", "delete", ABSENT)
            case "del item" if row:
                del row[inner]
                write(f"[{at}][{inner}]", "delete", ABSENT)
            case "sort" if row:
                row.clear()  # nothing is known of what was sorted
                write(f"[{at}]", "move", Shown("[{'k': 1}]"))
        model = {
            f'[{i}][{j}]["k"]': item["k"] for i, row in enumerate(real) for j, item in enumerate(row) if "k" in item
        }
        assert {name: held.value for name, held in placed.places.items() if "k" in name} == model
        assert {name for name in placed.places if name.count("[") == 1} == {f"[{i}]" for i in range(len(real))}


@pytest.mark.parametrize("way", ["queue", "insert(0, x)", "set", "int keys", "attributes"])
def test_cost_of_a_write_does_not_grow_with_the_number_of_places(way: str) -> None:
    def work(count: int) -> None:
        placed, sites = Placed({"set": "set", "int keys": "dict", "attributes": "Order"}.get(way, "list")), Sites()
        name = {"set": "{%d}", "int keys": "[%d]", "attributes": ".a%d", "queue": "[%d]", "insert(0, x)": "[0]"}[way]
        for number in range(count):
            placed.write(event(name % number if "%" in name else name, "add", number), number, 1, sites)
        for number in range(count):
            gone = "[0]" if way == "queue" else name % number if "%" in name else f"[{count - 1 - number}]"
            placed.write(event(gone, "delete", ABSENT), number, 2, sites)
        assert len(placed.places) == (1 if way in ("queue", "insert(0, x)") else count)

    assert calls(lambda: work(600)) < 2.5 * calls(lambda: work(300))
