"""What the variables of a process held at a moment: at a slot of its journal, at an event, at a time.

From the place before it at which the index has that, the journal is read up to the moment: without an index, from its
beginning.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from time import time_ns
from typing import Any, NamedTuple

from ..journal.index import Index, Stale
from ..journal.layout import Kind
from ..journal.reader import BLOCK_SLOTS, JournalReader
from ..journal.stores import recording
from ..records import Event, Serializer, Variable
from . import indexing
from .decoder import JournalDecoder
from .own import is_own_by_default
from .places import value
from .sieve import NONE
from .skipping import Skipper


class Held(NamedTuple):
    """What a variable holds."""

    variable: Variable
    path: str | None
    contents: bytes | None
    """Its bytes; None if they aren't known."""
    value: Any
    """None if it can't be decoded."""
    places: Mapping[str, Any]
    """Of an object that is watched where it lies: the values of the places that were written, by their paths. An object
    may have several variables of one name: see :attr:`told`."""
    told: int
    """The id of the variable as which events name it."""


def contents_at(
    path: str | os.PathLike[str],
    slot: int,
    serializers: Mapping[str, Serializer],
    *,
    is_own: Callable[[str], bool] = is_own_by_default,
    progress: indexing.Progress | None = None,
) -> dict[int, Held]:
    """What the variables of a journal hold, by id, when the records before a slot have been made.

    The slot is one where a record begins, or lies behind them all. Raises JournalError.
    """
    index = indexing.of_journal(Path(path), progress)
    with indexing.closing({} if index is None else {"": index}):
        try:
            return _contents_at(path, slot, serializers, is_own, index)
        except Stale:
            return _contents_at(path, slot, serializers, is_own, None)


def _contents_at(
    path: str | os.PathLike[str],
    slot: int,
    serializers: Mapping[str, Serializer],
    is_own: Callable[[str], bool],
    index: Index | None,
) -> dict[int, Held]:
    decoder = JournalDecoder(path, serializers, final=True, judged=False, is_own=is_own, index=index)
    try:
        decoder.quiet = True
        decoder.stores.sieve(NONE, 0, time_ns(), None, [])
        skipper = _skipper(decoder, index)
        while (left := slot - decoder.reader.position) > 0:
            if skipper is not None and skipper.skip(slot):
                continue
            before, most = decoder.reader.position, min(left, BLOCK_SLOTS)
            if not decoder.advance(most if skipper is None else skipper.clip(most)):
                break
            if decoder.reader.position == before and left < BLOCK_SLOTS:
                break  # the slot is in the middle of a record
        return {each.variable.id: each for each in _held(decoder)}
    finally:
        decoder.close()


def _skipper(decoder: JournalDecoder, index: Index | None) -> Skipper | None:
    """To go past parts; None: there is no index, or the decoder reads another file by now."""
    loop = recording(decoder.stores)
    if index is None or loop is None or not index.is_of(decoder.reader.file):
        return None
    return Skipper(index, decoder, loop, None)


def _held(decoder: JournalDecoder) -> Iterator[Held]:
    stores = decoder.stores
    for variable, path, told in decoder.watched():
        places = {where: value(cell) for where, cell in stores.cells(variable.id).items()}
        yield Held(variable, path, stores.contents(variable.id), stores.value(variable.id), places, told)


def slot_of(
    path: str | os.PathLike[str],
    *,
    seq: int | None = None,
    time: int | None = None,
    progress: indexing.Progress | None = None,
) -> int:
    """Where to be in a journal to have an event, by its number, just behind: the next slot. Or: to have all events just
    behind that aren't later than a time, up to the first one that is. The end, if there is no such event.

    Raises JournalError.
    """
    index = indexing.of_journal(Path(path), progress)
    reader = JournalReader(path)
    try:
        with indexing.closing({} if index is None else {"": index}):
            fits = index is not None and index.is_of(reader.file)
            begin, seen = _before(index, seq, time) if index is not None and fits else _before_in(path, seq, time)
        reader.advance(begin)
        reader.freeze()
        for record in reader.records():
            if record.kind != Kind.STORE:
                continue
            seen += 1
            if seen == seq:
                return record.slot + record.slots
            if time is not None and record.time > time:
                return record.slot
        return reader.position
    finally:
        reader.close()


def event_of(path: Path, seq: int, progress: indexing.Progress | None = None) -> tuple[Event | None, int]:
    """The event of a number, without values, and the number of the last event; None: there is none. Of a journal that
    has all its events. Raises JournalError."""
    index = indexing.of_journal(path, progress)
    with indexing.closing({} if index is None else {"": index}):
        try:
            return _event_of(path, seq, index)
        except Stale:
            return _event_of(path, seq, None)


def _event_of(path: Path, seq: int, index: Index | None) -> tuple[Event | None, int]:
    begin, _ = _before_in(path, seq, None) if index is None else _before(index, seq, None)
    decoder = JournalDecoder(path, {}, final=True, judged=False, index=index)
    try:
        decoder.quiet = True
        decoder.stores.sieve(begin, 0, time_ns(), None, [])
        skipper = _skipper(decoder, index)
        while True:
            if skipper is not None and skipper.skip(begin):
                continue
            if not decoder.advance(None if skipper is None else skipper.clip(None)):
                return None, decoder.stores.seq
            if (event := next((event for event in decoder.events() if event.seq == seq), None)) is not None:
                return event, seq
    finally:
        decoder.close()


def _before(index: Index, seq: int | None, time: int | None) -> tuple[int, int]:
    """The part that has it begins here, behind so many events."""
    seen = 0
    for number in range(index.count):
        part = index.part(number)
        if (seq is not None and seen + part.stores >= seq) or (time is not None and part.latest > time):
            return part.start, seen
        seen += part.stores
    return index.part(index.count).start, seen


def _before_in(path: str | os.PathLike[str], seq: int | None, time: int | None) -> tuple[int, int]:
    """As :func:`_before`, of the blocks of a journal."""
    decoder = JournalDecoder(path, {}, final=True, judged=False)
    try:
        decoder.quiet, stores = True, decoder.stores
        stores.sieve(NONE, 0, NONE, None, [])
        while True:
            begin, seen = decoder.reader.position, stores.seq
            more = decoder.advance()
            if not more or (seq is not None and stores.seq >= seq) or (time is not None and stores.high > time):
                return begin, seen
    finally:
        decoder.close()
