"""Values of other libraries that go on in other memory: the watch ends there, at the line of the program."""

from __future__ import annotations

import os
import sys
import weakref
from typing import TYPE_CHECKING

from ..native import proxy

if TYPE_CHECKING:
    from ..records import Left, Serializer

_DEPTH_MAX = 200
"""Of the frames that are looked at."""


def telling(memory: object, serializer: Serializer) -> Left:
    """What a serializer calls for the value that lies in this memory. Doesn't keep the memory."""
    held = weakref.ref(memory)
    module = "" if serializer.lies is None else serializer.lies.module

    def left(gone: bool) -> None:
        watched = held()
        if watched is not None:
            proxy.end_elsewhere(watched, gone, _above(module, left.__code__.co_filename))

    return left


def _above(module: str, own: str) -> int:
    """How many frames above the caller the first one lies that is of the program; 1 if none does."""
    file = getattr(sys.modules.get(module), "__file__", None) if module else None
    folder = f"{os.path.dirname(file)}{os.sep}" if type(file) is str else None
    plugin = _folder_of(sys._getframe(2).f_code.co_filename)
    frame, above = sys._getframe(2), 1
    while frame.f_back is not None and above < _DEPTH_MAX:
        name = frame.f_code.co_filename
        if not (name.startswith(plugin) or (folder is not None and name.startswith(folder)) or name == own):
            return above
        frame, above = frame.f_back, above + 1
    return above


def _folder_of(file: str) -> str:
    return f"{os.path.dirname(file)}{os.sep}"
