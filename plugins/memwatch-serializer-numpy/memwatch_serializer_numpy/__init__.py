"""``numpy``: arrays that stay plain ``numpy.ndarray``, and lie in watched memory.

numpy itself is never imported here: a program that has no array needs none, nor does who reads its journal. Where there
is no array, nothing else is imported either.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from memwatch_core.hookspecs import hookimpl
from memwatch_core.kinds import module_of, name_of
from memwatch_core.records import Layout, Lies, Serializer
from memwatch_plugins import array_parts
from memwatch_plugins.array_memory import SIZE_MAX, bytes_of, format_of, strides_of
from memwatch_plugins.memory_owners import owners_of


def _array() -> Any:
    """``numpy.ndarray``; None if the program hasn't imported numpy."""
    return getattr(sys.modules.get("numpy"), "ndarray", None)


_FOREIGN = ("torch", "cupy", "sparse", "scipy")
"""Libraries whose arrays are none of numpy's: see :mod:`.refusals`."""


def _accepts(value: object) -> bool:
    array = _array()
    if array is not None and issubclass(type(value), array):
        return True
    if module_of(type(value)).partition(".")[0] not in _FOREIGN:
        return False
    from .refusals import foreign

    return foreign(type(value)) is not None


def _layout(value: Any, options: Mapping[str, Any]) -> Layout:
    from .dtypes import described
    from .refusals import foreign, of_kind, of_memory

    if why := foreign(type(value)):
        raise TypeError(why)
    if options:
        raise TypeError(f"unknown option {next(iter(options))!r}: an array has none")
    why = of_kind(value, _array()) or of_memory(value)
    if why is not None:
        raise TypeError(why)
    if value.nbytes > SIZE_MAX:
        raise ValueError(f"{value.nbytes:,} bytes: an array of at most {SIZE_MAX:,} can be watched; watch a part of it")
    kept = {"dtype": described(value.dtype), "shape": list(value.shape), "strides": list(strides_of(value))}
    return Layout("memory", max(value.nbytes, 1), kept, items=format_of(value), names=array_parts.names(kept))


def _encode(value: Any, options: Mapping[str, Any]) -> Any:
    """Its bytes in the order of memory: those that the array has, where they lie side by side."""
    if type(value) is not _array():
        raise TypeError(f"a numpy.ndarray is expected, not {name_of(type(value))}")
    return bytes_of(value)


def _over(value: Any) -> Callable[[Any], Any]:
    kind, shape, dtype, strides = _array(), value.shape, value.dtype, strides_of(value)
    return lambda memory: kind(shape, dtype, memory, 0, strides)


@hookimpl
def memwatch_serializers() -> Sequence[Serializer]:
    """One serializer, for all arrays."""
    return (
        Serializer(
            name="numpy",
            summary="numpy arrays, as they are",
            accepts=_accepts,
            layout=_layout,
            encode=_encode,
            decode=array_parts.decode,
            part=array_parts.part,
            lies=Lies(over=_over, copy=lambda value: value.copy(order="K"), memory=owners_of),
            by_parts=True,
            locate=array_parts.locate,
            items=array_parts.items,
            region=array_parts.region,
            cut=array_parts.cut,
        ),
    )
