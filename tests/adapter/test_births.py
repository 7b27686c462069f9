"""The attribute of every instance, from birth: however it is made, and nothing of the program's is other for it."""

from __future__ import annotations

import abc
import collections
import copy
import dataclasses
import enum
import functools
import gc
import itertools
import pickle
import sys
import threading
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cells import ABSENT, changes
from journals import Opened

from memwatch_core.adapter import targets
from memwatch_core.native import proxy


class Plain:
    def __init__(self, total: Any = 1) -> None:
        self.total = total


class Slotted:
    __slots__ = ("__weakref__", "total")

    def __init__(self, total: Any = 1) -> None:
        self.total = total


class Both(Slotted):
    """Slots of a base, and a dict."""


@dataclasses.dataclass
class Data:
    total: Any = 1


@dataclasses.dataclass(slots=True)
class SlottedData:
    total: Any = 1


@dataclasses.dataclass(frozen=True)
class Frozen:
    total: Any = 1


class WithNew:
    def __new__(cls, *args: Any, **options: Any) -> WithNew:
        made = super().__new__(cls)
        made.total = None
        return made

    def __init__(self, total: Any = 1) -> None:
        self.total = total


class Number(int):
    total: Any

    def __new__(cls, total: Any = 1) -> Number:
        made = super().__new__(cls, 7)
        made.total = total
        return made


class Abstract(abc.ABC):
    def __init__(self, total: Any = 1) -> None:
        self.total = total

    @abc.abstractmethod
    def never(self) -> None: ...


class Concrete(Abstract):
    def never(self) -> None: ...


class Called(type):
    def __call__(cls, *args: Any, **options: Any) -> Any:
        return super().__call__(*args, **options)


class OfMeta(metaclass=Called):
    def __init__(self, total: Any = 1) -> None:
        self.total = total


class Generic(typing.Generic[typing.TypeVar("T")]):
    def __init__(self, total: Any = 1) -> None:
        self.total = total


class Space(types.SimpleNamespace):
    def __init__(self, total: Any = 1) -> None:
        super().__init__(total=total)


CLASSES = (Plain, Slotted, Both, Data, SlottedData, Frozen, WithNew, Number, Concrete, OfMeta, Generic, Space)


class Mixin:
    pass


def derived(cls: Any) -> Any:
    return type("Derived", (cls,), {})(5)


def behind_a_mixin(cls: Any) -> Any:
    return type(cls)("Mixed", (Mixin, cls), {})(5)


def of_a_copied_class(cls: Any) -> Any:
    return types.new_class("Derived", (cls,))(5)


def by_new_alone(cls: Any) -> Any:
    made = cls.__new__(cls)
    object.__setattr__(made, "total", 5)
    return made


WAYS: dict[str, Callable[[Any], Any]] = {
    "call": lambda cls: cls(5),
    "call with a keyword": lambda cls: cls(total=5),
    "partial": lambda cls: functools.partial(cls, 5)(),
    "copy": lambda cls: copy.copy(cls(5)),
    "deepcopy": lambda cls: copy.deepcopy(cls(5)),
    "pickle": lambda cls: pickle.loads(pickle.dumps(cls(5))),
    "pickle, protocol 2": lambda cls: pickle.loads(pickle.dumps(cls(5), 2)),
    "__new__ alone": by_new_alone,
    "derived": derived,
    "behind a mixin": behind_a_mixin,
    "new_class": of_a_copied_class,
    "map": lambda cls: list(map(cls, [5]))[0],  # noqa: RUF015
}


@pytest.fixture
def aimed() -> Iterator[None]:
    yield
    targets.forget()


def module_of(cls: type) -> types.ModuleType:
    module = types.ModuleType("births")
    vars(module)["Aimed"] = cls
    return module


def take(cls: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "births", module_of(cls))
    targets.take("births:Aimed.total")


def of_instances(journal: Opened) -> dict[str, list[tuple[Any, Any]]]:
    found: dict[str, list[tuple[Any, Any]]] = collections.defaultdict(list)
    for change in changes(journal):
        if change.path.startswith("#"):
            found[change.path].append((change.old, change.new))
    return dict(found)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_the_attribute_of_every_instance_is_watched_from_birth(
    journal: Opened, monkeypatch: pytest.MonkeyPatch, cls: Any, way: str
) -> None:
    if way.startswith("pickle") and cls is Frozen and "2" in way:
        pytest.skip("as pickle")
    old = cls(3)
    take(cls, monkeypatch)
    made = WAYS[way](cls)
    object.__setattr__(made, "total", 6)
    object.__delattr__(made, "total")
    object.__setattr__(old, "total", 4)
    found = of_instances(journal)
    assert found["#1"] == [(3, 4)], "one that was there"
    events = found[max(found, key=lambda path: int(path[1:]))]
    assert events[0][0] == ABSENT
    assert events[-3:] == [(events[-3][0], 5), (5, 6), (6, ABSENT)]
    assert all(one[1] == other[0] for one, other in itertools.pairwise(events))
    assert proxy.audit_places() == 0


def wrong_calls(cls: Any) -> list[Any]:
    """What is said of calls that fail, and of some that don't."""
    calls: list[Callable[[], Any]] = [
        lambda: cls(1, 2, 3), lambda: cls(wrong=1), lambda: object.__new__(cls), lambda: object.__new__(cls, 5),
        lambda: cls.__new__(), lambda: cls.__new__(int), lambda: cls.__new__(5), lambda: object.__new__(),
        lambda: object.__new__(int), lambda: int.__new__(cls), lambda: int.__new__(object), lambda: tuple.__new__(cls),
        lambda: object.__new__(cls, a=1), lambda: type("D", (cls,), {"__new__": lambda c: 5})(),
        lambda: type("D", (cls,), {"__init__": lambda s: None})(1), lambda: type("D", (Mixin, cls), {})(1, 2),
        lambda: type("D", (cls,), {"__slots__": ()})().total, lambda: type.__new__(type, "X", (cls,), {})(9).total,
        lambda: type.__new__(type, "X"), lambda: type(cls)("X", (int, str), {}), lambda: Mixin(1),
        lambda: object(1), lambda: object.__new__(Mixin, 1), lambda: enum.Enum("E", "a b").a.value,
        lambda: collections.namedtuple("N", "a b")(1, 2), lambda: type.__call__(cls, 4).total,
        lambda: typing.NamedTuple("N", [("a", int)])(a=3), lambda: dataclasses.make_dataclass("D", ["a"])(1).a,
    ]  # fmt: skip
    said = []
    for call in calls:
        try:
            result = call()
            said.append(type(result).__name__ if isinstance(result, cls | object) and "0x" in repr(result) else result)
        except Exception as error:
            said.append(f"{type(error).__name__}: {error}")
    return said


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_calls_end_the_same_while_births_are_told(journal: Opened, monkeypatch: pytest.MonkeyPatch, cls: Any) -> None:
    before = wrong_calls(cls)
    take(cls, monkeypatch)
    meanwhile = wrong_calls(cls)
    proxy.close_all_places()
    assert meanwhile == before
    assert wrong_calls(cls) == before


def test_a_call_that_has_run_hot_before_is_told_of(journal: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Specialised instructions call a function of C's by other ways than its first calls."""

    def make() -> Any:
        made = object.__new__(Plain)
        made.total = 7
        return made

    for _ in range(5000):
        make()
    take(Plain, monkeypatch)
    kept = [make() for _ in range(50)]
    told = [events for path, events in of_instances(journal).items() if events[0] == (ABSENT, 7)]
    assert len(told) == len(kept)
    proxy.close_all_places()
    assert [make().total for _ in range(50)] == [7] * 50


def test_nothing_is_told_when_the_watch_has_ended(journal: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    take(Plain, monkeypatch)
    kept = Plain(1)
    proxy.close_all_places()
    count = len(changes(journal))
    kept.total = 2
    Plain(3)
    behind_a_mixin(Plain)
    copy.copy(kept)
    assert len(changes(journal)) == count
    assert object.__new__.__call__ is not None


def test_a_cell_is_given_back_when_the_instance_dies(journal: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in (Plain, Data, Frozen):
        take(cls, monkeypatch)
        number = proxy.find_places(cls, "total")
        assert number is not None
        size = number[1]
        for i in range(2000):
            cls(i)
        gc.collect()
        found = proxy.find_places(cls, "total")
        assert found is not None
        assert found[1] == size, "memory grows with instances that are gone"
        proxy.close_all_places()


def test_instances_of_several_threads_are_told(journal: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    take(Plain, monkeypatch)

    def make() -> None:
        for i in range(200):
            Plain(i).total = -1

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = of_instances(journal)
    assert len(found) == 800
    assert {tuple(new for _, new in events)[-1] for events in found.values()} == {-1}
    assert sorted(new for events in found.values() for _, new in events[:1]) == sorted([*range(200)] * 4)


def test_a_class_that_dies_takes_its_births_with_it(journal: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    cls = type("Short", (), {"__init__": lambda self: setattr(self, "total", 1)})
    take(cls, monkeypatch)
    cls()
    vars(sys.modules["births"])["Aimed"] = None
    del cls
    gc.collect()
    Plain(5)
    assert object.__new__(Plain) is not None
    assert len(of_instances(journal)) == 1


def test_named_tuples_have_no_attributes_to_watch(journal: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    take(collections.namedtuple("Point", "x total"), monkeypatch)
    vars(sys.modules["births"])["Aimed"](1, 2)
    assert of_instances(journal) == {}
    assert [left[2] for left in journal.read().left] == [1], "it is said that they aren't followed"
