"""A program that writes at random to watched values and says so itself, and what follows from what it said. Nothing
here reads a journal.

Each line that a process says is one write: ``[variable, first byte, bytes, thread, line]``; its number is that of the
event. Bytes are those of the value in its page.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAM = r"""
import json, os, random, struct, sys, threading, signal
from memwatch_core import watch

folder, seed, writes, ends = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
draw = random.Random(seed)
total = watch(0, name="total")
price = watch(1.5, name="price")
order = watch((3, 9.5, b"abcd"), format="<qd4s", fields="qty, price, tag", name="order")
grid = watch((0, 0, 0, 0, 0, 0), format="<6i", name="grid")
data = watch(bytearray(range(40)), name="data", capacity=56)
lock = threading.Lock()
said, count = None, 0

def begin():
    global said, count
    said = open(f"{folder}/{os.getpid()}", "a", buffering=1)
    said.write(json.dumps(["begins", os.getppid(), count]) + "\n")
    count = 0

def say(name, first, data, line):
    global count
    count += 1
    said.write(json.dumps([name, first, data.hex(), threading.current_thread().name, line]) + "\n")

def write_total():
    number = draw.randrange(-5, 9)
    total.value = number
    say("total", 0, struct.pack("<q", number), sys._getframe().f_lineno - 1)

def add_total():
    total.value = total + 3
    say("total", 0, struct.pack("<q", int(total)), sys._getframe().f_lineno - 1)

def write_price():
    number = draw.random()
    price.value = number
    say("price", 0, struct.pack("<d", number), sys._getframe().f_lineno - 1)

def write_qty():
    number = draw.randrange(1 << 40)
    order.qty = number
    say("order", 0, struct.pack("<q", number), sys._getframe().f_lineno - 1)

def write_tag():
    tag = bytes(draw.choices(b"abcdef", k=4))
    order.tag = tag
    say("order", 16, tag, sys._getframe().f_lineno - 1)

def write_grid():
    at, number = draw.randrange(6), draw.randrange(1000)
    grid[at] = number
    say("grid", 4 * at, struct.pack("<i", number), sys._getframe().f_lineno - 1)

def write_view():
    at = draw.randrange(40)
    byte = draw.randrange(256)
    with memoryview(data) as view:
        view[at] = byte
    say("data", 8 + at, bytes([byte]), sys._getframe().f_lineno - 1)

def write_slice():
    at = draw.randrange(40)
    piece = draw.randbytes(draw.randrange(1, 41 - at))
    data[at:at + len(piece)] = piece
    say("data", 8 + at, piece, sys._getframe().f_lineno - 1)

WAYS = [write_total, add_total, write_price, write_qty, write_tag, write_grid, write_view, write_slice]

def work(count):
    for _ in range(count):
        with lock:
            draw.choice(WAYS)()

def several(most):
    threads = [threading.Thread(target=work, args=(min(most, writes // 4),), name=f"worker-{n}") for n in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]

begin()
work(writes // 4)
child = os.fork()
if not child:
    begin()
    several(100)
    if ends == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(0)
several(writes)
os.waitpid(child, 0)
"""

SIZES = {"total": 8, "price": 8, "order": 20, "grid": 24, "data": 48}
FIRST = {
    "total": struct.pack("<q", 0),
    "price": struct.pack("<d", 1.5),
    "order": struct.pack("<qd4s", 3, 9.5, b"abcd"),
    "grid": bytes(24),
    "data": struct.pack("<q", 40) + bytes(range(40)),
}


@dataclass
class Process:
    """What a process said."""

    pid: int
    first: dict[str, bytearray]
    writes: list[tuple[str, int, bytes, str, int]] = field(default_factory=list)

    def at(self, seq: int) -> dict[str, bytearray]:
        """The bytes of each variable after so many writes."""
        now = {name: bytearray(data) for name, data in self.first.items()}
        for name, first, data, _, _ in self.writes[:seq]:
            now[name][first : first + len(data)] = data
        return now

    def authors(self, seq: int, since: int = 0) -> dict[str, list[int]]:
        """For each byte the number of the write that wrote it last, 0 for none."""
        found = {name: [0] * len(data) for name, data in self.first.items()}
        for number, (name, first, data, _, _) in enumerate(self.writes[:seq], 1):
            if number > since:
                found[name][first : first + len(data)] = [number] * len(data)
        return found

    def counts(self, seq: int, since: int = 0) -> dict[str, list[int]]:
        """For each byte how often it was written."""
        found = {name: [0] * len(data) for name, data in self.first.items()}
        for name, first, data, _, _ in self.writes[since:seq]:
            for at in range(first, first + len(data)):
                found[name][at] += 1
        return found

    def lines(self, seq: int) -> dict[str, list[set[int]]]:
        """For each byte the lines that wrote it."""
        found: dict[str, list[set[int]]] = {name: [set() for _ in data] for name, data in self.first.items()}
        for name, first, data, _, line in self.writes[:seq]:
            for at in range(first, first + len(data)):
                found[name][at].add(line)
        return found


def read(folder: Path) -> dict[int, Process]:
    """The processes by pid: what each said."""
    told = {int(file.name): [json.loads(line) for line in file.read_text().splitlines()] for file in folder.iterdir()}
    found: dict[int, Process] = {}
    for pid in sorted(told, key=lambda pid: told[pid][0][1] in told):  # parents first
        (_, parent, before), *writes = told[pid]
        process = Process(pid, {name: bytearray(data) for name, data in FIRST.items()})
        process.writes = [
            (name, first, bytes.fromhex(data), thread, line) for name, first, data, thread, line in writes
        ]
        found[pid] = process
        if parent in found:
            process.first = found[parent].at(before)
    return found


def decoded(name: str, data: bytes) -> Any:
    """A value as JSON has it."""
    if name in ("total", "price"):
        return struct.unpack("<q" if name == "total" else "<d", data)[0]
    if name == "order":
        qty, price, tag = struct.unpack("<qd4s", data)
        return {"qty": qty, "price": price, "tag": tag.hex()}
    if name == "grid":
        return list(struct.unpack("<6i", data))
    return bytes(data[8:48]).hex()
