"""Fake distributions: each folder under ``distributions`` is what pip would have put into site-packages."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

DISTRIBUTIONS = Path(__file__).parent / "distributions"


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """``install("success", ...)`` makes fake distributions importable and discoverable for this test."""

    def _install(*names: str) -> None:
        for name in names:
            assert (DISTRIBUTIONS / name).is_dir()
            monkeypatch.syspath_prepend(DISTRIBUTIONS / name)

    yield _install
    for name in [name for name in sys.modules if name.startswith("fake_")]:
        del sys.modules[name]
