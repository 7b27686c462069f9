"""A signal handler in C that stores to watched memory, at any instruction of ours, takes nothing from the write that it
has interrupted, and has its own event right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from memwatch_core.host.merge import SessionDecoder
from memwatch_core.records import Event

PROGRAMS = Path(__file__).parent
SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
WAYS = {"number": ["announced", "read"], "order": ["placed"], "ticks": ["ticks"]}


def events_of(path: Path) -> list[Event]:
    decoder = SessionDecoder(path, {}, final=True)
    return [record for batch in decoder.batches() for record in batch if isinstance(record, Event)]


def run(folder: Path, program: str, *arguments: object, stack: int) -> Any:
    """What the program prints at last: it is given the handler's library first."""
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-o", folder / "interrupting.so", PROGRAMS / "interrupting.c"], check=True
    )
    settings = {"MEMWATCH_JOURNAL_FOLDER": "sessions", "MEMWATCH_WATCH_STACK": str(stack)}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MEMWATCH_")} | settings
    command = [sys.executable, PROGRAMS / program, folder / "interrupting.so", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, (done.returncode, done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("stack", [16, *([1, 4, 64] if SOAK else [])])
def test_write_that_is_interrupted_anywhere_has_its_own_request_statement_and_callers(
    tmp_path: Path, stack: int
) -> None:
    """In a task, under a label that changes, under a span or none; as does the write of the handler."""
    session, addresses, interrupted, expected = run(tmp_path, "interrupted.py", 5, 60 if SOAK else 3, stack=stack)
    seen: Counter[str] = Counter()
    left_out = 0
    for event in events_of(Path(session)):
        number = event.part.new if event.part else int.from_bytes(event.after, "little")
        ways = [way for way in WAYS[event.variable] if str(number) in expected[way]]
        if not ways:
            continue  # the first value, before the first write
        task, label, span, statement, frames = expected[ways[0]][str(number)]
        request = event.request
        if event.variable != "ticks" or request:
            assert request, (event.variable, number)
            assert [request.task, request.label, request.span_id] == [task, label, span], (event.variable, number)
        else:
            left_out += 1  # the handler has come while the thread's own was being written down
        assert event.context, number
        assert event.context.statement == statement, number
        assert event.site, number
        told = [[site.function, site.line] for site in (event.site, *(event.stack or ()))]
        assert [told, event.stack_cut] == [frames[:stack], stack > 1 and len(frames) > stack], number
        seen[ways[0]] += 1
    assert seen == {way: len(numbers) for way, numbers in expected.items() if numbers}
    assert interrupted > addresses / 2 > 500
    assert left_out < interrupted / 4
