"""What the fuzzer feeds: any bytes, made into a journal, decoded by both loops, which must agree and come to an end.

An input is the first 352 bytes of a header (its magic and, mostly, its sizes are put right), then slots. Three bytes in
the place of the magic choose: sizes as they are; slots at the border of a segment; a writer that lives."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "journal"))

from decoding import SERIALIZERS

from memwatch_core.errors import JournalError
from memwatch_core.host import decoder
from memwatch_core.journal import layout, stores
from memwatch_core.records import Record

HEAD = 352
SIZES = layout.HEADER.pack(layout.MAGIC, 1, 1, 4096, 64, layout.SEGMENT_SLOTS, 0, 0, b"", b"", b"", 0, 0)[:24]
BORDER = layout.SEGMENT_SLOTS - 6
RAW, AT_BORDER, LIVE = range(3)
LOOKS = 5


def make(data: bytes, path: Path) -> None:
    """Writes the journal that an input stands for."""
    data = data.ljust(HEAD, b"\0")
    start = layout.MAGIC + data[8:24] if data[RAW] & 1 else SIZES
    with open(path, "wb") as file:
        file.write((start + data[24:HEAD]).ljust(layout.HEADER_SIZE, b"\0"))
        file.seek(layout.HEADER_SIZE + (BORDER * layout.SLOT_SIZE if data[AT_BORDER] & 1 else 0))
        file.write(data[HEAD:])


def decode(path: Path, loop: type[stores.PythonStores], lives: int) -> list[Record]:
    """All records; the writer counts as alive for the first ``lives`` looks."""
    decoder.Stores = loop  # type: ignore[misc]
    journal = decoder.JournalDecoder(path, SERIALIZERS, final=lives == 0)
    looks = iter(range(lives))
    journal.reader._writer.alive = lambda: next(looks, None) is not None  # type: ignore[method-assign]
    records: list[Record] = []
    while not journal.ended:
        records += journal.poll()
    assert not journal.live
    return records


def run(data: bytes, path: Path) -> list[Record] | None:
    """Decodes an input; None: it is no journal. Raises what a user must never see."""
    make(data, path)
    lives = LOOKS if len(data) > LIVE and data[LIVE] & 1 else 0
    found: list[Any] = []
    for loop in (stores.Stores, stores.PythonStores):
        try:
            found.append(decode(path, loop, lives))
        except JournalError as error:
            found.append(str(error))
    first, second = found
    if repr(first) != repr(second):  # not ==: there may be NaN in it
        raise AssertionError(f"the loops disagree:\n{first}\n{second}")
    return None if isinstance(first, str) else first
