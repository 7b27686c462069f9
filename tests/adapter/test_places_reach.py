"""Which objects are followed: those that a watched one reaches within its depth, by whatever names."""

from __future__ import annotations

import gc
import itertools
import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from journals import Opened
from slot_events import Change, Tap

from memwatch_core import unwatch, watch
from memwatch_core.native import core, proxy

SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
KEYS = "abc"
FAR = 100


class Box:
    def __init__(self) -> None:
        self.n = 0


class Slotted:
    __slots__ = (*KEYS, "n")

    def __init__(self) -> None:
        self.n = 0


KINDS: dict[str, Callable[[], Any]] = {
    "dict": lambda: {"n": 0},
    "instance": Box,
    "slots": Slotted,
    "list": lambda: [0],
    "set": set,
}
CONTAINERS = (dict, list, set)


def held(node: Any) -> list[Any]:
    """The objects in it that are followed, if there is depth enough."""
    if type(node) is set:
        return []
    values = node if type(node) is list else node.values() if type(node) is dict else None
    if values is None:
        values = [getattr(node, key) for key in KEYS if hasattr(node, key)]
    return [value for value in values if type(value) in (*CONTAINERS, Box, Slotted)]


def levels(roots: list[Any], depth: int) -> dict[int, int]:
    """How far each object that is reached is from the nearest of the roots, by address."""
    found, near = {id(root): 0 for root in roots}, list(roots)
    for level in range(1, depth + 1):
        near = [each for node in near for each in held(node)]
        near = [each for each in near if type(each) in CONTAINERS or level < depth]
        near = [each for each in {id(each): each for each in near}.values() if id(each) not in found]
        found |= {id(each): level for each in near}
    return found


def write(node: Any, number: int) -> None:
    """A change of the node that changes nothing of what it reaches."""
    if type(node) is dict:
        node["n"] = number
    elif type(node) is list:
        node[0] = number
    elif type(node) is set:
        node.add(number)
    else:
        node.n = number


def at(root: Any, path: str) -> Any:
    return eval("root" + path, {"root": root})


class Graph:
    """Objects that hold one another, of which some are watched, and random changes of what holds what."""

    def __init__(self, seed: int, tap: Tap, kinds: tuple[str, ...], depth: int, roots: int) -> None:
        self.random, self.tap, self.depth, self.seed = random.Random(seed), tap, depth, seed
        self.nodes = [KINDS[kinds[0]]() for _ in range(roots)]
        self.nodes += [KINDS[self.random.choice(kinds)]() for _ in range(7)]
        self.inner = [node for node in self.nodes if type(node) is not set]
        self.index = {id(node): i for i, node in enumerate(self.nodes)}
        self.log: list[tuple[Any, ...]] = []
        self.number = 0
        for _ in range(12):
            self.put(*self.somewhere())
        self.roots = self.nodes[:roots]
        for i, root in enumerate(self.roots):
            if proxy.find_places(root) is None:
                watch(root, name=f"root{i}", depth=depth)
            else:  # found in the one before
                self.roots = self.roots[:i]
                break

    def somewhere(self) -> tuple[Any, str, Any]:
        return self.random.choice(self.inner), self.random.choice(KEYS), self.random.choice(self.nodes)

    def keys(self, node: Any) -> list[Any]:
        if type(node) is list:
            return list(range(1, len(node)))
        return [key for key in KEYS if (key in node if type(node) is dict else hasattr(node, key))]

    def put(self, node: Any, key: Any, value: Any) -> None:
        if type(node) is list:
            known = self.keys(node)
            if len(known) < 3:
                node.insert(self.random.randint(1, len(node)), value)
            else:
                node[self.random.choice(known)] = value
        elif type(node) is dict:
            node[key] = value
        else:
            setattr(node, key, value)

    def take(self, node: Any, key: Any) -> Any:
        if type(node) is list or type(node) is dict:
            return node.pop(key)
        value = getattr(node, key)
        delattr(node, key)
        return value

    def change(self) -> None:
        """One of: set, drop, move, swap, alias, cycle, clear."""
        node, key, value = self.somewhere()
        known = self.keys(node)
        one = self.random.choice(known) if known else None
        what = self.random.choice(["set", "drop", "drop", "move", "swap", "alias", "cycle", "clear"])
        self.log.append((what, self.index[id(node)], key, one, self.index[id(value)]))
        if what == "set":
            self.put(node, key, value)
        elif what == "cycle":
            for each in held(node):
                if type(each) is not set:
                    self.put(each, key, node)
        elif one is None:
            return
        elif what == "drop":
            self.take(node, one)
        elif what == "move":
            other = self.random.choice(self.inner)
            self.put(other, key, self.take(node, one))
        elif what == "alias":
            other = self.random.choice(self.inner)
            self.put(other, key, at(node, f"[{one!r}]" if isinstance(node, dict | list) else f".{one}"))
        elif what == "swap":
            second = self.random.choice(known)
            if isinstance(node, dict | list):
                node[one], node[second] = node[second], node[one]
            else:
                first, other = getattr(node, one), getattr(node, second)
                setattr(node, one, other)
                setattr(node, second, first)
        elif self.random.random() < 0.3:
            if type(node) is dict:
                node.clear()
            elif type(node) is list:
                del node[1:]
            else:
                for each in known:
                    delattr(node, each)

    def look(self) -> None:
        """Each object that is reached is followed, none else."""
        reached = levels(self.roots, self.depth)
        followed = {id(node) for node in self.nodes if proxy.find_places(node)}
        assert followed == {id(node) for node in self.nodes if id(node) in reached}, (self.seed, len(self.log))
        self.changes()

    def changes(self) -> list[Change]:
        """Those that came. None is found too late, but in what lies too deep to be followed."""
        changes = self.tap.changes()
        told = [change for change in changes if change.origin == "announced"]
        assert len(told) == len(changes) or self.depth < FAR, (self.seed, len(self.log), changes)
        return told

    def written(self) -> Iterator[tuple[Any, list[Change]]]:
        for node in self.nodes:
            self.number += 1
            self.changes()
            write(node, self.number)
            yield node, self.changes()

    def look_closely(self) -> None:
        reached = levels(self.roots, self.depth)
        for node, changes in self.written():
            where = (self.seed, len(self.log), changes)
            assert len(changes) == (id(node) in reached), where
            for change in changes:
                assert change.after == self.number, where
                if type(node) is not set:
                    assert any(self.is_at(root, change.path, node) for root in self.roots), where

    def is_at(self, root: Any, path: str, node: Any) -> bool:
        holder = path.removesuffix('["n"]') if type(node) is dict else path.removesuffix(".n").removesuffix("[0]")
        try:
            return at(root, holder) is node
        except (AttributeError, LookupError, TypeError):
            return False


MIXED = ("dict", "instance", "slots", "list", "set")


@pytest.mark.parametrize("roots", [1, 2])
@pytest.mark.parametrize("depth", [2, 3, FAR])
@pytest.mark.parametrize("kinds", [("dict",), ("instance",), ("slots",), ("list",), MIXED], ids="-".join)
def test_what_is_reached_is_followed_and_nothing_else(
    journal: Opened, kinds: tuple[str, ...], depth: int, roots: int
) -> None:
    if roots == 2 and depth < FAR:
        pytest.skip("what two watches reach is followed as far as the first one goes")
    gc.collect()
    before = core.stats().pages  # of what earlier tests have left
    for seed in range(3, 100 if SOAK else 7):
        graph = Graph(seed, Tap(journal.path), kinds, depth, roots)
        for step in range(60):
            graph.change()
            graph.look()
            if step % 10 == 9:
                graph.look_closely()
        assert proxy.audit_places() == 0 or depth < FAR
        for root in graph.roots:
            unwatch(root)
        assert not any(proxy.find_places(node) for node in graph.nodes)
        assert core.stats().pages <= before


EDGES = list(itertools.permutations(range(3), 2))


@pytest.mark.parametrize("kind", ["dict", "instance", "slots", "list"])
def test_names_are_dropped_in_every_order_from_every_graph_of_three(journal: Opened, kind: str) -> None:
    tap = Tap(journal.path)
    graphs = [edges for n in range(len(EDGES) + 1) for edges in itertools.combinations(EDGES, n)]
    for edges, order in itertools.product(graphs, itertools.permutations(range(3))):
        root, nodes = dict[str, Any](), [KINDS[kind]() for _ in range(3)]
        for start, end in edges:
            link(nodes[start], KEYS[end], nodes[end])
        root.update(zip(KEYS, nodes, strict=True))
        watch(root, name="root", depth=FAR)
        for number in order:
            del root[KEYS[number]]
            reached = levels([root], FAR)
            tap.changes()
            for i, node in enumerate(nodes):
                write(node, number + 1)
                told = [change.origin for change in tap.changes()]
                assert told == ["announced"] * (id(node) in reached), (edges, order, number, i)
        assert proxy.audit_places() == 0
        unwatch(root)


def link(node: Any, key: str, value: Any) -> None:
    if type(node) is list:
        node.append(value)
    elif type(node) is dict:
        node[key] = value
    else:
        setattr(node, key, value)


@pytest.mark.parametrize("depth", [3, 4])
def test_what_is_left_without_its_shortest_name_is_followed_as_far_as_the_next_one_lets_it(
    journal: Opened, depth: int
) -> None:
    """root.a goes, and root.b.c.a is left: what was three steps from the root is five steps from it."""
    root, a = Box(), Box()
    root.a, root.b = a, Box()  # type: ignore[attr-defined]
    root.b.c = Box()  # type: ignore[attr-defined]
    root.b.c.a = a  # type: ignore[attr-defined]
    a.inner, a.back = Box(), root.b.c  # type: ignore[attr-defined]
    a.inner.deep = {"n": 0}  # type: ignore[attr-defined]
    watch(root, name="root", depth=depth)
    del root.a  # type: ignore[attr-defined]
    followed = [proxy.find_places(each) is not None for each in (a, a.inner, a.inner.deep)]  # type: ignore[attr-defined]
    assert followed == [depth > 3, False, False]
    root.a = a  # type: ignore[attr-defined]
    followed = [proxy.find_places(each) is not None for each in (a, a.inner, a.inner.deep)]  # type: ignore[attr-defined]
    assert followed == [True, True, True]


@pytest.mark.parametrize("count", [60, 600 if SOAK else 90])
def test_ring_whose_objects_lose_their_short_names_is_followed_as_far_as_its_depth(journal: Opened, count: int) -> None:
    ring = [{"n": 0} for _ in range(count)]
    for i, one in enumerate(ring):
        one["next"], one["back"] = ring[(i + 1) % count], ring[i - 1]  # type: ignore[assignment]
    root: dict[str, dict[int, Any]] = {"all": dict(enumerate(ring)), "again": {0: ring[0]}}
    watch(root, name="root", depth=20)
    for number in random.Random(1).sample(range(count), count):
        del root["all"][number]
        reached = levels([root], 20)
        assert [proxy.find_places(one) is not None for one in ring] == [id(one) in reached for one in ring]
    assert proxy.find_places(ring[18])
    assert not proxy.find_places(ring[19])
