"""SIGSEGV and SIGBUS of the program itself reach whoever it wants, and end it as before, while values are watched."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from memwatch_core import config
from memwatch_core.host.merge import SessionDecoder
from memwatch_core.journal.session import create_session
from memwatch_core.records import Event, Lost

PROGRAM = """
import ctypes, faulthandler, mmap, os, signal, sys, tempfile, threading, time
from memwatch_core import watch
def watching():
    global view
    view = memoryview(watch(bytearray(8), name="x"))
    view[0] = 1
def store():
    for i in range(5):
        view[i] += 1
def crash():
    ctypes.string_at(8)
def crash_of_a_file():
    file = tempfile.TemporaryFile()
    file.truncate(4096)
    pages = mmap.mmap(file.fileno(), 4096)
    file.truncate(0)
    pages[0] = 1
calls = []
def handler(number, frame):
    calls.append(number)
def sent(*numbers):
    for number in numbers:
        os.kill(os.getpid(), number)
        time.sleep(0)
    return calls
"""
SEGMENTATION_FAULT = "Fatal Python error: Segmentation fault"
FINE = {
    "faulthandler before": "faulthandler.enable(); watching(); store()",
    "faulthandler after": "watching(); faulthandler.enable(); store()",
    "faulthandler disabled": "faulthandler.enable(); watching(); faulthandler.disable(); store()",
    "tracebacks asked for": "watching(); faulthandler.register(signal.SIGUSR1); sent(signal.SIGUSR1); store()",
    "tracebacks later": "watching(); faulthandler.dump_traceback_later(0.1); store(); time.sleep(0.3); store()",
    "handler before": """
for number in (signal.SIGSEGV, signal.SIGBUS): signal.signal(number, handler)
watching(); store()
assert sent(signal.SIGSEGV, signal.SIGBUS) == [signal.SIGSEGV, signal.SIGBUS]
store()
assert signal.getsignal(signal.SIGSEGV) is handler""",
    "handler after": """
watching()
for number in (signal.SIGSEGV, signal.SIGBUS): assert signal.signal(number, handler) == signal.SIG_DFL
store()
assert sent(signal.SIGSEGV, signal.SIGBUS, signal.SIGSEGV) == [signal.SIGSEGV, signal.SIGBUS, signal.SIGSEGV]
store()
assert signal.signal(signal.SIGSEGV, signal.SIG_IGN) is handler
sent(signal.SIGSEGV); store()""",
    "default after": """
watching(); signal.signal(signal.SIGSEGV, signal.SIG_DFL); signal.signal(signal.SIGBUS, signal.SIG_DFL)
store()""",
    "pointer by dlsym": """
watching()
libc = ctypes.CDLL(None)
libc.signal.restype = ctypes.c_void_p
ignore = ctypes.c_void_p(1)
assert libc.signal(signal.SIGSEGV, ignore) is None
assert libc.signal(signal.SIGBUS, ignore) is None
store(); sent(signal.SIGSEGV, signal.SIGBUS)
assert libc.signal(signal.SIGSEGV, None) == 1
action = ctypes.create_string_buffer(152)
assert libc.sigaction(signal.SIGBUS, None, action) == 0 and action.raw[0] == 1
assert libc.sigaction(signal.SIGBUS, bytes(152), None) == 0
store()""",
    "blocked in a thread": """
watching()
thread = threading.Thread(target=lambda: (signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()), store()))
thread.start(); thread.join(); store()""",
}
FATAL = {
    "plain": ("watching(); store(); crash()", signal.SIGSEGV, ""),
    "plain, sent": ("watching(); store(); sent(signal.SIGSEGV); time.sleep(5)", signal.SIGSEGV, ""),
    "plain, of a file": ("watching(); store(); crash_of_a_file()", signal.SIGBUS, ""),
    "faulthandler before": ("faulthandler.enable(); watching(); store(); crash()", signal.SIGSEGV, SEGMENTATION_FAULT),
    "faulthandler after": ("watching(); faulthandler.enable(); store(); crash()", signal.SIGSEGV, SEGMENTATION_FAULT),
    "faulthandler, of a file": (
        "watching(); faulthandler.enable(); store(); crash_of_a_file()",
        signal.SIGBUS,
        "Fatal Python error: Bus error",
    ),
    "faulthandler, sent": (
        "watching(); faulthandler.enable(); store(); sent(signal.SIGSEGV)",
        signal.SIGSEGV,
        SEGMENTATION_FAULT,
    ),
    "faulthandler in a thread": (
        "watching(); faulthandler.enable(); store(); t = threading.Thread(target=crash); t.start(); t.join()",
        signal.SIGSEGV,
        SEGMENTATION_FAULT,
    ),
    "faulthandler disabled": (
        "watching(); faulthandler.enable(); faulthandler.disable(); store(); crash()",
        signal.SIGSEGV,
        "",
    ),
    "default after a handler": (
        "signal.signal(11, handler); watching(); signal.signal(11, signal.SIG_DFL); store(); crash()",
        signal.SIGSEGV,
        "",
    ),
    "ignored": ("watching(); signal.signal(11, signal.SIG_IGN); store(); crash()", signal.SIGSEGV, ""),
}
TRACKERS = ("uffd-sigbus", "readonly", "uffd-queue")
ALWAYS = {
    "faulthandler disabled": "readonly",
    "handler before": "uffd-sigbus",
    "handler after": "readonly",
    "pointer by dlsym": "uffd-sigbus",
    "blocked in a thread": "uffd-queue",
    "plain": "readonly",
    "plain, sent": "uffd-sigbus",
    "faulthandler before": "readonly",
    "faulthandler after": "uffd-sigbus",
    "faulthandler, of a file": "uffd-queue",
    "plain, of a file": "uffd-queue",
}


def chosen(scenarios: Iterable[str]) -> list[tuple[str, str]]:
    """What differs most, each under one of the trackers; with MEMWATCH_SOAK everything under all."""
    if os.environ.get("MEMWATCH_SOAK"):
        return [(name, tracker) for name in scenarios for tracker in TRACKERS]
    return [(name, ALWAYS[name]) for name in scenarios if name in ALWAYS]


def run(tracker: str, what: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The program in a session of its own; whatever becomes of it, what it stored before is there."""
    session = create_session(folder, ["program"])
    config.save(config.load(), session)
    (folder / "program.py").write_text(PROGRAM + what)
    environment = {"MEMWATCH_SESSION": str(session), "MEMWATCH_CORE_TRACKER": tracker, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, folder / "program.py"], env=environment, capture_output=True, text=True, timeout=60
    )
    decoder = SessionDecoder(session, {})
    records = [record for batch in decoder.batches() for record in batch]
    decoder.close()
    events = [record for record in records if isinstance(record, Event)]
    assert len(events) == 1 + 5 * (what.count("store()") if done.returncode == 0 else 1), done.stderr
    assert not [record for record in records if isinstance(record, Lost)]
    return done


@pytest.mark.parametrize(("scenario", "tracker"), chosen(FINE), indirect=["tracker"])
def test_program_goes_on_with_its_own_signals(scenario: str, tracker: str, tmp_path: Path) -> None:
    done = run(tracker, FINE[scenario], tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("scenario", "tracker"), chosen(FATAL), indirect=["tracker"])
def test_crash_of_the_program_stays_its_crash(scenario: str, tracker: str, tmp_path: Path) -> None:
    what, number, said = FATAL[scenario]
    done = run(tracker, what, tmp_path)
    assert done.returncode == -number, done.stderr
    assert said in done.stderr
    assert ("Current thread" in done.stderr) == bool(said)
    if said and "sent" not in scenario:
        assert "in crash" in done.stderr


ON_WATCH = "resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2); watching(); store(); "
DUMPED = {
    "plain": "crash()",
    "of a file": "crash_of_a_file()",
    "sent": "os.kill(os.getpid(), signal.SIGSEGV); time.sleep(5)",
    "faulthandler": "faulthandler.enable(); crash()",
}
ASKED = (
    "p $_siginfo.si_signo", "p $_siginfo.si_code",
    "p $_siginfo.si_code > 0 ? $_siginfo._sifields._sigfault.si_addr : 0",
    "info symbol $pc", "x/i $pc",
)  # fmt: skip


def dumped(what: str, folder: Path, environment: dict[str, str]) -> list[str]:
    """What gdb says of the core dump that a crash leaves, without what differs in each process."""
    folder.mkdir()
    (folder / "program.py").write_text(f"import resource\n{PROGRAM}\n{what}")
    command = [sys.executable, "program.py"]
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=60, check=False)
    dumps = list(folder.glob("core*"))
    assert len(dumps) == 1, f"no core dump: {os.listdir(folder)}"
    asked = [part for question in ASKED for part in ("-ex", question)]
    gdb = ["gdb", "-batch", "-nx", *asked, sys.executable, str(dumps[0])]
    said = subprocess.run(gdb, capture_output=True, text=True, timeout=120, check=True).stdout.splitlines()
    answers = [line for line in said if line.startswith(("$", "=>")) or " in section " in line]
    assert len(answers) >= len(ASKED) - 1, said  # a stripped library has no symbol
    return [re.sub(r"0x[0-9a-f]{6,}|\+ \d+", "…", answer) for answer in answers]


@pytest.mark.parametrize("what", DUMPED)
def test_core_dump_shows_another_crash(what: str, tmp_path: Path) -> None:
    """The same signal, code, address and instruction as without a watch."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern != "core" or resource.getrlimit(resource.RLIMIT_CORE)[1] != resource.RLIM_INFINITY:
        pytest.skip(f"core dumps don't go to files here: core_pattern {pattern!r}, or RLIMIT_CORE is limited")
    if shutil.which("gdb") is None:
        pytest.skip("gdb isn't installed here")
    session = create_session(tmp_path / "sessions", ["program"])
    config.save(config.load(), session)
    environment = {"MEMWATCH_SESSION": str(session), "PATH": "/usr/bin:/bin"}
    unwatched = "def watching(): pass\ndef store(): pass\n"
    plain = dumped(unwatched + ON_WATCH + DUMPED[what], tmp_path / "plain", environment)
    assert dumped(ON_WATCH + DUMPED[what], tmp_path / "watched", environment) == plain
