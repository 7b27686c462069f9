"""A fork while MemWatch starts in another thread, one in the midst of other libraries' fork handlers, and one whose
child has its parent's descriptors: somebody hangs, dies, or goes unseen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from memwatch_core import config as configuration
from memwatch_core.host import history
from memwatch_core.journal.session import create_session
from memwatch_core.records import Event

HERE = Path(__file__).parent

HEAD = """
import ctypes, os, signal, sys, threading, time
signal.alarm(60)
library = ctypes.CDLL(sys.argv[1])

def fork(child):
    pid = os.fork()
    if not pid:
        signal.alarm(30)
        os._exit(not child())
    return os.waitpid(pid, 0)[1]
"""

STARTING = """
import memwatch_core
memwatch_core.watch

def first():
    value = memwatch_core.watch(0, name="value")
    value += 1
    return value == 1

thread = threading.Thread(target=first)
thread.start()
while not library.is_starting():
    time.sleep(0.001)
assert fork(first) == 0
thread.join()
"""

IMPORTING = """
import memwatch_core
importing = threading.Event()

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[2] and not importing.is_set():
            importing.set()
            time.sleep(0.3)

def first():
    value = memwatch_core.watch(0, name="value")
    value += 1
    return value == 1

sys.meta_path.insert(0, Slow())
thread = threading.Thread(target=first)
thread.start()
importing.wait()
assert fork(first) == 0
thread.join()
"""

WATCHED = """
from memwatch_core import watch
value = watch(bytearray(16), name="value")
at = ctypes.addressof(ctypes.c_char.from_buffer(value))
library.handle.argtypes = [ctypes.c_void_p, *[ctypes.c_bool] * 4]
library.clone_that_shares_files.argtypes = [ctypes.c_void_p, ctypes.c_bool]
"""

HANDLERS = (
    WATCHED
    + """
before, parent, child = map(int, sys.argv[2:])
library.handle(at, before, parent, child, False)

def seen():
    value[6] = 7
    return bytes(value[:7]) == bytes([before * number, parent * (number - 1), child, 0, 0, 0, 7])

for number in 1, 2, 3:
    assert fork(seen) == 0, number
    assert bytes(value[:7]) == bytes([before * number, parent * number, 0, 0, 0, 0, 0]), number
"""
)

POOL = (
    WATCHED
    + """
library.signals_blocked.restype = ctypes.c_ulong
library.handle(at, False, False, False, True)
for number in range(20):
    time.sleep(0.002)
    # The pool had stopped when the child was made: what it stored last is there.
    assert fork(lambda: value[3] == library.last_stored()) == 0, number
library.handle(at, False, False, False, False)
library.stop_pool()
assert library.signals_blocked() == 0, hex(library.signals_blocked())
"""
)

FILES = (
    WATCHED
    + """
assert library.clone_that_shares_files(at, sys.argv[2] == "syscall") == 10
assert value[4] == 0 and value[5] == 100
"""
)


def run(
    source: str, tmp_path: Path, tracker: str, *arguments: object, library: str = "fork_handlers", preload: bool = False
) -> list[Event]:
    """Runs a program in a session of its own; the events of its first process."""
    built = tmp_path / f"{library}.so"
    flags = ["-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, HERE / f"{library}.c", "-o", built], check=True)
    settings = configuration.load(
        overrides={"core": {"tracker": tracker}, "journal": {"folder": str(tmp_path / "sessions")}}
    )
    session = create_session(settings.journal.folder, ["program"])
    configuration.save(settings, session)
    environment = {**os.environ, "MEMWATCH_SESSION": str(session)} | ({"LD_PRELOAD": str(built)} if preload else {})
    program = [sys.executable, "-c", HEAD + source, str(built), *map(str, arguments)]
    with subprocess.Popen(program, env=environment, stderr=subprocess.PIPE, text=True) as ran:
        errors = ran.communicate(timeout=120)[1]
    assert ran.returncode == 0, errors[-3000:]
    records = [record for batch in history.read(session, lambda text: None) for record in batch]
    own = f"{ran.pid}-"
    return [record for record in records if isinstance(record, Event) and record.journal.startswith(own)]


def test_a_child_forked_during_the_first_start_can_watch(tracker: str, tmp_path: Path) -> None:
    assert len(run(STARTING, tmp_path, tracker, library="slow_start", preload=True)) == 1


@pytest.mark.parametrize("module", ["memwatch_core.adapter.watch", "memwatch_core.adapter.process"])
def test_a_child_forked_while_another_thread_imports_can_watch(module: str, tmp_path: Path) -> None:
    assert len(run(IMPORTING, tmp_path, "auto", module)) == 1


@pytest.mark.parametrize("handler", ["before", "in parent", "in child"])
def test_another_library_s_fork_handlers_may_store(handler: str, tracker: str, tmp_path: Path) -> None:
    which = [int(handler == each) for each in ("before", "in parent", "in child")]
    events = run(HANDLERS, tmp_path, tracker, *which)
    assert len(events) == (0 if handler == "in child" else 3)


def test_a_pool_may_end_before_a_fork_and_begin_after_it(tracker: str, tmp_path: Path) -> None:
    assert run(POOL, tmp_path, tracker)


@pytest.mark.parametrize("way", ["clone", "syscall"])
def test_a_child_that_shares_its_parent_s_descriptors_leaves_them_open(way: str, tracker: str, tmp_path: Path) -> None:
    assert len(run(FILES, tmp_path, tracker, way)) == 100
