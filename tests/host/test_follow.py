"""Following a session: nothing is left unsaid when the reader, or a process that it reads, doesn't end as it should."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from memwatch_core import session, watch
from memwatch_core.host.follow import LAST_WORDS, Follow
from memwatch_core.host.pipeline import Pipeline
from memwatch_core.host.summary import Summary
from memwatch_core.records import Event, Record


class Keeper:
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.closed = False

    def write(self, records: Sequence[Record]) -> None:
        self.records.extend(records)

    def flush(self) -> None: ...

    def close(self) -> None:
        self.closed = True


def test_mistake_of_ours_is_said_and_the_sinks_are_closed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Wrong(Summary):
        def write(self, records: Sequence[Record]) -> None:
            raise LookupError("a mistake")

    with session(folder=tmp_path, sinks=[]) as recorded:
        n = watch(0, name="n")
        n += 1
    said: list[str] = []
    keeper = Keeper()
    follow = Follow(recorded.folder, [], Wrong(), Pipeline([("keeper", keeper)], said.append), said.append)
    follow.start()
    follow.finish()
    follow.join(20)
    assert follow.failed
    assert keeper.closed
    assert said == [
        "reading stopped, a mistake in MemWatch (LookupError: a mistake); the journals are whole: try memwatch log"
    ]
    assert "Traceback" in capsys.readouterr().err


def test_process_that_outlives_the_program_is_not_waited_for(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom memwatch_core import watch\nn = watch(0, name='n')\nn += 1\nprint('up', flush=True)\n"
        "sys.stdin.read()\nn += 1\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        folder = next((tmp_path / ".memwatch").iterdir())
        said: list[str] = []
        keeper = Keeper()
        summary = Summary()
        follow = Follow(folder, [], summary, Pipeline([("keeper", keeper)], said.append), said.append)
        follow.start()
        begun = time.monotonic()
        follow.finish()
        follow.join(20)
        assert LAST_WORDS / 2 <= time.monotonic() - begun < 10  # it may have been quiet before already
        assert said == ["a process of the session still runs: what it writes from now on is in its journal only"]
        assert summary.events == len([r for r in keeper.records if isinstance(r, Event)]) == 1
        assert keeper.closed
    finally:
        process.communicate(timeout=20)
