"""A journal of this process for the tests, opened and closed around each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import journals
import pytest

from memwatch_core import config
from memwatch_core.adapter import process
from memwatch_core.adapter.watch import variable
from memwatch_core.journal.session import create_session


@dataclass(frozen=True)
class Opened:
    """The open journal, and what is in it."""

    path: Path

    def read(self) -> journals.Contents:
        return journals.read(self.path)

    def stores(self, watched: Any) -> list[journals.Store]:
        return self.read().of(variable(watched).id)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Opened]:
    opened = process.open_journal(create_session(tmp_path, ["pytest"]), config.load())
    yield Opened(opened.path)
    process.close_journal()
