"""A signal handler in C that stores to watched memory, at any instruction of ours, takes nothing from the write that it
has interrupted, and has its own event right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
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
        ["gcc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", folder / "interrupting.so", PROGRAMS / "interrupting.c"],
        check=True,
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
        is_whole = stack > 1 and len(frames) <= stack
        assert (["task created at", 0] in told) == is_whole, number  # behind all callers, who created the task
        if is_whole:
            told = told[: told.index(["task created at", 0])]
        assert told == frames[:stack], number
        assert event.stack_cut or is_whole or stack == 1, number
        seen[ways[0]] += 1
    assert seen == {way: len(numbers) for way, numbers in expected.items() if numbers}
    assert interrupted > addresses / 2 > 500
    assert left_out < interrupted / 4


CALLERS = {
    "main": {"<module>"},
    "scenario": {"main"},
    "generator": {"scenario"},
    "from_c": {"scenario"},
    "leaf": {"scenario", "generator", "<lambda>", "coroutine", "__lt__", "made"},
    "deep": {"scenario", "deep"},
    "<lambda>": {"from_c"},
    "coroutine": {"scenario"},
    "failing": {"scenario"},
    "__lt__": {"scenario"},
    "__init__": {"scenario"},
    "__enter__": {"scenario"},
    "__exit__": {"scenario"},
    "<module>": {"scenario"},
    "made": {"<module>"},
}


@pytest.mark.parametrize("stack", [16, *([1] if SOAK else [])])
def test_handler_that_comes_while_the_interpreter_changes_frames_tells_none_that_is_not_there(
    tmp_path: Path, stack: int
) -> None:
    """At any instruction of the interpreter: calls, generators, returns, callbacks from C."""
    session, addresses, met = run(tmp_path, "switching.py", "long" if SOAK else "short", stack=stack)
    events = events_of(Path(session))
    assert len(events) == met > addresses * 0.9 > 1000
    for event in events:
        assert event.site or not event.exact
        names = [site.function for site in (event.site, *(event.stack or ())) if site]
        for callee, caller in pairwise(names):
            assert caller in CALLERS[callee], names
        if stack > 1 and event.site and not event.stack_inexact:
            assert event.stack_cut if len(names) == stack else names[-2:] == ["main", "<module>"], names
    assert sum(not event.exact for event in events) < met / 100
    assert sum(event.stack_inexact for event in events) < met / 100
