"""The replay of a journal gives the array: for everything that numpy programs do, by whichever tracker, by several
threads, and for a process that is killed in the midst of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from array_operations import OPERATIONS
from trackers import need
from truth import Replay

HERE = Path(__file__).parent
SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
SAMPLE = 48
"""Operations that are run, of more than 500, unless all are."""
PARTS = 4
KILLS = 25 if SOAK else 2
TRACKERS = ["auto", "readonly"]


def started(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / "truth.py"), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    found: dict[str, Any] = json.loads(out)
    return found


def test_there_are_operations_of_all_kinds() -> None:
    assert len(OPERATIONS) >= 150


@pytest.mark.parametrize("part", range(PARTS if SOAK else 1))
@pytest.mark.parametrize("tracker", TRACKERS)
def test_replay_of_the_journal_is_the_array(tracker: str, part: int, tmp_path: Path) -> None:
    what = (part, PARTS) if SOAK else (0, 1, SAMPLE)
    found = told(started("all", need(tracker), tmp_path, *what))
    assert found["wrong"] == []
    assert found["ran"] >= (len(OPERATIONS) // PARTS if SOAK else SAMPLE)
    assert set(found["silent"]) <= {"dlpack", "no elements"}


@pytest.mark.parametrize("tracker", TRACKERS)
def test_replay_is_the_array_that_four_threads_write_to(tracker: str, tmp_path: Path) -> None:
    found = told(started("threads", need(tracker), tmp_path, 10 if SOAK else 0.4))
    assert found["wrong"] == []
    assert found["writers"] == 4
    assert found["events"] > 100


@pytest.mark.parametrize("tracker", TRACKERS)
def test_journal_of_a_process_that_is_killed_is_true_up_to_its_end(tracker: str, tmp_path: Path) -> None:
    for turn in range(KILLS):
        process = started("killed", need(tracker), tmp_path / str(turn))
        assert process.stdout is not None
        where = json.loads(process.stdout.readline())["folder"]
        time.sleep(0.2 + 0.037 * turn % 0.4)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        (journal,) = Path(where).glob("*.mwj")
        replay = Replay(journal)
        assert replay.wrong == []
        assert len(replay.events) > 5
        checked_by_what_was_written(replay)


def checked_by_what_was_written(replay: Replay) -> None:
    """A row of the second array is written as a whole, in turns: of one row at most a part is missing."""
    rows = [event for event in replay.events if event.part is not None and len(event.part.name.split(",")) == 2]
    assert rows
    state = replay.state[rows[0].variable_id]
    turns = sorted({int.from_bytes(state[at : at + 4], "little") for at in range(0, len(state), 4)})
    assert turns[0] == 0 or turns[0] >= turns[-1] - 64
    by_row: dict[int, set[int]] = {}
    for at in range(0, len(state), 4):
        by_row.setdefault(at // 4 % 64, set()).add(int.from_bytes(state[at : at + 4], "little"))
    assert sum(len(values) > 1 for values in by_row.values()) <= 1
