"""Raw records of one journal -> the frozen records that sinks get.

The store loop (:mod:`memwatch_core.journal.stores`) keeps the bytes of each variable (from CONTENT, then from each
STORE), so that ``old`` and ``new`` are the whole decoded variable even if a store touched one byte of it, and so that
bytes that changed without an event are found out: a :class:`~memwatch_core.records.Lost` record says so, and decoding
goes on from the new bytes. What the other records say goes to :mod:`.variables`, :mod:`.names`, :mod:`.statements` and
:mod:`.losses`. Nothing in a journal can make the decoder raise: what makes no sense is counted, and reported as
``Lost``.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping

import msgspec

from ..journal import layout
from ..journal.layout import ORIGINS, Flag, Kind, call
from ..journal.reader import JournalReader
from ..journal.records import Block, Payloads, RawRecord
from ..journal.session import JOURNAL_SUFFIX
from ..journal.stores import Stop, Stores
from ..records import Event, Outcome, Part, Record, Serializer, Shown
from .batch import Batch
from .kept import Kept, Share
from .losses import Losses
from .names import Names
from .outcomes import final_outcomes
from .places import value
from .sieve import Sieve, Sifter
from .statements import Contexts
from .variables import Variables

BATCH_BYTES = 1 << 23
"""A batch of records ends when its values came to this many bytes."""

Handler = Callable[[RawRecord, bytes, Batch], object]
"""What a kind of record means: takes the record, its whole payload, and where records for sinks go. Raises ValueError,
msgspec.MsgspecError or RecursionError for what can't be read."""


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
        header = self.reader.header
        self.pid, self.runtime = header.pid, header.runtime
        self.journal = self.reader.path.name.removesuffix(JOURNAL_SUFFIX)
        self.ended = False
        self._text = f"{self.reader.path.name}: {self.runtime} process {self.pid}, tracker {header.tracker}"
        self._begun = False
        self._batch = Batch(self.pid, header.started)
        self._payloads = Payloads()
        self._sifter: Sifter | None = None
        share = Share(Kept() if kept is None else kept, self.reader.file)
        self._stores = Stores(Event, Part, self.pid, self.runtime, ORIGINS, call, Shown, value, self.journal)
        self._variables = Variables(self.pid, self.runtime, self.journal, self._stores, share, serializers)
        self._names = Names(self._stores)
        self._losses = Losses(self.reader, self._variables, share)
        self.contexts = Contexts(self._stores, outcomes)
        self._handlers: Mapping[int, Handler] = {
            Kind.VARIABLE: self._variables.register,
            Kind.METADATA: self._variables.describe,
            Kind.CONTENT: self._fill,
            Kind.UNREGISTERED: self._unregister,
            Kind.SITE: self._names.site,
            Kind.THREAD: self._names.thread,
            Kind.CONTEXT: self._open_context,
            Kind.OUTCOME: self._end_context,
            Kind.LOST: self._losses.record,
            Kind.PLACE: self._variables.place,
        }
        self._is_known: Mapping[int, Callable[[RawRecord], bool]] = {
            Kind.VARIABLE: self._variables.is_registered,
            Kind.METADATA: self._variables.is_described,
            Kind.THREAD: self._names.is_known,
        }

    def sieve(self, sieve: Sieve) -> None:
        """From now on only what passes is given out. Before the first :meth:`poll`."""
        self._sifter = Sifter(sieve, self._stores, self.reader, self.journal)

    @property
    def skipped(self) -> int:
        """Events that the sieve has left out."""
        return self._stores.skipped

    @property
    def matched(self) -> int:
        """Those of them that were wanted, and too early."""
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
    def live(self) -> bool:
        """Whether the process may still add to the journal."""
        return self.reader.live

    def close(self) -> None:
        """Closes the file."""
        self.reader.close()

    def poll(self, limit: int | None = None, slots: int | None = None) -> list[Record]:
        """The next records: some thousands at most, their values some megabytes (``limit``; about), of ``slots`` slots
        at most; empty if there are none now (or, when ``ended``, at all)."""
        batch = self._batch
        batch.begin(BATCH_BYTES if limit is None else limit)
        self.floors.clear()
        if not self._begun:
            self._begun = True
            batch.notice(self._text)
            self._set_aside(0)
        while not self.ended:
            block = self.reader.read(slots)
            jumped = self.reader.take_jump()
            if jumped is not None:
                kept = len(batch.records)
                self._jump(jumped)
                self._set_aside(kept)
                continue
            if block is None:
                break
            self._take_block(block)
            if self._sifter is not None:  # now, as without one
                kept = len(batch.records)
                self._losses.counters(batch)
                self._set_aside(kept)
            if batch.records:
                break
            # A block without a whole record isn't given again: then the writer has gone, and what is there is damaged,
            # or there is nothing to be read now.
            batch.restart()
        kept = len(batch.records)
        self._losses.counters(batch)
        if self.reader.ended and not self.ended and self._variables.announce_rest(batch):
            self.ended = True
            self._losses.ending(len(self._payloads), batch)
            self.close()
        self._set_aside(kept)
        return batch.records

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
            kept = len(out)
            if why == Stop.OTHER:
                if following <= index:
                    break  # not whole in this block
                index = following
                if record is not None:
                    self._take(record)
            elif record is not None:
                if why == Stop.GAP:
                    self._losses.gap(record, batch)
                    resync = True
                else:
                    self._variables.introduce(record, batch)
            self._set_aside(kept)
            if batch.is_full:
                break
        self.reader.advance(first + index)
        if self._sifter is not None:
            self._sifter.note(first, self.matched - matched)
            batch.time = self._stores.time
        elif out:
            batch.time = out[-1].time_ns
        kept = len(out)
        for ident in self._stores.failures():
            if shown := self._variables.shown(ident):
                batch.notice(f"serializer {shown.serializer!r} can't decode {shown.name}; its values are left out")
        self._set_aside(kept)

    def _jump(self, stores: int) -> None:
        """The journal goes on further on: what it says there once more takes the place of what isn't there any more."""
        seen, self._stores.seq = self._stores.seq, stores
        self._payloads = Payloads()
        self._losses.jump(seen, stores, self._batch)
        for record in self.reader.copies():
            self._take(record)

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
        """Of a record that was copied, because its place was given back to the disk."""
        is_known = self._is_known.get(record.kind)
        return is_known is not None and is_known(record)

    def _fill(self, record: RawRecord, payload: bytes, batch: Batch) -> None:
        (offset,) = layout.head_of(payload, layout.CONTENT)
        data = payload[layout.CONTENT.size :]
        if not self._variables.fill(record.id, offset, data):
            self._losses.change(record, offset, len(data), batch)

    def _unregister(self, record: RawRecord, payload: bytes, batch: Batch) -> None:
        self._variables.announce(record.id, batch)
        if self.reader.lost:
            self._losses.stores(batch, record.id)  # while its name is known
        self._variables.unregister(record, batch)

    def _open_context(self, record: RawRecord, payload: bytes, batch: Batch) -> None:
        self.contexts.open(record.id, payload)

    def _end_context(self, record: RawRecord, payload: bytes, batch: Batch) -> None:
        settled = self.contexts.update(record.id, payload)
        if settled is not None:
            batch.add(Outcome(record.time, self.pid, *settled, journal=self.journal))
