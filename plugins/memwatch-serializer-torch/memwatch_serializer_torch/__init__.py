"""``torch``: tensors of the CPU that stay ``torch.Tensor``, and lie in watched memory.

torch itself is never imported here: a program that has no tensor needs none, nor does who reads its journal.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from memwatch_core.hookspecs import hookimpl
from memwatch_core.kinds import bases_of, name_of
from memwatch_core.records import Layout, Left, Lies, Serializer
from memwatch_plugins import array_parts


def _accepts(value: object) -> bool:
    module = sys.modules.get("torch")
    tensor = None if module is None else vars(module).get("Tensor")
    return tensor is not None and any(base is tensor for base in bases_of(type(value)))


def _layout(value: Any, options: Mapping[str, Any]) -> Layout:
    from . import tensors
    from .refusals import why_not

    if why := why_not(value):
        raise TypeError(why)
    if options:
        raise TypeError(f"unknown option {next(iter(options))!r}: a tensor has none")
    return tensors.layout(value)


def _encode(value: Any, options: Mapping[str, Any]) -> Any:
    from . import tensors

    if not _accepts(value):
        raise TypeError(f"a torch.Tensor is expected, not {name_of(type(value))}")
    return tensors.encode(value)


def _over(value: Any) -> Callable[[Any], Any]:
    from . import tensors

    return tensors.over(value)


def _copy(value: Any) -> Any:
    return value.clone()


def _memory(value: Any) -> Iterator[object]:
    from . import tensors

    return tensors.memory(value) if _accepts(value) else iter(())


def _follow(value: Any, left: Left) -> None:
    from . import tensors

    tensors.follow(value, left)


@hookimpl
def memwatch_serializers() -> Sequence[Serializer]:
    """One serializer, for all tensors."""
    return (
        Serializer(
            name="torch",
            summary="tensors of the CPU, as they are",
            accepts=_accepts,
            layout=_layout,
            encode=_encode,
            decode=array_parts.decode,
            part=array_parts.part,
            lies=Lies(over=_over, copy=_copy, memory=_memory, follow=_follow, module="torch"),
            by_parts=True,
            locate=array_parts.locate,
        ),
    )
