"""Turns runs of STORE records into events: the hot loop of the reading side.

There are two implementations of one class: :class:`PythonStores` here is the reference, and
``memwatch_core.journal._reader.Stores`` in C is several times faster. A differential test compares them. ``Stores`` is
the one in use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from enum import IntEnum, IntFlag
from typing import Any, NamedTuple, Protocol, cast

from ..records import Alias, Call, Context, Event, Operation, Origin, Part, Request, Shown, Site, Variable
from . import layout
from .followed import DECODED, Decode, FindPart, Followed, Place
from .layout import SLOT_SIZE, CellFlag, Flag, Kind

_MOVED = CellFlag.MOVED.value


def _is_moved(cell: bytes) -> bool:
    kind, _, flags = layout.CELL.unpack_from(cell)
    return layout.is_other(kind) and bool(flags & _MOVED)


Wanted = Callable[[Event], bool]


class Stop(IntEnum):
    """Why :meth:`PythonStores.run` stopped at a slot."""

    END = 0
    """All slots were taken."""
    OTHER = 1
    """The slot isn't a whole, valid STORE record."""
    UNKNOWN = 2
    """A STORE to a variable that was never defined."""
    UNANNOUNCED = 3
    """The first STORE to a variable whose definition is provisional: announce it first."""
    GAP = 4
    """The bytes before the store differ from those that the last store left."""
    FULL = 5
    """The batch is large enough."""


class By(IntFlag):
    """What a sieve may judge a store by."""

    VARIABLE = 1
    """Its name, its path, its id, other names of the place."""
    THREAD = 2
    SITE = 4
    STACK = 8
    CONTEXT = 16
    REQUEST = 32
    ALL = 63


class How(IntFlag):
    """Of the stores of a group; the lowest 8 bits are their origin."""

    INEXACT = 256
    SITE = 512
    STACK = 1024
    THREAD = 2048
    """Site, callers, or the thread's name were known."""


class Steps(IntFlag):
    """Of what the stores of a group added to a number."""

    DIFFER = 1
    OVERFLOW = 2
    """The difference of the signed numbers isn't what was added."""
    WRAP = 4
    """That of the unsigned ones isn't."""


class Callers(NamedTuple):
    """The frames above the site of a store."""

    frames: tuple[Site, ...]
    """The innermost first."""
    cut: bool
    """Whether there were more."""
    inexact: bool
    """Whether one may be missing, or have another line."""
    own: Site | None
    """The first of them in the program's own code."""


class PythonStores:
    """The state that STORE records need: bytes and last value of each variable; sites, requests, contexts and thread
    names by id.

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
        """``cell`` decodes the bytes of a cell; of no bytes, it returns the value of an absent place. The loop in C
        decodes most cells itself. ``shown`` is the type of values of which only a text is known."""
        self.seq = 0
        """STORE records so far; may be set if some can't be read."""
        self._make, self._make_part = event, part
        self._pid, self._runtime, self._journal = pid, runtime, journal
        self._origins, self._call = origins, call
        self._cell, self._absent = cell, cell(b"")
        self._variables: dict[int, Followed] = {}
        self._sites: dict[int, Site] = {}
        self._own: set[int] = set()
        self._stacks: dict[int, Callers] = {}
        self._requests: dict[int, Request] = {}
        self._contexts: dict[int, Context] = {}
        self._carried: Counter[int] = Counter()
        self._threads: dict[int, str] = {}
        self._failures: list[int] = []
        self._large: set[int] = set()
        """Variables with a large value that is decoded now."""
        self._sieve: tuple[int, int, int, Wanted | None, list[int]] | None = None
        self.skipped = self.matched = 0
        """Since :meth:`sieve`: stores that didn't become events; and how many of those were wanted."""
        self.high = 0
        """The latest time of a skipped store; may be set."""
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
        """Adds a variable, or redefines it and keeps its bytes.

        ``decode`` decodes the value; None: values are None. ``letter``: the value is a single number of this format
        (:func:`memwatch_core.structs.number`). ``part`` finds the part that a store touched, from the value's first
        ``head`` bytes if ``head`` isn't 0. Without ``shadow`` the bytes aren't followed: values are None (of a part
        too, unless the store covers it), and gaps aren't detected. ``told``: the variable is a slab, whose parts are
        places; its events carry this id.
        """
        known = self._variables.setdefault(variable.id, Followed(variable, self._failures))
        known.define(variable, path, decode, letter, part, shadow, provisional, head, told)

    def forget(self, ident: int) -> None:
        """Removes a variable; its id won't be reused."""
        self._variables.pop(ident, None)

    def place(self, ident: int, offset: int, path: str | None) -> str | None:
        """Sets the path of the cell at ``offset`` of a variable (None: unknown). The cell may hold anything before the
        next store. Returns the former path."""
        known = self._variables.get(ident)
        if known is None:
            return None
        before = known.places.pop(offset, None)
        if path is not None:
            known.places[offset] = Place(path)
        return None if before is None else before.path

    def alias(self, ident: int, offset: int, aliases: tuple[Alias, ...], cut: bool) -> bool:
        """Sets the other names of the place at ``offset`` of a variable. False: it has no path."""
        known = self._variables.get(ident)
        place = None if known is None else known.places.get(offset)
        if place is None:
            return False
        place.aliases, place.cut = aliases, cut
        return True

    def fill(self, ident: int, offset: int, data: bytes) -> bool:
        """Sets the bytes at ``offset``; those outside of the variable are ignored. Returns whether they agree with the
        known ones."""
        known = self._variables.get(ident)
        if known is None:
            return True
        agrees = known.agrees(offset, data)
        known.put(offset, data)
        return agrees

    def value(self, ident: int) -> Any:
        """The variable's present value; None if it can't be decoded."""
        known = self._variables.get(ident)
        value = None if known is None else self._value(known)
        self._drop_large()
        return value

    def part(self, ident: int, start: int, stop: int) -> Part | None:
        """The part of a variable that contains the bytes [start, stop), in its present state; None if there is none."""
        known = self._variables.get(ident)
        return None if known is None else known.part_now(self._make_part, start, stop)

    def site(self, ident: int, site: Site, own: bool) -> None:
        """Sets the site that STORE records call ``ident`` from now on. ``own``: it is in the program's own code."""
        self._sites[ident] = site
        (self._own.add if own else self._own.discard)(ident)

    def stack(self, ident: int, callers: Callers) -> None:
        """Sets the callers that STORE records call ``ident`` from now on."""
        self._stacks[ident] = callers

    def request(self, ident: int, request: Request | None) -> None:
        """Sets the request that STORE records call ``ident`` from now on; None: forgets it."""
        if request is None:
            self._requests.pop(ident, None)
        else:
            self._requests[ident] = request

    def context(self, ident: int, context: Context | None) -> int:
        """Sets the context that STORE records call ``ident`` from now on; None: forgets it.

        Returns how many events have carried the id since the last call.
        """
        if context is None:
            self._contexts.pop(ident, None)
        else:
            self._contexts[ident] = context
        return self._carried.pop(ident, 0)

    def thread(self, tid: int, name: str) -> None:
        """Sets the name of thread ``tid`` from now on."""
        self._threads[tid] = name

    def contents(self, ident: int) -> bytes | None:
        """The variable's bytes; None if they aren't followed."""
        known = self._variables.get(ident)
        return None if known is None else known.contents()

    def cells(self, ident: int) -> dict[str, bytes]:
        """Of a slab: by path, the bytes of the cells that were stored to."""
        known = self._variables.get(ident)
        places = [] if known is None else known.places.values()
        return {place.path: place.last for place in places if place.last}

    def failures(self) -> list[int]:
        """Ids of variables whose ``decode`` has raised since the last call; each id is returned once."""
        failures = self._failures.copy()
        self._failures.clear()
        return failures

    def sieve(
        self, until: int, since: int, now: int, wanted: Wanted | None, floors: list[int], by: int = By.ALL
    ) -> None:
        """From now on a store becomes an event only if it is ``wanted`` (None: all are), not older than ``since`` and
        not in a slot before ``until``. Everything else is as if the other stores became events too.

        ``wanted`` may depend only on what ``by`` (:class:`By`) says: its result is cached. ``floors`` gets, for each
        event, the latest time of the stores skipped before it, except times after ``now``.
        """
        self._sieve = until, since, now, wanted, floors
        self.skipped = self.matched = self.high = self.time = 0

    def run(
        self, view: memoryview, index: int, stop: int, first: int, out: list[Any], limit: int, resync: bool
    ) -> tuple[int, int]:
        """Decodes STORE records from slot ``index`` of ``view`` on, and appends their events to ``out``.

        Stops at slot ``stop``, at the first slot that needs other treatment, or once ``limit`` bytes of values were
        made (those of a serializer count :data:`DECODED` times). Returns (slot, :class:`Stop`). ``first`` is the
        journal's number of the view's slot 0. With ``resync``, the first record may disagree with the known bytes, and
        replaces them.
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
            skip, size = layout.payload_size(length, origin, flags)
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
            end = skip + 2 * length
            before, after = payload[skip : skip + length], payload[skip + length : end]
            stack, request, native, activation = layout.ids_behind(payload, end, flags)
            callers = self._stacks.get(stack) if stack else None
            if not known.agrees(offset, before, after) and not resync:
                return index, Stop.GAP
            operation: Operation | None = None
            aliases, more = known.aliases(offset, length)
            if known.told is not None:
                part = known.place(self._make_part, self._cell, offset, before, after, activation)
                old = new = None
                operation = None if part is None else self._operation(part, before, after)
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
                offset, before, after, old, new, before != after or known.begins(after),
                not flags & (Flag.INEXACT | Flag.SITE_INEXACT),
                self._sites.get(site) if site else None, self._contexts.get(context) if context else None,
                call, self._journal, part, operation, self._own_place(site, callers),
                None if callers is None else callers.frames, callers is not None and callers.cut,
                callers is not None and callers.inexact, aliases, more,
                self._requests.get(request) if request else None, self._sites.get(native) if native else None,
            )  # fmt: skip
            number, index = first + index, index + slots
            if self._sieve is not None and not self._is_shown(event, number):
                continue
            out.append(event)
            made += 2 * length
            if made >= limit:
                return index, Stop.FULL
        return index, Stop.END

    def _own_place(self, site: int, callers: Callers | None) -> Site | None:
        if site in self._own:
            return self._sites[site]
        return None if callers is None else callers.own

    def _operation(self, part: Part, before: bytes, after: bytes) -> Operation:
        flags = layout.CELL.unpack_from(after)[2] if before != after and len(after) >= layout.CELL.size else 0
        if flags & (CellFlag.CLEARED | CellFlag.REPLACED):
            return "clear" if flags & CellFlag.CLEARED else "replace"
        was_absent, is_absent = part.old is self._absent, part.new is self._absent
        if was_absent == is_absent:
            return "move" if len(after) >= layout.CELL.size and _is_moved(after) else "set"
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


class Recording(Protocol):
    """What only the loop in C can do besides: record what a part of a journal holds, and go past it."""

    seq: int
    skipped: int
    matched: int
    high: int
    time: int
    latest: int
    """The latest time of a store in the part."""

    def sieve(
        self, until: int, since: int, now: int, wanted: Wanted | None, floors: list[int], by: int = By.ALL
    ) -> None:
        """See :meth:`PythonStores.sieve`."""

    def pick(self, slots: bytes) -> None:
        """From now on only the stores in these slots, u64 in ascending order, become events."""

    def record(self) -> None:
        """Begins a part. Stores are recorded that the sieve leaves out."""

    def recorded(self) -> tuple[int, int, int, int, bytes | None, bool, bool, bool]:
        """What was recorded of the part: number of stores; the earliest time, the latest, the last; the rows, None if
        there are too many; whether there was a store to a slab; whether bytes that stores had left were decoded, and
        compared, by another method than ``run``.

        A row is eight u32: variable, offset of a cell with other names + 1 (or 0), thread, site, stack, context,
        request, number of such stores."""

    def grouped(self) -> bytes | None:
        """The groups of stores of the part that is recorded; None if there are too many. As
        :data:`~memwatch_core.journal.index.GROUP`: variable, offset, length, thread, site, stack, call, :class:`How`;
        number of such stores, of those that changed something, slot of the first and of the last one; number of those
        that saw what their own thread left, :class:`Steps`; what the first one added; of the first one that saw so,
        what it added; slots + 1 of it and of one that added something else, and of the stores before these."""

    def widened(self) -> bytes | None:
        """The same of all parts since the last call."""

    def names(self, tid: int, site: int, stack: int) -> tuple[str | None, Site | None, bool, Callers | None]:
        """What a thread is called; a site, and whether it is the program's own; callers."""

    def uses(self) -> bytes:
        """The contexts that stores have carried since the last call: pairs of u32, context and number. May name one
        twice."""

    def use(self, ident: int, count: int) -> None:
        """Counts stores that carry a context, as ``run`` does."""

    def wanted(self, rows: bytes) -> int:
        """How many of the stores of these rows the sieve wants; -1: it isn't known without looking at them."""

    def hold(self, most: int) -> bytes | None:
        """What stores have left in the variables, for :meth:`restore`; None if that is more than ``most`` bytes."""

    def restore(self, held: bytes) -> bool:
        """Sets what stores have left in the variables. False: it doesn't fit them."""


def recording(stores: PythonStores) -> Recording | None:
    """The loop as one that can record; None if it can't."""
    return cast(Recording, stores) if hasattr(stores, "recorded") else None


class MergingStores(Protocol):
    """What only the loop in C can do besides: make one record of several events."""

    def merge_runs(
        self,
        make: Callable[[Any, Event, tuple[Any, ...]], Any],
        gap: int,
        tell: Callable[[Any], Any] | None,
        keep: Callable[[Event], bool] | None,
    ) -> None:
        """From now on :meth:`PythonStores.run` appends lines in place of events. ``make(about, first, facts)`` makes
        one of several events; a single one stays what it is. ``gap``: ns between two stores that end a run. ``tell``:
        events are appended as well, and each line is what ``tell(line)`` returns. ``keep``: which events to take,
        None: all."""

    def mergeable(self, ident: int, base: int, letter: str, about: Any) -> None:
        """Says whose stores may be merged: a variable's, with items from byte ``base`` on, of a ``struct`` letter
        (empty: not known). ``about`` None: not its."""

    def end_runs(self, before: int, out: list[Any]) -> None:
        """Ends the runs whose last store was before a time, in ns, and appends the lines that wait for no other run."""


def merging(stores: PythonStores) -> MergingStores | None:
    """The loop as one that can merge; None if it can't."""
    return cast(MergingStores, stores) if hasattr(stores, "merge_runs") else None


Stores: type[PythonStores]
try:
    from ._reader import Stores as Stores
except ImportError:  # not built: slower, same events
    Stores = PythonStores
