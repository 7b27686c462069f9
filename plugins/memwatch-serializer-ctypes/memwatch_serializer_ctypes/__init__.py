"""``ctypes`` and ``memoryview``: values of the standard library that lie in watched memory as what they are.

Nothing is imported for a program that has none: ctypes never is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import Extent, Layout, Lies, Serializer

_ARRAY = (
    "an array.array keeps its elements in memory of its own, which it moves: watch a memoryview of a copy, "
    "m = watch(memoryview(a)), or an array of numpy"
)


def _is_ctypes(value: object) -> bool:
    base = getattr(sys.modules.get("_ctypes"), "Structure", None)
    return base is not None and base.__mro__[1] in type(value).__mro__  # ctypes' own base of all of them


def _is_array(value: object) -> bool:
    return type(value).__module__ == "array" and type(value).__name__ == "array"


def _no_options(what: str, options: Mapping[str, Any]) -> None:
    if options:
        raise TypeError(f"unknown option {next(iter(options))!r}: {what} has none")


# ---- ctypes ----------------------------------------------------------------------------------------------------------


def _layout(value: Any, options: Mapping[str, Any]) -> Layout:
    from .kinds import described, of_value

    if why := of_value(value):
        raise TypeError(why)
    _no_options(f"a {type(value).__name__}", options)
    size = sys.modules["_ctypes"].sizeof(value)
    kept = described(type(value))
    if isinstance(kept["dtype"], str):
        return Layout("memory", max(size, 1), kept)
    from memwatch_plugins.arrays.fields import part_names

    return Layout("memory", max(size, 1), kept, names=part_names(kept))


def _encode(value: Any, options: Mapping[str, Any]) -> bytes:
    if not _is_ctypes(value):
        raise TypeError(f"a value of ctypes is expected, not {type(value).__name__}")
    return bytes(memoryview(value).cast("B")) or b"\0"


def _over(value: Any) -> Callable[[Any], Any]:
    return type(value).from_buffer  # type: ignore[no-any-return]


def _copy(value: Any) -> Any:
    return type(value).from_buffer_copy(value)


def _kept(value: Any) -> Iterator[object]:
    """What a value has its memory from, or the value that it is a part of."""
    while value is not None:
        objects = value._objects
        for kept in objects.values() if type(objects) is dict else (objects,):  # of a number, the object itself
            if type(kept) is memoryview:
                yield kept.obj
        value = value._b_base_


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
        raise TypeError(f"a memoryview is expected, not {type(value).__name__}")
    return value.tobytes() or b"\0"


def _view_over(value: Any) -> Callable[[Any], Any]:
    form, shape, size = value.format, value.shape, value.nbytes
    return lambda memory: memoryview(memory)[:size].cast(form, shape) if size else memoryview(memory)[:0].cast(form)


def _view_copy(value: Any) -> Any:
    return _view_over(value)(bytearray(value.tobytes()))


def _view_kept(value: Any) -> Iterator[object]:
    if type(value) is memoryview:
        yield value.obj


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
            lies=Lies(over=_over, copy=_copy, memory=_kept),
            by_parts=True,
            locate=_locate,
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
            lies=Lies(over=_view_over, copy=_view_copy, memory=_view_kept),
            by_parts=True,
            locate=_locate,
            cut=_cut,
        ),
    )
