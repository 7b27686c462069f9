"""Every variable of a session as it was at a moment, with who wrote what last: from a stream of records.

Feed :class:`States` all records of the session in order, those after the moment too: what a later event finds in a
place says what was there, and a loss that is told later may have happened before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ..host.contents import Content
from ..host.digests import Digest, Later, Undecided, Wrote
from ..host.moment import Moment
from ..records import Event, Lost, Record, Serializer, Shown, Site, Unfollowed, Unwatched, Variable, Watched
from ..rendering.aliases import under_all_names
from .calls import LOCALS, call_of, in_call, is_numbered
from .memory import Memory, Sites
from .moments import END, Cut, Until
from .parts import Parts
from .placed import Placed

WITH_THE_PROGRAM = ("exit", "closed", "")
"""Ends of watches that may only be the program's: Node.js doesn't say why."""
MORE_NAMES = "more names lead to something that it holds than are recorded"
MOST_TYPES = 32
SIZE_MOST = 1 << 40
"""Bytes of a variable; a record that claims more is damaged."""
Wanted = Callable[[str, int], bool]
"""Whether a variable of this name and number is asked for."""
Asks = Callable[[str, int, str], bool]
"""Whether a name in one call (``#3.total``) of a function of this name and number is asked for."""
Key = tuple[str, int]
"""Journal, number of the variable."""


def full_name(name: str, path: str | None) -> str:
    """A variable's name with the path that it was registered under."""
    return name if not path else f"{name}{path}" if path.startswith("[") else f"{name}.{path}"


class Value:
    """A variable at the moment."""

    __slots__ = (
        "began", "calls", "cut", "doubt", "doubted", "ended", "ident", "is_numbered", "journal", "memory", "name",
        "parts", "pid", "placed", "runtime", "shown", "unfollowed", "variable", "writes",
    )  # fmt: skip

    def __init__(self, journal: str, ident: int, pid: int, runtime: str, name: str) -> None:
        self.journal, self.ident, self.pid, self.runtime, self.name = journal, ident, pid, runtime, name
        self.variable: Variable | None = None
        self.parts: Parts | None = None
        self.memory: Memory | None = None
        """Its bytes; None: see ``placed``."""
        self.placed: Placed | None = None
        """Its places, if it is an object that is watched where it lies."""
        self.shown = ""
        """What such an object is."""
        self.began: int | None = None
        """When it was registered, ns since 1970; None: not up to the moment."""
        self.ended: Unwatched | None = None
        """The end of its watch, up to the moment."""
        self.cut: Cut | None = None
        """Where its journal begins, if earlier events are no longer there."""
        self.writes = 0
        """Number of events that were counted."""
        self.is_numbered = False
        """Whether numbers tell its places apart: calls of a function, instances of a class."""
        self.calls = 0
        """Of a function, how many calls there were at least, up to the moment."""
        self.unfollowed: dict[tuple[str, str], Unfollowed] = {}
        """What it holds and isn't followed, by reason and type."""
        self.doubted = -1
        """When, in records, the last loss of its stores was told."""
        self.doubt = ""
        """Which."""

    @property
    def watched_at(self) -> Site | None:
        return None if self.variable is None else self.variable.watched_at

    def doubt_of(self, tick: int) -> str:
        """Why what was known at a record may have changed unseen; empty: it hasn't."""
        return self.doubt if self.doubted > tick else ""


class States:
    """The variables that are ``wanted``, at a moment. Events after ``since`` are counted. ``forget``: leave out those
    whose watch had ended before the program did.

    Call :meth:`content` for each content that is told, :meth:`add` for each record in order, and then :meth:`end`.
    """

    def __init__(
        self,
        serializers: Mapping[str, Serializer],
        wanted: Wanted | None = None,
        until: Moment = END,
        since: Moment | None = None,
        cuts: Mapping[str, Cut] = MappingProxyType({}),
        *,
        forget: bool = False,
        asks: Asks | None = None,
    ) -> None:
        self.values: dict[Key, Value] = {}
        self.losses: list[Lost] = []
        """All that was told, up to :data:`MOST`."""
        self.sites = Sites()
        self.serializers, self._wanted = serializers, wanted
        self._until = Until(until)
        self._before = None if since is None else Until(since)
        self._cuts, self._forget, self._asks = cuts, forget, asks
        self._tick = 0
        self._at = 0
        """When, in records, the last event up to the moment was."""
        self._contents: dict[Key, list[Content]] = defaultdict(list)
        self._unwanted: set[Key] = set()
        self._digested = False
        """Whether there were digests."""
        self._unnamed: dict[str, int] = {}
        """When, in records, a journal told an event of which not all names are recorded."""

    MOST = 1000

    def content(self, content: Content) -> None:
        """Takes bytes that are there without an event."""
        key = content.journal, content.variable_id
        if key not in self._unwanted:
            self._contents[key].append(content)

    def add(self, record: Record) -> bool:
        """Takes a record. Returns whether it is an event that was applied and counted."""
        self._tick += 1
        if isinstance(record, Event):
            if not record.aliases:
                return self._event(record)
            if record.aliases_cut:
                self._unnamed[record.journal] = self._tick
            return sum([self._event(each) for each in under_all_names(record)]) > 0
        if isinstance(record, Watched):
            self._watched(record)
        elif isinstance(record, Unwatched):
            value = self.values.get((record.journal, record.variable_id))
            if value is not None and self._until.covers(record.journal, record.time_ns):
                value.ended = record
                if self._forget and record.why not in WITH_THE_PROGRAM:
                    del self.values[record.journal, record.variable_id]
        elif isinstance(record, Lost):
            self._lost(record)
        elif isinstance(record, Unfollowed):
            value = self.values.get((record.journal, record.variable_id))
            if value is not None and len(value.unfollowed) < MOST_TYPES:
                value.unfollowed[record.why, record.type] = record
        return False

    def digest(self, digest: Digest) -> list[Wrote]:
        """Takes a digest in place of events. Returns what of it was applied and counted. Raises Undecided: a digest
        isn't enough here."""
        values: dict[int, Value] = {}
        for ident in dict.fromkeys(wrote.variable for wrote in digest.wrote):
            key = digest.journal, ident
            value = self.values.get(key)
            if value is not None:
                if value.memory is None or not value.memory.is_known:
                    raise Undecided
                values[ident] = value
                self._take_contents(key, value, digest.seq + 1)
            elif key not in self._unwanted:
                raise Undecided
        begin, self._tick = self._tick - digest.start + 1, self._tick + digest.stop - digest.start + 1
        if not values or not self._until.takes(digest):
            return []
        if any(value.began is None for value in values.values()):
            raise Undecided
        counted = self._before is None or not self._before.takes(digest)
        applied = [wrote for wrote in digest.wrote if wrote.variable in values]
        for wrote in applied:
            value, tick = values[wrote.variable], begin + wrote.last.slot
            self._at = max(self._at, tick)
            value.writes += wrote.writes * counted
            site = self.sites.number(wrote.place) if counted else None
            assert value.memory is not None
            value.memory.note(wrote, tick, wrote.writes, site, self.sites)
        self._digested = True
        return applied if counted else []

    def unsettled(self) -> set[Later]:
        """The events that are known from digests alone."""
        memories = [value.memory for value in self.values.values() if value.memory is not None]
        return {later for memory in memories for later in memory.unsettled()}

    def settle(self, events: Mapping[Later, Event]) -> None:
        """Puts these events in their places."""
        for value in self.values.values():
            if value.memory is not None:
                value.memory.settle(events)

    def known(self, event: Event) -> Value | None:
        """The variable of an event, if it is wanted and was described before."""
        value = self.values.get((event.journal, event.variable_id))
        if value is not None and is_numbered(event):
            value.is_numbered = True
        return value

    def is_known(self, event: Event) -> bool:
        """Whether its variable was seen before, wanted or not."""
        key = event.journal, event.variable_id
        return key in self.values or key in self._unwanted

    def end(self) -> None:
        """There are no more records."""
        for key, value in self.values.items():
            self._take_contents(key, value, None)
            if value.placed is not None and value.doubted < (tick := self._unnamed.get(value.journal, -1)):
                value.doubted, value.doubt = tick, MORE_NAMES

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _watched(self, record: Watched) -> None:
        variable = record.variable
        value = self._value(variable.journal, variable.id, variable.pid, variable.runtime, variable.name)
        if value is None:
            return
        value.variable = variable
        if value.began is None and self._until.covers(variable.journal, record.time_ns):
            value.began = record.time_ns
        self._describe(value, isinstance(record.value, Shown) and not variable.serializer, record.value)

    def _describe(self, value: Value, is_object: bool, shown: Any) -> None:
        variable = value.variable
        if is_object:
            value.shown = shown.text if isinstance(shown, Shown) else "an object"
            value.placed = value.placed or Placed(value.shown)
            if variable is not None and LOCALS in variable.flags:
                value.is_numbered = value.placed.is_function = True
            value.memory = value.parts = None
            self._contents.pop((value.journal, value.ident), None)
        elif variable is not None:
            value.parts = Parts(variable, self.serializers) if variable.size <= SIZE_MOST else None
            if value.memory is None:
                known = any(each.begins for each in self._contents.get((value.journal, value.ident), ()))
                value.memory = Memory(variable.size, known, self._tick)
            value.memory.resize(variable.size)
            if not value.writes:
                waiting = self._contents.get((value.journal, value.ident))
                if waiting:  # those that came with it; if more came before the next event of any variable, these too
                    self._take_contents((value.journal, value.ident), value, waiting[0].seq + 1, first=True)

    def _event(self, event: Event) -> bool:
        journal = event.journal
        name = full_name(event.variable, event.path)
        value = self._value(journal, event.variable_id, event.pid, event.runtime, name, event.path)
        if value is None:
            return False
        value.name = name
        if event.operation is not None and value.placed is None:
            self._describe(value, True, None)
        elif event.operation is None and value.placed is None and value.memory is None:
            value.memory = Memory(1 << 63, False, self._tick)
        if self._contents.get(key := (journal, event.variable_id)):
            self._take_contents(key, value, event.seq)
        path = None if value.placed is None else self._in_call(value, event)
        if not self._until(event):
            self._find(value, event, path)
            return False
        self._at = self._tick
        if value.began is None:
            value.began = event.time_ns
        counted = self._before is None or not self._before(event)
        site = self.sites.number(site_key(event)) if counted else None
        value.writes += counted
        if value.placed is not None:
            value.calls = max(value.calls, call_of(event) or 0)
            value.placed.write(event, self._tick, site, self.sites)
            if path is not None:
                value.placed.write(event, self._tick, site, self.sites, path)
        elif value.memory is not None:
            value.memory.write(event, self._tick, site, self.sites)
        return counted

    def _in_call(self, value: Value, event: Event) -> str | None:
        """The path of what an event wrote in its call, if that is asked for."""
        if not is_numbered(event):
            return None
        value.is_numbered = True
        path = in_call(event)
        if path is None or value.placed is None:
            return None
        value.placed.is_function = True
        return path if self._asks is not None and self._asks(value.name, value.ident, path) else None

    def _find(self, value: Value, event: Event, path: str | None) -> None:
        """What an event after the moment found was there at the moment, if no event in between can be missing."""
        moment, cut = self._until.moment, value.cut
        if cut is not None and (moment.seq < cut.seq if moment.journal == value.journal else moment.time < cut.time):
            return
        if value.placed is not None:
            value.placed.find(event, self._at)
            if path is not None:
                value.placed.find(event, self._at, path)
        elif value.memory is not None:
            value.memory.find(event)

    def _value(
        self, journal: str, ident: int, pid: int, runtime: str, name: str, path: str | None = None
    ) -> Value | None:
        key = journal, ident
        value = self.values.get(key)
        if value is None and (key not in self._unwanted or path):
            if self._wanted is not None and not self._wanted(name, ident):
                self._unwanted.add(key)
                self._contents.pop(key, None)
                return None
            value = self.values[key] = Value(journal, ident, pid, runtime, name)
            value.cut = self._cuts.get(journal)
            for lost in self.losses:
                self._doubt(value, lost)
        return value

    def _take_contents(self, key: Key, value: Value, seq: int | None, *, first: bool = False) -> None:
        """Applies the contents that count before an event; None: all that count at the moment. ``first``: they are what
        the variable began with."""
        waiting = self._contents.get(key)
        if not waiting or value.memory is None:
            return
        kept = []
        for content in waiting:
            if seq is not None and content.seq >= seq:
                kept.append(content)
            elif content.begins or not content.data:
                continue
            elif not content.always and not first and (value.writes or seq):  # after a loss: what is there now
                if self._until.covers(content.journal, content.time_ns):
                    value.memory.fill(content.offset, content.data, self._tick)
            else:
                value.memory.fill(content.offset, content.data)
        self._contents[key] = kept

    def _lost(self, lost: Lost) -> None:
        if self._digested and len({key[0] for key, value in self.values.items() if value.pid == lost.pid}) > 1:
            raise Undecided  # the order of two journals matters
        if len(self.losses) < self.MOST:
            self.losses.append(lost)
        for value in self.values.values():
            self._doubt(value, lost)

    def _doubt(self, value: Value, lost: Lost) -> None:
        if lost.pid == value.pid and lost.variable in (None, value.name):
            value.doubted, value.doubt = self._tick, lost.reason


def wanted_events(wanted: Wanted) -> Callable[[Event], bool]:
    """Whether an event is, under one of its names, of a variable that is wanted; or may be, as not all are known."""

    def may_be(event: Event) -> bool:
        return (
            event.aliases_cut
            or wanted(full_name(event.variable, event.path), event.variable_id)
            or any(wanted(alias.variable, alias.variable_id) for alias in event.aliases)
        )

    return may_be


def site_key(event: Event) -> tuple[str, int, str]:
    """The place that an event came from: the first one in the program's own code, or else the innermost one."""
    site = event.own or event.site
    if site is None:
        return "", 0, event.origin if event.call is None else event.call.name
    return site.file, site.line, site.function
