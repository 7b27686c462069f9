"""What the bytes of a number, a text or a moment mean, and what its parts are called."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from math import ldexp
from typing import Any, NamedTuple

from memwatch_core.records import Described

from .times import moment, span

TEXT = 256
"""Longer texts, in bytes, are shown by the characters that a store touched."""
_STRING = re.compile(r"([<>|])([biufcSUVMm])(\d{1,10})(?:\[(\d*)([a-zA-Zμ]*)\])?")
_NUMBERS = {
    "b1": "?", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
    "f2": "e", "f4": "f", "f8": "d",
}  # fmt: skip
COMPARED = "?bBhHiIqQfd"
"""Letters of numbers of which a reader knows the least and the greatest."""
_DIGITS = {"e": range(3, 6), "f": range(6, 10)}
BYTES = re.compile(r"<bytes (\d{1,10}):(\d{1,10})>")


class Piece(NamedTuple):
    """A part of an element."""

    name: str
    """What stands behind the element: ``.price``, ``.pos[1, 1]``, ``.imag``; empty: all of it."""
    start: int
    stop: int
    decode: Callable[[bytes], Any]


class Short(float):
    """A number of fewer bits than a ``float`` has: its text is as short as it can be, as numpy writes it."""

    __slots__ = ()
    letter = "f"

    def __repr__(self) -> str:
        for digits in _DIGITS[self.letter]:
            text = f"{float(self):.{digits}g}"
            try:
                if struct.pack(self.letter, float(text)) == struct.pack(self.letter, self):
                    break
            except OverflowError:  # rounded up beyond the largest
                continue
        return repr(float(text))


class Half(Short):
    """Of 16 bits."""

    __slots__ = ()
    letter = "e"


_SHORT = {"f": Short, "e": Half}


class Item:
    """A kind of element. ``size``: its bytes. Nothing here raises, whatever bytes it is given of that number."""

    size = 0
    letter = ""
    """Of the struct module, of a little-endian number of at most 8 bytes that a reader can compare; empty: it is none.
    """
    has_parts = False
    """Whether a part of it may have a name."""
    first = 0
    """Its bytes before this one mean nothing."""

    @property
    def end(self) -> int:
        """Its bytes from this one on mean nothing."""
        return self.size

    def decode(self, data: bytes) -> Any:
        """The value of one element."""
        raise NotImplementedError

    def many(self, data: bytes) -> list[Any]:
        """The values of elements side by side."""
        size = self.size
        return [self.decode(data[at : at + size]) for at in range(0, len(data) - size + 1, size)] if size else []

    def part(self, start: int, stop: int) -> Piece:
        """The smallest part that has these bytes."""
        return Piece("", 0, self.size, self.decode)

    def named(self, start: int, stop: int) -> list[str] | None:
        """The names of the parts that have exactly these bytes; of a number that has only some of them, its own. None:
        there are none."""
        piece = self.part(start, stop)
        if (piece.start, piece.stop) == (start, stop) or not self.has_parts:
            return [piece.name]
        return None

    def whole(self) -> Piece:
        """All of it."""
        return Piece("", 0, self.size, self.decode)

    def cut(self, start: int, stop: int) -> Iterator[Piece]:
        """The bytes [start, stop), in order, as the largest parts that lie within them; what is less than the smallest
        part, as its bytes. Bytes that mean nothing aren't given, but as those of such a part."""
        if start <= self.first and self.end <= stop:
            yield self.whole()
        elif start < self.end and self.first < stop:
            yield from self._cut(max(start, 0), min(stop, self.end))

    def _cut(self, start: int, stop: int) -> Iterator[Piece]:
        yield Piece(f"<bytes {start}:{stop}>", start, stop, bytes)

    def locate(self, name: str) -> tuple[int, int] | None:
        """The bytes of a part, by its name; None: there is none."""
        wanted = BYTES.fullmatch(name)
        if wanted is None:
            return None if name else (0, self.size)
        first, last = int(wanted[1]), int(wanted[2])
        return (first, last) if first < last <= self.size else None


class Number(Item):
    """A bool, an integer or a floating-point number."""

    def __init__(self, order: str, letter: str) -> None:
        self._order, self._letter = order, letter
        self.letter = letter if order == "<" and letter in COMPARED else ""
        one = struct.Struct(order + letter)
        self.size, unpack = one.size, one.unpack
        self._short = short = _SHORT.get(letter)
        one_of = (lambda data: unpack(data)[0]) if short is None else (lambda data: short(unpack(data)[0]))
        self.decode = one_of  # type: ignore[method-assign]

    def many(self, data: bytes) -> list[Any]:
        """The numbers."""
        n = len(data) // self.size
        values = struct.unpack(f"{self._order}{n}{self._letter}", data[: n * self.size])
        return list(values) if self._short is None else list(map(self._short, values))


class Extended(Item):
    """x86's number of 80 bits, in 16 bytes (``longdouble``). A ``float`` is what it is rounded to."""

    size = 16
    end = 10

    def decode(self, data: bytes) -> Any:
        """The number."""
        mantissa, top = struct.unpack("<QH", data[:10])
        exponent, sign = top & 0x7FFF, -1.0 if top & 0x8000 else 1.0
        if exponent == 0x7FFF:
            return sign * float("nan" if mantissa << 1 & 0xFFFFFFFFFFFFFFFF else "inf")
        try:
            return sign * ldexp(mantissa, max(exponent, 1) - 16383 - 63)
        except OverflowError:
            return sign * float("inf")


class Complex(Item):
    """Two numbers."""

    has_parts = True

    def __init__(self, half: Item) -> None:
        self._half, self.size = half, 2 * half.size

    def decode(self, data: bytes) -> Any:
        """The number."""
        middle = self._half.size
        return complex(self._half.decode(data[:middle]), self._half.decode(data[middle:]))

    def part(self, start: int, stop: int) -> Piece:
        """One of both, if no byte is of the other."""
        middle = self._half.size
        if stop <= middle:
            return Piece(".real", 0, middle, self._half.decode)
        return Piece(".imag", middle, self.size, self._half.decode) if start >= middle else super().part(start, stop)

    @property
    def end(self) -> int:
        """As of its second number."""
        return self._half.size + self._half.end

    def _cut(self, start: int, stop: int) -> Iterator[Piece]:
        for name, at in ((".real", 0), (".imag", self._half.size)):
            yield from below(name, at, self._half.cut(start - at, stop - at))

    def locate(self, name: str) -> tuple[int, int] | None:
        """``.real``, ``.imag``."""
        at = {".real": 0, ".imag": self._half.size}.get(name[:5])
        found = super().locate(name) if at is None else self._half.locate(name[5:])
        return None if found is None else (found[0] + (at or 0), found[1] + (at or 0))


class Text(Item):
    """``S`` (bytes, of which zeros at the end don't count), ``U`` (characters of four bytes), ``V`` (any bytes)."""

    def __init__(self, order: str, kind: str, count: int) -> None:
        self._kind, self._unit = kind, 4 if kind == "U" else 1
        self._codec = "utf-32-be" if order == ">" else "utf-32-le"
        self.size = count * self._unit
        self.has_parts = self.size > TEXT

    def decode(self, data: bytes) -> Any:
        """The text."""
        if self._kind == "U":
            return data.decode(self._codec, "replace").rstrip("\0")
        return data.rstrip(b"\0") if self._kind == "S" else data

    def part(self, start: int, stop: int) -> Piece:
        """Of a long text, the characters."""
        if self.size <= TEXT:
            return super().part(start, stop)
        first, last = start // self._unit, -(-stop // self._unit)
        return Piece(f"[{first}:{last}]", first * self._unit, last * self._unit, self.decode)

    def _cut(self, start: int, stop: int) -> Iterator[Piece]:
        unit = self._unit
        first, last = -(-start // unit) * unit, stop // unit * unit
        if self.size <= TEXT or first >= last:
            yield from super()._cut(start, stop)
            return
        if start < first:
            yield from super()._cut(start, first)
        yield Piece(f"[{first // unit}:{last // unit}]", first, last, self.decode)
        if last < stop:
            yield from super()._cut(last, stop)

    def locate(self, name: str) -> tuple[int, int] | None:
        """``[0:4]``, of a text."""
        wanted = re.fullmatch(r"\[(\d{1,10}):(\d{1,10})\]", name)
        if wanted is None:
            return super().locate(name)
        first, last = int(wanted[1]) * self._unit, int(wanted[2]) * self._unit
        return (first, last) if first < last <= self.size else None


class Time(Item):
    """``datetime64`` (``M``) or ``timedelta64`` (``m``), as numpy writes it."""

    size = 8

    def __init__(self, order: str, kind: str, step: int, unit: str) -> None:
        self._one = struct.Struct(f"{order}q")
        self._kind, self._step, self._unit = kind, step, unit

    def decode(self, data: bytes) -> Any:
        """The moment or the span."""
        (count,) = self._one.unpack(data)
        return Described(
            moment(count, self._step, self._unit) if self._kind == "M" else span(count, self._step, self._unit)
        )


def below(name: str, at: int, pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Pieces of what lies at an offset, under its name."""
    for piece in pieces:
        yield Piece(name + piece.name, at + piece.start, at + piece.stop, piece.decode)


def simple(text: str) -> Item:
    """The kind of element of ``dtype.str``. Raises ValueError: there is none."""
    found = _STRING.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:80]!r} is no dtype")
    order, kind, count = found[1].replace("|", "<"), found[2], int(found[3])
    if kind in "SUV":
        return Text(order, kind, count)
    if kind in "Mm" and count == 8:
        return Time(order, kind, int(found[4] or 1), found[5] or "")
    if kind == "f" and count == 16 and order == "<":
        return Extended()
    if kind == "c" and count in (8, 16, 32):
        return Complex(simple(f"{order}f{count // 2}"))
    letter = _NUMBERS.get(f"{kind}{count}")
    if letter is None:
        raise ValueError(f"{text!r}: there are no such numbers")
    return Number(order, letter)
