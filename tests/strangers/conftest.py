"""Skipped, with the reason, for whoever isn't root."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from others import Place


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of root's, in no folder that is private."""
    if os.geteuid() != 0:
        pytest.skip("takes a second user: run it as root")
    made = Path(tempfile.mkdtemp(prefix="memwatch-strangers-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def place(folder: Path) -> Place:
    """With a caller who is no superuser."""
    return Place(folder)


@pytest.fixture
def root_place(folder: Path) -> Place:
    """With root as the caller: programs that are started are root's."""
    return Place(folder, me=0)
