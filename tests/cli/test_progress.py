"""The line that says how far something is: on a terminal, when it takes long, and gone in the end."""

from __future__ import annotations

import io
import sys

import pytest

from memwatch_core.cli import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "patience", "shown"), [(Terminal(), 0.0, True), (Terminal(), 60.0, False), (io.StringIO(), 0.0, False)]
)
def test_line_is_shown_late_on_a_terminal_and_removed(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, patience: float, shown: bool
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "PATIENCE", patience)
    monkeypatch.setattr(progress, "PAUSE", 0.0)
    bar = progress.Progress("indexing\x1b[31m")
    for _ in range(2):
        for done in range(1, 5):
            bar(done, 4)
    said = stream.getvalue()
    if not shown:
        assert said == ""
        return
    assert said.count("[#####               ] 25%") == 2
    assert said.endswith("\r\x1b[K"), "removed"
    assert "\x1b[31m" not in said, "cleaned"
