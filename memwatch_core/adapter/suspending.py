"""Stops a thread of a program that debugpy debugs, in a frame and on the line where that frame is.

debugpy's own ``breakpoint()`` stops on the line after. This does what debugpy's line breakpoints do, by the two calls
that its plugins for templates make: ``set_suspend`` and ``do_wait_suspend``.
"""

from __future__ import annotations

import sys
import threading
from types import FrameType
from typing import Any

_turn = threading.RLock()
"""One stop at a time: debugpy tells its client of one thread, and the others' stops would be lost."""


def is_debugged() -> bool:
    """Whether a debugger's client is there to stop for."""
    debugger = _debugger()
    return debugger is not None and bool(debugger.ready_to_run) and not debugger.pydb_disposed


def suspend(frame: FrameType) -> bool:
    """Returns when the user lets the thread go on; at once, with False, if nobody debugs the program."""
    debugger = _debugger()
    if debugger is None or not is_debugged():
        return False
    from _pydevd_bundle.pydevd_comm_constants import CMD_SET_BREAK  # type: ignore[import-not-found]

    thread = threading.current_thread()
    debugger.set_suspend(thread, CMD_SET_BREAK)
    debugger.do_wait_suspend(thread, frame, "line", None)
    return True


def _debugger() -> Any:
    """debugpy's own, if it is loaded."""
    module = sys.modules.get("pydevd")
    return None if module is None else module.get_global_debugger()
