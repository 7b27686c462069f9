"""Journals that the core writes, read while it writes, after it closed, and after its process was killed."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from decoding import SERIALIZERS

from memwatch_core import config
from memwatch_core.host.merge import SessionDecoder
from memwatch_core.journal.session import create_session
from memwatch_core.records import Event, Lost, Notice, Record, Unwatched, Watched

# What is watched, by an outsider's reader: a number that threads add to, bytes and a struct.
PROGRAM = """
import os, struct, sys, threading, time
from memwatch_core import watch
total = watch(0, name="total")
name = watch(bytearray(b"start"), name="name")
item = watch((3, 9.5), name="item", format="<qd", fields="qty price")
rate = watch(1.5, name="rate")
flag = watch(True, name="flag")
def work():
    for _ in range(2000):
        total.__iadd__(1)
threads = [threading.Thread(target=work, name=f"worker-{n}") for n in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
memoryview(name)[0:1] = b"S"
name += b"!"
item.qty = 4
struct.pack_into("<d", item, 8, 2.5)
rate += 1
flag.value = False
del rate
print("ready", flush=True)
sys.stdin.read()
"""


def start(folder: Path) -> subprocess.Popen[str]:
    config.save(config.load(), folder)
    environment = os.environ | {"MEMWATCH_SESSION": str(folder)}
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def check(records: list[Record], pid: int) -> None:
    """Everything that the program did, and nothing else."""
    assert not [record for record in records if isinstance(record, Lost)]
    watched = {record.variable.name: record for record in records if isinstance(record, Watched)}
    assert {name: record.value for name, record in watched.items()} == {
        "total": 0, "name": b"start", "item": (3, 9.5), "rate": 1.5, "flag": True,
    }  # fmt: skip
    events = [record for record in records if isinstance(record, Event)]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert {event.pid for event in events} == {pid}
    totals = [event for event in events if event.variable == "total"]
    assert [event.new for event in totals] == list(range(1, 6001))
    assert all(event.old == event.new - 1 for event in totals)
    assert {event.thread for event in totals} == {"worker-0", "worker-1", "worker-2"}
    assert {event.site.function for event in totals if event.site} == {"work"}
    names = [event for event in events if event.variable == "name"]
    assert (names[0].old, names[0].new, names[0].origin) == (b"start", b"Start", "store")
    assert (names[-1].new, names[-1].origin) == (b"Start!", "announced")
    items = [event for event in events if event.variable == "item"]
    # pack_into fills with zeros first: by memset, which is one store or two of the same bytes, as libc likes the CPU
    changed = [event.new for event in items if event.changed]
    if sys.version_info[:2] == (3, 14):  # its pack_into stores byte by byte
        assert changed[:1] + changed[-1:] == [(4, 9.5), (4, 2.5)]
        assert (4, 0.0) in changed
    else:
        assert changed == [(4, 9.5), (4, 0.0), (4, 2.5)]
        assert [event.new for event in items if not event.changed] in ([], [(4, 0.0)])
    assert (items[0].new.qty, items[0].origin, items[1].origin) == (4, "announced", "store")
    assert [(event.old, event.new) for event in events if event.variable in ("rate", "flag")] == [
        (1.5, 2.5),
        (True, False),
    ]
    assert next(record.variable for record in records if isinstance(record, Unwatched)) == "rate"
    assert all(event.exact for event in events)


@pytest.mark.parametrize("end", ["closed", "killed"])
def test_session_of_another_process_is_read_live_to_its_end(tmp_path: Path, end: str) -> None:
    folder = create_session(tmp_path, ["program"])
    process = start(folder)
    session = SessionDecoder(folder, SERIALIZERS)
    records: list[Record] = []
    try:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == "ready\n"
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not any(isinstance(record, Unwatched) for record in records):
            records += session.poll()
        for _ in range(5):
            records += session.poll()
        check(records, process.pid)
        assert not session.ended
    finally:
        if end == "killed":
            process.send_signal(signal.SIGKILL)
        process.communicate()
    deadline = time.monotonic() + 10
    while not session.ended and time.monotonic() < deadline:
        records += session.poll()
    assert session.ended
    last = records[-1]
    assert isinstance(last, Notice)
    assert end == "killed" or process.returncode == 0
    assert ("closed" if end == "closed" else "without closing") in last.text
    unwatched = [record.variable for record in records if isinstance(record, Unwatched)]
    assert len(unwatched) == (5 if end == "closed" else 1)
    again = [record for batch in SessionDecoder(folder, SERIALIZERS).batches() for record in batch]
    assert [r for r in again if isinstance(r, Event)] == [r for r in records if isinstance(r, Event)]
    check(again, process.pid)


def test_threads_that_store_to_one_word_from_c_are_read_without_a_gap(tmp_path: Path) -> None:
    """The core against the reader, with no proxy between: what one store left is what the next one found."""
    from memwatch_core.adapter import process as adapter
    from memwatch_core.native import core

    opened = adapter.open_journal(create_session(tmp_path, []), config.load(), list(SERIALIZERS.values()))
    try:
        page = core.lib.mw_page_alloc(1)
        number = core.lib.mw_register_page(page, 4096, core.TRACK_THREADS, (0, 2**64 - 1))
        assert number > 0
        address = int(core.ffi.cast("uintptr_t", page))
        word = ctypes.c_int64.from_address(address)
        for value in range(500):
            word.value = value
        ctypes.memset(address + 100, 7, 3000)
        core.lib.mw_unregister_page(number)
    finally:
        adapter.close_journal()
    records = [record for batch in SessionDecoder(opened.path, SERIALIZERS).batches() for record in batch]
    assert not [record for record in records if isinstance(record, Lost)]
    events = [record for record in records if isinstance(record, Event)]
    values = [int.from_bytes(event.new[:8], "little") for event in events if event.offset == 0]
    assert values == list(range(500))
    assert events[-1].new[100:3100] == b"\7" * 3000
    assert events[-1].variable == f"variable {number}"
