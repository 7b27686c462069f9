"""Who wrote each part of a value last: rows of ``memwatch blame``, ``at`` and ``diff``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from ..errors import SessionError
from ..records import ABSENT, Event
from ..rendering.subscripts import opened
from .memory import Mark, Memory, Stretch
from .parts import UNKNOWN, Parts, Unit
from .placed import prefixes
from .states import Value, site_key

Key = Callable[[Event], object]
"""What an event's author is; parts of one author that lie side by side make one row."""


class Row:
    """A part of a value at a moment. What it is called and holds is made out when it is asked for: of a million of
    rows, a few are shown."""

    __slots__ = ("_part", "_source", "_unit", "_value", "doubt", "last", "sites", "start", "stop", "unseen", "writes")

    def __init__(
        self,
        part: str,
        value: Any,
        last: Event | None,
        writes: int,
        sites: frozenset[int],
        doubt: str = "",
        unseen: bool = False,
        start: int = 0,
        stop: int = 0,
        source: tuple[Parts, Memory] | None = None,
        unit: Unit | None = None,
    ) -> None:
        self._part, self._value, self._source, self._unit = part, value, source, unit
        self.last = last
        """The event that wrote it last; None: none has, or it changed unseen."""
        self.writes = writes
        """How many counted events wrote to it; of several bytes, to the one that was written to most often."""
        self.sites = sites
        """Numbers of the places in the source that these came from."""
        self.doubt = doubt
        """Why it may have changed unseen."""
        self.unseen = unseen
        """It did: it isn't what the last event that wrote it left."""
        self.start, self.stop = start, stop
        """Its bytes are [start, stop), of a value that lies in bytes."""

    @property
    def part(self) -> str:
        """What stands behind the variable's name: ``.qty``, ``[0:16]``, ``["port"]``; empty: all of it."""
        return self._part if self._source is None else self._found(self._source).name

    @property
    def value(self) -> Any:
        """:data:`UNKNOWN` if not all of it is known, ABSENT if it was deleted; None if it can't be decoded, or is
        large."""
        return (
            self._value if self._source is None else self._source[0].value(self._found(self._source), self._source[1])
        )

    def take(self, other: Row, unit: Unit | None = None) -> None:
        """Takes the elements behind it in. ``unit``: what they are together, if that is known."""
        self._unit = unit
        if self.last is None or (other.last is not None and other.last.seq >= self.last.seq):
            self.last = other.last
        self.writes, self.stop = max(self.writes, other.writes), other.stop
        if other.sites is not self.sites:
            self.sites |= other.sites

    def _found(self, source: tuple[Parts, Memory]) -> Unit:
        if self._unit is None:
            self._unit = source[0].between(source[1], self.start, self.stop)
        return self._unit


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
            raise SessionError(_apart(value, part) or f"{value.name} has no part {part!r}{_example(parts, memory)}")
        if unit.stop <= start or parts.is_whole:
            yield _of(value, parts, memory, unit)
            return
        start, stop = unit.start, unit.stop if stop is None else min(unit.stop, stop)
        if start >= stop:
            raise SessionError(f"{value.name} has no part {part!r} at that moment: it ends before")
        if parts.is_cut:
            yield from _cut(value, parts, memory, start, stop, key, unit)
            return
        if "." in part.partition("[")[0]:
            yield _of(value, parts, memory, unit)
            return
    elif start:
        yield _of(value, parts, memory, parts.between(memory, 0, 1))
    if stop is None:  # where it ends isn't known: only what was written is
        size = 0 if value.variable is None else value.variable.size
        yield from (row for row in _joined(value, parts, memory, start, size, key) if row.last is not None)
        return
    yield from _joined(value, parts, memory, start, stop, key)


def _apart(value: Value, part: str) -> str:
    """What to ask instead of elements of an array that don't lie side by side; empty: it isn't that."""
    shape = None if value.variable is None else value.variable.options.get("shape")
    asked = opened(part)
    if (
        asked is None
        or part.rpartition("[")[0]
        or not part.endswith("]")
        or not isinstance(shape, list)
        or len(asked[1]) > len(shape)
    ):
        return ""
    if not all(first < last and first < n for (first, last, _), n in zip(asked[1], shape, strict=False)):
        return ""
    return (
        f"{value.name}{part} are elements that don't lie side by side: ask for one of them, or for {value.name}; "
        f"memwatch log --variable '{value.name}{part}' has what was written to them"
    )


def _example(parts: Parts, memory: Memory) -> str:
    """``; its parts are .qty, .price``."""
    if parts.is_whole:
        return "; it has none"
    units = parts.units(memory, parts.start(), parts.stop(memory) or 0)
    names = [unit.name for unit, _ in islice(units, 9)]
    return f"; its parts are {', '.join(names[:8])}{', …' if names[8:] else ''}" if names else "; it is empty"


def _joined(value: Value, parts: Parts, memory: Memory, start: int, stop: int, key: Key) -> Iterator[Row]:
    """Elements of one author side by side as one row."""
    if parts.is_cut:
        yield from _cut(value, parts, memory, start, stop, key)
        return
    held: tuple[Row, object, bool] | None = None
    for row, is_item in _elements(value, parts, memory, start, stop):
        author = None if row.last is None else key(row.last)
        if held is not None:
            before, its_author, was_item = held
            if (
                (is_item and was_item and author == its_author and before.stop == row.start)
                and (before.doubt, before.unseen) == (row.doubt, row.unseen)
            ):  # fmt: skip
                before.take(row)
                continue
            yield before
        held = row, author, is_item
    if held is not None:
        yield held[0]


Says = tuple[object, str, bool]
"""Author, why it may have changed unseen, and whether it has."""


def _cut(
    value: Value, parts: Parts, memory: Memory, start: int, stop: int, key: Key, asked: Unit | None = None
) -> Iterator[Row]:
    """Bytes side by side of which the same is to be said, as the largest parts that lie within them."""
    row: Row | None
    for first, last, says in _runs(value, parts, memory, start, stop, key):
        units = [asked] if asked is not None and (first, last) == (start, stop) else parts.cut(first, last)
        for unit in units:
            row = None
            for stretch in memory.stretches(max(first, unit.start), min(last, unit.stop)):
                if _says(value, stretch, key) != says:  # of bytes between fields, which mean nothing
                    continue
                each = _row(value, (parts, memory), unit.start, unit.stop, (stretch.mark,), unit)
                if row is None:
                    row = each
                else:
                    row.take(each, unit)
            if row is not None:
                yield row


def _runs(
    value: Value, parts: Parts, memory: Memory, start: int, stop: int, key: Key
) -> Iterator[tuple[int, int, Says]]:
    """Bytes [first, last) of which the same is to be said; and those that mean nothing, before them and behind them."""
    first, last = start, start
    held: Says | None = None
    for stretch in memory.stretches(start, stop):
        says = _says(value, stretch, key)
        if says != held:
            if next(parts.cut(stretch.start, stretch.stop), None) is None:
                continue
            if held is not None:
                yield first, stretch.start, held
                first = last
            held = says
        last = stretch.stop
    if held is not None:
        yield first, stop, held


def _says(value: Value, stretch: Stretch, key: Key) -> Says:
    mark = stretch.mark
    doubt = value.doubt_of(mark.tick) or _outside(value, stretch.start, stretch.stop)
    return None if mark.last is None else key(mark.last), doubt, mark.unseen


def _elements(value: Value, parts: Parts, memory: Memory, start: int, stop: int) -> Iterator[tuple[Row, bool]]:
    """Each part that was written apart, and whether it is an element, and not a field."""
    source = parts, memory
    if parts.is_bytes:
        for first, last, mark in memory.stretches(start, stop):
            yield _row(value, source, first, last, (mark,)), True
        return
    for unit, marks in parts.units(memory, start, stop):
        yield _row(value, source, unit.start, unit.stop, marks, unit), unit.name.startswith("[")


def _of(value: Value, parts: Parts, memory: Memory, unit: Unit) -> Row:
    marks = [stretch.mark for stretch in memory.stretches(unit.start, unit.stop)]
    return _row(value, (parts, memory), unit.start, unit.stop, marks, unit)


def _row(
    value: Value,
    source: tuple[Parts, Memory],
    start: int,
    stop: int,
    marks: Sequence[Mark],
    unit: Unit | None = None,
) -> Row:
    newest = oldest = marks[0]
    writes, sites, unseen = newest.writes, newest.sites, newest.unseen
    if len(marks) > 1:
        newest, oldest = max(marks, key=_tick), min(marks, key=_tick)
        writes, sites = max(mark.writes for mark in marks), frozenset().union(*(mark.sites for mark in marks))
        unseen = any(mark.unseen for mark in marks)
    doubt = value.doubt_of(oldest.tick) or _outside(value, start, stop)
    return Row("", None, newest.last, writes, sites, doubt, unseen, start, stop, source, unit)


def _tick(mark: Mark) -> int:
    return mark.tick


def doubts(value: Value, part: str = "") -> Iterator[str]:
    """Why some of what :func:`rows` tells may have changed unseen, each reason once."""
    limited = value.variable is not None and value.variable.depth is not None
    if value.doubt or limited or value.placed is not None or value.parts is None:
        yield from dict.fromkeys(row.doubt for row in rows(value, part) if row.doubt)


def _outside(value: Value, start: int, stop: int) -> str:
    depth = None if value.variable is None else value.variable.depth
    if depth is None or (depth[0] <= start and stop <= depth[1]):
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
