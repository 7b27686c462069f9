"""Ten minutes at full rate: a writer or a host whose memory grows. MEMWATCH_SOAK only."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

SECONDS = 600
PROGRAM = """
import sys, threading, time
from memwatch_core import unwatch, watch

end = time.monotonic() + float(sys.argv[1])
numbers = [watch(0, name=f"number {n}") for n in range(4)]
text = watch(bytearray(200), name="text")
view = memoryview(text)

def announce(number):
    i = 0
    while time.monotonic() < end:
        for i in range(i, i + 1000):
            number.value = i

def store():
    while time.monotonic() < end:
        for i in range(1000):
            view[i % 200] = i & 255

def come_and_go():
    while time.monotonic() < end:
        for i in range(100):
            level = watch(i, name="level")
            level += 1
            level = unwatch(level)

work = [(announce, (number,)) for number in numbers] + [(store, ()), (come_and_go, ())]
threads = [threading.Thread(target=target, args=arguments) for target, arguments in work]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def memory(pid: int) -> int:
    """Private memory of a process, in KiB: the journal's pages belong to the page cache."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(number) for number in re.findall(r"^Private_\w+:\s+(\d+) kB", text, re.MULTILINE))


@pytest.mark.skipif(not os.environ.get("MEMWATCH_SOAK"), reason="takes ten minutes: make soak")
def test_ten_minutes_at_full_rate_take_no_more_memory_than_one(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "memwatch.toml").write_text(
        "[journal]\nmax_bytes = 67108864\n[plugins]\nsinks = ['jsonl']\n[sinks.jsonl]\npath = '/dev/null'\n"
    )
    run = [sys.executable, "-m", "memwatch_core.cli", "run", "program.py", str(SECONDS)]
    with subprocess.Popen(run, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as host:
        samples: list[tuple[int, int]] = []
        started = time.monotonic()
        while host.poll() is None:
            time.sleep(10)
            children = Path(f"/proc/{host.pid}/task/{host.pid}/children").read_text().split()
            if not children or time.monotonic() - started > SECONDS - 5:
                continue
            samples.append((memory(host.pid), memory(int(children[0]))))
        assert host.stderr is not None
        said = host.stderr.read()
    assert host.returncode == 0, said
    print(said, samples)
    assert "nothing lost" in said
    warm = samples[5]  # after a minute
    assert all(late[0] < warm[0] + 16_384 and late[1] < warm[1] + 16_384 for late in samples[6:]), samples
