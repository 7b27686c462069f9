"""A full disk: a value that changes without an event, a program that dies of it, records that are gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, resource
from memwatch_core import watch
from memwatch_core.errors import JournalFullError

{FILL}
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
{MAKE_ROOM}
count.value = 7         # as if nothing had been
print(before)
"""

FULL = {
    "a file system that is full": (
        "open('sessions/ballast', 'wb').write(bytes(2 << 20))",
        "os.unlink('sessions/ballast')",
    ),
    "a limit for files": (
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, resource.RLIM_INFINITY))",
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)",
    ),
}
RUN_AND_LOG = """
import json, subprocess, sys
import sandbox
if sys.argv[1] == "a file system that is full":
    sandbox.small_folder("sessions", 5 << 20)
out = []
for name, *options in ["run", "--sink", "jsonl", "program.py"], ["log", "--json"]:
    command = [sys.executable, "-m", "memwatch_core.cli", name, "--folder", "sessions", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    out.append([done.returncode, done.stdout, done.stderr])
print(json.dumps(out))
"""


@pytest.mark.parametrize("full", FULL)
def test_full_disk_is_one_clear_error_and_loses_nothing_that_was_recorded(full: str, tmp_path: Path) -> None:
    fill, make_room = FULL[full]
    (tmp_path / "program.py").write_text(PROGRAM.format(FILL=fill, MAKE_ROOM=make_room))
    (tmp_path / "sessions").mkdir(mode=0o700)
    done = subprocess.run(
        [sys.executable, "-c", RUN_AND_LOG, full],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    if "PermissionError" in done.stderr:
        pytest.skip("mounting needs a privilege that this machine doesn't give")
    assert done.returncode == 0, done.stderr
    (status, output, said), (log_status, log, complaint) = json.loads(done.stdout)
    assert status == 0, said[-2000:]
    assert said.count("disk full") == 1, "said once"
    written = int(next(line for line in output.splitlines() if line.isdigit()))
    assert log_status == 0, complaint
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["new"] for line in lines if "before" in line] == [*range(1, written + 1), 7]
    assert written > 15_000
    (lost,) = (line for line in lines if line.get("event") == "lost")
    assert (lost["count"], lost["variable"]) == (1, "count")
