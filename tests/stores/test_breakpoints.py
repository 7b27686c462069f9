"""Debuggers on watched stores: a program that dies of a breakpoint, a store that is missed, done twice or not at all.

The program (breakpoints.c) itself checks its values and events; here it is run beneath gdb. gdb takes it that the
handler of a signal returns to the instruction: it counts each hit of a breakpoint on the very store, but stops at the
first alone (docs/guarantees.md)."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import SOAK, Build

COUNT = 5
KINDS = ("store_plain", "store_relative", "store_locked", "store_string", "store_vector", "store_push")
CANNOT = 77
COUNTED = {  # how gdb is told to stop, and how often it is met at each store
    "break": COUNT,
    "tbreak": 1,
    "hbreak": COUNT,
}
MODES = {
    "as it is": (),
    "in line": ("set displaced-stepping off",),
    "displaced": ("set displaced-stepping on",),
    "non-stop": ("set non-stop on",),
}


@pytest.mark.parametrize("scenario", ["trap-flag", "hardware", "uprobes", "stepped"])
def test_steps_and_breakpoints_are_met_as_without_a_watch(
    scenario: str, tracker: str, build: Build, tmp_path: Path
) -> None:
    command: list[str | Path] = [build("breakpoints.c"), tracker, tmp_path / "journal", scenario, str(COUNT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode == CANNOT:
        pytest.skip(f"can't be tried here: {done.stdout.strip()}")
    assert done.returncode == 0, f"status {done.returncode}: {done.stdout}{done.stderr}"


def gdb(*commands: str, program: list[str | Path], folder: Path) -> str:
    """What gdb says to these commands, one after the other; their failures are in it."""
    found = shutil.which("gdb")
    if found is None:
        pytest.skip("gdb isn't installed here")
    script = folder / "commands"
    script.write_text("\n".join(("set pagination off", "set confirm off", "set style enabled off", *commands)) + "\n")
    done = subprocess.run(
        [found, "-batch", "-nx", "-x", script, "--args", *program],
        capture_output=True, text=True, check=False, timeout=120, cwd=folder,
    )  # fmt: skip
    if "Operation not permitted" in done.stderr:
        pytest.skip(f"gdb may not trace here: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout + done.stderr


PASS = "handle SIGBUS SIGSEGV nostop noprint pass"
# The program's end, whatever it stops at before.
TO_ITS_END = "python\nwhile gdb.selected_inferior().pid: gdb.execute('continue')\nend"


def stores(build: Build, tracker: str, folder: Path) -> list[str | Path]:
    return [build("breakpoints.c"), tracker, folder / "journal", "stores", str(COUNT)]


@pytest.mark.parametrize(
    ("kind", "mode"),
    [(kind, mode) for kind in COUNTED for mode in MODES if SOAK or kind == "break" or mode == "as it is"],
)
def test_program_ends_as_without_a_breakpoint_on_its_stores(
    kind: str, mode: str, tracker: str, build: Build, tmp_path: Path
) -> None:
    if tracker == "uffd-queue" and mode == "in line":
        pytest.skip("gdb holds our thread while it steps, and the store waits for that: a limit, in docs/guarantees.md")
    some = KINDS if kind != "hbreak" else KINDS[:3]  # a CPU has four
    said = gdb(
        *MODES[mode], PASS, "break main", "run", *(f"{kind} *{name}" for name in some), TO_ITS_END, "info breakpoints",
        program=stores(build, tracker, tmp_path), folder=tmp_path,
    )  # fmt: skip
    assert "every store is an event" in said, said
    assert "exited normally" in said, said
    if kind == "tbreak":
        assert [len(re.findall(rf"^Temporary breakpoint {n}, |hit Temporary breakpoint {n}, ", said, re.M))
                for n in range(2, 2 + len(some))] == [1] * len(some), said  # fmt: skip
    else:
        met = re.findall(r"already hit (\d+) times?", said.partition("Num ")[2])
        assert list(map(int, met))[1:] == [COUNTED[kind]] * len(some), said


@pytest.mark.parametrize("kind", ["break", "hbreak"])
def test_breakpoint_behind_a_store_stops_each_time(kind: str, tracker: str, build: Build, tmp_path: Path) -> None:
    said = gdb(
        PASS, "break main", "run", f"{kind} *behind_plain", TO_ITS_END,
        program=stores(build, tracker, tmp_path), folder=tmp_path,
    )  # fmt: skip
    assert len(re.findall(r"reakpoint 2, ", said)) == COUNT, said
    assert "every store is an event" in said, said


STEPS = ["stepi", "next", "watch *(long *)page", *(["nexti", "step", "awatch *(long *)page"] if SOAK else [])]


@pytest.mark.parametrize("step", STEPS)
def test_stepping_and_watching_do_not_harm_the_program(step: str, tracker: str, build: Build, tmp_path: Path) -> None:
    said = gdb(
        PASS, "break *store_plain", "run", step, TO_ITS_END,
        program=stores(build, tracker, tmp_path), folder=tmp_path,
    )  # fmt: skip
    assert "every store is an event" in said, said
    lost = "Couldn't get registers: No such process"  # gdb's word, where the process ends as it steps another thread
    assert "exited normally" in said or lost in said, said


PYTHON = """
import sys
import memwatch_core
from memwatch_core import watch
from memwatch_core.records import Event

class Sink:
    events = 0
    def write(self, records): self.events += sum(isinstance(each, Event) for each in records)
    def flush(self): pass
    def close(self): pass

sink = Sink()
with memwatch_core.session(folder=sys.argv[1], sinks=[sink], core={"tracker": sys.argv[2]}):
    total = watch(0, name="total")
    view = memoryview(total).cast("B").cast("q")
    for n in range(1, 21):
        view[0] = n
    assert total == 20
sys.exit(sink.events != 20)  # what it printed, gdb would write into
"""


def test_breakpoint_on_a_store_of_the_interpreter(tracker: str, tmp_path: Path) -> None:
    """gdb stops at the first signal: there is the interpreter's own instruction that stores."""
    signal = "SIGSEGV" if tracker == "readonly" else "SIGBUS"
    said = gdb(
        f"handle {signal} stop nopass", "run", "break *$pc", PASS, f"signal {signal}", TO_ITS_END, "info breakpoints",
        program=[sys.executable, "-c", PYTHON, str(tmp_path / "sessions"), tracker], folder=tmp_path,
    )  # fmt: skip
    assert f"received signal {signal}" in said, said
    assert "exited normally" in said, said
    assert re.search(r"already hit \d+ times", said), said
