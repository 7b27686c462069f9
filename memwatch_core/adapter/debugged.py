"""The half of ``memwatch dap`` that is in the debugged program: debugpy evaluates calls of these functions.

Each takes and returns JSON. ``describe`` says what an expression means, ``arm`` sets the breakpoints, ``hit`` says what
the thread that has stopped was stopped for.
"""

from __future__ import annotations

import json
import sys
from types import FrameType
from typing import Any

from .spots import Found, find

_KEPT = 64
_found: dict[str, Found] = {}
"""By the id that ``describe`` has given out: what only this process can find again."""


def describe(argument: str) -> str:
    """``{"expression", "scope"}`` -> ``{"id", "description", "persists"}``, or ``{"refused": why}``."""
    asked = json.loads(argument)
    try:
        found = find(asked["expression"], _stopped_frame(), asked.get("scope", ""))
    except Exception as error:  # evaluating it may raise anything
        return json.dumps({"refused": str(error) or type(error).__name__})
    ident = found.target or f"#{max((int(known[1:]) for known in _found), default=0) + 1}"
    if found.target is None:
        while len(_found) >= _KEPT:
            del _found[next(iter(_found))]
        _found[ident] = found
    return json.dumps({"id": ident, "description": found.description, "persists": found.target is not None})


def _stopped_frame() -> FrameType | None:
    """The frame in which debugpy evaluates."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "evaluate_expression":
            evaluated: Any = frame.f_locals.get("frame")
            return evaluated if isinstance(evaluated, FrameType) and _is_programs(evaluated) else None
        frame = frame.f_back
    return None


def _is_programs(frame: FrameType) -> bool:
    """debugpy evaluates in a frame of its own if the client names none."""
    return not str(frame.f_globals.get("__name__", "")).startswith("_pydevd_bundle")
