"""A lock for importing our modules, and for opening and closing a journal. A fork waits until it is free.

Otherwise a child would inherit half-done work, and importlib's locks held by a thread that it doesn't have. During a
fork, the forking thread holds the lock. It waits only for a limited time: the thread that opens the journal may itself
wait for something that the forking thread holds.
"""

from __future__ import annotations

import os
from _thread import RLock
from contextlib import suppress

PATIENCE = 10.0
"""Seconds that a fork waits for the lock."""

_lock = RLock()


def turn() -> RLock:
    """The lock, for a ``with`` block. Reentrant."""
    return _lock


def _before() -> None:
    _lock.acquire(timeout=PATIENCE)


def _in_parent() -> None:
    with suppress(RuntimeError):  # the wait had timed out
        _lock.release()


def _in_child() -> None:
    global _lock
    _lock = RLock()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
