"""What is different between a variable at one moment and at another, or in one session and in another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..host.variables import VALUE_LIMIT
from ..records import ABSENT, Event, Shown
from ..rendering.changes import value_text
from .blamed import Row, rows
from .calls import with_call
from .memory import PAGE, Memory
from .parts import LENGTH, UNKNOWN, Parts, Unit
from .placed import Inside, is_opened, prefixes
from .states import States, Value

BEGINNING = 16
"""Bytes of a large part that are shown."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A part that isn't what it was."""

    part: str
    old: Any
    """:data:`~memwatch_core.answers.parts.UNKNOWN` if it isn't known."""
    new: Any
    last: Event | None
    """Who wrote the new value."""
    writes: int
    """How many counted events wrote to it."""
    doubt: str
    start: int = 0
    stop: int = 0
    moved: bool = False
    """Items of it came, went or were put in another order."""


def differences(one: Value, other: Value, *, by_call: bool = False) -> Iterator[Difference]:
    """The parts of ``other`` that are different from those of ``one``. ``by_call``: of a function, what a call holds is
    compared with what the same call held; otherwise, what the last ones do."""
    if one.placed is not None and other.placed is not None:
        yield from _of_places(one, other, by_call=by_call)
    elif one.memory is not None and other.memory is not None and one.parts is not None and other.parts is not None:
        for row in rows(other):
            if (found := _of_bytes(row, one.parts, one.memory, other.parts, other.memory)) is not None:
                yield found


def calls_of(states: States) -> Callable[[str, int, str], bool]:
    """Whether a name in a call, ``#3.total``, is one that was written and is told; for :class:`.states.States`."""
    found = {
        (value.name, value.ident, with_call(path, held.last))
        for value in states.values.values()
        if value.placed is not None and value.placed.is_function
        for path, held in value.placed.places.items()
        if held.writes
    }
    return lambda name, ident, path: (name, ident, path) in found


def _of_places(one: Value, other: Value, *, by_call: bool) -> Iterator[Difference]:
    assert one.placed is not None
    assert other.placed is not None
    before, after = one.placed.places, other.placed.places
    inside = {name: held.inside for name, held in after.items() if held.inside}
    for name, held in after.items():
        old = before[name].value if name in before else UNKNOWN
        if by_call and other.placed.is_function:
            if not held.writes:
                continue
            then = before.get(with_call(name, held.last))
            old = then.value if then is not None else ABSENT if one.cut is None else UNKNOWN
        if (way := _way(name, inside)) != "replaced":
            if not held.writes:  # it only has another index
                continue
            old = held.old if way == "moved" else UNKNOWN
        moved = held.inside in ("moved", "mixed")
        if old != held.value or type(old) is not type(held.value) or moved:
            if old is UNKNOWN and (held.last is None or held.value is ABSENT):
                continue
            doubt = held.doubt or other.doubt_of(held.tick)
            yield Difference(name, old, held.value, held.last, held.writes, doubt, moved=moved)
    for name, held in before.items():
        if name in after or other.placed.is_function or held.value is ABSENT:
            continue
        above = next((after[above] for above in reversed([*prefixes(name)]) if above in after), None)
        if above is None or not (above.inside in ("moved", "mixed") or is_opened(above.value)):
            yield Difference(name, held.value, UNKNOWN, None, 0, "")


def _way(name: str, inside: Mapping[str, Inside]) -> Inside:
    """What is at a path now: ``moved``, what may have been at another one; ``mixed``, it isn't known what it was;
    ``replaced``, whatever is at this path is compared with what was there."""
    found: Inside = "replaced"
    for above in prefixes(name) if inside else ():
        way = inside.get(above, "")
        if found == "replaced" and way:
            if way == "replaced":
                break
            found = way
        elif way in ("mixed", "replaced"):
            found = "mixed"
    return found


def _of_bytes(row: Row, parts: Parts, memory: Memory, now: Parts, present: Memory) -> Difference | None:
    end, same = parts.stop(memory), memory.is_same(present, row.start, row.stop)
    if same and (row.part == LENGTH or end is None or end >= row.stop):
        return None
    if same is None and not row.writes:
        return None
    start, stop = row.start, row.stop
    if stop - start > VALUE_LIMIT and end is not None and end >= stop:
        start, stop = _narrowed(start, stop, memory, present)
    unit = now.between(present, start, stop)
    start, stop = unit.start, unit.stop
    known_to = stop if end is None or row.part == LENGTH else max(start, min(stop, end))
    old: Any = UNKNOWN
    if known_to == stop:
        old = _shown(unit, parts, memory)
    elif known_to <= start:
        old = ABSENT
    elif known_to - start <= VALUE_LIMIT and (data := memory.read(start, known_to)) is not None:
        old = data
    new = _shown(unit, now, present)
    return Difference(unit.name, old, new, row.last, row.writes, row.doubt, start, stop)


def _narrowed(start: int, stop: int, one: Memory, other: Memory) -> tuple[int, int]:
    """The bytes from the first to the last one that isn't the same."""
    chunks = [at for at in range(start, stop, PAGE) if one.is_same(other, at, min(stop, at + PAGE)) is not True]
    if not chunks:
        return start, stop
    begin, end = chunks[0], min(stop, chunks[-1] + PAGE)

    def differs(at: int) -> bool:
        return one.is_same(other, at, at + 1) is not True

    return next(filter(differs, range(begin, end)), begin), next(filter(differs, range(end - 1, begin, -1)), begin) + 1


def _shown(unit: Unit, parts: Parts, memory: Memory) -> Any:
    """The value of a part; of a large one, how it begins."""
    size = unit.stop - unit.start
    if size <= VALUE_LIMIT:
        return parts.value(unit, memory)
    first = parts.value(parts.between(memory, unit.start, min(unit.stop, unit.start + BEGINNING)), memory)
    if first is UNKNOWN or first is None:
        return first
    text = value_text(first, BEGINNING)
    return Shown(f"{text[:-1]}…{text[-1:]} ({size:,} bytes)" if text[-1:] in "]'\")" else f"{text} … ({size:,} bytes)")
