"""The trackers, for whoever runs under each."""

from __future__ import annotations

import pytest

from memwatch_core.native import core


@pytest.fixture(params=["uffd-sigbus", "readonly", "uffd-queue"])
def tracker(request: pytest.FixtureRequest) -> str:
    """Each tracker in turn, or the one that the test names; skipped, with the reason, where it doesn't work."""
    name = str(request.param)
    if reason := core.probe_tracker(name):
        pytest.skip(f"tracker {name} doesn't work here: {reason}")
    return name
