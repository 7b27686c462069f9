"""``then="break"``: pdb and debugpy stop in the program's frame; where nobody can be asked, nothing waits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from debug_adapter_client import connected, free_port

PROGRAM = """\
from memwatch_core import watch
total = watch(5, when="new < 0", then={then})
def take(n):
    global total
    a = n + 1
    total -= n
    b = a + 1
    return b
take(1)
take(100)
d = {{"x": 1}}
watch(d, when="new > 5", then={then})
view = memoryview(total)
def put():
    d["x"] = 7
    z = 1
    view[()] = -7
    y = 2
    return z + y
print("put", put())
print("done", int(total))
"""


def run(folder: Path, typed: str | None, then: str = "'break'", *before: str, **environment: str) -> Any:
    (folder / "orders.py").write_text(PROGRAM.format(then=then))
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MEMWATCH_"))}
    return subprocess.run(
        [*(before or (sys.executable,)), "orders.py"],
        cwd=folder,
        input=typed,
        stdin=subprocess.DEVNULL if typed is None else None,
        env=plain | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "how", [(sys.executable,), (str(Path(sys.executable).with_name("memwatch")), "run", "-q")], ids=["alone", "run"]
)
def test_pdb_stops_on_the_line_that_stored(how: tuple[str, ...], tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "p n, a\nup\np 'caller', n if 'n' in dir() else None\ndown\nn\nn\np b\nc\n"
        "w\np z if 'z' in dir() else 'not yet'\nc\nc\n",
        "'break'",
        *how,
    )
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.partition("> ")[2], done.stdout.partition("b = a + 1")[2], done.stdout
    assert first.startswith(f"{tmp_path / 'orders.py'}(6)take()")
    assert "-> total -= n" in done.stdout
    assert "(100, 101)" in first
    assert "('caller', None)" in third
    assert "102" in second  # n went on to the next line, and it was executed
    assert f"{tmp_path / 'orders.py'}(16)put()" in second  # a place: before the next instruction
    assert "'not yet'" in second
    assert "(18)put()" in second  # a store that faulted
    assert "done -7" in done.stdout
    assert "total 4 → -96 at orders.py:6 take (when new < 0)" in done.stderr
    assert 'd["x"] 1 → 7 at orders.py:15 put, noticed at line 16 (when new > 5)' in done.stderr
    assert "_act" not in done.stdout
    assert "memwatch_core/adapter/in_pdb" not in done.stdout


def test_pdb_can_step_set_breakpoints_and_finish(tmp_path: Path) -> None:
    done = run(tmp_path, "b 8\nc\np 'at the breakpoint', b\ncl 1\ny\nr\np 'returned'\nc\nc\nc\n")
    assert "('at the breakpoint', 102)" in done.stdout, done.stdout + done.stderr
    assert "'returned'" in done.stdout
    assert done.returncode == 0, done.stderr


def test_pdb_quits_as_after_breakpoint(tmp_path: Path) -> None:
    done = run(tmp_path, "q\ny\n")
    assert done.returncode != 0
    assert "done" not in done.stdout


def test_without_a_standard_input_nobody_is_asked_and_the_stacks_are_printed(tmp_path: Path) -> None:
    done = run(tmp_path, None)
    assert done.returncode == 0, done.stderr
    assert "done -7" in done.stdout
    assert "No debugger: standard input is /dev/null" in done.stderr
    assert done.stderr.count("Current thread MainThread") == 3
    assert f'  File "{tmp_path / "orders.py"}", line 6 in take' in done.stderr
    assert "adapter/" not in done.stderr


def test_a_closed_standard_input_is_none(tmp_path: Path) -> None:
    (tmp_path / "orders.py").write_text(PROGRAM.format(then="'break'"))
    done = subprocess.run(
        ["sh", "-c", '"$0" orders.py <&-', sys.executable],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "No debugger: there is no standard input" in done.stderr


@pytest.mark.parametrize("name", ["0", "hooks.stop"])
def test_pythonbreakpoint_says_what_a_stop_is(name: str, tmp_path: Path) -> None:
    (tmp_path / "hooks.py").write_text(
        "import sys\ndef stop():\n    frame = sys._getframe(1)\n"
        "    print('stop', frame.f_code.co_name, frame.f_lineno)\n"
    )
    done = run(tmp_path, None, PYTHONBREAKPOINT=name, PYTHONPATH=str(tmp_path))
    stops = ["stop take 6", "stop put 16", "stop put 18"] if name != "0" else []
    assert [line for line in done.stdout.splitlines() if line.startswith("stop")] == stops, done.stderr
    assert "done -7" in done.stdout


def test_dump_prints_every_threads_stack_and_goes_on(tmp_path: Path) -> None:
    program = (
        "import threading\nfrom memwatch_core import watch\n"
        "x = watch(1, when='new < 0', then='dump')\nbegun, over = threading.Event(), threading.Event()\n"
        "def waits():\n    begun.set()\n    over.wait()\n"
        "thread = threading.Thread(target=waits, name='waiter')\nthread.start()\nbegun.wait()\n"
        "x.value = -1\nover.set()\nthread.join()\nprint('done')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "done\n", done.stderr
    assert "x 1 → -1 at <string>:11 <module> (when new < 0)" in done.stderr
    assert "Thread waiter 0x" in done.stderr
    assert " in waits" in done.stderr
    assert done.stderr.index("Current thread MainThread") < done.stderr.index("Thread waiter")


# ---- debugpy ---------------------------------------------------------------------------------------------------------


def test_debugpy_stops_in_the_frame_that_stored(tmp_path: Path) -> None:
    pytest.importorskip("debugpy")
    (tmp_path / "orders.py").write_text(PROGRAM.format(then="'break'"))
    port = free_port()
    child = subprocess.Popen(
        [sys.executable, "-Xfrozen_modules=off", "-m", "debugpy", "--listen", f"127.0.0.1:{port}", "--wait-for-client",
         "orders.py"],
        cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    stops: list[tuple[str, int]] = []
    try:
        with connected(port) as client:  # the adapter, which has the same standard output, ends with it
            client.attach(justMyCode=False)
            for stop in client.stops():
                stops.append(stop.at())
                client.go(stop)
        out, err = child.communicate(timeout=30)
    finally:
        child.kill()
    assert "done -7" in out, err
    assert [name for name, _ in stops] == ["take", "put", "put"], err
    # debugpy stops at the line behind the one that calls breakpoint()
    assert stops[0] == ("take", 7)
    assert stops[1][1] in (16, 17)
    assert stops[2][1] in (18, 19)
