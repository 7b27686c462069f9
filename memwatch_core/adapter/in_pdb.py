"""pdb at the line that is executed: ``pdb.set_trace()`` itself stops at the one behind it, before CPython 3.13."""

from __future__ import annotations

import bdb
import pdb
import sys
from types import FrameType
from typing import Any


class Debugger(pdb.Pdb):
    """Asks first, and traces afterwards, if it has been asked to."""

    def stop_at(self, frame: FrameType) -> None:
        """Asks what to do in a frame. Returns if the program shall go on; raises BdbQuit if it shall not."""
        self.reset()
        outermost = frame
        while outermost.f_back is not None:
            outermost = outermost.f_back
        self.botframe = outermost
        self.interaction(frame, None)
        if self.quitting:  # set by a command
            raise bdb.BdbQuit
        goes_on = self.stoplineno == -1 and not self.breaks
        if not goes_on:
            self._trace(frame)

    def _trace(self, frame: FrameType) -> None:
        caller: FrameType | None = frame
        while caller is not None:
            caller.f_trace = self.trace_dispatch
            caller.f_trace_lines = True
            caller = caller.f_back
        sys.settrace(self.trace_dispatch)


def stop_in(frame: FrameType) -> None:
    """Asks the user at the terminal, or whoever writes to standard input."""
    options: dict[str, Any] = {"mode": "inline"} if sys.version_info >= (3, 14) else {}
    debugger = Debugger(**options)
    if frame.f_lineno is None:  # its parameters are bound, and its first line hasn't begun: pdb stops there
        debugger.set_trace(frame)
    else:
        debugger.stop_at(frame)
