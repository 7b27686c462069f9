"""Things by their index in a list, of which some or all are known: what lies behind one that comes or goes moves."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class _Block(Generic[T]):
    """Neighbours: the one at ``keys[i] + shift`` is ``values[i]``. Never empty."""

    __slots__ = ("keys", "shift", "values")

    def __init__(self, shift: int, keys: list[int], values: list[T]) -> None:
        self.shift, self.keys, self.values = shift, keys, values


class Items(Generic[T]):
    """In blocks, so that a move costs one block and one addition for each of those behind it."""

    MOST = 1024
    """Items in a block."""

    def __init__(self) -> None:
        self._blocks: list[_Block[T]] = []

    def __bool__(self) -> bool:
        return bool(self._blocks)

    def __iter__(self) -> Iterator[tuple[int, T]]:
        for block in self._blocks:
            for key, value in zip(block.keys, block.values, strict=True):
                yield key + block.shift, value

    def get(self, index: int) -> T | None:
        number, at = self._find(index)
        if number < len(self._blocks):
            block = self._blocks[number]
            if at < len(block.keys) and block.keys[at] + block.shift == index:
                return block.values[at]
        return None

    def put(self, index: int, value: T) -> None:
        """Adds one, or replaces the one that is there."""
        number, at = self._find(index)
        if number == len(self._blocks):
            self._blocks.append(_Block(0, [index], [value]))
            return
        block = self._blocks[number]
        if at < len(block.keys) and block.keys[at] + block.shift == index:
            block.values[at] = value
            return
        block.keys.insert(at, index - block.shift)
        block.values.insert(at, value)
        if len(block.keys) > self.MOST:
            half = len(block.keys) if at == len(block.keys) - 1 else len(block.keys) // 2  # appended: leave it full
            half -= half == len(block.keys)
            self._blocks.insert(number + 1, _Block(block.shift, block.keys[half:], block.values[half:]))
            del block.keys[half:], block.values[half:]

    def come(self, index: int) -> bool:
        """One has come to an index: makes room. Returns whether any had to move."""
        return self._shift(index, 1)

    def go(self, index: int) -> bool:
        """The one at an index has gone. Returns whether any moved into its place."""
        number, at = self._find(index)
        if number < len(self._blocks):
            block = self._blocks[number]
            if at < len(block.keys) and block.keys[at] + block.shift == index:
                del block.keys[at], block.values[at]
                if not block.keys:
                    del self._blocks[number]
        return self._shift(index + 1, -1)

    def cut(self, index: int) -> None:
        """Forgets those from an index on."""
        number, at = self._find(index)
        if number < len(self._blocks):
            block = self._blocks[number]
            del block.keys[at:], block.values[at:]
            del self._blocks[number + bool(block.keys) :]

    def last(self) -> int:
        """The largest index, -1 if there is none."""
        return self._blocks[-1].keys[-1] + self._blocks[-1].shift if self._blocks else -1

    def _find(self, index: int) -> tuple[int, int]:
        """The block in which an index is or belongs, and where in it."""
        number = max(0, bisect_right(self._blocks, index, key=_first) - 1)
        if number == len(self._blocks):
            return number, 0
        block = self._blocks[number]
        return number, bisect_left(block.keys, index - block.shift)

    def _shift(self, index: int, by: int) -> bool:
        number, at = self._find(index)
        if number == len(self._blocks):
            return False
        block = self._blocks[number]
        moved = at < len(block.keys)
        if at:
            block.keys[at:] = [key + by for key in block.keys[at:]]
            number += 1
        for each in self._blocks[number:]:
            each.shift += by
            moved = True
        return moved


def _first(block: _Block[T]) -> int:
    return block.keys[0] + block.shift
