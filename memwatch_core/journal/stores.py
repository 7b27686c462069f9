"""Runs of STORE records -> events: the one loop of the reading side that is taken for every event.

Two implementations of one class, held together by a differential test: :class:`PythonStores` here, which says what is
meant, and ``memwatch_core.journal._reader.Stores`` in C, several times faster. ``Stores`` is the one in use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

from ..records import Call, Context, Event, Operation, Origin, Part, Shown, Site, Variable
from . import layout
from .followed import DECODED, Decode, FindPart, Followed, Place
from .layout import SLOT_SIZE, Flag, Kind

Wanted = Callable[[Event], bool]


class Stop(IntEnum):
    """Why :meth:`PythonStores.run` stopped at a slot."""

    END = 0
    """All slots were taken."""
    OTHER = 1
    """The slot is not a whole, sound STORE record."""
    UNKNOWN = 2
    """A STORE to a variable that was never defined."""
    UNANNOUNCED = 3
    """The first STORE to a variable whose definition is provisional: say who it is first."""
    GAP = 4
    """The bytes before the store aren't those that the last one left."""
    FULL = 5
    """The batch is large enough."""


class PythonStores:
    """What STORE records need: the bytes and the last value of each variable, sites, contexts and thread names by id.

    Not thread-safe, and not re-entrant from a serializer's ``decode``.
    """

    def __init__(
        self,
        event: type[Event],
        part: type[Part],
        pid: int,
        runtime: str,
        origins: Mapping[int, Origin],
        call: Callable[[int, int, int], Call],
        shown: type[Shown],
        cell: Callable[[bytes], Any],
        journal: str,
    ) -> None:
        """``cell``: the bytes of a cell -> the value of a place; of none, that of a place that isn't there. The loop in
        C does the same by itself where it can; ``shown``: the values of which a text is known."""
        self.seq = 0
        """STORE records seen so far; may be set when some can't be."""
        self._make, self._make_part = event, part
        self._pid, self._runtime, self._journal = pid, runtime, journal
        self._origins, self._call = origins, call
        self._cell, self._absent = cell, cell(b"")
        self._variables: dict[int, Followed] = {}
        self._sites: dict[int, Site] = {}
        self._contexts: dict[int, Context] = {}
        self._carried: Counter[int] = Counter()
        self._threads: dict[int, str] = {}
        self._failures: list[int] = []
        self._large: set[int] = set()
        """Variables whose value is large, and known."""
        self._sieve: tuple[int, int, int, Wanted | None, list[int]] | None = None
        self.skipped = self.matched = 0
        """Since :meth:`sieve`: stores that became no event, and how many of these were wanted."""
        self.high = 0
        """The latest time of a store that was skipped; may be set."""
        self.time = 0
        """Since :meth:`sieve`: the time of the last store, skipped or not; may be set."""

    def define(
        self,
        variable: Variable,
        path: str | None,
        decode: Decode | None,
        letter: str,
        part: FindPart | None,
        shadow: bool,
        provisional: bool,
        head: int = 0,
        told: int | None = None,
    ) -> None:
        """Adds a variable, or says more of one (its bytes are kept). ``decode`` None: its values are None. ``letter``:
        the value is one number of this format (:func:`memwatch_core.structs.number`). ``part``: what tells the part
        that a store touched, from ``head`` bytes of the value if that isn't 0. Without ``shadow`` its bytes are not
        followed: values are None (of a part as well, unless the store covers it), gaps not found. ``told``: it is a
        slab, whose parts are places; its events are told by this id."""
        known = self._variables.setdefault(variable.id, Followed(variable, self._failures))
        known.define(variable, path, decode, letter, part, shadow, provisional, head, told)

    def forget(self, ident: int) -> None:
        """The variable is gone; its id is not used again."""
        self._variables.pop(ident, None)

    def place(self, ident: int, offset: int, path: str | None) -> str | None:
        """The cell at ``offset`` of a variable is that of this path from now on (None: it isn't known), and may hold
        anything before the next store. Returns the path that it had."""
        known = self._variables.get(ident)
        if known is None:
            return None
        before = known.places.pop(offset, None)
        if path is not None:
            known.places[offset] = Place(path)
        return None if before is None else before.path

    def fill(self, ident: int, offset: int, data: bytes) -> bool:
        """The variable held ``data`` at ``offset``; what lies outside of it is ignored. Returns whether that
        is what was known of it."""
        known = self._variables.get(ident)
        if known is None:
            return True
        agrees = known.agrees(offset, data)
        known.put(offset, data)
        return agrees

    def value(self, ident: int) -> Any:
        """The variable's value now; None if it can't be decoded."""
        known = self._variables.get(ident)
        value = None if known is None else self._value(known)
        self._drop_large()
        return value

    def part(self, ident: int, start: int, stop: int) -> Part | None:
        """The part of a variable that the bytes [start, stop) lie in, as it is now; None if it has none."""
        known = self._variables.get(ident)
        return None if known is None else known.part_now(self._make_part, start, stop)

    def site(self, ident: int, site: Site) -> None:
        """What STORE records call site ``ident`` from now on."""
        self._sites[ident] = site

    def context(self, ident: int, context: Context | None) -> int:
        """What STORE records call context ``ident`` from now on; None: it is forgotten. Returns how many events have
        carried it since the last call."""
        if context is None:
            self._contexts.pop(ident, None)
        else:
            self._contexts[ident] = context
        return self._carried.pop(ident, 0)

    def thread(self, tid: int, name: str) -> None:
        """The name of thread ``tid`` from now on."""
        self._threads[tid] = name

    def failures(self) -> list[int]:
        """Ids of variables whose ``decode`` has raised since the last call; each id is given once."""
        failures = self._failures.copy()
        self._failures.clear()
        return failures

    def sieve(self, until: int, since: int, now: int, wanted: Wanted | None, floors: list[int]) -> None:
        """From now on a store becomes an event only if it is ``wanted`` (None: all are), not written before ``since``
        and not recorded before slot ``until``. All else is as if the others became events too.

        What ``wanted`` says of an event may depend on variable, path, thread, site and context alone: it isn't asked
        each time. ``floors`` gets, for each event, the latest time of those skipped before it, as far as that isn't
        beyond ``now``.
        """
        self._sieve = until, since, now, wanted, floors
        self.skipped = self.matched = self.high = self.time = 0

    def run(
        self, view: memoryview, index: int, stop: int, first: int, out: list[Any], limit: int, resync: bool
    ) -> tuple[int, int]:
        """Decodes STORE records from slot ``index`` of ``view`` on, appends their events to ``out``, and stops at slot
        ``stop``, at the first slot that isn't for it, or when ``limit`` bytes of values were made (those of a
        serializer count :data:`DECODED` times): (slot, :class:`Stop`).

        ``first`` is the number of slot 0 of the view in its journal. With ``resync``, the first record may disagree
        with the bytes known: they are then taken from it.
        """
        try:
            return self._run(view, index, stop, first, out, limit, resync)
        finally:
            self._drop_large()

    def _run(
        self, view: memoryview, index: int, stop: int, first: int, out: list[Any], limit: int, resync: bool
    ) -> tuple[int, int]:
        made = 0
        while index < stop:
            word, tid, time, ident, offset, length, site, context, _ = layout.STORE.unpack_from(view, index * SLOT_SIZE)
            kind, slots, origin, flags = layout.parts_of(word)
            skip = layout.CALL.size if origin in layout.WITH_CALL else 0
            size = skip + 2 * length
            if kind != Kind.STORE or slots == 0 or size > layout.room(layout.STORE_ROOM, slots):
                return index, Stop.OTHER
            if slots > stop - index or slots > layout.SEGMENT_SLOTS - (first + index) % layout.SEGMENT_SLOTS:
                return index, Stop.OTHER
            if slots > 1 and not layout.is_continued(view, index, slots):
                return index, Stop.OTHER
            known = self._variables.get(ident)
            if known is None:
                return index, Stop.UNKNOWN
            if known.provisional:
                return index, Stop.UNANNOUNCED
            record = view[index * SLOT_SIZE : (index + slots) * SLOT_SIZE]
            payload = layout.payload_of(record, layout.STORE_PAYLOAD, size)
            call = self._call(*layout.CALL.unpack_from(payload)) if skip else None
            before, after = payload[skip : skip + length], payload[skip + length :]
            if not known.agrees(offset, before) and not resync:
                return index, Stop.GAP
            operation: Operation | None = None
            if known.told is not None:
                part = known.place(self._make_part, self._cell, offset, before, after)
                old = new = None
                operation = None if part is None else self._operation(part)
            else:
                extent = known.extent(offset, length, before, after)
                known.put(offset, before)
                was = known.bytes_of(extent, offset, before)
                old = self._value(known)
                known.put(offset, after)
                part = known.part(self._make_part, extent, was, known.bytes_of(extent, offset, after))
                new = self._value(known)
                if known.is_decoded:
                    made += known.size * known.weight
                if extent is not None:
                    made += 2 * DECODED * (extent.stop - extent.start)
            resync = False
            told = ident if known.told is None else known.told
            name = self._variables.get(told, known).variable.name
            self.seq += 1
            if context in self._contexts and context:
                self._carried[context] += 1
            event = self._make(
                self.seq, time, self._pid, self._runtime, tid, self._threads.get(tid, "") if tid else "",
                name, told, known.path, self._origins.get(origin, "store"),
                offset, before, after, old, new, before != after, not flags & (Flag.INEXACT | Flag.SITE_INEXACT),
                self._sites.get(site) if site else None, self._contexts.get(context) if context else None,
                call, self._journal, part, operation,
            )  # fmt: skip
            number, index = first + index, index + slots
            if self._sieve is not None and not self._is_shown(event, number):
                continue
            out.append(event)
            made += 2 * length
            if made >= limit:
                return index, Stop.FULL
        return index, Stop.END

    def _operation(self, part: Part) -> Operation:
        was_absent, is_absent = part.old is self._absent, part.new is self._absent
        if was_absent == is_absent:
            return "set"
        return "add" if was_absent else "delete"

    def _is_shown(self, event: Event, number: int) -> bool:
        assert self._sieve is not None
        until, since, now, wanted, floors = self._sieve
        self.time = event.time_ns
        matches = (wanted is None or bool(wanted(event))) and event.time_ns >= since
        if matches and number >= until:
            floors.append(self.high)
            return True
        self.skipped += 1
        self.matched += matches
        if event.time_ns <= now:
            self.high = max(self.high, event.time_ns)
        return False

    def _drop_large(self) -> None:
        for ident in self._large:
            if (known := self._variables.get(ident)) is not None:
                known.drop_value()
        self._large.clear()

    def _value(self, known: Followed) -> Any:
        if known.is_large:
            self._large.add(known.variable.id)
        return known.value()


Stores: type[PythonStores]
try:
    from ._reader import Stores as Stores
except ImportError:  # not built: slower, the same events
    Stores = PythonStores
