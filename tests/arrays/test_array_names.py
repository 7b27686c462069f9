"""Elements of arrays are found by the names that events show: by filters, blame and history; in text and in JSON."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from memwatch_core.rendering.subscripts import box, inside, meets, overlap

PROGRAM = """
import numpy as np
from memwatch_core import watch
m = watch(np.zeros((3, 4), order="F"))
orders = watch(np.zeros(5, np.dtype([("qty", "i4"), ("price", "f4")])))
c = watch(np.ones((2, 3), "c16"))
rows = watch(np.zeros((4, 8), "u1"))
big = watch(np.zeros((300, 400)))
def write():
    memoryview(rows)[2, 3] = 7
    memoryview(rows).cast("B")[4:20] = bytes(range(1, 17))
    m[1, 2] = 5
    orders[3]["price"] = 0.1
    c[1, 2] = 5j
    big[299, 399] = 1
write()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("arrays")
    (where / "prog.py").write_text(PROGRAM)
    memwatch(where, "run", "-q", "prog.py")
    return where


def memwatch(folder: Path, *arguments: str, status: int = 0) -> str:
    command = [sys.executable, "-m", "memwatch_core.cli", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


FILTERS = {
    "m[1, 2]": 1, "m[1]": 1, "m[0:2, 2]": 1, "m[1, 0:4]": 1, "m[2, 2]": 0, "m": 1, "m*": 1,
    "orders[3]": 1, "orders[3].price": 1, "orders[3].qty": 0, "orders[2:5]": 1, "orders[0:3]": 0,
    "c[1, 2].imag": 1, "c[1, 2]": 2, "c[1, 1]": 0, "rows[0, 0]": 0, "rows[3]": 0, "big[299, 399]": 1, "big[0]": 0,
    "m[:, 2]": 1, "m[:,3]": 0, "m[::2, 2]": 0, "m[1::2, 2]": 1, "m[1:, ::2]": 1, "m[*, 2]": 1, "m[*,2]": 1, "m[*,1]": 0,
}  # fmt: skip


@pytest.mark.parametrize("name", FILTERS)
def test_filter_by_elements_finds_the_stores_that_touched_them(name: str, folder: Path) -> None:
    found = memwatch(folder, "log", "--variable", name, "--json", status=0 if FILTERS[name] else 1)
    events = [json.loads(line) for line in found.splitlines() if line.startswith('{"seq"')]
    assert len(events) == FILTERS[name]


@pytest.mark.parametrize("pattern", ["orders[3].*", "*price", "orders[[]*"])
def test_pattern_of_a_path_is_of_the_name_that_is_shown(pattern: str, folder: Path) -> None:
    found = memwatch(folder, "log", "--path", pattern, status=1 if "[[" in pattern else 0)
    assert ("orders[3].price  0.0 -> 0.1" in found) is ("[[" not in pattern)


@pytest.mark.parametrize("pattern", ["m[*,2]", "m[*, 2]", "m[1,*]", "m[*  ,  2]"])
def test_spaces_in_the_indices_of_a_path_do_not_matter(pattern: str, folder: Path) -> None:
    assert "m[1, 2]  0.0 -> 5.0" in memwatch(folder, "log", "--path", pattern)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("m[2,2]", "nothing was written to this part of m"), ("m[0:2, 3]", "nothing was written to this part of m"),
        ("m[2, 4]", "m has no such part: its shape is (3, 4)"), ("m[3]", "its shape is (3, 4)"),
        ("m[0, 0, 0]", "its shape is (3, 4)"), ("orders[5]", "its shape is (5,)"),
    ],
)  # fmt: skip
def test_part_that_was_not_written_is_told_from_one_that_is_not_there(name: str, said: str, folder: Path) -> None:
    assert said in memwatch(folder, "log", "--variable", name, status=1)


@pytest.mark.parametrize("name", ["rows[:, 2]", "rows[1:3,0]", "m[1]", "rows[::2]"])
def test_elements_that_lie_apart_are_not_blamed_together_and_it_is_said_why(name: str, folder: Path) -> None:
    said = memwatch(folder, "blame", name, status=2)
    assert f"{name} are elements that don't lie side by side" in said
    assert f"log --variable '{name}'" in said


def test_lines_of_json_have_the_part_and_its_values(folder: Path) -> None:
    events = [json.loads(line) for line in memwatch(folder, "log", "--json").splitlines() if line.startswith('{"seq"')]
    parts = {
        (event["variable"], event["part"]["name"]): (event["part"]["old"], event["part"]["new"]) for event in events
    }
    assert parts["m", "[1, 2]"] == (0, 5)
    assert parts["orders", "[3].price"] == (0, float(np.float32(0.1)))
    assert parts["c", "[1, 2].imag"] == (0, 5)
    assert parts["big", "[299, 399]"] == (0, 1)
    assert parts["rows", "[2, 3]"] == (0, 7)
    runs = [name for variable, name in parts if variable == "rows" and "…" in name]
    assert runs == ["[0, 4]…[2, 3]"] or all(box(name) for _, name in parts)
    assert all(event["old"] is None and event["new"] is None for event in events)


@pytest.mark.parametrize(
    ("name", "value"),
    [("m[1, 2]", "5.0"), ("m[-2, 2]", "5.0"), ("orders[3].price", "0.1"), ("c[1, 2].imag", "5.0"), ("rows[0, 4]", "1")],
)
def test_blame_and_history_find_an_element(name: str, value: str, folder: Path) -> None:
    assert f"= {value}" in memwatch(folder, "blame", name)
    assert value in memwatch(folder, "history", name)


@pytest.mark.parametrize("name", ["m[3, 0]", "orders[3].pric", "m[0, 0, 0]"])
def test_element_that_is_not_there_is_named(name: str, folder: Path) -> None:
    variable, bracket, rest = name.partition("[")
    assert f"{variable} has no part '{bracket}{rest}'; its parts are" in memwatch(folder, "blame", name, status=2)


def test_elements_that_were_written_together_are_blamed_together(folder: Path) -> None:
    found = memwatch(folder, "blame", "rows")
    assert found.count("prog.py") < 8


# ---- names of parts --------------------------------------------------------------------------------------------------


def written(chance: random.Random, shape: tuple[int, ...]) -> str:
    axes = []
    for n in shape[: chance.randint(1, len(shape))]:
        start = chance.randrange(n)
        stop = chance.randint(start + 1, n)
        axes.append(str(start) if stop == start + 1 else f"{start}:{stop}")
    return f"a[{', '.join(axes)}]"


def test_names_overlap_if_their_elements_do() -> None:
    chance = random.Random(5)
    a = np.arange(60).reshape(3, 4, 5)
    for _ in range(3000):
        one, other = written(chance, a.shape), written(chance, a.shape)
        both = set(np.ravel(eval(one, {"a": a}))) & set(np.ravel(eval(other, {"a": a})))
        assert overlap(one, other) is bool(both), (one, other)
    assert not overlap("a[1]", "b[1]")
    for _ in range(3000):
        steps = [
            chance.choice([":", "::2", "1::3", "2:", ":2", "1:3:2", "0", "1"]) for _ in range(chance.randint(1, 3))
        ]
        one, other = written(chance, a.shape), f"a[{', '.join(steps)}]"
        both = set(np.ravel(eval(one, {"a": a}))) & set(np.ravel(eval(other, {"a": a})))
        assert meets(one, other) is bool(both), (one, other)
    assert overlap("a[1, 3]…[2, 1]", "a[2, 0]")
    assert overlap("a[1].price", "a[0:2]")
    assert not overlap("a[1].price", "a[1].qty")


@pytest.mark.parametrize("order", ["C", "F"])
def test_elements_that_are_no_rectangle_overlap_if_they_may(order: str) -> None:
    chance = random.Random(7)
    a = np.arange(20).reshape(4, 5)
    elements = [tuple(map(int, index)) for index in zip(*np.unravel_index(range(20), (4, 5), order), strict=True)]  # type: ignore[call-overload]
    missed = 0
    for _ in range(1000):
        first, last = sorted((chance.randrange(20), chance.randrange(20)))
        if elements[first][0] == elements[last][0] or elements[first][1] == elements[last][1]:
            continue
        run, other = f"a{[*elements[first]]}…{[*elements[last]]}", written(chance, a.shape)
        both = {a[index] for index in elements[first : last + 1]} & set(np.ravel(eval(other, {"a": a})))
        assert overlap(run, other) or not both, (run, other)
        assert overlap(other, run) or not both
        missed += overlap(run, other) is not bool(both)
    assert missed < 150


def test_items_of_a_part_have_the_names_that_they_have_in_the_array() -> None:
    chance = random.Random(6)
    a = np.arange(60).reshape(3, 4, 5)
    tried = 0
    for _ in range(1000):
        name = written(chance, a.shape)
        if name.count(":") != 1 or name.count(",") != 2:
            continue
        tried += 1
        for number, element in enumerate(np.ravel(eval(name, {"a": a}))):
            found = inside(name[1:], number)
            assert found is not None
            assert eval(f"a{found}", {"a": a}) == element
    assert tried > 50
    assert [inside(name, 0) for name in ("[0:2, 0:2]", "[1, 3]…[2, 1]", "[1].pos", "x", "[1:3].qty")] == [None] * 5


@pytest.mark.parametrize("text", ["", "a", "a[", "a[]", 'config["db"]', "a[1:]", "a[x]", "a[1,,2]", "f()", "a[(]"])
def test_what_names_no_element_is_no_box(text: str) -> None:
    assert box(text) is None
    assert not overlap(text, text)


def test_names_of_any_subscript_are_read() -> None:
    for axes in itertools.product(["3", "0:4", "12"], repeat=3):
        found = box(f"m[{', '.join(axes)}].x")
        assert found is not None
        assert (found.name, len(found.axes), found.rest) == ("m", 3, ".x")
