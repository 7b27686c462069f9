"""Debuggers, profilers and coverage around a watched program: events that are missing or have other lines, a tool that
sees something else, another exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from servers_beside import CLI, events, need

ORDERS = """
from memwatch_core import watch

config = {"n": 0}
own = watch({"n": 0}, name="own")

def work(times):
    for _ in range(times):
        config["n"] += 1
        own["n"] += 1
"""
PROGRAM = """
import sys
import orders

def main():
    orders.work(5)

{before}
main()
{after}
print(orders.config["n"], orders.own["n"])
sys.exit(3)
"""
WANTED = [(name, number, line) for number in range(1, 6) for name, line in (("orders:config", 9), ("own", 10))]


def run(
    folder: Path, *tool: str, before: str = "", after: str = "", stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    (folder / "orders.py").write_text(ORDERS)
    (folder / "program.py").write_text(PROGRAM.format(before=before, after=after))
    options = ["--quiet", "--folder", "sessions", "--sink", "jsonl", "--watch", "orders:config"]
    return subprocess.run(
        [*CLI, "run", *options, *tool],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def assert_all_is_told(folder: Path) -> None:
    found = [
        (event["variable"], event["value"], event["site"]["line"])
        for event in events(folder)
        if event["site"]["function"] == "work"
    ]
    assert found == WANTED


TOOLS = {
    "nothing": ["program.py"],
    "pdb": ["-m", "pdb", "-c", "continue", "program.py"],
    "cProfile": ["-m", "cProfile", "-o", "profile", "program.py"],
    "profile": ["-m", "profile", "-o", "profile", "program.py"],
    "trace": ["-m", "trace", "--count", "-C", "counts", "program.py"],
    "coverage": ["-m", "coverage", "run", "program.py"],
    "coverage --branch": ["-m", "coverage", "run", "--branch", "program.py"],
    "debugpy": ["-m", "debugpy", "--listen", "127.0.0.1:0", "program.py"],
}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_that_runs_the_program_changes_nothing_that_is_told(tool: str, tmp_path: Path) -> None:
    if tool.split()[0] in ("coverage", "debugpy"):
        need(tool.split()[0])
    done = run(tmp_path, *TOOLS[tool], stdin="q\n")
    assert "5 5" in done.stdout, done.stderr
    alone = subprocess.run(
        [sys.executable, *TOOLS[tool]],
        cwd=tmp_path,
        input="q\n",
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == alone.returncode, (done.stderr, alone.stderr)
    assert_all_is_told(tmp_path)


@pytest.mark.parametrize("core", ["ctrace", "pytrace", *(["sysmon"] if sys.version_info >= (3, 12) else [])])
def test_coverage_counts_the_lines_that_it_would_count_alone(core: str, tmp_path: Path) -> None:
    need("coverage")
    (tmp_path / ".coveragerc").write_text(f"[run]\ncore = {core}\nsource = .\n")
    found = []
    for _ in range(2):
        if not found:
            done = run(tmp_path, "-m", "coverage", "run", "program.py")
        else:
            done = subprocess.run(
                [sys.executable, "-m", "coverage", "run", "program.py"],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )
        assert done.returncode == 3, done.stderr
        subprocess.run(
            [sys.executable, "-m", "coverage", "json", "-q", "-o", "coverage.json"],
            cwd=tmp_path,
            check=True,
            timeout=60,
        )
        report = json.loads((tmp_path / "coverage.json").read_text())["files"]
        found.append({name: each["executed_lines"] for name, each in report.items()})
    assert found[0] == found[1]
    assert_all_is_told(tmp_path)


MONITOR = """
counted = []
sys.monitoring.use_tool_id(3, "theirs")
sys.monitoring.register_callback(3, sys.monitoring.events.PY_START, lambda code, at: counted.append(code.co_name))
sys.monitoring.set_events(3, sys.monitoring.events.PY_START)
"""
HOOKS = {
    "sys.setprofile": (
        "counted = []; sys.setprofile(lambda f, e, a: counted.append(f.f_code.co_name) if e == 'call' else None)",
        "sys.setprofile(None); assert counted == ['main', 'work'], counted",
    ),
    "sys.settrace": (
        "lines = []\ndef tracer(f, e, a):\n    lines.append(f.f_code.co_name)\n    return tracer\nsys.settrace(tracer)",
        "sys.settrace(None); assert set(lines) == {'main', 'work'}, set(lines)",
    ),
    "sys.monitoring": (
        MONITOR,
        "sys.monitoring.set_events(3, 0); assert counted == ['main', 'work'], counted",
    ),
    "tracemalloc": ("import tracemalloc; tracemalloc.start()", "tracemalloc.stop()"),
    "faulthandler": ("import faulthandler; faulthandler.enable()", "faulthandler.disable()"),
    "gc.set_debug": ("import gc; gc.set_threshold(1)", "gc.collect()"),
}


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_sees_the_programs_calls_alone(hook: str, tmp_path: Path) -> None:
    if hook == "sys.monitoring" and sys.version_info < (3, 12):
        pytest.skip("sys.monitoring is there from 3.12 on")
    before, after = HOOKS[hook]
    done = run(tmp_path, "program.py", before=before, after=after)
    assert done.returncode == 3, done.stderr
    assert done.stdout == "5 5\n"
    assert_all_is_told(tmp_path)
