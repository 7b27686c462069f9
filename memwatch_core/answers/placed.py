"""The places of one object as the events so far left them: what each held, and who wrote it last.

An event tells one place. What it means for others is known here: what lay below a place that got another value is no
longer there; items of a list move when one is added or deleted before them; a value that is shown by its text isn't
as that text says once something below it was written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import translate
from functools import lru_cache
from typing import Any, Literal

from msgspec.structs import replace

from ..journal.layout import UNNAMED
from ..printed import clean
from ..records import ABSENT, Event, Shown
from .calls import NUMBER
from .items import Items
from .memory import Sites

_STEPS = re.compile(r"\A[^.\[{]+|[.\[{][^.\[{]*")
_INDEX = re.compile(r"\[(0|[1-9]\d{0,17})\]")
_KINDS = {"list": "list"} | dict.fromkeys(("dict", "OrderedDict", "defaultdict", "Counter"), "dict")
OPENERS = (".", "[", "{")
"""What a path goes on with."""
OPENED = frozenset({"[…]", "{…}", "…"})
"""The texts of containers of which something below was written since."""


Inside = Literal["", "moved", "mixed", "replaced"]
"""Items came and went; they were put in another order, or it isn't known what moved; it is another one altogether."""


class Held:
    """What a place holds."""

    __slots__ = ("doubt", "inside", "last", "number", "old", "sites", "tick", "value", "writes")

    def __init__(self, value: Any, tick: int, number: int) -> None:
        self.number = number
        """It is the so-manieth place of its object that became known."""
        self.value = value
        """None, a bool, int, float, str, bytes or Shown; :data:`ABSENT` after a deletion."""
        self.last: Event | None = None
        """The event that wrote it last; None: none has so far, and its value is what a later event found there."""
        self.writes = 0
        """Number of events that were counted."""
        self.old: Any = None
        """What the first of them found."""
        self.inside: Inside = ""
        """What they did to what lies in it."""
        self.sites: frozenset[int] = frozenset()
        self.tick = tick
        self.doubt = ""
        """Why it may hold something else; empty: it doesn't."""


class _Node:
    """What lies at a path, and below it."""

    __slots__ = ("held", "inner", "items")

    def __init__(self) -> None:
        self.held: Held | None = None
        self.items: Items[_Node] | None = None
        """Below it, by index: ``[3]``."""
        self.inner: dict[str, _Node] | None = None
        """The others below it: ``.age``, ``["port"]``."""

    def child(self, step: str | int) -> _Node | None:
        if isinstance(step, int):
            return None if self.items is None else self.items.get(step)
        return None if self.inner is None else self.inner.get(step)

    def made(self, step: str | int) -> _Node:
        """The child, which is made if there is none."""
        found = self.child(step)
        if found is None:
            found = _Node()
            if isinstance(step, int):
                self.items = self.items or Items()
                self.items.put(step, found)
            else:
                self.inner = self.inner or {}
                self.inner[step] = found
        return found

    def has_any(self) -> bool:
        """Whether there is anything below."""
        return bool(self.items or self.inner)

    def open(self) -> None:
        """Something below is written."""
        if self.held is not None:
            self.held.value = _opened(self.held.value)

    def clear(self) -> None:
        """Nothing is below any more."""
        self.items = self.inner = None

    def held_below(self, name: str) -> Iterator[tuple[str, Held]]:
        """What is held here and below, by path."""
        waiting = [(name, self)]
        while waiting:
            name, node = waiting.pop()
            if node.held is not None:
                yield name, node.held
            waiting.extend((f"{name}[{index}]", each) for index, each in node.items or ())
            waiting.extend((name + step, each) for step, each in (node.inner or {}).items())


class Placed:
    """The places of an object. ``shown``: what the object is, in words."""

    def __init__(self, shown: str) -> None:
        self.unnamed = 0
        """Number of events whose place isn't known."""
        self.is_function = False
        """Whether its places are names of a function, see :mod:`.calls`."""
        self._shown = shown
        self._root = _Node()
        self._count = 0
        self._places: dict[str, Held] | None = None
        self._renumbered: set[str] = set()
        """Up to the moment: containers of which items that were written got other numbers."""
        self._over: set[str] = set()
        """After the moment: places that were written."""
        self._opened: set[str] = set()
        """After the moment: paths below which something was."""
        self._moved: set[str] = set()
        """After the moment: containers whose items moved."""

    @property
    def places(self) -> dict[str, Held]:
        """By path, in order of their first event."""
        if self._places is None:
            self._places = dict(sorted(self._root.held_below(""), key=lambda each: each[1].number))
        return self._places

    def write(self, event: Event, tick: int, site: int | None, sites: Sites, name: str | None = None) -> None:
        """Applies an event. ``site``: number of the place in the source that it came from; None: it isn't counted.
        ``name``: the place's path, if not the event's."""
        part = event.part if name is None or event.part is None else replace(event.part, name=name)
        if part is None or part.name == UNNAMED:
            self.unnamed += 1
            return
        self._places = None
        path, operation = steps(part.name), event.operation
        container = node = self._root
        for step in path[:-1]:
            node.open()
            container = node = node.made(step)
        if path:
            if operation in ("add", "delete") and isinstance(path[-1], int):
                kind = self._kind(container, at_root=len(path) == 1)
                if kind != "dict":
                    self._move(container, part.name[: part.name.rindex("[")], path[-1], operation, kind)
                    container.open()
                    shown = Shown("[…]" if kind == "list" else "…") if container.held is None else container.held.value
                    held = self._set(container, shown, shown, event, tick, site, sites)
                    if site is not None and held.inside != "replaced":
                        held.inside = "mixed" if kind != "list" else held.inside or "moved"
                    if operation == "add":
                        self._set(container.made(path[-1]), part.old, part.new, event, tick, site, sites)
                    return
            container.open()
            node = container.made(path[-1])
        if operation == "move" and node.has_any() and self._kind(node, at_root=not path) != "dict":
            self._renumbered.add(part.name)
        node.clear()
        held = self._set(node, part.old, part.new, event, tick, site, sites)
        if site is not None and held.inside != "replaced":
            held.inside = "mixed" if operation == "move" else "replaced"

    def find(self, event: Event, tick: int, path: str | None = None) -> None:
        """Takes an event after the moment: what it found in a place of which nothing is known was there at the moment
        already, if nothing moved since. ``tick``: when the moment was; ``path``: of the place, if not the event's."""
        part = event.part if path is None or event.part is None else replace(event.part, name=path)
        if part is None or part.name == UNNAMED:
            return
        name, operation = part.name, event.operation
        if name in self._over and operation not in ("add", "delete", "move"):
            return
        through, above, moved = steps(name), [*prefixes(name)], self.moves(event)
        if name not in self._over and not any(path in self._over or path in self._moved for path in above):
            node = self._node(through)
            held = None if node is None else node.held
            if held is None and not (part.old is ABSENT and moved):  # another item of the list may have been there
                held = self._add(through, _opened(part.old) if name in self._opened else part.old, tick)
            if held is not None and event.origin == "found":
                held.doubt = "it changed unseen, perhaps before"
        self._over.add(name)
        self._opened.update(above)
        if operation == "move":
            self._moved.add(name)
        elif moved is not None:
            self._moved.add(moved[0])

    def moves(self, event: Event) -> tuple[str, int, str] | None:
        """(container, index, what the container is) of an item that comes or goes, if others may move by it."""
        part = event.part
        if event.operation not in ("add", "delete") or part is None:
            return None
        path = steps(part.name)
        if not path or not isinstance(path[-1], int):
            return None
        kind = self._kind(self._node(path[:-1]), at_root=len(path) == 1)
        return None if kind == "dict" else (part.name[: part.name.rindex("[")], path[-1], kind)

    def below(self, part: str) -> list[str]:
        """The paths at one and below it, or those that a pattern (``.*.age``) matches, in order of their first
        event. Without a path all, but of a function those of no call in particular."""
        if self.is_function and not part:
            return [path for path in self.places if not path.startswith(NUMBER)]
        return [*filter(covers(part), self.places)]

    def renumbers(self, part: str) -> bool:
        """Whether a path leads through the index of a list whose items had other indices before."""
        return any(part[: found.start()] in self._renumbered for found in _INDEX.finditer(part))

    def _set(self, node: _Node, old: Any, value: Any, event: Event, tick: int, site: int | None, sites: Sites) -> Held:
        held = node.held
        if held is None:
            held = node.held = self._made(value, tick)
        held.value, held.last, held.tick, held.doubt = value, event, tick, ""
        if site is not None:
            if not held.writes:
                held.old = old
            held.writes += 1
            held.sites = sites.with_one(held.sites, site)
        return held

    def _made(self, value: Any, tick: int) -> Held:
        self._count += 1
        return Held(value, tick, self._count)

    def _add(self, path: tuple[str | int, ...], value: Any, tick: int) -> Held:
        self._places = None
        node = self._root
        for step in path:
            node = node.made(step)
        node.held = self._made(value, tick)
        return node.held

    def _node(self, path: tuple[str | int, ...]) -> _Node | None:
        node: _Node | None = self._root
        for step in path:
            node = None if node is None else node.child(step)
        return node

    def _kind(self, container: _Node | None, *, at_root: bool) -> str:
        """``list``, ``dict``, or empty if it isn't known which of them."""
        if at_root and self._shown in _KINDS:
            return _KINDS[self._shown]
        held = None if container is None else container.held
        text = held.value.text if held is not None and isinstance(held.value, Shown) else ""
        return {"[": "list", "{": "dict"}.get(text[:1], "")

    def _move(self, container: _Node, name: str, index: int, operation: str, kind: str) -> None:
        """An item of a list, or of what may be one, came or went: those behind it have other numbers now."""
        items = container.items
        if items is None:
            return
        if kind != "list":
            if items.last() >= index + (operation == "delete"):
                self._renumbered.add(name)
            items.cut(index)
        elif items.come(index) if operation == "add" else items.go(index):
            self._renumbered.add(name)


@lru_cache(maxsize=1 << 14)
def steps(name: str) -> tuple[str | int, ...]:
    """A path, cut at each character that may open a step; an index as a number."""
    return tuple(
        int(found[1]) if (found := _INDEX.fullmatch(step)) is not None else step for step in _STEPS.findall(name)
    )


def joined(path: Iterable[str | int]) -> str:
    """A path of these steps."""
    return "".join(f"[{step}]" if isinstance(step, int) else step for step in path)


@lru_cache(maxsize=256)
def covers(part: str) -> Callable[[str], bool]:
    """Whether a path is at another one or below it, or is matched by a pattern (``.*.age``). It may be written as it is
    shown."""
    if not part:
        return lambda name: True
    match = re.compile(translate(part.replace("[", "[[]"))).match if "*" in part or "?" in part else None

    def is_covered(name: str) -> bool:
        if not name.isprintable():
            name = name if name == part or is_below(name, part) else clean(name)
        return name == part or is_below(name, part) or (match is not None and match(name) is not None)

    return is_covered


def is_below(name: str, above: str) -> bool:
    """Whether a path leads through another one."""
    return len(name) > len(above) and name.startswith(above) and name[len(above)] in OPENERS


def prefixes(name: str) -> Iterator[str]:
    """The paths that this one may lead through, the shortest first."""
    for at, character in enumerate(name):
        if character in OPENERS:
            yield name[:at]


def is_opened(value: Any) -> bool:
    """Whether a value stands for a container of which no more is known than that something below was written."""
    return isinstance(value, Shown) and value.text in OPENED


def _opened(value: Any) -> Any:
    """A value of which something below was written: a container isn't as its text says any more."""
    if isinstance(value, Shown) and value.text[:1] in "[{" and value.text:
        return Shown("[…]" if value.text[0] == "[" else "{…}")
    return value
