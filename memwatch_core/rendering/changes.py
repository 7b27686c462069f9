"""A store's change in words: the part of the value, and its text before and after."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from ..printed import clean
from ..records import Event, Shown
from .layout import shorten
from .subscripts import STRUCT, box, inside

LENGTH = "len()"
"""The name of the part that is a value's length."""
_CHUNK = 256


def change(event: Event, limit: int) -> tuple[str, str, str]:
    """What changed: (part, before, after), the last two of at most ``limit`` characters each.

    ``part`` is ``.field`` or ``[index]`` if a single part of a compound value changed; before and after are that
    part's. If several parts changed, before and after list each with its name. For bytes, ``part`` is the
    ``[start:stop]`` that the store touched. For an unknown value, the range of bytes and their hexadecimal digits.
    For a place of an object, its path.
    """
    if event.operation is not None and event.part is not None:
        return clean(event.part.name), *_around(*_of_place(event.part.old, event.part.new, event.changed, limit), limit)
    part, old, new, first = _shown(event, limit)
    if old is None and new is None:
        part = event.part.name if event.part is not None else f"[{event.offset}:{event.offset + len(event.after)}]"
        return clean(part), *_around(event.before.hex(), event.after.hex(), limit)
    parts = _named_inside(part, _changed_parts(old, new, limit, first))
    if not parts:
        return clean(part), *_around(value_text(old, limit), value_text(new, limit), limit)
    if len(parts) == 1:
        part, before, after = parts[0]
        return clean(part), *_around(value_text(before, limit), value_text(after, limit), limit)
    olds, news = (
        ", ".join(f"{clean(part[0].lstrip('.'))}={value_text(part[side], limit)}" for part in parts) for side in (1, 2)
    )
    return "", *_around(olds, news, limit)


def _shown(event: Event, limit: int) -> tuple[str, Any, Any, int]:
    """What to show of an event: the part that was touched, or the whole value if that says more. Returns its name, old
    and new value, and the index of its first item."""
    part, whole = event.part, ("", event.old, event.new, 0)
    if part is None or (part.old is None and part.new is None):
        return whole
    several = re.fullmatch(r"\[(\d+):\d+\]", part.name)
    if isinstance(event.new, tuple) and several is not None:
        return whole  # a struct's fields have names
    if isinstance(event.old, bytes | bytearray) and isinstance(event.new, bytes | bytearray):
        before, after = len(event.old), len(event.new)
        if part.name == f"[0:{before}]" and before == after:
            return whole
        if before != after and max(before, after) <= limit:
            return whole  # shows more than the part that was appended
    return part.name, part.old, part.new, int(several[1]) if several is not None else 0


def _named_inside(part: str, changed: list[tuple[str, Any, Any]]) -> list[tuple[str, Any, Any]]:
    """Changed items of a part of an array, by the names that they have in the array: none if they have none."""
    if not part or STRUCT.fullmatch(part) or box(part) is None:
        return changed
    named = [
        (part + name if name.startswith(".") else inside(part, int(name[1:-1])), old, new)
        for name, old, new in changed
        if name.startswith(".") or name[1:-1].isdecimal()
    ]
    return [(name, old, new) for name, old, new in named if name is not None]


def _of_place(old: Any, new: Any, changed: bool, limit: int) -> tuple[str, str]:
    """The two values as text. If they differ, but not within ``limit`` characters, the second text says so."""
    before, after = value_text(old, limit), value_text(new, limit)
    return before, "(changed further on)" if changed and before == after else after


def named(variable: str, part: str) -> str:
    """The name of a variable's part: ``order.qty``, ``len(buffer)``. ``part`` is :func:`change`'s."""
    return f"len({variable})" if part == LENGTH else variable + part


def named_in(event: Event, variable: str, part: str) -> str:
    """:func:`named` of an event's part; of a name of a function, with the number of the call:
    ``orders:add_order()#3.total``."""
    number = None if event.part is None else event.part.activation
    return named(variable if number is None else f"{variable}#{number}", part)


def _around(before: str, after: str, limit: int) -> tuple[str, str]:
    """Both texts, shortened around the first difference."""
    if len(before) <= limit and len(after) <= limit:
        return before, after
    differs = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
    return shorten(before, limit, differs), shorten(after, limit, differs)


def _changed_parts(old: Any, new: Any, most: int, first: int = 0) -> list[tuple[str, Any, Any]]:
    """The first differing parts of a compound value, each with its name: ``.qty``, ``[0]``; none if the two values
    don't have the same parts. ``first``: index of the first item."""
    if isinstance(old, Mapping) and isinstance(new, Mapping) and old.keys() == new.keys():
        names = (name for name in new if _differ(old[name], new[name]))
        return [(f".{n}" if isinstance(n, str) else f"[{n!r}]", old[n], new[n]) for n in islice(names, most)]
    fields = getattr(new, "_fields", None) if isinstance(new, tuple) else None
    alike = isinstance(old, tuple | list) and isinstance(new, tuple | list) and len(old) == len(new)
    if not alike or getattr(old, "_fields", None) != fields:
        return []
    places = islice(_places(old, new), most)
    return [(f"[{first + i}]" if fields is None else f".{fields[i]}", old[i], new[i]) for i in places]


def _places(old: Sequence[Any], new: Sequence[Any]) -> Iterator[int]:
    """Indices at which two sequences differ. Compares slices first, for speed."""
    for start in range(0, len(new), _CHUNK):
        if old[start : start + _CHUNK] != new[start : start + _CHUNK]:
            yield from (i for i in range(start, min(start + _CHUNK, len(new))) if _differ(old[i], new[i]))


def _differ(old: Any, new: Any) -> bool:
    return old is not new and bool(old != new)


def value_text(value: Any, limit: int = 1 << 16) -> str:
    """The ``repr`` of a value; of a long sequence, only the first items."""
    try:
        if isinstance(value, Shown):
            return clean(value.text)
        if isinstance(value, list | tuple) and len(value) > limit and not hasattr(value, "_fields"):
            return clean(repr(value[:limit])[:-1] + ", …")
        return clean(repr(value))
    except Exception:  # nested too deeply, an int of too many digits, a failing repr() of the program's
        return f"<{clean(type(value).__name__)}>"
