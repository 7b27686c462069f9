"""What the tests of the reading side share: the serializers, and a journal's records at once."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import memwatch_serializer_bytes
import memwatch_serializer_scalars
import memwatch_serializer_struct
import memwatch_serializer_typedarray
from journal_writer import JournalWriter

from memwatch_core.host.decoder import JournalDecoder
from memwatch_core.records import Record, Serializer

SERIALIZERS: dict[str, Serializer] = {
    serializer.name: serializer
    for plugin in (
        memwatch_serializer_scalars,
        memwatch_serializer_bytes,
        memwatch_serializer_struct,
        memwatch_serializer_typedarray,
    )
    for serializer in plugin.memwatch_serializers()
    if isinstance(serializer, Serializer)
}


def q(number: int) -> bytes:
    """A 64-bit number as its variable holds it."""
    return struct.pack("<q", number)


def decode_file(path: Path, serializers: dict[str, Serializer] = SERIALIZERS) -> list[Record]:
    """All records of a journal whose process has ended."""
    records: list[Record] = []
    journal = JournalDecoder(path, serializers)
    while not journal.ended:
        records += journal.poll()
    return records


def decode(writer: JournalWriter, folder: Path, **options: Any) -> list[Record]:
    return decode_file(writer.save(folder, **options))
