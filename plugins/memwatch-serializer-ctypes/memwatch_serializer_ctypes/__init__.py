"""``ctypes`` and ``memoryview``: values of the standard library that lie in watched memory as what they are.

Nothing is imported for a program that has none: ctypes never is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from memwatch_core.hookspecs import hookimpl
from memwatch_core.kinds import bases_of, module_of, name_of
from memwatch_core.records import Extent, Items, Layout, Lies, Serializer
from memwatch_plugins.memory_owners import MAPPED, is_mapped, owners_of

if TYPE_CHECKING:
    from memwatch_core.records import Span

_ARRAY = (
    "an array.array keeps its elements in memory of its own, which it moves: watch a memoryview of a copy, "
    "m = watch(memoryview(a)), or an array of numpy"
)


def _is_ctypes(value: object) -> bool:
    base = getattr(sys.modules.get("_ctypes"), "Structure", None)
    return base is not None and base.__mro__[1] in bases_of(type(value))  # ctypes' own base of all of them


def _is_array(value: object) -> bool:
    return module_of(type(value)) == "array" and name_of(type(value)) == "array"


def _no_options(what: str, options: Mapping[str, Any]) -> None:
    if options:
        raise TypeError(f"unknown option {next(iter(options))!r}: {what} has none")


# ---- ctypes ----------------------------------------------------------------------------------------------------------


def _layout(value: Any, options: Mapping[str, Any]) -> Layout:
    from .kinds import described, of_value

    if why := of_value(value):
        raise TypeError(why)
    _no_options(f"a {name_of(type(value))}", options)
    size = memoryview(value).nbytes  # sizeof() asks for its __class__
    kept = described(type(value))
    if isinstance(kept["dtype"], str):
        return Layout("memory", max(size, 1), kept)
    from memwatch_plugins.arrays.fields import part_names

    return Layout("memory", max(size, 1), kept, names=part_names(kept))


def _encode(value: Any, options: Mapping[str, Any]) -> bytes:
    if not _is_ctypes(value):
        raise TypeError(f"a value of ctypes is expected, not {name_of(type(value))}")
    return bytes(memoryview(value).cast("B")) or b"\0"


def _over(value: Any) -> Callable[[Any], Any]:
    return type(value).from_buffer  # type: ignore[no-any-return]


def _copy(value: Any) -> Any:
    return type(value).from_buffer_copy(value)


# ---- memoryview ------------------------------------------------------------------------------------------------------


def _view_layout(value: Any, options: Mapping[str, Any]) -> Layout:
    if _is_array(value):
        raise TypeError(_ARRAY)
    from .kinds import of_format

    _no_options("a memoryview", options)
    item = of_format(value.format)
    if item is None:
        raise TypeError(
            f"its format {value.format!r} is none that a memoryview can be cast to: view.cast('B') has its bytes"
        )
    if value.readonly:
        raise TypeError("it is read-only: nobody writes through it. Watch a copy, memoryview(bytearray(view))")
    if is_mapped(value):
        raise TypeError(f"{MAPPED}: watch memoryview(bytearray(view)) if that is meant")
    strides: list[int] = []
    step = value.itemsize
    for n in reversed(value.shape):
        strides.insert(0, step)
        step *= max(n, 1)
    if not value.shape:
        raise TypeError("a memoryview without dimensions is one value: watch the value")
    return Layout("memory", max(value.nbytes, 1), {"dtype": item, "shape": list(value.shape), "strides": strides})


def _view_encode(value: Any, options: Mapping[str, Any]) -> bytes:
    if type(value) is not memoryview:
        raise TypeError(f"a memoryview is expected, not {name_of(type(value))}")
    return value.tobytes() or b"\0"


def _view_over(value: Any) -> Callable[[Any], Any]:
    form, shape, size = value.format, value.shape, value.nbytes
    return lambda memory: memoryview(memory)[:size].cast(form, shape) if size else memoryview(memory)[:0].cast(form)


def _view_copy(value: Any) -> Any:
    return _view_over(value)(bytearray(value.tobytes()))


# ---- both ------------------------------------------------------------------------------------------------------------


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
    """Two serializers."""
    return (
        Serializer(
            name="ctypes",
            summary="structures, arrays and numbers of ctypes, as they are",
            accepts=_is_ctypes,
            layout=_layout,
            encode=_encode,
            decode=_decode,
            part=_part,
            lies=Lies(over=_over, copy=_copy, memory=owners_of),
            by_parts=True,
            locate=_locate,
            items=_items,
            region=_region,
            cut=_cut,
        ),
        Serializer(
            name="memoryview",
            summary="memoryviews that can be written to",
            accepts=lambda value: type(value) is memoryview or _is_array(value),
            layout=_view_layout,
            encode=_view_encode,
            decode=_decode,
            part=_part,
            lies=Lies(over=_view_over, copy=_view_copy, memory=owners_of),
            by_parts=True,
            locate=_locate,
            items=_items,
            region=_region,
            cut=_cut,
        ),
    )
