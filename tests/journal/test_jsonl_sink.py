"""The sink jsonl, found by its entry point: where lines go, and what happens to a file that is there."""

from __future__ import annotations

import io
import json
import os
import stat
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from memwatch_core.records import Notice, Record, RecordSink, Sink

RECORDS: list[Record] = [Notice(1, 2, f"line {number}") for number in range(1000)]


@pytest.fixture
def sink() -> Sink:
    (point,) = entry_points(group="memwatch.sinks", name="jsonl")
    (found,) = point.load().memwatch_sinks()
    assert isinstance(found, Sink)
    return found


def opened(sink: Sink, **settings: Any) -> RecordSink:
    assert sink.settings is not None
    return sink.open(sink.settings(**settings))


def texts(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_bytes().splitlines()]


def test_file_is_private_whole_and_readable_at_once(sink: Sink, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    old = os.umask(0)
    try:
        out = opened(sink, path=str(path))
    finally:
        os.umask(old)
    out.write(RECORDS)
    assert texts(path) == [f"line {number}" for number in range(1000)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    out.write([])
    out.flush()
    out.close()
    out.close()


def test_lines_are_appended_unless_told_otherwise(sink: Sink, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for append, lines in ((True, 2), (True, 4), (False, 2)):
        out = opened(sink, path=str(path), append=append)
        out.write(RECORDS[:2])
        out.close()
        assert len(texts(path)) == lines


def test_line_that_was_cut_short_is_ended_before_more_is_appended(sink: Sink, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"seq":1,"ti')
    out = opened(sink, path=str(path))
    out.write(RECORDS[:1])
    out.close()
    first, second = path.read_bytes().splitlines()
    assert first == b'{"seq":1,"ti'
    assert json.loads(second)["text"] == "line 0"


def test_dash_is_standard_output_and_stays_open(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    lines = opened(sink, path="-")
    lines.write([Notice(1, 2, "é")])
    lines.flush()
    lines.close()
    assert isinstance(out.buffer, io.BytesIO)
    assert json.loads(out.buffer.getvalue())["text"] == "é"


def test_pipe_and_device_can_be_written_to(sink: Sink, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    out = opened(sink, path=str(tmp_path / "pipe"))
    out.write(RECORDS[:3])
    assert os.read(reader, 4096).count(b"\n") == 3
    out.close()
    os.close(reader)


def test_full_disk_and_missing_folder_are_errors_with_the_path(sink: Sink, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent/events\.jsonl"):
        opened(sink, path=str(tmp_path / "absent" / "events.jsonl"))
    full = opened(sink, path="/dev/full")
    with pytest.raises(OSError, match="No space left"):
        full.write(RECORDS)
    full.close()


@pytest.mark.parametrize("settings", [{"path": ""}, {"file": "x"}, {"append": "perhaps"}])
def test_wrong_settings_are_refused(sink: Sink, settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        opened(sink, **settings)
