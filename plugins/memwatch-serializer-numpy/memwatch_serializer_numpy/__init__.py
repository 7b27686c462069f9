"""``numpy``: arrays that stay plain ``numpy.ndarray``, and lie in watched memory.

numpy itself is never imported here: a program that has no array needs none, nor does who reads its journal. Where there
is no array, nothing else is imported either.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from memwatch_core.hookspecs import hookimpl
from memwatch_core.kinds import module_of, name_of
from memwatch_core.records import Extent, Items, Layout, Lies, Serializer
from memwatch_plugins.memory_owners import owners_of

if TYPE_CHECKING:
    from memwatch_core.records import Span

SIZE_MAX = (1 << 32) - 4096
"""Limit of an array's bytes."""


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


def _order(value: Any) -> list[int]:
    """The axes from the outermost in memory to the innermost."""
    return sorted(range(value.ndim), key=lambda axis: (-abs(value.strides[axis]), axis))


def _strides(value: Any) -> tuple[int, ...]:
    """Its own strides if its elements lie side by side in its memory; otherwise those of ``value.copy(order="K")``."""
    strides, step = [0] * value.ndim, value.itemsize
    for axis in reversed(_order(value)):
        strides[axis] = step
        step *= max(value.shape[axis], 1)
    longer = [axis for axis, n in enumerate(value.shape) if n > 1]
    same = value.size and all(strides[axis] == value.strides[axis] for axis in longer)
    return value.strides if same else tuple(strides)


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
    kept = {"dtype": described(value.dtype), "shape": list(value.shape), "strides": list(_strides(value))}
    return Layout("memory", max(value.nbytes, 1), kept, items=_format(value), names=_names(kept))


def _names(options: dict[str, Any]) -> tuple[str, ...]:
    if isinstance(options["dtype"], str):
        return ()
    from memwatch_plugins.arrays.fields import part_names

    return part_names(options)


_LETTERS = {"i": "bhiq", "u": "BHIQ", "f": "  fd"}


def _format(value: Any) -> str:
    """The format of a number, of an array of such; empty: of another one."""
    dtype = value.dtype
    if dtype.char == "?":
        return "<?"
    if dtype.kind not in "iuf" or dtype.itemsize > 8 or not value.nbytes:
        return ""
    letter = _LETTERS[dtype.kind][dtype.itemsize.bit_length() - 1].strip()
    return f"{'>' if dtype.str[0] == '>' else '<'}{letter}" if letter else ""


def _encode(value: Any, options: Mapping[str, Any]) -> Any:
    """Its bytes in the order of memory: those that the array has, where they lie side by side."""
    if type(value) is not _array():
        raise TypeError(f"a numpy.ndarray is expected, not {name_of(type(value))}")
    if not value.nbytes:
        return b"\0"
    numpy = sys.modules["numpy"]
    return numpy.ascontiguousarray(value.transpose(_order(value))).reshape(-1).view("u1")


def _over(value: Any) -> Callable[[Any], Any]:
    kind, shape, dtype, strides = _array(), value.shape, value.dtype, _strides(value)
    return lambda memory: kind(shape, dtype, memory, 0, strides)


def _decode(data: bytes, options: Mapping[str, Any]) -> Any:
    from memwatch_plugins.arrays import elements

    return elements(options).decode(data)


def _part(start: int, stop: int, options: Mapping[str, Any]) -> Extent | None:
    from memwatch_plugins.arrays import elements

    return elements(options).part(start, stop)


def _locate(name: str, options: Mapping[str, Any]) -> tuple[int, int] | None:
    from memwatch_plugins.arrays import elements

    return elements(options).find(name)


def _items(options: Mapping[str, Any]) -> Items | None:
    from memwatch_plugins.arrays import elements

    return elements(options).items()


def _region(spans: Sequence[Span], options: Mapping[str, Any]) -> tuple[str, int | None] | None:
    from memwatch_plugins.arrays import elements, region

    return region(elements(options), spans)


def _cut(start: int, stop: int, options: Mapping[str, Any]) -> Iterator[Extent]:
    from memwatch_plugins.arrays import elements

    return elements(options).cut(start, stop)


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
            decode=_decode,
            part=_part,
            lies=Lies(over=_over, copy=lambda value: value.copy(order="K"), memory=owners_of),
            by_parts=True,
            locate=_locate,
            items=_items,
            region=_region,
            cut=_cut,
        ),
    )
