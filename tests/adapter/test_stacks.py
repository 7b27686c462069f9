"""Each event carries the callers of the line that wrote, as traceback.extract_stack says them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from trackers import need

from memwatch_core.host.merge import SessionDecoder
from memwatch_core.records import Event, Serializer

PROGRAMS = Path(__file__).parent


def events_of(path: Path, serializers: dict[str, Serializer] | None = None) -> list[Event]:
    decoder = SessionDecoder(path, serializers or {}, final=True)
    return [record for batch in decoder.batches() for record in batch if isinstance(record, Event)]


def stack_of(event: Event) -> list[list[Any]]:
    """The whole stack, the innermost frame first, as the programs note what they expect."""
    assert event.site is not None and event.stack is not None, event
    return [[site.file, site.line, site.function] for site in (event.site, *event.stack)]


def run(folder: Path, *arguments: object, program: str = "call_trees.py") -> Any:
    command = [sys.executable, PROGRAMS / program, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


SOAK = bool(os.environ.get("MEMWATCH_SOAK"))


@pytest.mark.parametrize("tracker", ["uffd-sigbus", "readonly"])
@pytest.mark.parametrize(("limit", "threads", "trees"), [(16, 1, 200), (16, 4, 100), (3, 1, 100), (128, 1, 60)])
def test_stack_is_what_traceback_says(tmp_path: Path, limit: int, threads: int, trees: int, tracker: str) -> None:
    """Random trees of some forty kinds of calls; announced writes, stores with the lock and without it."""
    path, expected = run(tmp_path, limit, trees * (40 if SOAK else 1), 7 * limit + threads, threads, need(tracker))
    checked = set()
    for event in events_of(tmp_path / path):
        number = int.from_bytes(event.after, "little")
        if not number:  # struct.pack_into clears the bytes first
            continue
        stack, told = stack_of(event), expected[str(number)]
        assert [stack, event.stack_cut] == [told[:limit], len(told) > limit], number
        checked.add(number)
    assert len(checked) == len(expected) > trees
