"""How far something is, on a terminal."""

from __future__ import annotations

import sys
from time import monotonic

from ..printed import progress as show
from ..printed import terminal_width

PATIENCE = 1.0
"""Seconds without a line."""
PAUSE = 0.1
"""Seconds between two lines."""
WIDTH = 20


class Progress:
    """Call it with what is done and how much there is. Shows a line once it takes longer than a second, and removes it
    when all is done. The next call begins again."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._begun = self._next = 0.0
        self._is_shown = False

    def __call__(self, done: int, total: int) -> None:
        now = monotonic()
        if done >= total:
            if self._is_shown:
                show("")
            self._begun, self._is_shown = 0.0, False
            return
        if not self._begun:
            self._begun = now
            self._next = now + PATIENCE if terminal_width(sys.stderr) else float("inf")
        if now >= self._next:
            self._next, self._is_shown = now + PAUSE, True
            part = done / total
            show(f"memwatch: {self._what} [{'#' * round(WIDTH * part):{WIDTH}}] {part:.0%}")
