"""Descriptors that the program closes, covers or runs out of: its own files overwritten, or events missed in silence.

Each way is tried under each tracker; the run's summary prints the table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from matrix import record
from trackers import need

from memwatch_core import config
from memwatch_core.host.merge import SessionDecoder
from memwatch_core.journal.session import create_session
from memwatch_core.records import Event, Lost, Record

TABLE = "Ways to lose descriptors: the program's files, values, events"
TRACKERS = ("uffd-sigbus", "readonly", "uffd-queue")
WRITES, LENGTH, STORES = 300, 4000, 10  # together more than a segment of the journal holds
EVENTS = 2 + WRITES + STORES

RAW = """
long raw(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}
"""

PROGRAM = f"""
import ctypes, os, resource, subprocess, sys, time
from memwatch_core import watch

CLOSE, DUP2, DUP3, CLOSE_RANGE, EVERYTHING = 3, 33, 292, 436, 2**32 - 1
x = watch(bytearray({LENGTH}), name="x")
view = memoryview(x)
x[0] = 1
view[0] = 2
libc, raw = ctypes.CDLL(None), ctypes.CDLL("./raw.so").raw
libc.fdopen.restype = raw.restype = ctypes.c_long
libc.fclose.argtypes = [ctypes.c_void_p]

def numbers():
    return sorted(int(n) for n in os.listdir("/proc/self/fd") if int(n) > 2)

def ours():
    links = {{n: os.readlink(f"/proc/self/fd/{{n}}") for n in numbers() if os.path.lexists(f"/proc/self/fd/{{n}}")}}
    return [n for n, link in links.items() if link.endswith((".mwj", "/reader")) or "userfaultfd" in link]

def attempt(call, *arguments):
    try:
        return call(*arguments)
    except OSError:
        return None

def write():
    for i in range({WRITES}):
        x[:] = bytes([i & 255]) * {LENGTH}
    for i in range({STORES}):
        view[2] = i
    assert bytes(x) == bytes([i if n == 2 else {WRITES - 1} & 255 for n in range({LENGTH})])

def go_on(count=8):
    files = [open(f"{{os.getpid()}}-{{n}}", "w+b", buffering=0) for n in range(count)]
    for n, file in enumerate(files):
        file.write(bytes([65 + n]) * 50_000)
    write()
    more = [watch(i, name="more") for i in range(80)]
    assert more == list(range(80))
    for n, file in enumerate(files):
        file.seek(0)
        assert file.read() == bytes([65 + n]) * 50_000, f"file {{n}}"
"""

EACH = "for n in numbers(): "
WAYS: dict[str, str] = {
    "nothing": "go_on()",
    "os.closerange": "os.closerange(3, 5000); go_on()",
    "os.closerange to 256": "os.closerange(3, 256); go_on()",
    "os.close of each": EACH + "attempt(os.close, n)\ngo_on()",
    "close in C of each": EACH + "libc.close(n)\ngo_on()",
    "close_range in C": "libc.close_range(3, EVERYTHING, 0); go_on()",
    "close_range in C, table unshared": "libc.close_range(3, EVERYTHING, 2); go_on()",
    "closefrom in C": "libc.closefrom(3); go_on()",
    "fclose(fdopen()) of each": EACH + "file = libc.fdopen(n, b'r'); file and libc.fclose(file)\ngo_on()",
    "syscall(SYS_close_range)": "libc.syscall(CLOSE_RANGE, 3, EVERYTHING, 0); go_on()",
    "syscall(SYS_close) of each": EACH + "libc.syscall(CLOSE, n)\ngo_on()",
    "os.dup2 onto each": "free = os.open('own', os.O_RDWR | os.O_CREAT)\n" + EACH + "os.dup2(free, n)\ngo_on()",
    "dup2 in C onto each": EACH + "libc.dup2(2, n)\ngo_on()",
    "dup3 in C onto each": EACH + "libc.dup3(2, n, os.O_CLOEXEC)\ngo_on()",
    "dup2 of a bad one onto each": EACH + "libc.dup2(12345, n)\nassert len(numbers()) < 50\ngo_on()",
    "syscall(SYS_dup2) onto each": EACH + "libc.syscall(DUP2, 2, n)\ngo_on()",
    "os.dup2 onto each, over and over": "for _ in range(5):\n  " + EACH + "os.dup2(2, n)\ngo_on()",
    "dup2 onto each, none free": """
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
taken = []
while (n := attempt(os.dup, 2)) is not None: taken.append(n)
for n in ours_before: os.dup2(2, n)
os.closerange(3, 5000)
go_on()""",
    "limit lowered": """
resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))
os.closerange(3, 5000)
go_on(3)""",
    "no descriptor left": """
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
write()""",
    "subprocess": """
def listed(**more):
    code = "import os; print([os.path.realpath('/proc/self/fd/' + n) for n in os.listdir('/proc/self/fd')])"
    done = subprocess.run([sys.executable, "-I", "-c", code], stdout=subprocess.PIPE, text=True, check=True, **more)
    assert ".mwj" not in done.stdout and "userfaultfd" not in done.stdout, done.stdout
file = open("own", "w")
for _ in range(3):
    listed(close_fds=True); listed(close_fds=False); listed(pass_fds=[file.fileno()]); listed(preexec_fn=int)
    high = os.dup2(file.fileno(), ours()[-1]); listed(pass_fds=[high]); os.close(high)
go_on()""",
    "posix_spawn": """
for n in ours():
    actions = [(os.POSIX_SPAWN_DUP2, 2, n), (os.POSIX_SPAWN_CLOSE, n)]
    child = os.posix_spawn(sys.executable, [sys.executable, "-c", ""], os.environ, file_actions=actions)
    assert os.waitpid(child, 0)[1] == 0
go_on()""",
    "vfork in C": """
vfork = ctypes.CDLL("./raw.so").vfork_and_lose
for n in ours(): assert vfork(n) == 0
go_on()""",
    "exec with all kept": """
if len(sys.argv) == 1:
    for n in numbers(): attempt(os.set_inheritable, n, True)
    os.execv(sys.executable, [sys.executable, sys.argv[0], "again"])
os.closerange(3, 5000)
go_on()""",
    "raw close_range": "raw(CLOSE_RANGE, 3, EVERYTHING, 0); go_on()",
    "raw close of each": EACH + "raw(CLOSE, n, 0, 0)\ngo_on()",
    "raw dup2 onto each": "free = os.open('own', os.O_RDWR | os.O_CREAT)\n" + EACH + "raw(DUP2, free, n, 0)\ngo_on()",
    "double fork, all closed": """
def daemonize():
    if os.fork(): os._exit(0)
    os.setsid()
    if os.fork(): os._exit(0)
    os.umask(0o22)
    for n in range(os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") < 5000 else 5000): attempt(os.close, n)
    for n in range(3): os.open(os.devnull, os.O_RDWR)
try:
    daemonize(); go_on(); os.chdir("/"); open(folder + "/daemon", "x").write("done")
except BaseException as error: open(folder + "/daemon", "x").write(repr(error))""",
    "python-daemon": """
import daemon
try:
    with daemon.DaemonContext(working_directory="."):
        go_on(); open(folder + "/daemon", "x").write("done")
except BaseException as error: open(folder + "/daemon", "x").write(repr(error))""",
}
DAEMONS = ("double fork, all closed", "python-daemon")
VFORK = """
#include <unistd.h>
#include <sys/wait.h>
int vfork_and_lose(int number) {
    int status;
    pid_t child = vfork();
    if (!child) {
        if (dup2(2, number) != number || close(number)) _exit(1);
        closefrom(3);
        _exit(0);
    }
    return waitpid(child, &status, 0) == child ? status : -1;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """System calls that no import table leads to, and a vfork."""
    out = tmp_path_factory.mktemp("raw") / "raw.so"
    out.with_suffix(".c").write_text(VFORK + RAW)
    command = ["gcc", "-D_GNU_SOURCE", "-Wno-deprecated-declarations", "-shared", "-fPIC", "-o", out]
    subprocess.run([*command, out.with_suffix(".c")], check=True)
    return out


def run(what: str, tracker: str, folder: Path, library: Path) -> subprocess.CompletedProcess[str]:
    session = create_session(folder / "sessions", [])
    config.save(config.load(overrides={"core": {"tracker": tracker}}), session)
    (folder / "raw.so").symlink_to(library)
    text = f"{PROGRAM}\nfolder, ours_before = {str(folder)!r}, ours()\n"
    (folder / "program.py").write_text(text + what)
    environment = {"MEMWATCH_SESSION": str(session), "PATH": os.environ["PATH"]}
    return subprocess.run(
        [sys.executable, "program.py"], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


def read(folder: Path) -> list[Record]:
    (session,) = (folder / "sessions").iterdir()
    decoder = SessionDecoder(session, {})
    records = [record for batch in decoder.batches() for record in batch]
    decoder.close()
    return records


def wait_for(file: Path) -> str:
    deadline = time.monotonic() + 30
    while not (file.exists() and file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return file.read_text()


@pytest.mark.parametrize("tracker", TRACKERS)
@pytest.mark.parametrize("way", WAYS)
def test_files_of_the_program_are_its_own_and_every_event_is_there_or_told(
    way: str, tracker: str, tmp_path: Path, library: Path
) -> None:
    record(TABLE, way, tracker, "complete")
    need(tracker)
    done = run(WAYS[way], tracker, tmp_path, library)
    assert done.returncode == 0, done.stderr
    if way in DAEMONS:
        assert wait_for(tmp_path / "daemon") == "done"
    records = read(tmp_path)
    losses = [each for each in records if isinstance(each, Lost)]
    events = [each for each in records if isinstance(each, Event) and each.variable == "x"]
    unseen = way == "no descriptor left" and tracker == "uffd-queue"  # /proc can't be asked who writes
    if losses and not unseen:
        assert way.startswith("raw"), losses
        assert tracker != "readonly", losses
        assert "userfaultfd" in done.stderr
        assert {each.count for each in losses} == {1}
        record(TABLE, way, tracker, "told")
    elif way in DAEMONS:
        child = [each for each in events if each.pid == max(each.pid for each in events)]
        assert len(child) == EVENTS - 2
    elif unseen:
        assert [each.count for each in losses] == [1]
        assert "no descriptor was left" in losses[0].reason
        assert len(events) > 2 + WRITES
        assert events[-1].origin == "kernel"
        record(TABLE, way, tracker, "compared")
    else:
        assert len(events) == EVENTS + (2 if way == "exec with all kept" else 0)
    assert events[-1].after == bytes([STORES - 1])


@pytest.mark.parametrize("tracker", TRACKERS)
def test_journal_that_cannot_be_opened_again_counts_what_is_lost(tracker: str, tmp_path: Path, library: Path) -> None:
    gone = """
os.rename("sessions", "moved")
raw(CLOSE_RANGE, 3, EVERYTHING, 0)
files = [open(f"own {n}", "w+b", buffering=0) for n in range(8)]
for file in files: file.write(b"own" * 20_000)
write()
for file in files:
    file.seek(0)
    assert file.read() == b"own" * 20_000
"""
    done = run(gone, need(tracker), tmp_path, library)
    assert done.returncode == 0, done.stderr
    assert "closed the journal's descriptor" in done.stderr
    (tmp_path / "moved").rename(tmp_path / "sessions")
    records = read(tmp_path)
    events = sum(isinstance(each, Event) for each in records)
    lost = sum(each.count for each in records if isinstance(each, Lost) and "couldn't be recorded" in each.reason)
    assert 2 < events < EVENTS
    assert events + lost == EVENTS


SCARCE = """
import os, resource, sys
from memwatch_core import watch
from memwatch_core.errors import MemWatchError
files = [open(f"own {n}", "w+b", buffering=0) for n in range(2)]
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), 1024))
try:
    x = watch(bytearray(4000), name="x")
except (MemWatchError, OSError) as error:
    sys.exit(str(error))
view = memoryview(x)
for file in files:
    file.write(b"own" * 20_000)
for i in range(300):
    x[:] = bytes([i & 255]) * 4000
view[0] = 7
os.closerange(5, 100)
for i in range(300):
    x[:] = bytes([i & 255]) * 4000
view[0] = 8
for file in files:
    file.seek(0)
    assert file.read() == b"own" * 20_000
"""


@pytest.mark.parametrize("limit", range(5, 11))
def test_with_few_descriptors_it_works_or_says_what_is_missing(limit: int, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(SCARCE)
    environment = {"MEMWATCH_JOURNAL_FOLDER": "sessions", "PATH": os.environ["PATH"]}
    command = [sys.executable, "program.py", str(limit)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    record(
        "Descriptors allowed, two of them the program's own",
        str(limit),
        "outcome",
        "works" if not done.returncode else "refused",
    )
    if done.returncode:
        assert "Too many open files" in done.stderr.splitlines()[-1], done.stderr
        assert "Traceback" not in done.stderr
    else:
        records = read(tmp_path)
        assert not [each for each in records if isinstance(each, Lost)]
        assert len([each for each in records if isinstance(each, Event)]) == 602


IN_PROCESS = """
import ctypes, os, sys
import memwatch_core

RAW = ctypes.CDLL("./raw.so").raw
with memwatch_core.session(folder="sessions", sinks=["jsonl"]) as session:
    x = memwatch_core.watch(bytearray(4000), name="x")
    x[0] = 1
    session.flush()
    {lose}
    files = [open(f"own {{n}}", "w+b", buffering=0) for n in range(12)]
    for n, file in enumerate(files):
        file.write(bytes([65 + n]) * 50_000)
    for i in range(300):
        x[:] = bytes([i & 255]) * 4000
    session.flush()
for n, file in enumerate(files):
    file.seek(0)
    assert file.read() == bytes([65 + n]) * 50_000, f"file {{n}}"
"""


WITHIN = {
    "os.closerange": "os.closerange(3, 5000)",
    "raw close_range": "RAW(436, 3, 2**32 - 1, 0)",
    "os.dup2 onto each": "for n in sorted(map(int, os.listdir('/proc/self/fd')))[3:-1]: os.dup2(2, n)",
}


@pytest.mark.parametrize("name", WITHIN)
def test_reader_and_sink_within_the_program_use_no_number_of_its_files(
    name: str, tmp_path: Path, library: Path
) -> None:
    record("Ways to lose the descriptors of a reader within the program", name, "outcome", "complete")
    (tmp_path / "raw.so").symlink_to(library)
    (tmp_path / "program.py").write_text(IN_PROCESS.format(lose=WITHIN[name]))
    command = [sys.executable, "program.py"]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert len([line for line in lines if "origin" in json.loads(line)]) == 301


COVERED = """
import ctypes, os
libc = ctypes.CDLL(None)
call = libc.syscall  # before the start: not redirected
from memwatch_core import watch
x = watch(bytearray(16), name="x")
x[0] = 1
at = ctypes.addressof(ctypes.c_char.from_buffer(x))
quiet, end = os.pipe()
{keep}
for n in range(2000):
    if os.path.lexists(f"/proc/self/fd/{{n}}") and "userfaultfd" in os.readlink(f"/proc/self/fd/{{n}}"):
        assert call(33, quiet, n) == n
for i in range(100):
    ctypes.memset(at + 4, i, 1)
    ctypes.memset(at + 5, i, 1)
assert x[4] == x[5] == 99
os.write(end, b"own")
assert os.read(quiet, 10) == b"own"
"""
COPY = """
gate, ours = os.pipe()
if not call(57):
    os.close(ours)
    os.read(gate, 1)  # until its parent ends: it has a copy of everything
    os._exit(0)
"""


@pytest.mark.parametrize("keep", ["", COPY], ids=["the last copy", "a copy elsewhere"])
@pytest.mark.parametrize("tracker", TRACKERS)
def test_userfaultfd_that_is_covered_by_a_quiet_file_holds_nobody_up(tracker: str, keep: str, tmp_path: Path) -> None:
    session = create_session(tmp_path / "sessions", [])
    config.save(config.load(overrides={"core": {"tracker": need(tracker)}}), session)
    (tmp_path / "program.py").write_text(COVERED.format(keep=keep))
    environment = {"MEMWATCH_SESSION": str(session), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    events = [each for each in read(tmp_path) if isinstance(each, Event)]
    if tracker == "readonly":
        assert len(events) == 201
    else:
        assert "has closed MemWatch's userfaultfd" in done.stderr
    # without a copy, the kernel lets stores through until the thread has looked
    assert len(events) >= (199 if tracker == "uffd-queue" and keep else 1)
