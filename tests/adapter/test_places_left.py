"""What a watched object holds and isn't followed is recorded: why, of which type, how often, where."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import enum
import re
import threading
import uuid
from typing import Any, NamedTuple

import pytest
from journals import Opened

from memwatch_core import unwatch, watch
from memwatch_core.native import proxy

KIND, MOST, OTHER_WATCH, KEY, MEMBER = 1, 2, 3, 4, 5


class Box:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Queue(collections.deque[int]):
    pass


class Failure(Exception):
    pass


class Pair(NamedTuple):
    first: Any
    second: Any


class Colour(enum.Enum):
    RED = 1


class Hashed:
    def __init__(self, x: int) -> None:
        self.x = x


def left(journal: Opened) -> list[tuple[int, int, str, str]]:
    return [record[1:] for record in journal.read().left]


def last(journal: Opened) -> dict[tuple[int, str], int]:
    """Why and type -> the last count."""
    return {(why, kind): count for count, why, kind, _ in left(journal)}


UNSEEN: dict[str, tuple[Any, str]] = {
    "deque": (collections.deque([1]), "deque"),
    "subclass of deque": (Queue([1]), "Queue"),
    "bytearray": (bytearray(b"a"), "bytearray"),
    "array": (array.array("i", [1]), "array"),
    "memoryview": (memoryview(bytearray(b"a")), "memoryview"),
    "tuple of a list": (([1],), "tuple"),
    "tuple of tuples": ((1, 2, ({},)), "tuple"),
    "named tuple of an object": (Pair(1, Box(x=1)), "Pair"),
}
DEEPER: dict[str, tuple[Any, str]] = {
    "exception": (Failure("x"), "Failure"),
}
VALUES: dict[str, Any] = {
    "number": 1, "text": "a", "bytes": b"a", "none": None, "big": 2**99, "complex": 1j, "range": range(3),
    "frozen set": frozenset({1}), "tuple": (1, "a", (2, None)), "date": datetime.datetime.now(),
    "decimal": decimal.Decimal(1), "uuid": uuid.uuid4(), "enum": Colour.RED, "function": last, "class": Box,
    "module": re, "pattern": re.compile("a"), "lock": threading.Lock(), "generator": (i for i in ()),
    "object": object(), "list": [1], "dict": {"a": 1}, "set": {1}, "box": Box(x=1), "property": property(last),
    "bound method": [].append, "named tuple": Pair(1, 2),
}  # fmt: skip


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("name", [*UNSEEN, *DEEPER])
def test_what_changes_unseen_is_named(journal: Opened, name: str, later: bool) -> None:
    value, kind = (UNSEEN | DEEPER)[name]
    order = Box(held=None if later else value, n=1)
    watch(order, name="order", depth=3)
    if later:
        order.held = value
    assert left(journal) == [(1, KIND, kind, ".held")]
    order.n = 2
    unwatch(order)
    assert left(journal) == [(1, KIND, kind, ".held")]


@pytest.mark.parametrize("name", VALUES)
def test_values_and_what_is_followed_are_no_complaint(journal: Opened, name: str) -> None:
    order = Box(held=VALUES[name])
    watch(order, name="order", depth=3)
    order.again = VALUES[name]
    unwatch(order)
    assert left(journal) == []


def test_levels_that_were_not_asked_for_are_no_complaint(journal: Opened) -> None:
    order = Box(a=[collections.deque(), ([],), {"b": {1: [bytearray()]}}], e=Failure(), box=Box(q=collections.deque()))
    watch(order, name="order", depth=1)
    assert left(journal) == []
    unwatch(order)
    watch(order, name="order", depth=0)
    order.q = collections.deque()
    assert left(journal) == []


def test_counts_are_told_when_they_have_doubled_and_at_the_end(journal: Opened) -> None:
    order = Box(rows=[collections.deque() for _ in range(100)])
    watch(order, name="order", depth=2)
    assert [count for count, *_ in left(journal)] == [1, 2, 4, 8, 16, 32, 64]
    assert left(journal)[0] == (1, KIND, "deque", ".rows[0]")
    assert left(journal)[2] == (4, KIND, "deque", ".rows[3]")
    proxy.audit_places()
    proxy.audit_places()
    assert left(journal)[7:] == [(100, KIND, "deque", "")]
    order.rows.append(collections.deque())
    unwatch(order)
    assert left(journal)[8:] == [(101, KIND, "deque", "")]


def test_types_without_number_are_counted_together(journal: Opened) -> None:
    order: dict[int, Any] = {}
    watch(order, name="order")
    for number in range(50):
        order[number] = type(f"Queue{number}", (collections.deque,), {})()
    unwatch(order)
    counts = last(journal)
    assert len(counts) == 13
    assert counts[KIND, ""] == 38
    assert sum(counts.values()) == 50


def test_objects_over_the_limit_are_counted(journal: Opened) -> None:
    order = {number: {"x": number} for number in range(10)}
    watch(order, name="order", max_objects=4)
    order[10] = {}
    order[11] = {}
    unwatch(order)
    assert last(journal) == {(MOST, ""): 9}


def test_what_another_watch_follows_less_far_is_told(journal: Opened) -> None:
    shared: dict[str, Any] = {"rows": [{"x": 1}]}
    a, b, c = Box(s=shared), Box(s=shared), Box(s=shared)
    watch(a, name="a", depth=2)
    watch(b, name="b", depth=3)
    watch(c, name="c", depth=2)
    called = journal.read().metadata
    assert [(called[record[0]]["name"], *record[1:]) for record in journal.read().left] == [
        ("b", 1, OTHER_WATCH, "", ".s")
    ]
    some = Box(n=1, m=2)
    watch(some, name="some", fields=["n"], depth=0)
    watch(Box(some=some), name="d", depth=2)
    assert journal.read().left[-1][1:] == (1, OTHER_WATCH, "", ".some")


def test_objects_under_keys_with_code_of_their_own_and_in_sets_are_told(journal: Opened) -> None:
    key = Hashed(1)
    order = Box(by_key={key: {"x": 1}, "a": {}}, members={Hashed(2), 3, "b"})
    watch(order, name="order", depth=3)
    assert {(why, path.split(" at ")[0]) for _, why, _, path in left(journal)} == {
        (KEY, ".by_key[<Hashed"),
        (MEMBER, ".members"),
    }
    order.by_key[Hashed(3)] = []
    order.members.add(Hashed(4))
    order.members.add(5)
    unwatch(order)
    assert last(journal) == {(KEY, ""): 2, (MEMBER, ""): 2}


def test_an_object_that_is_given_another_dict_is_not_counted_anew(journal: Opened) -> None:
    """As pydantic does at each assignment."""
    order = Box(q=collections.deque(), n=1)
    watch(order, name="order")
    for number in range(10):
        order.__dict__ = vars(order) | {"n": number}
    unwatch(order)
    assert last(journal) == {(KIND, "deque"): 1}
