"""kill -9: a store to a place whose effect another process has seen, and that the journal doesn't hold.

The program says, in memory that it shares with the killer, each value that it has stored, right behind the store.
MEMWATCH_SOAK: 100 runs."""

from __future__ import annotations

import itertools
import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from memwatch_core import config
from memwatch_core.host.merge import SessionDecoder
from memwatch_core.journal.session import create_session
from memwatch_core.records import Event, Lost

RUNS = 100 if os.environ.get("MEMWATCH_SOAK") else 3
PLACES = ("order.n", "slots.n", 'config["n"]', 'whole["n"]')
PROGRAM = """
import mmap, struct, sys, threading
from memwatch_core import watch, watch_place

class Order:
    pass

class Slots:
    __slots__ = ("n",)

order, slots, config, whole = Order(), Slots(), {}, {}
watch_place(order, "n")
watch_place(slots, "n")
watch_place(config, "n")
watch(whole, name="whole")
with open(sys.argv[1], "r+b") as file:
    shared = mmap.mmap(file.fileno(), 0)
done = memoryview(shared).cast("q")

def attributes(owner, at):
    for i in range(1, 1 << 40):
        owner.n = i
        done[at] = i

def keys(owner, at):
    for i in range(1, 1 << 40):
        owner["n"] = i
        done[at] = i

sys.setswitchinterval(1e-5)
for at, (work, owner) in enumerate(((attributes, order), (attributes, slots), (keys, config), (keys, whole))):
    threading.Thread(target=work, args=(owner, at)).start()
"""


def run_and_kill(folder: Path, shared: Path, delay: float) -> tuple[int, ...]:
    """What had been stored, as the killer saw it last."""
    shared.write_bytes(bytes(mmap.PAGESIZE))
    with shared.open("r+b") as file, mmap.mmap(file.fileno(), 0) as done:
        command = [sys.executable, "-c", PROGRAM, str(shared)]
        with subprocess.Popen(command, env=os.environ | {"MEMWATCH_SESSION": str(folder)}) as process:
            try:
                while not any(struct.unpack_from("4q", done)) and process.poll() is None:
                    time.sleep(0.001)
                time.sleep(delay)
            finally:
                process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
        seen: tuple[int, ...] = struct.unpack_from("4q", done)
        return seen


@pytest.mark.parametrize("tracker", ["uffd-sigbus", "readonly"])
def test_what_was_stored_before_a_kill_is_in_the_journal(tmp_path: Path, tracker: str) -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    print(f"seed {seed}")
    stored = 0
    for _ in range(RUNS):
        folder = create_session(tmp_path / "sessions", [])
        config.save(config.load(overrides={"core": {"tracker": tracker}}), folder)
        seen = run_and_kill(folder, tmp_path / "shared", rng.random() * 0.1)
        records = [record for batch in SessionDecoder(folder, {}).batches() for record in batch]
        lost = [record for record in records if isinstance(record, Lost)]
        assert all("being written when the process ended" in record.reason for record in lost), lost
        for place, value in zip(PLACES, seen, strict=True):
            parts = [
                record.part
                for record in records
                if isinstance(record, Event) and record.part and record.variable + record.part.name == place
            ]
            assert [part.new for part in parts] == list(range(1, len(parts) + 1)), "a store without an event"
            assert all(a.new == b.old for a, b in itertools.pairwise(parts))
            assert len(parts) >= value, f"{place}: {value} was stored, {len(parts)} recorded"
            stored += value
    assert stored > RUNS, "nothing was stored: the test shows nothing"
