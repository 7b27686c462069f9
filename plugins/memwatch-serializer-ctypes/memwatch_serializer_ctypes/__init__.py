"""``ctypes`` and ``memoryview``: values of the standard library that lie in watched memory as what they are.

Nothing is imported for a program that has none: ctypes never is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from memwatch_core.hookspecs import hookimpl
from memwatch_core.kinds import bases_of, module_of, name_of
from memwatch_core.records import Layout, Lies, Serializer
from memwatch_plugins import array_parts
from memwatch_plugins.memory_owners import MAPPED, is_mapped, owners_of

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
    return Layout("memory", max(size, 1), kept, names=array_parts.names(kept))


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
            decode=array_parts.decode,
            part=array_parts.part,
            lies=Lies(over=_over, copy=_copy, memory=owners_of),
            by_parts=True,
            locate=array_parts.locate,
            items=array_parts.items,
            region=array_parts.region,
            cut=array_parts.cut,
        ),
        Serializer(
            name="memoryview",
            summary="memoryviews that can be written to",
            accepts=lambda value: type(value) is memoryview or _is_array(value),
            layout=_view_layout,
            encode=_view_encode,
            decode=array_parts.decode,
            part=array_parts.part,
            lies=Lies(over=_view_over, copy=_view_copy, memory=owners_of),
            by_parts=True,
            locate=array_parts.locate,
            items=array_parts.items,
            region=array_parts.region,
            cut=array_parts.cut,
        ),
    )
