"""The places of objects and dicts that are watched where they lie: cells of slabs -> values, PLACE records -> paths.

A slab is a variable of cells, one for each place; docs/journal-format.md says what is in a cell. What a journal says of
one that makes no sense reads as :data:`UNREADABLE`, or the place has no name: never as a value that wasn't there.
"""

from __future__ import annotations

import codecs
import struct
from functools import lru_cache
from typing import Any

from ..journal import layout
from ..journal.layout import CELL, CELL_SIZE, CellFlag, CellKind
from ..records import ABSENT, Shown

UNREADABLE = Shown("<unreadable>")
"""The value of a cell that is damaged, or of a kind that this version doesn't know."""
PLACE_WEIGHT = 256
"""Bytes that a place takes in memory, besides its path: what its cell holds is one."""

_CONSTANTS: tuple[Any, ...] = (ABSENT, None, False, True)
_INT, _FLOAT, _STR = CellKind.INT.value, CellKind.FLOAT.value, CellKind.STR.value
_BYTES, _OTHER, _CUT = CellKind.BYTES.value, CellKind.OTHER.value, CellFlag.CUT.value
"""Plain numbers: those of an enum cost more to compare than all else that is done for a cell."""
_NUMBERS = {_INT: struct.Struct("<q"), _FLOAT: struct.Struct("<d")}
_beginning = codecs.getincrementaldecoder("utf-8")


@lru_cache(maxsize=4096)  # the value after a store is the one before the next
def value(cell: bytes) -> Any:
    """What a cell holds, as far as a store has touched it: None, a bool, int, float, str, bytes or :class:`Shown`."""
    kind, used, flags = CELL.unpack_from(cell if len(cell) >= CELL.size else cell.ljust(CELL.size, b"\0"))
    if kind < len(_CONSTANTS):
        return _CONSTANTS[kind]
    payload = cell[CELL.size : CELL.size + used]
    if len(payload) < used:
        return UNREADABLE
    try:
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
    """A value of which the cell holds the beginning; a character may be cut, too."""
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
    """What is in quotes goes on."""
    return f"{text[:-1]}…{text[-1]}"


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
