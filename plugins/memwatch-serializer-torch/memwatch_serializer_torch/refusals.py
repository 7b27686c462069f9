"""Which tensors can't be watched, why, and what to do instead."""

from __future__ import annotations

import sys
from typing import Any

from memwatch_core.kinds import name_of
from memwatch_plugins.array_memory import overlaps


def why_not(value: Any) -> str | None:
    """None: the tensor can be watched."""
    torch = sys.modules["torch"]
    if value.requires_grad:
        return (
            "it takes part in gradients, and a copy of it is another node of their graph: watch its data, "
            "p.data = watch(p.data), which is the memory that optimizers write to"
        )
    if type(value) is not torch.Tensor:
        return f"a {name_of(type(value))} is more than its elements: watch x.data, and give it back with x.data = …"
    if value.layout is not torch.strided:
        return "a sparse tensor keeps its elements in tensors of its own, which torch replaces: watch x.to_dense()"
    if value.device.type != "cpu":
        return f"its memory is that of {value.device}, and stores there can't be seen: watch a copy, x.cpu()"
    if value.is_quantized or value.is_conj() or value.is_neg():
        return "its memory has other numbers than its elements (quantized, conjugated, negated): watch a copy of these"
    if sys.modules.get("numpy") is None:
        return "torch has no numpy here, by which its elements are read: pip install numpy"
    if value.is_shared():
        return (
            "its memory is shared with other processes, which wouldn't see what is written to a copy: watch x.clone() "
            "if that is meant"
        )
    try:
        array = value.numpy()
    except (TypeError, RuntimeError):
        return f"elements of {value.dtype} can't be shown: watch them as numbers, x.view(torch.int16)"
    if overlaps(array):
        return "its elements overlap in memory (expand, unfold), and a copy would part them: watch x.clone()"
    return None
