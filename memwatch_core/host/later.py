"""Makes events of which only the slots were known: those that a question about digests shows in the end."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from time import time_ns

from ..journal.index import Index, Stale
from ..journal.reader import BLOCK_SLOTS
from ..journal.stores import recording
from ..records import Event, Serializer
from .decoder import JournalDecoder
from .digests import Later, Undecided
from .skipping import Skipper


def made(
    wanted: Iterable[Later],
    path: Path,
    serializers: Mapping[str, Serializer],
    is_own: Callable[[str], bool],
    indexes: Mapping[str, Index],
) -> dict[Later, Event]:
    """The events. Raises Undecided."""
    by_journal: dict[str, set[int]] = defaultdict(set)
    for each in wanted:
        by_journal[each.journal].add(each.slot)
    found: dict[Later, Event] = {}
    for journal, slots in by_journal.items():
        name = next((name for name in indexes if name.startswith(f"{journal}.")), "")
        if not name:
            raise Undecided
        try:
            events = _made(path / name if path.is_dir() else path, serializers, is_own, indexes[name], sorted(slots))
        except Stale as error:
            raise Undecided from error
        found |= zip((Later(journal, slot) for slot in sorted(slots)), events, strict=True)
    return found


def _made(
    path: Path, serializers: Mapping[str, Serializer], is_own: Callable[[str], bool], index: Index, slots: list[int]
) -> list[Event]:
    decoder = JournalDecoder(path, serializers, final=True, is_own=is_own, index=index)
    try:
        loop, reader = recording(decoder.stores), decoder.reader
        if loop is None or not index.is_of(reader.file):
            raise Stale
        decoder.quiet = True
        decoder.stores.sieve(0, 0, time_ns(), None, [])
        loop.pick(array("Q", slots).tobytes())
        skipper, events = Skipper(index, decoder, loop, None), list[Event]()
        for slot in slots:
            while reader.position <= slot:
                if skipper.skip(slot):
                    continue
                before = reader.position
                if not decoder.advance(skipper.clip(min(slot + 1 - before, BLOCK_SLOTS))):
                    raise Stale
                if reader.position == before and not decoder.advance(BLOCK_SLOTS):  # a record of several slots
                    raise Stale
                events += decoder.events()
        if len(events) != len(slots) or decoder.kept.short:
            raise Stale
        return events
    finally:
        decoder.close()
