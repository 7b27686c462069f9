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
if sys.argv[1] != "a limit for files":
    sandbox.small_folder("sessions", 5 << 20)
out = []
for name, *options in ["run", "--sink", "jsonl", "program.py"], ["log", "--json"]:
    command = [sys.executable, "-m", "memwatch_core.cli", name, "--folder", "sessions", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    out.append([done.returncode, done.stdout, done.stderr])
print(json.dumps(out))
"""


def run_and_log(program: str, full: str, folder: Path) -> list[tuple[int, str, str]]:
    """Status, output and standard error of ``memwatch run`` and ``memwatch log``."""
    (folder / "program.py").write_text(program)
    (folder / "sessions").mkdir(mode=0o700)
    done = subprocess.run(
        [sys.executable, "-c", RUN_AND_LOG, full],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    if "PermissionError" in done.stderr:
        pytest.skip("mounting needs a privilege that this machine doesn't give")
    assert done.returncode == 0, done.stderr
    return [(status, output, said) for status, output, said in json.loads(done.stdout)]


@pytest.mark.parametrize("full", FULL)
def test_full_disk_is_one_clear_error_and_loses_nothing_that_was_recorded(full: str, tmp_path: Path) -> None:
    fill, make_room = FULL[full]
    program = PROGRAM.format(FILL=fill, MAKE_ROOM=make_room)
    (status, output, said), (log_status, log, complaint) = run_and_log(program, full, tmp_path)
    assert status == 0, said[-2000:]
    assert said.count("disk full") == 1, "said once"
    written = int(next(line for line in output.splitlines() if line.isdigit()))
    assert log_status == 0, complaint
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["new"] for line in lines if "before" in line] == [*range(1, written + 1), 7]
    assert written > 15_000
    (lost,) = (line for line in lines if line.get("event") == "lost")
    assert (lost["count"], lost["variable"]) == (1, "count")


KEEPS_THE_REST = """
import glob, os, resource, threading
import sandbox
from memwatch_core import watch
from memwatch_core.errors import JournalFullError

{BEFORE}
def left():
    disk = os.statvfs("sessions")
    return disk.f_bfree * disk.f_frsize

count = watch(0, name="count", track_threads=False)
view = memoryview(count).cast("B").cast("q")
(journal,) = glob.glob("sessions/*/*.mwj")
{FULL}
try:
    while True:
        count += 1
except JournalFullError:
    pass
stop = threading.Event()

def meanwhile():
    while not stop.is_set():
        try:
            view[0] = 1
            count.value = 1
        except JournalFullError:
            pass

def check():
    size = os.stat(journal)
    assert size.st_size == size.st_blocks * 512, size
    assert size.st_size in (65536, 262144) or (size.st_size - 4096) % (1 << 20) == 0, size
    with open(journal, "rb") as file:
        reserved = int.from_bytes(file.read(136)[128:], "little")
    assert size.st_size <= 4096 + (-(-reserved // 16384) << 20), (size, reserved)
    assert left() >= (448 << 10), left()

check()
if {OTHERS}:
    other = threading.Thread(target=meanwhile)
    other.start()
    for turn in range(100):
        with open("sessions/of the program", "wb") as file:
            file.write(bytes(400 << 10))
        os.unlink("sessions/of the program")
    stop.set()
    other.join()
    check()
{MAKE_ROOM}
count.value = 7
"""
ALL_BUT = "open('sessions/ballast', 'wb').write(bytes(left() - ({SEGMENTS} << 20) - (700 << 10)))"
REFUSED = {
    "no room for a first segment": ("", ALL_BUT.format(SEGMENTS=0), "os.unlink('sessions/ballast')", True),
    "no room for a third segment": ("", ALL_BUT.format(SEGMENTS=2), "os.unlink('sessions/ballast')", True),
    "a disk that doesn't tell what it has": (
        "sandbox.refuse('what a disk has left')",
        "open('sessions/ballast', 'wb').write(bytes(1400 << 10))",
        "os.unlink('sessions/ballast')",
        False,
    ),
    "no address space": (
        "",
        "status = open('/proc/self/statm').read().split()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (int(status[0]) * 4096 + (1 << 19), resource.RLIM_INFINITY))",
        "resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)",
        False,
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_journal_that_cannot_grow_leaves_the_rest_of_the_disk_to_the_program(why: str, tmp_path: Path) -> None:
    before, full, make_room, others = REFUSED[why]
    program = KEEPS_THE_REST.format(BEFORE=before, FULL=full, MAKE_ROOM=make_room, OTHERS=others)
    (status, _, said), (log_status, log, complaint) = run_and_log(program, why, tmp_path)
    assert status == 0, said[-2000:]
    assert log_status == 0, complaint
    assert json.loads([line for line in log.splitlines() if '"before"' in line][-1])["new"] == 7


LOST_FOR_WANT_OF_ADDRESSES = """
import os, resource
from memwatch_core import watch
from memwatch_core.errors import JournalFullError

count = watch(0, name="count")
view = memoryview(count).cast("B").cast("q")
told = os.open("/proc/self/io", os.O_RDONLY)

def written():
    return int(os.pread(told, 1000, 0).split()[3])

size = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 19), resource.RLIM_INFINITY))
try:
    while True:
        count += 1
except JournalFullError:
    pass
before = written()
for i in range(300):
    view[0] = i
after = written()
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
count.value = 7
print(after - before)
"""


def test_an_event_that_is_lost_for_want_of_address_space_writes_nothing(tmp_path: Path) -> None:
    """It would be a segment of zeros for each: a program with a limit would take forever."""
    (tmp_path / "program.py").write_text(LOST_FOR_WANT_OF_ADDRESSES)
    run = [sys.executable, "-m", "memwatch_core.cli", "run", "-q", "--sink", "jsonl", "program.py"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (line,) = [line for line in done.stdout.splitlines() if line.isdigit()]
    assert int(line) < 1 << 20


LONG_WRITES = """
import os, resource, threading
from memwatch_core import watch
from memwatch_core.errors import JournalFullError

resource.setrlimit(resource.RLIMIT_FSIZE, (5 << 20, resource.RLIM_INFINITY))
big = watch(bytearray(range(256)) * {SIZE}, capacity=300_000)
count = watch(0, name="count", track_threads=False)
for number in range(1000):  # so that it is within a write that the room ends
    count.value = number
stop = threading.Event()

def meanwhile():
    while not stop.is_set():
        try:
            count.value = 1
        except JournalFullError:
            pass

others = [threading.Thread(target=meanwhile) for _ in range({OTHERS})]
for other in others:
    other.start()
refused = 0
for turn in range(2000):
    before = bytes(big)
    try:
        {WRITE}
    except JournalFullError:
        assert bytes(big) == before, "a part of it was written"
        refused += 1
        if refused == 20:
            break
stop.set()
for other in others:
    other.join()
assert refused == 20, refused
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
{WRITE}                 # as if nothing had been
print(bytes(big).hex())
"""


@pytest.mark.parametrize(
    ("size", "write", "others"),
    [
        (256, "big.insert(0, 7)", 2),
        (256, "big[:] = bytes([turn % 256]) * 65536", 0),
        (1100, "big.value = bytes([turn % 256]) * (281600 + turn % 7)", 0),  # of more than a segment
        (256, "del big[: 1 + turn % 3]", 0),
        (17, "big.insert(0, 7)", 0),  # two records, and the length
    ],
)
def test_a_write_of_several_records_is_made_as_a_whole_or_not_at_all(
    size: int, write: str, others: int, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(LONG_WRITES.format(SIZE=size, WRITE=write, OTHERS=others))
    command = [sys.executable, "-m", "memwatch_core.cli"]
    done = subprocess.run(
        [*command, "run", "--sink", "jsonl", "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    last = next(line for line in reversed(done.stdout.splitlines()) if not line.startswith("{"))
    log = subprocess.run([*command, "log", "--json"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert log.returncode == 0, log.stderr
    page = bytearray(300_008)
    page[:8] = (size * 256).to_bytes(8, "little")
    page[8 : 8 + size * 256] = bytes(range(256)) * size
    for line in map(json.loads, log.stdout.splitlines()):
        assert line.get("event") != "lost", line
        if "seq" in line and line["variable"] == "big":
            start, old, new = line["offset"], bytes.fromhex(line["before"]), bytes.fromhex(line["after"])
            assert page[start : start + len(old)] == old
            page[start : start + len(new)] = new
    assert page[8 : 8 + int.from_bytes(page[:8], "little")].hex() == last
