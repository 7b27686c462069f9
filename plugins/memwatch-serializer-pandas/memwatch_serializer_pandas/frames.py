"""A DataFrame as its columns: each is a Series of its own, and is put back as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memwatch_core.records import Left

from . import columns, following
from .refusals import of_column


def parts(frame: Any, options: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The columns that are asked for, or all: the name of each, and its Series. Raises TypeError, ValueError."""
    unknown = [name for name in options if name != "columns"]
    if unknown:
        raise TypeError(f"unknown option {unknown[0]!r}: a DataFrame has columns=[...]")
    wanted = options.get("columns")
    if isinstance(wanted, str):
        raise TypeError(f"columns={wanted!r}: a list of labels is meant, columns=[{wanted!r}]")
    labels = list(frame.columns)
    chosen = labels if wanted is None else list(wanted)
    if not chosen:
        raise ValueError("it has no columns" if wanted is None else "columns=[]: name one at least")
    return [(_name(label), _column(frame, labels, label)) for label in dict.fromkeys(chosen)]


def _column(frame: Any, labels: list[Any], label: Any) -> Any:
    count = labels.count(label)
    if count == 0:
        known = ", ".join(map(repr, labels[:8]))
        raise ValueError(f"it has no column {label!r}; it has {known}{', …' if len(labels) > 8 else ''}")
    if count > 1:
        raise ValueError(f"{count} columns are called {label!r}: give them names of their own")
    series = frame.iloc[:, labels.index(label)]
    if why := of_column(series):
        raise TypeError(f"column {label!r}: {why}. Choose others with columns=[...]")
    return series


def _name(label: Any) -> str:
    """What stands behind the name of the table."""
    if isinstance(label, str):
        if label.isidentifier():
            return f".{label}"
        escaped = label.replace("\\", "\\\\").replace('"', '\\"')
        return f'["{escaped}"]'
    return f"[{label!r}]"


def join(frame: Any, watched: Sequence[Any], left: Sequence[Left]) -> None:
    """Gives the DataFrame its columns in watched memory; it stays the object that it was."""
    labels = list(frame.columns)
    for series in watched:
        frame.isetitem(labels.index(series.name), series)
    for series, tell in zip(watched, left, strict=True):
        following.begin(frame, series, tell)


def apart(frame: Any) -> Any:
    """Gives the columns that lie in memory of others memory of their own again; the same DataFrame."""
    for at in range(len(frame.columns)):
        series = frame.iloc[:, at]
        if any(True for _ in columns.memories(series)):
            frame.isetitem(at, series.copy(deep=True))
    return frame
