"""Types of ctypes, and formats of memoryviews, as JSON that :mod:`memwatch_plugins.arrays` reads."""

from __future__ import annotations

import struct
import sys
from typing import Any

from memwatch_core.kinds import bases_of, name_of
from memwatch_plugins.memory_owners import MAPPED, is_mapped

_LETTERS = {**dict.fromkeys("bhilqn", "i"), **dict.fromkeys("BHILQN", "u"), **dict.fromkeys("efd", "f")}
_POINTERS = "PzZOX"


def of_format(form: str) -> Any:
    """The kind of element that a memoryview of this format has; None: it can't be cast to it."""
    letter = form.removeprefix("@")
    if letter == "c":
        return "|S1"
    if letter == "?":
        return "|b1"
    if len(letter) != 1 or letter not in _LETTERS or letter in "e":
        return None
    return f"<{_LETTERS[letter]}{struct.calcsize(letter)}"


def described(kind: Any) -> dict[str, Any]:
    """The options of a variable of this type."""
    shape: list[int] = []
    while _is_array(kind) and not _is_text(kind):
        shape.append(kind._length_)
        kind = kind._type_
    size = sys.modules["_ctypes"].sizeof(kind)
    strides = [size] * len(shape)
    for axis in reversed(range(len(shape) - 1)):
        strides[axis] = strides[axis + 1] * max(shape[axis + 1], 1)
    options = {"dtype": _item(kind), "shape": shape, "strides": strides}
    return options if shape else {**options, "single": True}


def of_value(value: Any) -> str | None:
    """Why a value of ctypes can't be watched; None: it can."""
    base = sys.modules["_ctypes"].Structure.__mro__[1]  # of all of them
    if vars(base)["_b_base_"].__get__(value) is not None:
        return "it is a part of another value of ctypes, which has its memory: watch that one"
    if is_mapped(value):
        return f"{MAPPED}: watch type(x).from_buffer_copy(x) if that is meant"
    return _of_kind(type(value))


def _of_kind(kind: Any) -> str | None:
    if _is_array(kind):
        return _of_kind(kind._type_)
    if _is_record(kind):
        for name, field, *bits in _fields(kind):
            if bits:
                return f"{name_of(kind)}.{name} is a field of bits, which no store has for itself"
            if why := _of_kind(field):
                return why
        return None
    letter = getattr(kind, "_type_", None)
    if not isinstance(letter, str) or letter in _POINTERS or letter not in "cbBhHiIlLqQfdg?u":
        return (
            f"it has a pointer ({name_of(kind)}), and what that points to lies elsewhere, kept by this very value: "
            "watch what it points to"
        )
    return None


def _is_array(kind: Any) -> bool:
    array: type = sys.modules["_ctypes"].Array
    return issubclass(kind, array)


def _is_record(kind: Any) -> bool:
    records: tuple[type, ...] = (sys.modules["_ctypes"].Structure, sys.modules["_ctypes"].Union)
    return issubclass(kind, records)


def _is_text(kind: Any) -> bool:
    return getattr(kind._type_, "_type_", None) in ("c", "u")


def _fields(kind: Any) -> list[Any]:
    """Of its bases as well, the first ones first."""
    return [field for base in reversed(bases_of(kind)) for field in vars(base).get("_fields_", ())]


def _item(kind: Any) -> Any:
    size = sys.modules["_ctypes"].sizeof(kind)
    if _is_array(kind):
        if _is_text(kind):
            return f"|S{size}" if kind._type_._type_ == "c" else f"<U{size // 4}"
        return [_item(kind._type_), [kind._length_]]
    if _is_record(kind):
        fields = [[name, _item(field), getattr(kind, name).offset] for name, field in _fields(kind)]
        return {"fields": fields, "size": size}
    letter = kind._type_
    if letter == "c":
        return "|S1"
    if letter == "u":
        return "<U1"
    if letter == "?":
        return "|b1"
    order = ">" if _is_swapped(kind) else "<"
    return f"{order}f{size}" if letter in "fdg" else f"{order}{_LETTERS[letter]}{size}"


def _is_swapped(kind: Any) -> bool:
    """Whether it is a number in the other byte order."""
    return getattr(kind, "__ctype_be__", None) is kind and getattr(kind, "__ctype_le__", kind) is not kind
