"""Names of parts of arrays: ``[3, 7]``, ``[0:4, 3]``, ``[3].price``, ``[1, 3]…[2, 1]``."""

from __future__ import annotations

import re
from typing import NamedTuple

_ARRAY = re.compile(r"(?P<name>[^\[]*)\[(?P<axes>-?\d[\d:, -]*|\(\))\](?:…\[(?P<last>[\d, ]*)\])?(?P<rest>[.\[].*)?")
_AXIS = re.compile(r"(\d{1,18})(?::(\d{1,18}))?")
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
    is_run: bool = False
    """They go on to the element that isn't told here."""


def box(text: str) -> Box | None:
    """The elements that a name is of; None: it isn't of elements."""
    found = _ARRAY.fullmatch(text)
    if found is None:
        return None
    axes = [] if found["axes"] == "()" else [_AXIS.fullmatch(axis.strip()) for axis in found["axes"].split(",")]
    known = tuple((int(axis[1]), int(axis[2] or int(axis[1]) + 1)) for axis in axes if axis is not None)
    if len(known) < len(axes):
        return None
    return Box(found["name"], known, found["rest"] or "", found["last"] is not None)


def overlap(one: str, other: str) -> bool:
    """Whether two names of elements may be of the same bytes: of those that are no rectangle, that isn't known."""
    a, b = box(one), box(other)
    if a is None or b is None or a.name != b.name:
        return False
    if not a.rest.startswith(b.rest) and not b.rest.startswith(a.rest):
        return False
    if a.is_run or b.is_run:
        return len(a.axes) == len(b.axes)
    return all(first < end and start < last for (first, last), (start, end) in zip(a.axes, b.axes, strict=False))


def inside(part: str, number: int) -> str | None:
    """The name of a part's item, of this number from 0 on: of ``[2, 4:9]`` the item 1 is ``[2, 5]``. None: its items
    have no names."""
    found = box(part)
    several = [] if found is None else [i for i, (start, stop) in enumerate(found.axes) if stop > start + 1]
    if found is None or found.rest or found.is_run or len(several) != 1:
        return None
    axes = [str(start + number if i == several[0] else start) for i, (start, _) in enumerate(found.axes)]
    return f"[{', '.join(axes)}]"
