"""Turns the raw records of one journal into the frozen records that sinks get.

The store loop (:mod:`memwatch_core.journal.stores`) keeps each variable's bytes, from CONTENT and then from each STORE.
So ``old`` and ``new`` are the whole decoded variable even if a store touched one byte of it. Bytes that changed without
an event are detected, too: a :class:`~memwatch_core.records.Lost` record reports them, and decoding goes on from the
new bytes. Other records go to :mod:`.variables`, :mod:`.names`, :mod:`.statements` and :mod:`.losses`. No journal,
however damaged, makes the decoder raise: unreadable records are counted and reported as ``Lost``.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import time_ns
from typing import Protocol, cast

import msgspec

from ..journal import layout
from ..journal.index import Index
from ..journal.layout import ORIGINS, Flag, Kind, call
from ..journal.reader import JournalReader
from ..journal.records import Block, Payloads, RawRecord
from ..journal.session import JOURNAL_SUFFIX
from ..journal.stores import Stop, Stores, recording
from ..journal.stores import merging as merging_stores
from ..records import Event, Outcome, Part, Record, Serializer, Shown, Variable
from .batch import Batch
from .contents import Content, Told
from .digests import Digest, Digests, Known
from .kept import Kept, Share
from .losses import Losses
from .merging import GAP_NS, Merging, merged, tell
from .names import Names
from .outcomes import final_outcomes
from .own import is_own_by_default
from .places import value
from .sieve import NONE, Sieve, Sifter
from .skipping import Skipper
from .statements import Contexts
from .variables import Variables

BATCH_BYTES = 1 << 23
"""Bytes of values after which a batch ends."""


class Noted(Protocol):
    """Notes what a journal holds besides stores."""

    def __call__(self, record: RawRecord, why: int) -> object:
        """Called with each record at which the store loop stops, before it is handled; and why: a :class:`Stop`."""

    def told(self, records: Sequence[Record]) -> object:
        """Called with what is told of it."""


Handler = Callable[[RawRecord, bytes, Batch], object]
"""Handles one kind of record: gets the record, its whole payload, and the batch for its results. Raises ValueError,
msgspec.MsgspecError or RecursionError if the payload can't be read."""


class JournalDecoder:
    """One journal's records, in journal order: call :meth:`poll` until ``ended``.

    ``serializers`` is by name; values of a missing one are None. With ``final``, the contexts of events carry the final
    outcome of the statement, as far as the journal has it now; records added later aren't read. Without ``judged``,
    they carry the outcome known at the event. The decoders of a session share ``kept``. ``is_own`` says whether a file
    is the program's own code. ``contents`` is told of bytes that are there without an event. ``index``: of this
    journal, to go past what a sieve leaves out; this and :meth:`poll` may then raise
    :class:`~memwatch_core.journal.index.Stale`. ``digests``: give out some in place of events.
    ``merging``: give out lines in place of events. Raises JournalError if the file isn't a journal.
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
        is_own: Callable[[str], bool] = is_own_by_default,
        index: Index | None = None,
        contents: Told | None = None,
        digests: Digests | None = None,
        merging: Merging | None = None,
    ) -> None:
        outcomes = final_outcomes(path, folder, index) if final and judged else None
        self.reader = JournalReader(path, buffer, folder)
        if index is not None and not index.is_of(self.reader.file):
            index = None
        if final:
            self.reader.freeze()
        header = self.reader.header
        self.pid, self.runtime = header.pid, header.runtime
        self.journal = self.reader.path.name.removesuffix(JOURNAL_SUFFIX)
        self.ended = False
        self._final = final
        self._contents = contents
        self._text = f"{self.reader.path.name}: {self.runtime} process {self.pid}, tracker {header.tracker}"
        self._begun = self._ended_early = False
        self._batch = Batch(self.pid, header.started)
        self._payloads = Payloads()
        self._sifter: Sifter | None = None
        self._index, self._digests = index, digests
        self._skipper: Skipper | None = None
        self.kept = Kept() if kept is None else kept
        self.noted: Noted | None = None
        self.quiet = False
        """Whether records are dropped that aren't events: they are handled for what they define."""
        share = Share(self.kept, self.reader.file)
        self.stores = self._stores = Stores(
            Event, Part, self.pid, self.runtime, ORIGINS, call, Shown, value, self.journal
        )
        self._variables = Variables(self.pid, self.runtime, self.journal, self._stores, share, serializers)
        self._lines = None if merging is None else merging_stores(self._stores)
        if self._lines is not None and merging is not None:
            self._lines.merge_runs(merged, GAP_NS, tell if merging.each else None, merging.keep)
            self._variables.merge(self._lines)
        self._names = Names(self._stores, is_own)
        self._losses = Losses(self.reader, self._variables, share)
        self.contexts = Contexts(self._stores, outcomes)
        self._handlers: Mapping[int, Handler] = {
            Kind.VARIABLE: self._register,
            Kind.METADATA: self._variables.describe,
            Kind.CONTENT: self._fill,
            Kind.UNREGISTERED: self._unregister,
            Kind.SITE: self._names.site,
            Kind.THREAD: self._names.thread,
            Kind.CONTEXT: self._open_context,
            Kind.OUTCOME: self._end_context,
            Kind.LOST: self._losses.record,
            Kind.PLACE: self._variables.place,
            Kind.ALIAS: self._variables.alias,
            Kind.NOT_FOLLOWED: self._variables.leave_out,
            Kind.STACK: self._names.stack,
            Kind.REQUEST: self._names.request,
        }
        self._is_known: Mapping[int, Callable[[RawRecord], bool]] = {
            Kind.VARIABLE: self._variables.is_registered,
            Kind.METADATA: self._variables.is_described,
            Kind.THREAD: self._names.is_known,
        }

    def sieve(self, sieve: Sieve) -> None:
        """Gives out only what passes the sieve from now on. Call it before the first :meth:`poll`."""
        self._sifter = Sifter(sieve, self._stores, self.reader, self.journal)
        if self._index is not None and (loop := recording(self._stores)) is not None:
            self._skipper = Skipper(self._index, self, loop, self._sifter, self._digests)

    @property
    def skipped(self) -> int:
        """Number of events that the sieve left out."""
        return self._stores.skipped

    @property
    def matched(self) -> int:
        """Number of those left out that were wanted, but lie before the place from which events are given out."""
        return self._stores.matched

    @property
    def matches(self) -> deque[tuple[int, int]]:
        """With a sieve: :attr:`Sifter.matches`."""
        return deque() if self._sifter is None else self._sifter.matches

    @property
    def floors(self) -> list[int]:
        """With a sieve: :attr:`Sifter.floors`."""
        return [] if self._sifter is None else self._sifter.floors

    @property
    def pending(self) -> int:
        """How many records the next batch has by now."""
        return len(self._batch.records)

    def events(self) -> list[Event]:
        """The events of the block that was taken last: see :meth:`advance`."""
        return [record for record in self._batch.records if isinstance(record, Event)]

    def known(self, ident: int) -> Known | None:
        """See :meth:`Variables.known`."""
        return self._variables.known(ident)

    def tell(self, digest: Digest) -> None:
        """Gives out a digest, as if it were a record."""
        self._batch.add(cast(Record, digest))
        self.floors.append(self._stores.high)

    @property
    def live(self) -> bool:
        """Whether the process may still add to the journal."""
        return self.reader.live

    def watched(self) -> Iterator[tuple[Variable, str | None, int]]:
        """See :meth:`Variables.watched`."""
        return self._variables.watched()

    def close(self) -> None:
        """Closes the file."""
        self.reader.close()

    def poll(self, limit: int | None = None, slots: int | None = None) -> list[Record]:
        """The next records, empty if there are none now (or, once ``ended``, at all).

        At most some thousands, with values of about ``limit`` bytes, from at most ``slots`` slots.
        """
        batch = self._batch
        batch.begin(BATCH_BYTES if limit is None else limit)
        self.floors.clear()
        if not self._begun:
            self._begun = True
            batch.notice(self._text)
            self._set_aside(0)
        while not self.ended:
            if self._ended_early:
                self._ended_early = False
                self.end_runs(batch.records)
            if self._skipper is not None:
                if self._skipper.skip():
                    batch.time = self._stores.time
                    if batch.records:
                        break
                    continue
                block = self.reader.read(self._skipper.clip(slots))
            else:
                block = self.reader.read(slots)
            jumped = self.reader.take_jump()
            if jumped is not None:
                self.end_runs(batch.records)
                kept = len(batch.records)
                self._jump(jumped)
                self._set_aside(kept)
                continue
            if block is None:
                self.end_runs(batch.records, None if self._final else time_ns() - GAP_NS)
                break
            self._take_block(block)
            if self._sifter is not None:  # here, as without a sieve
                self._set_aside(self._counted(batch))
            if batch.records:
                break
            # A block without a whole record isn't read again: either its writer is gone and the block is damaged, or
            # there is nothing to read now.
            batch.restart()
        if self.reader.ended and not self.ended:
            self.end_runs(batch.records)
        kept = self._counted(batch)
        if self.reader.ended and not self.ended and self._variables.announce_rest(batch):
            self.ended = True
            self._losses.ending(len(self._payloads), batch)
            self.close()
        self._set_aside(kept)
        return batch.records

    def end_runs(self, records: list[Record], before: int | None = None) -> None:
        """Ends the runs whose last store was before a time (None: all). Appends the lines that wait for no other."""
        if self._lines is not None:
            self._lines.end_runs(NONE if before is None else max(0, before), records)

    def end_lines(self) -> None:
        """Ends all runs: the next :meth:`poll` begins with their lines."""
        self._ended_early = True

    def _ordered(self, kept: int) -> int:
        """Puts the lines of runs before the records from ``kept`` on, which aren't events and which they came before.
        Returns where those begin now."""
        records = self._batch.records
        if self._lines is None or len(records) == kept:
            return kept
        others = records[kept:]
        del records[kept:]
        self.end_runs(records)
        kept = len(records)
        records += others
        return kept

    def _counted(self, batch: Batch) -> int:
        """Tells of losses that were only counted. Returns where that begins."""
        kept = len(batch.records)
        self._losses.counters(batch)
        return self._ordered(kept)

    def _set_aside(self, kept: int) -> None:
        if self._sifter is not None:
            self._sifter.set_aside(self._batch.records, kept)

    def _take_block(self, block: Block) -> None:
        index, stop, resync = 0, block.slots, False
        view, first, run, batch, out = block.view, block.first, self._stores.run, self._batch, self._batch.records
        matched = self.matched if self._sifter is not None else 0
        while index < stop:
            index, why = run(view, index, stop, first, out, batch.limit, resync)
            resync = False
            if why == Stop.END or why == Stop.FULL:
                break
            record, following = self.reader.parse(block, index)
            if why == Stop.OTHER:
                if following <= index:
                    break  # continues behind this block
                index = following
            resync = why == Stop.GAP and record is not None
            if record is not None:
                self.handle(record, why)
            if batch.is_full:
                break
        self.reader.advance(first + index)
        if self._sifter is not None:
            self._sifter.note(first, self.matched - matched)
            batch.time = self._stores.time
        elif self._lines is not None:
            batch.time = max([self._stores.time, *(record.time_ns for record in out[-1:])])
        elif out:
            batch.time = out[-1].time_ns
        if self._digests is not None:
            self._digests.see(self.journal, self.events())
        kept = len(out)
        for ident in self._stores.failures():
            if shown := self._variables.shown(ident):
                batch.notice(f"serializer {shown.serializer!r} can't decode {shown.name}; its values are left out")
        self._set_aside(self._ordered(kept))

    def _jump(self, stores: int) -> None:
        """Continues after a part of the journal that was freed. The journal repeats there what earlier records
        defined."""
        seen, self._stores.seq = self._stores.seq, stores
        self._payloads = Payloads()
        self._losses.jump(seen, stores, self._batch)
        for record in self.reader.copies():
            self._take(record)

    def advance(self, slots: int | None = None) -> bool:
        """Takes the next block, without giving out anything. False: there is none now, or the journal has a limit."""
        self._batch.begin(BATCH_BYTES)
        block = self.reader.read(slots)
        if block is None or self.reader.jumped is not None:
            return False
        self._take_block(block)
        return True

    def handle(self, record: RawRecord, why: int) -> None:
        """Handles a record at which the store loop has stopped."""
        kept, batch = len(self._batch.records), self._batch
        if self.noted is not None:
            self.noted(record, why)
        if why == Stop.OTHER:
            self._take(record)
        elif why == Stop.GAP:
            self._losses.gap(record, batch)
        else:
            self._variables.introduce(record, batch)
        if self.noted is not None and len(batch.records) > kept:
            self.noted.told(batch.records[kept:])
        if self.quiet:
            del batch.records[kept:]
        self._set_aside(self._ordered(kept))

    # ---- what records say that are no STORE -------------------------------------------------------------------------

    def _take(self, record: RawRecord) -> None:
        try:
            payload = self._payloads.whole(record)
            handler = self._handlers.get(record.kind)
            if payload is None or handler is None or (record.flags & Flag.REPEATED and self._says_nothing_new(record)):
                return
            handler(record, payload, self._batch)
        except (msgspec.MsgspecError, ValueError, RecursionError, IndexError) as error:
            self._losses.unreadable(record, error, self._batch)

    def _says_nothing_new(self, record: RawRecord) -> bool:
        """Whether a repeated record, copied because its original was freed, is already known."""
        is_known = self._is_known.get(record.kind)
        return is_known is not None and is_known(record)

    def _register(self, record: RawRecord, payload: bytes, batch: Batch) -> None:
        self._variables.register(record, payload, batch)
        untold = layout.REGISTERED.unpack(payload)[0] & layout.UNTOLD
        if self._contents is not None and not record.flags & Flag.REPEATED and not untold:
            self._contents(Content(self.journal, record.id, record.time, self._stores.seq, 0, b"", True))

    def _fill(self, record: RawRecord, payload: bytes, batch: Batch) -> None:
        (offset,) = layout.head_of(payload, layout.CONTENT)
        data, always = self._variables.content(record.id, offset, payload[layout.CONTENT.size :])
        if self._contents is not None:
            seq = self._stores.seq
            self._contents(Content(self.journal, record.id, record.time, seq, offset, data, always=always))
        if not self._variables.fill(record.id, offset, data) and not always:
            self._losses.change(record, offset, len(data), batch)

    def _unregister(self, record: RawRecord, payload: bytes, batch: Batch) -> None:
        self._variables.announce(record.id, batch)
        if self.reader.lost:
            self._losses.stores(batch, record.id)  # while the variable's name is known
        self._variables.unregister(record, payload, self._names.site_of, batch)

    def _open_context(self, record: RawRecord, payload: bytes, batch: Batch) -> None:
        self.contexts.open(record.id, payload)

    def _end_context(self, record: RawRecord, payload: bytes, batch: Batch) -> None:
        settled = self.contexts.update(record.id, payload)
        if settled is not None:
            batch.add(Outcome(record.time, self.pid, *settled, journal=self.journal))
