"""What a watched object holds: which of it is followed, under which path, until when."""

from __future__ import annotations

import gc
import itertools
import os
import sys
import threading
import types
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from cells import ABSENT, Change, changes
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from journals import Opened
from slot_events import Tap

from memwatch_core import unwatch, watch
from memwatch_core.adapter.watch import variable
from memwatch_core.errors import WatchError
from memwatch_core.native import core, proxy


class Box:
    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


def told(journal: Opened, since: int = 0) -> list[tuple[str, Any, Any]]:
    return [(change.path, change.old, change.new) for change in changes(journal)[since:]]


def unseen(journal: Opened) -> list[Change]:
    proxy.audit_places()
    return [change for change in changes(journal) if change.origin == "found"]


# ---- levels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "seen"),
    [
        (0, [".meta"]),
        (1, [".meta", '.meta["port"]']),
        (2, [".meta", '.meta["port"]', '.meta["db"]["host"]', ".owner.name", '.owner.tags["t"]']),
        (3, [".meta", '.meta["port"]', '.meta["db"]["host"]', ".owner.name", '.owner.tags["t"]']),
    ],
)
def test_as_many_levels_are_followed_as_asked_for(journal: Opened, depth: int, seen: list[str]) -> None:
    order = Box(meta={"port": 1, "db": {"host": "a"}}, owner=Box(name="n", tags={"t": 1}))
    assert watch(order, depth=depth) is order
    order.meta["db"]["host"] = "b"
    order.meta["port"] = 2
    order.owner.name = "m"
    order.owner.tags["t"] = 2
    order.meta = None
    assert {path for path, _, _ in told(journal)} == set(seen)


def test_a_container_that_is_stored_into_a_field_is_followed_from_that_moment_on(journal: Opened) -> None:
    order = Box(meta=None)
    watch(order)
    order.meta = {"a": 1}
    order.meta["a"] = 2
    order.meta["b"] = 3
    del order.meta["a"]
    assert told(journal) == [
        (".meta", None, ("shown", "{'a': 1}")),
        ('.meta["a"]', 1, 2),
        ('.meta["b"]', ABSENT, 3),
        ('.meta["a"]', 2, ABSENT),
    ]
    assert not unseen(journal)


def test_a_container_that_was_taken_out_is_no_longer_reported(journal: Opened) -> None:
    meta = {"a": 1}
    order = Box(meta=meta)
    watch(order)
    order.meta = None
    meta["a"] = 2
    assert [path for path, _, _ in told(journal)] == [".meta"]
    assert proxy.find_places(meta) is None


def test_the_value_before_is_what_a_followed_container_had_become(journal: Opened) -> None:
    order = Box(meta={"a": 1})
    watch(order)
    order.meta["a"] = 2
    order.meta = 5
    assert told(journal)[-1] == (".meta", ("shown", "{'a': 2}"), 5)
    assert not unseen(journal)


def test_what_changes_in_place_without_being_followed_is_found_and_never_silent(journal: Opened) -> None:
    order = Box(tags=bytearray(b"a"), n=1)
    watch(order)
    order.tags.append(98)
    order.n = 2
    order.tags = None
    found = [(change.path, change.old, change.new, change.origin) for change in changes(journal)]
    assert found == [
        (".n", 1, 2, "announced"),
        (".tags", ("shown", "bytearray(b'a')"), ("shown", "bytearray(b'ab')"), "found"),
        (".tags", ("shown", "bytearray(b'ab')"), None, "announced"),
    ]


def test_what_changed_in_place_is_found_at_the_end_of_the_watch(journal: Opened) -> None:
    order = Box(tags=bytearray(b"a"))
    watch(order)
    order.tags[0] = ord("z")
    unwatch(order)
    assert [(change.path, change.new, change.origin) for change in changes(journal)] == [
        (".tags", ("shown", "bytearray(b'z')"), "found")
    ]


CUT, CLEARED, REPLACED = 1, 4, 8


def test_what_goes_or_comes_with_all_others_is_told_as_such(journal: Opened) -> None:
    order, config = Box(n=1, gone=2, same=4), {"a": 1, "b": "x" * 100, "c": None}
    watch(order, name="order")
    watch(config, name="config")
    tap = Tap(journal.path, lambda cell: cell[2])

    def flags() -> list[tuple[str, int]]:
        return [(change.path, change.after) for change in tap.changes()]

    config.clear()
    assert flags() == [('["a"]', CLEARED), ('["b"]', CLEARED), ('["c"]', CLEARED)]
    config.update(a=1, b="y" * 100)
    del config["a"]
    config.clear()
    assert flags() == [('["a"]', 0), ('["b"]', CUT), ('["a"]', 0), ('["b"]', CLEARED)]
    order.__dict__ = {"n": 2**40, "new": "z" * 100, "same": 4}
    assert sorted(flags()) == [(".gone", REPLACED), (".n", REPLACED), (".new", REPLACED | CUT)]
    order.n = 2**40 + len(config)  # another object, of the same value: no change
    assert [(change.old, change.new) for change in changes(journal)][-1] == (2**40, 2**40)
    assert flags() == [(".n", REPLACED)]
    order.n = 3
    order.new = "v" * 100
    vars(order).clear()
    assert flags() == [(".n", 0), (".new", CUT), (".n", CLEARED), (".new", CLEARED), (".same", CLEARED)]
    assert not unseen(journal)


# ---- the same object at several places ------------------------------------------------------------------------------


def test_a_shared_container_keeps_being_followed_while_any_place_holds_it(journal: Opened) -> None:
    shared = {"x": 1}
    order = Box(first=shared, second=shared)
    watch(order)
    shared["x"] = 2
    order.first = None
    shared["x"] = 3
    order.second = None
    shared["x"] = 4
    assert [(path, new) for path, _, new in told(journal) if "x" in path] == [('.first["x"]', 2), ('.second["x"]', 3)]


def test_a_container_moved_to_another_key_keeps_being_followed(journal: Opened) -> None:
    config = {"old": {"port": 1}}
    watch(config)
    config["new"] = config["old"]
    del config["old"]
    config["new"]["port"] = 2
    config["newer"] = config.pop("new")
    config["newer"]["port"] = 3
    assert [(path, new) for path, _, new in told(journal) if "port" in path] == [('["new"]["port"]', 2)] + [
        (path, new) for path, _, new in told(journal) if path.startswith('["newer"]["port"]')
    ]


def test_cycles_end(journal: Opened) -> None:
    a, b = Box(n=1), Box(n=2)
    a.other, b.other = b, a
    a.me = a
    watch(a, depth=100)
    b.n = 3
    a.n = 4
    a.other = None
    b.n = 5
    a.n = 6
    assert [(path, new) for path, _, new in told(journal)] == [
        (".other.n", 3),
        (".n", 4),
        (".other", None),
        (".n", 6),
    ]


def test_two_watches_share_what_both_hold(journal: Opened) -> None:
    shared = {"x": 1}
    one, two = Box(s=shared), Box(s=shared)
    watch(one, name="one")
    watch(two, name="two")
    shared["x"] = 2
    unwatch(one)
    shared["x"] = 3
    unwatch(two)
    shared["x"] = 4
    assert [(change.variable, change.path, change.new) for change in changes(journal)] == [
        ("one", '.s["x"]', 2),
        ("two", '.s["x"]', 3),
    ]


# ---- lives ----------------------------------------------------------------------------------------------------------


def test_a_watch_keeps_nothing_alive_and_ends_with_its_object(journal: Opened) -> None:
    order, held = Box(), Box()
    order.held = held
    watch(order, depth=3)
    seen = [weakref.ref(order), weakref.ref(held)]
    number = variable(order).id
    del order, held
    assert [one() for one in seen] == [None, None]
    assert number in journal.read().ended
    assert core.stats().pages == 0


def test_an_object_at_the_address_of_a_dead_one_is_not_taken_for_it(journal: Opened) -> None:
    addresses = set()
    reused = 0
    for i in range(3000):
        order = Box(n=i)
        reused += id(order) in addresses
        addresses.add(id(order))
        if i % 2:
            watch(order, name="order")
        else:
            order.n = -1
        del order
    assert reused
    assert not changes(journal)
    assert core.stats().pages == 0


def test_a_dict_that_outlives_its_object_is_still_watched_and_another_object_is_not(journal: Opened) -> None:
    order = Box(n=1)
    watch(order, name="order")
    kept, address = vars(order), id(order)
    del order
    kept["n"] = 2
    others = [Box(n=5) for _ in range(200)]
    for other in others:
        other.n = 6
        proxy.find_places(other)
    assert [new for _, _, new in told(journal)] == [2]
    assert address is not None


def test_a_cycle_that_the_collector_takes_apart_ends_its_watch(journal: Opened) -> None:
    for _ in range(50):
        order = Box(meta={})
        order.me, order.meta["up"] = order, order
        watch(order, depth=5)
        del order
    gc.collect()
    assert core.stats().pages == 0


def test_values_are_let_go_of_when_they_were_without_a_watch(journal: Opened) -> None:
    order, held = Box(), Box()
    watch(order)
    order.x = held
    order.x = held
    seen = weakref.ref(held)
    del held
    assert seen() is not None
    order.x = 1
    assert seen() is None


def test_an_object_that_becomes_one_of_another_class_is_still_watched(journal: Opened) -> None:
    class Other:
        pass

    order = Box(n=1)
    watch(order, name="order")
    order.__class__ = Other
    order.n = 2
    order.__dict__ = {"n": 3, "m": 4}
    order.m = 5
    assert told(journal) == [(".n", 1, 2), (".n", 2, 3), (".m", ABSENT, 4), (".m", 4, 5)]


def test_the_dict_of_an_object_is_watched_whole_or_refused(journal: Opened) -> None:
    order = Box(n=1)
    if sys.version_info[:2] == (3, 13):  # it stores attributes into the object, and tells nobody
        with pytest.raises(WatchError, match="watch the object"):
            watch(vars(order), name="attributes")
        return
    watch(vars(order), name="attributes")
    order.n = 2
    vars(order)["n"] = 3
    assert told(journal) == [('["n"]', 1, 2), ('["n"]', 2, 3)]


def test_an_object_whose_dict_is_watched_already_is_found_through_it(journal: Opened) -> None:
    order, outer = Box(n=1), Box()
    watch(order, name="order")
    outer.inner, outer.attributes = order, vars(order)
    watch(outer, name="outer", depth=3)
    order.n = 2
    order.__dict__ = {"n": 3}
    order.n = 4
    assert [(change.path, change.new) for change in changes(journal)] == [(".n", 2), (".n", 3), (".n", 4)]


def test_unwatch_of_a_part_says_whose_part_it_is(journal: Opened) -> None:
    order = Box(meta={})
    watch(order, name="order")
    with pytest.raises(WatchError, match="as a part of 'order'"):
        unwatch(order.meta)
    with pytest.raises(WatchError, match="watched already, as 'order'"):
        watch(order)
    with pytest.raises(WatchError, match="watched already, as a part of 'order'"):
        watch(order.meta)


# ---- choosing -------------------------------------------------------------------------------------------------------


def test_fields_and_skip_choose_keys_of_the_object_itself(journal: Opened) -> None:
    one, two = Box(a=1, b=1, c={"a": 1}), Box(a=1, b=1, c={"a": 1})
    watch(one, name="one", fields=["a", "c"])
    watch(two, name="two", skip={"a"})
    for box in (one, two):
        box.a = box.b = 2
        box.c["a"] = box.c["b"] = 2
        box.new = 1
    seen = [(change.variable, change.path) for change in changes(journal)]
    assert [path for name, path in seen if name == "one"] == [".a", '.c["a"]', '.c["b"]']
    assert [path for name, path in seen if name == "two"] == [".b", '.c["a"]', '.c["b"]', ".new"]
    assert not unseen(journal)


def test_no_more_objects_are_followed_than_asked_for(journal: Opened) -> None:
    config = {f"k{i}": {"x": 1} for i in range(10)}
    watch(config, max_objects=4)
    for inner in config.values():
        inner["x"] = 2
    assert len(told(journal)) == 3
    (metadata,) = journal.read().metadata.values()
    assert metadata["shown"] == "dict, 7 of the objects in it are not followed (max_objects=4)"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"depth": -1}, ValueError),
        ({"depth": "2"}, ValueError),
        ({"depth": True}, ValueError),
        ({"fields": "ab"}, TypeError),
        ({"skip": [1]}, TypeError),
        ({"max_objects": 0}, ValueError),
        ({"capacity": 4}, TypeError),
        ({"mutation_depth": (0, 8)}, TypeError),
    ],
)
def test_senseless_options_are_refused(journal: Opened, options: dict[str, Any], error: type[Exception]) -> None:
    order = Box(a=1)
    with pytest.raises(error, match="order"):
        watch(order, name="order", **options)
    assert proxy.find_places(order) is None


@pytest.mark.parametrize(
    "value",
    [None, "text", deque([1]), frozenset({1}), range(3), object(), len, iter([]), 1j, ()],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_seen_changing_is_refused(journal: Opened, value: Any) -> None:
    with pytest.raises(WatchError, match="can't be watched"):
        watch(value)


# ---- classes and modules --------------------------------------------------------------------------------------------


def test_attributes_of_a_class_are_watched(journal: Opened) -> None:
    class Order:
        count = 0

        def add(self) -> None:
            type(self).count += 1

    assert watch(Order, name="Order") is Order
    Order.count = 1
    for _ in range(2000):
        Order().add()
    Order.new = 1  # type: ignore[attr-defined]
    type.__setattr__(Order, "count", 5)
    del Order.new  # type: ignore[attr-defined]
    seen = told(journal)
    assert seen[0] == (".count", 0, 1)
    assert seen[1:2001] == [(".count", i, i + 1) for i in range(1, 2001)]
    assert seen[2001:] == [(".new", ABSENT, 1), (".count", 2001, 5), (".new", 1, ABSENT)]
    unwatch(Order)
    Order.count = 7
    assert len(told(journal)) == len(seen)
    assert Order.count == 7


def test_names_of_a_module_are_watched(journal: Opened) -> None:
    module = types.ModuleType("settings")
    exec("debug = False\ndef flip():\n    global debug\n    debug = not debug\n", vars(module))
    watch(module, fields=["debug"], name="settings")
    for _ in range(2000):
        module.flip()
    module.debug = 5  # type: ignore[attr-defined]
    assert len(told(journal)) == 2001
    assert told(journal)[-1] == (".debug", False, 5)


# ---- keys -----------------------------------------------------------------------------------------------------------


class Point:
    def __init__(self, n: int) -> None:
        self.n = n

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and self.n == other.n


def test_keys_that_compare_by_code_of_the_programs_are_never_compared_by_us(journal: Opened) -> None:
    calls = 0

    class Counted(Point):
        __hash__ = Point.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal calls
            calls += 1
            return super().__eq__(other)

    one, two = Counted(1), Counted(2)
    d: dict[Any, Any] = {one: 1, two: 2, "s": 3}
    plain: dict[Any, Any] = dict(d)
    watch(d, name="d")
    calls = 0
    for mapping in (plain, d):
        mapping[one] = 10
        mapping[Counted(2)] = 20
        mapping["s"] = 30
        mapping["t"] = {"x": 1}
        del mapping[one]
        mapping[one] = 11
        if mapping is plain:
            expected, calls = calls, 0
    assert calls == expected
    proxy.audit_places()
    last = {path: new for path, _, new in told(journal)}
    assert last['["s"]'] == 30
    assert sorted(str(new) for path, new in last.items() if "Counted" in path) == ["11", "20"]


def test_a_key_that_goes_and_comes_takes_no_more_memory(journal: Opened) -> None:
    d: dict[str, int] = {}
    watch(d, name="d")
    for i in range(20_000):
        d[f"request {i}"] = i
        del d[f"request {i}"]
    assert core.stats().pages < 20
    assert len(changes(journal)) == 40_000


class Key:
    """Compared by identity."""


@pytest.mark.parametrize("make", [Key, object, lambda: type("Made", (), {})], ids=["instance", "object", "class"])
def test_keys_that_are_compared_by_identity_are_told_one_by_one(journal: Opened, make: Callable[[], Any]) -> None:
    keys = [make() for _ in range(50)]
    registry: dict[Any, Any] = {}
    watch(registry, name="registry")
    for number, key in enumerate(keys):
        registry[key] = number
    for key in keys:
        registry[key] = -1
    for key in keys:
        del registry[key]
    seen = told(journal)
    assert [(old, new) for _, old, new in seen] == [
        *((ABSENT, number) for number in range(50)),
        *((number, -1) for number in range(50)),
        *((-1, ABSENT) for _ in range(50)),
    ]
    assert not unseen(journal)


def test_a_key_that_is_equal_to_another_object_is_found_when_its_dict_goes(journal: Opened) -> None:
    d: dict[Any, Any] = {Point(1): 1}
    watch(d, name="d")
    d[Point(1)] = "found"
    del d
    origin = "found" if sys.version_info >= (3, 12) else "announced"  # CPython 3.11 says which entry it stores to
    assert [(change.new, change.origin) for change in changes(journal)] == [("found", origin)]


def test_weak_keys_are_told_as_they_come(journal: Opened) -> None:
    registry = weakref.WeakKeyDictionary[Any, int]()
    watch(registry.data, name="data")
    keys = [Key() for _ in range(20)]
    for key in keys:
        registry[key] = 1
    assert len([change for change in changes(journal) if change.origin == "announced"]) == 20


@pytest.mark.parametrize("thread", [True, False], ids=["small stack", "main thread"])
@pytest.mark.parametrize("depth", [1, 3, 100])
def test_a_long_chain_of_objects_ends_without_recursion(journal: Opened, depth: int, thread: bool) -> None:
    def run() -> None:
        queue = Box(head=None)
        watch(queue, depth=depth, name="queue")
        for _ in range(20_000):
            queue.new = Box(next=queue.head)
            queue.head = queue.new
            del queue.new
        while queue.head is not None:  # nothing but us would take such a chain apart by recursion
            queue.head = queue.head.next
        unwatch(queue)

    if not thread:
        run()
        return
    before = threading.stack_size(512 * 1024)
    try:
        worker = threading.Thread(target=run)
        worker.start()
        worker.join()
    finally:
        threading.stack_size(before)


@pytest.mark.parametrize("order", ["far first", "near first", "far goes"])
def test_what_is_found_at_several_levels_is_followed_as_from_the_nearest(journal: Opened, order: str) -> None:
    near, far, root = Box(c=Box(v=1)), Box(), Box()
    far.b = near
    (root.a, root.y) = (far, near) if order != "near first" else (None, near)
    root.a = far
    watch(root, depth=3, name="root")
    if order == "far goes":
        del root.a
    root.y.c.v = 2
    assert [(path, new) for path, _, new in told(journal) if path.endswith("v")] == [(".y.c.v", 2)]
    assert not unseen(journal)


def test_what_moves_away_from_the_object_is_no_longer_followed(journal: Opened) -> None:
    root, inner = Box(), Box(v=1)
    root.a = inner
    watch(root, depth=2, name="root")
    root.b = Box(c=inner)
    root.a = None
    inner.v = 2
    assert ".v" not in "".join(path for path, _, _ in told(journal))
    root.a = inner
    inner.v = 3
    assert told(journal)[-1] == (".a.v", 2, 3)


# ---- who else is in the process -------------------------------------------------------------------------------------


def test_threads_lose_no_store_and_their_chains_are_unbroken(journal: Opened) -> None:
    order, config = Box(n=-1), {"n": -1}  # an object that is there already isn't a change
    watch(order, name="order")
    watch(config, name="config")
    rounds = 100_000 if os.environ.get("MEMWATCH_SOAK") else 20_000 if sys.version_info >= (3, 12) else 2_000

    def work(number: int) -> None:
        for i in range(rounds):
            order.n = (number << 20) + i
            config["n"] = (number << 20) + i

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in ("order", "config"):
        seen = [change for change in changes(journal) if change.variable == name]
        assert len(seen) == 4 * rounds
        assert all(a.new == b.old for a, b in itertools.pairwise(seen))
        assert len({change.tid for change in seen}) == 4
    assert not unseen(journal)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_has_its_own_events(journal: Opened) -> None:
    order = Box(n=0, meta={"k": 1})
    watch(order, name="order")
    order.n = 1
    child = os.fork()
    if not child:
        status = 1
        try:
            order.n = 2
            order.meta["k"] = 2
            order.new = 3
            own = Opened(journal.path.with_name(f"{os.getpid()}-python.mwj"))
            status = told(own) != [(".n", 1, 2), ('.meta["k"]', 1, 2), (".new", ABSENT, 3)]
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    order.n = 5
    assert told(journal) == [(".n", 0, 1), (".n", 1, 5)]


def test_writing_within_a_finalizer_is_seen_at_its_own_line(journal: Opened) -> None:
    order = Box(n=0)
    watch(order, name="order")

    class Last:
        def __del__(self) -> None:
            order.n += 1

    order.last = Last()
    order.last = None
    assert [(change.path, change.function) for change in changes(journal)][-1] == (".n", "__del__")


# ---- everything at once ---------------------------------------------------------------------------------------------

KEYS = st.sampled_from(["a", "b", "c", 1, None, (1, "x")])
VALUES = st.one_of(
    st.integers(), st.text(max_size=80), st.none(), st.floats(allow_nan=False), st.lists(st.integers(), max_size=3),
    st.dictionaries(st.sampled_from("pqr"), st.integers(), max_size=3),
)  # fmt: skip


class Nested(RuleBasedStateMachine):
    """Random changes of nested dicts; what is followed and what was recorded must be what is there."""

    opened: Opened

    @initialize()
    def start(self) -> None:
        self.config: dict[Any, Any] = {"a": {"p": 1}, "b": 2, "c": {"q": {"r": 1}}}
        watch(self.config, name="config", depth=4)

    def pick(self, path: list[Any]) -> dict[Any, Any]:
        at = self.config
        for key in path:
            if type(at.get(key)) is dict:
                at = at[key]
        return at

    @rule(path=st.lists(KEYS, max_size=3), key=KEYS, value=VALUES)
    def store(self, path: list[Any], key: Any, value: Any) -> None:
        self.pick(path)[key] = value

    @rule(path=st.lists(KEYS, max_size=3), key=KEYS)
    def remove(self, path: list[Any], key: Any) -> None:
        self.pick(path).pop(key, None)

    @rule(path=st.lists(KEYS, max_size=3), other=st.lists(KEYS, max_size=3), key=KEYS)
    def alias(self, path: list[Any], other: list[Any], key: Any) -> None:
        self.pick(path)[key] = self.pick(other)

    @rule(path=st.lists(KEYS, max_size=3), values=st.dictionaries(KEYS, VALUES, max_size=4))
    def update(self, path: list[Any], values: dict[Any, Any]) -> None:
        self.pick(path).update(values)

    @rule(path=st.lists(KEYS, max_size=2))
    def clear(self, path: list[Any]) -> None:
        if path:
            self.pick(path).clear()

    @invariant()
    def nothing_is_unseen(self) -> None:
        if hasattr(self, "config"):
            assert proxy.audit_places() == 0

    def teardown(self) -> None:
        if hasattr(self, "config"):
            unwatch(self.config)
            assert core.stats().pages == 0


def test_random_changes_of_nested_containers_are_all_told(journal: Opened) -> None:
    run_state_machine_as_test(
        Nested,
        settings=settings(
            max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
