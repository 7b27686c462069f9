"""What a journal says that variables hold without an event, for who follows their bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Content(NamedTuple):
    """Bytes of a variable. Told when they are read, which may be before earlier events are given out: ``seq`` says
    after which one they count."""

    journal: str
    variable_id: int
    time_ns: int
    seq: int
    """Number of the last event before it."""
    offset: int
    data: bytes
    begins: bool = False
    """The variable is registered here: ``data`` is empty, and its bytes are zero but for what follows."""
    always: bool = False
    """They are what the variable held from its beginning on, until its first event there: told no earlier."""


Told = Callable[[Content], object]
