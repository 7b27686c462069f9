"""Reports what a journal lacks: stores that couldn't be recorded, dropped events, damaged slots."""

from __future__ import annotations

from ..journal import layout
from ..journal.reader import JournalReader
from ..journal.records import RawRecord
from .batch import Batch
from .kept import Share
from .variables import Variables

CAUSE_MAX = 200
"""Characters shown of why a record can't be read: the text may come from the record."""


class Losses:
    """Reports each loss once, with the variable's name if known."""

    def __init__(self, reader: JournalReader, variables: Variables, share: Share) -> None:
        self._reader, self._variables, self._share = reader, variables, share
        self._told: dict[int, int] = {}
        """Stores that couldn't be recorded, by variable, as far as reported."""
        self._skipped_told = self._damaged_told = 0
        self._unfollowed_told = False
        self._lossy: set[int] = set()
        """Variables with known losses, which explain bytes that changed without an event."""

    def record(self, record: RawRecord, payload: bytes, batch: Batch) -> None:
        """Handles a LOST record."""
        (count,) = layout.head_of(payload, layout.LOST)
        reason = payload[layout.LOST.size :][: layout.LOST_REASON_MAX].decode("utf-8", "replace")
        name = self._variables.name(record.id)
        batch.lost(count, reason or "stores that ran and were not recorded", name, record.time)

    def unreadable(self, record: RawRecord, error: Exception, batch: Batch) -> None:
        """Handles a record whose payload can't be decoded."""
        name = layout.Kind(record.kind).name
        batch.lost(1, f"{name} record {record.id} can't be read: {str(error)[:CAUSE_MAX]}", None, record.time)

    def gap(self, record: RawRecord, batch: Batch) -> None:
        """Handles a STORE whose bytes before differ from those that the last event left."""
        length = len(record.payload) // 2
        if self._reader.header.max_bytes or self._reader.lost:
            self.stores(batch, record.id)
            if record.id in self._lossy:
                if self._variables.is_covered(record.id, record.offset, length):
                    self._lossy.discard(record.id)  # all bytes are known again
                return
        self.change(record, record.offset, length, batch)

    def change(self, record: RawRecord, offset: int, length: int, batch: Batch) -> None:
        """Reports bytes that changed without an event."""
        where = f"bytes {offset} to {offset + length - 1}"
        reason = f"a change without an event: {where} are not what the last event left"
        batch.lost(1, reason, self._variables.name(record.id), record.time)

    def jump(self, seen: int, stores: int, batch: Batch) -> None:
        """Handles slots that the writer (or somebody else) freed before they were read.

        The journal had ``stores`` events before the first slot left; ``seen`` of them were read.
        """
        reader, gone = self._reader, max(0, stores - seen)
        self._lossy.update(self._variables)
        read = reader.file.acknowledged()  # of a writer that has ended: whether anybody followed it at all
        unread = read < reader.front if reader.live else not read
        if seen or self._variables or unread:
            batch.lost(gone, "events that were dropped, unread, for newer ones: journal.policy is rotate")
        elif gone:
            batch.notice(f"{reader.path.name}: its first {gone:,} events are no longer on the disk (journal.max_bytes)")

    def counters(self, batch: Batch) -> None:
        """Reports what the counters of journal and reader have reached."""
        reader = self._reader
        if reader.lost > sum(self._told.values()) and (reader.ended or reader.position >= reader.reserved):
            self.stores(batch)  # by now the names of all variables are known
        if reader.damaged > self._damaged_told:
            batch.lost(reader.damaged - self._damaged_told, "damaged slots of the journal were stepped over")
            self._damaged_told = reader.damaged
        if reader.skipped > self._skipped_told:
            reason = "slots that were being written when the process ended"
            batch.lost(reader.skipped - self._skipped_told, reason)
            self._skipped_told = reader.skipped
        if self._share.refused and not self._unfollowed_told:
            self._unfollowed_told = True
            text = f"{reader.path.name}: some variables take too much memory to be followed: of these, only the bytes "
            batch.notice(text + "that stores touched are known, not the values")

    def stores(self, batch: Batch, only: int | None = None) -> None:
        """Reports the stores that the writer counted as lost, by variable. ``only``: of one variable, and the shared
        count."""
        reason = "stores that ran and couldn't be recorded: "
        limited = self._reader.header.max_bytes
        reason += "journal.max_bytes was reached" if limited else "the disk was full, or the program closed the file"
        losses = self._reader.file.losses()
        rest = self._reader.lost - sum(losses.values())
        if rest > 0:  # format 1.0 has only the total
            losses[0] = losses.get(0, 0) + rest
        for ident, count in losses.items():
            more = count - self._told.get(ident, 0)
            if more <= 0 or (only is not None and ident not in (0, only)):
                continue
            name = (self._variables.name(ident) or f"variable {ident}") if ident else None
            batch.lost(more, reason, name)
            self._told[ident] = count
            self._lossy.update([ident] if ident else self._variables)

    def ending(self, halves: int, batch: Batch) -> None:
        """Reports the end of the journal. ``halves``: number of records whose second half is missing."""
        reader, name = self._reader, self._reader.path.name
        if halves:
            batch.lost(halves, "records whose second half is missing")
        if reader.missing:
            batch.lost(reader.missing, f"slots at the end of {name}: the file is cut short")
        if reader.unknown:
            kinds = ", ".join(f"{count} of kind {kind}" for kind, count in sorted(reader.unknown.items()))
            batch.notice(f"{name}: records of unknown kinds were left out ({kinds}): a newer MemWatch wrote them")
        end = "closed" if reader.closed else "the process ended without closing it"
        batch.notice(f"{name}: {end}", max(batch.time, reader.closed))
