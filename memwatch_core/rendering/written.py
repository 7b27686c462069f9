"""Collects the writes under each SQL statement until its outcome is known."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import msgspec

from ..journal.layout import held
from ..records import Event, Outcome, Part

MOST = 10_000
"""Limit of statements, and of variables written under each, that are remembered; the oldest are dropped."""
LARGE = 1024
"""Larger values, in bytes or items, aren't remembered: only the range that was written."""


def is_large(value: object) -> bool:
    """Whether a value takes so much memory that only a few such values may be kept."""
    return isinstance(value, bytes | bytearray | str | list | tuple | dict) and len(value) > LARGE


def is_heavy(event: Event) -> bool:
    """Whether an event has a large value."""
    part = event.part
    return (
        is_large(event.new) or is_large(event.old) or (part is not None and (is_large(part.new) or is_large(part.old)))
    )


def lightened(event: Event) -> Event:
    """The event without its values, but with those of a small part."""
    part = event.part
    if part is not None and (is_large(part.new) or is_large(part.old)):
        part = Part(part.name, None, None)
    return msgspec.structs.replace(event, old=None, new=None, part=part)


@dataclass(slots=True)
class Writes:
    """The writes to one variable."""

    first: Event
    last: Event
    count: int

    def net(self) -> Event:
        """The last write, as if it had been the only one."""
        first, last = self.first, self.last
        if last.operation is not None and first.part is not None and last.part is not None:
            net = Part(last.part.name, first.part.old, last.part.new)
            return msgspec.structs.replace(last, changed=held(first.before) != held(last.after), part=net)
        same = (first.offset, len(first.before)) == (last.offset, len(last.before))
        before = first.before if same else last.before
        changed = first.old != last.new or (first.old is None and before != last.after)
        part = last.part
        if part is not None and first.part is not None and first.part.name == part.name:
            part = Part(part.name, first.part.old, part.new)
        elif first.old is not None and last.new is not None:
            part = None  # the values show the whole change
        return msgspec.structs.replace(last, old=first.old, before=before, changed=changed, part=part)

    def join(self, other: Writes) -> Writes:
        """The writes of both."""
        first, last = min(self.first, other.first, key=_seq), max(self.last, other.last, key=_seq)
        return Writes(first, last, self.count + other.count)


@dataclass(slots=True)
class Written:
    """The writes under statements that had the same outcome."""

    variables: dict[tuple[int, str | None], Writes] = field(default_factory=dict)
    """By variable (id, path or place), in order of the first write."""
    statements: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Number of times that each (driver, text) ran."""


class WrittenUnder:
    """Collects events, and returns them, combined, when their statements' outcome comes. Not thread-safe."""

    def __init__(self) -> None:
        self._statements: dict[tuple[int, str, int], Written] = {}
        self._kept = 0

    def add(self, event: Event, count: int = 1) -> None:
        """Adds an event that has a context, or one that stands for several."""
        context = event.context
        assert context is not None
        while self._kept >= MOST:
            self._forget(next(iter(self._statements)))
        written = self._statements.get((event.pid, event.journal, context.id))
        if written is None:
            written = self._statements[event.pid, event.journal, context.id] = Written()
            written.statements[context.driver, context.statement] = 1
        if is_heavy(event):
            event = lightened(event)
        key = event.variable_id, event.part.name if event.operation and event.part else event.path
        writes = written.variables.get(key)
        if writes is None:
            written.variables[key] = Writes(event, event, count)
            self._kept += 1
        else:
            writes.last = event
            writes.count += count

    def _forget(self, key: tuple[int, str, int]) -> Written | None:
        written = self._statements.pop(key, None)
        self._kept -= len(written.variables) if written is not None else 0
        return written

    def take(self, outcome: Outcome) -> Written:
        """Removes and returns the writes under the statements of this record, as far as remembered."""
        whole = Written()
        for ident in outcome.contexts:
            part = self._forget((outcome.pid, outcome.journal, ident))
            if part is None:
                continue
            whole.statements += part.statements
            for key, writes in part.variables.items():
                known = whole.variables.get(key)
                whole.variables[key] = writes if known is None else known.join(writes)
        return whole


def _seq(event: Event) -> int:
    return event.seq
