"""Runs of STORE records -> events: the one loop of the reading side that is taken for every event.

Two implementations of one class, held together by a differential test: :class:`PythonStores` here, which says what is
meant, and ``memwatch_core.journal._reader.Stores`` in C, several times faster. ``Stores`` is the one in use.
"""

from __future__ import annotations

import mmap
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from ..records import Call, Context, Event, Extent, Origin, Part, Site, Variable
from . import layout
from .layout import Flag, Kind

DECODED = 16
"""A value that a serializer made takes up to this many times the bytes that it was made of: a list of numbers does."""
LARGE = 1 << 14
"""Bytes of a value that isn't kept from one batch to the next."""
MAPPED = 1 << 16
"""Bytes of a variable from which on its shadow takes memory only where something was written to it."""
HEAD = 64
"""The most that a serializer's ``part`` is given of a value's beginning."""

Decode = Callable[[bytes, Mapping[str, Any]], Any]
Wanted = Callable[[Event], bool]
FindPart = Callable[..., Extent | None]


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


@dataclass(slots=True)
class _State:
    """What is known of one variable."""

    variable: Variable
    path: str | None = None
    decode: Decode | None = None
    part: FindPart | None = None
    head: int = 0
    shadow: bytearray | mmap.mmap | None = None
    provisional: bool = False
    value: Any = None
    fresh: bool = False
    """``value`` is that of the bytes in ``shadow``."""
    failed: bool = False
    weight: int = 1
    """Bytes that a value takes, for each of the variable's."""

    @property
    def large(self) -> bool:
        """Whether its value is kept only while it is made again and again."""
        return self.size * self.weight > LARGE

    @property
    def size(self) -> int:
        return self.variable.size

    @property
    def checked(self) -> tuple[int, int]:
        """The bytes of which every change makes an event."""
        return self.variable.depth or (0, self.size)


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
        journal: str,
    ) -> None:
        self.seq = 0
        """STORE records seen so far; may be set when some can't be."""
        self._make, self._make_part = event, part
        self._pid, self._runtime, self._journal = pid, runtime, journal
        self._origins, self._call = origins, call
        self._variables: dict[int, _State] = {}
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
        format: str | None,
        part: FindPart | None,
        shadow: bool,
        provisional: bool,
        head: int = 0,
    ) -> None:
        """Adds a variable, or says more of one (its bytes are kept). ``decode`` None: its values are None. ``format``:
        the value is one number. ``part``: what tells the part that a store touched, from ``head`` bytes of the value if
        that isn't 0. Without ``shadow`` its bytes are
        not followed: values are None (of a part as well, unless the store covers it), gaps not found."""
        state = self._variables.setdefault(variable.id, _State(variable))
        state.variable, state.path, state.decode, state.provisional = variable, path, decode, provisional
        state.part, state.head = part, max(0, min(head, HEAD, variable.size))
        state.weight = DECODED
        if decode is not None and _is_number(format, variable.size):
            state.weight = 1
            unpack = struct.Struct(_number(format)).unpack
            state.decode = lambda data, options: unpack(data)[0]
        state.value, state.fresh = None, False
        if not shadow:
            state.shadow = None
        else:
            state.shadow = _resized(state.shadow, variable.size)

    def forget(self, ident: int) -> None:
        """The variable is gone; its id is not used again."""
        self._variables.pop(ident, None)

    def fill(self, ident: int, offset: int, data: bytes) -> bool:
        """The variable held ``data`` at ``offset``; what lies outside of it is ignored. Returns whether that
        is what was known of it."""
        state = self._variables.get(ident)
        if state is None or state.shadow is None or offset >= state.size:
            return True
        agrees = self._agrees(state, offset, data)
        data = data[: state.size - offset]
        state.shadow[offset : offset + len(data)] = data
        state.fresh = False
        return agrees

    def value(self, ident: int) -> Any:
        """The variable's value now; None if it can't be decoded."""
        state = self._variables.get(ident)
        value = None if state is None else self._value(state)
        self._drop_large()
        return value

    def part(self, ident: int, start: int, stop: int) -> Part | None:
        """The part of a variable that the bytes [start, stop) lie in, as it is now; None if it has none."""
        state = self._variables.get(ident)
        if state is None or state.shadow is None:
            return None
        extent = self._extent(state, start, stop - start)
        if extent is None:
            return None
        return self._make_part(
            extent.name, None, self._decoded(state, extent, state.shadow[extent.start : extent.stop])
        )

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
        failures, self._failures = self._failures, []
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
            word, tid, time, ident, offset, length, site, context, payload = layout.STORE.unpack_from(view, index * 64)
            slots, origin = word >> 8 & 255, word >> 16 & 255
            skip = layout.CALL.size if origin in layout.WITH_CALL else 0
            if word & 255 != Kind.STORE or slots == 0 or skip + 2 * length > 28 + 60 * (slots - 1):
                return index, Stop.OTHER
            if slots > stop - index or slots > layout.SEGMENT_SLOTS - (first + index) % layout.SEGMENT_SLOTS:
                return index, Stop.OTHER
            if slots > 1:
                rest = range((index + 1) * 64, (index + slots) * 64, 64)
                if any(view[at] != Kind.CONTINUATION for at in rest):
                    return index, Stop.OTHER
                payload += b"".join(view[at + layout.CONTINUATION_PAYLOAD : at + 64] for at in rest)
            state = self._variables.get(ident)
            if state is None:
                return index, Stop.UNKNOWN
            if state.provisional:
                return index, Stop.UNANNOUNCED
            call = self._call(*layout.CALL.unpack_from(payload)) if skip else None
            before, after = payload[skip : skip + length], payload[skip + length : skip + 2 * length]
            old = new = None
            if state.shadow is not None and not self._agrees(state, offset, before) and not resync:
                return index, Stop.GAP
            extent = self._extent(state, offset, length, before, after)
            self._put(state, offset, before)
            was = self._bytes_of(state, extent, offset, before)
            old = self._value(state)
            self._put(state, offset, after)
            part = self._part(state, extent, was, self._bytes_of(state, extent, offset, after))
            new = self._value(state)
            if state.shadow is not None and state.decode is not None:
                made += state.size * state.weight
            if extent is not None:
                made += 2 * DECODED * (extent.stop - extent.start)
            resync = False
            variable = state.variable
            self.seq += 1
            if context in self._contexts and context:
                self._carried[context] += 1
            event = self._make(
                self.seq, time, self._pid, self._runtime, tid, self._threads.get(tid, "") if tid else "",
                variable.name, ident, state.path, self._origins.get(origin, "store"),
                offset, before, after, old, new, before != after,
                not word >> 24 & (Flag.INEXACT | Flag.SITE_INEXACT),
                self._sites.get(site) if site else None, self._contexts.get(context) if context else None,
                call, self._journal, part,
            )  # fmt: skip
            number, index = first + index, index + slots
            if self._sieve is not None and not self._is_shown(event, number):
                continue
            out.append(event)
            made += 2 * length
            if made >= limit:
                return index, Stop.FULL
        return index, Stop.END

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
            if (state := self._variables.get(ident)) is not None:
                state.value, state.fresh = None, False
        self._large.clear()

    def _agrees(self, state: _State, offset: int, before: bytes) -> bool:
        """Whether the bytes before the store are those known, as far as every change of them makes an event."""
        start, stop = max(offset, state.checked[0]), min(offset + len(before), state.checked[1], state.size)
        known = b"" if state.shadow is None else state.shadow[start:stop]
        return start >= stop or known == before[start - offset : stop - offset]

    def _put(self, state: _State, offset: int, data: bytes) -> None:
        stop = min(offset + len(data), state.size)
        if state.shadow is not None and offset < stop and state.shadow[offset:stop] != data[: stop - offset]:
            state.shadow[offset:stop] = data[: stop - offset]
            state.fresh = False

    def _extent(
        self, state: _State, offset: int, length: int, before: bytes = b"", after: bytes = b""
    ) -> Extent | None:
        """Where the part lies that the bytes are of, if its serializer says so and can be right."""
        stop = min(offset + length, state.size)
        if state.part is None or offset >= stop:
            return None
        try:
            heads = [self._head(state, offset, data) for data in (before, after)] if state.head else []
            found = state.part(offset, stop, state.variable.options, *heads)
            if found is None:
                return None
            extent = Extent(*found)
            if type(extent.name) is str and 0 <= extent.start <= offset and stop <= extent.stop <= state.size:
                return extent
        except Exception:
            pass
        self._fail(state)
        return None

    @staticmethod
    def _head(state: _State, offset: int, data: bytes) -> bytes:
        """The value's first bytes, where a store left (or found) ``data`` at ``offset``; none if they aren't known."""
        if state.shadow is None:
            return data[: state.head] if offset == 0 and len(data) >= state.head else b""
        head = bytearray(state.shadow[: state.head])
        head[offset : offset + len(data)] = data[: max(0, state.head - offset)]
        return bytes(head)

    @staticmethod
    def _bytes_of(state: _State, extent: Extent | None, offset: int, data: bytes) -> bytes | None:
        """The bytes of a part; ``data`` is what a store at ``offset`` left (or found) there."""
        if extent is None:
            return None
        if state.shadow is not None:
            return bytes(state.shadow[extent.start : extent.stop])
        covered = offset <= extent.start and extent.stop <= offset + len(data)
        return data[extent.start - offset : extent.stop - offset] if covered else None

    def _part(self, state: _State, extent: Extent | None, before: bytes | None, after: bytes | None) -> Part | None:
        if extent is None:
            return None
        old = self._decoded(state, extent, before, old=True)
        same = after == before and extent.decode_old is None
        return self._make_part(extent.name, old, old if same else self._decoded(state, extent, after))

    def _decoded(self, state: _State, extent: Extent, data: bytes | bytearray | None, old: bool = False) -> Any:
        decode = extent.decode_old if old and extent.decode_old is not None else extent.decode
        try:
            return None if data is None else decode(bytes(data))
        except Exception:
            self._fail(state)
            return None

    def _fail(self, state: _State) -> None:
        if not state.failed:
            self._failures.append(state.variable.id)
        state.failed = True

    def _value(self, state: _State) -> Any:
        if not state.fresh:
            state.value, state.fresh = None, True
            if state.large:
                self._large.add(state.variable.id)
            if state.decode is not None and state.shadow is not None:
                try:
                    state.value = state.decode(bytes(state.shadow), state.variable.options)
                except Exception:
                    self._fail(state)
        return state.value


def _resized(shadow: bytearray | mmap.mmap | None, size: int) -> bytearray | mmap.mmap:
    """A shadow of that size which holds what the old one did, and zeros behind it."""
    if shadow is not None and len(shadow) == size:
        return shadow
    if isinstance(shadow, mmap.mmap) and size > MAPPED:
        if size < len(shadow):
            page = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
            shadow[size : min(page, len(shadow))] = bytes(min(page, len(shadow)) - size)
        shadow.resize(size)
        return shadow
    made = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) if size > MAPPED else bytearray(size)
    if shadow is not None:
        kept = min(len(shadow), size)
        made[:kept] = shadow[:kept]
    return made


def _number(format: str | None) -> str:
    """A struct format of one little-endian or native number as ``"<" + letter``, or ``""``."""
    letter = (format or "").removeprefix("<").removeprefix("=").removeprefix("@")
    sizes = {"?": 1, "b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "q": 8, "Q": 8, "f": 4, "d": 8}
    return "<" + letter if letter in sizes else ""


def _is_number(format: str | None, size: int) -> bool:
    form = _number(format)
    return bool(form) and struct.calcsize(form) == size


Stores: type[PythonStores]
try:
    from memwatch_core.journal._reader import Stores as Stores
except ImportError:  # not built: slower, the same events
    Stores = PythonStores
