"""The events of a value over time; those that follow each other from one place in the source as one run."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..printed import clean
from ..records import Event
from .blamed import by_event, by_place
from .calls import call_of, in_call
from .parts import UNKNOWN, Unit
from .placed import covers, is_below
from .states import Value
from .trails import Trail


@dataclass(slots=True)
class Run:
    """Events that follow each other in one variable and have one author."""

    value: Value
    first: Event
    last: Event
    part: str
    """What they wrote to."""
    old: Any
    """Before the first one."""
    new: Any
    """After the last one."""
    tick: int
    """When, in records, the first one was."""
    count: int = 1
    others: int = 0
    """How many of them wrote to another part than the first one did."""


class Runs:
    """Folds the events of one variable, or of a part of it. ``each``: every event is a run. ``trail``: what the part
    was called when; empty: always the same."""

    def __init__(self, value: Value, part: str, each: bool, trail: Trail | None = None) -> None:
        self._value, self._part, self._covers = value, part, covers(part)
        self._trail = deque(trail or ())
        self._is_there = True
        self._key = by_event if each else by_place
        self._unit: Unit | None = None
        self._run: Run | None = None
        self._old: Any = UNKNOWN
        self._first: str | None = None
        self._one = True

    def before(self, event: Event) -> bool:
        """Call before an event is applied to the value. Returns whether it touches what is asked for."""
        value = self._value
        if value.placed is not None:
            part = event.part
            while self._trail and event.seq >= self._trail[0][0]:
                _, name = self._trail.popleft()
                self._part, self._is_there, self._covers = name or "", name is not None, covers(name or "")
            return (
                self._is_there
                and part is not None
                and (
                    self._covers(in_call(event) or part.name)
                    or self._covers(part.name)
                    or is_below(self._part, part.name)
                    or is_below(self._part, clean(part.name))
                )
            )  # or it lay below
        if not self._part:
            return True
        if value.parts is None or value.memory is None:
            return False
        unit = self._unit
        if unit is None:
            unit = self._unit = value.parts.locate(self._part, value.memory)
        if unit is None or not (event.offset < unit.stop and unit.start < event.offset + len(event.after)):
            return False
        self._old = self._now(unit)
        return True

    def after(self, event: Event, tick: int) -> Run | None:
        """Takes an event that touches what is asked for, after it was applied. Returns the run that it ended."""
        part, old, new = self._change(event)
        run = self._run
        self._one = self._one and part == (self._first if self._first is not None else part)
        self._first = part
        if run is not None and call_of(run.last) == call_of(event) and self._key(run.last) == self._key(event):
            run.count += 1
            run.last, run.new = event, new
            run.others += part != run.part
            return None
        self._run = Run(self._value, event, event, part, old, new, tick)
        return run

    def end(self) -> Iterator[Run]:
        """The last run."""
        if self._run is not None:
            yield self._run
            self._run = None

    def began(self) -> int | None:
        """When the run began that hasn't ended yet."""
        return None if self._run is None else self._run.tick

    def is_of_one_part(self) -> bool:
        """Whether all events so far wrote to the same part."""
        return self._one

    def number(self) -> float | None:
        """The value after the last event, if it is a number."""
        new = None if self._run is None else self._run.new
        return float(new) if isinstance(new, int | float) and type(new) is not bool and abs(new) < 1e300 else None

    def _change(self, event: Event) -> tuple[str, Any, Any]:
        unit, part = self._unit, event.part
        if unit is not None:
            return unit.name, self._old, self._now(unit)
        if part is not None and (event.operation is not None or part.old is not None or part.new is not None):
            return part.name, part.old, part.new
        return "", event.old, event.new

    def _now(self, unit: Unit) -> Any:
        value = self._value
        if value.parts is None or value.memory is None:
            return UNKNOWN
        return value.parts.value(unit, value.memory)
