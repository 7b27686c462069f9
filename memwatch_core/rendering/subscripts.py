"""Names of parts of arrays: ``[3, 7]``, ``[0:4, 3]``, ``[3].price``, ``[1, 3]…[2, 1]``."""

from __future__ import annotations

import re
from typing import NamedTuple

_ARRAY = re.compile(r"(?P<name>[^\[]*)\[(?P<axes>-?\d[\d:, -]*|\(\))\](?:…\[(?P<last>[\d, ]*)\])?(?P<rest>[.\[].*)?")
_AXIS = re.compile(r"(\d{1,18})(?::(\d{1,18}))?")
_OPEN = re.compile(r"(?P<name>[^\[]*)\[(?P<axes>[\d:, ]+)\](?P<rest>[.\[].*)?")
_OPEN_AXIS = re.compile(r"\s*(?=[\d:])(\d{0,18})(:(\d{0,18})(?::(\d{0,18}))?)?\s*")
ENDLESS = 10**18 - 1
"""Stands for the end of an axis, whose length isn't known."""
STRUCT = re.compile(r"\[\d+:\d+\]")
"""Several fields of a struct, or elements of an array of one dimension."""


class Box(NamedTuple):
    """Elements of an array."""

    name: str
    """What stands before them: a variable's name."""
    axes: tuple[tuple[int, int], ...]
    """Of each axis, the indices [start, stop)."""
    rest: str
    """What of them: ``.price``."""
    last: tuple[int, ...] | None = None
    """The last element of those that are no rectangle, of which ``axes`` are the first; in the order of memory."""


def box(text: str) -> Box | None:
    """The elements that a name is of; None: it isn't of elements."""
    found = _ARRAY.fullmatch(text)
    if found is None:
        return None
    axes = [] if found["axes"] == "()" else [_AXIS.fullmatch(axis.strip()) for axis in found["axes"].split(",")]
    known = tuple((int(axis[1]), int(axis[2] or int(axis[1]) + 1)) for axis in axes if axis is not None)
    if len(known) < len(axes) or any(start >= stop for start, stop in known):
        return None
    last = None if found["last"] is None else tuple(int(text) for text in found["last"].split(",") if text.strip())
    return Box(found["name"], known, found["rest"] or "", last)


def overlap(one: str, other: str) -> bool:
    """Whether two names of elements may be of the same bytes. Of elements that are no rectangle, that isn't always
    known: in which order the axes lie in memory isn't said."""
    a, b = box(one), box(other)
    if a is None or b is None or a.name != b.name:
        return False
    if not a.rest.startswith(b.rest) and not b.rest.startswith(a.rest):
        return False
    if a.last is not None or b.last is not None:
        return _run_meets(a, b) if b.last is None else b.last == a.last or a.last is not None or _run_meets(b, a)
    return all(first < end and start < last for (first, last), (start, end) in zip(a.axes, b.axes, strict=False))


def opened(text: str) -> tuple[str, tuple[tuple[int, int, int], ...]] | None:
    """A name whose indices may be open and have steps, ``a[:, ::3].x``: with closed ones, and (start, stop, step) of
    each axis. None: it is none."""
    found = _OPEN.fullmatch(text)
    axes = [_OPEN_AXIS.fullmatch(axis) for axis in found["axes"].split(",")] if found else []
    if found is None or not all(axes):
        return None
    known = []
    for axis in axes:
        assert axis is not None
        first = int(axis[1] or 0)
        last = first + 1 if axis[2] is None else int(axis[3] or ENDLESS)
        known.append((first, last, max(1, int(axis[4] or 1))))
    closed = ", ".join(f"{first}:{last}" for first, last, _ in known)
    return f"{found['name']}[{closed}]{found['rest'] or ''}", tuple(known)


def meets(touched: str, asked: str) -> bool:
    """As :func:`overlap`, of a name that events show and one that a person writes: ``a[:, 3]``, ``a[::3, 1]``."""
    wanted = opened(asked)
    if wanted is None or not overlap(touched, wanted[0]):
        return wanted is None and overlap(touched, asked)
    found = box(touched)
    if found is None or found.last is not None:
        return True
    return all(
        first + -(-(max(low, first) - first) // step) * step < min(high, last)
        for (low, high), (first, last, step) in zip(found.axes, wanted[1], strict=False)
    )


def _run_meets(run: Box, other: Box) -> bool:
    """Whether elements from the first to the last of a run may be of a rectangle."""
    first = tuple(start for start, _ in run.axes)
    last = run.last or ()
    if len(first) != 2 or len(last) != 2 or len(other.axes) > 2:
        return True
    sides = (*other.axes, *((0, 1 << 62),) * (2 - len(other.axes)))
    return any(
        first[outer] < last[outer]
        and _rows_meet(first[outer], first[inner], last[outer], last[inner], sides[outer], sides[inner])
        for outer, inner in ((0, 1), (1, 0))
    )


def _rows_meet(row: int, column: int, end: int, stop: int, rows: tuple[int, int], columns: tuple[int, int]) -> bool:
    """Whether elements from (row, column) to (end, stop), row after row, are of some rows and columns."""
    low, high = max(row, rows[0]), min(end, rows[1] - 1)
    tried = {low, low + 1, high} if low <= high else set()
    return any(
        (each > row or columns[1] > column) and (each < end or columns[0] <= stop)
        for each in tried
        if low <= each <= high
    )


def inside(part: str, number: int) -> str | None:
    """The name of a part's item, of this number from 0 on: of ``[2, 4:9]`` the item 1 is ``[2, 5]``. None: its items
    have no names."""
    found = box(part)
    several = [] if found is None else [i for i, (start, stop) in enumerate(found.axes) if stop > start + 1]
    if found is None or found.rest or found.last is not None or len(several) != 1:
        return None
    axes = [str(start + number if i == several[0] else start) for i, (start, _) in enumerate(found.axes)]
    return f"[{', '.join(axes)}]"
