"""Updates that got lost: two threads that added to a number, and both from the same old value.

A journal has stores, no reads and no locks. So this tells one pattern, which a line that counts by itself has as well:

* A line *adds d* to a number if, whenever it stored right after a store of the same thread, the new value was the old
  one plus the same d, for at least two different old values; and each of its other stores is explained by d as well.
* Such a line *lost an update* if thread B stored there ``u + d``, the number was ``u`` before another thread's store,
  that came after B's own last store to it, and it isn't ``u`` any more: B had read ``u`` before the other one wrote.

A line that stores numbers of its own that count up (``progress = i``) looks the same where others store there too.
It is told from the other kind (``reads``) by a store that only one who reads makes: right after another thread's, the
old value plus d, which isn't the thread's own last one plus d.

The stores of the others between ``u`` and B's are the ones that were lost.

Of a secret only whether values are equal is known. There the line *makes v of u* if it did so whenever that was seen,
never v of anything else, and for at least two values; and it lost an update if B stored what the line makes of ``u``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

from ..host.secrets import is_secret
from ..records import Event
from .calls import in_call
from .states import site_key

CALLS = 1000
"""Limit of names of functions, each in its call, that are followed at a time. A call is over soon."""
WINDOW = 64
"""How many stores to a place are looked back at."""
PLACES = 10_000
"""Limit of places that are followed."""
PENDING = 256
"""Limit of stores that wait for what their line does otherwise."""
MADE = 4096
"""How many values of a secret, and what a line makes of each, are remembered."""


@dataclass(slots=True)
class LostUpdate:
    """Of one line and one place: how often it wrote over updates of other threads."""

    part: str
    step: Any
    """What the line adds; None of a secret."""
    count: int
    event: Event
    """The last such store."""
    over: Event
    """The first store that it wrote over, by another thread."""
    base: Any
    """The value from which both began."""
    reads: bool
    """The line was seen to add to what another thread had stored; otherwise it may count by itself."""


@dataclass(slots=True)
class _Line:
    """What one line does to one place."""

    step: Any = None
    olds: set[Any] = field(default_factory=set)
    """Two of the values that it added to."""
    broken: bool = False
    reads: bool = False
    made: dict[Any, Any] = field(default_factory=dict)
    """Of a secret: what it makes of values."""
    source: dict[Any, Any] = field(default_factory=dict)
    """The inverse of that."""
    pending: list[tuple[Event, Any, list[tuple[Any, Event]]]] = field(default_factory=list)
    lost: LostUpdate | None = None


class _Place:
    __slots__ = ("lines", "window")

    def __init__(self) -> None:
        self.window: deque[tuple[int, Any, Event]] = deque(maxlen=WINDOW)
        """(thread, value before, event) of the last stores."""
        self.lines: dict[tuple[str, int, str], _Line] = {}


class LostUpdates:
    """Looks for lost updates in the events of variables. Feed it each event in the order of its journal."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, int], dict[str, _Place]] = {}
        self._names: dict[tuple[str, int, str], _Place] = {}
        """Names of functions, each in its call."""
        self._count = 0
        self.complete = True
        """Whether all places were followed."""

    @property
    def followed(self) -> int:
        """How many places are."""
        return self._count

    def add(self, event: Event) -> None:
        """Takes an event."""
        places = self._places.setdefault((event.journal, event.variable_id), {})
        part, old, new = "", event.old, event.new
        if event.part is not None:
            part, old, new = event.part.name, event.part.old, event.part.new
        known = (is_number(old) and is_number(new)) or (is_secret(old) and is_secret(new))
        sure = event.exact and event.tid and known
        if (path := in_call(event)) is not None:
            self._add_in_call(event, path, (old, new) if sure else None)
            return
        if not sure:
            for each in places.values():  # it may have touched any of them
                each.window.clear()
            return
        place = places.get(part)
        if place is None:
            if self._count >= PLACES:
                self.complete = False
                return
            self._count += 1
            place = places[part] = _Place()
        self._store(place, part, event, old, new)

    def _add_in_call(self, event: Event, path: str, values: tuple[Any, Any] | None) -> None:
        """Takes one of a name of a function: other calls, and other names, are no business of it."""
        key = event.journal, event.variable_id, path
        if values is None:
            if key in self._names:
                self._end(key)
            return
        place = self._names.get(key)
        if place is None:
            place = self._names[key] = _Place()
            if len(self._names) > CALLS:
                self._end(next(iter(self._names)))
        self._store(place, path, event, *values)

    def _end(self, key: tuple[str, int, str]) -> None:
        place = self._names.pop(key)
        if any(line.lost is not None for line in place.lines.values()):
            self._places.setdefault(key[:2], {})[key[2]] = place

    def _store(self, place: _Place, part: str, event: Event, old: Any, new: Any) -> None:
        line = place.lines.get(key := site_key(event))
        if line is None:
            line = place.lines[key] = _Line()
        others: list[tuple[Any, Event]] = []
        for tid, before, other in reversed(place.window):
            if tid == event.tid:
                break
            others.append((before, other))
        if place.window and not line.broken:
            if is_secret(old):
                self._store_secret(line, part, event, (old, new), others)
            elif not others:
                self._see(line, old, new - old, part)
            else:
                self._judge(line, part, event, (old, new), others)
        place.window.append((event.tid, old, event))

    def _see(self, line: _Line, old: Any, step: Any, part: str) -> None:
        """The same thread stored before: what the line does."""
        if line.step is None:
            line.step = step
        line.broken = line.broken or step != line.step or not step
        if len(line.olds) < 2:
            line.olds.add(old)
            if len(line.olds) == 2:
                pending, line.pending = line.pending, []
                for event, values, others in pending:
                    self._judge(line, part, event, values, others)

    def _judge(
        self, line: _Line, part: str, event: Event, values: tuple[Any, Any], others: list[tuple[Any, Event]]
    ) -> None:
        """Other threads stored since this thread's last store."""
        old, new = values
        if len(line.olds) < 2:
            line.pending.append((event, values, others))
            line.broken = line.broken or len(line.pending) > PENDING
            return
        if new - old == line.step:
            line.reads = line.reads or (len(others) < WINDOW and old != others[-1][0])  # what this thread had left
            return
        base = new - line.step
        found = next((other for before, other in others if before == base), None)
        if found is None:
            line.broken = line.broken or len(others) < WINDOW  # it does something else
            return
        count = 1 if line.lost is None else line.lost.count + 1
        line.lost = LostUpdate(part, line.step, count, event, found, base, line.reads)

    def _store_secret(
        self, line: _Line, part: str, event: Event, values: tuple[Any, Any], others: list[tuple[Any, Event]]
    ) -> None:
        old, new = values
        if line.made.get(old) == new:
            line.reads = line.reads or (0 < len(others) < WINDOW and old != others[-1][0])
            return
        if not others:
            line.broken = old in line.made or new in line.source
            line.made[old], line.source[new] = new, old
            while len(line.made) > MADE:
                del line.source[line.made.pop(next(iter(line.made)))]
            if len(line.made) == 2:
                pending, line.pending = line.pending, []
                for one, both, them in pending:
                    self._store_secret(line, part, one, both, them)
            return
        if len(line.made) < 2:
            line.pending.append((event, values, others))
            line.broken = len(line.pending) > PENDING
            return
        place = site_key(event)
        found = next(
            (other for before, other in others if line.made.get(before) == new
             or (before != old and site_key(other) == place and _new(other) == new)), None,
        )  # fmt: skip
        if found is None:
            line.broken = old in line.made and len(others) < WINDOW
            return
        count = 1 if line.lost is None else line.lost.count + 1
        line.lost = LostUpdate(part, None, count, event, found, _old(found), line.reads)

    def found(self, journal: str, ident: int) -> list[LostUpdate]:
        """Those of a variable."""
        places = [*self._places.get((journal, ident), {}).values()]
        places += [place for key, place in self._names.items() if key[:2] == (journal, ident)]
        lines = [line for place in places for line in place.lines.values()]
        return [replace(line.lost, reads=line.reads) for line in lines if line.lost is not None and not line.broken]


def _old(event: Event) -> Any:
    return event.old if event.part is None else event.part.old


def _new(event: Event) -> Any:
    return event.new if event.part is None else event.part.new


def is_number(value: Any) -> bool:
    """Whether a value is one that can be added to."""
    return type(value) is int or (type(value) is float and value == value and abs(value) != float("inf"))
