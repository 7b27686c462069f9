"""Parses the slots of a journal into records, without interpreting them."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from . import layout
from .layout import BLOB_KINDS, SLOT_SIZE, Flag, Kind


class RawRecord(NamedTuple):
    """One record."""

    slot: int
    kind: int
    slots: int
    origin: int
    flags: int
    tid: int
    time: int
    id: int
    payload: bytes
    """STORE: bytes before, bytes after. VARIABLE: :data:`~.layout.REGISTERED`. Otherwise ``length`` bytes."""
    offset: int = 0
    site: int = 0
    context: int = 0
    call: tuple[int, int, int] | None = None
    """:data:`~.layout.CALL` of a STORE whose origin is ``syscall`` or ``kernel``."""
    stack: int = 0
    request: int = 0
    native: int = 0
    activation: int = 0
    """Of a STORE; 0: it has none."""


class Block(NamedTuple):
    """Committed slots, beginning with the start of a record."""

    view: memoryview
    first: int
    """Number of the first slot in the journal."""
    slots: int
    last: bool
    """Whether nothing will ever follow."""


class Payloads:
    """Assembles payloads that are split over several records (Flag.MORE)."""

    def __init__(self) -> None:
        self._begun: dict[tuple[int, int], bytearray] = {}

    def __len__(self) -> int:
        """Number of payloads that aren't complete yet."""
        return len(self._begun)

    def whole(self, record: RawRecord) -> bytes | None:
        """The payload that this record completes; None: more follows. Raises ValueError if it is longer than any writer
        makes it."""
        payload, more, kind = record.payload, record.flags & Flag.MORE, record.kind
        if kind in (Kind.VARIABLE, Kind.UNREGISTERED):
            return payload
        most = layout.PAYLOAD_MAX.get(kind, layout.PAYLOAD_MAX_OF_OTHERS)
        begun = self._begun.get((kind, record.id)) if self._begun else None
        if begun is None and more:
            begun = self._begun[kind, record.id] = bytearray()
        if begun is not None:
            if len(begun) <= most:
                begun += payload  # in place: appending many small parts must not take quadratic time
            if more:
                return None
            del self._begun[kind, record.id]
            payload = bytes(begun)
        if len(payload) > most:
            raise ValueError(f"longer than {most:,} bytes")
        return payload


class Parser:
    """Finds the records in blocks, and counts slots that aren't part of one."""

    def __init__(self) -> None:
        self.uncommitted = 0
        """Slots that were reserved and never committed."""
        self.damaged = 0
        """Invalid slots: wrong counts, lengths longer than their record, stray continuations."""
        self.unknown: Counter[int] = Counter()
        """Kind -> number of records of unknown kinds."""

    def parse(self, block: Block, index: int, reserved: int) -> tuple[RawRecord | None, int]:
        """The record at slot ``index`` of a block, and the index behind it.

        The record is None for slots without one (PAD, never committed, damaged, unknown kind; all but PAD are counted).
        If the index is not greater than ``index``, the block has only a part of the record: read on from here. Slots
        from ``reserved`` on were never handed out, so they don't count as uncommitted.
        """
        view, (word,) = block.view, layout.WORD.unpack_from(block.view, index * SLOT_SIZE)
        kind, slots, _, _ = layout.parts_of(word)
        first = block.first + index
        if kind == Kind.FREE:
            self.uncommitted += first < reserved
            return None, _behind(block, index)
        if kind == Kind.CONTINUATION:
            return None, self._damage(block, index)
        room = layout.SEGMENT_SLOTS - first % layout.SEGMENT_SLOTS
        if kind == Kind.PAD:
            return None, index + min(max(slots, 1), room)  # its further slots need not be written
        stop = index + slots
        if slots == 0 or slots > room or (stop > block.slots and block.last):
            return None, self._damage(block, index)
        if stop > block.slots:
            return None, index
        if slots > 1 and not layout.is_continued(view, index, slots):
            return None, self._damage(block, index)
        record = self._record(view[index * SLOT_SIZE : stop * SLOT_SIZE], first, word)
        if record is None and (kind == Kind.STORE or kind in BLOB_KINDS):
            return None, self._damage(block, index)
        return record, stop

    def _damage(self, block: Block, index: int) -> int:
        self.damaged += 1
        return _behind(block, index)

    def _record(self, raw: memoryview, first: int, word: int) -> RawRecord | None:
        """A whole record; None if its length is wrong, or its kind unknown (which is counted)."""
        kind, slots, origin, flags = layout.parts_of(word)
        head = (first, kind, slots, origin, flags)
        if kind == Kind.STORE:
            _, tid, time, variable, offset, length, site, context, _ = layout.STORE.unpack_from(raw)
            skip, size = layout.payload_size(length, origin, flags)
            if size > layout.room(layout.STORE_ROOM, slots):
                return None
            payload = layout.payload_of(raw, layout.STORE_PAYLOAD, size)
            call = layout.CALL.unpack_from(payload) if skip else None
            end = skip + 2 * length
            behind = layout.ids_behind(payload, end, flags)
            return RawRecord(*head, tid, time, variable, payload[skip:end], offset, site, context, call, *behind)
        if kind in BLOB_KINDS:
            _, tid, time, ident, length, _ = layout.BLOB.unpack_from(raw)
            if length > layout.room(layout.BLOB_ROOM, slots):
                return None
            return RawRecord(*head, tid, time, ident, layout.payload_of(raw, layout.BLOB_PAYLOAD, length))
        if kind in (Kind.VARIABLE, Kind.UNREGISTERED):
            _, tid, time, ident = layout.BLOB.unpack_from(raw)[:4]
            return RawRecord(*head, tid, time, ident, bytes(raw[layout.VARIABLE_PAYLOAD : SLOT_SIZE]))
        self.unknown[kind] += 1
        return None


def _behind(block: Block, index: int) -> int:
    """The index behind a slot that isn't part of a record, and behind any CONTINUATION slots after it."""
    index += 1
    while index < block.slots and block.view[index * SLOT_SIZE] == Kind.CONTINUATION:
        index += 1
    return index
