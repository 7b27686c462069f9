"""With core.kernel_writes = "all", a raw system call into a watched buffer succeeds and is an event."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from trackers import need

PROGRAM = """
import ctypes, os, sys
from memwatch_core import watch
count = watch(5, name="count")
data = watch(bytearray(64), name="data")
libc = ctypes.CDLL(None, use_errno=True)
read, write = os.pipe()
os.write(write, b"from the kernel")
buffer = (ctypes.c_char * 64).from_buffer(data)
assert libc.syscall(0, read, buffer, 15) == 15
data[20:23] = b"own"
count += 1
memoryview(data)[30] = 7
assert bytes(data[:31]) == b"from the kernel".ljust(20, b"\\0") + b"own".ljust(10, b"\\0") + b"\\7", bytes(data)
"""


CONFIG = """
[core]
kernel_writes = "all"
[plugins]
sinks = ["jsonl"]
[sinks.jsonl]
path = "events.jsonl"
"""


def test_raw_system_call_into_a_buffer_goes_unreported(tmp_path: Path) -> None:
    need("uffd-queue")
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "memwatch.toml").write_text(CONFIG)
    command = [Path(sys.executable).with_name("memwatch"), "run", "program.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    stores = [event for event in events if "origin" in event]
    kernel = [event for event in stores if event["origin"] == "kernel"]
    found = [(event["variable"], event["offset"], bytes.fromhex(event["after"])) for event in kernel]
    assert found == [("data", 8, b"from the kernel")]  # behind its length
    assert kernel[0]["call"]["name"] == "read"
    assert not kernel[0]["exact"]
    assert {event["exact"] for event in stores if event["origin"] != "kernel"} == {True}
    assert [event["new"] for event in stores if event["variable"] == "count"] == [6]
