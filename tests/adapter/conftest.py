"""A journal of this process for the tests, opened and closed around each. And what of the matrices is run where."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest
from journals import Opened

from memwatch_core import config
from memwatch_core.adapter import process
from memwatch_core.journal.session import create_session

SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
LARGE, PART = 12, 12
"""Of a matrix of so many tests of objects in place, CPython 3.11 takes a part, of another row in each column."""


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Opened]:
    opened = process.open_journal(create_session(tmp_path, ["pytest"]), config.load())
    yield Opened(opened.path)
    process.close_journal()


def matrix(item: pytest.Item) -> str:
    """The name of a matrix of objects in place; '': it is in none."""
    return item.nodeid.partition("[")[0] if item.path.name.startswith("test_places_") else ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Later versions run all (``make pythons``); so do the long tests, and whoever names a test."""
    if SOAK or sys.version_info >= (3, 12) or any("::" in argument for argument in config.args):
        return
    sizes = Counter(map(matrix, items))
    left = [
        item for item in items if matrix(item) and sizes[matrix(item)] >= LARGE and crc32(item.nodeid.encode()) % PART
    ]
    config.hook.pytest_deselected(items=left)
    gone = set(left)
    items[:] = [item for item in items if item not in gone]
