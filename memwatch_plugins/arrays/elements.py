"""Which elements of an array lie in a range of its bytes, and which bytes an element takes.

An array's options are JSON: ``dtype`` (an item), ``shape``, ``strides`` in bytes, of either sign, and ``offset``, the
first byte of element ``[0, ..., 0]``, if that isn't where the strides put it when the lowest element begins at 0;
``single``, if there are no indices: one value, whose parts alone have names.
Elements don't overlap, and lie in memory as in nested blocks: all of an inner axis before the next of an outer one.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

from memwatch_core.records import Extent, Items

from .compound import item
from .items import Item

DIMENSIONS_MAX = 64
KEPT = 256
"""Limit of layouts that are kept."""
EMPTY_MAX = 1 << 16
"""Limit of elements without bytes."""
RUN = "…"
"""Between the first and the last element of those that are no rectangle."""
_SUBSCRIPT = re.compile(r"\[([-\d:, ()]*)\]")
_INDEX = re.compile(r"-?\d{1,18}")
_SLICE = re.compile(r"(-?\d{1,18})?:(-?\d{1,18})?")
Index = tuple[int, ...]


class Elements:
    """Where the elements of one array lie. Raises ValueError for options that are none."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        shape: Any = options.get("shape")
        strides: Any = options.get("strides")
        self.item: Item = item(options.get("dtype"))
        if not _are_ints(shape) or not _are_ints(strides) or len(shape) != len(strides) or min(shape, default=0) < 0:
            raise ValueError("shape and strides are as many numbers")
        self.shape, self.strides = tuple(shape), tuple(strides)
        self.is_single = options.get("single") is True
        self._one = "" if self.is_single else "[()]"
        self.count = prod(self.shape)
        self.size = self.item.size
        axes = [axis for axis, n in enumerate(self.shape) if n > 1]
        self.axes = sorted(axes, key=lambda axis: -abs(self.strides[axis])) if self.count else []
        """Those of more than one index, from the outermost in memory to the innermost."""
        low = sum((self.shape[axis] - 1) * min(self.strides[axis], 0) for axis in self.axes)
        origin = options.get("offset", -low)
        if type(origin) is not int:
            raise ValueError("offset is a number")
        self.low = origin + low
        """The first byte of the first one in memory."""
        self._check()

    def _check(self) -> None:
        extent = self.size
        self._blocks: list[int] = []
        for axis in reversed(self.axes):
            if abs(self.strides[axis]) < extent:
                raise ValueError("elements that overlap")
            self._blocks.append(extent)
            extent += (self.shape[axis] - 1) * abs(self.strides[axis])
        self._blocks.reverse()
        self.stop = self.low + (extent if self.count else 0)
        """The byte behind the last."""
        self.is_dense = extent == self.size * self.count
        self.is_c = self.is_dense and self.axes == sorted(self.axes) and all(self.strides[a] > 0 for a in self.axes)
        """Whether it is C-contiguous."""
        self._is_plain = self.is_dense and not self.item.has_parts and bool(self.axes)
        self._inner = [(axis, self.shape[axis], self.strides[axis] < 0) for axis in reversed(self.axes)]

    def items(self) -> Items | None:
        """How the numbers of an array lie; None: its elements are none, have another byte order than this machine, or
        gaps between them."""
        letter = self.item.letter
        return Items(self.low, letter, self.item.decode) if letter and self.is_dense and self.count else None

    # ---- from bytes to elements -------------------------------------------------------------------------------------

    def locate(self, offset: int) -> tuple[Index, int] | None:
        """The element that a byte belongs to, and which of its bytes it is; None: it lies between elements."""
        rest, index = offset - self.low, [0] * len(self.shape)
        if rest < 0 or not self.count:
            return None
        for axis in self.axes:
            stride, n = self.strides[axis], self.shape[axis]
            i, rest = divmod(rest, abs(stride))
            if i >= n:
                return None
            index[axis] = i if stride > 0 else n - 1 - i
        return (tuple(index), rest) if rest < self.size else None

    def part(self, start: int, stop: int) -> Extent | None:
        """The smallest part that has the bytes [start, stop): a field, an element, or several. None: there are no
        elements."""
        if not self.count or not self.size:
            return None
        if self._is_plain:
            number = (start - self.low) // self.size
            if (stop - 1 - self.low) // self.size == number and 0 <= number < self.count:
                at = self.low + number * self.size
                return Extent(self._name(number), at, at + self.size, self.item.decode)
        first, last = self.locate(start), self.locate(stop - 1)
        if first is None or last is None:
            return Extent(f"<bytes {start}:{stop}>", start, stop, bytes)
        at, end = start - first[1], stop - 1 - last[1] + self.size
        if first[0] == last[0]:
            piece = self.item.part(start - at, stop - at)
            return Extent(self._subscript(first[0]) + piece.name, at + piece.start, at + piece.stop, piece.decode)
        low, high = [*map(min, first[0], last[0])], [*map(max, first[0], last[0])]
        count = self._rank(last[0]) - self._rank(first[0]) + 1
        ascends = all(self.position(axis, first[0][axis]) <= self.position(axis, last[0][axis]) for axis in self.axes)
        if ascends and prod(b - a + 1 for a, b in zip(low, high, strict=True)) == count:
            return Extent(_ranges(low, high), at, end, self._box(low, high))
        name = f"{self._subscript(first[0])}{RUN}{self._subscript(last[0])}"
        return Extent(name, at, end, self._run(at, count))

    def cut(self, start: int, stop: int) -> Iterator[Extent]:
        """The bytes [start, stop), in order, as the largest parts that lie within them: elements, then fields, then
        items of fields; bytes, of a number that doesn't lie within them as a whole. Bytes that belong to no element or
        field aren't given, but as those between two of such a part."""
        if not self.count or not self.size:
            return
        kind = self.item
        if self._is_plain and stop - start == kind.size and not (start - self.low) % kind.size:  # the quick way
            found = self.part(start, stop)
            if found is not None and (found.start, found.stop) == (start, stop):
                yield found
                return
        first, last = self._before(start - kind.first), self._before(stop - kind.end + 1)
        if first:
            yield from self._cut_one(first - 1, start, stop)
        if first < last:
            begin, end = self._offset(self._at(first)), self._offset(self._at(last - 1)) + self.size
            found = self.part(begin, end) if last - first > 1 else None
            yield found or Extent(self._subscript(self._at(first)), begin, end, kind.decode)
        if first <= last < self.count:
            yield from self._cut_one(last, start, stop)

    def _cut_one(self, number: int, start: int, stop: int) -> Iterator[Extent]:
        """Of an element that isn't wholly within [start, stop)."""
        index = self._at(number)
        at = self._offset(index)
        for piece in self.item.cut(start - at, stop - at):
            yield Extent(self._subscript(index) + piece.name, at + piece.start, at + piece.stop, piece.decode)

    def _before(self, offset: int) -> int:
        """How many elements begin before a byte."""
        rest: int = offset - self.low
        number: int = 0
        inner = self.count
        if rest <= 0:
            return 0
        for axis in self.axes:
            inner //= self.shape[axis]
            i, rest = divmod(rest, abs(self.strides[axis]))
            if i >= self.shape[axis]:
                return number + int(inner * self.shape[axis])
            number += i * inner
        return number + (rest > 0)

    def _name(self, number: int) -> str:
        """The name of an element by its place in memory, where there are no gaps."""
        inner = self._inner
        if len(inner) == len(self.shape) <= 2 and not (inner[0][2] or inner[-1][2]):  # most arrays: the quick way
            if len(inner) == 1:
                return f"[{number}]"
            row, column = divmod(number, inner[0][1])
            return f"[{row}, {column}]" if inner[0][0] else f"[{column}, {row}]"
        index = ["0"] * len(self.shape)
        for axis, n, is_reversed in inner:
            number, i = divmod(number, n)
            index[axis] = str(n - 1 - i if is_reversed else i)
        return f"[{', '.join(index)}]"

    def _subscript(self, index: Sequence[int]) -> str:
        return f"[{', '.join(map(str, index))}]" if index else self._one

    def position(self, axis: int, i: int) -> int:
        """Where an index lies, counted in memory."""
        return i if self.strides[axis] > 0 else self.shape[axis] - 1 - i

    def _rank(self, index: Sequence[int]) -> int:
        """Which element of memory it is, from 0."""
        number = 0
        for axis in self.axes:
            number = number * self.shape[axis] + self.position(axis, index[axis])
        return number

    def _offset(self, index: Sequence[int]) -> int:
        """The first byte of an element."""
        at: int = self.low
        for axis in self.axes:
            at += self.position(axis, index[axis]) * abs(self.strides[axis])
        return at

    def _run(self, start: int, count: int) -> Callable[[bytes], list[Any]]:
        """Decodes elements in the order of memory."""
        if self.is_dense:
            return self.item.many
        size, first = self.size, self.locate(start)
        assert first is not None
        rank = self._rank(first[0])

        def decode(data: bytes) -> list[Any]:
            return [
                self.item.decode(data[at : at + size])
                for at in (self._offset(self._at(rank + i)) - start for i in range(count))
            ]

        return decode

    def _at(self, rank: int) -> Index:
        index = [0] * len(self.shape)
        for axis in reversed(self.axes):
            rank, i = divmod(rank, self.shape[axis])
            index[axis] = self.position(axis, i)
        return tuple(index)

    def _box(self, low: Sequence[int], high: Sequence[int]) -> Callable[[bytes], list[Any]]:
        """Decodes a rectangle to nested lists, in the order of the axes; those of one index have no list."""
        axes = [axis for axis in range(len(low)) if low[axis] < high[axis]]
        if len(axes) == 1 and self.strides[axes[0]] == self.size:
            return self.item.many
        size = self.size
        begin = [low[a] if self.strides[a] > 0 else high[a] for a in range(len(low))]
        start = self._offset(begin)

        def nested(data: bytes, depth: int, at: int) -> Any:
            if depth == len(axes):
                return self.item.decode(data[at : at + size])
            axis = axes[depth]
            step = self.strides[axis]
            return [nested(data, depth + 1, at + step * i) for i in range(high[axis] - low[axis] + 1)]

        return lambda data: nested(data, 0, self._offset(low) - start)

    def decode(self, data: bytes) -> Any:
        """All elements, as ``ndarray.tolist()`` has them, but for texts and times. None: they aren't all there."""
        if self.low < 0 or self.stop > len(data) or (not self.size and self.count > EMPTY_MAX):
            return None
        if not self.shape:
            return self.item.decode(data[self.low : self.low + self.size])
        if not self.count or not self.size:
            return _empty(self.shape, self.item) if prod(filter(None, self.shape)) <= EMPTY_MAX else []
        whole = [n - 1 for n in self.shape]
        values = self._box([0] * len(whole), whole)(data[self.low :])
        for axis in reversed(range(len(whole))):
            if not whole[axis]:
                values = _wrapped(values, sum(n > 0 for n in whole[:axis]))
        return values

    # ---- from names to bytes ----------------------------------------------------------------------------------------

    def find(self, name: str) -> tuple[int, int] | None:
        """The bytes of a part by its name, as :meth:`part` names it, or with fewer or negative indices; None: there is
        none, or its elements don't lie side by side."""
        if not self.count or not self.size:
            return None
        text, run, rest = name.partition(RUN)
        head = _SUBSCRIPT.match(text)
        if head is None or not self.shape:
            low, high, rest = [0] * len(self.shape), [n - 1 for n in self.shape], name.removeprefix("[()]")
        elif run:
            tail = _SUBSCRIPT.fullmatch(rest)
            ends = [self._wanted(each[1]) for each in (head, tail) if each is not None and each[0]]
            if head.end() != len(text) or len(ends) != 2 or ends[0] is None or ends[1] is None:
                return None
            return self._between(ends[0][0], ends[1][1], "")
        else:
            wanted = self._wanted(head[1])
            if wanted is None:
                return None
            (low, high), rest = wanted, text[head.end() :]
        corners = [self._corner(low, high, first) for first in (True, False)]
        count = self._rank(corners[1]) - self._rank(corners[0]) + 1
        if prod(b - a + 1 for a, b in zip(low, high, strict=True)) != count:
            return None
        return self._between(corners[0], corners[1], rest)

    def _corner(self, low: Sequence[int], high: Sequence[int], first: bool) -> list[int]:
        """The first or the last element of a rectangle, in memory."""
        return [(a if (s >= 0) is first else b) for a, b, s in zip(low, high, self.strides, strict=True)]

    def _between(self, first: Sequence[int], last: Sequence[int], rest: str) -> tuple[int, int] | None:
        start, stop = self._offset(first), self._offset(last)
        if rest:
            inner = self.item.locate(rest) if start == stop else None
            return None if inner is None else (start + inner[0], start + inner[1])
        return (start, stop + self.size) if start <= stop else None

    def _wanted(self, text: str) -> tuple[list[int], list[int]] | None:
        """The first and last index of each axis: of ``3, 0:4``."""
        parts = [part.strip() for part in text.split(",")] if text.strip() != "()" else []
        if len(parts) > len(self.shape):
            return None
        low, high = [], []
        for n, part in zip(self.shape, [*parts, *[":"] * (len(self.shape) - len(parts))], strict=True):
            wanted = _SLICE.fullmatch(part)
            if _INDEX.fullmatch(part):
                first = int(part) + (n if part.startswith("-") else 0)
                last = first + 1
            elif wanted is not None:
                first, last, _ = slice(*(None if w is None else int(w) for w in wanted.groups())).indices(n)
            else:
                return None
            if not 0 <= first < last <= n:
                return None
            low.append(first)
            high.append(last - 1)
        return low, high


def _are_ints(values: Any) -> bool:
    return isinstance(values, list | tuple) and len(values) <= DIMENSIONS_MAX and all(type(n) is int for n in values)


def _ranges(low: Sequence[int], high: Sequence[int]) -> str:
    return f"[{', '.join(str(a) if a == b else f'{a}:{b + 1}' for a, b in zip(low, high, strict=True))}]"


def _empty(shape: Sequence[int], kind: Item) -> Any:
    """Nested lists of elements that take no bytes, or are none."""
    if not shape:
        return kind.decode(b"")
    return [_empty(shape[1:], kind) for _ in range(shape[0])]


def _wrapped(values: Any, depth: int) -> Any:
    """The same with a list around each value of a level."""
    return [values] if not depth else [_wrapped(each, depth - 1) for each in values]


_kept: OrderedDict[int, tuple[Mapping[str, Any], Elements]] = OrderedDict()


def elements(options: Mapping[str, Any]) -> Elements:
    """The array of these options, kept for the next question. Raises ValueError. Thread-safe."""
    found = _kept.get(id(options))
    if found is None or found[0] is not options:
        found = _kept[id(options)] = (options, Elements(options))
        while len(_kept) > KEPT:
            try:
                _kept.popitem(last=False)
            except KeyError:  # another thread
                break
    return found[1]
