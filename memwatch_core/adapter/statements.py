"""SQL statements fit for the journal: literals replaced by ``?``, comments and extra whitespace removed.

All adapters share one scanner in C (its rules are in ``core/text/statement.c``). All functions are thread-safe and
never raise, whatever they are given.
"""

from __future__ import annotations

from typing import Any

from ..native.tracing import read_statement
from .names import type_name

LIMIT = 16_384
"""Characters of a statement that are scanned."""
MARK = " …"
"""The end of a truncated statement."""


def normalise(statement: object, dialect: str = "") -> str:
    """The statement without literals and comments; ``""`` if nothing is left.

    ``dialect`` is ``"sqlite"``, ``"postgresql"`` or ``"mysql"``; any other is scanned most cautiously. A statement
    longer than :data:`LIMIT` is truncated and ends in :data:`MARK`. Bytes are decoded as UTF-8. Of any other object
    only the type's name is recorded, as ``<type>``. Idempotent for text.
    """
    return read_statement(_text(statement), dialect)[0]


def _text(statement: Any) -> str:
    """Calls no method of a class of the program's."""
    kind = type(statement)
    if issubclass(kind, str):
        return str.__str__(statement)
    for binary in (bytes, bytearray):
        if issubclass(kind, binary):
            part: bytes | bytearray = binary.__getitem__(statement, slice(LIMIT + 1))
            return part.decode("utf-8", "replace")
    return type_name(statement)
