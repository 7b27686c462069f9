"""A moment of a session."""

from __future__ import annotations

from typing import NamedTuple


class Moment(NamedTuple):
    """A moment; what happened at it counts as having happened."""

    text: str
    """As the user wrote it."""
    time: int
    """ns since 1970."""
    journal: str = ""
    """With ``seq``: the event after which it is, and its journal; ``time`` is the event's."""
    seq: int = 0
