"""Parses formats of the ``struct`` module: the only place that does.

``struct`` packs and unpacks, but doesn't tell where each field is. Used by struct proxies, by serializer plugins
(through :mod:`memwatch_plugins.structs`), and by readers of numbers.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

ORDERS = "@=<>!"
TEXTS = frozenset("sp")
"""Letters whose count is a length, not a repetition."""
_TOKEN = r"\s*(\d*)([A-Za-z?])"
_NUMBERS = {"?": 1, "b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "q": 8, "Q": 8, "f": 4, "d": 8}
"""Letters of numbers that readers decode themselves, and their sizes."""


class Field(NamedTuple):
    """One value of a format."""

    letter: str
    offset: int
    size: int
    single: str
    """The format of this value alone, with the byte order."""


class Run(NamedTuple):
    """Values of one kind, side by side: a letter of a format, and its count."""

    letter: str
    offset: int
    size: int
    """Of each value, in bytes."""
    single: str
    times: int


def split(form: str) -> tuple[str, str]:
    """A format's byte order (``@`` by default), and the rest."""
    return (form[0], form[1:]) if form[:1] and form[0] in ORDERS else ("@", form)


def runs(form: str) -> Iterator[Run]:
    """The values of a format in order, without pad bytes; no run is empty.

    The format must be valid for :class:`struct.Struct`.
    """
    order, rest = split(form)
    at = 0
    for count, letter in re.findall(_TOKEN, rest):
        size, times = struct.calcsize(order + letter), int(count or 1)
        if order == "@":
            at += -at % size
        if letter in TEXTS:
            yield Run(letter, at, times, f"{order}{count}{letter}", 1)
        elif letter != "x" and times:
            yield Run(letter, at, size, order + letter, times)
        at += size * times


def fields(form: str) -> Iterator[Field]:
    """The fields of a format in order. Lazy, because a repeat count may be huge. The format must be valid."""
    for run in runs(form):
        for number in range(run.times):
            yield Field(run.letter, run.offset + number * run.size, run.size, run.single)


def number(form: str | None, size: int) -> str:
    """The letter of a format that is a single little-endian number of ``size`` bytes; ``""`` for any other."""
    order, letter = split(form or "")
    return letter if order in "<=@" and _NUMBERS.get(letter) == size else ""
