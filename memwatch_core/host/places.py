"""The places of objects and dicts watched in place: decodes cells of slabs into values, and PLACE records into paths.

A slab is a variable that consists of cells, one for each place; docs/journal-format.md describes a cell. A damaged cell
reads as :data:`UNREADABLE`, and a place without a valid record has no name: neither yields a value that wasn't there.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ..journal import layout
from ..journal.layout import CELL, CELL_SIZE, CellFlag, CellKind
from ..records import ABSENT, Alias, Shown, WhyNot
from .secrets import shown_cell

UNREADABLE = Shown("<unreadable>")
"""The value of a cell that is damaged, or of a kind that this version doesn't know."""
PLACE_WEIGHT = 256
"""Bytes of memory for a place, besides its path: among them a copy of its cell."""

_CONSTANTS: tuple[Any, ...] = (ABSENT, None, False, True)
_INT, _FLOAT, _STR = CellKind.INT.value, CellKind.FLOAT.value, CellKind.STR.value
_BYTES, _OTHER, _CUT = CellKind.BYTES.value, CellKind.OTHER.value, CellFlag.CUT.value
_SECRETS = frozenset({CellKind.SECRET.value, CellKind.SECRET_OTHER.value})
"""Plain numbers: comparing members of an enum would cost more than everything else that is done for a cell."""
_NUMBERS = {_INT: struct.Struct("<q"), _FLOAT: struct.Struct("<d")}
_beginning = codecs.getincrementaldecoder("utf-8")


@lru_cache(maxsize=4096)  # the value after a store is the one before the next
def value(cell: bytes) -> Any:
    """The value of a cell, from the bytes that a store touched: None, bool, int, float, str, bytes, :class:`Shown`."""
    kind, used, flags = CELL.unpack_from(cell if len(cell) >= CELL.size else cell.ljust(CELL.size, b"\0"))
    kind &= layout.CELL_KIND
    if kind < len(_CONSTANTS):
        return _CONSTANTS[kind]
    payload = cell[CELL.size : CELL.size + used]
    if len(payload) < used:
        return UNREADABLE
    try:
        if kind in _SECRETS:
            return shown_cell(payload, flags >> layout.TAG_SHIFT)
        if kind in _NUMBERS:
            return _NUMBERS[kind].unpack(payload)[0]
        if flags & _CUT:
            return _cut(kind, payload)
        if kind == _BYTES:
            return payload
        if kind in (_STR, _OTHER):
            text = payload.decode("utf-8", "surrogatepass")
            return text if kind == _STR else Shown(text)
    except (struct.error, UnicodeDecodeError):
        pass
    return UNREADABLE


def _cut(kind: int, payload: bytes) -> Shown:
    """A value of which the cell holds only the beginning. Its last character may be incomplete."""
    _, length = layout.CUT.unpack_from(payload)
    data = payload[layout.CUT.size :]
    if kind == _BYTES:
        return Shown(f"{_open(repr(data))} ({length:,} bytes)")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = _beginning("surrogatepass").decode(data)
    if kind == _STR:
        return Shown(f"{_open(repr(text))} ({length:,} characters)")
    return Shown(text) if kind == _OTHER else UNREADABLE


def _open(text: str) -> str:
    """The text with an ellipsis before its closing quote."""
    return f"{text[:-1]}…{text[-1]}"


def place(payload: bytes, size: int) -> tuple[int, str]:
    """Decodes a PLACE of a variable of ``size`` bytes: the offset of a cell, and its path. Raises ValueError."""
    if len(payload) < layout.PLACE.size:
        raise ValueError("it is cut off")
    (offset,) = layout.PLACE.unpack_from(payload)
    if offset % CELL_SIZE or offset + CELL_SIZE > size:
        raise ValueError(f"byte {offset} isn't the beginning of a cell of the variable")
    return offset, payload[layout.PLACE.size :].decode("utf-8", "replace")


def aliases(payload: bytes, name_of: Callable[[int], str]) -> tuple[int, tuple[Alias, ...], bool]:
    """Decodes an ALIAS: the offset of a cell, its other names, and whether there are
    more. Raises ValueError."""
    if len(payload) < layout.ALIAS.size:
        raise ValueError("it is cut off")
    offset, more = layout.ALIAS.unpack_from(payload)
    found: list[Alias] = []
    at = layout.ALIAS.size
    while at < len(payload):
        if len(found) == layout.ALIASES_MOST:
            raise ValueError(f"it has more than {layout.ALIASES_MOST} names")
        ident, length = layout.head_of(payload[at : at + layout.ALIAS_NAME.size], layout.ALIAS_NAME)
        at += layout.ALIAS_NAME.size
        if at + length > len(payload):
            raise ValueError("a name is cut off")
        found.append(Alias(name_of(ident), ident, payload[at : at + length].decode("utf-8", "replace")))
        at += length
    return offset, tuple(found), bool(more)


def not_followed(payload: bytes) -> tuple[int, WhyNot, str, str]:
    """Decodes a NOT_FOLLOWED: how often, why, the type's name, the path of the last one."""
    count, why, length, _ = layout.head_of(payload, layout.NOT_FOLLOWED)
    rest = payload[layout.NOT_FOLLOWED.size :]
    kind, path = (part.decode("utf-8", "replace") for part in (rest[:length], rest[length:]))
    return count, layout.NOT_FOLLOWED_WHY.get(why, "kind"), kind, path


def weight(path: str) -> int:
    """Bytes of memory for a place, as counted by ``Share``; or for another name of it."""
    return PLACE_WEIGHT + len(path) * (1 if path.isascii() else 4)
