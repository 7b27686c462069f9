"""Neighbours: a debugger, profiler or scheduler beside which writes go unseen or lines are wrong, or that breaks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
PROGRAM = """
import json, sqlite3, sys
import memwatch_core
from memwatch_core import watch

class Sink:
    def __init__(self): self.events = []
    def write(self, records): self.events += [each for each in records if type(each).__name__ == "Event"]
    def flush(self): pass
    def close(self): pass

sink = Sink()
{setup}
options = {{"watch": {{"track_sql": True}}, "plugins": {{"sql": ["sqlite3"]}}}}
with memwatch_core.session(folder={folder!r}, sinks=[sink], **options):
    total, data = watch(0, name="total"), watch(bytearray(8), name="data")
    view = memoryview(data)
    def work(number, pause=lambda: None):
        rows = sqlite3.connect(":memory:")
        global total
        for i in range(10):
            rows.execute(f"SELECT {{number}} AS worker_{{number}}").fetchone()
            pause()
            total += 1                 # announced
            view[number] = 1 + i       # a store
{body}
told = [[each.variable, each.site.line, each.exact, each.offset, each.context and each.context.statement, each.tid]
        for each in sink.events]
with open({report!r}, "w") as file:
    json.dump(told, file)
"""
LINES = PROGRAM.splitlines()
ADDS, STORES = (next(i for i, line in enumerate(LINES) if mark in line) for mark in ("# announced", "# a store"))
"""Numbers of these lines in the program's file, which has no first empty line."""


def run(tmp_path: Path, body: str, setup: str = "", interpreter: tuple[str, ...] = ()) -> list[tuple[object, ...]]:
    """Runs the program; every write must be there, with its line and statement. Returns its events."""
    report, file = tmp_path / "report.json", tmp_path / "program.py"
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    text = PROGRAM.format(setup=setup, body=indented, folder=str(tmp_path / "sessions"), report=str(report))
    file.write_text(text.strip())
    command = [sys.executable, *interpreter, str(file)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    events = [tuple(each) for each in json.loads(report.read_text())]
    shift = setup.count("\n")
    for variable, line, exact, offset, statement, _ in events:
        assert exact
        assert line == (ADDS if variable == "total" else STORES) + shift
        if variable == "data":
            assert f"worker_{int(str(offset)) - 8}" in str(statement), "a write carries the statement of another worker"
    return events


def worker_events(events: list[tuple[object, ...]], workers: int) -> None:
    assert [each[0] for each in events].count("total") == 10 * workers
    assert [each[0] for each in events].count("data") == 10 * workers


def need(module: str) -> None:
    if find_spec(module) is None:
        pytest.skip(f"{module} isn't installed here")


def test_greenlets_share_a_statement(tmp_path: Path) -> None:
    need("gevent")
    body = "gevent.joinall([gevent.spawn(work, i, lambda: gevent.sleep(0)) for i in range(4)], raise_error=True)"
    worker_events(run(tmp_path, body, "from gevent import monkey; monkey.patch_all(); import gevent"), 4)


def test_tasks_of_uvloop_share_a_statement(tmp_path: Path) -> None:
    need("uvloop")
    body = """
import asyncio, uvloop
async def task(number):
    rows = sqlite3.connect(":memory:")
    global total
    for i in range(10):
        rows.execute(f"SELECT {number} AS worker_{number}").fetchone()
        await asyncio.sleep(0)
        work_once(number, i)
async def main():
    await asyncio.gather(*map(task, range(4)))
def work_once(number, i):
    global total
    exec(code, globals(), {"number": number, "i": i})
code = compile("\\n" * ADDS + "total += 1\\nview[number] = 1 + i", __file__, "exec")
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
""".replace("ADDS", str(ADDS - 1))
    worker_events(run(tmp_path, body), 4)


@pytest.mark.parametrize("core", ["ctrace", "pytrace"] if SOAK else ["ctrace"])
def test_coverage_differs(core: str, tmp_path: Path) -> None:
    need("coverage")
    (tmp_path / ".coveragerc").write_text(f"[run]\ncore = {core}\ndata_file = {tmp_path}/.coverage\n")
    worker_events(run(tmp_path, "work(0)", interpreter=("-m", "coverage", "run")), 1)
    report = [sys.executable, "-m", "coverage", "json", "-q", "-o", str(tmp_path / "coverage.json")]
    subprocess.run(report, cwd=tmp_path, check=True, timeout=60)
    found = json.loads((tmp_path / "coverage.json").read_text())["files"]["program.py"]
    assert {ADDS, STORES} <= set(found["executed_lines"])


def test_debugger_changes_lines(tmp_path: Path) -> None:
    need("debugpy")
    arguments = ("-Xfrozen_modules=off", "-m", "debugpy", "--listen", "127.0.0.1:0")
    worker_events(run(tmp_path, "work(0)", interpreter=arguments), 1)


def test_threads_that_ended_leave_something_behind(tmp_path: Path) -> None:
    body = """
import threading
def size():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
def crowd(n):
    for _ in range(n):
        thread = threading.Thread(target=work_once)
        thread.start()
        thread.join()
def work_once():
    exec(code, globals())
code = compile("\\n" * ADDS + "total += 1", __file__, "exec")
crowd(1000)
before = size()
crowd(COUNT - 1000)
assert size() - before < 32 << 20, size() - before
""".replace("ADDS", str(ADDS - 1)).replace("COUNT", str(count := 10_000 if SOAK else 2_000))
    assert len(run(tmp_path, body)) == count


ATTACHED = """
import select, sys
import memwatch_core
from memwatch_core import watch

with memwatch_core.session(folder=sys.argv[1], sinks=[]):
    total = watch(0, name="total")
    view = memoryview(total).cast("B").cast("q")
    print("ready", flush=True)
    n = 0
    while not select.select([sys.stdin], [], [], 0.0001)[0]:
        view[0] = n = n + 1
    assert total == n, (total, n)
print("done", n)
"""


@pytest.mark.parametrize("tool", ["py-spy", "gdb"])
def test_attaching_disturbs_the_program(tool: str, tmp_path: Path) -> None:
    found = shutil.which(tool) or shutil.which(str(Path(sys.executable).with_name(tool)))
    if found is None:
        pytest.skip(f"{tool} isn't installed here")
    command = [sys.executable, "-c", ATTACHED, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n", program.communicate()
        pid = str(program.pid)
        attach = {
            "py-spy": [found, "dump", "--pid", pid],
            "gdb": [found, "-batch", "-nx", "-p", pid, "-ex", "bt 3", "-ex", "detach"],
        }[tool]
        done = subprocess.run(attach, capture_output=True, text=True, timeout=60, check=False)
        out, err = program.communicate(timeout=60)
    if done.returncode and ("ermission" in done.stderr or "ptrace" in done.stderr.lower()):
        pytest.skip(f"{tool} may not attach here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    assert program.returncode == 0, err
    if tool == "py-spy":
        assert "<module>" in done.stdout
    assert out.startswith("done")
