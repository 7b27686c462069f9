"""How an array of numpy lies in memory. Imports nothing: who has an array has imported numpy."""

from __future__ import annotations

import sys
from typing import Any

SIZE_MAX = (1 << 32) - 4096
"""Limit of the bytes of an array that is watched."""
_LETTERS = {"i": "bhiq", "u": "BHIQ", "f": "  fd"}


def strides_of(array: Any) -> tuple[int, ...]:
    """Its own strides if its elements lie side by side in its memory; otherwise those of ``array.copy(order="K")``."""
    strides, step = [0] * array.ndim, array.itemsize
    for axis in reversed(_order(array)):
        strides[axis] = step
        step *= max(array.shape[axis], 1)
    longer = [axis for axis, n in enumerate(array.shape) if n > 1]
    same = array.size and all(strides[axis] == array.strides[axis] for axis in longer)
    return tuple(array.strides if same else strides)


def format_of(array: Any) -> str:
    """The ``struct`` format of one element, of an array of numbers; empty: of another one."""
    dtype = array.dtype
    if dtype.char == "?":
        return "<?"
    if dtype.kind not in "iuf" or dtype.itemsize > 8 or not array.nbytes:
        return ""
    letter = _LETTERS[dtype.kind][dtype.itemsize.bit_length() - 1].strip()
    return f"{'>' if dtype.str[0] == '>' else '<'}{letter}" if letter else ""


def bytes_of(array: Any) -> Any:
    """Its bytes in the order of memory: those that it has, where its elements lie side by side; one of an empty one."""
    if not array.nbytes:
        return b"\0"
    return sys.modules["numpy"].ascontiguousarray(array.transpose(_order(array))).reshape(-1).view("u1")


def overlaps(array: Any) -> bool:
    """Whether elements lie over one another."""
    block = array.itemsize
    longer = sorted((abs(stride), n) for stride, n in zip(array.strides, array.shape, strict=True) if n > 1)
    for stride, n in longer if array.nbytes else ():
        if stride < block:
            return True
        block += stride * (n - 1)
    return False


def _order(array: Any) -> list[int]:
    """The axes from the outermost in memory to the innermost."""
    return sorted(range(array.ndim), key=lambda axis: (-abs(array.strides[axis]), axis))
