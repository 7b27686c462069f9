"""A journal of this process for the tests, opened and closed around each. And what of the matrices is run where."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest
from journals import Opened

from memwatch_core import config
from memwatch_core.adapter import process
from memwatch_core.journal.session import create_session

SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
LARGE, PART = 6, 144
"""Of a matrix of so many tests of objects in place CPython 3.11 takes a part, in each row of other columns."""
SLOW = ("every_allocator", "long_chain", "destructor_fills", "cpythons_own", "imported_later", "before_a_kill")
"""Of tests that take seconds each, it takes one."""


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Opened]:
    opened = process.open_journal(create_session(tmp_path, ["pytest"]), config.load())
    yield Opened(opened.path)
    process.close_journal()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Later versions run all (``make pythons``); so do the long tests, and whoever names a test."""
    if SOAK or sys.version_info >= (3, 12) or any("::" in argument for argument in config.args):
        return
    matrices: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.path.name.startswith("test_places_") and "[" in item.nodeid:
            matrices[item.nodeid.partition("[")[0]].append(item)
    left: set[pytest.Item] = set()
    for name, tests in matrices.items():
        one = tests[len(tests) // 2]
        if any(word in name for word in SLOW):
            left |= {test for test in tests if test is not one}
        elif len(tests) >= LARGE:
            left |= {test for test in tests if test is not one and crc32(test.nodeid.encode()) % PART}
    config.hook.pytest_deselected(items=list(left))
    items[:] = [item for item in items if item not in left]
