"""Sums up a run in a few lines for people."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from operator import attrgetter

from ..printed import clean
from ..records import Event, Lost, Merged, Outcome, Record, Site, Unfollowed, Unwatched, Watched
from ..rendering.changes import change
from ..rendering.labels import numbered
from ..rendering.layout import both_ends
from ..rendering.merged import as_event
from ..rendering.text import FOUND, request_text, short_path
from ..rendering.written import is_heavy, lightened
from .left_out import LeftOut
from .remarks import Remarks
from .sharing import Sharing

_variable = attrgetter("pid", "journal", "variable_id")
_Key = tuple[int, str, int]
"""Identifies a variable: process, journal (a process has two if it runs another program), id."""
_thread = attrgetter("pid", "tid")
_context = attrgetter("context")
_request = attrgetter("request")

MOST = 12
"""Limit of variables listed one by one."""
NAME = 40
"""Width of a name, in columns."""
PLACES = 3
"""Limit of places listed for an object."""
PLACES_COUNTED = 10_000
"""Places are counted up to twice this many. Then only the half that were written most often are kept; the others start
again from 0."""
ENDED = 10_000
"""Limit of ended watches that are kept; beyond it, only the ``MOST`` that were written most often."""
UNITS = 10_000
"""Limit of labels, of tasks and of traces that are counted; beyond it, there are at least so many."""
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
        self.units: dict[str, set[str]] = {"label": set(), "task": set(), "trace": set()}
        """The different ones that events came with."""
        self.unseen = 0
        """Number of changes of places that nobody saw when they happened, and that were found later."""
        self._places: Counter[tuple[_Key, str]] = Counter()
        self._thinned = False
        self._names: dict[_Key, str] = {}
        self._last: dict[_Key, Event] = {}
        self._large: set[_Key] = set()
        """Variables whose last event holds a large value."""
        self._ended: set[_Key] = set()
        self._gone = self._gone_written = 0
        self._remarks = Remarks()
        self._sharing = Sharing()
        self._left_out = LeftOut()

    def write(self, records: Sequence[Record]) -> None:
        """Counts a batch."""
        events = [record for record in records if type(record) is Event]
        self.events += len(events)
        if several := [record for record in records if type(record) is Merged]:
            self.events += sum(each.stores for each in several)
            for each in several:
                self.writes[_variable(each.first)] += each.stores - 1
            events = [_one(record) for record in records if isinstance(record, Event | Merged)]
        self.writes.update(map(_variable, events))
        self._remarks.events(events, self._last)
        last = dict(zip(map(_variable, events), events, strict=True))
        self._last.update(last)
        self._large.update(key for key, event in last.items() if is_heavy(event))
        if len(self._large) > 2 * MOST:
            self._lighten()
        places = [event for event in events if event.operation is not None]
        unseen = self._count_places(places) if places else 0
        seen = [event for event in events if event.origin != "found"] if unseen else events
        self.threads.update(map(_thread, seen))
        contexts = {id(context): event for event, context in zip(events, map(_context, events), strict=True) if context}
        self.statements.update(
            ((event.pid, event.journal), event.context.id) for event in contexts.values() if event.context
        )
        self._count_units(events)
        if len(events) == len(records):
            return
        for record in records:
            if isinstance(record, Watched):
                variable = record.variable
                self._names[variable.pid, variable.journal, variable.id] = variable.name
                self._remarks.watched(variable)
            elif isinstance(record, Unwatched):
                self._ended.add((record.pid, record.journal, record.variable_id))
                self._remarks.ended(record)
            elif isinstance(record, Unfollowed):
                self._left_out.add(record)
            elif isinstance(record, Lost):
                self.lost += record.count
            elif isinstance(record, Outcome) and record.outcome == "rolled back":
                self.undone.update(((record.pid, record.journal), context) for context in record.contexts)
                self.events_undone += record.events
        if len(self._ended) > ENDED:
            self._forget()

    def _count_places(self, events: Sequence[Event]) -> int:
        """Returns how many of the changes nobody saw."""
        if aliased := [event for event in events if event.aliases]:
            self._sharing.add(aliased)
        unseen = sum(event.origin == "found" for event in events)
        self.unseen += unseen
        self._places.update((_variable(event), event.part.name) for event in events if event.part is not None)
        if len(self._places) > 2 * PLACES_COUNTED:
            self._places = Counter(dict(self._places.most_common(PLACES_COUNTED)))
            self._thinned = True
        return unseen

    def _count_units(self, events: Sequence[Event]) -> None:
        for request in {id(request): request for request in map(_request, events) if request is not None}.values():
            for kind, name in (("label", request.label), ("task", request.task), ("trace", request.trace_id)):
                if name and len(self.units[kind]) < UNITS:
                    self.units[kind].add(name)

    def _forget(self) -> None:
        """Drops ended watches but for a few, and counts them: a program may watch and unwatch for weeks."""
        by_writes = sorted(self._ended, key=lambda key: self.writes[key])
        for key in by_writes[:-MOST]:
            self._gone += 1
            self._gone_written += self.writes[key] > 0
            del self.writes[key]
            self._names.pop(key, None)
            self._last.pop(key, None)
            self._sharing.forget(key)
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
        written = len(self.writes.keys() | self._sharing.variables) + self._gone_written
        watched = len(self._names | dict.fromkeys(self.writes, "")) + self._gone
        variables = _count(watched, "variable") if written == watched else f"{written:,} of {watched:,} variables"
        text = f"{_count(self.events, 'event')} on {variables}"
        known = {thread for thread in self.threads if thread[1]}
        text += f" by {_count(len(known), 'thread')}" if known else ""
        text += f", under {_count(len(self.statements), 'SQL statement')}" if self.statements else ""
        units = [
            ("at least " if len(names) == UNITS else "") + _count(len(names), kind)
            for kind, names in self.units.items()
            if names
        ]
        text += f", in {' and '.join([', '.join(units[:-1]), units[-1]] if units[1:] else units)}" if units else ""
        if self.undone:
            text += f"; {_count(self.events_undone, 'event')} under {len(self.undone):,} that "
            text += f"{'was' if len(self.undone) == 1 else 'were'} rolled back"
        if self.unseen:
            text += f"; {_count(self.unseen, 'change')} unseen when {'it' if self.unseen == 1 else 'they'} happened"
        return text + (self._loss() or "; nothing lost")

    def _loss(self) -> str:
        lost = f"; {_count(self.lost, 'store')} LOST" if self.lost else ""
        gone = "; the session's folder was removed while it was in use: EVENTS MAY BE MISSING"
        return lost + (gone if self.unread else "")

    def lines(self) -> Iterator[str]:
        """A line for each of the most written variables: how often, and where last; for an object a second line, with
        the places that changed most often. A tab is a blank at which lines don't break."""
        rows: list[tuple[str, str, str]] = []
        places = self._most_places()
        labels = self._labels()
        for key, count in self.writes.most_common(MOST):
            event = self._last[key]
            part, before, after = change(event, 32)
            what = f"{part.removeprefix('.')} {before} -> {after}".lstrip() if event.changed else f"{after} (unchanged)"
            site, own, thread = event.site, event.own or event.site, clean(event.thread)
            place = f" at {_place(own)}" if own else ""
            if site and own != site:
                place += f" in {_place(site)}"
            who = f" in\t{thread}" if thread else ""
            if event.request is not None and (about := request_text(event.request)):
                who += f" [{about}]"
            if event.origin == "found":
                place, who = f", {FOUND}", ""
            name = labels(key, event.variable)
            rows.append((both_ends(clean(name), NAME), _count(count, "write"), f"last {what}{place}{who}"))
        widths = [max((len(row[i]) for row in rows), default=0) for i in (0, 1)]
        for (name, writes, last), (key, _) in zip(rows, self.writes.most_common(MOST), strict=True):
            yield f"{name:<{widths[0]}}  {writes:>{widths[1]}}, {last}"
            if key in places:
                yield f"  most often {places[key]}"
        more = len(self.writes) + self._gone_written - MOST
        if more > 0:
            yield f"and {_count(more, 'more variable')}"
        yield from self._sharing.lines(labels)
        yield from self._left_out.lines(labels)
        yield from self._remarks.lines()

    def _labels(self) -> Callable[[_Key, str], str]:
        """Of variables of one name in a process the numbers are shown; of one name and number, the processes."""
        several = Counter((pid, journal, name) for (pid, journal, _), name in self._names.items())
        numbers = {
            key: numbered(name, key[2]) if several[*key[:2], name] > 1 else name for key, name in self._names.items()
        }
        processes = Counter(numbers[key] for key in self.writes if key in numbers)

        def label(key: _Key, name: str) -> str:
            shown = numbers.get(key, name)
            return f"{shown} in {key[0]}" if processes[shown] > 1 else shown

        return label

    def _most_places(self) -> dict[_Key, str]:
        """For each object with several changed places: the places that changed most often, with their counts."""
        by_key: dict[_Key, list[tuple[int, str]]] = {}
        for (key, place), count in self._places.items():
            by_key.setdefault(key, []).append((count, place))
        said = {}
        for key, counts in by_key.items():
            most = heapq.nsmallest(PLACES, counts, key=lambda each: (-each[0], each[1]))
            least = "at least " if self._thinned else ""
            names = [
                f"{both_ends(clean(place.removeprefix('.')), NAME // 2) or 'itself'} ({least}{count:,})"
                for count, place in most
            ]
            rest = f" and {_count(len(counts) - PLACES, 'more place')}" if len(counts) > PLACES else ""
            if len(counts) > 1:
                said[key] = ", ".join(names) + ("" if self._thinned else rest)
        return said


def _one(record: Event | Merged) -> Event:
    return as_event(record) if isinstance(record, Merged) else record


def _place(site: Site) -> str:
    line = f":{site.line}" if site.line else ""
    return f"{short_path(site.file)}{line}\t{clean(site.function)}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
