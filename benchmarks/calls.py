"""What a system call costs in processor time: one that has nothing to do with watched memory, and one that fills it."""

from __future__ import annotations

import sys
import tempfile

from benchmarks.answers import answering
from benchmarks.table import Row, in_turn

PROGRAM = """
import os, sys, time

small, large = bytearray(100), bytearray(1 << 16)
if sys.argv[1:]:
    from memwatch_core import config, watch
    from memwatch_core.adapter import process
    from memwatch_core.journal.session import create_session
    process.open_journal(create_session(sys.argv[1], []), config.load())
    small, large = watch(small, name="small"), watch(large, name="large")
zeros = open("/dev/zero", "rb", buffering=0)

def read(n=50_000, read=os.read, fd=zeros.fileno()):
    for _ in range(n):
        read(fd, 1)
    return n

def fill_small(n=5_000, fill=zeros.readinto):
    for _ in range(n):
        fill(small)
    return n

def fill_large(n=100, fill=zeros.readinto):
    for _ in range(n):
        fill(large)
    return n

def assign_large(n=100, bytes_=bytes(1 << 16)):
    for _ in range(n):
        large[:] = bytes_
    return n

for line in sys.stdin:
    start = time.thread_time_ns()
    turns = globals()[line.strip()]()
    print((time.thread_time_ns() - start) / turns, flush=True)
"""


def rows() -> list[Row]:
    """Measured in a process that watches two buffers and in one that never heard of us, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", PROGRAM]
        with answering([*command, folder]) as ours, answering(command) as theirs:

            def measure(what: str, times: int) -> tuple[float, float, float]:
                ours(what), theirs(what)
                return in_turn(lambda: ours(what), lambda: theirs(what), times)

            read, small = measure("read", 41), measure("fill_small", 21)
            large = in_turn(lambda: ours("fill_large"), lambda: ours("assign_large"), 21)
    return [
        Row("os.read of 1 byte into plain memory", read[0], "ns", "without us", read[1], 1.02, read[2]),
        Row("readinto a watched buffer of 100 bytes", small[0] / 1e3, "µs", "a plain one", small[1] / 1e3),
        Row("readinto a watched buffer of 64 KiB", large[0] / 1e3, "µs", "b[:] = bytes", large[1] / 1e3, 1.5, large[2]),
    ]
