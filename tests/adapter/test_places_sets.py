"""Sets that are watched where they lie: every change is an event, and nothing else changes.

The matrix: kinds of sets x how many members x ways to change them. An oracle looks before and after each operation; the
events, applied one by one to what was before, must give what is there after it.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import gc
import os
import pickle
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cells import ABSENT, Change, changes, expected
from journals import Opened
from operations import in_loop, in_thread, same_plain_and_watched

from memwatch_core import unwatch, watch
from memwatch_core.native import core, proxy

api = ctypes.pythonapi
for name, arguments in {
    "PySet_Add": (ctypes.py_object, ctypes.py_object), "PySet_Discard": (ctypes.py_object, ctypes.py_object),
    "PySet_Clear": (ctypes.py_object,), "PySet_Pop": (ctypes.py_object,), "_PySet_Update": (ctypes.py_object,) * 2,
}.items():  # fmt: skip
    if hasattr(api, name):
        getattr(api, name).argtypes = arguments
api.PySet_Pop.restype = ctypes.py_object


class Loud(set[Any]):
    """A subclass that overrides everything, and lies."""

    def add(self, item: Any) -> None:
        set.add(self, item)

    def __len__(self) -> int:
        return 7

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __contains__(self, item: object) -> bool:
        raise AssertionError("asked")

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared")

    def __hash__(self) -> int:
        raise AssertionError("hashed")

    def __repr__(self) -> str:
        raise AssertionError("shown")


class Own(set[Any]):
    """A subclass with attributes."""

    def __init__(self, *items: Any) -> None:
        super().__init__(*items)
        self.note = "x"


class Same:
    """Equal to all of its kind, by code of its own."""

    def __hash__(self) -> int:
        return 5

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same)


class Dies:
    """Adds itself to a set as it dies, so to speak."""

    def __init__(self, x: Any) -> None:
        self.x = x

    def __del__(self) -> None:
        set.add(self.x, "died")


KINDS: dict[str, Callable[[Any], set[Any]]] = {"set": set, "loud subclass": Loud, "subclass": Own}
SIZES = (0, 1, 10, 600)


def operators(x: Any) -> None:
    x |= {1, 2, 3, "z"}
    x &= {1, 2, "z", 1001, 1005}
    x ^= {2, 9}
    x -= {1}


def with_destructors(x: Any) -> None:
    set.add(x, Dies(x))
    set.clear(x)
    set.add(x, Dies(x))
    set.intersection_update(x, {5})


WAYS: dict[str, Callable[[Any], Any]] = {
    "add": lambda x: set.add(x, "new"),
    "add, hot": in_loop("x.add(i)"),
    "add what is there": lambda x: set.add(x, 1000),
    "add and discard, hot": in_loop("x.add(i); x.discard(i)"),
    "discard": lambda x: set.discard(x, 1000),
    "discard none": lambda x: set.discard(x, object()),
    "remove": lambda x: set.remove(x, 1000),
    "pop": lambda x: set.pop(x),
    "pop all": lambda x: [set.pop(x) for _ in range(set.__len__(x))],
    "clear": lambda x: set.clear(x),
    "clear, then add": lambda x: (set.clear(x), set.add(x, 1), set.add(x, 1000)),
    "update": lambda x: set.update(x, [1, 2, 1000], "abc"),
    "update set": lambda x: set.update(x, set(range(100))),
    "update dict": lambda x: set.update(x, dict.fromkeys(range(50))),
    "update generator": lambda x: set.update(x, (i for i in range(50))),
    "update itself": lambda x: set.update(x, x),
    "intersection_update": lambda x: set.intersection_update(x, {1000, 1003, 5}),
    "intersection_update, several": lambda x: set.intersection_update(x, {1000, 1003}, [1000]),
    "intersection_update, generator": lambda x: set.intersection_update(x, (i for i in range(990, 1005))),
    "difference_update": lambda x: set.difference_update(x, {1000, 1003, 5}),
    "difference_update itself": lambda x: set.difference_update(x, x),
    "symmetric_difference_update": lambda x: set.symmetric_difference_update(x, {1000, 1003, 5}),
    "symmetric_difference_update itself": lambda x: set.symmetric_difference_update(x, x),
    "operators": operators,
    "set.__ior__": lambda x: set.__ior__(x, {7}),
    "set.__iand__": lambda x: set.__iand__(x, {1000}),
    "set.__init__": lambda x: set.__init__(x, [1, 1000]),
    "set.__init__, nothing": lambda x: set.__init__(x),
    "PySet_Add": lambda x: api.PySet_Add(x, "c"),
    "PySet_Discard": lambda x: api.PySet_Discard(x, 1000),
    "PySet_Clear": lambda x: api.PySet_Clear(x),
    "PySet_Pop": lambda x: api.PySet_Pop(x),
    "grows": lambda x: [set.add(x, i) for i in range(2000)],
    "grows and shrinks": lambda x: ([set.add(x, i) for i in range(900)], [set.discard(x, i) for i in range(900)]),
    "equal by code": lambda x: (set.add(x, Same()), set.add(x, Same()), set.discard(x, Same())),
    "destructors": with_destructors,
    "values of all kinds": lambda x: set.update(
        x, [None, True, 2**70, 0.5, "s" * 70, "é", "\ud800", b"b", b"y" * 70, (), (1, "a"), frozenset({2}), len]
    ),
    "wrong": lambda x: set.add(x, []),
    "in a thread": in_thread(lambda x: (set.add(x, 1), set.discard(x, 1000), set.clear(x))),
    "exec": lambda x: exec("x.add(5); x.discard(5); x |= {6}", {"x": x}),
    "gc": lambda x: gc.collect(),
    "nothing": lambda x: (
        set.copy(x), set.__contains__(x, 1000), set.union(x, {1}), set.issubset(x, {1}), list(set.__iter__(x)),
        copy.copy(x) if type(x) is set else None, pickle.dumps(x) if type(x) is set else None,
    ),
}  # fmt: skip
REFUSED = (KeyError, TypeError)


def members_of(x: Any) -> list[str]:
    return sorted(str(expected(item)) for item in set.__iter__(x))


def replay(before: list[str], events: list[Change]) -> list[str]:
    """What events make of the members. Fails where one is added that is there, or taken out that isn't."""
    now = list(before)
    for change in events:
        assert (change.old == ABSENT) != (change.new == ABSENT), change
        assert change.path[0] + change.path[-1] == "{}", change
        if change.new == ABSENT:
            now.remove(str(change.old))
        else:
            now.append(str(change.new))
    return sorted(now)


def seen_by(journal: Opened, x: Any, operation: Callable[[Any], Any]) -> list[Change]:
    """The events of an operation, after they were compared with what it did."""
    before, earlier = members_of(x), len(changes(journal))
    with contextlib.suppress(REFUSED):
        operation(x)
    events = changes(journal)[earlier:]
    assert replay(before, events) == members_of(x)
    assert not [change for change in events if change.origin != "announced"]
    assert proxy.audit_places() == 0
    return events


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_change_of_a_set_is_an_event(journal: Opened, kind: str, size: int, way: str) -> None:
    if kind != "set" and size != 10:
        pytest.skip("subclasses with ten members are enough")
    x, operation = KINDS[kind](range(1000, 1000 + size)), WAYS[way]
    assert watch(x, name="watched", depth=0) is x
    seen_by(journal, x, operation)
    seen_by(journal, x, operation)
    set.add(x, "goes on")
    assert changes(journal)[-1].path == '{"goes on"}'
    unwatch(x)
    count = len(changes(journal))
    with contextlib.suppress(REFUSED):
        operation(x)
    assert len(changes(journal)) == count
    gc.collect()


def test_a_set_that_an_attribute_or_a_list_holds_is_followed(journal: Opened) -> None:
    class Order:
        def __init__(self) -> None:
            self.tags = {"a"}
            self.groups = [{1}, {2}]

    order = watch(Order(), name="order", depth=2)
    order.tags.add("b")
    order.groups[1].discard(2)
    order.groups.reverse()
    order.groups[0].add(3)
    order.tags = {"c"}
    order.tags.clear()
    assert [change.path for change in changes(journal)] == [
        '.tags{"b"}', ".groups[1]{2}", ".groups", ".groups[0]{3}", ".tags", '.tags{"c"}',
    ]  # fmt: skip
    assert proxy.audit_places() == 0


def test_a_set_that_is_gone_leaves_nothing_and_one_is_as_it_was_after_its_watch(journal: Opened) -> None:
    for size in (0, 3, 40, 600, 5000):
        watch(set(range(size)), name="x")
        x = watch(set(range(size)), name="x")
        x.clear()
        del x
        y = set(range(size))
        before = sys.getsizeof(y)
        watch(y, name="y")
        unwatch(y)
        assert sys.getsizeof(y) == before
        y.update(range(10_000))
        y.intersection_update(range(5))
        assert y == set(range(5))
        assert core.stats().pages == 0, size


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_has_sets_of_its_own(journal: Opened) -> None:
    x = watch(set(range(600)), name="x")
    pid = os.fork()
    if not pid:
        try:
            x.add("child")
            x -= set(range(500))
            unwatch(x)
            os._exit(0 if len(x) == 101 and "child" in x else 1)
        finally:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    assert x == set(range(600))
    x.add("parent")
    assert [change.path for change in changes(journal)] == ['{"parent"}']


def test_cpythons_own_tests_of_sets_pass_on_watched_ones(tmp_path: Path) -> None:
    pytest.importorskip("test.test_set", reason="this CPython came without its tests: test.test_set")
    (tmp_path / "suite.py").write_text(
        textwrap.dedent(
            """
            import sys, unittest
            from test import test_set
            from memwatch_core import watch

            class Watched(set):
                def __new__(cls, *args, **options):
                    made = set.__new__(cls, *args, **options)
                    return watch(made, name="x", depth=0) if sys.argv[1] == "watched" else made

            suite = unittest.TestSuite()
            for case in (test_set.TestSet, test_set.TestSetSubclass):
                class Case(case):
                    thetype = Watched
                    basetype = set
                out = {"test_init", "test_keywords_in_subclass", "test_gc", "test_weakref"}
                names = [name for name in unittest.defaultTestLoader.getTestCaseNames(Case) if name not in out]
                suite.addTests(Case(name) for name in names)
            result = unittest.TextTestRunner(stream=sys.stderr, verbosity=0).run(suite)
            print(result.testsRun, *sorted(str(test) for test, _ in result.failures + result.errors), sep="\\n")
            """
        )
    )
    assert same_plain_and_watched(tmp_path / "suite.py") > 60
