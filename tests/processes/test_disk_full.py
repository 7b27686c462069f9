"""A full disk: a value that changes without an event, a program that dies of it, records that are gone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import resource
from memwatch_core import watch
from memwatch_core.errors import JournalFullError

resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, resource.RLIM_INFINITY))  # the same errors as a full disk
count = watch(0, name="count")
view = memoryview(count).cast("B").cast("q")
try:
    while True:
        before = int(count)
        count += 1
except JournalFullError as error:
    assert count == before, "the value has changed without an event"
    assert "disk is full" in str(error), str(error)
view[0] = -1            # a store can't be refused: done, and counted
assert count == -1
try:
    count.value = 5
except JournalFullError:
    pass
assert count == -1
print(before)
"""


def test_full_disk_is_one_clear_error_and_loses_nothing_that_was_recorded(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    memwatch = [sys.executable, "-m", "memwatch_core.cli"]
    folder = ["--folder", str(tmp_path / "sessions")]
    ran = subprocess.run(
        [*memwatch, "run", "--sink", "jsonl", *folder, str(program)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stderr.count("disk full") == 1, "said once"
    written = int(next(line for line in ran.stdout.splitlines() if line.isdigit()))
    log = subprocess.run(
        [*memwatch, "log", "--json", *folder], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    lines = [json.loads(line) for line in log.stdout.splitlines()]
    assert [line["new"] for line in lines if "before" in line] == list(range(1, written + 1))
    assert written > 30_000
    (lost,) = (line for line in lines if line.get("event") == "lost")
    assert (lost["count"], lost["variable"]) == (1, "count")
