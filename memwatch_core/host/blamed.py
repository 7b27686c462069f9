"""Who wrote each part of a value last: rows of ``memwatch blame``, ``at`` and ``diff``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..errors import SessionError
from ..records import ABSENT, Event
from .memory import Memory
from .parts import UNKNOWN, Parts, Unit
from .placed import prefixes
from .states import Value, site_key

Key = Callable[[Event], object]
"""What an event's author is; parts of one author that lie side by side make one row."""


@dataclass(frozen=True, slots=True)
class Row:
    """A part of a value at a moment."""

    part: str
    """What stands behind the variable's name: ``.qty``, ``[0:16]``, ``["port"]``; empty: all of it."""
    value: Any
    """:data:`UNKNOWN` if not all of it is known, ABSENT if it was deleted; None if it can't be decoded, or is large."""
    last: Event | None
    """The event that wrote it last; None: none has, or it changed unseen."""
    writes: int
    """How many counted events wrote to it; of several bytes, to the one that was written to most often."""
    sites: frozenset[int]
    """Numbers of the places in the source that these came from."""
    doubt: str = ""
    """Why it may have changed unseen."""
    unseen: bool = False
    """It did: it isn't what the last event that wrote it left."""
    start: int = 0
    stop: int = 0
    """Its bytes are [start, stop), of a value that lies in bytes."""


def by_event(event: Event) -> object:
    """Each event is an author of its own."""
    return event.journal, event.seq


def by_place(event: Event) -> object:
    """Who wrote from the same line, in the same thread, under the same statement with the same end, for the same
    request, is one author."""
    context = event.context
    statement = None if context is None else (context.driver, context.statement, context.outcome)
    return site_key(event), event.tid, event.thread, statement, event.request


def rows(value: Value, part: str = "", key: Key = by_place) -> Iterator[Row]:
    """The rows of a value, or of a part of it. Raises SessionError if it has no such part."""
    if value.placed is not None:
        yield from _placed_rows(value, part)
        return
    memory, parts = value.memory, value.parts
    if memory is None or parts is None:
        yield Row("", UNKNOWN, None, value.writes, frozenset(), "the record that describes it can't be read")
        return
    start, stop = parts.start(), parts.stop(memory)
    if part:
        unit = parts.locate(part, memory)
        if unit is None:
            raise SessionError(f"{value.name} has no part {part!r}{_example(parts, memory)}")
        if unit.stop <= start or parts.is_whole:
            yield _row(value, parts, memory, unit)
            return
        start, stop = unit.start, unit.stop if stop is None else min(unit.stop, stop)
        if start >= stop:
            raise SessionError(f"{value.name} has no part {part!r} at that moment: it ends before")
        if "." in part.partition("[")[0]:
            yield _row(value, parts, memory, unit)
            return
    elif start:
        yield _row(value, parts, memory, parts.between(memory, 0, 1))
    if stop is None:  # where it ends isn't known: only what was written is
        size = 0 if value.variable is None else value.variable.size
        yield from (row for row in _joined(value, parts, memory, start, size, key) if row.last is not None)
        return
    yield from _joined(value, parts, memory, start, stop, key)


def _example(parts: Parts, memory: Memory) -> str:
    """``; its parts are .qty, .price``."""
    if parts.is_whole:
        return "; it has none"
    names = []
    for unit in parts.units(memory, parts.start(), parts.stop(memory) or 0):
        names.append(unit.name)
        if len(names) == 9:
            break
    return f"; its parts are {', '.join(names[:8])}{', …' if names[8:] else ''}" if names else "; it is empty"


def _joined(value: Value, parts: Parts, memory: Memory, start: int, stop: int, key: Key) -> Iterator[Row]:
    """Elements of one author side by side as one row."""
    held: Row | None = None
    for unit in parts.units(memory, start, stop):
        row = _row(value, parts, memory, unit, wanted=False)
        if held is not None and _same_author(held, row, key):
            last = row.last if held.last is None or (row.last and row.last.seq >= held.last.seq) else held.last
            held = replace(
                held, last=last, writes=max(held.writes, row.writes), sites=held.sites | row.sites, stop=row.stop
            )
            continue
        if held is not None:
            yield _filled(held, parts, memory)
        held = row
    if held is not None:
        yield _filled(held, parts, memory)


def _same_author(one: Row, other: Row, key: Key) -> bool:
    if not (
        one.part.startswith("[")
        and other.part.startswith("[")
        and (one.doubt, one.unseen) == (other.doubt, other.unseen)
    ):
        return False
    if one.last is None or other.last is None:
        return one.last is other.last and one.stop == other.start
    return one.stop == other.start and key(one.last) == key(other.last)


def _filled(row: Row, parts: Parts, memory: Memory) -> Row:
    unit = parts.between(memory, row.start, row.stop)
    return replace(row, part=unit.name, value=parts.value(unit, memory))


def _row(value: Value, parts: Parts, memory: Memory, unit: Unit, *, wanted: bool = True) -> Row:
    marks = [stretch.mark for stretch in memory.stretches(unit.start, unit.stop)]
    newest = max(marks, key=lambda mark: mark.tick)
    doubt = value.doubt_of(min(mark.tick for mark in marks)) or _outside(value, unit)
    found = parts.value(unit, memory) if wanted else None
    sites = frozenset().union(*(mark.sites for mark in marks)) if len(marks) > 1 else newest.sites
    unseen = any(mark.unseen for mark in marks)
    writes = max(mark.writes for mark in marks)
    return Row(unit.name, found, newest.last, writes, sites, doubt, unseen, unit.start, unit.stop)


def _outside(value: Value, unit: Unit) -> str:
    depth = None if value.variable is None else value.variable.depth
    if depth is None or (depth[0] <= unit.start and unit.stop <= depth[1]):
        return ""
    return "it lies outside of the watch's mutation_depth"


def _placed_rows(value: Value, part: str) -> Iterator[Row]:
    placed = value.placed
    assert placed is not None
    names = placed.below(part)
    if not names:  # whoever wrote what it lay below
        above = [name for name in prefixes(part) if name in placed.places and placed.places[name].last is not None]
        names = above[-1:]
    for name in names:
        held = placed.places[name]
        doubt = held.doubt or value.doubt_of(held.tick)
        yield Row(name, held.value, held.last, held.writes, held.sites, doubt)


def is_there(row: Row) -> bool:
    """Whether a row is of something that is there: no deleted place."""
    return row.value is not ABSENT
