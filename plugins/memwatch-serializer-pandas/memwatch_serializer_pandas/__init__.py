"""``pandas``: columns of a DataFrame, and a Series, whose values lie in watched memory.

pandas itself is never imported here: a program that has no table needs none, nor does who reads its journal.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from memwatch_core.hookspecs import hookimpl
from memwatch_core.kinds import bases_of, name_of
from memwatch_core.records import Layout, Left, Lies, Serializer, Split
from memwatch_plugins import array_parts

_KINDS = ("DataFrame", "Series", "Index")


def _kind(value: object) -> str:
    """Which of pandas' kinds a value is; empty: none. Imports nothing, and asks the value nothing."""
    library = sys.modules.get("pandas")
    if library is None:
        return ""
    known = vars(library)
    return next((name for name in _KINDS for base in bases_of(type(value)) if base is known.get(name)), "")


def _accepts(value: object) -> bool:
    return _kind(value) != ""


def _layout(value: Any, options: Mapping[str, Any]) -> Layout:
    from . import columns, refusals

    if why := refusals.of_value(value, _kind(value)):
        raise TypeError(why)
    if options:
        raise TypeError(f"unknown option {next(iter(options))!r}: a Series has none")
    if why := refusals.of_column(value):
        raise TypeError(why)
    return columns.layout(value)


def _encode(value: Any, options: Mapping[str, Any]) -> Any:
    from . import columns

    if _kind(value) != "Series":
        raise TypeError(f"a pandas.Series is expected, not {name_of(type(value))}")
    return columns.encode(value)


def _over(value: Any) -> Any:
    from . import columns

    return columns.over(value)


def _copy(value: Any) -> Any:
    from . import columns, frames

    return columns.copy(value) if _kind(value) == "Series" else frames.apart(value)


def _memory(value: Any) -> Any:
    from . import columns

    return columns.memories(value) if _kind(value) in ("DataFrame", "Series") else iter(())


def _follow(value: Any, left: Left) -> None:
    from . import following

    following.begin(value, value, left)


def _parts(value: Any, options: Mapping[str, Any]) -> Sequence[tuple[str, Any]] | None:
    from . import frames, refusals

    if _kind(value) != "DataFrame":
        return None
    if why := refusals.of_value(value, "DataFrame"):
        raise TypeError(why)
    return frames.parts(value, options)


def _join(value: Any, parts: Sequence[Any], left: Sequence[Left]) -> None:
    from . import frames

    frames.join(value, parts, left)


@hookimpl
def memwatch_serializers() -> Sequence[Serializer]:
    """One serializer, for Series; a DataFrame is watched by its columns."""
    return (
        Serializer(
            name="pandas",
            summary="columns of pandas, as they are",
            accepts=_accepts,
            layout=_layout,
            encode=_encode,
            decode=array_parts.decode,
            part=array_parts.part,
            lies=Lies(over=_over, copy=_copy, memory=_memory, follow=_follow, module="pandas"),
            by_parts=True,
            locate=array_parts.locate,
            split=Split(parts=_parts, join=_join),
        ),
    )
