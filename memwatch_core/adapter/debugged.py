"""The half of ``memwatch dap`` that is in the debugged program: debugpy evaluates calls of these functions.

Each takes and returns JSON. ``describe`` says what an expression means, ``arm`` sets the breakpoints, ``hit`` says what
the thread that has stopped was stopped for.
"""

from __future__ import annotations

import json
import sys
import threading
from types import FrameType
from typing import Any

from ..records import Hit
from ..turns import turn
from . import suspending
from .armed import Armed, NotThere
from .met import sentence, written
from .spots import Found, find

_KEPT = 64
_found: dict[str, Found] = {}
"""By the id that ``describe`` has given out: what only this process can find again."""
_armed: list[Armed] = []


class _Standing:
    """A thread that stands still for a breakpoint, or is about to."""

    def __init__(self, one: Armed, hit: Hit, frame: FrameType) -> None:
        self.thread = threading.get_ident()
        self.breakpoint = one
        self.hit = hit
        self.frame = frame
        self.is_told = False


_standing: _Standing | None = None
_turn = threading.Lock()
"""One thread at a time: debugpy tells its client of one, and the stops of others would be lost."""


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


def arm(argument: str) -> str:
    """The breakpoints that there shall be, each ``{"number", "dataId", "accessType", "condition", "hitCondition"}``
    -> of each ``{"verified", "message"}``. Those that are there already go on."""
    wanted = json.loads(argument)
    with turn():
        suspending.prepare()
        left = list(_armed)
        answers, kept = [], []
        for one in wanted:
            same = next((known for known in left if known.wanted == one), None)
            if same is not None:
                left.remove(same)
                kept.append(same)
        for gone in left:
            gone.end()
        _armed[:] = kept
        for one in wanted:
            answers.append(_arm(one, kept))
    return json.dumps(answers)


def _arm(wanted: dict[str, Any], kept: list[Armed]) -> dict[str, Any]:
    same = next((known for known in kept if known.wanted == wanted), None)
    try:
        if same is None:
            same = Armed(wanted, _found.get(str(wanted.get("dataId"))), _stop)
            _armed.append(same)
        same.begin()
    except NotThere as error:
        return {"verified": False, "message": f"{error}: tried again whenever the program stops"}
    except Exception as error:  # evaluating its id may raise anything
        return {"verified": False, "message": str(error) or type(error).__name__}
    return {"verified": True, "message": same.remark}


def _stop(one: Armed, hit: Hit) -> None:
    """In the thread that wrote, called from the line on which it is."""
    global _standing
    now = _standing
    if now is not None and now.thread == threading.get_ident():
        return  # the user has it evaluate something, and that wrote
    at = suspending.place(sys._getframe(1))
    if at is None:
        return
    line = _line(hit, at.frame)
    with _turn:
        if not one.is_set:
            return  # it was removed while this thread waited
        _standing = _Standing(one, hit, at.frame)
        try:
            if suspending.suspend(at, line) and not _standing.is_told:
                suspending.suspend(at, line)  # another thread had stopped for something else, and that was told
        finally:
            _standing = None


def _line(hit: Hit, frame: FrameType) -> int | None:
    """The line that stored, if the frame that did is there and has gone on to another one."""
    if hit.site is None:
        return None
    file, line, function = hit.site
    code = frame.f_code
    here = code.co_filename == file and function in (code.co_name, code.co_qualname)
    return line if here and line and frame.f_lineno != line else None


def hit(_: str) -> str:
    """What this thread stands still for, once: ``{"number", "description", "text", "line", "at"}``; ``null``: nothing
    of ours. ``line`` has stored, and the innermost frame is ``at`` another one; null: it is there."""
    now = _standing
    if now is None or now.thread != threading.get_ident() or now.is_told:
        return "null"
    now.is_told = True
    hit = now.hit
    text = sentence(hit, now.frame)
    description = text.partition(" at ")[0] if hit.site is None else written(hit)
    told = {"number": now.breakpoint.number, "description": description, "text": text}
    return json.dumps(told | {"line": _line(hit, now.frame), "at": now.frame.f_lineno})
