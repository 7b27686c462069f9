"""``pyarrow``: buffers that can be written to, in watched memory; and why nothing else of Arrow's needs a watch.

pyarrow itself is never imported here: a program that has no buffer needs none, nor does who reads its journal.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from memwatch_core.hookspecs import hookimpl
from memwatch_core.kinds import bases_of, module_of, name_of
from memwatch_core.records import Layout, Lies, Serializer
from memwatch_plugins import array_parts
from memwatch_plugins.array_memory import SIZE_MAX

_IMMUTABLE = {
    "pyarrow": ("Array", "ChunkedArray", "RecordBatch", "Table", "Scalar", "Tensor"),
    "polars": ("DataFrame", "LazyFrame", "Series"),
}
_known: dict[int, tuple[weakref.ref[Any], int]] = {}
"""Where watched memory lies that buffers were made over -> the memory, and how many bytes it has."""


def _is(value: object, library: str, names: Sequence[str]) -> bool:
    """Whether a value is of one of these types, without importing them."""
    module = sys.modules.get(library)
    if module is None:
        return False
    kinds = [vars(module).get(name) for name in names]
    return any(base is kind for base in bases_of(type(value)) for kind in kinds)


def _is_buffer(value: object) -> bool:
    return _is(value, "pyarrow", ("Buffer",))


def _accepts(value: object) -> bool:
    return _is_buffer(value) or any(_is(value, library, names) for library, names in _IMMUTABLE.items())


def _why_not(value: Any) -> str | None:
    if not _is_buffer(value):
        return (
            f"a {name_of(type(value))} of {module_of(type(value)).partition('.')[0]} is immutable: whoever changes it "
            "makes another one, and nobody writes to its memory. Watch what holds it, as watch(obj, fields=['frame'])"
        )
    if type(value) is not sys.modules["pyarrow"].Buffer:
        return f"a {name_of(type(value))} moves its memory: watch a pyarrow.Buffer, pyarrow.py_buffer(bytearray(n))"
    if not value.is_cpu:
        return "its memory is that of a GPU, and stores there can't be seen"
    if not value.is_mutable:
        return "it can't be written to: pyarrow.py_buffer(bytearray(b)) is a copy that can"
    if not value.size:
        return "it has no bytes"
    return None


def _layout(value: Any, options: Mapping[str, Any]) -> Layout:
    if why := _why_not(value):
        raise TypeError(why)
    if options:
        raise TypeError(f"unknown option {next(iter(options))!r}: a buffer has none")
    if value.size > SIZE_MAX:
        raise ValueError(f"{value.size:,} bytes: a buffer of at most {SIZE_MAX:,} can be watched")
    return Layout("memory", value.size, {"dtype": "|u1", "shape": [value.size], "strides": [1]}, items="<B")


def _encode(value: Any, options: Mapping[str, Any]) -> Any:
    if not _is_buffer(value):
        raise TypeError(f"a pyarrow.Buffer is expected, not {name_of(type(value))}")
    return memoryview(value).cast("B")


def _over(value: Any) -> Callable[[Any], Any]:
    def made(memory: Any) -> Any:
        buffer = sys.modules["pyarrow"].py_buffer(memory)
        at = buffer.address
        _known[at] = (weakref.ref(memory, lambda _: _known.pop(at, None)), buffer.size)
        return buffer

    return made


def _copy(value: Any) -> Any:
    return sys.modules["pyarrow"].py_buffer(bytearray(value))


def _memory(value: Any) -> Iterator[object]:
    """Arrow doesn't say what a buffer keeps: known by its address."""
    if not _is_buffer(value):
        return
    for at, (held, size) in [*_known.items()]:
        memory = held()
        if memory is not None and at <= value.address < at + size:
            yield memory


@hookimpl
def memwatch_serializers() -> Sequence[Serializer]:
    """One serializer, for buffers."""
    return (
        Serializer(
            name="pyarrow",
            summary="buffers of Arrow that can be written to",
            accepts=_accepts,
            layout=_layout,
            encode=_encode,
            decode=array_parts.decode,
            part=array_parts.part,
            lies=Lies(over=_over, copy=_copy, memory=_memory),
            by_parts=True,
            locate=array_parts.locate,
        ),
    )
