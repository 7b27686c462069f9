"""What the bytes of one element mean, and what its parts are called.

As JSON, an item is numpy's ``dtype.str`` (``"<f8"``, ``"|S3"``, ``"<M8[ns]"``); ``[item, [2, 3]]`` for an array within
an element; ``{"fields": [["qty", "<i4", 0], ...], "size": 16}`` for a record, with each field's offset.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from math import ldexp, prod
from typing import Any, NamedTuple

from memwatch_core.records import Described

from .times import moment, span

TEXT = 256
"""Longer texts, in bytes, are shown by the characters that a store touched."""
FIELDS_MAX = 4096
DEPTH_MAX = 32
_STRING = re.compile(r"([<>|])([biufcSUVMm])(\d{1,10})(?:\[(\d*)([a-zA-Zμ]*)\])?")
_NUMBERS = {
    "b1": "?", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
    "f2": "e", "f4": "f", "f8": "d",
}  # fmt: skip
COMPARED = "?bBhHiIqQfd"
"""Letters of numbers of which a reader knows the least and the greatest."""
_DIGITS = {"e": range(3, 6), "f": range(6, 10)}
_UNSIGNED = re.compile(r"\d{1,18}")


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

    def cut(self, start: int, stop: int) -> list[str] | None:
        """The names of the parts that have exactly these bytes; of a number that has only some of them, its own. None:
        there are none."""
        piece = self.part(start, stop)
        if (piece.start, piece.stop) == (start, stop) or not self.has_parts:
            return [piece.name]
        return None

    def locate(self, name: str) -> tuple[int, int] | None:
        """The bytes of a part, by its name; None: there is none."""
        return None if name else (0, self.size)


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

    def locate(self, name: str) -> tuple[int, int] | None:
        """``.real``, ``.imag``."""
        middle = self._half.size
        return {"": (0, self.size), ".real": (0, middle), ".imag": (middle, self.size)}.get(name)


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


class Record(Item):
    """Fields, each with a name."""

    has_parts = True

    def __init__(self, fields: Sequence[tuple[str, Item, int]], size: int) -> None:
        self._fields, self.size = fields, size

    def decode(self, data: bytes) -> Any:
        """Each field's value by its name."""
        return {name: kind.decode(data[at : at + kind.size]) for name, kind, at in self._fields}

    def part(self, start: int, stop: int) -> Piece:
        """A field, or a part of it; the whole element, where bytes are of several fields (side by side, or one over the
        other) or of none."""
        having = [each for each in self._fields if each[2] <= start and stop <= each[2] + each[1].size]
        if len(having) != 1:
            return super().part(start, stop)
        ((name, kind, at),) = having
        inner = kind.part(start - at, stop - at)
        return Piece(_field(name) + inner.name, at + inner.start, at + inner.stop, inner.decode)

    def cut(self, start: int, stop: int) -> list[str] | None:
        """Fields side by side as well."""
        if (start, stop) == (0, self.size):
            return [""]
        names: list[str] = []
        behind = start
        for name, kind, at in sorted(self._fields, key=lambda each: each[2]):
            end = at + kind.size
            if end <= start or stop <= at or not kind.size:
                continue
            inner = kind.cut(max(start, at) - at, min(stop, end) - at)
            if inner is None or (at < behind and names):  # one over the other
                return None
            names += [_field(name) + each for each in inner]
            behind = end
        return names or None

    def locate(self, name: str) -> tuple[int, int] | None:
        """``.price``, ``["unit price"]``, and what is in them."""
        for field, kind, at in self._fields:
            for text in (_field(field), f'["{field}"]', f"['{field}']"):
                found = kind.locate(name[len(text) :]) if name.startswith(text) else None
                if found is not None:
                    return at + found[0], at + found[1]
        return super().locate(name)


class Block(Item):
    """An array within an element, in C order."""

    has_parts = True

    def __init__(self, kind: Item, shape: Sequence[int]) -> None:
        self._kind, self._shape, self.size = kind, shape, kind.size * prod(shape)

    def decode(self, data: bytes) -> Any:
        """Nested lists."""
        values = self._kind.many(data)
        for length in reversed(self._shape[1:]):
            values = [values[i : i + length] for i in range(0, len(values), length)] if length else []
        return values

    def part(self, start: int, stop: int) -> Piece:
        """One of its elements, or a part of it; all, where bytes are of several."""
        size = self._kind.size
        number = start // size if size else 0
        if not size or (stop - 1) // size != number:
            return super().part(start, stop)
        inner, at = self._kind.part(start - number * size, stop - number * size), number * size
        return Piece(f"[{self._index(number)}]{inner.name}", at + inner.start, at + inner.stop, inner.decode)

    def cut(self, start: int, stop: int) -> list[str] | None:
        """Of one element, or all."""
        size = self._kind.size
        number = start // size if size else 0
        if (start, stop) == (0, self.size) or not size or (stop - 1) // size != number:
            return super().cut(start, stop)
        inner = self._kind.cut(start - number * size, stop - number * size)
        return None if inner is None else [f"[{self._index(number)}]{name}" for name in inner]

    def locate(self, name: str) -> tuple[int, int] | None:
        """``[1, 1]``, and what is in it."""
        wanted = re.match(r"\[([\d, ]{1,100})\]", name)
        if wanted is None:
            return super().locate(name)
        index = [int(text) for text in re.findall(_UNSIGNED, wanted[1])]
        if len(index) != len(self._shape) or any(i >= n for i, n in zip(index, self._shape, strict=True)):
            return None
        number = 0
        for i, n in zip(index, self._shape, strict=True):
            number = number * n + i
        found = self._kind.locate(name[wanted.end() :])
        at = number * self._kind.size
        return None if found is None else (at + found[0], at + found[1])

    def _index(self, number: int) -> str:
        index = []
        for length in reversed(self._shape):
            number, i = divmod(number, length)
            index.append(str(i))
        return ", ".join(reversed(index))


def _field(name: str) -> str:
    if name.isidentifier():
        return f".{name}"
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'["{escaped}"]'


def item(described: Any, depth: int = 0) -> Item:
    """The kind of element that JSON describes. Raises ValueError: it doesn't."""
    if depth > DEPTH_MAX:
        raise ValueError("a dtype that is nested too deeply")
    if isinstance(described, str):
        return _simple(described)
    if isinstance(described, list) and len(described) == 2 and isinstance(described[1], list):
        kind, shape = item(described[0], depth + 1), described[1]
        if all(type(n) is int and n >= 0 for n in shape) and kind.size * prod(shape) < 1 << 32:
            return Block(kind, shape)
    if isinstance(described, dict) and isinstance(fields := described.get("fields"), list):
        size = described.get("size")
        if type(size) is int and 0 <= size < 1 << 32 and len(fields) <= FIELDS_MAX:
            return Record([*_fields(fields, size, depth)], size)
    raise ValueError(f"{str(described)[:80]} describes no dtype")


def _fields(fields: list[Any], size: int, depth: int) -> Iterator[tuple[str, Item, int]]:
    for name, inner, at in fields:
        kind = item(inner, depth + 1)
        if not isinstance(name, str) or type(at) is not int or not 0 <= at <= size - kind.size:
            raise ValueError(f"the field {str(name)[:80]} isn't in its record")
        yield name, kind, at


def _simple(text: str) -> Item:
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
        return Complex(_simple(f"{order}f{count // 2}"))
    letter = _NUMBERS.get(f"{kind}{count}")
    if letter is None:
        raise ValueError(f"{text!r}: there are no such numbers")
    return Number(order, letter)
