"""Which arrays can't be watched, why, and what to do instead."""

from __future__ import annotations

import sys
from typing import Any

from memwatch_core.kinds import bases_of, name_of
from memwatch_plugins.array_memory import overlaps
from memwatch_plugins.memory_owners import MAPPED, is_mapped

KINDS = "biufcSUVmM"
DESCRIPTION_MAX = 1 << 15
"""Limit of a dtype's text, in characters."""
_SPARSE = (
    "a sparse matrix keeps its elements in arrays of its own, which other code replaces: watch these, as in "
    "m.data = watch(m.data)"
)
_TENSOR = (
    "a tensor isn't an array: pip install memwatch-serializer-torch; or, of one on the CPU, a = watch(t.numpy()), and "
    "then t = torch.from_numpy(a)"
)
_FOREIGN = (
    ("torch", "Tensor", _TENSOR),
    ("cupy", "ndarray", "its memory is that of a GPU, and stores there can't be seen: watch a copy, cupy.asnumpy(a)"),
    ("scipy.sparse", "sparray", _SPARSE),
    ("scipy.sparse", "spmatrix", _SPARSE),
    ("sparse", "SparseArray", _SPARSE),
)
_PLAIN = "a plain array over the same memory is x.view(numpy.ndarray)"
_SUBCLASSES = {
    "matrix": f"{_PLAIN}: x = watch(x.view(numpy.ndarray)).view(numpy.matrix)",
    "recarray": f"{_PLAIN}: x = watch(x.view(x.dtype.descr, numpy.ndarray)).view(numpy.recarray)",
    "MaskedArray": "it has two arrays: data = watch(x.data.copy()), mask = watch(x.mask.copy()), and then "
    "x = numpy.ma.array(data, mask=mask, copy=False)",
    "memmap": "what is written to it goes to a file, which others may have mapped, and a copy would be cut off from it",
}


def foreign(kind: type) -> str | None:
    """Why values of another library's type can't be watched; None: it isn't such a type. Imports nothing."""
    for module, name, why in _FOREIGN:
        known = sys.modules.get(module)
        base = None if known is None else vars(known).get(name)
        if isinstance(base, type) and base in bases_of(kind):
            return why
    return None


def of_kind(value: Any, array: Any) -> str | None:
    """Because of its type or its dtype."""
    if type(value) is not array:
        names = [name_of(base) for base in bases_of(type(value))]
        remedy = next((text for name, text in _SUBCLASSES.items() if name in names), _PLAIN)
        return f"a {name_of(type(value))} is more than its elements: {remedy}"
    dtype = value.dtype
    if dtype.hasobject:
        return (
            "its elements are references to objects, whose contents lie elsewhere: give it a dtype of numbers or of "
            "text (a.astype(float)), or watch the objects"
        )
    if dtype.kind not in KINDS:
        return f"the text of dtype {dtype} lies elsewhere, not in its elements: a.astype('U20') has it there"
    if len(str(dtype)) > DESCRIPTION_MAX:
        return f"its dtype has {len(dtype.names or ())} fields, too many to be described: watch some of them"
    return None


def of_memory(value: Any) -> str | None:
    """Because of where its elements lie."""
    if value.nbytes and any(n > 1 and not stride for stride, n in zip(value.strides, value.shape, strict=True)):
        return (
            "it is broadcast, many elements are one in memory (stride 0): watch the array that it was made of, or "
            "a.copy()"
        )
    if not value.flags.writeable:  # numpy warns of some that are broadcast
        return (
            "it is read-only: nobody writes to it through this name. Watch the array that it is a view of, or a.copy()"
        )
    if overlaps(value):
        return (
            "its elements overlap in memory, and a copy would part them: watch the array that it is a view of, or "
            "a.copy()"
        )
    return f"{MAPPED}: watch a.copy() if that is meant" if is_mapped(value) else None
