"""Copies a journal without the values in it.

Who wrote, where, when, how often and under what statement stays. Of each value there is a hash, by a key that is
thrown away: as in the journal of a secret (docs/decisions/secrets.md), but in the same records, so that slots and
events keep their numbers. What isn't known here isn't copied.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import JournalError
from . import _reader, layout
from .file import JournalFile
from .layout import SEGMENT_SIZE, SLOT_SIZE, Flag, Kind

PLAIN, SLAB, LEFT = 0, 1, 2
"""Of a variable: its bytes are values; it is cells; its bytes are masked already."""
_BLOCK = 1 << 20
_DIGITS = 8
_TYPE = re.compile(r"[^\W\d]\w*(\.\w+)*(, [\d,]+ of the objects in it are not followed \(max_objects=\d+\))?")
_SECRET = re.compile("{<secret [0-9a-f]{12}>}")
_QUOTES = frozenset("\"'")
_OPEN, _CLOSE = "[{(", "]})"


class What(NamedTuple):
    """What is taken out besides values."""

    key: bytes
    """16 bytes, for hashes; the same for all journals of a session."""
    keys: bool = False
    """Keys of dicts that aren't whole numbers."""
    labels: bool = False
    """Labels, names of tasks, ids of traces."""

    def digits(self, text: str, most: int) -> str:
        """Hexadecimal digits that stand for a text."""
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=self.key).hexdigest()[: max(0, most)]


class _Record(NamedTuple):
    """A record, or a part of one that goes on in others."""

    at: int
    """Of its first slot, in the file."""
    slots: int
    flags: int
    ident: int


def copy(source: JournalFile, target: Path, what: What, progress: Callable[[int, int], object]) -> None:
    """Writes the copy, mode 0600. Raises JournalError: it can't be written; OSError."""
    counters = source.counters()
    if counters is None:
        raise JournalError(f"{source.path}: its header is cut off")
    end = min(counters.reserved, source.present())
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        size = _copy_slots(source, descriptor, end)
        _strip(descriptor, size, end, what, progress)
        header = bytearray(source.head())
        header[layout.HEADER.size : layout.HEADER_RESERVED] = bytes(layout.HEADER_RESERVED - layout.HEADER.size)
        layout.VERSION.pack_into(header, layout.VERSION_AT, layout.VERSION_MAJOR, layout.VERSION_MINOR)
        os.pwrite(descriptor, header, 0)  # last: until then, it is no journal
    finally:
        os.close(descriptor)


def _copy_slots(source: JournalFile, descriptor: int, end: int) -> int:
    """Copies what isn't a hole. Returns the size of the file."""
    size = layout.HEADER_SIZE + end * SLOT_SIZE
    os.ftruncate(descriptor, size)
    block = memoryview(bytearray(_BLOCK))
    slot = source.next_data(0)
    while slot is not None and slot < end:
        read = min(source.read(slot, block), end - slot)
        if not read:
            slot = source.next_data(slot + 1)
            continue
        os.pwrite(descriptor, block[: read * SLOT_SIZE], layout.HEADER_SIZE + slot * SLOT_SIZE)
        slot = source.next_data(slot + read)
    return size


def _strip(descriptor: int, size: int, end: int, what: What, progress: Callable[[int, int], object]) -> None:
    if not end:
        return
    with mmap.mmap(descriptor, size) as file:
        segments = [*_segments(descriptor, end)]
        kinds, steps = bytearray(), 2 * len(segments)
        parts: dict[tuple[int, int], list[_Record]] = {}
        for number, (first, stop) in enumerate(segments):
            progress(number, steps)
            _look(file, first, stop, kinds)
        for number, (first, stop) in enumerate(segments, len(segments)):
            progress(number, steps)
            with memoryview(file) as whole, _slots(whole, first, stop) as slots:
                texts = _reader.strip(slots, kinds, what.key)
            for at in texts:
                _take(file, first + at, parts, what)
        for (kind, _), pieces in parts.items():  # whose end is missing
            _put(file, kind, pieces, b"")
        progress(steps, steps)


def _segments(descriptor: int, end: int) -> Iterator[tuple[int, int]]:
    """The slots [first, stop) of each segment that is no hole."""
    for first in range(0, end, layout.SEGMENT_SLOTS):
        begin = layout.HEADER_SIZE + first * SLOT_SIZE
        try:
            data = os.lseek(descriptor, begin, os.SEEK_DATA)
        except OSError:
            return
        if data < begin + SEGMENT_SIZE:
            yield first, min(end, first + layout.SEGMENT_SLOTS)


def _slots(whole: memoryview, first: int, stop: int) -> memoryview:
    return whole[layout.HEADER_SIZE + first * SLOT_SIZE : layout.HEADER_SIZE + stop * SLOT_SIZE]


def _look(file: mmap.mmap, first: int, stop: int, kinds: bytearray) -> None:
    """Notes which variables are slabs, and which are masked."""
    with memoryview(file) as whole, _slots(whole, first, stop) as slots:
        for at in _reader.find(slots, 1 << Kind.VARIABLE | 1 << Kind.METADATA):
            record = _record(slots, at, first)
            kind = slots[at * SLOT_SIZE]
            if record.ident >= 1 << 24:
                continue
            if record.ident >= len(kinds):
                kinds.extend(bytes(record.ident + 1024 - len(kinds)))
            if kind == Kind.VARIABLE:
                flags = layout.WORD.unpack_from(slots, at * SLOT_SIZE + layout.VARIABLE_PAYLOAD)[0]
                if flags & (layout.MASK_BYTES | layout.MASK_WHOLE):
                    kinds[record.ident] = LEFT
            elif b'"cells":%d' % layout.CELL_SIZE in _text(slots, at, record):
                kinds[record.ident] = SLAB


def _record(slots: memoryview, at: int, first: int) -> _Record:
    word, _, _, ident, _, _ = layout.BLOB.unpack_from(slots, at * SLOT_SIZE)
    _, number, _, flags = layout.parts_of(word)
    return _Record(first + at, number, flags, ident)


def _room(record: _Record) -> int:
    return layout.room(layout.BLOB_ROOM, record.slots)


def _text(slots: memoryview, at: int, record: _Record) -> bytes:
    length = min(layout.BLOB.unpack_from(slots, at * SLOT_SIZE)[4], _room(record))
    return layout.payload_of(slots[at * SLOT_SIZE : (at + record.slots) * SLOT_SIZE], layout.BLOB_PAYLOAD, length)


# ---- records with texts ---------------------------------------------------------------------------------------------


def _take(file: mmap.mmap, at: int, parts: dict[tuple[int, int], list[_Record]], what: What) -> None:
    """Takes the values out of a text; of one that goes on elsewhere, when its end has come."""
    with memoryview(file) as whole:
        kind = whole[layout.HEADER_SIZE + at * SLOT_SIZE]
        record = _record(whole[layout.HEADER_SIZE + at * SLOT_SIZE :], 0, at)
    pieces = parts.setdefault((kind, record.ident), [])
    pieces.append(record)
    if record.flags & Flag.MORE:
        return
    del parts[kind, record.ident]
    payload = b"".join(_payload(file, piece) for piece in pieces)
    _put(file, kind, pieces, _without_values(kind, payload, sum(map(_room, pieces)), what))


def _payload(file: mmap.mmap, record: _Record) -> bytes:
    with memoryview(file) as whole, _slots(whole, record.at, record.at + record.slots) as slots:
        return _text(slots, 0, record)


def _put(file: mmap.mmap, kind: int, pieces: list[_Record], payload: bytes) -> None:
    """Writes another payload, which fits, to the same records."""
    for piece in pieces:
        now, payload = payload[: _room(piece)], payload[_room(piece) :]
        begin = layout.HEADER_SIZE + piece.at * SLOT_SIZE
        file[begin + layout.BLOB_PAYLOAD - 4 : begin + layout.BLOB_PAYLOAD] = layout.WORD.pack(len(now))
        padded = now.ljust(_room(piece), b"\0")
        file[begin + layout.BLOB_PAYLOAD : begin + SLOT_SIZE] = padded[: layout.BLOB_ROOM]
        for number in range(1, piece.slots):
            start = layout.BLOB_ROOM + (number - 1) * layout.CONTINUATION_ROOM
            slot, more = begin + number * SLOT_SIZE, padded[start : start + layout.CONTINUATION_ROOM]
            file[slot + layout.CONTINUATION_PAYLOAD : slot + SLOT_SIZE] = more


def _without_values(kind: int, payload: bytes, room: int, what: What) -> bytes:
    try:
        if kind == Kind.PLACE:
            head, path = payload[: layout.PLACE.size], payload[layout.PLACE.size :].decode("utf-8", "surrogatepass")
            return head + _path(path, room - len(head), what)
        if kind == Kind.ALIAS:
            return _aliases(payload, room, what)
        if kind == Kind.NOT_FOLLOWED:
            size = layout.NOT_FOLLOWED.size
            size += layout.head_of(payload[:size], layout.NOT_FOLLOWED)[2]
            return payload[:size] + _path(payload[size:].decode("utf-8", "surrogatepass"), room - size, what)
        said = json.loads(payload)
        if not isinstance(said, dict):
            return b"{}"
        for changed in _JSON[kind](said, what):
            text = json.dumps(changed, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
            if len(text) <= room:
                return text
    except (ValueError, RecursionError):
        pass
    return b"{}" if kind in _JSON else b""


def _metadata(said: dict[str, Any], what: What) -> Iterator[dict[str, Any]]:
    shown = said.get("shown")
    if shown is not None and not (said.get("type") is True and isinstance(shown, str) and _TYPE.fullmatch(shown)):
        said["shown"] = "a value"  # a member of an enum is written as a type would be
    for key in ("name", "path"):
        if isinstance(said.get(key), str):
            said[key] = _path(said[key], 4 * len(said[key]), what).decode("utf-8", "surrogatepass")
    yield {key: said[key] for key in _KNOWN if key in said}
    yield {key: said[key] for key in ("name", "serializer", "options", "size", "cells", "first") if key in said}


_KNOWN = (
    "name", "serializer", "options", "size", "path", "thread_ident", "thread", "site", "cells", "first", "shown", "type",
)  # fmt: skip


def _context(said: dict[str, Any], what: What) -> Iterator[dict[str, Any]]:
    """The statement has no literals. Hashes of it and of parameters, and these if they are plain, get other hashes."""
    if isinstance(said.get("statement_hash"), str):
        said["statement_hash"] = what.digits(said["statement_hash"], len(said["statement_hash"]))
    parameters = said.get("parameters")
    if isinstance(parameters, list):
        yield said | {"parameters": [what.digits(str(each), 16) for each in parameters]}
        yield said | {"parameters": [what.digits(str(each), min(16, len(str(each)))) for each in parameters]}
    yield {key: value for key, value in said.items() if key != "parameters"}


def _outcome(said: dict[str, Any], what: What) -> Iterator[dict[str, Any]]:
    yield said


def _request(said: dict[str, Any], what: What) -> Iterator[dict[str, Any]]:
    if what.labels:
        for key, value in said.items():
            if isinstance(value, str):
                said[key] = what.digits(value, len(value))
            elif isinstance(value, list):
                said[key] = [what.digits(str(each), len(str(each))) for each in value]
    yield said


_JSON: dict[int, Callable[[dict[str, Any], What], Iterator[dict[str, Any]]]] = {
    Kind.METADATA: _metadata,
    Kind.CONTEXT: _context,
    Kind.OUTCOME: _outcome,
    Kind.REQUEST: _request,
}


def _aliases(payload: bytes, room: int, what: What) -> bytes:
    names, at, made = layout.ALIAS_NAME, layout.ALIAS.size, payload[: layout.ALIAS.size]
    while at + names.size <= len(payload):
        ident, length = names.unpack_from(payload, at)
        at += names.size
        path = payload[at : at + length].decode("utf-8", "replace")
        spare = room - len(made) - (len(payload) - at - length) - names.size
        text = _path(path, max(length, spare), what)[:room]
        made += names.pack(ident, len(text)) + text
        at += length
    return made[:room]


# ---- paths ----------------------------------------------------------------------------------------------------------


def parts_of(path: str) -> Iterator[str]:
    """The steps of a path: ``.age``, ``["db"]``, ``[3]``, ``{'a'}``; what is left of one that is cut off."""
    start = depth = 0
    quote = ""
    skip = False
    for at, character in enumerate(path):
        if skip:
            skip = False
        elif quote:
            skip = character == "\\"
            quote = "" if character == quote else quote
        elif character in _QUOTES and depth:
            quote = character
        else:
            if not depth and at > start and character in ".[{":
                yield path[start:at]
                start = at
            depth += (character in _OPEN) - (character in _CLOSE and depth > 0)
    if start < len(path):
        yield path[start:]


def _path(path: str, room: int, what: What) -> bytes:
    """A path without members of sets, and without keys if they are taken out."""
    steps = [*parts_of(path)]
    for digits in range(_DIGITS, -1, -1):
        text = "".join(_step(step, digits, what) for step in steps).encode("utf-8", "surrogatepass")
        if len(text) <= room:
            return text
    return text[:room]


def _step(step: str, digits: int, what: What) -> str:
    if step.startswith("{") and not _SECRET.fullmatch(step):
        return f"{{#{what.digits(step, digits)}}}" if digits else "{}"
    if what.keys and step.startswith("[") and not step[1:-1].isdecimal():
        return f'["#{what.digits(step, digits)}"]' if digits else '[""]'
    return step
