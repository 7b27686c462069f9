"""Formats of the struct module as tables of fields, for the proxy of a struct."""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..native.proxy import StructField

_TOKEN = r"\s*(\d*)([A-Za-z?])"


def fields_of(form: str, names: Sequence[str] | None = None) -> tuple[StructField, ...]:
    """(name, letter, offset, size, little-endian) of each field, pad bytes left out.

    ``names`` has one name for each field. Raises ValueError: not a format, or another number of names.
    """
    return _fields(form, tuple(names) if names else None)


@lru_cache(maxsize=256)
def _fields(form: str, names: tuple[str, ...] | None) -> tuple[StructField, ...]:
    try:
        total = struct.calcsize(form)
    except struct.error as error:
        raise ValueError(f"struct format {form!r}: {error}") from error
    found = list(_places(form))
    if names is not None and len(names) != len(found):
        raise ValueError(f"struct format {form!r} has {len(found)} fields, and there are {len(names)} names for them")
    if names is not None and len(set(names)) != len(names):
        raise ValueError(f"struct format {form!r}: two fields have the same name")
    little = form[:1] == "<" or (form[:1] not in ("<", ">", "!") and sys.byteorder == "little")
    assert all(offset + size <= total for _, offset, size in found)
    return tuple(
        (sys.intern(names[i]) if names else None, letter, offset, size, little)
        for i, (letter, offset, size) in enumerate(found)
    )


def _places(form: str) -> Iterable[tuple[str, int, int]]:
    order, rest = (form[0], form[1:]) if form[:1] in tuple("@=<>!") else ("@", form)
    before = order
    for count, letter in re.findall(_TOKEN, rest):
        if letter in "sp":
            size = int(count or 1)
            before += f"{size}{letter}"
            yield letter, struct.calcsize(before) - size, size
            continue
        size = struct.calcsize(order + letter)
        for _ in range(int(count or 1)):
            before += letter
            if letter != "x":
                yield letter, struct.calcsize(before) - size, size
        if count == "0":
            before += f"0{letter}"  # no field, but it aligns what follows
