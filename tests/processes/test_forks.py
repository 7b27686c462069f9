"""Forks: a child that writes to its parent's values or journal, or goes unseen, whoever forked it and when."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import matrix
import pytest
from forking import ALONE, BY_PYTHON, KEPT, METHODS, NEW, QUICK, STATES, WITHOUT_RUN

from memwatch_core import config as configuration
from memwatch_core.host import history
from memwatch_core.journal.reader import JournalReader
from memwatch_core.journal.session import create_session, journals
from memwatch_core.records import Event, Lost, Record

PROGRAM = Path(__file__).with_name("forking.py")
SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
QUEUE = ("journal open", "watches live", "while threads write")
"""States that are tried under ``uffd-queue``, which is slow, at the short size."""


def run(state: str, methods: list[str], tracker: str, folder: Path) -> tuple[Path, list[dict[str, Any]], str]:
    """The session's folder, what the program's processes say that they did, and its standard error."""
    sessions, results = folder / "sessions", folder / "results"
    environment = {**os.environ, "RESULTS": str(results), "TRACKER": tracker, "SESSIONS": str(sessions)}
    command = [sys.executable, str(PROGRAM), state, *methods]
    if state not in WITHOUT_RUN:
        options = ["--quiet", "--tracker", tracker, "--folder", str(sessions), "--sink", "jsonl"]
        command = [sys.executable, "-m", "memwatch_core.cli", "run", *options, *command[1:]]
    elif state != "in session()":
        settings = configuration.load(overrides={"core": {"tracker": tracker}, "journal": {"folder": str(sessions)}})
        session = create_session(sessions, command)
        configuration.save(settings, session)
        environment["MEMWATCH_SESSION"] = str(session)
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    (session,) = sessions.iterdir()
    return session, [json.loads(line) for line in results.read_text().splitlines()], ran.stderr


def by_journal(session: Path) -> tuple[dict[str, dict[str, list[Event]]], list[Record]]:
    """Events by journal and name of the variable; and what was lost."""
    events: dict[str, dict[str, list[Event]]] = {}
    lost: list[Record] = []
    for batch in history.read(session, lambda text: None):
        for record in batch:
            if isinstance(record, Event):
                events.setdefault(record.journal, {}).setdefault(record.variable, []).append(record)
            elif isinstance(record, Lost):
                lost.append(record)
    return events, lost


def by_process(session: Path) -> tuple[dict[int, dict[str, list[Event]]], list[Record]]:
    """The same by process: each has one journal."""
    events, lost = by_journal(session)
    found = {int(journal.split("-")[0]): of for journal, of in events.items()}
    assert len(found) == len(events)
    return found, lost


def assert_chain(events: list[Event], start: int | None, end: int, by_one: bool = True) -> None:
    """Each event goes on where the one before it ended, and adds one."""
    assert start is None or events[0].old == start
    assert events[-1].new == end
    assert all(a.new == b.old for a, b in itertools.pairwise(events)), "an event is missing, or somebody else's"
    assert not by_one or all(event.new == event.old + 1 for event in events)


@pytest.mark.parametrize("state", STATES)
def test_every_process_has_its_own_values_and_journal(state: str, tracker: str, tmp_path: Path) -> None:
    if tracker == "uffd-queue" and not SOAK and state not in QUEUE:
        pytest.skip("with MEMWATCH_SOAK=1")
    methods = list(METHODS if SOAK or (tracker == "uffd-sigbus" and state == "watches live") else QUICK)
    if state in ("in session()", "while threads write"):  # which run Python code
        methods = [method for method in methods if method in BY_PYTHON + ALONE]
    if state == "in session()":
        methods = [method for method in methods if method not in ALONE]  # the session isn't in their environment
    for method in methods:
        matrix.record("forks: state, tracker / how the child was started", f"{state}, {tracker}", method)

    session, said, errors = run(state, methods, tracker, tmp_path)

    wrong = [line for line in said if "error" in line]
    assert not wrong, (wrong, errors[-2000:])
    children = [line for line in said if "child" in line]
    assert Counter(line["method"] for line in children) == dict.fromkeys(methods, 2)
    events, lost = by_journal(session)
    assert not lost
    for line in children:
        of_child = events.pop(f"{line['pid']}-python", {})
        where = line["method"]
        assert line["mine"] == 2 * NEW, where
        mine = of_child.pop("mine")
        assert len(mine) == 2 * NEW, where
        assert_chain(mine, 0, 2 * NEW)
        assert [event.origin for event in mine] == ["announced", "store"] * NEW, where
        if line["kept"] is not None:
            before, after = line["kept"]
            assert after == before + 2 * KEPT, where
            inherited = of_child.pop("kept")
            assert len(inherited) == 2 * KEPT, where
            assert_chain(inherited, before, after)
        assert not of_child, (where, "events of variables that it hasn't written to")
    (parent,) = [line for line in said if "parent" in line]
    if parent["kept"] is not None:
        of_parent = events[f"{parent['pid']}-python{'.1' * (state == 'after exec')}"]["kept"]
        assert_chain(of_parent, None, parent["kept"])
    for left in events.values():  # of the parent, and of its own
        for chain in left.values():
            assert_chain(chain, None, chain[-1].new, by_one=state != "while threads write")
    assert {path.stem for path in journals(session)} == {f"{line['pid']}-python" for line in children} | {*events}
    for path in journals(session):
        with closing(JournalReader(path)) as reader:
            assert path.name.startswith(f"{reader.header.pid}-")
