"""SQL statements made fit to keep: literals replaced by ``?``, comments and extra whitespace gone.

What a text says is read in C, for all adapters alike (``core/text/statement.c`` says by which rules). All functions may
be called from any thread and never raise, whatever they are given.
"""

from __future__ import annotations

from typing import Any

from ..native.tracing import read_statement
from .names import type_name

LIMIT = 16_384
"""Characters of a statement that are looked at."""
MARK = " …"
"""Ends a statement that was cut."""


def normalise(statement: object, dialect: str = "") -> str:
    """The statement without literals and comments; ``""`` if nothing is left.

    ``dialect``: ``"sqlite"``, ``"postgresql"``, ``"mysql"``; anything else is scanned with the greatest caution. A
    statement longer than :data:`LIMIT` is cut, and ends in :data:`MARK`. Bytes are read as UTF-8; of any other object
    only the name of its type is kept, as ``<type>``. Idempotent for text.
    """
    return read_statement(_text(statement), dialect)[0]


def _text(statement: Any) -> str:
    """Without calling anything of a class of the program's."""
    kind = type(statement)
    if issubclass(kind, str):
        return str.__str__(statement)
    for binary in (bytes, bytearray):
        if issubclass(kind, binary):
            part: bytes | bytearray = binary.__getitem__(statement, slice(LIMIT + 1))
            return part.decode("utf-8", "replace")
    return type_name(statement)
