"""The places of objects and dicts that are watched where they lie: cells of slabs -> values, PLACE records -> paths.

A slab is a variable of cells, one for each place; docs/journal-format.md says what is in a cell. What a journal says of
one that makes no sense reads as :data:`UNREADABLE`, or the place has no name: never as a value that wasn't there.
"""

from __future__ import annotations

import codecs
import struct
from typing import Any

from ..journal import layout
from ..journal.layout import CELL, CELL_SIZE, CellFlag, CellKind
from ..records import ABSENT, Shown

UNREADABLE = Shown("<unreadable>")
"""The value of a cell that is damaged, or of a kind that this version doesn't know."""
PLACE_WEIGHT = 128
"""Bytes that a place takes in memory, besides its path."""

_CONSTANTS: dict[int, Any] = {
    CellKind.ABSENT: ABSENT,
    CellKind.NONE: None,
    CellKind.FALSE: False,
    CellKind.TRUE: True,
}
_NUMBERS = {CellKind.INT: struct.Struct("<q"), CellKind.FLOAT: struct.Struct("<d")}
_beginning = codecs.getincrementaldecoder("utf-8")


def value(cell: bytes) -> Any:
    """What a cell holds, as far as a store has touched it: None, a bool, int, float, str, bytes or :class:`Shown`."""
    kind, used, flags = layout.head_of(cell[: CELL.size], CELL)
    if kind in _CONSTANTS:
        return _CONSTANTS[kind]
    payload = cell[CELL.size : CELL.size + used]
    try:
        if len(payload) < used:
            return UNREADABLE
        if kind in _NUMBERS:
            return _NUMBERS[kind].unpack(payload)[0]
        if flags & CellFlag.CUT:
            _, length = layout.CUT.unpack_from(payload)
            return _cut(kind, length, payload[layout.CUT.size :])
        if kind == CellKind.BYTES:
            return payload
        if kind in (CellKind.STR, CellKind.OTHER):
            text = payload.decode("utf-8", "surrogatepass")
            return text if kind == CellKind.STR else Shown(text)
    except (struct.error, UnicodeDecodeError):
        pass
    return UNREADABLE


def _cut(kind: int, length: int, data: bytes) -> Shown:
    """A value of which the cell holds the beginning; a character may be cut, too."""
    if kind == CellKind.BYTES:
        return Shown(f"{repr(data)[:-1]}…{repr(data)[-1]} ({length:,} bytes)")
    text = _beginning("surrogatepass").decode(data)
    if kind == CellKind.STR:
        return Shown(f"{repr(text)[:-1]}…{repr(text)[-1]} ({length:,} characters)")
    return Shown(text) if kind == CellKind.OTHER else UNREADABLE


def place(payload: bytes, size: int) -> tuple[int, str]:
    """What a PLACE says of a variable of ``size`` bytes: the offset of a cell, and its path. Raises ValueError."""
    if len(payload) < layout.PLACE.size:
        raise ValueError("it is cut off")
    (offset,) = layout.PLACE.unpack_from(payload)
    if offset % CELL_SIZE or offset + CELL_SIZE > size:
        raise ValueError(f"byte {offset} isn't the beginning of a cell of the variable")
    return offset, payload[layout.PLACE.size :].decode("utf-8", "replace")


def weight(path: str) -> int:
    """What a place takes of what may be kept."""
    return PLACE_WEIGHT + len(path) * (1 if path.isascii() else 4)
