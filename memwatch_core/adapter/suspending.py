"""Stops a thread of a program that debugpy debugs, in a frame and on the line where that frame is.

debugpy's own ``breakpoint()`` stops on the line after. This does what debugpy's line breakpoints do, by the two calls
that its plugins for templates make: ``set_suspend`` and ``do_wait_suspend``.
"""

from __future__ import annotations

import opcode
import os
import sys
import threading
import time
from types import FrameType
from typing import Any, NamedTuple

from ..native import proxy

_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
"""All of MemWatch."""


def is_debugged() -> bool:
    """Whether a debugger's client is there to stop for."""
    debugger = _debugger()
    return debugger is not None and bool(debugger.ready_to_run) and not debugger.pydb_disposed


class Place(NamedTuple):
    """Where a thread stands."""

    frame: FrameType
    """The innermost one that is the program's own: neither ours nor the debugger's."""
    in_debugger: bool
    """It is the debugger that runs: it has been told that this line begins."""


def place(frame: FrameType | None) -> Place | None:
    """Of this thread, from a frame on; None: no code of the program's runs in it, or only because the debugger's user
    has it evaluated."""
    debugger, inside = _debugger(), False
    if debugger is None or _evaluates(debugger, frame):
        return None
    while frame is not None:
        if frame.f_globals.get("__package__") != __package__:
            if debugger.get_file_type(frame) != debugger.PYDEV_FILE:
                return Place(frame, inside)
            inside = True
        frame = frame.f_back
    return None


def _evaluates(debugger: Any, frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "evaluate_expression" and debugger.get_file_type(frame) == debugger.PYDEV_FILE:
            return True
        frame = frame.f_back
    return False


def suspend(at: Place, line: int | None = None) -> bool:
    """Stops this thread, and returns when the user lets it go on. Returns False at once if nobody debugs the program.
    ``line``: what the user is shown instead of the one that the frame has gone on to; a step leads to that one."""
    debugger = _debugger()
    if debugger is None or not is_debugged():
        return False
    from _pydevd_bundle import pydevd_comm_constants as commands  # type: ignore[import-not-found]

    thread = threading.current_thread()
    frame = at.frame
    proxy.call_untraced(_wait, debugger, thread, commands.CMD_SET_BREAK, frame)
    state: Any = thread.additional_info  # type: ignore[attr-defined]
    step = state.pydev_step_cmd
    if sys.version_info < (3, 12) or at.in_debugger or step in (-1, commands.CMD_STEP_CAUGHT_EXCEPTION):
        return True
    # Of the instruction at which we are, sys.monitoring has told the debugger what it will ever tell.
    if line is not None and step not in (commands.CMD_STEP_RETURN, commands.CMD_STEP_RETURN_MY_CODE):
        proxy.call_untraced(_wait, debugger, thread, step, frame)
    elif opcode.opname[frame.f_code.co_code[frame.f_lasti]].startswith("RETURN") and frame.f_back is not None:
        state.pydev_step_cmd, state.pydev_step_stop = commands.CMD_STEP_INTO_MY_CODE, None
        state.update_stepping_info()
        debugger.set_trace_for_frame_and_parents(thread.ident, frame.f_back)
    return True


def _wait(debugger: Any, thread: threading.Thread, reason: int, frame: FrameType) -> None:
    debugger.set_suspend(thread, reason)
    debugger.do_wait_suspend(thread, frame, "line", None)


_stood: dict[int, tuple[int, int]] = {}
"""By thread, when it stood still last, in ns since 1970."""
_ALWAYS = 1 << 63
_SUSPENDED = 2
"""As debugpy says it of a thread."""


def is_evaluated(time_ns: int) -> bool:
    """Whether this thread has written something while it stood still: its debugger's user had it evaluated. Threads of
    debugpy's own only ever do that."""
    if getattr(threading.current_thread(), "pydev_do_not_trace", False):
        return True
    began, ended = _stood.get(threading.get_ident(), (0, 0))
    return began < time_ns < ended


def prepare() -> None:
    """Our own code is left out of stacks and steps, as debugpy's is; it is noted when threads stand still.
    Idempotent."""
    debugger = _debugger()
    if debugger is None:
        return
    if "do_wait_suspend" not in vars(debugger):
        wait = debugger.do_wait_suspend

        def do_wait_suspend(thread: Any, *arguments: Any, **named: Any) -> Any:
            began = time.time_ns()
            _stood[threading.get_ident()] = began, _ALWAYS
            try:
                return wait(thread, *arguments, **named)
            finally:
                _stood[threading.get_ident()] = began, time.time_ns()

        debugger.do_wait_suspend = do_wait_suspend
        _note_who_stands(debugger)
    now = debugger.dont_trace_external_files
    start, end = getattr(now, "start_patterns", ()), getattr(now, "end_patterns", ())
    if _FOLDER not in start:
        from _pydevd_bundle.pydevd_api import PyDevdAPI  # type: ignore[import-not-found]

        PyDevdAPI().set_dont_trace_start_end_patterns(debugger, (*start, _FOLDER), end)


def _note_who_stands(debugger: Any) -> None:
    """Those that had stopped before anybody noted it."""
    began = time.time_ns()
    standing = [
        ident
        for ident, thread in list(threading._active.items())  # type: ignore[attr-defined]
        if getattr(getattr(thread, "additional_info", None), "pydev_state", None) == _SUSPENDED
    ]

    def go_on() -> None:
        for ident in standing:
            if _stood.get(ident) == (began, _ALWAYS):
                _stood[ident] = began, time.time_ns()

    _stood.update(dict.fromkeys(standing, (began, _ALWAYS)))
    debugger.threads_suspended_single_notification.add_on_resumed_callback(go_on)


def _debugger() -> Any:
    """debugpy's own, if it is loaded."""
    module = sys.modules.get("pydevd")
    return None if module is None else module.get_global_debugger()
