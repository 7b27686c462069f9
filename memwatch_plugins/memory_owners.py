"""What a value has its memory from: as numpy's arrays, memoryviews and values of ctypes know it.

Nothing is imported, and no code of the program's runs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

MAPPED = "its memory is a mapping (mmap, shared memory), and others wouldn't see what is written to a copy"
"""Why such a value can't be watched."""
_MOST = 100


def owners_of(value: object) -> Iterator[object]:
    """What it has its memory from, and that from what, the nearest first."""
    asked = [value]
    for one in asked:
        for owner in _owners(one):
            yield owner
            asked.append(owner)
        if len(asked) > _MOST:
            return


def is_mapped(value: object) -> bool:
    """Whether the memory is a mapping of the ``mmap`` module's, which may be shared."""
    mapping = getattr(sys.modules.get("mmap"), "mmap", None)
    return mapping is not None and any(issubclass(type(owner), mapping) for owner in owners_of(value))


def _owners(value: object) -> Iterator[object]:
    array = getattr(sys.modules.get("numpy"), "ndarray", None)
    structure = getattr(sys.modules.get("_ctypes"), "Structure", None)
    if type(value) is memoryview:
        try:
            owner = value.obj
        except ValueError:  # it was released
            return
        yield owner
    elif array is not None and issubclass(type(value), array):
        base = array.base.__get__(value)
        if base is not None:
            yield base
    elif structure is not None and issubclass(type(value), structure.__mro__[1]):
        parts = vars(structure.__mro__[1])  # of ctypes' own base of all of them
        objects = parts["_objects"].__get__(value)
        for kept in objects.values() if type(objects) is dict else (objects,):  # of a number, the object itself
            if type(kept) is memoryview:
                yield kept
        whole = parts["_b_base_"].__get__(value)
        if whole is not None:
            yield whole
