"""Sums up a run in a few lines for people."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from operator import attrgetter

from ..printed import clean
from ..records import Event, Lost, Outcome, Record, Unwatched, Watched
from ..rendering.changes import change
from ..rendering.layout import both_ends
from ..rendering.text import short_path
from ..rendering.written import is_heavy, lightened

_variable = attrgetter("pid", "journal", "variable_id")
_Key = tuple[int, str, int]
"""Identifies a variable: process, journal (a process has two if it runs another program), id."""
_thread = attrgetter("pid", "tid")
_context = attrgetter("context")

MOST = 12
"""Limit of variables listed one by one."""
NAME = 40
"""Width of a name, in columns."""
ENDED = 10_000
"""Limit of ended watches that are kept; beyond it, only the ``MOST`` that were written most often."""
_WORD = 512
"""Numbers per bit set."""


class Numbers:
    """A set of (owner, number) that only grows. Takes about a bit for each of consecutive numbers."""

    def __init__(self) -> None:
        self._bits: dict[tuple[Hashable, int], int] = {}
        self._count = 0

    def update(self, numbers: Iterable[tuple[Hashable, int]]) -> None:
        """Adds all of them."""
        for owner, number in numbers:
            key, bit = (owner, number // _WORD), 1 << number % _WORD
            bits = self._bits.get(key, 0)
            if not bits & bit:
                self._bits[key] = bits | bit
                self._count += 1

    def __len__(self) -> int:
        return self._count


class Summary:
    """Counts records. Takes about half a microsecond an event. Not thread-safe."""

    def __init__(self) -> None:
        self.events = 0
        self.lost = 0
        self.unread = False
        """Whether some journals may have been unreadable."""
        self.writes: Counter[_Key] = Counter()
        self.threads: set[tuple[int, int]] = set()
        self.statements = Numbers()
        self.undone = Numbers()
        """Of the statements that events carried, those that were rolled back; and the number of these events."""
        self.events_undone = 0
        self._names: dict[_Key, str] = {}
        self._last: dict[_Key, Event] = {}
        self._large: set[_Key] = set()
        """Variables whose last event holds a large value."""
        self._ended: set[_Key] = set()
        self._gone = self._gone_written = 0

    def write(self, records: Sequence[Record]) -> None:
        """Counts a batch."""
        events = [record for record in records if type(record) is Event]
        self.events += len(events)
        self.writes.update(map(_variable, events))
        self.threads.update(map(_thread, events))
        last = dict(zip(map(_variable, events), events, strict=True))
        self._last.update(last)
        self._large.update(key for key, event in last.items() if is_heavy(event))
        if len(self._large) > 2 * MOST:
            self._lighten()
        contexts = {id(context): event for event, context in zip(events, map(_context, events), strict=True) if context}
        self.statements.update(
            ((event.pid, event.journal), event.context.id) for event in contexts.values() if event.context
        )
        if len(events) == len(records):
            return
        for record in records:
            if isinstance(record, Watched):
                variable = record.variable
                self._names[variable.pid, variable.journal, variable.id] = variable.name
            elif isinstance(record, Unwatched):
                self._ended.add((record.pid, record.journal, record.variable_id))
            elif isinstance(record, Lost):
                self.lost += record.count
            elif isinstance(record, Outcome) and record.outcome == "rolled back":
                self.undone.update(((record.pid, record.journal), context) for context in record.contexts)
                self.events_undone += record.events
        if len(self._ended) > ENDED:
            self._forget()

    def _forget(self) -> None:
        """Drops ended watches but for a few, and counts them: a program may watch and unwatch for weeks."""
        by_writes = sorted(self._ended, key=lambda key: self.writes[key])
        for key in by_writes[:-MOST]:
            self._gone += 1
            self._gone_written += self.writes[key] > 0
            del self.writes[key]
            self._names.pop(key, None)
            self._last.pop(key, None)
        self._ended = set(by_writes[-MOST:])

    def _lighten(self) -> None:
        """Drops large values of variables that are not among the most written: those won't be shown."""
        most = heapq.nlargest(MOST, self._large, key=lambda key: self.writes[key])
        for key in self._large.difference(most):
            if key in self._last:
                self._last[key] = lightened(self._last[key])
        self._large = set(most)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to read again."""
        return not (self._names or self.events or self.lost or self.unread)

    def sentence(self) -> str:
        """``1,204 events on 3 variables by 2 threads, under 17 SQL statements; 5 events under 2 that were rolled back;
        nothing lost``."""
        if not self._names and not self.events:
            if self.unread:
                return "nothing is known of this run" + self._loss()
            return "no variable was watched: the program must call memwatch_core.watch()" + self._loss()
        written = len(self.writes) + self._gone_written
        watched = len(self._names | dict.fromkeys(self.writes, "")) + self._gone
        variables = _count(watched, "variable") if written == watched else f"{written:,} of {watched:,} variables"
        text = f"{_count(self.events, 'event')} on {variables}"
        known = {thread for thread in self.threads if thread[1]}
        text += f" by {_count(len(known), 'thread')}" if known else ""
        text += f", under {_count(len(self.statements), 'SQL statement')}" if self.statements else ""
        if self.undone:
            text += f"; {_count(self.events_undone, 'event')} under {len(self.undone):,} that "
            text += f"{'was' if len(self.undone) == 1 else 'were'} rolled back"
        return text + (self._loss() or "; nothing lost")

    def _loss(self) -> str:
        lost = f"; {_count(self.lost, 'store')} LOST" if self.lost else ""
        gone = "; the session's folder was removed while it was in use: EVENTS MAY BE MISSING"
        return lost + (gone if self.unread else "")

    def lines(self) -> Iterator[str]:
        """A line for each of the most written variables: how often, and where last. A tab is a blank at which lines
        don't break."""
        rows: list[tuple[str, str, str]] = []
        for key, count in self.writes.most_common(MOST):
            event = self._last[key]
            part, before, after = change(event, 32)
            what = f"{part.removeprefix('.')} {before} -> {after}".lstrip() if event.changed else f"{after} (unchanged)"
            site, thread = event.site, clean(event.thread)
            place = f" at {short_path(site.file)}:{site.line}\t{clean(site.function)}" if site else ""
            who = f" in\t{thread}" if thread else ""
            rows.append((both_ends(clean(event.variable), NAME), _count(count, "write"), f"last {what}{place}{who}"))
        widths = [max((len(row[i]) for row in rows), default=0) for i in (0, 1)]
        for name, writes, last in rows:
            yield f"{name:<{widths[0]}}  {writes:>{widths[1]}}, {last}"
        more = len(self.writes) + self._gone_written - MOST
        if more > 0:
            yield f"and {_count(more, 'more variable')}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
