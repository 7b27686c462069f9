"""Risk: looking at what an object holds runs code of the program's, keeps something alive, or takes two states for
one."""

from __future__ import annotations

import collections
import gc
import types
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memwatch_core.adapter.snapshot import MISSING, Place, path_to, snapshot, value_at
from memwatch_core.running.recording import Recording


class Hostile:
    """Raises whatever is asked of it."""

    def __init__(self) -> None:
        object.__setattr__(self, "held", 1)

    def _never(self, *arguments: object) -> Any:
        raise AssertionError("code of the program ran")

    __getattribute__ = __setattr__ = __eq__ = __hash__ = __repr__ = __len__ = __iter__ = __bool__ = _never  # type: ignore
    __class__ = __dict__ = property(_never)  # type: ignore


class HostileDict(dict):  # type: ignore[type-arg]
    def _never(self, *arguments: object) -> Any:
        raise AssertionError("code of the program ran")

    __iter__ = __getitem__ = items = keys = get = __len__ = __eq__ = _never  # type: ignore[assignment]


class Meta(type):
    def __getattribute__(cls, name: str) -> Any:
        raise AssertionError("code of the program ran")

    def __instancecheck__(cls, instance: object) -> bool:
        raise AssertionError("code of the program ran")


class OfMeta(metaclass=Meta):
    attribute = 1


MADE = {
    "object": Hostile,
    "item": lambda: [Hostile()],
    "value": lambda: {"k": Hostile()},
    "in_a_tuple": lambda: (Hostile(),),
    "dict": lambda: HostileDict(a=1),
    "class": lambda: OfMeta,
    "class_in_a_list": lambda: [OfMeta],
    "attribute": lambda: types.SimpleNamespace(x=Hostile()),
}


@pytest.mark.parametrize("name", MADE)
def test_no_code_of_the_program_runs(name: str) -> None:
    value: object = MADE[name]()  # type: ignore[no-untyped-call]
    before = snapshot(Place(value, depth=5))
    assert before == snapshot(Place(value, depth=5))
    holder = types.ModuleType("holder")
    vars(holder)["value"] = value
    assert snapshot(Place(holder, "value", 5)) != {}
    assert value_at(holder, "value") is value


def test_a_dict_whose_keys_are_the_programs_objects_can_be_looked_at() -> None:
    class Key:
        def __eq__(self, other: object) -> bool:
            raise AssertionError("code of the program ran")

        def __hash__(self) -> int:
            return 1

    held = {Key(): 1}
    before = snapshot(Place(held))
    held[next(iter(held))] = 2
    assert snapshot(Place(held)) != before


def test_nothing_is_kept_alive() -> None:
    class Thing: ...

    thing = Thing()
    gone = weakref.ref(thing)
    kept = snapshot(Place({"a": [thing], "b": {"c": thing}, "d": (thing,)}, depth=5))
    del thing
    gc.collect()
    assert gone() is None
    assert kept


def circle() -> list[Any]:
    items: list[Any] = [1]
    items.append({"self": items})
    return items


@pytest.mark.parametrize("make", [circle, lambda: {"a": circle(), "b": circle()}])
def test_circles_end(make: Any) -> None:
    value = make()
    assert snapshot(Place(value, depth=50)) == snapshot(Place(value, depth=50))


def test_the_order_of_a_dict_is_no_difference_whatever_it_shares() -> None:
    shared = {"x": 1}
    one, other = {"a": shared, "b": shared}, {"b": shared, "a": shared}
    assert snapshot(Place(one, depth=3)) == snapshot(Place(other, depth=3))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True), (1, 1.0), ("a", b"a"), ([1], (1,)), ([], {}), ({}, collections.OrderedDict()),
        ("x" * 300 + "a", "x" * 300 + "b"), ({1}, frozenset({1})), (None, 0), ([1, 2], [2, 1]), ({1: 2}, {1: 2, 3: 4}),
        (object(), object()), (lambda: 1, lambda: 1), (type("A", (), {}), type("A", (), {})), ([[]], [[1]]),
    ],
)  # fmt: skip
def test_what_differs_is_a_difference(one: object, other: object) -> None:
    assert snapshot(Place({"k": one}, depth=5)) != snapshot(Place({"k": other}, depth=5))


@pytest.mark.parametrize("value", [1, "a", (1, "a"), [1, [2]], {"a": {"b": 1}}, {1, 2}, frozenset({1}), range(3)])
def test_a_copy_is_the_same(value: object) -> None:
    import copy

    assert snapshot(Place({"k": value}, depth=5)) == snapshot(Place({"k": copy.deepcopy(value)}, depth=5))


def test_a_path_leads_to_what_is_there() -> None:
    inner: dict[str, int] = {}
    holder = types.SimpleNamespace(rows=[0, {"deep": inner}])
    assert path_to(Place(holder, depth=5), inner) == '.rows[1]["deep"]'
    assert path_to(Place(holder, "rows", 5), inner) == '[1]["deep"]'
    assert path_to(Place(holder, depth=5), {}) is None
    assert value_at(holder, "nothing") is MISSING


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    made = Recording(tmp_path / "sessions")
    yield made
    made.close(keep=False)
    assert not (tmp_path / "sessions").exists()


def test_a_recording_is_read_where_it_was_left(recording: Recording) -> None:
    from memwatch_core import watch
    from memwatch_core.records import Event

    def new() -> list[object]:
        return [r.part.new for batch in recording.read() for r in batch if isinstance(r, Event) and r.part is not None]

    assert new() == []
    held = watch({"a": 0}, name="held")
    assert recording.moved
    assert new() == []
    assert not recording.moved
    for number in range(1, 2001):
        held["a"] = number
    assert recording.moved
    assert new() == [*range(1, 2001)]
    assert not recording.moved
    assert new() == []
