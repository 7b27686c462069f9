"""Objects and dicts that are watched where they lie: every change is an event, and nothing else changes.

The matrix: kinds of owners x ways to change them x cold or hot code. An oracle looks before and after each operation;
the events, applied to what was before, must give what is there after it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import types
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from cells import Change, changes, replay, state_of
from journals import Opened

from memwatch_core import unwatch, watch
from memwatch_core.native import proxy

api = ctypes.pythonapi
for name, arguments in {
    "PyDict_SetItem": (ctypes.py_object,) * 3,
    "PyDict_SetItemString": (ctypes.py_object, ctypes.c_char_p, ctypes.py_object),
    "PyDict_DelItem": (ctypes.py_object,) * 2,
    "PyDict_Merge": (ctypes.py_object, ctypes.py_object, ctypes.c_int),
    "PyDict_SetDefault": (ctypes.py_object,) * 3,
    "PyObject_SetAttr": (ctypes.py_object,) * 3,
    "PyObject_GenericSetAttr": (ctypes.py_object,) * 3,
    "PyObject_SetItem": (ctypes.py_object,) * 3,
}.items():
    getattr(api, name).argtypes = arguments
api.PyDict_Clear.argtypes = (ctypes.py_object,)
api.PyDict_Clear.restype = None
api.PyDict_SetDefault.restype = ctypes.c_void_p  # borrowed

HOT = 3000


class Loud(dict[Any, Any]):
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


class Plain:
    def __init__(self) -> None:
        self.a = 1
        self.b: Any = "two"


@dataclass
class Data:
    a: int = 1
    b: Any = "two"


@dataclass(frozen=True)
class Frozen:
    a: int = 1
    b: Any = "two"


class Whole(int):
    """An int with attributes."""

    a: int
    b: Any


def whole() -> Whole:
    made = Whole(5)
    made.a, made.b = 1, "two"
    return made


class Kept:
    """Attributes that go through code of the program's."""

    def __init__(self) -> None:
        self.a = 1
        self.b = "two"

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def __getattribute__(self, name: str) -> Any:
        return object.__getattribute__(self, name)


def filled(kind: Callable[[], Any]) -> Callable[[], Any]:
    def make() -> Any:
        made = kind()
        dict.update(made, {"a": 1, "b": "two"})
        return made

    return make


DICTS: dict[str, Callable[[], Any]] = {
    "dict": filled(dict),
    "subclass": filled(Loud),
    "OrderedDict": filled(OrderedDict),
    "defaultdict": filled(lambda: defaultdict(int)),
    "Counter": filled(Counter),
}
OBJECTS: dict[str, Callable[[], Any]] = {
    "plain": Plain,
    "dataclass": Data,
    "frozen": Frozen,
    "namespace": lambda: types.SimpleNamespace(a=1, b="two"),
    "int subclass": whole,
    "__setattr__": Kept,
}


def in_loop(code: str) -> Callable[[Any], None]:
    """An operation that runs until the interpreter has specialised it, each in a function of its own."""
    space: dict[str, Any] = {}
    exec(f"def hot(o, n={HOT}):\n    for i in range(n):\n        {code}\n", space)
    run: Callable[[Any], None] = space["hot"]
    return run


REFUSED = (KeyError, NameError, AttributeError, TypeError)


def ignoring(error: Any, operation: Callable[[Any], Any]) -> Callable[[Any], None]:
    def run(o: Any) -> None:
        with contextlib.suppress(error):
            operation(o)

    return run


def gone(d: Any) -> None:
    del d["a"]


def joined(d: Any) -> None:
    d |= {"a": 9, "z": 1}


def again(d: Any) -> None:
    for i in range(1000):
        d[f"k{i}"] = i
    for i in range(1000):
        del d[f"k{i}"]


DICT_WAYS: dict[str, Callable[[Any], Any]] = {
    "d[k] = v": lambda d: d.__setitem__("a", 3),
    "d[k] = v, hot": in_loop('o["a"] = i'),
    "new key": lambda d: d.__setitem__("n", None),
    "keys of many types": lambda d: dict.update(d, dict.fromkeys((1, 2.5, None, True, b"x", (1, ("y", 2)), 2**70), 1)),
    "dict.__setitem__": lambda d: dict.__setitem__(d, "a", -1),
    "del": gone,
    "pop": lambda d: dict.pop(d, "a"),
    "popitem": lambda d: dict.popitem(d),
    "update": lambda d: dict.update(d, {"a": 5, "c": [1]}),
    "update by keywords": lambda d: dict.update(d, a=6, q=1),
    "update by pairs": lambda d: dict.update(d, [("a", 6), ("r", 1)]),
    "|=": ignoring(REFUSED, joined),
    "setdefault, new": lambda d: dict.setdefault(d, "s", {}),
    "setdefault, there": lambda d: dict.setdefault(d, "a", 4),
    "clear": lambda d: dict.clear(d),
    "clear, then fill": lambda d: (dict.clear(d), dict.update(d, {"a": 1, "y": 2})),
    "dict.__init__": lambda d: dict.__init__(d, a=8),
    "a thousand keys, and gone": again,
    "a thousand keys": lambda d: [dict.__setitem__(d, i, i) for i in range(1000)],
    "PyDict_SetItem": lambda d: api.PyDict_SetItem(d, "a", 11),
    "PyDict_SetItemString": lambda d: api.PyDict_SetItemString(d, b"a", 12),
    "PyDict_DelItem": lambda d: api.PyDict_DelItem(d, "a"),
    "PyDict_Merge": lambda d: api.PyDict_Merge(d, {"a": 5, "m": 1}, 1),
    "PyDict_Clear": lambda d: api.PyDict_Clear(d),
    "PyDict_SetDefault": lambda d: api.PyDict_SetDefault(d, "sd", 1),
    "PyObject_SetItem": lambda d: api.PyObject_SetItem(d, "a", 2),
    "exec": lambda d: exec("d['a'] = 5; d['e'] = 6", {"d": d}),
    "as namespace of exec": lambda d: exec("a = 17\nnew = 18\ndel b", {}, d) if type(d) is dict else None,
    "values of all kinds": lambda d: [
        dict.__setitem__(d, "a", value)
        for value in (
            None, True, 2**63 - 1, -(2**63), 2**63, 2**400, 0.1, float("nan"), "x" * 60, "x" * 61, "é" * 30, "é" * 31,
            "\ud800", "", b"", b"y" * 60, b"y" * 61, [], [1, "a", None], [[1, [2, [3, [4]]]]], list(range(100)), (),
            (1,), {"k": {"l": {"m": {}}}}, {1}, set(), frozenset({2}), frozenset(), object(), Plain(), Loud, len, type,
            "\n'\\",
        )
    ],
    "gc": lambda d: gc.collect(),
    "nothing": lambda d: (dict.get(d, "a"), dict.copy(d), dict.keys(d), dict.items(d), "a" in d),
}  # fmt: skip


def assigned(o: Any) -> None:
    o.a = 3


def replaced(o: Any) -> None:
    object.__setattr__(o, "__dict__", {"a": 21, "r": [1]})
    object.__setattr__(o, "a", 22)
    object.__setattr__(o, "t", 23)


def removed(o: Any) -> None:
    object.__delattr__(o, "__dict__")
    object.__setattr__(o, "a", 24)


OBJECT_WAYS: dict[str, Callable[[Any], Any]] = {
    "o.a = v": ignoring(AttributeError, assigned),
    "o.a = v, hot": ignoring(AttributeError, in_loop("o.a = i")),
    "o.a += 1, hot": ignoring(AttributeError, in_loop("o.a += 1")),
    "new attribute, and gone, hot": ignoring(AttributeError, in_loop("o.c = i; del o.c")),
    "setattr": ignoring(AttributeError, lambda o: setattr(o, "a", 4)),
    "object.__setattr__": lambda o: object.__setattr__(o, "a", 5),
    "object.__setattr__, hot": in_loop("object.__setattr__(o, 'a', i)"),
    "object.__delattr__": lambda o: object.__delattr__(o, "a"),
    "delattr, and again": lambda o: (object.__delattr__(o, "a"), object.__setattr__(o, "a", 1)),
    "vars()[...]": lambda o: vars(o).__setitem__("a", 7),
    "vars()[...], hot": in_loop("vars(o)['a'] = i"),
    "vars().update": lambda o: vars(o).update(a=8, z=9),
    "vars().clear": lambda o: vars(o).clear(),
    "vars().pop": lambda o: vars(o).pop("b"),
    "a name that is none": lambda o: vars(o).__setitem__("not a name", 1),
    "a key that is no str": lambda o: vars(o).__setitem__(5, 1),
    "thirty attributes": lambda o: [object.__setattr__(o, f"n{i}", i) for i in range(30)],
    "__dict__ replaced": ignoring(REFUSED, replaced),
    "__dict__ replaced by itself": ignoring(REFUSED, lambda o: object.__setattr__(o, "__dict__", o.__dict__)),
    "__dict__ deleted": ignoring(REFUSED, removed),
    "PyObject_SetAttr": ignoring(AttributeError, lambda o: api.PyObject_SetAttr(o, "a", 5)),
    "PyObject_GenericSetAttr": lambda o: api.PyObject_GenericSetAttr(o, "a", 6),
    "PyDict_SetItem": lambda o: api.PyDict_SetItem(o.__dict__, "a", 7),
    "__init__ again": lambda o: type(o).__init__(o) if not isinstance(o, int) else None,
    "gc": lambda o: gc.collect(),
}


def seen_by(
    journal: Opened, owner: Any, mapping: Callable[[], Any], operation: Callable[[Any], Any], attributes: bool
) -> list[Change]:
    """The events of an operation, after they were compared with what it did."""
    before, earlier = state_of(dict(dict.items(mapping())), attributes), len(changes(journal))
    operation(owner)
    after = state_of(dict(dict.items(mapping())), attributes)
    events = [change for change in changes(journal) if change.variable == "watched"][earlier:]
    assert replay(before, events) == after
    assert not [change for change in events if change.origin != "announced"]
    assert proxy.audit_places() == 0
    return events


@pytest.mark.parametrize("way", DICT_WAYS)
@pytest.mark.parametrize("kind", DICTS)
def test_every_change_of_a_dict_is_an_event(journal: Opened, kind: str, way: str) -> None:
    d, operation = DICTS[kind](), DICT_WAYS[way]
    assert watch(d, name="watched", depth=0) is d
    seen_by(journal, d, lambda: d, operation, False)
    seen_by(journal, d, lambda: d, ignoring(REFUSED, operation), False)
    unwatch(d)
    count = len(changes(journal))
    ignoring(REFUSED, operation)(d)
    assert len(changes(journal)) == count


@pytest.mark.parametrize("way", OBJECT_WAYS)
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("kind", OBJECTS)
def test_every_change_of_an_object_is_an_event(journal: Opened, kind: str, warm: bool, way: str) -> None:
    o, operation = OBJECTS[kind](), OBJECT_WAYS[way]
    if warm:  # the interpreter knows the class, and where its instances keep their attributes
        for _ in range(3):
            ignoring(REFUSED, operation)(OBJECTS[kind]())
    assert watch(o, name="watched", depth=0) is o

    def attributes():
        return object.__getattribute__(o, "__dict__")

    seen_by(journal, o, attributes, operation, True)
    seen_by(journal, o, attributes, ignoring(REFUSED, operation), True)
    unwatch(o)
    count = len(changes(journal))
    ignoring(REFUSED, operation)(o)
    assert len(changes(journal)) == count
