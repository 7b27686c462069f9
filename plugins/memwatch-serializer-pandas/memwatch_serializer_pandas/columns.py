"""One column: where its values lie, and a Series over other memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from memwatch_core.kinds import name_of
from memwatch_core.records import Layout
from memwatch_plugins.array_memory import SIZE_MAX, bytes_of, format_of


def array_of(values: Any) -> Any:
    """The numpy array that a column's values are; None: they aren't one. Of times, that below pandas' own array."""
    array = sys.modules["numpy"].ndarray
    if type(values) is array:
        return values
    inner = getattr(values, "_ndarray", None) if name_of(type(values)) in ("DatetimeArray", "TimedeltaArray") else None
    return inner if type(inner) is array and getattr(values, "tz", None) is None else None


def address(array: Any) -> int:
    """Where its first element lies."""
    at: int = array.__array_interface__["data"][0]
    return at


def layout(series: Any) -> Layout:
    """Of a column that can be watched. Raises ValueError: it is too large."""
    array = array_of(series._values)
    if array.nbytes > SIZE_MAX:
        raise ValueError(f"{array.nbytes:,} bytes: a column of at most {SIZE_MAX:,} can be watched")
    kept = {"dtype": array.dtype.str, "shape": [len(array)], "strides": [array.itemsize]}
    return Layout("memory", max(array.nbytes, 1), kept, items=format_of(array))


def encode(series: Any) -> Any:
    """Its bytes, one value after the other."""
    array = array_of(series._values)
    if array is None:
        raise TypeError(f"a Series of numbers or times is expected, not of {series.dtype}")
    return bytes_of(array)


def over(series: Any) -> Callable[[Any], Any]:
    """Makes the same Series over other memory: index, name, attrs and flags are kept."""
    kind, dtype, n = type(series), array_of(series._values).dtype, len(series)
    index, name, attrs, flag = series.index, series.name, dict(series.attrs), series.flags.allows_duplicate_labels

    def made(memory: Any) -> Any:
        values = sys.modules["numpy"].ndarray((n,), dtype, memory)
        result = kind(values, index=index, name=name, copy=False)
        if attrs:
            result.attrs = attrs
        if not flag:
            result.flags.allows_duplicate_labels = False
        return result

    return made


def copy(series: Any) -> Any:
    """In memory of its own."""
    return series.copy(deep=True)


def arrays(table: Any) -> Iterator[tuple[Any, Any]]:
    """The blocks of a table or a Series, each with its numpy array, as far as it has one."""
    for block in table._mgr.blocks:
        array = array_of(block.values)
        if array is not None:
            yield block, array


def memories(table: Any) -> Iterator[object]:
    """What the columns lie in."""
    kind = sys.modules["numpy"].ndarray
    for _, array in arrays(table):
        base = array
        while type(base) is kind:
            base = base.base
        if type(base) is memoryview:
            base = base.obj
        if base is not None:
            yield base
