"""Places that are watched alone: every change of one is an event, whatever is put there, and of no other is.

The matrix: kinds of owners x ways to change them x a place that is there or isn't x who else watches the owner. An
oracle looks at the place before and after each operation.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import enum
import functools
import gc
import itertools
import os
import sys
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from cells import ABSENT, Change, changes, expected, value_of
from journals import Opened
from slot_events import Tap, replayed
from test_places_ways import DICT_WAYS, DICTS, OBJECT_WAYS, OBJECTS, REFUSED, ignoring, in_loop

from memwatch_core import unwatch, unwatch_place, watch, watch_place
from memwatch_core.errors import WatchError
from memwatch_core.native import core, proxy

STORES = 100_000 if os.environ.get("MEMWATCH_SOAK") else 5_000


class Box:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class Slots:
    __slots__ = ("__weakref__", "a", "b", "c")

    def __init__(self) -> None:
        self.a: Any = 1
        self.b: Any = "two"


class Leaf(Slots):
    """Slots of a base, and a dict."""


@dataclasses.dataclass(slots=True, frozen=True)
class Frozen:
    a: Any = 1
    b: Any = "two"
    c: Any = None


SLOTS: dict[str, Callable[[], Any]] = {"slots": Slots, "slots and a dict": Leaf, "frozen": Frozen}


def swapped(o: Any) -> None:
    o.a, o.b = 5, 6


SLOT_WAYS: dict[str, Callable[[Any], Any]] = {
    "o.a = v": ignoring(AttributeError, lambda o: setattr(o, "a", 3)),
    "o.a = v, hot": ignoring(AttributeError, in_loop("o.a = i")),
    "two": ignoring(AttributeError, swapped),
    "object.__setattr__": lambda o: object.__setattr__(o, "a", 5),
    "object.__setattr__, hot": in_loop("object.__setattr__(o, 'a', i)"),
    "descriptor": lambda o: type(o).a.__set__(o, {"k": 1}),
    "one that is absent": lambda o: object.__setattr__(o, "c", 7),
    "gone": lambda o: (object.__delattr__(o, "a"), object.__setattr__(o, "a", 1), object.__delattr__(o, "b")),
    "__init__ again": lambda o: type(o).__init__(o),
    "gc": lambda o: gc.collect(),
}


def held_by_slots(o: Any) -> dict[str, Any]:
    return {name: getattr(o, name) for name in ("a", "b", "c") if hasattr(o, name)}


def told(journal: Opened, since: int = 0) -> list[tuple[str, Any, Any]]:
    return [(change.variable + change.path, change.old, change.new) for change in changes(journal)[since:]]


def alone(owner: Any, key: str) -> None:
    watch_place(owner, key, name="place", depth=0)


def within_a_whole(owner: Any, key: str) -> None:
    watch(owner, name="whole", skip=[key], depth=0)
    alone(owner, key)


def before_a_whole(owner: Any, key: str) -> None:
    alone(owner, key)
    watch(owner, name="whole", depth=0)


def among_others(owner: Any, key: str) -> None:
    for one in {"b": 0, key: 0, "a": 0, "c": 0}:
        watch_place(owner, one, name="place" if one == key else f"place {one}", depth=0)


def below_another(owner: Any, key: str) -> None:
    watch({"holds": owner}, name="outer", depth=3)
    alone(owner, key)


BESIDE = (alone, within_a_whole, before_a_whole, among_others, below_another)


class Place:
    """Compares what operations do to a place with the events that it has."""

    def __init__(self, tap: Tap, owner: Any, key: str, mapping: Callable[[Any], dict[Any, Any]]) -> None:
        self.tap, self.owner, self.key, self.mapping = tap, owner, key, mapping
        found = proxy.find_places(owner, key)
        assert found is not None
        self.number = found[0]
        tap.changes()

    def state(self) -> dict[str, Any]:
        now = self.mapping(self.owner)
        return {"": expected(now[self.key])} if self.key in now else {}

    def does(self, operation: Callable[[Any], Any], what: str) -> None:
        before = self.state()
        operation(self.owner)
        events = [change for change in self.tap.changes() if change.variable == self.number]
        assert replayed(before, events, what) == self.state(), what
        assert all((change.path, change.origin) == ("", "announced") for change in events), what
        assert proxy.audit_places() == 0, what

    def goes_through(self, way: Callable[[Any], Any], what: str) -> None:
        self.does(way, what)
        self.does(ignoring(REFUSED, way), f"{what}, again")
        unwatch_place(self.owner, self.key)
        assert not proxy.find_places(self.owner, self.key)
        ignoring(REFUSED, way)(self.owner)
        assert not [change for change in self.tap.changes() if change.variable == self.number], what
        assert proxy.audit_places() == 0, what


def goes_through_all(
    journal: Opened,
    make: Callable[[], Any],
    ways: dict[str, Callable[[Any], Any]],
    beside: Callable[[Any, str], None],
    mapping: Callable[[Any], dict[Any, Any]],
) -> None:
    """Long ways once; a place that most ways leave alone for some of those who watch beside it."""
    tap = Tap(journal.path, value_of)
    for number, (what, way) in enumerate(ways.items()):
        long = "hot" in what or "thousand" in what
        if long and BESIDE[number % len(BESIDE)] is not beside:
            continue
        for key in ("a", "c") if not long and beside in (alone, among_others) else ("a",):
            owner = make()
            beside(owner, key)
            Place(tap, owner, key, mapping).goes_through(way, f"{what}: {key}")


@pytest.mark.parametrize("beside", BESIDE, ids=lambda beside: beside.__name__)
@pytest.mark.parametrize("kind", DICTS)
def test_every_change_of_a_key_is_an_event(journal: Opened, kind: str, beside: Any) -> None:
    goes_through_all(journal, DICTS[kind], DICT_WAYS, beside, lambda d: dict(dict.items(d)))


@pytest.mark.parametrize("beside", BESIDE, ids=lambda beside: beside.__name__)
@pytest.mark.parametrize("kind", OBJECTS)
def test_every_change_of_an_attribute_is_an_event(journal: Opened, kind: str, beside: Any) -> None:
    goes_through_all(
        journal, OBJECTS[kind], OBJECT_WAYS, beside, lambda o: dict(object.__getattribute__(o, "__dict__"))
    )


@pytest.mark.parametrize("beside", BESIDE, ids=lambda beside: beside.__name__)
@pytest.mark.parametrize("kind", SLOTS)
def test_every_change_of_a_slot_is_an_event(journal: Opened, kind: str, beside: Any) -> None:
    goes_through_all(journal, SLOTS[kind], SLOT_WAYS, beside, held_by_slots)


def test_attributes_of_classes_and_modules_are_places(journal: Opened) -> None:
    class Order:
        count = 0

    module = types.ModuleType("settings")
    exec("debug = False\ndef flip():\n    global debug\n    debug = not debug\n", vars(module))
    watch_place(Order, "count")
    watch_place(Order, "limit")
    watch_place(module, "debug")
    for _ in range(2000):
        Order.count += 1
        module.flip()
    Order.limit = 3  # type: ignore[attr-defined]
    Order.other = module.other = 1  # type: ignore[attr-defined]
    seen = told(journal)
    assert [old for name, old, _ in seen if name == "Order.count"] == list(range(2000))
    assert len([new for name, _, new in seen if name == "module.debug"]) == 2000
    assert seen[4000:] == [("Order.limit", ABSENT, 3)]
    unwatch_place(Order, "limit")
    Order.limit = 4  # type: ignore[attr-defined]
    assert len(told(journal)) == len(seen)


# ---- names and what is below ----------------------------------------------------------------------------------------


def test_a_place_is_called_as_the_call_names_it(journal: Opened) -> None:
    order, app = Box(limit=1), Box(config={"db": {"port": 1}})
    table: dict[Any, int] = {}

    def local(order: Box, key: str) -> None:
        watch_place(order, key)
        order.limit = 2

    local(order, "limit")
    watch_place(app.config, "debug")
    watch_place(app.config["db"], "port")
    watch_place(table, (1, "x"))
    watch_place(Box(far=1), "near")
    watch_place(order, "qty", name="quantity")
    app.config["debug"] = app.config["db"]["port"] = table[1, "x"] = order.qty = True
    assert [name for name, _, _ in told(journal)] == [
        "order.limit", 'app.config["debug"]', 'app.config["db"]["port"]', "table[(1, 'x')]", "quantity",
    ]  # fmt: skip


def test_the_record_of_its_beginning_says_what_is_there(journal: Opened) -> None:
    order = Box(limit=5, many={f"k{i}": {} for i in range(9)})
    watch_place(order, "limit")
    watch_place(order, "missing")
    watch_place(order, "many", depth=2, max_objects=4)
    said = [(one["name"], one["shown"]) for one in journal.read().metadata.values()]
    assert said[:2] == [("order.limit", "5"), ("order.missing", "absent")]
    assert said[2][1].endswith(", 7 of the objects in it are not followed (max_objects=4)")
    assert all(one["site"]["function"] == "test_the_record_of_its_beginning_says_what_is_there" for one in
               journal.read().metadata.values())  # fmt: skip


@pytest.mark.parametrize(
    ("depth", "seen"),
    [
        (0, [""]),
        (1, ["", '["port"]']),
        (2, ["", '["port"]', '["db"]["host"]']),
        (3, ["", '["port"]', '["db"]["host"]', '["box"].n']),
    ],
)
def test_what_is_put_there_is_followed_as_a_field_s_value_is(journal: Opened, depth: int, seen: list[str]) -> None:
    order: Any = Box(meta=None, other={"x": 1})
    watch_place(order, "meta", name="meta", depth=depth)
    order.meta = first = {"port": 1, "db": {"host": "a"}, "box": Box(n=1)}
    order.meta["port"] = 2
    order.meta["db"]["host"] = "b"
    order.meta["box"].n = 2
    order.other["x"] = 2
    assert {name.removeprefix("meta") for name, _, _ in told(journal)} == set(seen)
    order.meta = 5
    count = len(told(journal))
    first["port"] = 3
    assert len(told(journal)) == count
    assert proxy.audit_places() == 0


def test_a_value_that_holds_its_owner_is_followed_round(journal: Opened) -> None:
    config: dict[str, Any] = {"a": None, "b": 1}
    watch_place(config, "a", depth=3)
    config["a"] = {"up": config}
    config["b"] = 2
    config["a"]["x"] = 1
    config["a"] = None
    config["b"] = 3
    seen = [(name, new) for name, _, new in told(journal)]
    assert [one for one in seen if one[0] == 'config["a"]'] == [('config["a"]', seen[0][1]), ('config["a"]', None)]
    assert [one for one in seen if isinstance(one[1], int)] == [
        ('config["a"]["up"]["b"]', 2),
        ('config["a"]["x"]', 1),
    ]
    assert proxy.audit_places() == 0


# ---- several watches ------------------------------------------------------------------------------------------------


def test_a_place_of_what_is_watched_as_a_whole_is_there_already(journal: Opened) -> None:
    order = Box(limit=1)
    watch(order, name="order", skip=["other"])
    with pytest.raises(WatchError, match=r"'order\.limit' is watched already, as a place of 'order'"):
        watch_place(order, "limit")
    watch_place(order, "other")
    with pytest.raises(WatchError, match=r"'order\.other' is watched already, as 'order\.other'"):
        watch_place(order, "other", name="order.other")
    order.limit = order.other = 2
    assert told(journal) == [("order.limit", 1, 2), ("order.other", ABSENT, 2)]


def test_a_place_goes_on_beside_a_watch_of_the_whole_and_after_it(journal: Opened) -> None:
    order = Box(limit=1, qty=1)
    watch_place(order, "limit", name="limit")
    watch(order, name="order")
    order.limit = 2
    order.qty = 2
    assert told(journal) == [("limit", 1, 2), ("order.limit", 1, 2), ("order.qty", 1, 2)]
    unwatch_place(order, "limit")
    order.limit = 3
    assert told(journal)[3:] == [("order.limit", 2, 3)]
    with pytest.raises(WatchError, match="watched already, as a place of 'order'"):
        watch_place(order, "new")
    unwatch(order)
    order.limit = order.new = 4
    assert len(told(journal)) == 4


def test_a_part_of_another_watch_may_have_places_of_its_own(journal: Opened) -> None:
    config = {"debug": False}
    app = Box(config=config)
    watch(app, name="app")
    watch_place(config, "debug", name="debug")
    config["debug"] = True
    app.config = None
    config["debug"] = 1
    assert told(journal) == [
        ('app.config["debug"]', False, True),
        ("debug", False, True),
        ("app.config", ("shown", "{'debug': True}"), None),
        ("debug", True, 1),
    ]
    app.config = config
    config["debug"] = 2
    assert told(journal)[-2:] == [("debug", 1, 2), ('app.config["debug"]', 1, 2)]


def test_a_value_at_two_places_is_told_at_the_first_while_that_holds_it(journal: Opened) -> None:
    shared: dict[str, int] = {"x": 1}
    one, two = Box(s=shared), Box(s=shared)
    watch_place(one, "s")
    watch_place(two, "s")
    shared["x"] = 2
    unwatch_place(one, "s")
    shared["x"] = 3
    two.s = None
    shared["x"] = 4
    assert [(name, new) for name, _, new in told(journal)] == [
        ('one.s["x"]', 2),
        ('two.s["x"]', 3),
        ("two.s", None),
    ]


@pytest.mark.skipif(sys.version_info[:2] == (3, 13), reason="it doesn't tell of what the other owner does")
@pytest.mark.parametrize("places_first", [True, False])
def test_owners_that_share_a_dict_are_told_each(journal: Opened, places_first: bool) -> None:
    a, b = Box(x=1), Box()
    if not places_first:
        b.__dict__ = a.__dict__
    watch_place(a, "x")
    watch_place(b, "x")
    if places_first:
        b.__dict__ = a.__dict__
    count = len(told(journal))
    a.x = 2
    b.x = 3
    assert sorted(told(journal)[count:]) == [("a.x", 1, 2), ("a.x", 2, 3), ("b.x", 1, 2), ("b.x", 2, 3)]
    a.__dict__ = {"x": 9}
    b.x = 4
    a.x = 10
    assert told(journal)[count + 4 :] == [("a.x", 3, 9), ("b.x", 3, 4), ("a.x", 9, 10)]
    assert proxy.audit_places() == 0


def test_a_place_of_an_object_s_dict_is_one_of_its_own(journal: Opened) -> None:
    order = Box(x=1)
    watch_place(order, "x")
    attributes = vars(order)
    watch_place(attributes, "x")
    order.x = 2
    order.__dict__ = {"x": 3}
    attributes["x"] = 4
    assert sorted(told(journal)) == [
        ('attributes["x"]', 1, 2),
        ('attributes["x"]', 2, 4),
        ("order.x", 1, 2),
        ("order.x", 2, 3),
    ]


def test_a_dict_that_becomes_an_object_s_is_told_under_both(journal: Opened) -> None:
    order, config = Box(x=1), {"x": 5}
    watch(config, name="config")
    watch_place(order, "x")
    order.__dict__ = config
    order.x = 6
    config["x"] = 7
    assert [one for one in told(journal) if one[0].startswith("config")] == [
        ('config["x"]', 5, 6),
        ('config["x"]', 6, 7),
    ]
    assert told(journal)[0] == ("order.x", 1, 5)
    assert proxy.audit_places() == 0


def test_hundreds_of_places_of_one_dict_are_told_each_alone(journal: Opened) -> None:
    config = dict.fromkeys((f"k{i}" for i in range(800)), 0)
    for i in range(0, 800, 2):
        watch_place(config, f"k{i}", name=f"k{i}")
    for key in config:
        config[key] = 1
    assert told(journal) == [(f"k{i}", 0, 1) for i in range(0, 800, 2)]
    unwatch(config)
    config["k0"] = 2
    assert len(told(journal)) == 400
    assert core.stats().pages == 0


# ---- ends -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*OBJECTS, *SLOTS])
def test_a_place_keeps_nothing_alive_and_ends_with_its_owner(journal: Opened, kind: str) -> None:
    owner, value = (OBJECTS | SLOTS)[kind](), Box()
    object.__setattr__(owner, "a", value)
    watch_place(owner, "a")
    watch_place(owner, "b")
    watch_place(owner, "c")
    seen = weakref.ref(value)
    del owner, value
    assert seen() is None
    assert len(journal.read().ended) == 3
    assert core.stats().pages == 0


@pytest.mark.parametrize("kind", ["dict", "OrderedDict"])
def test_a_place_of_a_dict_ends_with_the_dict(journal: Opened, kind: str) -> None:
    d = DICTS[kind]()
    watch_place(d, "a")
    watch(d, name="d")
    del d
    assert len(journal.read().ended) == 2
    assert core.stats().pages == 0


def test_a_dict_that_outlives_its_owner_has_its_places_still(journal: Opened) -> None:
    order = Box(x=1)
    watch_place(order, "x")
    attributes = vars(order)
    del order
    others = [Box(x=5) for _ in range(200)]
    for other in others:
        other.x = 6
    attributes["x"] = 2
    assert told(journal) == [("order.x", 1, 2)]
    unwatch_place(attributes, "x")
    assert core.stats().pages == 0


def test_an_object_of_another_class_keeps_its_places(journal: Opened) -> None:
    class Other:
        pass

    order = Box(x=1)
    watch_place(order, "x")
    order.__class__ = Other  # type: ignore[assignment]
    order.x = 2
    order.__dict__ = {"x": 3, "y": 4}
    order.x = 4
    assert told(journal) == [("order.x", 1, 2), ("order.x", 2, 3), ("order.x", 3, 4)]


def test_the_end_of_one_place_leaves_the_others(journal: Opened) -> None:
    order = Box(x=1, y=1)
    watch_place(order, "x")
    watch_place(order, "y")
    unwatch_place(order, "x")
    order.x = order.y = 2
    assert told(journal) == [("order.y", 1, 2)]
    with pytest.raises(WatchError, match="no watch of this place"):
        unwatch_place(order, "x")
    assert unwatch(order) is order
    order.y = 3
    assert len(told(journal)) == 1
    with pytest.raises(TypeError):
        unwatch(order)


def test_what_changed_unseen_is_found_at_its_end(journal: Opened) -> None:
    order = Box(tags=bytearray(b"a"))
    watch_place(order, "tags")
    order.tags.append(98)
    unwatch_place(order, "tags")
    assert [(change.new, change.origin) for change in changes(journal)] == [(("shown", "bytearray(b'ab')"), "found")]


def test_the_items_of_a_list_at_a_place_are_told(journal: Opened) -> None:
    order = Box(tags=["a"])
    watch_place(order, "tags")
    order.tags.append("b")
    order.tags = None
    assert told(journal)[0] == ("order.tags[1]", ABSENT, "b")
    assert told(journal)[-1][2] is None


# ---- keys -----------------------------------------------------------------------------------------------------------


class Colour(enum.StrEnum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


class Name(str):
    pass


class Loud(str):
    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared")

    def __hash__(self) -> int:
        return str.__hash__(self)


@pytest.mark.parametrize(
    ("watched", "stored"),
    [("red", Colour.RED), (Colour.RED, "red"), (Name("x"), "x"), ("x", Name("x")), (3, Size.BIG), (Size.BIG, 3),
     (1, True), (True, 1.0), (2.0, 2), (b"x", b"x"), (None, None), ((1, "a"), (1, "a")), ("a" + "b" * 9, "ab" * 9)],
)  # fmt: skip
@pytest.mark.parametrize("there", [True, False])
def test_keys_that_a_dict_takes_for_the_same_are_one_place(
    journal: Opened, watched: Any, stored: Any, there: bool
) -> None:
    d: dict[Any, Any] = {stored: 0} if there else {}
    watch_place(d, watched, name="d")
    d[stored] = 1
    d[watched] = 2
    d["another"] = d[7] = d["re" + "d2"] = 3
    del d[stored]
    if watched == stored:
        assert [new for _, _, new in told(journal)] == [1, 2, ABSENT]
    else:
        assert [new for _, _, new in told(journal)] == [2]
    assert proxy.audit_places() == 0


def test_no_key_of_another_kind_is_compared(journal: Opened) -> None:
    d: dict[Any, Any] = {Loud("y"): 1, "x": 1}
    watch_place(d, "x")
    d["x"] = 2
    d[Loud("z")] = 1
    d["x"] = 3
    proxy.audit_places()
    d.clear()
    assert [new for _, _, new in told(journal)] == [2, 3, ABSENT]


# ---- refusals -------------------------------------------------------------------------------------------------------


class Typed:
    """A descriptor that keeps values by itself."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.values: Any = weakref.WeakKeyDictionary()

    def __get__(self, owner: Any, kind: type) -> Any:
        return self if owner is None else self.values[owner]

    def __set__(self, owner: Any, value: Any) -> None:
        self.values[owner] = value


class Stored(Typed):
    """One that keeps them in the object's `__dict__`, as those of ORMs do."""

    def __get__(self, owner: Any, kind: type) -> Any:
        return self if owner is None else owner.__dict__["stored"]

    def __set__(self, owner: Any, value: Any) -> None:
        owner.__dict__["stored"] = value


class Computed:
    typed, stored = Typed(), Stored()

    def __init__(self) -> None:
        self._limit = 1
        self.stored = 1

    @property
    def limit(self) -> int:
        return self._limit

    @functools.cached_property
    def cached(self) -> int:
        return self._limit


Point = collections.namedtuple("Point", "x y")


class Items(list[Any]):
    pass


@pytest.mark.parametrize(
    ("make", "key", "said"),
    [
        (Computed, "limit", "'owner.limit' can't be watched: it is a property.*watch the attributes"),
        (Computed, "typed", r"a descriptor of the class keeps it \(Typed\)\. Read it first"),
        (Computed, "__class__", r"a descriptor of the class keeps it \(getset_descriptor\)"),
        (Computed, "__dict__", r"a descriptor of the class keeps it \(getset_descriptor\)"),
        (Computed, 5, "an attribute's name is a str"),
        (Slots, "d", "'owner.d' can't be watched: the object has neither such a slot nor a __dict__"),
        (lambda: Computed, "__name__", r"a descriptor of the class keeps it \(getset_descriptor\)"),
        (lambda: int, "real", "a builtin class never changes"),
        (lambda: [1], 0, r"'owner\[0\]' can't be watched: an item of a list or a set can't be watched alone: watch"),
        (Items, "x", "an item of a list or a set"),
        (lambda: {1}, 1, "an item of a list or a set"),
        (lambda: collections.deque([1]), 0, "it keeps its contents in memory of its own"),
        (lambda: Point(1, 2), "x", r"never changes: watch what holds it.*watch_place\("),
        (lambda: (1, 2), 0, r"never changes: watch what holds it.*watch_place\("),
        (lambda: "text", "x", r"never changes: watch what holds it.*watch_place\("),
        (lambda: 5, "real", r"never changes: watch what holds it.*watch_place\("),
        (lambda: None, "x", r"never changes: watch what holds it.*watch_place\("),
        (dict, [], "a list is no key of a dict: it has no hash"),
        (dict, object(), "a key of type object is compared by identity"),
        (dict, Loud("x"), "a key of type Loud is compared by identity, or by code of its own"),
        (dict, datetime.date(2026, 1, 1), "watch the whole dict"),
        (dict, (1, object()), "a key of type tuple is compared"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_cannot_be_watched_alone_is_refused_with_what_to_do(
    journal: Opened, make: Callable[[], Any], key: Any, said: str
) -> None:
    owner = make()
    with pytest.raises(WatchError, match=said):
        watch_place(owner, key)
    assert not journal.read().metadata
    assert core.stats().pages == 0


@pytest.mark.parametrize("value", [Point(1, 2), (1, 2)], ids=["named tuple", "tuple"])
def test_a_tuple_is_refused_with_what_to_watch_instead(journal: Opened, value: Any) -> None:
    with pytest.raises(WatchError, match=r"a tuple never changes: watch the place where it lies, watch_place\(owner"):
        watch(value)
    order = Box(point=value)
    watch_place(order, "point")
    order.point = Point(1, 3)
    assert told(journal)[0][2] == ("shown", "Point(x=1, y=3)")


def test_a_watched_value_has_no_places(journal: Opened) -> None:
    total = watch(0)
    with pytest.raises(WatchError, match="'total' is a watched value: every write to it is an event already"):
        watch_place(total, "value")


def test_attributes_that_descriptors_keep_in_the_object_are_places(journal: Opened) -> None:
    owner = Computed()
    watch_place(owner, "stored")
    watch_place(owner, "cached")
    owner.stored = 2
    assert owner.cached == 1
    assert told(journal) == [("owner.stored", 1, 2), ("owner.cached", ABSENT, 1)]


@pytest.mark.parametrize("options", [{"depth": -1}, {"depth": True}, {"max_objects": 0}, {"name": "n" * 2000}])
def test_senseless_options_of_a_place_are_refused(journal: Opened, options: dict[str, Any]) -> None:
    order = Box(a=1)
    with pytest.raises(ValueError, match=r"^'order\.a': |^name="):
        watch_place(order, "a", **options)
    assert not journal.read().metadata


def test_members_of_enumerations_and_their_classes_have_places(journal: Opened) -> None:
    watch_place(Colour.RED, "note", name="note")
    watch_place(Colour, "extra")
    Colour.RED.note = 1  # type: ignore[attr-defined]
    Colour.extra = 2  # type: ignore[attr-defined]
    assert told(journal) == [("note", ABSENT, 1), ("Colour.extra", ABSENT, 2)]
    unwatch(Colour.RED)
    unwatch(Colour)
    del Colour.RED.note, Colour.extra  # type: ignore[attr-defined]


# ---- who else is in the process -------------------------------------------------------------------------------------


def test_threads_lose_no_store_to_a_place(journal: Opened) -> None:
    order, config, slots = Box(n=-1), {"n": -1}, Slots()
    slots.a = -1
    watch_place(order, "n")
    watch_place(config, "n")
    watch_place(slots, "a")

    def work(number: int) -> None:
        for i in range(STORES):
            order.n = (number << 20) + i
            config["n"] = (number << 20) + i
            slots.a = (number << 20) + i

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    of: dict[str, list[Change]] = {}
    for change in changes(journal):
        of.setdefault(change.variable, []).append(change)
    assert of.keys() == {"order.n", 'config["n"]', "slots.a"}
    for seen in of.values():
        assert len(seen) == 4 * STORES
        assert all(a.new == b.old for a, b in itertools.pairwise(seen))
        assert len({change.tid for change in seen}) == 4
        assert {change.origin for change in seen} == {"announced"}


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_has_its_own_events_of_a_place(journal: Opened) -> None:
    config = {"debug": 0}
    watch_place(config, "debug")
    config["debug"] = 1
    child = os.fork()
    if not child:
        status = 1
        try:
            config["debug"] = 2
            own = Opened(journal.path.with_name(f"{os.getpid()}-python.mwj"))
            status = told(own) != [('config["debug"]', 1, 2)]
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    config["debug"] = 5
    assert told(journal) == [('config["debug"]', 0, 1), ('config["debug"]', 1, 5)]
