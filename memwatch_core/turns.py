"""Taken by whoever imports what programs use, opens a journal or closes one: a fork waits for that to end.

A child would inherit what is half done, and the locks of importlib held by a thread that it hasn't got. For the time
of a fork the forking thread has it, and so has the child. Not for ever: who opens the journal may be waiting for what
the forking thread holds.
"""

from __future__ import annotations

import os
from _thread import RLock
from contextlib import suppress

PATIENCE = 10.0
"""Seconds that a fork waits."""

_lock = RLock()


def turn() -> RLock:
    """For a ``with`` block; the same thread may take it again."""
    return _lock


def _before() -> None:
    _lock.acquire(timeout=PATIENCE)


def _in_parent() -> None:
    with suppress(RuntimeError):  # it wasn't to be had
        _lock.release()


def _in_child() -> None:
    global _lock
    _lock = RLock()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
