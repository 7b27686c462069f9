"""The places of one object as the events so far left them: what each held, and who wrote it last.

An event tells one place. What it means for others is known here: what lay below a place that got another value is no
longer there; items of a list move when one is added or deleted before them; a value that is shown by its text isn't
as that text says once something below it was written.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from fnmatch import translate
from typing import Any

from ..journal.layout import UNNAMED
from ..records import ABSENT, Event, Shown
from .memory import Sites

_ITEM = re.compile(r"(.*)\[(\d{1,18})\]", re.DOTALL)
_INDEX = re.compile(r"\[(\d{1,18})\]")
_KINDS = {"list": "list"} | dict.fromkeys(("dict", "OrderedDict", "defaultdict", "Counter"), "dict")
OPENERS = (".", "[", "{")
"""What a path goes on with."""
OPENED = frozenset({"[…]", "{…}", "…"})
"""The texts of containers of which something below was written since."""


class Held:
    """What a place holds."""

    __slots__ = ("doubt", "last", "sites", "tick", "value", "writes")

    def __init__(self, value: Any, tick: int) -> None:
        self.value = value
        """None, a bool, int, float, str, bytes or Shown; :data:`ABSENT` after a deletion."""
        self.last: Event | None = None
        """The event that wrote it last; None: none has so far, and its value is what a later event found there."""
        self.writes = 0
        self.sites: frozenset[int] = frozenset()
        self.tick = tick
        self.doubt = ""
        """Why it may hold something else; empty: it doesn't."""


class Placed:
    """The places of an object. ``shown``: what the object is, in words."""

    def __init__(self, shown: str) -> None:
        self.places: dict[str, Held] = {}
        self.unnamed = 0
        """Number of events whose place isn't known."""
        self._renumbered: set[str] = set()
        """Up to the moment: containers of which items that were written got other numbers."""
        self._root = shown
        self._inner: Counter[str] = Counter()
        """How many places lie below a path."""
        self._tops: dict[str, int] = {}
        """The largest index of an item below a path; at least."""
        self._over: set[str] = set()
        """After the moment: places that were written."""
        self._opened: set[str] = set()
        """After the moment: paths below which something was."""
        self._moved: set[str] = set()
        """After the moment: containers whose items moved."""

    def write(self, event: Event, tick: int, site: int | None, sites: Sites) -> None:
        """Applies an event. ``site``: number of the place in the source that it came from; None: it isn't counted."""
        part = event.part
        if part is None or part.name == UNNAMED:
            self.unnamed += 1
            return
        name, item = part.name, self._item(event)
        moves = item is not None and item[2] != "dict"
        if event.operation == "move" and self._inner[name] and self._kind(name) != "dict":
            self._renumbered.add(name)
        if not moves or event.operation == "delete":
            self._drop_below(name)
        for above in prefixes(name):
            if (held := self.places.get(above)) is not None:
                held.value = _opened(held.value)
        if moves and item is not None:
            container, index, kind = item
            self._move(container, index, 1 if event.operation == "add" else -1, kind)
            held = self.places.get(container)
            shown = Shown("[…]" if kind == "list" else "…") if held is None else held.value
            self._set(container, shown, event, tick, site, sites)
            if event.operation == "delete":
                return
        self._set(name, part.new, event, tick, site, sites)

    def find(self, event: Event, tick: int) -> None:
        """Takes an event after the moment: what it found in a place of which nothing is known was there at the moment
        already, if nothing moved since. ``tick``: when the moment was."""
        part = event.part
        if part is None or part.name == UNNAMED:
            return
        name, held, item = part.name, self.places.get(part.name), self._item(event)
        moves = item is not None and item[2] != "dict"
        above = [*prefixes(name)]
        if name not in self._over and not any(path in self._over or path in self._moved for path in above):
            if held is None and not (part.old is ABSENT and moves):  # another item of the list may have been there
                held = self._add(name, _opened(part.old) if name in self._opened else part.old, tick)
            if held is not None and event.origin == "found":
                held.doubt = "it changed unseen, perhaps before"
        self._over.add(name)
        self._opened.update(above)
        if event.operation == "move":
            self._moved.add(name)
        elif moves and item is not None:
            self._moved.add(item[0])

    def below(self, part: str) -> list[str]:
        """The paths at one and below it, or those that a pattern (``.*.age``) matches, in order of their first
        event."""
        return [*filter(covers(part), self.places)]

    def renumbers(self, part: str) -> bool:
        """Whether a path leads through the index of a list whose items had other indices before."""
        return any(part[: found.start()] in self._renumbered for found in _INDEX.finditer(part))

    def _set(self, name: str, value: Any, event: Event, tick: int, site: int | None, sites: Sites) -> None:
        held = self.places.get(name)
        if held is None:
            held = self._add(name, value, tick)
        held.value, held.last, held.tick, held.doubt = value, event, tick, ""
        if site is not None:
            held.writes += 1
            held.sites = sites.with_one(held.sites, site)

    def _add(self, name: str, value: Any, tick: int) -> Held:
        held = self.places[name] = Held(value, tick)
        paths = [*prefixes(name)]
        self._inner.update(paths)
        for path in [*paths, name]:
            if (item := _ITEM.fullmatch(path)) is not None:
                self._tops[item[1]] = max(self._tops.get(item[1], 0), int(item[2]))
        return held

    def _item(self, event: Event) -> tuple[str, int, str] | None:
        """(container, index, what the container is) of an item that was added or deleted."""
        if event.operation not in ("add", "delete") or event.part is None:
            return None
        found = _ITEM.fullmatch(event.part.name)
        return (found[1], int(found[2]), self._kind(found[1])) if found is not None else None

    def _kind(self, container: str) -> str:
        """``list``, ``dict``, or empty if it isn't known which of them."""
        if not container and self._root in _KINDS:
            return _KINDS[self._root]
        held = self.places.get(container)
        text = held.value.text if held is not None and isinstance(held.value, Shown) else ""
        return {"[": "list", "{": "dict"}.get(text[:1], "")

    def _move(self, container: str, index: int, by: int, kind: str) -> None:
        """An item of a list, or of what may be one, came or went: those behind it have other numbers now."""
        if self._tops.get(container, -1) < index:
            return
        places, self.places = self.places, {}
        self._inner.clear()
        self._tops.clear()
        for name, held in places.items():
            found = _INDEX.match(name, len(container)) if name.startswith(container) else None
            number = int(found[1]) if found is not None else -1
            if found is not None and number >= index:
                if by > 0 or number > index:
                    self._renumbered.add(container)
                if kind != "list" or (by < 0 and number == index):
                    continue
                name = f"{container}[{number + by}]{name[found.end() :]}"
            self._add(name, None, 0)
            self.places[name] = held

    def _drop_below(self, name: str) -> None:
        if self._inner[name]:
            for other in [other for other in self.places if is_below(other, name)]:
                del self.places[other]
                self._inner.subtract(prefixes(other))


def covers(part: str) -> Callable[[str], bool]:
    """Whether a path is at another one or below it, or is matched by a pattern (``.*.age``)."""
    if not part:
        return lambda name: True
    match = re.compile(translate(part.replace("[", "[[]"))).match if "*" in part or "?" in part else None
    return lambda name: name == part or is_below(name, part) or (match is not None and match(name) is not None)


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
