"""Whether there can be lost updates (:mod:`.lost_updates`) among stores of which only groups are known.

There are none if only one thread wrote to a place; if each of its lines always added the same; if a line never stored
right after a store of its own thread; or if it did so twice and added something else, which two of its events show. If
none of that holds, :class:`Suspects` doesn't know, and the events have to be read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..host.digests import Digest, Later, Undecided, Wrote
from ..host.secrets import is_secret
from ..journal.stores import Steps
from ..records import Event, Serializer
from .lost_updates import PLACES, is_number
from .parts import LENGTH
from .states import Key, Value, site_key

SAMPLES = 1000
"""Limit of events that are looked at to know what bytes are."""
_OWN = "memwatch_serializer_"
"""Of these it is known that what a part is depends on where it lies alone."""
_Made = Event | Later
_Line = tuple[str, int, str]


@dataclass(slots=True)
class _Stores:
    """What one line did to the same bytes."""

    sample: _Made
    step: int
    sees: int = 0
    flags: int = 0
    seen: list[tuple[_Made, _Made]] = field(default_factory=list)
    """Stores that saw what their own thread had left, and those before."""

    def add(self, sees: int, step: int, flags: int, seen: Iterable[tuple[_Made, _Made]]) -> None:
        self.sees += sees
        self.flags |= flags | (Steps.DIFFER if step != self.step else 0)
        self.seen += seen
        if len(self.seen) > 4:  # the last two differ, or are all that there are
            self.seen = self.seen[:2] + self.seen[-2:]


class _Suspect:
    """What is known of one variable."""

    def __init__(self) -> None:
        self.tids: dict[tuple[int, int], set[int]] = defaultdict(set)
        self.stores: dict[tuple[int, int], dict[_Line, _Stores]] = defaultdict(dict)
        self.last: Wrote | Event | None = None
        self.count = 0

    def note(self, where: tuple[int, int], tid: int, line: _Line, sample: _Made, step: int) -> _Stores:
        """The entry for a line and the bytes that it wrote."""
        self.tids[where].add(tid)
        return self.stores[where].setdefault(line, _Stores(sample, step))


class Suspects:
    """Feed it all counted events and digests of variables, in the order of their journals."""

    def __init__(self) -> None:
        self._of: dict[Key, _Suspect] = defaultdict(_Suspect)
        self._begins: dict[str, int] = {}
        """By journal: the slot, or earlier, from which on stores are counted."""

    def add(self, event: Event) -> None:
        """Takes an event of a variable that lies in bytes."""
        suspect = self._of[event.journal, event.variable_id]
        where, last, tid = (event.offset, len(event.after)), suspect.last, event.tid
        suspect.last = event
        suspect.count += 1
        before = last if isinstance(last, Event) else None if last is None else last.last
        if isinstance(last, Event):
            same, by = (last.offset, len(last.after)) == where, last.tid
        elif last is not None:
            same, by = (last.offset, last.length) == where, last.tid
        else:
            same, by = False, 0
        stores = suspect.note(where, tid, site_key(event), event, 0)
        sure = same and by == tid and before is not None and event.exact and tid != 0
        stores.add(not same or by == tid, 0, Steps.DIFFER, [(event, before)] if sure and before is not None else [])

    def digest(self, digest: Digest, wrote: Iterable[Wrote]) -> None:
        """Takes what was counted of a digest."""
        begin = self._begins.setdefault(digest.journal, digest.start)
        lasts: dict[int, Wrote] = {}
        for each in wrote:
            suspect = self._of[digest.journal, each.variable]
            suspect.count += each.writes
            line, where = each.place, (each.offset, each.length)
            seen = [pair for pair in each.seen if pair[1].slot >= begin]
            suspect.note(where, each.tid, line, each.last, each.step).add(each.sees, each.step, each.flags, seen)
            last = lasts.get(each.variable)
            if last is None or last.last.slot < each.last.slot:
                lasts[each.variable] = each
        for ident, last in lasts.items():
            self._of[digest.journal, ident].last = last

    def clear(
        self, values: Mapping[Key, Value], serializers: Mapping[str, Serializer], others: int, make: _Make
    ) -> None:
        """Raises Undecided unless there are no lost updates. ``others``: how many places are followed elsewhere;
        ``make`` makes events."""
        if others + sum(len(suspect.stores) for suspect in self._of.values()) >= PLACES:
            raise Undecided
        for key, suspect in self._of.items():
            value = values.get(key)
            serializer = "" if value is None or value.variable is None else value.variable.serializer
            if serializer and not _is_own(serializers.get(serializer)) and suspect.count >= PLACES:
                raise Undecided  # its parts may have any names
            lines = {line for stores in suspect.stores.values() for line in stores}
            if len(set().union(*suspect.tids.values())) < 2 or not any(
                sum(stores[line].sees for stores in suspect.stores.values() if line in stores) > 1 for line in lines
            ):
                continue
            if serializer and not _is_own(serializers.get(serializer)):
                raise Undecided
            self._check(suspect, serializers[serializer].head if serializer in serializers else 0, make)

    def _check(self, suspect: _Suspect, head: int, make: _Make) -> None:
        if len(suspect.stores) > SAMPLES:
            raise Undecided
        samples = {where: next(iter(lines.values())).sample for where, lines in suspect.stores.items()}
        events = make([each for each in samples.values() if isinstance(each, Later)])
        places: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for where, sample in samples.items():
            event = events[sample] if isinstance(sample, Later) else sample
            part, old, new = _change(event)
            if sum(where) <= head:
                places[LENGTH].append(where)
            elif is_secret(old) or is_secret(new):
                raise Undecided
            elif type(old) in (int, float) and type(new) in (int, float):
                places[part].append(where)
        for wheres in places.values():
            if len(set().union(*(suspect.tids[where] for where in wheres))) < 2:
                continue
            by_line: dict[_Line, list[_Stores]] = defaultdict(list)
            for where in wheres:
                for line, stores in suspect.stores[where].items():
                    by_line[line].append(stores)
            for found in by_line.values():
                self._check_line(found, make)

    def _check_line(self, found: list[_Stores], make: _Make) -> None:
        """Raises Undecided if a line may have lost an update."""
        if sum(stores.sees for stores in found) < 2:
            return
        pairs = [pair for stores in found for pair in stores.seen]
        events = make([each for pair in pairs for each in pair if isinstance(each, Later)])
        steps = set()
        for pair in pairs:
            event, before = (events[each] if isinstance(each, Later) else each for each in pair)
            if _is_seen(event, before):
                _, old, new = _change(event)
                steps.add(new - old)
        if len(steps) > 1 or 0 in steps:
            return  # it doesn't just add
        same = {stores.step for stores in found}
        if len(same) == 1 and not any(stores.flags for stores in found) and all(type(step) is int for step in steps):
            sample = found[0].sample
            event = make([sample])[sample] if isinstance(sample, Later) else sample
            _, old, new = _change(event)
            if type(old) is int and type(new) is int:
                return  # it always adds the same
        raise Undecided


_Make = Callable[[list[Later]], Mapping[Later, Event]]


def _is_own(serializer: Serializer | None) -> bool:
    return serializer is None or getattr(serializer.decode, "__module__", "").startswith(_OWN)


def _change(event: Event) -> tuple[str, Any, Any]:
    if event.part is not None:
        return event.part.name, event.part.old, event.part.new
    return "", event.old, event.new


def _is_seen(event: Event, before: Event) -> bool:
    """Whether an event saw what its own thread had left, and both count as changes of a number."""
    part, *values = _change(event)
    other, *more = _change(before)
    return (
        part == other
        and event.exact
        and before.exact
        and event.tid == before.tid != 0
        and all(is_number(value) for value in (*values, *more))
    )
