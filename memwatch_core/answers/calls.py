"""Calls of functions. ``orders:add_order()#3.total`` is a name in the third call, ``orders:add_order().total`` the same
name in whichever call bound it last.

All places of a function are kept by the latter names. Those of the calls that are asked for are kept once more, under
paths that begin with the call: ``#3.total``. So are the attributes of the instances of a class: ``#3``.
"""

from __future__ import annotations

import re

from ..records import Event

NUMBER = "#"
"""What the number of a call, or of an instance, begins with."""
LOCALS = "track_locals"
"""A flag of variables that are functions."""
_IN_CALL = re.compile(r"#(\d+)(?=[.\[{])")


def call_of(event: Event | None) -> int | None:
    """In which call of a function an event happened; None: in none, or it isn't known."""
    return None if event is None or event.part is None else event.part.activation


def in_call(event: Event) -> str | None:
    """The path of what an event wrote, in its call: ``#3.total``; None: it is no name of a function."""
    part = event.part
    return None if part is None or part.activation is None else f"{NUMBER}{part.activation}{part.name}"


def is_numbered(event: Event) -> bool:
    """Whether a number says in which call, or to which instance, an event wrote."""
    return event.part is not None and (event.part.activation is not None or event.part.name.startswith(NUMBER))


def without_call(path: str) -> str:
    """``.total`` of ``#3.total``."""
    found = _IN_CALL.match(path)
    return path if found is None else path[found.end() :]


def with_call(path: str, event: Event | None) -> str:
    """``#3.total`` of ``.total``, as the event that wrote it last says."""
    call = call_of(event)
    return path if call is None or path.startswith(NUMBER) else f"{NUMBER}{call}{path}"
