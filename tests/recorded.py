"""What tests ask of journals that real programs have left."""

from __future__ import annotations

from pathlib import Path

from memwatch_core.journal.layout import Kind
from memwatch_core.journal.reader import JournalReader


def contexts(journal: Path) -> int:
    """How many statements it tells of."""
    reader = JournalReader(journal)
    try:
        return sum(record.kind == Kind.CONTEXT for record in reader.records())
    finally:
        reader.close()
