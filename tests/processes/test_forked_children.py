"""Fork: a child that shares its parent's watched pages, goes unseen, or brings its parent down."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

OWN_VALUES = """
import os
from memwatch_core import watch

count = watch(5, name="count")
pair = watch((1, 2), name="pair", format="<qq", fields=("a", "b"))
view = memoryview(pair).cast("B").cast("q")
child = os.fork()
if not child:
    count += 1          # announced
    view[0] = 77        # a store
    os._exit(0 if (count, pair.a) == (6, 77) else 1)
assert os.waitpid(child, 0)[1] == 0
assert (count, pair.a) == (5, 1), "the child wrote to its parent's pages"
view[1] = 9
"""

THREAD_WRITES = """
import os, threading
from memwatch_core import watch

count = watch(0, name="count")
stop = False

def write():
    global count
    view = memoryview(count).cast("B").cast("q")
    while not stop:
        view[0] = view[0] + 1

writer = threading.Thread(target=write)
writer.start()
for number in range(10):
    child = os.fork()
    if not child:
        seen = int(count)
        count.value = -number
        os._exit(0 if count == -number else 1)
    assert os.waitpid(child, 0)[1] == 0
stop = True
writer.join()
assert count > 0
"""

UNTOUCHED = """
import multiprocessing, subprocess, sys
from memwatch_core import watch

count = watch(0, name="count")

def square(n):
    return n * n

if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(square, range(20)) == [n * n for n in range(20)]
    assert subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True).stdout == b"42\\n"
    count += 1
"""

STARTED = """
import multiprocessing, os, sys
from memwatch_core import watch

kept = watch(1, name="kept")

def work(n):
    global kept
    mine = watch(n, name="mine")
    memoryview(mine).cast("B").cast("q")[0] = 10 * n
    kept += 1
    return int(mine), int(kept), os.getpid()

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(2, maxtasksperchild=1) as pool:
        assert [found[:2] for found in pool.map(work, [3, 4], chunksize=1)] == [(30, 2), (40, 2)]
    assert kept == 1, "a child wrote to its parent's pages"
    kept += 5
"""

HOOKS = """
import os, subprocess, sys, threading
from memwatch_core import watch

count = watch(0, name="count")
calls = []
names = {"before": "before", "after_in_parent": "parent", "after_in_child": "child"}
os.register_at_fork(**{hook: lambda name=name: add(name) for hook, name in names.items()})

def add(name):
    global count
    calls.append(name)
    count += 1            # in the hooks themselves

def fork():
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
        return
    grandchild = os.fork()
    if grandchild:
        assert os.waitpid(grandchild, 0)[1] == 0
        assert (calls, count) == (["before", "child", "before", "parent"], 4), (calls, count)
    else:
        assert (calls, count) == (["before", "child", "before", "child"], 4), (calls, count)
    os._exit(0)

thread = threading.Thread(target=fork)
thread.start()
thread.join()
assert (calls, count) == (["before", "parent"], 2), (calls, count)
# A preexec_fn is a fork with hooks, posix_spawn is none.
assert subprocess.run([sys.executable, "-c", "pass"], preexec_fn=lambda: os.write(2, b"")).returncode == 0
os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
count.value = 100
"""


def run(source: str, folder: Path, tracker: str, *arguments: str) -> list[dict[str, Any]]:
    """Runs a program under memwatch, returns the session's lines of JSON."""
    program = folder / "program.py"
    program.write_text(source)
    memwatch, sessions = [sys.executable, "-m", "memwatch_core.cli"], str(folder / "sessions")
    ran = subprocess.run(
        [*memwatch, "run", "--quiet", "--tracker", tracker, "--folder", sessions, str(program), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    log = [*memwatch, "log", "--json", "--folder", sessions]
    shown = subprocess.run(log, cwd=folder, capture_output=True, text=True, timeout=120, check=True).stdout
    return [json.loads(line) for line in shown.splitlines()]


def events(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if "before" in line]


def test_parent_and_child_keep_their_own_values_and_both_are_watched(tmp_path: Path, tracker: str) -> None:
    found = events(run(OWN_VALUES, tmp_path, tracker))
    parent = {line["pid"] for line in found if line["variable"] == "pair" and line["new"] == {"a": 1, "b": 9}}
    assert len(parent) == 1
    in_child = [line for line in found if line["pid"] not in parent]
    assert [(line["variable"], line["old"], line["new"], line["origin"]) for line in in_child] == [
        ("count", 5, 6, "announced"),
        ("pair", {"a": 1, "b": 2}, {"a": 77, "b": 2}, "store"),
    ]
    assert [line["site"]["line"] for line in in_child] == [10, 11]
    assert {line["thread"] for line in in_child} == {"MainThread"}


def test_fork_while_another_thread_writes(tmp_path: Path, tracker: str) -> None:
    found = events(run(THREAD_WRITES, tmp_path, tracker))
    by_process: dict[int, list[dict[str, Any]]] = {}
    for line in found:
        by_process.setdefault(line["pid"], []).append(line)
    assert len(by_process) == 11
    for lines in by_process.values():
        assert all(a["after"] == b["before"] for a, b in itertools.pairwise(lines))


def test_children_that_touch_nothing_watched_are_unharmed(tmp_path: Path) -> None:
    lines = run(UNTOUCHED, tmp_path, "auto")
    assert [line["new"] for line in events(lines)] == [1]
    assert not [line for line in lines if line.get("event") == "lost"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_write_elsewhere_or_unseen(tmp_path: Path, method: str) -> None:
    found = events(run(STARTED, tmp_path, "auto", method))
    by_process: dict[int, list[tuple[str, Any]]] = {}
    for line in found:
        by_process.setdefault(line["pid"], []).append((line["variable"], line["new"]))
    assert sorted(by_process.values()) == [[("kept", 6)], [("mine", 30), ("kept", 2)], [("mine", 40), ("kept", 2)]]


def test_hooks_around_a_fork_are_disturbed(tmp_path: Path) -> None:
    found = events(run(HOOKS, tmp_path, "auto"))
    by_process: dict[int, list[Any]] = {}
    for line in found:
        by_process.setdefault(line["pid"], []).append(line["new"])
    assert sorted(by_process.values()) == [[1, 2, 3, 4, 100], [2, 3, 4], [4], [4]]


LEFT = """
import os
import memwatch_core

with memwatch_core.session(sinks=[]):
    x = memwatch_core.watch(1, name="x")
    x += 1
child = os.fork()
try:
    memwatch_core.watch(2)
except memwatch_core.errors.SessionError as error:
    forked = f"was forked after process {os.getppid()} had closed its journal " in str(error)
    own = "this process has closed its journal " in str(error)
    assert (forked, own) == ((False, True) if child else (True, False)), error
else:
    raise AssertionError("a journal was opened")
if child:
    assert os.waitpid(child, 0)[1] == 0
else:
    with memwatch_core.session(sinks=[]):
        assert memwatch_core.watch(3) == 3
"""


def test_child_of_a_process_that_has_left_its_session_is_told_whose_it_was(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LEFT], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
