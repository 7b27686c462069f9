"""Lists that are watched where they lie: every change is an event, and nothing else changes.

The matrix: kinds of lists x how long they are x ways to change them. An oracle looks before and after each operation;
the events, applied one by one to what was before, must give what is there after it.
"""

from __future__ import annotations

import bisect
import contextlib
import copy
import ctypes
import gc
import heapq
import operator
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cells import ABSENT, Change, changes, expected
from journals import Opened
from operations import in_loop, in_thread

from memwatch_core import unwatch, watch
from memwatch_core.native import proxy

api = ctypes.pythonapi
for name, arguments in {
    "PyList_SetItem": (ctypes.py_object, ctypes.c_ssize_t, ctypes.py_object),
    "PyList_Insert": (ctypes.py_object, ctypes.c_ssize_t, ctypes.py_object),
    "PyList_Append": (ctypes.py_object, ctypes.py_object),
    "PyList_SetSlice": (ctypes.py_object, ctypes.c_ssize_t, ctypes.c_ssize_t, ctypes.c_void_p),
    "PyList_Sort": (ctypes.py_object,),
    "PyList_Reverse": (ctypes.py_object,),
    "PySequence_SetItem": (ctypes.py_object, ctypes.c_ssize_t, ctypes.py_object),
    "PySequence_DelItem": (ctypes.py_object, ctypes.c_ssize_t),
    "PySequence_InPlaceConcat": (ctypes.py_object, ctypes.py_object),
    "PyObject_SetItem": (ctypes.py_object,) * 3,
}.items():
    getattr(api, name).argtypes = arguments
api.PySequence_InPlaceConcat.restype = ctypes.py_object

UNKNOWN = ("shown", "<unknown>")


class Loud(list[Any]):
    """A subclass that overrides everything, and lies."""

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)

    def __getitem__(self, key: Any) -> Any:
        return "a lie"

    def __len__(self) -> int:
        return 7

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared")

    def __hash__(self) -> int:
        raise AssertionError("hashed")

    def __repr__(self) -> str:
        raise AssertionError("shown")

    def append(self, item: Any) -> None:
        list.append(self, item)


class Own(list[Any]):
    """A subclass with attributes."""

    def __init__(self, *items: Any) -> None:
        super().__init__(*items)
        self.note = "x"


class Slotted(list[Any]):
    __slots__ = ()


KINDS: dict[str, Callable[[list[Any]], list[Any]]] = {
    "list": list, "loud subclass": Loud, "subclass": Own, "slotted subclass": Slotted,
}  # fmt: skip
LENGTHS = (0, 1, 10, 600)


class Index:
    """Code of the program's where an index is asked for."""

    def __init__(self, at: int) -> None:
        self.at = at

    def __index__(self) -> int:
        return self.at


def added(x: Any) -> None:
    x += [1, 2, 3]


def swapped(x: Any) -> None:
    items = list.__getitem__
    a, b = items(x, 0), items(x, -1)
    list.__setitem__(x, 0, b)
    list.__setitem__(x, -1, a)


def while_iterated(x: Any) -> None:
    """A generator that changes the very list that takes its items."""

    def numbers() -> Iterator[int]:
        for i in range(5):
            if list.__len__(x):
                list.__setitem__(x, 0, 100 + i)
            yield i

    list.extend(x, numbers())


class Dies:
    def __init__(self, x: Any) -> None:
        self.x = x

    def __del__(self) -> None:
        list.append(self.x, "died")


def with_destructors(x: Any) -> None:
    list.append(x, Dies(x))
    list.insert(x, 0, Dies(x))
    list.__setitem__(x, 0, 5)
    list.__delitem__(x, slice(None))


def sorted_by(key: Callable[[Any], Any] | None = None, **options: Any) -> Callable[[Any], Any]:
    return lambda x: list.sort(x, key=key, **options)


def disturbed(x: Any) -> None:
    def key(value: Any) -> Any:
        list.append(x, value)
        return value

    list.sort(x, key=key)


WAYS: dict[str, Callable[[Any], Any]] = {
    "x[i] = v": lambda x: x.__setitem__(0, 7),
    "x[-1] = v": lambda x: x.__setitem__(-1, 7),
    "x[i] = v, hot": in_loop("x[0] = i"),
    "x[i] += 1, hot": in_loop("x[0] = i; x[-1] = -i"),
    "list.__setitem__": lambda x: list.__setitem__(x, 0, -1),
    "an index that is code": lambda x: list.__setitem__(x, Index(0), -1),
    "an index that is none": lambda x: list.__setitem__(x, 10**30, -1),
    "bool as index": lambda x: list.__setitem__(x, False, 3),
    "the same again": lambda x: list.__setitem__(x, 0, list.__getitem__(x, 0)),
    "append": lambda x: list.append(x, None),
    "x.append, hot": in_loop("x.append(i)"),
    "append and pop, hot": in_loop("x.append(i); x.pop()"),
    "insert 0": lambda x: list.insert(x, 0, "first"),
    "insert 2": lambda x: list.insert(x, 2, "third"),
    "insert -1": lambda x: list.insert(x, -1, "before the last"),
    "insert far": lambda x: list.insert(x, 10**6, "last"),
    "insert, by code": lambda x: list.insert(x, Index(0), "first"),
    "extend list": lambda x: list.extend(x, [1, 2, 3]),
    "extend tuple": lambda x: list.extend(x, (1, 2, 3)),
    "extend itself": lambda x: list.extend(x, x),
    "extend range": lambda x: list.extend(x, range(50)),
    "extend dict": lambda x: list.extend(x, {"a": 1, "b": 2}),
    "extend generator": lambda x: list.extend(x, (i for i in range(20))),
    "extend by what changes it": while_iterated,
    "extend nothing": lambda x: list.extend(x, ()),
    "+=": added,
    "iadd": lambda x: operator.iadd(x, [4]),
    "list.__iadd__": lambda x: list.__iadd__(x, [4]),
    "*= 3": lambda x: operator.imul(x, 3),
    "*= 1": lambda x: operator.imul(x, 1),
    "*= 0": lambda x: operator.imul(x, 0),
    "list.__imul__": lambda x: list.__imul__(x, 2),
    "pop": lambda x: list.pop(x),
    "pop(0)": lambda x: list.pop(x, 0),
    "pop(-2)": lambda x: list.pop(x, -2),
    "pop, by code": lambda x: list.pop(x, Index(0)),
    "pop all": lambda x: [list.pop(x) for _ in range(list.__len__(x))],
    "pop all from the front": lambda x: [list.pop(x, 0) for _ in range(list.__len__(x))],
    "remove first": lambda x: list.remove(x, list.__getitem__(x, 0)),
    "remove last": lambda x: list.remove(x, list.__getitem__(x, -1)),
    "remove none": lambda x: list.remove(x, object()),
    "del x[0]": lambda x: list.__delitem__(x, 0),
    "del x[-1]": lambda x: list.__delitem__(x, -1),
    "del x[-1], hot": in_loop("del x[-1]"),
    "del x[2:5]": lambda x: list.__delitem__(x, slice(2, 5)),
    "del x[5:]": lambda x: list.__delitem__(x, slice(5, None)),
    "del x[:]": lambda x: list.__delitem__(x, slice(None)),
    "del x[::2]": lambda x: list.__delitem__(x, slice(None, None, 2)),
    "del x[::-3]": lambda x: list.__delitem__(x, slice(None, None, -3)),
    "x[2:5] = as many": lambda x: list.__setitem__(x, slice(2, 5), ["a", "b", "c"]),
    "x[2:5] = fewer": lambda x: list.__setitem__(x, slice(2, 5), ["a"]),
    "x[2:2] = more": lambda x: list.__setitem__(x, slice(2, 2), list(range(50))),
    "x[2:5] = generator": lambda x: list.__setitem__(x, slice(2, 5), (i for i in range(9))),
    "x[0:2] = x": lambda x: list.__setitem__(x, slice(0, 2), x),
    "x[::2] = ": lambda x: list.__setitem__(x, slice(None, None, 2), ["e"] * len(range(0, list.__len__(x), 2))),
    "x[::2] = wrong": lambda x: list.__setitem__(x, slice(None, None, 2), [0] * 3333),
    "x[:] = []": lambda x: list.__setitem__(x, slice(None), []),
    "x[:] = others": lambda x: list.__setitem__(x, slice(None), [9, 8, 7]),
    "x[slice by code]": lambda x: list.__setitem__(x, slice(Index(0), Index(2)), [9]),
    "clear": lambda x: list.clear(x),
    "clear, then append": lambda x: (list.clear(x), list.append(x, 3)),
    "sort": sorted_by(str),
    "sort backwards": sorted_by(str, reverse=True),
    "sort sorted": lambda x: (list.sort(x, key=str), list.sort(x, key=str)),
    "sort, comparisons fail": lambda x: (list.append(x, 1), list.append(x, "a"), list.sort(x)),
    "sort by what changes it": disturbed,
    "reverse": lambda x: list.reverse(x),
    "random.shuffle": lambda x: random.Random(1).shuffle(x),
    "list.__init__": lambda x: list.__init__(x, [9, 9]),
    "list.__init__, nothing": lambda x: list.__init__(x),
    "list.__init__, generator": lambda x: list.__init__(x, (i for i in range(4))),
    "PyList_SetItem": lambda x: api.PyList_SetItem(x, 0, _given("c")),
    "PyList_Append": lambda x: api.PyList_Append(x, "c"),
    "PyList_Insert": lambda x: api.PyList_Insert(x, 0, "c"),
    "PyList_SetSlice, gone": lambda x: api.PyList_SetSlice(x, 1, 4, None),
    "PyList_SetSlice, all gone": lambda x: api.PyList_SetSlice(x, 0, 10**6, None),
    "PyList_SetSlice, end": lambda x: api.PyList_SetSlice(x, list.__len__(x) - 1, list.__len__(x), None),
    "PyList_SetSlice, end, twice": lambda x: [
        api.PyList_SetSlice(x, list.__len__(x) - 1, list.__len__(x), None) for _ in range(2)
    ],
    "PySequence_SetItem": lambda x: api.PySequence_SetItem(x, 0, "c"),
    "PySequence_DelItem": lambda x: api.PySequence_DelItem(x, 0),
    "PySequence_InPlaceConcat": lambda x: api.PySequence_InPlaceConcat(x, [1, 2]),
    "PyObject_SetItem": lambda x: api.PyObject_SetItem(x, 0, 2),
    "heapq": lambda x: (
        heapq.heapify(x),
        heapq.heappush(x, 3),
        heapq.heapreplace(x, 5),
        heapq.heappop(x),
        heapq.heappushpop(x, 6),
    ),
    "bisect.insort": lambda x: bisect.insort(x, 5),
    "swap": swapped,
    "destructors": with_destructors,
    "exec": lambda x: exec("x[0] = 5; x.append(6); del x[0]", {"x": x}),
    "in a thread": in_thread(lambda x: (list.append(x, 1), list.__setitem__(x, 0, 2), list.pop(x))),
    "a thousand": lambda x: [list.append(x, i) for i in range(1000)],
    "values of all kinds": lambda x: [
        list.__setitem__(x, 0, value) for value in (None, True, 2**70, 0.5, "s" * 70, b"b", (), {}, [], [1], {1}, len)
    ],
    "gc": lambda x: gc.collect(),
    "nothing": lambda x: (
        list.copy(x), list.count(x, 1), copy.copy(x) if type(x) is list else None, list.__eq__(x, [1]),
        list(list.__iter__(x)), list(list.__reversed__(x)), [*x] if type(x) is list else None,
    ),
}  # fmt: skip
REFUSED = (IndexError, ValueError, TypeError)


def _given(value: Any) -> Any:
    """PyList_SetItem takes over a reference."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))
    return value


def items_of(x: Any) -> list[Any]:
    return list(list.__iter__(x))


def replay(before: list[Any], events: list[Change], unknown: bool = False) -> list[Any] | None:
    """What events make of a list of cells' values. None: the last one says that all are in another order. Fails where
    one doesn't begin with what the one before has left."""
    now: list[Any] | None = before
    for change in events:
        if not change.path:
            now = None
            continue
        assert now is not None, "only the oracle knows the order"
        at = int(change.path[1:-1])
        was = now[at] if at < len(now) and change.old != ABSENT else ABSENT
        assert change.old == was or (change.old == UNKNOWN and unknown), (change, now[:20])
        if change.new == ABSENT:
            del now[at]
        elif change.old == ABSENT:
            now.insert(at, change.new)
        else:
            now[at] = change.new
    return now


def seen_by(journal: Opened, x: Any, operation: Callable[[Any], Any], by_c: bool = False) -> list[Change]:
    """The events of an operation, after they were compared with what it did. by_c: code that only makes the list
    shorter, and asks nobody, may have freed items before it can be told which they were."""
    before, earlier = [expected(item) for item in items_of(x)], len(changes(journal))
    with contextlib.suppress(REFUSED):
        operation(x)
    after = [expected(item) for item in items_of(x)]
    events = changes(journal)[earlier:]
    moves = [n for n, change in enumerate(events) if not change.path]
    if moves:  # each operation of the matrix moves last of all, or moves alone
        assert moves[-1] == len(events) - 1
        assert events[-1].new == expected(items_of(x))
        assert sorted(map(str, replay(before, events[: moves[0]]) or after)) == sorted(map(str, after))
    else:
        assert replay(before, events, by_c) == after
    assert by_c or not [change for change in events if change.origin != "announced"]
    assert proxy.audit_places() == 0
    return events


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_change_of_a_list_is_an_event(journal: Opened, kind: str, length: int, way: str) -> None:
    if kind != "list" and length != 10:
        pytest.skip("subclasses of ten items are enough")
    x, operation = KINDS[kind](list(range(1000, 1000 + length))), WAYS[way]
    assert watch(x, name="watched", depth=0) is x
    by_c = way.startswith("PyList_SetSlice")
    seen_by(journal, x, operation, by_c)
    seen_by(journal, x, operation, by_c)
    list.append(x, "goes on")
    assert changes(journal)[-1].new == "goes on"
    unwatch(x)
    count = len(changes(journal))
    with contextlib.suppress(REFUSED):
        operation(x)
    assert len(changes(journal)) == count
    gc.collect()
