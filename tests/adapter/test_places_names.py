"""What is found at several places has several names, and each event of it says all, whichever was written by."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import pytest
from journals import ALIAS, Opened, read

from memwatch_core import unwatch, watch, watch_place
from memwatch_core.native import proxy


class Box:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class Slotted:
    __slots__ = ("shared", "x")

    def __init__(self, **attributes: Any) -> None:
        for name, value in attributes.items():
            setattr(self, name, value)


def names(journal: Opened) -> list[tuple[str, set[str]]]:
    """Of each event: the name that it is told under, and the others."""
    contents = journal.read()
    called = {number: metadata["name"] for number, metadata in contents.metadata.items()}
    found = []
    for store in contents.stores:
        assert len(set(store.aliases)) == len(store.aliases)
        assert (store.variable, store.path) not in store.aliases
        others = {called[number] + path for number, path in store.aliases}
        found.append((called[store.variable] + (store.path or ""), others))
    return found


def count(journal: Opened, kind: int) -> int:
    """Records of a kind."""
    data = journal.path.read_bytes()[4096:]
    found, at = 0, 0
    while at < len(data) and data[at]:
        found += data[at] == kind
        at += 64 * data[at + 1]
    return found


def all_names(journal: Opened) -> list[set[str]]:
    return [{first, *others} for first, others in names(journal)]


def write_object(shared: Any) -> str:
    shared.x = object()
    return ".x"


def write_dict(shared: Any) -> str:
    shared["x"] = object()
    return '["x"]'


def write_list(shared: Any) -> str:
    shared[0] = object()
    return "[0]"


def write_set(shared: Any) -> str:
    shared.add(len(shared))
    return f"{{{len(shared) - 1}}}"


def write_nested(shared: Any) -> str:
    shared["a"][0]["x"] = object()
    return '["a"][0]["x"]'


SHARED: dict[str, tuple[Callable[[], Any], Callable[[Any], str]]] = {
    "object": (lambda: Box(x=1), write_object),
    "slots": (lambda: Slotted(x=1), write_object),
    "dict": (lambda: {"x": 1}, write_dict),
    "list": (lambda: [1], write_list),
    "set": (set, write_set),
    "nested": (lambda: {"a": [{"x": 1}]}, write_nested),
}


def hold(owner: Any, how: str, value: Any) -> None:
    if how == "attribute":
        owner.shared = value
    elif how == "key":
        owner["shared"] = value
    else:
        owner.append(value)


def let_go(owner: Any, how: str) -> None:
    if how == "attribute":
        del owner.shared
    elif how == "key":
        owner.clear()
    else:
        owner.pop()


OWNERS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "attribute": (Box, "attribute", ".shared"),
    "slot": (Slotted, "attribute", ".shared"),
    "key": (dict, "key", '["shared"]'),
    "item": (list, "item", "[0]"),
}


@pytest.mark.parametrize("two_watches", [False, True], ids=["one watch", "two watches"])
@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("kind", SHARED)
@pytest.mark.parametrize("owner", OWNERS)
def test_every_place_that_holds_it_is_named(
    journal: Opened, owner: str, kind: str, later: bool, two_watches: bool
) -> None:
    """And none that has let it go: the first, or the other one."""
    make, write = SHARED[kind]
    make_owner, how, there = OWNERS[owner]
    shared, a, b = make(), make_owner(), make_owner()
    both = Box(a=a, b=b)
    if not later:
        hold(a, how, shared)
        hold(b, how, shared)
    if two_watches:
        watch(a, name="a", depth=9)
        watch(b, name="b", depth=9)
    else:
        watch(both, name="both", depth=9)
    before = "" if two_watches else "both."
    if later:
        hold(a, how, shared)
        hold(b, how, shared)
    since = len(names(journal))
    what = write(shared)
    assert all_names(journal)[since:] == [{f"{before}a{there}{what}", f"{before}b{there}{what}"}]
    let_go(a, how)
    since = len(names(journal))
    what = write(shared)
    assert names(journal)[since:] == [(f"{before}b{there}{what}", set())]
    hold(a, how, shared)
    let_go(b, how)
    since = len(names(journal))
    what = write(shared)
    assert names(journal)[since:] == [(f"{before}a{there}{what}", set())]
    let_go(a, how)
    since = len(names(journal))
    write(shared)
    assert names(journal)[since:] == []
    assert proxy.audit_places() == 0


@pytest.mark.parametrize("kind", SHARED)
def test_what_is_watched_itself_has_its_own_name_first(journal: Opened, kind: str) -> None:
    make, write = SHARED[kind]
    shared, order = make(), Box()
    order.config = shared
    watch(shared, name="shared", depth=5)
    watch(order, name="order", depth=5)
    what = write(shared)
    assert names(journal) == [(f"shared{what}", {f"order.config{what}"})]
    unwatch(shared)
    what = write(shared)
    assert names(journal)[-1] == (f"order.config{what}", set())
    watch(other := Box(c=shared), name="other", depth=5)
    what = write(shared)
    assert names(journal)[-1] == (f"order.config{what}", {f"other.c{what}"})
    unwatch(order)
    what = write(shared)
    assert names(journal)[-1] == (f"other.c{what}", set())
    assert other.c is shared


def test_an_item_that_a_list_holds_twice_has_both_indexes(journal: Opened) -> None:
    row: dict[str, int] = {"x": 0}
    rows: list[Any] = [row, 5, row]
    watch(rows, name="rows")

    def told() -> set[str]:
        row["x"] += 1
        return all_names(journal)[-1]

    assert told() == {'rows[0]["x"]', 'rows[2]["x"]'}
    rows.insert(0, 7)
    assert told() == {'rows[1]["x"]', 'rows[3]["x"]'}
    rows.append(row)
    assert told() == {'rows[1]["x"]', 'rows[3]["x"]', 'rows[4]["x"]'}
    rows[1] = None
    assert told() == {'rows[3]["x"]', 'rows[4]["x"]'}
    rows[0] = row
    assert told() == {'rows[0]["x"]', 'rows[3]["x"]', 'rows[4]["x"]'}
    rows.reverse()
    assert told() == {'rows[0]["x"]', 'rows[1]["x"]', 'rows[4]["x"]'}
    del rows[:4]
    assert told() == {'rows[0]["x"]'}
    assert names(journal)[-1] == ('rows[0]["x"]', set())


def test_a_list_that_has_come_nearer_knows_how_often_it_holds_an_item(journal: Opened) -> None:
    row: dict[str, int] = {"x": 0}
    rows = [row, row]
    order = Box(a=Box(b=Box(rows=rows)), rows=None)
    watch(order, name="order", depth=3)
    row["x"] = 1
    assert names(journal) == []
    order.rows = rows
    since = len(names(journal))
    row["x"] = 2
    assert {'order.rows[0]["x"]', 'order.rows[1]["x"]'} <= all_names(journal)[since]
    rows.pop()
    order.a = None
    since = len(names(journal))
    row["x"] = 3
    assert names(journal)[since:] == [('order.rows[0]["x"]', set())]
    rows.pop()
    since = len(names(journal))
    row["x"] = 4
    assert names(journal)[since:] == []


def test_each_way_to_what_is_shared_is_one_name(journal: Opened) -> None:
    """Two places hold a dict that two places hold."""
    leaf: dict[str, int] = {"x": 0}
    inner = {"p": leaf, "q": leaf}
    order = Box(a=inner, b=inner)
    watch(order, name="order", depth=5)
    leaf["x"] = 1
    assert all_names(journal) == [{f'order.{a}["{p}"]["x"]' for a in "ab" for p in "pq"}]
    order.b = None
    leaf["x"] = 2
    assert all_names(journal)[-1] == {f'order.a["{p}"]["x"]' for p in "pq"}
    del inner["p"]
    leaf["x"] = 3
    assert names(journal)[-1] == ('order.a["q"]["x"]', set())


def test_a_cycle_is_gone_round_once(journal: Opened) -> None:
    a, b = Box(n=1), Box(n=1)
    a.other, b.other = b, a
    watch(a, name="a", depth=9)
    a.n = 2
    b.n = 2
    assert names(journal) == [("a.n", {"a.other.other.n"}), ("a.other.n", set())]
    b.other = None
    a.n = 3
    assert names(journal)[-1] == ("a.n", set())
    a.me = a
    a.n = 4
    assert names(journal)[-1] == ("a.n", {"a.me.n"})


def test_more_names_than_are_recorded_are_said_to_be_there(journal: Opened) -> None:
    shared: dict[str, int] = {"x": 0}
    order = Box(**{f"a{i}": shared for i in range(9)})
    watch(order, name="order")
    shared["x"] = 1
    (store,) = journal.read().stores
    assert (len(store.aliases), store.cut) == (8, False)
    order.one_more = shared
    shared["x"] = 2
    store = journal.read().stores[-1]
    assert (len(store.aliases), store.cut) == (8, True)
    del order.one_more
    shared["x"] = 3
    assert not journal.read().stores[-1].cut


def test_a_graph_of_ways_without_number_is_bounded(journal: Opened) -> None:
    """Everything holds everything, under long names."""
    boxes = [Box() for _ in range(12)]
    for i, box in enumerate(boxes):
        for j, other in enumerate(boxes):
            vars(box)[f"{'a' * 120}{i}_{j}"] = other
    watch(boxes[0], name="order", depth=20)
    boxes[5].x = 1
    store = journal.read().stores[-1]
    assert store.cut
    assert 0 < len(store.aliases) <= 8
    assert sum(len(path) + 6 for _, path in store.aliases) <= 4092


def test_a_place_that_is_watched_alone_is_a_name(journal: Opened) -> None:
    config: dict[str, Any] = {"port": 1}
    a, b = Box(config=config), Box(config=config)
    watch_place(a, "config", name="config of a")
    watch(b, name="b")
    config["port"] = 2
    assert all_names(journal) == [{'config of a["port"]', 'b.config["port"]'}]


def test_what_has_one_name_costs_no_record(journal: Opened) -> None:
    """Beside what has several, whose names are told once."""
    shared: dict[str, int] = {"x": 0}
    order = Box(a=shared, b=shared, c={"x": 0}, rows=[{"x": 0}])
    watch(order, name="order")
    for i in range(100):
        order.c["x"] = i + 1
        order.rows[0]["x"] = i + 1
        shared["x"] = i + 1
        order.n = i
        order.rows.append(i)
    contents = journal.read()
    assert count(journal, ALIAS) == 1
    assert {bool(store.aliases) for store in contents.stores if "a[" in (store.path or "")} == {True}
    assert {store.aliases for store in contents.stores if "a[" not in (store.path or "")} == {()}


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_s_journal_has_the_names(journal: Opened) -> None:
    shared: dict[str, int] = {"x": 0}
    order = Box(a=shared, b=shared)
    watch(order, name="order")
    shared["x"] = 1
    child = os.fork()
    if not child:
        shared["x"] = 2
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    (path,) = journal.path.parent.glob(f"{child}-*.mwj")
    (store,) = read(path).stores
    assert (store.path, [name for _, name in store.aliases]) in (('.a["x"]', ['.b["x"]']), ('.b["x"]', ['.a["x"]']))


def test_names_are_as_a_walk_finds_them(journal: Opened) -> None:
    """Random graphs of dicts that change at random: each event's names are those by which a walk over the graph, which
    goes by each link once, comes to the dict that was written to."""
    import random

    rng = random.Random(5)
    for _ in range(30 if sys.version_info >= (3, 12) else 4):  # before, stores fault
        nodes: list[dict[str, Any]] = [{"n": 0} for _ in range(5)]
        tops = {"a": nodes[0], "b": nodes[1]}
        for name, node in tops.items():
            watch(node, name=name, depth=9)
        for turn in range(25):
            node, key = rng.choice(nodes), rng.choice("xy")
            if rng.random() < 0.5:
                node[key] = rng.choice(nodes)
            else:
                node.pop(key, None)
            written = rng.choice(nodes)
            since = len(journal.read().stores)
            written["n"] = turn + 1
            told = journal.read().stores[since:]
            found = sorted(ways(tops, written), key=len)
            assert bool(told) == bool(found)
            if told and not told[0].cut:
                assert all_names(journal)[-1] == {f'{way}["n"]' for way in found}
        for node in tops.values():
            unwatch(node)


def ways(tops: dict[str, dict[str, Any]], to: dict[str, Any]) -> set[str]:
    found: set[str] = set()

    def walk(node: dict[str, Any], path: str, used: frozenset[tuple[int, str]]) -> None:
        if node is to:
            found.add(path)
        for key, value in node.items():
            if type(value) is dict and (id(node), key) not in used:
                walk(value, f'{path}["{key}"]', used | {(id(node), key)})

    for name, top in tops.items():
        walk(top, name, frozenset())
    return found
