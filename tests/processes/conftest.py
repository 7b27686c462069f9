"""The trackers, for whoever runs under each."""

from __future__ import annotations

import pytest
from trackers import need


@pytest.fixture(params=["uffd-sigbus", "readonly", "uffd-queue"])
def tracker(request: pytest.FixtureRequest) -> str:
    """Each tracker in turn, or the one that the test names; skipped, with the reason, where it doesn't work."""
    return need(str(request.param))
