"""What the bytes of one element mean: of a record or an array within it too, and what its parts are called.

As JSON, an item is numpy's ``dtype.str`` (``"<f8"``, ``"|S3"``, ``"<M8[ns]"``); ``[item, [2, 3]]`` for an array within
an element; ``{"fields": [["qty", "<i4", 0], ...], "size": 16}`` for a record, with each field's offset.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

from .items import Item, Piece, below, simple

FIELDS_MAX = 4096
DEPTH_MAX = 32
_INDICES = re.compile(r"\[((?:\d{1,18}, ?){0,63})(\d{1,18})(?::(\d{1,18}))?\]")


class Record(Item):
    """Fields, each with a name."""

    has_parts = True

    def __init__(self, fields: Sequence[tuple[str, Item, int]], size: int) -> None:
        self._fields, self.size = fields, size
        self._in_order = sorted((each for each in fields if each[1].size), key=lambda each: (each[2], -each[1].size))
        self.first = min((at + kind.first for _, kind, at in self._in_order), default=0)
        self._end = max((at + kind.end for _, kind, at in self._in_order), default=size)

    @property
    def end(self) -> int:
        """That of the last field."""
        return self._end

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

    def _cut(self, start: int, stop: int) -> Iterator[Piece]:
        done = start
        for index, (name, kind, at) in enumerate(self._in_order):
            if at >= stop:
                return
            is_whole = done <= at + kind.first and at + kind.end <= stop
            if is_whole or not self._is_in_another(index, done, stop):  # the fields of a union lie one over the other
                yield from below(_field(name), at, kind.cut(max(start, done) - at, stop - at))
                done = max(done, at + kind.size)

    def _is_in_another(self, index: int, start: int, stop: int) -> bool:
        """Whether one of the fields that come after it, and lie over it, is within [start, stop) as a whole."""
        _, kind, at = self._in_order[index]
        for _, other, begin in self._in_order[index + 1 :]:
            if begin >= at + kind.size:
                break
            if start <= begin + other.first < begin + other.end <= stop and begin <= max(start, at):
                return True
        return False

    def named(self, start: int, stop: int) -> list[str] | None:
        """Fields side by side as well."""
        if (start, stop) == (0, self.size):
            return [""]
        names: list[str] = []
        behind = start
        for name, kind, at in self._in_order:
            end = at + kind.size
            if end <= start or stop <= at:
                continue
            inner = kind.named(max(start, at) - at, min(stop, end) - at)
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
        self.first = kind.first if self.size else 0

    @property
    def end(self) -> int:
        """That of the last element."""
        return self.size - self._kind.size + self._kind.end if self.size else 0

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

    def _cut(self, start: int, stop: int) -> Iterator[Piece]:
        kind, size = self._kind, self._kind.size
        first = max(0, -((kind.first - start) // size))
        last = min(self.size // size, (stop - kind.end) // size + 1)
        if first:
            yield from self._cut_one(first - 1, start, stop)
        while first < last:
            piece, count = self._several(first, last)
            yield piece
            first += count
        if last >= first and last * size < self.size:
            yield from self._cut_one(last, start, stop)

    def _cut_one(self, number: int, start: int, stop: int) -> Iterator[Piece]:
        """Of an element that isn't wholly within [start, stop)."""
        at = number * self._kind.size
        yield from below(f"[{self._index(number)}]", at, self._kind.cut(start - at, stop - at))

    def named(self, start: int, stop: int) -> list[str] | None:
        """Of one element, or all."""
        size = self._kind.size
        number = start // size if size else 0
        if (start, stop) == (0, self.size) or not size or (stop - 1) // size != number:
            return super().named(start, stop)
        inner = self._kind.named(start - number * size, stop - number * size)
        return None if inner is None else [f"[{self._index(number)}]{name}" for name in inner]

    def _several(self, first: int, last: int) -> tuple[Piece, int]:
        """The largest block of elements, of those from one to before another, that begins with the first of them; and
        how many these are."""
        axis, inner = len(self._shape) - 1, 1
        while axis and not first % (inner * self._shape[axis]) and first + inner * self._shape[axis] <= last:
            inner *= self._shape[axis]
            axis -= 1
        i = first // inner % self._shape[axis]
        n = min((last - first) // inner, self._shape[axis] - i)
        index = [*self._index(first).split(", ")[:axis], f"{i}:{i + n}" if n > 1 else f"{i}"]
        shape = [*([n] if n > 1 else []), *self._shape[axis + 1 :]]
        block = Block(self._kind, shape) if shape else self._kind
        at = first * self._kind.size
        return Piece(f"[{', '.join(index)}]", at, at + n * inner * self._kind.size, block.decode), n * inner

    def locate(self, name: str) -> tuple[int, int] | None:
        """``[1, 1]``, ``[1]``, ``[1, 0:2]``, and what is in an element."""
        wanted = _INDICES.match(name)
        if wanted is None or not self.size:
            return super().locate(name)
        index = [int(text) for text in wanted[1].split(",")[:-1]] + [int(wanted[2])]
        n = int(wanted[3]) - index[-1] if wanted[3] else 1
        if len(index) > len(self._shape) or n < 1 or index[-1] + n > self._shape[len(index) - 1]:
            return None
        if any(i >= length for i, length in zip(index, self._shape, strict=False)):
            return None
        width = self.size
        at = 0
        for i, length in zip(index, self._shape, strict=False):
            width //= length
            at += i * width
        rest = name[wanted.end() :]
        if not rest:
            return at, at + n * width
        found = self._kind.locate(rest) if width == self._kind.size and n == 1 else None
        return None if found is None else (at + found[0], at + found[1])

    def _index(self, number: int) -> str:
        index = []
        for length in reversed(self._shape):
            number, i = divmod(number, length)
            index.append(str(i))
        return ", ".join(reversed(index))


def _field(name: str) -> str:
    return f".{name}" if name.isidentifier() else f"[{json.dumps(name, ensure_ascii=False)}]"


def item(described: Any, depth: int = 0) -> Item:
    """The kind of element that JSON describes. Raises ValueError: it doesn't."""
    if depth > DEPTH_MAX:
        raise ValueError("a dtype that is nested too deeply")
    if isinstance(described, str):
        return simple(described)
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
