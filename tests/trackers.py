"""Trackers that may not work on a machine."""

from __future__ import annotations

import pytest

from memwatch_core.native import core


def need(tracker: str) -> str:
    """The tracker, or ``auto``; skips the test, with the reason, where it doesn't work."""
    if tracker != "auto" and (reason := core.probe_tracker(tracker)):
        pytest.skip(f"tracker {tracker} doesn't work here: {reason}")
    return tracker
