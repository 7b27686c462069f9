"""Formats of the struct module, taken apart: the one place that does.

The module itself packs and unpacks, but doesn't say which bytes a value has. For proxies of structs, which need each
field's place; for the serializers' plugins (by way of :mod:`memwatch_plugins.structs`); for readers of numbers.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

ORDERS = "@=<>!"
TEXTS = frozenset("sp")
"""Letters of which the number before it is a length, not a repetition."""
_TOKEN = r"\s*(\d*)([A-Za-z?])"
_NUMBERS = {"?": 1, "b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "q": 8, "Q": 8, "f": 4, "d": 8}
"""Letters of numbers that readers know by heart, and their sizes."""


class Field(NamedTuple):
    """One value of a format."""

    letter: str
    offset: int
    size: int
    single: str
    """The format of this value alone, with the byte order."""


def split(form: str) -> tuple[str, str]:
    """A format's byte order (``@`` if it names none), and the rest."""
    return (form[0], form[1:]) if form[:1] and form[0] in ORDERS else ("@", form)


def fields(form: str) -> Iterator[Field]:
    """Its values in order, found as they are asked for: a number in it may be of any size. Pad bytes are none.

    The format must be one that :class:`struct.Struct` takes.
    """
    order, rest = split(form)
    at = 0
    for count, letter in re.findall(_TOKEN, rest):
        size, times = struct.calcsize(order + letter), int(count or 1)
        if order == "@":
            at += -at % size
        if letter in TEXTS:
            yield Field(letter, at, times, f"{order}{count}{letter}")
        elif letter != "x":
            for number in range(times):
                yield Field(letter, at + number * size, size, order + letter)
        at += size * times


def number(form: str | None, size: int) -> str:
    """The letter of a format that is one little-endian number of ``size`` bytes; of any other, ``""``."""
    order, letter = split(form or "")
    return letter if order in "<=@" and _NUMBERS.get(letter) == size else ""
