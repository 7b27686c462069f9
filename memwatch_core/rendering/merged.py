"""Events that one statement made, in words."""

from __future__ import annotations

from typing import Any

import msgspec

from ..records import Event, Merged, Part, Range, Shown
from .changes import value_text

UNKNOWN = Shown("…")
"""Stands for values that aren't known."""


def as_event(record: Merged) -> Event:
    """The last of the events, as if it had been the only one and had written all of it. Its values are ranges, as
    :class:`Shown`."""
    first = record.first
    old, new = value_of(record.old), value_of(record.new)
    return msgspec.structs.replace(
        first,
        seq=record.last_seq,
        time_ns=record.time_ns,
        old=None,
        new=None,
        changed=record.changed > 0,
        part=Part(record.name, old, new),
        native=None,
    )


def value_of(values: Range | None) -> Any:
    """The value that all items have, or the range that they are in: ``0…5``."""
    if values is None:
        return UNKNOWN
    if values.same:
        return values.low
    nan = ", nan" if values.nan else ""
    return Shown(f"{value_text(values.low)}…{value_text(values.high)}{nan}")


def counts(record: Merged) -> str:
    """``(1,000 elements, 1,000 stores)``."""
    stores = f"{record.stores:,} stores"
    if record.elements is None:
        return f"({stores})" if record.spans else f"(not all of it, {stores})"
    elements = f"{record.elements:,} element{'' if record.elements == 1 else 's'}"
    return f"({elements}, {stores})" if record.spans else f"({elements} of it, {stores})"
