"""What of the large matrices is run by default, on CPython 3.11: `make test` has a budget, `make pythons` has none."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Collection
from zlib import crc32

import pytest

SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
LARGE = 3
"""Rows from which on a parametrised test is a matrix."""


def keep_sample(
    config: pytest.Config, items: list[pytest.Item], folder: str, part: int, kept: Collection[str] = ()
) -> None:
    """Deselects all but one of ``part`` rows of each matrix in a folder of tests; at least one is left. ``kept``: the
    tests of which any are run, one for each kind of risk; by default, all.

    Under MEMWATCH_SOAK, on later versions, and where tests are named on the command line, all are run."""
    if SOAK or sys.version_info >= (3, 12) or any("::" in argument for argument in config.args):
        return
    matrices: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.path.parent.name == folder:
            matrices[item.nodeid.partition("[")[0]].append(item)
    left: set[pytest.Item] = set()
    for name, tests in matrices.items():
        if kept and name.rpartition("::")[2] not in kept:
            left.update(tests)
        elif len(tests) >= LARGE:
            one = tests[crc32(name.encode()) % len(tests)]
            left.update(test for test in tests if test is not one and crc32(test.nodeid.encode()) % part)
    config.hook.pytest_deselected(items=list(left))
    items[:] = [item for item in items if item not in left]
