"""A watched buffer that the kernel fills holds what a plain one would, and its events say which call brought it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import select
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journals import Opened

from memwatch_core import watch
from memwatch_core.adapter.watch import variable
from memwatch_core.journal.layout import CALLS

SIZE = 9000
QUICK = settings(
    deadline=None,
    max_examples=300 if os.environ.get("MEMWATCH_SOAK") else 30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
DATA = random.Random(7).randbytes(1 << 16)


@pytest.fixture(scope="module")
def source() -> Iterator[int]:
    """A file of DATA, open for reading."""
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(DATA)
        yield file.fileno()


def slices(buffer: memoryview, plan: list[tuple[int, int]]) -> list[memoryview]:
    return [buffer[at : at + size] for at, size in plan]


def read_file(buffer: memoryview, source: int, plan: list[tuple[int, int]], offset: int) -> Any:
    os.lseek(source, offset, os.SEEK_SET)
    with open(source, "rb", buffering=0, closefd=False) as file:
        return [file.readinto(part) for part in slices(buffer, plan)], os.lseek(source, 0, os.SEEK_CUR)


def read_buffered(buffer: memoryview, source: int, plan: list[tuple[int, int]], offset: int) -> Any:
    os.lseek(source, offset, os.SEEK_SET)
    with open(source, "rb", buffering=512, closefd=False) as file:
        return [file.readinto(part) for part in slices(buffer, plan)]


def read_vector(buffer: memoryview, source: int, plan: list[tuple[int, int]], offset: int) -> Any:
    plain = bytearray(100)
    return os.preadv(source, [*slices(buffer, plan), plain], offset), plain


def receive(buffer: memoryview, source: int, plan: list[tuple[int, int]], offset: int) -> Any:
    here, there = socket.socketpair()
    with here, there:
        here.sendall(DATA[offset : offset + 6000])
        here.shutdown(socket.SHUT_WR)
        return [there.recv_into(part) if len(part) else None for part in slices(buffer, plan)], there.recv(10000)


def receive_datagrams(buffer: memoryview, source: int, plan: list[tuple[int, int]], offset: int) -> Any:
    here, there = socket.socketpair(type=socket.SOCK_DGRAM)
    with here, there:
        for i in range(3):
            here.send(DATA[offset + i : offset + i + 700 * i + 10])
        first = there.recvmsg_into(slices(buffer, plan))
        return first, there.recvfrom_into(buffer[50:1000]), there.recvmsg(5000)


CALLERS: list[Callable[[memoryview, int, list[tuple[int, int]], int], Any]] = [
    read_file, read_buffered, read_vector, receive, receive_datagrams,
]  # fmt: skip
PLANS = st.lists(st.tuples(st.integers(0, SIZE), st.integers(0, 300) | st.integers(0, SIZE)), min_size=1, max_size=4)


@QUICK
@given(st.lists(st.tuples(st.sampled_from(CALLERS), PLANS, st.integers(0, 50000)), min_size=1, max_size=6))
def test_watched_buffer_fills_as_a_plain_one_does(
    journal: Opened, source: int, steps: list[tuple[Callable[..., Any], list[tuple[int, int]], int]]
) -> None:
    watched, plain = watch(bytearray(SIZE), name="watched"), bytearray(SIZE)
    view, twin = memoryview(watched), memoryview(plain)
    for call, plan, offset in steps:
        assert call(view, source, plan, offset) == call(twin, source, plan, offset)
        assert view == twin
        twin[offset % SIZE] = view[offset % SIZE] = 1  # a store between the calls
    memory = bytearray(SIZE)
    for store in journal.stores(watched):
        at = store.offset - 8  # behind the length
        assert memory[at : at + len(store.before)] == store.before
        memory[at : at + len(store.after)] = store.after
        assert (store.origin == "syscall") == (store.call is not None)
        assert store.exact
    assert memory == plain


def test_event_names_the_call_its_descriptor_and_all_its_bytes(journal: Opened, source: int) -> None:
    x, y = watch(bytearray(100), name="x"), watch(0, name="y")
    plain = bytearray(20)
    assert os.preadv(source, [memoryview(x)[10:20], plain, y], 0) == 38
    (into_x,), (into_y,) = journal.stores(x), journal.stores(y)
    assert into_x.call == into_y.call
    assert into_x.call is not None
    number, fd, count = into_x.call
    assert (CALLS[number], fd, count) == ("preadv2", source, 38) or (CALLS[number], fd, count) == ("preadv", source, 38)
    assert (into_x.offset, into_x.after, into_y.after) == (18, DATA[:10], DATA[30:38])
    assert y == int.from_bytes(DATA[30:38], "little", signed=True)


def test_errors_stay_errors_and_make_no_event(journal: Opened) -> None:
    x = watch(bytearray(8), name="x")
    read, write = os.pipe()
    os.set_blocking(read, False)
    with open(read, "rb", buffering=0) as file:
        assert file.readinto(x) is None  # nothing there yet
        os.close(write)
        assert file.readinto(x) == 0
    with pytest.raises(OSError, match="Bad file descriptor") as raised:
        os.readv(read, [x])
    assert raised.value.errno == errno.EBADF
    assert not journal.stores(x)


def test_timeout_of_a_socket_still_ends_the_wait(journal: Opened) -> None:
    x = watch(bytearray(8), name="x")
    here, there = socket.socketpair()
    with here, there:
        there.settimeout(0.02)
        with pytest.raises(TimeoutError):
            there.recv_into(x)
        here.send(b"late")
        assert select.select([there], [], [], 5)[0]
        assert there.recv_into(x) == 4
    assert [store.after for store in journal.stores(x)] == [b"late"]


def test_threads_that_wait_for_bytes_hold_nobody_up(journal: Opened) -> None:
    """A thread blocks in the kernel while others write to the very page; its bytes come when they come."""
    x = watch(bytearray(64), name="x")
    here, there = socket.socketpair()
    reader = threading.Thread(target=lambda: there.recv_into(memoryview(x)[32:]), name="reader")
    with here, there:
        reader.start()
        for i in range(200):
            memoryview(x)[i % 32] = i % 256
        here.send(b"now")
        reader.join()
    (filled,) = [store for store in journal.stores(x) if store.origin == "syscall"]
    assert (filled.after, filled.offset, filled.tid) == (b"now", 40, reader.native_id)
    assert len(journal.stores(x)) == 201


PROGRAM = """
import os, sys
from memwatch_core import watch
rate, line = watch(0, name="rate"), watch(bytearray(16), name="line")
with open(sys.argv[1], "rb", buffering=0) as file:
    file.readinto(line)
    os.preadv(file.fileno(), [rate], 3)
    import _lzma, sqlite3, mmap  # modules in C that are loaded later
    print(file.fileno(), rate.value, bytes(line))
"""


@pytest.mark.parametrize("tracker", ["uffd-sigbus", "readonly"] if os.environ.get("MEMWATCH_SOAK") else ["readonly"])
def test_sinks_say_which_call_filled_a_value(tracker: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "data").write_bytes(DATA[:100])
    command = [sys.executable, "-m", "memwatch_core.cli", "run", "--sink", "console", "--sink", "jsonl",
               "program.py", "data"]  # fmt: skip
    environment = os.environ | {"MEMWATCH_CORE_TRACKER": tracker, "MEMWATCH_SINKS_JSONL_PATH": "events.jsonl"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    fd = done.stdout.split()[0]
    lines = [json.loads(text) for text in (tmp_path / "events.jsonl").read_text().splitlines()]
    events = [line for line in lines if "seq" in line]
    assert [(e["variable"], e["origin"], e["site"]["line"], e["call"]["fd"], e["call"]["bytes"]) for e in events] == [
        ("line", "syscall", 6, int(fd), 16),
        ("rate", "syscall", 7, int(fd), 8),
    ]
    assert events[1]["new"] == int.from_bytes(DATA[3:11], "little", signed=True)
    assert events[0]["call"]["name"] == "read"
    assert f"program.py:6  <module>  read({fd}) = 16" in done.stderr


def test_call_ends_early_when_a_signal_handler_raises(journal: Opened) -> None:
    import signal

    class Enough(Exception):
        pass

    def stop(*_: object) -> None:
        raise Enough

    x = watch(bytearray(8), name="x")
    read, write = os.pipe()
    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with open(read, "rb", buffering=0) as file, contextlib.suppress(Enough):
            file.readinto(x)
            pytest.fail("nothing could be read")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        os.close(write)
    assert not journal.stores(x)
    assert variable(x).id
