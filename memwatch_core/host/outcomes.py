"""The final outcomes of a journal's statements, found in a separate pass before events are decoded."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

import msgspec

from ..journal.index import Flags, Index
from ..journal.layout import SLOT_SIZE, Kind
from ..journal.reader import JournalReader
from ..journal.records import Payloads, RawRecord
from ..records import Context
from .skipping import Clip
from .statements import Contexts

_STATEMENTS = (Kind.CONTEXT, Kind.OUTCOME)
_READ, _HAS_STATEMENTS = int(Flags.READ), int(Flags.STATEMENTS)
_WANTED = re.compile(b"[%c%c]" % _STATEMENTS)
_PAGE = 256
_CODES = 256
"""Number of values of a byte."""


class Outcomes(Mapping[int, str]):
    """Outcomes by context id. Takes about two bytes each if the ids are close to each other."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}
        self._codes = {"": 0, "failed": 1}
        self._texts = [*self._codes]

    def put(self, ident: int, outcome: str) -> None:
        """Adds an outcome. After 254 different ones, further failures are all just ``failed``."""
        code = self._codes.get(outcome)
        if code is None and len(self._texts) < _CODES:
            code = self._codes[outcome] = len(self._texts)
            self._texts.append(outcome)
        page = self._pages.get(ident // _PAGE)
        if page is None:
            page = self._pages[ident // _PAGE] = bytearray(_PAGE)
        page[ident % _PAGE] = code or 1

    def __getitem__(self, ident: int) -> str:
        page = self._pages.get(ident // _PAGE)
        if page is None or not page[ident % _PAGE]:
            raise KeyError(ident)
        return self._texts[page[ident % _PAGE]]

    def __iter__(self) -> Iterator[int]:
        for number, page in sorted(self._pages.items()):
            yield from (number * _PAGE + at for at, code in enumerate(page) if code)

    def __len__(self) -> int:
        return sum(_PAGE - page.count(0) for page in self._pages.values())


class _Everything:
    """Stands in for the store loop: every context counts, whether or not an event carried it."""

    def context(self, ident: int, context: Context | None) -> int:
        return 1


def final_outcomes(path: str | os.PathLike[str], folder: int | None = None, index: Index | None = None) -> Outcomes:
    """The latest outcome of each statement in a journal. Takes less than 0.1 µs a store, some 10 µs a statement; with
    the journal's index, nothing a store.

    Raises JournalError; Stale.
    """
    reader, payloads = JournalReader(path, folder=folder), Payloads()
    if index is not None and not index.is_of(reader.file):
        index = None
    contexts, outcomes = Contexts(_Everything()), Outcomes()
    try:
        for record in _statements(reader, index):
            try:
                payload = payloads.whole(record)
                if payload is None:
                    continue
                if record.kind == Kind.CONTEXT:
                    contexts.open(record.id, payload)
                elif settled := contexts.update(record.id, payload):
                    for ident in settled.contexts:
                        outcomes.put(ident, settled.outcome)
            except (msgspec.MsgspecError, ValueError, RecursionError):
                continue  # the decoder of the journal reports it
    finally:
        reader.close()
    return outcomes


def _statements(reader: JournalReader, index: Index | None) -> Iterator[RawRecord]:
    """The CONTEXT and OUTCOME records so far. Found by the first byte of each slot, so that others needn't be
    parsed."""
    clip = None if index is None else Clip(index)
    while True:
        if index is not None and (number := index.at(reader.position)) is not None:
            part = index.part(number)
            if part.stop > part.start and not part.flags & _READ:
                if part.flags & _HAS_STATEMENTS:
                    for found in reader.records_at(index.summary(part).slots):
                        if found is not None and found.kind in _STATEMENTS:
                            yield found
                reader.advance(part.stop)
                continue
        block = reader.read(None if clip is None else clip(reader.position))
        if block is None:
            return
        stop = block.slots
        for match in _WANTED.finditer(bytes(block.view[: stop * SLOT_SIZE : SLOT_SIZE])):
            record, following = reader.parse(block, match.start())
            if following <= match.start():
                stop = match.start()  # continues behind this block
                break
            if record is not None:
                yield record
        reader.advance(block.first + stop)
