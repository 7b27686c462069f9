"""``then="break"`` and ``then="dump"``: the debugger, and everybody's stack."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType

from ..printed import clean, say

_OWN = __package__
_MOST = 100
"""Frames of a stack that are printed, as of faulthandler."""


def stopper(line: str) -> Callable[[], object]:
    """What to call so that a debugger stops in the frame that calls it. Says what was written."""
    hook = sys.breakpointhook
    if hook is not sys.__breakpointhook__ or os.environ.get("PYTHONBREAKPOINT", "") not in ("", "pdb.set_trace"):
        say(line)
        return hook
    why = _nobody_there()
    if why:
        return partial(dump, f"{line}. No debugger: {why}")

    def stop() -> None:
        from .in_pdb import stop_in

        say(line)
        stop_in(sys._getframe(1))

    return stop


def _nobody_there() -> str | None:
    """Why pdb would find nobody to ask; None: it may."""
    try:
        descriptor = sys.stdin.fileno()
        status = os.fstat(descriptor)
        if os.path.samestat(status, os.stat(os.devnull)):
            return "standard input is /dev/null"
        if os.isatty(descriptor) and os.tcgetpgrp(descriptor) != os.getpgrp():
            return "this process is in the background of its terminal"
    except AttributeError:
        return None if sys.stdin is not None else "there is no standard input"
    except (OSError, ValueError) as error:
        import io

        return None if isinstance(error, io.UnsupportedOperation) else "standard input is closed"
    return None


def dump(line: str) -> None:
    """Prints a line, and the stacks of all threads, to standard error."""
    say(line, *_stacks(sys._getframe(1)))


def _stacks(here: FrameType) -> Iterator[str]:
    own = threading.get_ident()
    names = {ident: _name(thread) for ident, thread in list(threading._active.items())}  # type: ignore[attr-defined]
    frames = sys._current_frames()
    frames[own] = _of_program(here) or here
    for ident in sorted(frames, key=lambda ident: (ident != own, ident)):
        mark = "Current thread" if ident == own else "Thread"
        yield f"{mark} {names.get(ident, '')} 0x{ident:016x} (most recent call first):"
        frame: FrameType | None = frames[ident]
        for _ in range(_MOST):
            if frame is None:
                break
            code = frame.f_code
            yield clean(f'  File "{code.co_filename}", line {frame.f_lineno or code.co_firstlineno} in {code.co_name}')
            frame = frame.f_back
        else:
            yield "  ..."


def _of_program(frame: FrameType | None) -> FrameType | None:
    """The first frame that isn't ours."""
    while frame is not None and frame.f_globals.get("__package__") == _OWN:
        frame = frame.f_back
    return frame


def _name(thread: object) -> str:
    return str(object.__getattribute__(thread, "__dict__").get("_name", ""))
