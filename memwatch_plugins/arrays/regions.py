"""What the elements are called that many stores wrote, as one indexes them: ``[:, 3]``, ``[2:5].price``.

A span (:class:`memwatch_core.records.Span`) is named by turning its distances, the smallest first, into steps along
axes: a distance that goes on past the end of an axis in the same phase is continued along the next outer one.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from .elements import RUN, Elements

if TYPE_CHECKING:
    from memwatch_core.records import Span

NAMED = 3
"""Limit of names that are listed."""
ONE_BY_ONE = 512
"""Limit of elements, in several spans, that are looked at one by one: whether they are a slice together."""
Level = tuple[int, int]
"""A distance in bytes, and how often."""
Box = tuple[range, ...]
"""The indices of each axis."""


def region(array: Elements, spans: Sequence[Span]) -> tuple[str, int | None] | None:
    """What exactly these bytes are called, behind the array's name (empty: all of it), and how many elements they are;
    None for the number: they are fields of several kinds. None: they have no such name, or aren't whole elements or
    fields.

    Of more than three names, the first ones stand before ``…``.
    """
    if not array.count or not array.size or not spans:
        return None
    if len(spans) > 1 and (together := _together(array, spans)) is not None:
        return _text(array, together), prod(map(len, together))
    names: list[str] = []
    count = 0
    kinds = set()
    for span in spans:
        found = _named(array, span)
        if found is None:
            return None
        names += found[0]
        count += found[1]
        kinds.add(found[2])
    listed = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
    return listed, count if len(kinds) == 1 and None not in kinds else None


def _named(array: Elements, span: Span) -> tuple[list[str], int, str | None] | None:
    """The names of a span, how many elements it has, and which field of theirs; None for that: several."""
    first = array.locate(span.start)
    if first is None:
        return None
    index, rest = first
    if rest == 0 and span.length % array.size == 0:
        levels, pieces = [(array.size, span.length // array.size), *span.strides], [""]
    elif rest + span.length <= array.size:
        found = array.item.named(rest, rest + span.length)
        if found is None or len(found) > NAMED:
            return None
        levels, pieces = [*span.strides], found
    else:
        return None
    levels = _joined(levels)
    count = prod(n for _, n in levels)
    kind = pieces[0] if len(pieces) == 1 else None
    box = _box(array, index, levels)
    if box is not None:
        return [_text(array, box, piece) for piece in pieces], count * len(pieces), kind
    if pieces != [""] or len(levels) != 1:
        return None
    ((stride, count),) = levels
    if stride == array.size and array.is_dense:
        start = span.start - rest
        run = array.part(start, start + count * array.size)
        return ([run.name], count, "") if run is not None and RUN in run.name else None
    return _flat(array, span.start, stride, count)


def _joined(levels: Sequence[Level]) -> list[Level]:
    """The same ones, the smallest distance first; one that goes on where the one before it ends is a part of it."""
    joined: list[Level] = []
    for stride, count in sorted(level for level in levels if level[1] > 1):
        if joined and stride == joined[-1][0] * joined[-1][1]:
            joined[-1] = joined[-1][0], joined[-1][1] * count
        else:
            joined.append((stride, count))
    return joined


def _box(array: Elements, index: Sequence[int], levels: Sequence[Level]) -> Box | None:
    """The indices of each axis that elements have, from the first in memory on; None: they are no such slice."""
    axes = array.axes
    at = {axis: array.position(axis, index[axis]) for axis in axes}
    taken: dict[int, range] = {}
    rest = list(levels)
    while rest:
        stride, count = rest.pop(0)
        place = _axis(array, stride)
        if place is None or axes[place] in taken:
            return None
        axis = axes[place]
        n, step, first = array.shape[axis], stride // abs(array.strides[axis]), at[axis]
        here = (n - 1 - first) // step + 1
        if count <= here:
            taken[axis] = range(first, first + (count - 1) * step + 1, step)
            continue
        outer = abs(array.strides[axes[place - 1]]) if place else 0
        if first >= step or n % step or count % here or outer != n * abs(array.strides[axis]):
            return None
        taken[axis] = range(first, n, step)
        rest = _joined([(outer, count // here), *rest])
    return tuple(
        _indices(array, axis, taken.get(axis) or range(at[axis], at[axis] + 1)) if axis in at else range(1)
        for axis in range(len(array.shape))
    )


def _axis(array: Elements, stride: int) -> int | None:
    """Along which axis a distance goes, as its place in ``array.axes``."""
    for place, axis in enumerate(array.axes):
        own = abs(array.strides[axis])
        if own <= stride:
            return place if stride % own == 0 and stride // own < array.shape[axis] else None
    return None


def _indices(array: Elements, axis: int, positions: range) -> range:
    """The indices, ascending, that lie at these positions."""
    if array.strides[axis] > 0:
        return positions
    last = array.shape[axis] - 1
    return range(last - positions[-1], last - positions[0] + 1, positions.step)


def _together(array: Elements, spans: Sequence[Span]) -> Box | None:
    """The slice that several spans are together; None: they are none, or too many elements."""
    size = array.size
    if sum(span.bytes for span in spans) > ONE_BY_ONE * size or any(span.length % size for span in spans):
        return None
    having: list[set[int]] = [set() for _ in array.shape]
    elements = set()
    for span in spans:
        starts = [span.start + at for at in range(0, span.length, size)]
        for stride, count in span.strides:
            starts = [start + at * stride for start in starts for at in range(count)]
        for start in starts:
            found = array.locate(start)
            if found is None or found[1]:
                return None
            elements.add(found[0])
            for axis, i in enumerate(found[0]):
                having[axis].add(i)
    box = []
    for indices in map(sorted, having):
        step = indices[1] - indices[0] if len(indices) > 1 else 1
        wanted = range(indices[0], indices[-1] + 1, step)
        if list(wanted) != indices:
            return None
        box.append(wanted)
    return tuple(box) if prod(map(len, box)) == len(elements) else None


def _flat(array: Elements, start: int, stride: int, count: int) -> tuple[list[str], int, str] | None:
    """Of an array in C order: ``.flat[0:4096:65]``, such as a diagonal."""
    if not array.is_c or stride % array.size:
        return None
    first, step = (start - array.low) // array.size, stride // array.size
    indices = range(first, first + (count - 1) * step + 1, step)
    return [f".flat[{_index(indices, array.count)}]"], count, ""


def _index(indices: range, n: int) -> str:
    """How indices of an axis of ``n`` are written."""
    first, last, step = indices[0], indices[-1], indices.step
    if len(indices) == 1:
        return str(first)
    if step == 1:
        return ":" if len(indices) == n else f"{first}:{last + 1}"
    if first < step and last + step >= n:
        return f"{first or ''}::{step}"
    return f"{first}:{last + 1}:{step}"


def _text(array: Elements, box: Box, piece: str = "") -> str:
    """The name of a slice, and of a field in it."""
    if prod(map(len, box)) == array.count and (not piece or not array.shape):
        return piece if array.is_single or not piece else f"[()]{piece}"
    parts = [_index(indices, n) for indices, n in zip(box, array.shape, strict=True)]
    while len(parts) > 1 and parts[-1] == ":":
        parts.pop()
    return f"[{', '.join(parts)}]{piece}"
