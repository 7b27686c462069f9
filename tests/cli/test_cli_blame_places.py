"""``memwatch at``, ``blame`` and ``diff`` of objects watched where they lie: as the program has them, or unknown."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from console_script import SCRIPT, environment

from memwatch_core.cli.group import group

PROGRAM = r'''
import json, random, sys
from types import SimpleNamespace
from memwatch_core import watch

class Customer:
    def __init__(self, name, age):
        self.name, self.age = name, age

class Order:
    def __init__(self):
        self.qty, self.note = 1, "new"
        self.customer = Customer("Ann", 40)
        self.tags = ["x", "y", "z"]
        self.config = {"port": 5432, 7: "seven", 9: "nine"}

draw = random.Random(int(sys.argv[1]))
order, jobs, table = Order(), [*range(5)], {2: 0, 3: 0, "k": 0}
cart = SimpleNamespace(owner=order.customer, tags=order.tags)  # other names, until another is put in their place
said = open("said", "w", buffering=1)

def flat():
    """Each place with its value, as the program would find it; of what isn't plain, its type's name."""
    found = {}
    def at(path, value):
        found[path] = value if value is None or isinstance(value, (int, str)) else type(value).__name__
        if isinstance(value, (Order, Customer, SimpleNamespace)):
            for name, item in vars(value).items():
                at(f"{path}.{name}", item)
        elif isinstance(value, list):
            for number, item in enumerate(value):
                at(f"{path}[{number}]", item)
        elif isinstance(value, dict):
            for key, item in value.items():
                at(f'{path}["{key}"]' if isinstance(key, str) else f"{path}[{key}]", item)
    for name in ("order", "jobs", "table", "cart"):
        at(name, globals()[name])
    return found

def say():
    said.write(json.dumps([sys._getframe(1).f_lineno - 1, sys._getframe(1).f_locals.get("place"), flat()]) + "\n")

def number():
    number.last = getattr(number, "last", 100) + 1
    return number.last

def qty():
    place = "order.qty"
    order.qty = number()
    say()

def note():
    place = "order.note"
    if hasattr(order, "note"):
        del order.note
        say()
    else:
        order.note = f"note {number()}"
        say()

def age():
    place = "order.customer.age"
    order.customer.age = number()
    say()

def owned():
    place = "cart.owner.age"
    cart.owner.age = number()
    say()

def replace():
    place, other = "order.customer", Customer("Bob", number())
    order.customer = other
    say()

def config():
    key = draw.choice(["port", "host", 7, 8, 9])
    place = f'order.config["{key}"]' if isinstance(key, str) else f"order.config[{key}]"
    if key in order.config and draw.random() < 0.4:
        del order.config[key]
        say()
    else:
        order.config[key] = number()
        say()

def keyed():
    key = draw.choice([1, 2, 3, 4, "k"])
    place = f'table["{key}"]' if isinstance(key, str) else f"table[{key}]"
    if key in table and draw.random() < 0.4:
        del table[key]
        say()
    else:
        table[key] = number()
        say()

def of_list(items, name):
    at, way = draw.randrange(len(items) + 1), draw.random()
    place = f"{name}[{at}]"
    if way < 0.3 and at < len(items):
        items[at] = number()
        say()
    elif way < 0.5 and len(items) < 12:
        items.insert(at, number())
        say()
    elif way < 0.6:
        place = f"{name}[{len(items)}]"
        items.append(number())
        say()
    elif way < 0.8 and at < len(items):
        del items[at]
        say()
    elif way < 0.85 and len(items) > 2:
        place = name
        items.reverse()
        say()

def listed():
    of_list(jobs, "jobs")

def tagged():
    of_list(order.tags, "order.tags")

def carted():
    of_list(cart.tags, "cart.tags")

def retag():
    place, other = "order.tags", [number(), number()]
    order.tags = other
    say()

say_first = json.dumps([0, None, flat()])
said.write(say_first + "\n")
watch(order, depth=2)
watch(jobs)
watch(table)
watch(cart, depth=2)
for _ in range(int(sys.argv[2])):
    ways = [qty, note, age, owned, replace, config, keyed, listed, tagged, carted, retag]
    draw.choices(ways, [3, 2, 4, 2, 1, 4, 4, 6, 6, 3, 1])[0]()
'''


def ask(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    done = CliRunner().invoke(group, [*arguments, "--json", "--folder", str(folder / ".memwatch")])
    assert done.exit_code == 0, (done.output, done.exception)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_places_are_as_the_program_has_them_or_unknown(tmp_path: Path, seed: int) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [SCRIPT, "run", "--quiet", "program.py", str(seed), "300"], cwd=tmp_path, env=environment(),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in (tmp_path / "said").read_text().splitlines()]
    events = [event for event in ask(tmp_path, "log") if "seq" in event]
    assert [event["seq"] for event in events] == [*range(1, len(said))], "one event for each step"
    assert [event["site"]["line"] for event in events] == [line for line, _, _ in said[1:]]
    known = 0
    for seq in [*range(1, len(said), 23), len(said) - 1]:
        model = said[seq][2]
        last = {place: at for at, (_, place, _) in enumerate(said[: seq + 1]) if place}
        rows = {row["variable"] + row["part"]: row for row in ask(tmp_path, "at", str(seq))}
        for name, row in rows.items():
            value = row["value"]
            if isinstance(value, dict):
                value = value["shown"]
                assert value.startswith(("<Customer", "[", "{", "…", "<")), name
                assert name in model or name in ("jobs", "table", "cart"), name
                continue
            known += 1
            assert name in model, f"{name} isn't there after {seq}"
            assert model[name] == value, f"{name} after {seq}"
            assert row["last"] is None or row["last"]["part"]["new"] == value, "who wrote this value"
        replaced = max(last.get("order.customer", 0), 0)
        for name in ("order.qty", "order.note", 'order.config["port"]', "table[2]", 'table["k"]'):
            if name in last and name in model:
                assert name in rows, f"{name} after {seq}"
                assert rows[name]["last"]["seq"] == last[name]
        same = not replaced  # cart.owner is the same one
        aged = max(last.get("order.customer.age", 0), last.get("cart.owner.age", 0) if same else 0)
        if aged > replaced:
            assert rows["order.customer.age"]["last"]["seq"] == aged
        if owned := max(last.get("cart.owner.age", 0), aged if same else 0):
            assert rows["cart.owner.age"]["last"]["seq"] >= owned, "by its other name"
    assert known > 100
    first, end = said[len(said) // 3][2], said[-1][2]
    for row in ask(tmp_path, "diff", str(len(said) // 3), "end"):
        name = row["variable"] + row["part"]
        for side, model in (("old", first), ("new", end)):
            if row[side] is None or isinstance(row[side], int | str):
                assert model.get(name) == row[side], (name, side)
