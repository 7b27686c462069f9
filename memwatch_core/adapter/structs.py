"""Formats of the ``struct`` module as tables of fields, for the struct proxy."""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from .. import structs

if TYPE_CHECKING:
    from ..native.proxy import StructField


_SMALL = 16_384
"""Tables of larger structs, in bytes, aren't kept: a field takes 200 bytes."""


def fields_of(form: str, names: Sequence[str] | None = None) -> tuple[StructField, ...]:
    """(name, letter, offset, size, little-endian) of each field; pad bytes are left out.

    ``names`` has one name for each field. Raises ValueError: not a format, or the number of names doesn't match.
    """
    return (_kept if _is_small(form) else _fields)(form, tuple(names) if names else None)


def _is_small(form: str) -> bool:
    try:
        return struct.calcsize(form) <= _SMALL
    except struct.error:
        return False


def _fields(form: str, names: tuple[str, ...] | None) -> tuple[StructField, ...]:
    try:
        total = struct.calcsize(form)
    except struct.error as error:
        raise ValueError(f"struct format {form!r}: {error}") from error
    found = list(structs.fields(form))
    if names is not None and len(names) != len(found):
        raise ValueError(f"struct format {form!r} has {len(found)} fields, and there are {len(names)} names for them")
    if names is not None and len(set(names)) != len(names):
        raise ValueError(f"struct format {form!r}: two fields have the same name")
    order, _ = structs.split(form)
    little = order == "<" or (order in "@=" and sys.byteorder == "little")
    assert all(field.offset + field.size <= total for field in found)
    return tuple(
        (sys.intern(names[i]) if names else None, field.letter, field.offset, field.size, little)
        for i, field in enumerate(found)
    )


_kept = lru_cache(maxsize=256)(_fields)
