"""A session of this process around each test of breaks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from samples import keep_sample

from memwatch_core import config
from memwatch_core.adapter import process
from memwatch_core.journal.session import create_session


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Path]:
    opened = process.open_journal(create_session(tmp_path, ["pytest"]), config.load())
    yield opened.path
    process.close_journal()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    keep_sample(config, items, "breaks", 12)
