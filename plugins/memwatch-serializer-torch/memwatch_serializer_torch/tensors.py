"""Where the elements of a tensor lie, and a tensor over other memory."""

from __future__ import annotations

import ctypes
import os
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from memwatch_core.records import Layout, Left
from memwatch_plugins.array_memory import SIZE_MAX, bytes_of, format_of, strides_of

_known: dict[int, tuple[weakref.ref[Any], weakref.ref[Any]]] = {}
"""Where a watched storage begins -> its memory, and the exporter that torch keeps, which is its storage's alone."""
_following: dict[int, weakref.ref[Any]] = {}
"""References that wait for their exporter to go, by their ids."""


def layout(tensor: Any) -> Layout:
    """Raises ValueError: it is too large."""
    array = tensor.numpy()
    if array.nbytes > SIZE_MAX:
        raise ValueError(f"{array.nbytes:,} bytes: a tensor of at most {SIZE_MAX:,} can be watched; watch a part of it")
    kept = {"dtype": array.dtype.str, "shape": list(array.shape), "strides": list(strides_of(array))}
    return Layout("memory", max(array.nbytes, 1), kept, items=format_of(array))


def encode(tensor: Any) -> Any:
    """Its bytes in the order of memory."""
    return bytes_of(tensor.numpy())


def over(tensor: Any) -> Callable[[Any], Any]:
    """Makes the same tensor over other memory, with a storage of its own."""
    torch = sys.modules["torch"]
    array = tensor.numpy()
    dtype, shape, size = tensor.dtype, tuple(array.shape), array.nbytes
    strides = [stride // array.itemsize for stride in strides_of(array)]

    def made(memory: Any) -> Any:
        if not size:
            return torch.empty_strided(shape, strides, dtype=dtype)
        exporter = (ctypes.c_char * size).from_buffer(memory)
        flat = torch.frombuffer(exporter, dtype=dtype)
        at = flat.data_ptr()
        _known[at] = (weakref.ref(memory), weakref.ref(exporter, lambda _: _known.pop(at, None)))
        return torch.empty(0, dtype=dtype).set_(flat.untyped_storage(), 0, shape, strides)

    return made


def _storage(tensor: Any) -> int:
    """Where the storage of a tensor begins; 0: it has none."""
    try:
        at: int = tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError, ValueError):  # sparse, or a tensor without memory
        return 0
    return at


def memory(tensor: Any) -> Iterator[object]:
    """torch doesn't say what a storage keeps: known by its address."""
    found = _known.get(_storage(tensor)) if _known else None
    held = found[0]() if found is not None else None
    if held is not None:
        yield held


def follow(tensor: Any, left: Left) -> None:
    """Where the storage goes while the tensor is there, it has got another one. What is watched as ``p.data`` is there
    for a moment only: of that, torch itself drops the storage, which the program didn't."""
    found = _known.get(_storage(tensor))
    exporter = found[1]() if found is not None else None
    if exporter is None:
        return
    held = weakref.ref(tensor)
    folder = f"{os.path.dirname(sys.modules['torch'].__file__ or '')}{os.sep}"

    def dropped(reference: weakref.ref[Any]) -> None:
        _following.pop(id(reference), None)
        code = sys._getframe(1).f_code
        if held() is not None:
            left(False)
        elif code.co_filename.startswith(folder):
            left(code.co_name == "__delattr__")

    waiting = weakref.ref(exporter, dropped)
    _following[id(waiting)] = waiting
