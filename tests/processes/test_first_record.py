"""A journal's file: made though nothing is recorded, not made though something is, or taken for another process's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from memwatch_core.journal.reader import JournalReader
from memwatch_core.journal.session import journals

IDLE = 1000 if os.environ.get("MEMWATCH_SOAK") else 100
NOBODY = 65534


def run(
    source: str, folder: Path, *options: str, status: int = 0, tracker: str = "auto"
) -> tuple[Path, list[dict[str, Any]], str, str]:
    """A program under ``memwatch run``: the session's folder, its lines of JSON, output and standard error."""
    program = folder / "program.py"
    program.write_text(source)
    sessions = str(folder / "sessions")
    memwatch = [sys.executable, "-m", "memwatch_core.cli"]
    ran = subprocess.run(
        [*memwatch, "run", "--tracker", tracker, "--folder", sessions, "--sink", "jsonl", *options, str(program)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == status, ran.stderr[-2000:]
    (session,) = Path(sessions).iterdir()
    log = [*memwatch, "log", "--json", str(session)]
    shown = subprocess.run(log, cwd=folder, capture_output=True, text=True, timeout=120, check=True).stdout
    return session, [json.loads(line) for line in shown.splitlines()], ran.stdout, ran.stderr


def events(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if "before" in line]


NOTHING = """
import os, threading
import memwatch_core

threads = [threading.Thread(target=lambda: None, name=f"thread {n}") for n in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if os.fork() == 0:
    raise SystemExit
assert os.wait()[1] == 0
"""


def test_a_process_that_records_nothing_leaves_no_journal(tmp_path: Path) -> None:
    session, lines, _, said = run(NOTHING, tmp_path)
    assert (journals(session), lines) == ([], [])
    assert "no variable was watched" in said


IDLE_CHILDREN = """
import os, sys
from memwatch_core import watch

x = watch(1, name="x")
wait, go = os.pipe()
children = []
for _ in range({IDLE}):
    child = os.fork()
    if not child:
        os.close(go)
        os.read(wait, 1)  # nothing of what it watches
        os._exit(0 if x == 1 else 1)
    children.append(child)
folder = os.environ["MEMWATCH_SESSION"]
taken = sum(os.stat(os.path.join(folder, name)).st_blocks * 512 for name in os.listdir(folder))
print(len([name for name in os.listdir(folder) if name.endswith(".mwj")]), taken)
os.close(go)
assert not any(os.waitpid(child, 0)[1] for child in children)
"""


def test_idle_children_take_no_disk(tmp_path: Path) -> None:
    _, _, shown, _ = run(IDLE_CHILDREN.format(IDLE=IDLE), tmp_path)
    count, taken = map(int, shown.split())
    assert count == 1, "journals while all of them live"
    assert taken < 4 << 20


SMALL = """
import os
from memwatch_core import watch

x = watch(0, name="x")
child = os.fork()
for n in range(1, {WRITES} + 1):
    x.value = n
if child:
    assert os.waitpid(child, 0)[1] == 0
else:
    os.kill(os.getpid(), 9) if {KILLED} else os._exit(0)
"""


@pytest.mark.parametrize("killed", [False, True], ids=["ends", "killed"])
@pytest.mark.parametrize(("writes", "most"), [(500, 64 << 10), (3_000, 256 << 10)])
def test_a_journal_takes_a_few_times_its_records_on_disk(writes: int, most: int, killed: bool, tmp_path: Path) -> None:
    source = SMALL.format(WRITES=writes, KILLED=killed)
    source = source.replace("[1] == 0", "[1] == 9") if killed else source
    session, lines, _, _ = run(source, tmp_path)
    found = journals(session)
    assert len(found) == 2
    assert all(path.stat().st_blocks * 512 <= most for path in found)
    assert sorted(line["new"] for line in events(lines)) == sorted([*range(1, writes + 1)] * 2)


FAULT = """
import os, threading
from memwatch_core import watch

untouched = watch((1, 2.5), name="untouched", format="<qd", fields=("a", "b"))
x = watch(41, name="x")
view = memoryview(x).cast("B").cast("q")
ended = watch(5, name="ended")
if os.fork() == 0:
    del ended
    threading.current_thread().name = "child"
    view[0] = 42          # what makes the journal
    untouched.a = 3
    os._exit(0)
assert os.wait()[1] == 0 and x == 41 and untouched.a == 1
"""


def test_a_store_makes_a_forked_childs_journal_complete_in_itself(tmp_path: Path, tracker: str) -> None:
    session, lines, _, _ = run(FAULT, tmp_path, tracker=tracker)
    assert len(journals(session)) == 2
    found = events(lines)
    assert [(line["variable"], line["old"], line["new"], line["thread"]) for line in found] == [
        ("x", 41, 42, "child"),
        ("untouched", {"a": 1, "b": 2.5}, {"a": 3, "b": 2.5}, "child"),
    ]
    assert [line["site"]["line"] for line in found] == [12, 13]
    of_child = [line for line in lines if line["pid"] == found[0]["pid"]]
    assert [line["variable"] for line in of_child if line.get("event") == "watched"] == ["untouched", "x"]
    assert not [line for line in lines if line.get("event") == "lost"]


MANY_FIRST = """
import os, threading
from memwatch_core import watch

values = [watch(n, name=f"v{n}") for n in range(200)]
views = [memoryview(value).cast("B").cast("q") for value in values]
for _ in range(5):
    if os.fork() == 0:
        start = threading.Barrier(4)

        def write(part):
            start.wait()
            for n in range(part, 200, 4):
                views[n][0] = -n

        threads = [threading.Thread(target=write, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os._exit(0)
    os.wait()
"""


def test_many_threads_that_record_first_make_one_journal(tmp_path: Path, tracker: str) -> None:
    session, lines, _, _ = run(MANY_FIRST, tmp_path, tracker=tracker)
    assert len(journals(session)) == 6
    by_process: dict[int, list[int]] = {}
    for line in events(lines):
        by_process.setdefault(line["pid"], []).append(line["new"])
    assert [sorted(found) for found in by_process.values()] == [list(range(-199, 1))] * 5
    assert not [line for line in lines if line.get("event") == "lost"]


ENDS = """
import os, threading
from memwatch_core import watch

for _ in range(40):
    x, y = watch(1, name="x"), watch(1, name="y")
    view = memoryview(x).cast("B").cast("q")
    if os.fork() == 0:
        start = threading.Barrier(2)

        def end():
            global y
            start.wait()
            y = None

        thread = threading.Thread(target=end)
        thread.start()
        start.wait()
        view[0] = 2
        thread.join()
        os._exit(0)
    assert os.wait()[1] == 0
    view.release()
"""


def test_a_watch_that_ends_while_the_journal_is_made_is_whole_or_not_there(tmp_path: Path) -> None:
    _, lines, _, _ = run(ENDS, tmp_path)
    assert len(events(lines)) == 40
    assert not [line for line in lines if line.get("event") == "lost"]


TAKEN = """
import os
from pathlib import Path
from memwatch_core import watch

x = watch(0, name="x")
folder = Path(os.environ["MEMWATCH_SESSION"])
for pid in range(os.getpid() + 1, os.getpid() + 3000):  # of processes that had these numbers before
    (folder / f"{pid}-python.mwj").touch()
if os.fork() == 0:
    x += 1
    os._exit(0 if x == 1 else 1)
assert os.wait()[1] == 0
"""


def test_a_process_id_that_is_used_again_is_another_journal(tmp_path: Path) -> None:
    session, lines, _, _ = run(TAKEN, tmp_path)
    (event,) = events(lines)
    assert event["journal"] == f"{event['pid']}-python.1"
    with closing(JournalReader(session / f"{event['journal']}.mwj")) as reader:
        assert reader.header.pid == event["pid"]


EXEC = """
import os, sys
from memwatch_core import watch

name = "second" if sys.argv[1:] else "first"
x = watch(0, name=name)
for _ in range(20 if sys.argv[1:] else 10):
    x += 1
if not sys.argv[1:]:
    os.execv(sys.executable, [sys.executable, __file__, "again"])
"""


def test_programs_that_one_process_runs_one_after_the_other_are_kept_apart(tmp_path: Path) -> None:
    session, lines, _, said = run(EXEC, tmp_path)
    pids = {line["pid"] for line in lines}
    assert len(pids) == 1
    (pid,) = pids
    assert [path.stem for path in journals(session)] == [f"{pid}-python.1", f"{pid}-python"]
    of = {name: [line for line in events(lines) if line["variable"] == name] for name in ("first", "second")}
    assert [(len(of[name]), {line["journal"] for line in of[name]}) for name in of] == [
        (10, {f"{pid}-python"}),
        (20, {f"{pid}-python.1"}),
    ]
    assert "30 events on 2 variables" in said
    assert "first   10 writes, last 9 -> 10" in said
    assert "second  20 writes, last 19 -> 20" in said
    log = subprocess.run(
        [sys.executable, "-m", "memwatch_core.cli", "log", str(session)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"{pid}.1/MainThread" in log


@pytest.fixture
def root() -> None:
    if os.geteuid():
        pytest.skip("only root can become another user")


DROPPED = """
import os, sys
from memwatch_core import watch
from memwatch_core.errors import CoreError
from memwatch_core.native import core

x = watch(0, name="x")
view = memoryview(x).cast("B").cast("q")
x += 1
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
x += 1                      # its journal was made before
child = os.fork()
if not child:
    for _ in range(5):
        x += 1
        view[0] = view[0] + 1
    assert x == 12, x
    assert core.stats().lost == 10, core.stats()
    try:
        watch(0, name="y")
    except CoreError as error:
        print(error)
    raise SystemExit(7)
assert os.waitpid(child, 0)[1] == 7 << 8
x += 1
assert x == 3
"""


@pytest.mark.usefixtures("root")
def test_a_child_that_may_not_make_its_journal_has_usable_values_and_says_what_is_lost(
    tmp_path: Path, tracker: str
) -> None:
    session, lines, shown, said = run(DROPPED.format(NOBODY=NOBODY), tmp_path, tracker=tracker)
    assert shown.startswith(f"'y': {session}/")
    assert shown.endswith("may write to (Permission denied)\n")
    assert [line["new"] for line in events(lines)] == [1, 2, 3]
    (told,) = [line for line in said.splitlines() if "can't make its journal" in line]
    assert "permission denied" in told
    (end,) = [line for line in said.splitlines() if "had no journal" in line]
    assert end.endswith("lost: 10")


EARLY = """
import os, sys
from memwatch_core import watch

kept = watch(0, name="kept") if "kept" in sys.argv else None

def serve():
    os.setgroups([]); os.setgid({NOBODY}); os.{CALL}
    x = watch(0, name="x") if kept is None else kept
    for _ in range(5):
        x += 1
    assert x == 5

if "forks" not in sys.argv:
    serve()
elif os.fork() == 0:
    serve()
else:
    assert os.wait()[1] == 0
"""


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(
    ("call", "when"),
    [
        ("setuid", ""),
        ("setuid", "forks"),
        ("setuid", "forks kept"),
        ("seteuid", ""),
        ("setreuid", ""),
        ("setresuid", ""),
    ],
)
def test_a_process_that_gives_up_its_user_before_its_first_record_has_a_journal(
    tmp_path: Path, call: str, when: str
) -> None:
    arguments = {"setuid": "{0}", "seteuid": "{0}", "setreuid": "{0}, {0}", "setresuid": "{0}, {0}, {0}"}[call]
    source = EARLY.replace("{NOBODY}", str(NOBODY)).replace("{CALL}", f"{call}({arguments.format(NOBODY)})")
    source = source.replace("sys.argv", repr(when.split()))
    _, lines, _, said = run(source, tmp_path)
    assert [line["new"] for line in events(lines)] == [1, 2, 3, 4, 5], said


CONFINED = """
import os
from memwatch_core import watch
os.makedirs("root", exist_ok=True)
os.chroot("root")
os.chdir("/")
x = watch(1, name="x")
x += 1
"""


@pytest.mark.usefixtures("root")
def test_a_process_that_changes_its_root_before_its_first_record_has_a_journal(tmp_path: Path) -> None:
    _, lines, _, said = run(CONFINED, tmp_path)
    assert [line["new"] for line in events(lines)] == [2], said


WITHDRAWN = """
import os
import memwatch_core
os.seteuid({NOBODY})
os.seteuid(0)
"""


@pytest.mark.usefixtures("root")
def test_a_file_that_nothing_came_to_is_taken_away(tmp_path: Path) -> None:
    session, _, _, _ = run(WITHDRAWN.format(NOBODY=NOBODY), tmp_path)
    assert journals(session) == []


BEHIND_OUR_BACK = """
import ctypes, mmap, os, sys
from memwatch_core import watch
from memwatch_core.errors import SessionError

x = watch(1, name="x")
view = memoryview(x).cast("B").cast("q")
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("b8390000000f05c3"))  # mov $57, %eax; syscall; ret
fork = ctypes.PYFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
child = fork()
if not child:
    {USE}
    os._exit(0)
status = os.waitpid(child, 0)[1]
assert x == 1, "the child wrote to its parent's value"
x += 1
print(status)
"""
USES = {
    "read": "x.value",
    "store": "view[0] = 5",
    "write": "x.value = 5",
    "write within another": "y = watch(2, name='y'); y += 1; x.value",
}


@pytest.mark.parametrize("use", USES)
def test_a_value_that_has_not_come_along_ends_the_child_with_a_sentence(tmp_path: Path, use: str, tracker: str) -> None:
    """A fork that libc doesn't know of either: neither shared nor silently another value."""
    _, lines, shown, said = run(BEHIND_OUR_BACK.replace("{USE}", USES[use]), tmp_path, tracker=tracker)
    ends = {signal.SIGSEGV, signal.SIGBUS} if use != "write" else {1 << 8}
    assert int(shown.split()[-1]) & ~0x80 in ends, (shown, said)
    assert "forked" in said
    assert [(line["variable"], line["new"]) for line in events(lines) if line["variable"] == "x"] == [("x", 2)]
