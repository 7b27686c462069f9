"""Confined: a sandbox or limit under which writes go unseen, the program breaks, or nobody says what is missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from trackers import need

WATCHES = """
import json, os, sys
import memwatch_core, memwatch_core.native.core as core
from memwatch_core import watch
import sandbox

{confine}
events = []
class Sink:
    def write(self, records): events.extend(type(each).__name__ for each in records)
    def flush(self): pass
    def close(self): pass

with memwatch_core.session(folder=sys.argv[1], sinks=[Sink()]):
    count, data = watch(0, name="count"), watch(bytearray(8), name="data")
    for _ in range(10):
        count += 1                      # announced
    memoryview(data)[3] = 7             # a store
    child = os.fork()
    if not child:
        count += 1
        memoryview(data)[4] = 7
        os._exit(0 if count == 11 and data[3:5] == b"\\x07\\x07" else 1)
    status = os.waitpid(child, 0)[1]
    assert (status, count, data[4]) == (0, 10, 0), (status, count, data[4])
    chosen = core.lib.mw_tracker_name()
print(json.dumps({{"tracker": core.ffi.string(chosen).decode(), "events": events.count("Event")}}))
"""

BOTH, FALLBACK = ("uffd-sigbus", "readonly"), ("readonly",)
CONFINED: dict[str, tuple[str, tuple[str, ...]]] = {
    "not at all": ("", BOTH),
    "an ordinary user": ("sandbox.drop_capabilities()", BOTH),
    "no userfaultfd": ("sandbox.refuse('userfaultfd')", FALLBACK),
    "no memfd with exec": ("sandbox.refuse('memfd with exec')", BOTH),
    "no anonymous shared memory": ("sandbox.refuse('anonymous shared memory')", BOTH),
    "nor a memfd with exec": ("sandbox.refuse('anonymous shared memory', 'memfd with exec')", BOTH),
    "no memfd": ("sandbox.refuse('memfd')", BOTH),
    "neither": ("sandbox.refuse('userfaultfd', 'memfd'); sandbox.drop_capabilities()", FALLBACK),
    "512 MiB of address space": ("sandbox.limit('AS', 512 << 20)", BOTH),
    "no locked memory": ("sandbox.limit('MEMLOCK', 0)", BOTH),
    "a small /dev/shm": ("sandbox.shrink_shm()", BOTH),
}


def run(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "NO_COLOR": "1", "COLUMNS": "200"}
    environment["HOME"] = "/proc"  # where nothing can be made
    command = [sys.executable, "-c", program, str(folder)]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", CONFINED)
def test_write_is_missed_or_auto_picks_another_tracker_than_documented(name: str, tmp_path: Path) -> None:
    confine, trackers = CONFINED[name]
    done = run(WATCHES.format(confine=confine), tmp_path)
    if name == "a small /dev/shm" and "PermissionError" in done.stderr:
        pytest.skip("mounting needs a privilege that this machine doesn't give")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["events"] >= 11 + 2, "an event of the parent or of the forked child is missing"
    assert found["tracker"] in trackers


def test_refused_executable_memory_is_not_explained(tmp_path: Path) -> None:
    start = "import memwatch_core.native.core as core, sandbox; sandbox.refuse('executable memory'); core.start('auto')"
    done = run(start, tmp_path)
    assert done.returncode == 1
    assert "executable memory was refused" in done.stderr.splitlines()[-1]


def test_promise_about_all_writes_of_the_kernel_is_given_up_silently(tmp_path: Path) -> None:
    (tmp_path / "memwatch.toml").write_text('[core]\nkernel_writes = "all"')
    done = run("import sandbox; sandbox.refuse('userfaultfd'); from memwatch_core import watch; x = watch(1)", tmp_path)
    assert done.returncode == 1
    assert "uffd-queue" in done.stderr.splitlines()[-1], done.stderr


def test_too_little_address_space_is_not_explained(tmp_path: Path) -> None:
    little = "sandbox.limit('AS', 4096 * int(open('/proc/self/statm').read().split()[0]) + (24 << 20))"
    done = run(WATCHES.format(confine=little), tmp_path)
    assert done.returncode == 1
    assert "RLIMIT_AS" in done.stderr, done.stderr


def test_limit_of_file_sizes_is_not_explained(tmp_path: Path) -> None:
    """Pages need no file; the journal does."""
    program = "import sandbox; sandbox.limit('FSIZE', 32 << 10); from memwatch_core import watch; x = watch(0); x += 1"
    done = run(program, tmp_path)
    assert "(ulimit -f)" in done.stderr, done.stderr
    assert "RLIMIT_AS" not in done.stderr


def test_valgrind_is_not_named(tmp_path: Path) -> None:
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        pytest.skip("valgrind isn't installed here")
    command = [valgrind, "-q", sys.executable, "-c", "import memwatch_core.native.core as core; core.start('auto')"]
    environment = os.environ | {"PYTHONMALLOC": "malloc"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    assert "valgrind runs this program" in done.stderr


def test_doctor_calls_a_machine_unfit_that_serves(tmp_path: Path) -> None:
    confined = "import sandbox, sys; sandbox.refuse('userfaultfd', 'memfd'); sandbox.limit('AS', 1 << 30); "
    done = run(confined + "from memwatch_core.cli import main; main(['doctor'])", tmp_path)
    said = " ".join(done.stdout.split())
    assert "anonymous memory can be shared, and executable" in said
    assert "RLIMIT_AS allows 1,024 MiB" in said
    assert "starts, with tracker readonly" in said
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("asked", ["", "tracker = 'uffd-sigbus'", "kernel_writes = 'all'"])
def test_doctor_alarms_only_where_what_was_asked_for_can_t_work(tmp_path: Path, asked: str) -> None:
    (tmp_path / "memwatch.toml").write_text(f"[core]\n{asked}\n")
    confined = "import sandbox; sandbox.refuse('userfaultfd'); "
    done = run(confined + "from memwatch_core.cli import main; main(['doctor'])", tmp_path)
    states = [line.split()[0] for line in done.stdout.splitlines() if line and not line.startswith(" ")]
    if not asked:
        assert {*states} <= {"ok", "note", "MemWatch"}
        assert states.count("note") >= 2, "what isn't there is told"
        assert "->" not in done.stdout
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "MemWatch works here.")
    else:
        assert states.count("PROBLEM") == 1, "one cause, one problem"
        assert f"asked for by core.{asked.split()[0]}, which was set by" in done.stdout
        assert "-> " in done.stdout
        assert done.returncode == 1


NO_THREAD = """
import os, sys
import memwatch_core, sandbox
from memwatch_core import watch

events, lost = [], []
class Sink:
    def write(self, records):
        events.extend(each for each in records if type(each).__name__ == "Event")
        lost.extend(each for each in records if type(each).__name__ == "Lost")
    def flush(self): pass
    def close(self): pass

with memwatch_core.session(folder=sys.argv[1], sinks=[Sink()]):
    count, data = watch(0, name="count"), watch(bytearray(8), name="data")
    count += 1
    sandbox.refuse("threads")
    child = os.fork()
    if not child:
        count += 1
        memoryview(data)[4] = 7
        more = watch(5, name="more")
        more += 1
        os._exit(0 if (count, data[4], more) == (2, 7, 6) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert (count, data[4]) == (1, 0)
assert not lost
assert [each.variable for each in events if each.pid == child] == ["count", "data", "more"], events
"""


def test_a_child_that_may_not_start_the_tracker_s_thread_keeps_its_values(tmp_path: Path) -> None:
    need("uffd-queue")
    done = run("import os; os.environ['MEMWATCH_CORE_TRACKER'] = 'uffd-queue'" + NO_THREAD, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "uffd-queue doesn't work here (Operation not permitted): what the kernel writes" in done.stderr
    assert "not watched" not in done.stderr


def test_refused_thread_is_named_as_such(tmp_path: Path) -> None:
    need("uffd-queue")
    start = "import memwatch_core.native.core as core, sandbox; sandbox.refuse('threads'); core.start('uffd-queue')"
    done = run(start, tmp_path)
    assert "a thread of its own, which was refused: raise RLIMIT_NPROC" in done.stderr
    assert "Operation not permitted" in done.stderr
