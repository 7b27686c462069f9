"""Raw records of one journal -> the frozen records that sinks get.

For each variable the decoder keeps the bytes that it had (from CONTENT, then from each STORE), so that ``old`` and
``new`` are the whole decoded variable even if a store touched one byte of it, and so that bytes that changed without an
event are found out: a :class:`~memwatch_core.records.Lost` record says so, and decoding goes on from the new bytes.
Nothing in a journal can make the decoder raise: what makes no sense is counted and reported as ``Lost``.

What an adapter writes as JSON
------------------------------
Unknown keys are ignored, each key may be left out.

METADATA (the last one counts; a variable is announced when its first one comes, or at its first store)::

    {"name": "total",                 # "variable <id>" if left out
     "serializer": "int64",           # name of a Serializer; "" (or left out): the value is its bytes
     "options": {},                   # Layout.options, handed to Serializer.decode
     "size": 8,                       # bytes of the value, if it doesn't fill what was registered
     "path": null,                    # of an object that is watched field by field: "orders[0].qty"
     "thread_ident": 140241, "thread": "MainThread",                     # who called watch()
     "site": {"file": "orders.py", "line": 41, "function": "main"}}      # from where; or null

CONTEXT and OUTCOME are described in docs/journal-format.md: an event carries a context only while its outcome is
``open``; what becomes of those that events carried is told by :class:`~memwatch_core.records.Outcome` records.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from time import time_ns
from typing import Any, NamedTuple

import msgspec

from ..journal.layout import DEPTH_FULL, FLAGS, ORIGINS, SITE, Flag, Kind, call
from ..journal.layout import VARIABLE as VARIABLE_SLOT
from ..journal.reader import Block, JournalReader, Payloads, RawRecord
from ..journal.session import JOURNAL_SUFFIX
from ..journal.stores import DECODED, Stop, Stores
from ..records import Event, Extent, Lost, Notice, Outcome, Part, Record, Serializer, Site, Unwatched, Variable, Watched
from .kept import Kept, Share, cut
from .outcomes import final_outcomes
from .statements import Contexts

VALUE_LIMIT = 1 << 16
"""Values of more bytes than this are never decoded as a whole, but by the part that a store touched."""
BEGINNING = 1024
"""Bytes of such a value that are decoded when it is announced."""
BATCH_BYTES = 1 << 23
"""A batch of records ends when its values came to this many bytes."""
BATCH_RECORDS = 4096


class _Metadata(msgspec.Struct):
    name: str = ""
    serializer: str = ""
    options: dict[str, Any] = {}
    size: int | None = None
    path: str | None = None
    thread_ident: int = 0
    thread: str = ""
    site: Site | None = None


class Sieve(NamedTuple):
    """Which events of a journal are given out, if not all: see :meth:`PythonStores.sieve`."""

    wanted: Callable[[Event], bool] | None
    since: int
    most: int
    """The last so many are to be found."""
    begin: Mapping[str, int] | None
    """Journal -> the slot from which on to give them out, 0 if it isn't there; None: look where that would be, give out
    nothing. Not asked if all are wanted: then each journal is looked at from its end."""
    aside: Callable[[Record], object]
    """Gets the records that are no events."""
    all: bool = False
    """Not the last ones are to be found, but all: and with them each other record for which ``aside`` is true."""


class _Watch:
    """A registered variable, and whether sinks know of it."""

    __slots__ = (
        "announced", "depth", "described", "flags", "followed", "metadata", "repeated", "shown", "size", "time",
        "weight",
    )  # fmt: skip

    def __init__(self, time: int, size: int, flags: int, depth: tuple[int, int], repeated: bool = False) -> None:
        self.time, self.size, self.flags, self.depth = time, size, flags, depth
        self.repeated = repeated
        """What it held at the beginning of the journal is no longer there."""
        self.metadata = _Metadata()
        self.described = 0
        self.announced = False
        self.followed = self.weight = 0
        """Bytes that its value, and its metadata, take of what may be kept."""
        self.shown: Variable | None = None


_HEAD = bytes(20)
_metadata = msgspec.json.Decoder(_Metadata)


class JournalDecoder:
    """One journal's records, in journal order: call :meth:`poll` until ``ended``.

    ``serializers``: by name; one that isn't there leaves values None. With ``final``, the contexts of events say what
    became of the statement in the end, as far as the journal knows now, and what is added to it from now on isn't read.
    Without ``judged``, contexts say what was known then. ``kept`` is shared by the decoders of a session. Raises
    JournalError if the file is no journal.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        serializers: Mapping[str, Serializer],
        buffer: bytearray | None = None,
        *,
        final: bool = False,
        folder: int | None = None,
        kept: Kept | None = None,
        judged: bool = True,
    ) -> None:
        outcomes = final_outcomes(path, folder) if final and judged else None
        self.reader = JournalReader(path, buffer, folder)
        if final:
            self.reader.freeze()
        self.batch_bytes = BATCH_BYTES
        self._made = 0
        self._share = Share(Kept() if kept is None else kept, self.reader)
        self._unannounced: Iterator[tuple[int, _Watch]] | None = None
        header = self.reader.header
        self.pid, self.runtime = header.pid, header.runtime
        self._serializers = serializers
        self.journal = self.reader.path.name.removesuffix(JOURNAL_SUFFIX)
        self._stores = Stores(Event, Part, self.pid, self.runtime, ORIGINS, call, self.journal)
        self._watches: dict[int, _Watch] = {}
        self.contexts = Contexts(self._stores, outcomes)
        self._named: dict[int, int] = {}
        """Threads, and when each got its name from an adapter."""
        self._payloads = Payloads()
        self._skipped_told = self._damaged_told = 0
        self._unfollowed_told = False
        self._lost_told: dict[int, int] = {}
        self._lossy: set[int] = set()
        """Variables of which events are known to be missing: bytes that changed without one are explained by that."""
        self._last = 0
        self._time = header.started
        self._text = f"{self.reader.path.name}: {self.runtime} process {self.pid}, tracker {header.tracker}"
        self._begun = self.ended = False
        self.floors: list[int] = []
        """With a sieve: for each record of the last batch, the time of what came before it and was left out."""
        self._sieve: Sieve | None = None
        self._noted = 0
        self.matches: deque[tuple[int, int]] = deque()
        """With a sieve that shows nothing: (slot, wanted events from there on), of the last ones that there are."""

    def sieve(self, sieve: Sieve) -> None:
        """From now on only what passes is given out. Before the first :meth:`poll`."""
        self._sieve = sieve
        if sieve.all:
            until = 0
        elif sieve.wanted is None:
            until = self.reader.begin_of_last(sieve.most)
        else:
            until = 2**64 - 1 if sieve.begin is None else sieve.begin.get(self.journal, 0)
        since = max(0, min(sieve.since, 2**64 - 1))
        self._stores.sieve(until, since, time_ns(), sieve.wanted, self.floors)

    @property
    def skipped(self) -> int:
        """Events that the sieve has left out."""
        return self._stores.skipped

    @property
    def matched(self) -> int:
        """Those of them that were wanted, and too early."""
        return self._stores.matched

    @property
    def live(self) -> bool:
        """Whether the process may still add to the journal."""
        return self.reader.live

    def close(self) -> None:
        """Closes the file."""
        self.reader.close()

    def poll(self) -> list[Record]:
        """The next records: some thousands at most, their values some megabytes; empty if there are none now (or, when
        ``ended``, at all)."""
        out: list[Record] = []
        self._made = 0
        self.floors.clear()
        if not self._begun:
            self._begun = True
            out.append(Notice(self._time, self.pid, self._text))
            self._set_aside(out, 0)
        while not self.ended:
            block = self.reader.read()
            if self.reader.jumped is not None:
                kept = len(out)
                self._jump(self.reader.jumped, out)
                self._set_aside(out, kept)
                continue
            if block is None:
                break
            self._take_block(block, out)
            if self._sieve is not None:  # now, as without one
                kept = len(out)
                self._tell_counters(out)
                self._set_aside(out, kept)
            if out:
                break
            # A block without a whole record isn't given again: then the writer has gone, and what is there is damaged,
            # or there is nothing to be read now.
            self._made = 0
        kept = len(out)
        self._tell_counters(out)
        if self.reader.ended and not self.ended and self._announce_rest(out):
            self.ended = True
            self._finish(out)
            self.close()
        self._set_aside(out, kept)
        return out

    def _set_aside(self, out: list[Record], kept: int) -> None:
        """With a sieve, takes what is no event off again, unless it passes: it counts for the order of time, and for
        who looks on."""
        if self._sieve is None or len(out) == kept:
            return
        now, others = time_ns(), out[kept:]
        del out[kept:]
        self._stores.time = others[-1].time_ns
        for record in others:
            if self._sieve.aside(record) and self._sieve.all:
                out.append(record)
                self.floors.append(self._stores.high)
            elif record.time_ns <= now:
                self._stores.high = max(self._stores.high, record.time_ns)

    def _count_matches(self, first: int, before: int) -> None:
        """Notes how many wanted events a block had, as long as fewer than are asked for come after it."""
        assert self._sieve is not None
        if count := self.matched - before:
            self.matches.append((first, count))
            self._noted += count
            while self._noted - self.matches[0][1] >= self._sieve.most:
                self._noted -= self.matches.popleft()[1]

    def _take_block(self, block: Block, out: list[Record]) -> None:
        index, stop, resync = 0, block.slots, False
        view, first, run = block.view, block.first, self._stores.run
        matched = self.matched if self._sieve is not None else 0
        while index < stop:
            index, why = run(view, index, stop, first, out, self.batch_bytes, resync)
            resync = False
            if why == Stop.END or why == Stop.FULL:
                break
            record, following = self.reader.parse(block, index)
            kept = len(out)
            if why == Stop.OTHER:
                if following <= index:
                    break  # not whole in this block
                index = following
                if record is not None:
                    self._take(record, out)
            elif record is not None:
                if why == Stop.GAP:
                    self._tell_gap(record, out)
                    resync = True
                else:
                    self._introduce(record, out)
            self._set_aside(out, kept)
            if self._made > self.batch_bytes:
                break
        if self._sieve is not None:
            self._count_matches(first, matched)
        self.reader.position = first + index
        if self._sieve is not None:
            self._time = self._stores.time
        elif out:
            self._time = out[-1].time_ns
        kept = len(out)
        for ident in self._stores.failures():
            shown = self._watches[ident].shown if ident in self._watches else None
            if shown is not None:
                what = f"serializer {shown.serializer!r} can't decode {shown.name}; its values are left out"
                out.append(Notice(self._time, self.pid, what))
        self._set_aside(out, kept)

    def _take(self, record: RawRecord, out: list[Record]) -> None:
        """A record that is not a STORE."""
        try:
            payload = self._payloads.whole(record)
            if payload is not None:
                self._act(record, payload, out)
        except (msgspec.MsgspecError, ValueError, RecursionError, IndexError) as error:
            name = Kind(record.kind).name
            out.append(Lost(record.time, self.pid, 1, f"{name} record {record.id} can't be read: {_short(error)}"))

    def _act(self, record: RawRecord, payload: bytes, out: list[Record]) -> None:
        ident, kind = record.id, record.kind
        if record.flags & Flag.REPEATED and self._is_known(record):
            return
        if kind == Kind.VARIABLE:
            self._register(record)
        elif kind == Kind.CONTENT:
            offset = int.from_bytes(payload[:8], "little")
            known = self._stores.fill(ident, offset, payload[8:])
            if not known and ident in self._watches and self._watches[ident].announced:
                self._tell_change(record, offset, len(payload) - 8, out)
        elif kind == Kind.METADATA:
            self._describe(record, payload, out)
        elif kind == Kind.UNREGISTERED:
            self._unregister(record, out)
        elif kind == Kind.SITE:
            self._stores.site(ident, self._site(payload))
        elif kind == Kind.CONTEXT:
            self.contexts.open(ident, payload)
        elif kind == Kind.OUTCOME:
            settled = self.contexts.update(ident, payload)
            if settled is not None:
                out.append(Outcome(record.time, self.pid, *settled, journal=self.journal))
        elif kind == Kind.THREAD:
            self._name_thread(record, cut(payload.decode("utf-8", "replace")))
        elif kind == Kind.LOST:
            count = int.from_bytes(payload[:8], "little")
            watch = self._watches.get(ident)
            name = watch.shown.name if watch is not None and watch.shown is not None else None
            reason = payload[8:208].decode("utf-8", "replace") or "stores that ran and were not recorded"
            out.append(Lost(record.time, self.pid, count, reason, name))

    # ---- variables --------------------------------------------------------------------------------------------------

    def _register(self, record: RawRecord) -> None:
        flags, size, start, stop, _ = VARIABLE_SLOT.unpack(_HEAD + record.payload)[4:]
        self._forget(record.id)
        repeated = bool(record.flags & Flag.REPEATED)
        watch = self._watches[record.id] = _Watch(record.time, size, flags, (start, stop), repeated)
        self._last = max(self._last, record.id)
        self._define(record.id, watch, provisional=True)

    def _is_known(self, record: RawRecord) -> bool:
        """Whether a record that was copied, because its place was given back to the disk, says nothing new."""
        if record.kind == Kind.VARIABLE:
            return record.id <= self._last  # if we don't know it, it has ended
        if record.kind == Kind.METADATA:
            watch = self._watches.get(record.id)
            return watch is None or not watch.repeated or watch.announced or record.time < watch.described
        return record.kind == Kind.THREAD and record.time <= self._named.get(record.tid, -1)

    def _define(self, ident: int, watch: _Watch, *, provisional: bool) -> Variable:
        """Tells the store loop what is known of a variable."""
        meta = watch.metadata
        size = self._size(watch)
        start, stop = min(watch.depth[0], size), min(watch.depth[1], size)
        site = meta.site
        variable = Variable(
            ident, cut(meta.name) or f"variable {ident}", self.pid, self.runtime, size, meta.serializer, meta.options,
            _flag_names(watch.flags),
            None if watch.depth == DEPTH_FULL or (start, stop) == (0, size) else (start, stop),
            site, meta.thread_ident, meta.thread, self.journal,
        )  # fmt: skip
        serializer = self._serializers.get(meta.serializer)
        if serializer is None:
            serializer = None if meta.serializer or not size else _AS_BYTES
        follow = 0 if watch.repeated else size
        watch.followed = self._share.follow(follow, watch.followed)
        decode, form, part = (serializer.decode, serializer.format, serializer.part) if serializer else (None,) * 3
        head = serializer.head if serializer else 0
        if size > VALUE_LIMIT:
            decode = None
        path = None if meta.path is None else cut(meta.path)
        followed = not watch.repeated and watch.followed == size
        self._stores.define(variable, path, decode, form, part, followed, provisional, head)
        watch.shown = variable
        return variable

    @staticmethod
    def _size(watch: _Watch) -> int:
        size = watch.metadata.size
        return watch.size if size is None else max(0, min(size, watch.size))

    def _describe(self, record: RawRecord, payload: bytes, out: list[Record]) -> None:
        watch = self._watches.get(record.id)
        if watch is None:
            raise ValueError("no such variable")
        watch.weight = self._share.describe(len(payload), watch.weight)
        watch.metadata = _metadata.decode(payload)
        watch.described = record.time
        before = watch.shown
        if watch.repeated and not watch.announced:
            self._define(record.id, watch, provisional=True)  # announced by its first store, with the value before
            return
        if self._define(record.id, watch, provisional=False) != before or not watch.announced:
            self._announce(record.id, watch, record.time if watch.announced else watch.time, out)

    def _announce(self, ident: int, watch: _Watch, time: int, out: list[Record]) -> None:
        if watch.shown is not None:
            watch.announced = True
            large = watch.shown.size > VALUE_LIMIT
            self._made += DECODED * min(watch.followed, BEGINNING if large else VALUE_LIMIT)
            part = self._stores.part(ident, 0, BEGINNING) if large else None
            out.append(Watched(time, watch.shown, self._stores.value(ident), part))

    def _introduce(self, record: RawRecord, out: list[Record]) -> None:
        """A STORE to a variable that has not been announced, or is not even known."""
        watch = self._watches.get(record.id)
        if watch is None:
            watch = self._watches[record.id] = _Watch(record.time, 0, 0, DEPTH_FULL)
            reason = "the record that registers it can't be read: values unknown"
            out.append(Lost(record.time, self.pid, 1, reason, f"variable {record.id}"))
            watch.announced = True  # nothing can be said of it
            self._define(record.id, watch, provisional=False)
        else:
            before = record.payload[: len(record.payload) // 2]
            whole = watch.repeated and record.offset == 0 and len(before) >= self._size(watch)
            watch.repeated = watch.repeated and not whole
            self._define(record.id, watch, provisional=False)
            if whole:  # all of its bytes are known now
                self._stores.fill(record.id, 0, before)
            self._announce(record.id, watch, watch.time, out)

    def _unregister(self, record: RawRecord, out: list[Record]) -> None:
        watch = self._watches.get(record.id)
        if watch is None:
            raise ValueError("no such variable")
        if not watch.announced:
            self._announce(record.id, watch, watch.time, out)
        if self.reader.lost:
            self._tell_losses(out, record.id)  # while its name is known
        name = watch.shown.name if watch.shown is not None else f"variable {record.id}"
        out.append(Unwatched(record.time, self.pid, name, record.id, self.journal))
        self._forget(record.id)

    def _forget(self, ident: int) -> None:
        watch = self._watches.pop(ident, None)
        if watch is not None:
            self._share.take(-watch.followed - watch.weight)
            self._stores.forget(ident)

    def _jump(self, stores: int, out: list[Record]) -> None:
        """The writer has given back to the disk what we haven't read, or somebody else has."""
        seen, self._stores.seq = self._stores.seq, stores
        self.reader.jumped = None
        self._payloads = Payloads()
        self._lossy.update(self._watches)
        name, gone = self.reader.path.name, max(0, stores - seen)
        read = self.reader.acknowledged()  # once the writer has ended: whether anybody has followed it at all
        unread = read < self.reader.front if self.reader.live else not read
        if seen or self._watches or unread:
            reason = "events that were given up, unread, for newer ones: journal.policy is rotate"
            out.append(Lost(self._time, self.pid, gone, reason))
        elif gone:
            text = f"{name}: its first {gone:,} events are no longer on the disk (journal.max_bytes)"
            out.append(Notice(self._time, self.pid, text))
        for record in self.reader.copies():
            self._take(record, out)

    def _tell_gap(self, record: RawRecord, out: list[Record]) -> None:
        if self.reader.header.max_bytes or self.reader.lost:
            self._tell_losses(out, record.id)
            if record.id in self._lossy:
                watch = self._watches.get(record.id)
                if watch is not None and record.offset == 0 and len(record.payload) // 2 >= self._size(watch):
                    self._lossy.discard(record.id)  # all of its bytes are known again
                return
        self._tell_change(record, record.offset, len(record.payload) // 2, out)

    def _tell_change(self, record: RawRecord, offset: int, length: int, out: list[Record]) -> None:
        shown = self._watches[record.id].shown if record.id in self._watches else None
        where = f"bytes {offset} to {offset + length - 1}"
        reason = f"a change without an event: {where} are not what the last event left"
        out.append(Lost(record.time, self.pid, 1, reason, shown.name if shown is not None else None))

    # ---- names ------------------------------------------------------------------------------------------------------

    def _name_thread(self, record: RawRecord, name: str) -> None:
        """A name that the kernel had (inexact) doesn't replace one that an adapter gave."""
        if record.flags & Flag.INEXACT == 0:
            self._named[record.tid] = record.time
        elif record.tid in self._named:
            return
        self._stores.thread(record.tid, name)

    def _site(self, payload: bytes) -> Site:
        line, column, file, function = SITE.unpack_from(payload.ljust(SITE.size, b"\0"))
        if SITE.size + file + function > len(payload):
            raise ValueError("names longer than the record")
        names = payload[SITE.size :]
        # a file name may be any bytes; a surrogate stands for each that is no UTF-8
        where = names[:file].decode("utf-8", "surrogateescape")
        function_name = cut(names[file : file + function].decode("utf-8", "replace"))
        return Site(where, line, function_name, column)

    # ---- what was lost ----------------------------------------------------------------------------------------------

    def _tell_counters(self, out: list[Record]) -> None:
        reader = self.reader
        if reader.lost > sum(self._lost_told.values()) and (reader.ended or reader.position >= reader.reserved):
            self._tell_losses(out)  # by now the names of all variables are known
        if reader.damaged > self._damaged_told:
            reason = "damaged slots of the journal were stepped over"
            out.append(Lost(self._time, self.pid, reader.damaged - self._damaged_told, reason))
            self._damaged_told = reader.damaged
        if reader.skipped > self._skipped_told:
            reason = "slots that were being written when the process ended"
            out.append(Lost(self._time, self.pid, reader.skipped - self._skipped_told, reason))
            self._skipped_told = reader.skipped
        if self._share.refused and not self._unfollowed_told:
            self._unfollowed_told = True
            text = f"{reader.path.name}: some variables take too much memory to be followed: of these, only the bytes "
            out.append(Notice(self._time, self.pid, text + "that stores touched are known, not the values"))

    def _tell_losses(self, out: list[Record], only: int | None = None) -> None:
        """What the writer has counted, by variable; or for one of them, and for those that share a count."""
        reason = "stores that ran and couldn't be recorded: "
        limited = self.reader.header.max_bytes
        reason += "journal.max_bytes was reached" if limited else "the disk was full, or the program closed the file"
        losses = self.reader.losses()
        rest = self.reader.lost - sum(losses.values())
        if rest > 0:  # a journal of format 1.0 counts them all together
            losses[0] = losses.get(0, 0) + rest
        for ident, count in losses.items():
            more = count - self._lost_told.get(ident, 0)
            if more <= 0 or (only is not None and ident not in (0, only)):
                continue
            shown = self._watches[ident].shown if ident in self._watches else None
            name = None if not ident else shown.name if shown is not None else f"variable {ident}"
            out.append(Lost(self._time, self.pid, more, reason, name))
            self._lost_told[ident] = count
            self._lossy.update([ident] if ident else self._watches)

    def _announce_rest(self, out: list[Record]) -> bool:
        """Announces what never was, as much as fits into a batch; whether that is all."""
        if self._unannounced is None:
            self._unannounced = iter(self._watches.items())
        for ident, watch in self._unannounced:
            if not watch.announced:
                self._announce(ident, watch, watch.time, out)
                if self._made > self.batch_bytes or len(out) > BATCH_RECORDS:
                    return False
        return True

    def _finish(self, out: list[Record]) -> None:
        reader, name = self.reader, self.reader.path.name
        if self._payloads:
            out.append(Lost(self._time, self.pid, len(self._payloads), "records whose second half is missing"))
        if reader.missing:
            out.append(Lost(self._time, self.pid, reader.missing, f"slots at the end of {name}: the file is cut short"))
        if reader.unknown:
            kinds = ", ".join(f"{count} of kind {kind}" for kind, count in sorted(reader.unknown.items()))
            text = f"{name}: records of unknown kinds were left out ({kinds}): a newer MemWatch wrote them"
            out.append(Notice(self._time, self.pid, text))
        end = "closed" if reader.closed else "the process ended without closing it"
        out.append(Notice(max(self._time, reader.closed), self.pid, f"{name}: {end}"))


@lru_cache(maxsize=64)
def _flag_names(flags: int) -> tuple[str, ...]:
    return tuple(name for bit, name in FLAGS.items() if flags & bit)


def _refuse(*args: Any) -> Any:
    raise TypeError("only for reading")


_AS_BYTES = Serializer(
    "", "bytes that no serializer is named for", lambda value: False, _refuse, _refuse,
    decode=lambda data, options: data,
    part=lambda start, stop, options: Extent(f"[{start}:{stop}]", start, stop, bytes),
)  # fmt: skip


def _short(error: Exception) -> str:
    return str(error)[:200]
