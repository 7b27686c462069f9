"""What tests ask of journals that real programs have left."""

from __future__ import annotations

import json
from pathlib import Path

from memwatch_core.host.outcomes import final_outcomes
from memwatch_core.journal.layout import Kind
from memwatch_core.journal.reader import JournalReader
from memwatch_core.journal.records import Payloads


def contexts(journal: Path) -> int:
    """How many statements it tells of."""
    reader = JournalReader(journal)
    try:
        return sum(record.kind == Kind.CONTEXT for record in reader.records())
    finally:
        reader.close()


def statements(journal: Path) -> list[tuple[str, str]]:
    """Each statement, in order of beginning, and what became of it: ``ended`` if that isn't told."""
    reader, payloads = JournalReader(journal), Payloads()
    known: dict[int, str] = {}
    try:
        for record in reader.records():
            if record.kind == Kind.CONTEXT and (payload := payloads.whole(record)) is not None:
                known[record.id] = json.loads(payload)["statement"]
    finally:
        reader.close()
    told = final_outcomes(journal)
    return [(text, told.get(ident, "ended")) for ident, text in sorted(known.items())]
