"""A journal of this process for the tests, opened and closed around each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from journals import Opened

from memwatch_core import config
from memwatch_core.adapter import process
from memwatch_core.journal.session import create_session


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Opened]:
    opened = process.open_journal(create_session(tmp_path, ["pytest"]), config.load())
    yield Opened(opened.path)
    process.close_journal()
