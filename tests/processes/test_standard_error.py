"""Standard error that the program has closed: a notice of MemWatch's written into the file that has its number now.

Each notice is provoked where the program has sent standard error elsewhere, and is told there; and where something of
the program's own has got the number, in each way that it can."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from trackers import need

from memwatch_core import config
from memwatch_core.journal.session import create_session

CORE = Path(config.__file__).parent / "core"

PROGRAM = """
import ctypes, os, resource, signal, socket
libc = ctypes.CDLL(None)
by_pointer, fopen = libc.syscall, libc.fopen  # before the start: not redirected
CLOSE, FORK = 3, 57
import sandbox
from memwatch_core import watch
from memwatch_core.printed import say

def start():
    global x
    x = watch(bytearray(4000), name="x")

def close():
    os.closerange(0, 3)
    assert (os.open(os.devnull, os.O_RDWR), os.open(os.devnull, os.O_RDWR)) == (0, 1)

def uffd(n):
    return os.path.lexists(f"/proc/self/fd/{n}") and "userfaultfd" in os.readlink(f"/proc/self/fd/{n}")

other = None
"""
OPENED = {
    "open": "close(); file = open('own', 'w+b', buffering=0)",
    "open to append": "close(); os.open('own', os.O_WRONLY | os.O_APPEND | os.O_CREAT)",
    "fopen in C": "close(); fopen(b'own', b'w')",
    "a pipe": "close(); os.open(os.devnull, 0); other, end = os.pipe(); os.close(2); os.dup(end)",
    "a socket": "close(); pair = socket.socketpair(); other = pair[1].fileno()",
}
REDIRECTED = "os.dup2(os.open('own', os.O_WRONLY | os.O_CREAT), 2)"
END = """
if other is not None:
    os.set_blocking(other, False)
    try: open("own", "wb").write(os.read(other, 1000))
    except BlockingIOError: pass
os._exit(0)
"""
NOTICES = {
    "the journal can't grow": ("uffd-sigbus", """
x[0] = 1
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
view = memoryview(x)
for i in range(1000): view[:] = bytes([i & 255]) * 4000
""", "the journal can't grow"),
    "no journal": ("uffd-sigbus", """
os.rename("sessions", "moved")
child = os.fork()
if not child:
    memoryview(x)[1] = 1
    os._exit(0)
os.waitpid(child, 0)
""", "can't make its journal"),
    "userfaultfd closed": ("uffd-sigbus", """
for n in range(2000):
    if uffd(n): by_pointer(CLOSE, n)
y = watch(1, name="y")
""", "has closed MemWatch's userfaultfd"),
    "no thread in a child": ("uffd-queue", """
sandbox.refuse("threads")
import warnings
warnings.simplefilter("ignore")  # Python's, of the tracker's thread
child = os.fork()
if not child: os._exit(0)
os.waitpid(child, 0)
""", "doesn't work here (Operation not permitted)"),
    "a value of the parent's": ("readonly", """
view = memoryview(x)
child = by_pointer(FORK)
if not child: view[0] = 1
assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGSEGV
""", "forked by a system call"),
}  # fmt: skip
BY_PYTHON = ("readonly", "say('a message')", "a message")


def provoke(notice: tuple[str, str, str], before: str, folder: Path) -> str:
    """What comes of it where standard error was."""
    tracker, what, _ = notice
    session = create_session(folder / "sessions", [])
    config.save(config.load(overrides={"core": {"tracker": need(tracker)}}), session)
    (folder / "program.py").write_text(PROGRAM + before + "\n" + what + END)
    environment = {"MEMWATCH_SESSION": str(session), "PATH": os.environ["PATH"]}
    environment["PYTHONPATH"] = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return (folder / "own").read_text() if (folder / "own").exists() else ""


@pytest.mark.parametrize("before", [f"start(); {REDIRECTED}", f"{REDIRECTED}; start()"], ids=["started", "not started"])
@pytest.mark.parametrize("notice", NOTICES)
def test_where_the_program_has_sent_standard_error_it_is_told(notice: str, before: str, tmp_path: Path) -> None:
    assert NOTICES[notice][2] in provoke(NOTICES[notice], before, tmp_path)


@pytest.mark.parametrize("way", OPENED)
@pytest.mark.parametrize("notice", NOTICES)
def test_what_has_its_number_by_chance_is_not_written_to(notice: str, way: str, tmp_path: Path) -> None:
    assert not provoke(NOTICES[notice], f"start(); {OPENED[way]}", tmp_path)


@pytest.mark.parametrize("way", [way for way in OPENED if "in C" not in way])
def test_nor_if_it_had_it_when_memwatch_was_started(way: str, tmp_path: Path) -> None:
    assert not provoke(NOTICES["userfaultfd closed"], f"{OPENED[way]}; start()", tmp_path)


@pytest.mark.parametrize("way", OPENED)
def test_nor_by_a_message_of_python_s(way: str, tmp_path: Path) -> None:
    assert not provoke(BY_PYTHON, f"start(); {OPENED[way]}", tmp_path)


def test_a_message_of_python_s_reaches_a_standard_error_that_python_has_opened_anew(tmp_path: Path) -> None:
    before = "import sys; start(); close(); sys.stderr = open('own', 'w'); os.dup2(os.open(os.devnull, os.O_RDWR), 9)"
    moved = "; sys.stderr = os.fdopen(os.dup(sys.stderr.fileno()), 'w')"
    assert "a message" in provoke(BY_PYTHON, before + moved, tmp_path)


def test_no_other_part_of_the_core_writes_to_standard_error() -> None:
    bare = re.compile(r"SYS_write,\s*2|dprintf\(|\bstderr\b|STDERR_FILENO|\bperror\(|\bwrite\(2")
    found = {path.name for path in CORE.rglob("*.c") if bare.search(path.read_text())}
    assert not found
    assert "SYS_write, STANDARD_ERROR" in (CORE / "base/messages.c").read_text()
