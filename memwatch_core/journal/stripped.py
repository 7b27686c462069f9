"""Copies a journal without the values in it.

Who wrote, where, when, how often and under what statement stays. Of each value there is a hash, by a key that is
thrown away: as in the journal of a secret (docs/decisions/secrets.md), but in the same records, so that slots and
events keep their numbers. What isn't known here isn't copied. A segment is masked in memory before any byte of it is
written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from ..errors import JournalError
from . import _reader, layout
from .file import JournalFile
from .layout import SEGMENT_SIZE, SEGMENT_SLOTS, SLOT_SIZE, Flag, Kind
from .stripped_numbers import IDS, Variables
from .stripped_text import What, rooted, without_values

_CHUNK = 1 << 16
_ZEROS = bytes(_CHUNK)


def copy(source: JournalFile, target: Path, what: What, progress: Callable[[int, int], object]) -> None:
    """Writes the copy, mode 0600. Raises JournalError: its header can't be read; OSError: it can't be written."""
    counters = source.counters()
    if counters is None:
        raise JournalError(f"{source.path}: its header is cut off")
    end = min(counters.reserved, source.present())
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, layout.HEADER_SIZE + end * SLOT_SIZE)
        _Copy(source, descriptor, end, what).run(progress)
        header = bytearray(source.head())
        header[layout.HEADER.size : layout.HEADER_RESERVED] = bytes(layout.HEADER_RESERVED - layout.HEADER.size)
        layout.VERSION.pack_into(header, layout.VERSION_AT, layout.VERSION_MAJOR, layout.VERSION_MINOR)
        _write(descriptor, memoryview(header), 0)  # last: until then, it is no journal
    finally:
        os.close(descriptor)


class _Record:
    """A record whose text is taken out of it, or a part of one that goes on in others."""

    def __init__(self, slots: memoryview, at: int, first: int) -> None:
        begin = at * SLOT_SIZE
        word, _, _, self.ident, length, _ = layout.BLOB.unpack_from(slots, begin)
        self.kind, self.slots, _, self.flags = layout.parts_of(word)
        self.at = first + at
        self.room = layout.room(layout.BLOB_ROOM, self.slots)
        record = slots[begin : begin + self.slots * SLOT_SIZE]
        self.text = layout.payload_of(record, layout.BLOB_PAYLOAD, min(length, self.room))
        self._heads = [bytes(record[at : at + layout.CONTINUATION_PAYLOAD]) for at in range(0, len(record), SLOT_SIZE)]
        self._head = bytes(record[: layout.BLOB_PAYLOAD - layout.WORD.size])

    def with_text(self, text: bytes) -> bytes:
        """Its slots, with another text that fits."""
        padded = text.ljust(self.room, b"\0")
        made = [self._head, layout.WORD.pack(len(text)), padded[: layout.BLOB_ROOM]]
        for number, head in enumerate(self._heads[1:]):
            start = layout.BLOB_ROOM + number * layout.CONTINUATION_ROOM
            made += head, padded[start : start + layout.CONTINUATION_ROOM]
        return b"".join(made)


class _Copy:
    """One journal on its way."""

    def __init__(self, source: JournalFile, descriptor: int, end: int, what: What) -> None:
        self._source, self._descriptor, self._end, self._what = source, descriptor, end, what
        self._block = memoryview(bytearray(SEGMENT_SIZE))
        self._variables = Variables()
        self._parts: dict[tuple[int, int], list[_Record]] = {}

    def run(self, progress: Callable[[int, int], object]) -> None:
        """Reads it twice: what its variables are may be said behind their stores."""
        firsts = [*self._segments()]
        for number, first in enumerate(firsts):
            progress(number, 2 * len(firsts))
            self._look(self._read(first), first)
        self._parts.clear()
        tables = self._variables.tables()
        for number, first in enumerate(firsts, len(firsts)):
            progress(number, 2 * len(firsts))
            slots = self._read(first)
            for at in _reader.strip(slots, *tables, self._what.key):
                self._take(slots, at, first)
            self._save(slots, first)
        progress(2 * len(firsts), 2 * len(firsts))

    def _segments(self) -> Iterator[int]:
        """The first slot of each segment that is no hole."""
        slot = self._source.next_data(0)
        while slot is not None and slot < self._end:
            first = slot - slot % SEGMENT_SLOTS
            yield first
            slot = self._source.next_data(first + SEGMENT_SLOTS)

    def _read(self, first: int) -> memoryview:
        """The slots of a segment; what can't be read is zeros."""
        slots = self._block[: min(SEGMENT_SLOTS, self._end - first) * SLOT_SIZE]
        at = 0
        while at * SLOT_SIZE < len(slots) and (read := self._source.read(first + at, slots[at * SLOT_SIZE :])):
            at += read
        slots[at * SLOT_SIZE :] = bytes(len(slots) - at * SLOT_SIZE)
        return slots

    def _save(self, slots: memoryview, first: int) -> None:
        """Writes what isn't zeros."""
        for at in range(0, len(slots), _CHUNK):
            chunk = slots[at : at + _CHUNK]
            if chunk != _ZEROS[: len(chunk)]:
                _write(self._descriptor, chunk, _offset(first) + at)

    def _look(self, slots: memoryview, first: int) -> None:
        """Notes which variables there are, and what they hold."""
        for at in _reader.find(slots, 1 << Kind.VARIABLE | 1 << Kind.METADATA):
            record = _Record(slots, at, first)
            if record.ident >= IDS:
                continue
            if record.kind == Kind.VARIABLE:
                payload = slots[at * SLOT_SIZE + layout.VARIABLE_PAYLOAD : (at + 1) * SLOT_SIZE]
                flags, size, _, _, _ = layout.REGISTERED.unpack(payload)
                masked = bool(flags & (layout.MASK_BYTES | layout.MASK_WHOLE))
                self._variables.register(record.ident, size, masked)
                continue
            pieces = self._parts.setdefault((record.kind, record.ident), [])
            pieces.append(record)
            if not record.flags & Flag.MORE:
                del self._parts[record.kind, record.ident]
                self._describe(record.ident, b"".join(piece.text for piece in pieces))

    def _describe(self, ident: int, text: bytes) -> None:
        if b'"cells":%d' % layout.CELL_SIZE in text:
            self._variables.hold_cells(ident)
            return
        with suppress(ValueError, RecursionError):
            said = json.loads(text)
            if isinstance(said, dict):
                self._variables.describe(ident, said)

    def _take(self, slots: memoryview, at: int, first: int) -> None:
        """Takes the values out of a text; of one that goes on elsewhere, when its end has come. Until then, there is
        none."""
        record = _Record(slots, at, first)
        if record.kind == Kind.UNREGISTERED:
            return _without_keys(slots[at * SLOT_SIZE : (at + 1) * SLOT_SIZE], self._what)
        pieces = self._parts.setdefault((record.kind, record.ident), [])
        pieces.append(record)
        text = b""
        if not record.flags & Flag.MORE:
            del self._parts[record.kind, record.ident]
            whole = b"".join(piece.text for piece in pieces)
            text = without_values(record.kind, whole, sum(piece.room for piece in pieces), self._what)
            for piece in pieces[:-1]:
                now, text = text[: piece.room], text[piece.room :]
                self._put(slots, first, piece, piece.with_text(now))
        self._put(slots, first, record, record.with_text(text))

    def _put(self, slots: memoryview, first: int, record: _Record, data: bytes) -> None:
        if record.at >= first:
            begin = (record.at - first) * SLOT_SIZE
            slots[begin : begin + len(data)] = data
        else:
            _write(self._descriptor, memoryview(data), _offset(record.at))


def _without_keys(slot: memoryview, what: What) -> None:
    """Of the end of a watch, what was rebound or deleted may have a key."""
    at = SLOT_SIZE - layout.ENDING.size
    site, why, given, length, target = layout.ENDING.unpack_from(slot, at)
    text = rooted(target[:length].decode("utf-8", "replace"), len(target), what)
    layout.ENDING.pack_into(slot, at, site, why, given, len(text), text)


def _offset(slot: int) -> int:
    return layout.HEADER_SIZE + slot * SLOT_SIZE


def _write(descriptor: int, data: memoryview, at: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, at)
        data, at = data[written:], at + written
