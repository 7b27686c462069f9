"""What is wrong with a condition is said when it is given: where, what was expected, and which names there are."""

from __future__ import annotations

import pytest

from memwatch_core import watch, watch_place
from memwatch_core.condition_text import NAMES, parted, read
from memwatch_core.conditions import Field, Shape, compile_condition
from memwatch_core.errors import ConditionError, WatchError

NUMBER = Shape("number", "x", (Field("q", 0, 8, True),))
PLACES = Shape("cells", "x")
STRUCT = Shape("struct", "x", (Field("q", 0, 8, True), Field("s", 8, 4, True)), {"qty": 0, "tag": 1})

WRONG = {
    "": (0, "a condition is expected"),
    "new <": (5, "expected a value"),
    "new < 0 0": (8, "expected an operator"),
    "nwe < 0": (0, "did you mean new?"),
    "new = 0": (4, "=="),
    "new < 0 && old": (8, "and, or"),
    "!new": (0, "write not"),
    "(new < 0": (8, "')'"),
    "new in (1, 2": (12, "')'"),
    "new < 'abc": (6, "no end"),
    "new < 12abc": (6, "no number"),
    "new < 99999999999999999999": (6, "64 bits"),
    "site.lin == 3": (0, "site.line"),
    "path.x": (0, "no parts"),
    "len(new": (7, "')'"),
    "new not 3": (8, "expected in, or like"),
    "__import__('os')": (0, "no name '__import__'"),
    "new.__class__": (0, "no parts"),
    "[x for x in new]": (1, "no name 'x'"),
    "lambda: 1": (6, "total: new < 0"),
    "new if old else 1": (4, "expected an operator"),
    "new; old": (3, "no meaning"),
    "not": (3, "expected a value"),
    "new < -": (7, "expected a value"),
    "(" * 40 + "new" + ")" * 40: (30, "nested"),
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:20] or "empty")
def test_a_wrong_condition_says_where_and_what_was_expected(text: str) -> None:
    at, why = WRONG[text]
    with pytest.raises(ConditionError) as raised:
        compile_condition(text, NUMBER)
    _, shown, mark, *names = raised.value.lines
    assert all(len(line) <= 80 for line in names)
    assert why in mark
    assert mark.index("^") - 4 == min(at, 50)
    assert shown.startswith("    ")


def test_an_unknown_name_lists_those_that_there_are() -> None:
    with pytest.raises(ConditionError) as raised:
        read("value < 3")
    assert all(name in str(raised.value) for name in NAMES)


@pytest.mark.parametrize(
    ("text", "shape", "why"),
    [
        ("new < 'a'", NUMBER, "never compared"),
        ("new like 'a*'", NUMBER, "like compares a text"),
        ("path + 1 > 2", NUMBER, "computes with numbers"),
        ("new == 3", STRUCT, "new.qty, new.tag"),
        ("new.prize == 3", STRUCT, "new.qty, new.tag"),
        ("new[2] == 3", STRUCT, "new.qty, new.tag"),
        ("new.tag == 'a'", STRUCT, "bytes is never compared with text"),
        ("new.qty == 3", PLACES, "the value of a place has no parts"),
        ("new < 3", NUMBER._replace(secret=True), "is a secret"),
        ("new < 3", Shape("other", "x"), "changed can be asked"),
    ],
)
def test_a_condition_that_doesnt_fit_the_variable_is_refused(text: str, shape: Shape, why: str) -> None:
    with pytest.raises(ConditionError, match=why.replace("(", r"\(").replace(".", r"\.")):
        compile_condition(text, shape)


@pytest.mark.usefixtures("journal")
def test_watch_refuses_before_anything_is_watched() -> None:
    order = type("Order", (), {})()
    order.qty = 1
    for wrong in ({"when": "nwe < 0"}, {"then": "brake"}, {"when": 3}):
        for begin in (lambda asked: watch(1, **asked), lambda asked: watch(order, **asked)):
            with pytest.raises((ConditionError, TypeError)):
                begin(wrong)
        with pytest.raises((ConditionError, TypeError)):
            watch_place(order, "qty", **wrong)  # type: ignore[arg-type]
    with pytest.raises(ConditionError, match="has no parts"):
        watch(order, when="new.qty < 0")
    watch_place(order, "qty")  # none of these has left a watch
    watch(type("Other", (), {})())


@pytest.mark.usefixtures("journal")
def test_a_refused_condition_ends_the_watch_that_it_was_for() -> None:
    data = {"a": 1}
    with pytest.raises(ConditionError, match="no parts"):
        watch(data, when="new.price < 0")
    watch(data)


def test_actions_are_named_in_the_refusal() -> None:
    with pytest.raises(ConditionError, match="'break', 'raise', 'dump', or a function"):
        watch(1, then="stop")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("new < 0", (None, "new < 0")),
        ("total: new < 0", ("total", "new < 0")),
        ("order.*: old is None", ("order.*", "old is None")),
        ('config["a:b"]: new', ('config["a:b"]', "new")),
        ("site like 'orders.py:3'", (None, "site like 'orders.py:3'")),
        ("orders:total: new < 0", ("orders:total", "new < 0")),
        ("total:new < 0", (None, "total:new < 0")),
    ],
)
def test_a_condition_for_one_variable_begins_with_its_name(text: str, expected: tuple[str | None, str]) -> None:
    assert parted(text) == expected


@pytest.mark.usefixtures("journal")
def test_what_isnt_watched_cant_be_judged() -> None:
    from memwatch_core.adapter import breaks

    with pytest.raises(WatchError):
        breaks.arm({"plain": 1}, "new < 0")
