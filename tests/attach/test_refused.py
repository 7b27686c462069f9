"""What can't be attached to is refused in one sentence, with what to do, and notices nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from programs import CLI, LOOP, attach, attached, events, running


def refused(tmp_path: Path, pid: int, *options: str) -> str:
    done = subprocess.run(
        [*CLI, "attach", str(pid), "--watch", "program:config", "--folder", "sessions", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert not (tmp_path / "sessions").exists() or not list((tmp_path / "sessions").iterdir())
    return done.stderr


def test_a_process_that_is_not_there(tmp_path: Path) -> None:
    assert "there is no process 4194000" in refused(tmp_path, 4194000)


def test_a_process_that_has_ended(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as process:
        time.sleep(0.2)
        assert f"process {process.pid} has ended" in refused(tmp_path, process.pid)


def test_a_thread_of_a_process(tmp_path: Path) -> None:
    source = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\nprint('ready', flush=True)\nthreading.Event().wait()\n"
    with running(tmp_path, source) as program:
        thread = max(map(int, os.listdir(f"/proc/{program.pid}/task")))
        assert f"{thread} is a thread of process {program.pid}" in refused(tmp_path, thread)


def test_a_program_that_is_no_python(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "1000"]) as process:
        assert "is no CPython 3.11 to 3.15" in refused(tmp_path, process.pid)
        process.kill()


def test_a_process_of_another_user(tmp_path: Path) -> None:
    if os.geteuid():
        assert "sudo -u root memwatch attach 1" in refused(tmp_path, 1)
        return
    with subprocess.Popen(["sleep", "1000"], user=65534) as process:
        said = refused(tmp_path, process.pid)
        assert f"process {process.pid} belongs to nobody (user 65534)" in said
        assert f"sudo -u nobody memwatch attach {process.pid}" in said
        process.kill()


def test_a_process_that_is_stopped(tmp_path: Path) -> None:
    with running(tmp_path) as program:
        program.process.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        assert f"kill -CONT {program.pid}" in refused(tmp_path, program.pid)
        program.process.send_signal(signal.SIGCONT)
        program.is_well()


def test_a_process_that_a_debugger_has_stopped(tmp_path: Path) -> None:
    gdb = shutil.which("gdb")
    if gdb is None:
        pytest.skip("gdb isn't installed here")
    with running(tmp_path) as program:
        debugger = subprocess.Popen(
            [gdb, "-nx", "-q", "-iex", "set auto-solib-add off", "-p", str(program.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(200):
            time.sleep(0.05)
            if "State:\tt" in Path(f"/proc/{program.pid}/status").read_text():
                break
        said = refused(tmp_path, program.pid)
        assert f"process {program.pid} is stopped in a debugger (process {debugger.pid})" in said
        debugger.communicate(b"detach\nquit\n", timeout=30)
        program.is_well()


def test_a_process_in_another_pid_namespace(tmp_path: Path) -> None:
    if os.geteuid() or not shutil.which("unshare"):
        pytest.skip("takes root and unshare")
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", "import time; time.sleep(1000)"]
    with subprocess.Popen(command) as outer:
        time.sleep(1)
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        if not children:
            pytest.skip("this machine has no namespaces of processes")
        said = refused(tmp_path, int(children[0]))
        assert "runs in a container, which counts processes by itself" in said
        os.kill(int(children[0]), signal.SIGKILL)
        outer.wait()


def test_a_program_that_memwatch_runs_already(tmp_path: Path) -> None:
    source = LOOP.replace('config = {"n": 0}', 'from memwatch_core import watch\nconfig = watch({"n": 0}, name="own")')
    with running(tmp_path, source) as program:
        (own,) = (tmp_path / ".memwatch").iterdir()
        said = refused(tmp_path, program.pid)
        assert f"it takes part in session {own} already" in said
        assert "a process takes part in one session at a time" in said
        program.is_well()
        assert events(program, own), "it goes on in its own session"


def test_a_program_that_is_attached_to_already(tmp_path: Path) -> None:
    with running(tmp_path) as program:
        with attached(program):
            done = subprocess.run(
                [*CLI, "attach", str(program.pid), "--watch", "program:config", "--folder", "others"],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 2
            assert "another memwatch attach is at it" in done.stderr
            assert not list((tmp_path / "others").iterdir())
        assert events(program)
        program.is_well()


@pytest.mark.skipif(sys.version_info < (3, 14), reason="sys.remote_exec is there from 3.14 on")
def test_a_program_that_lets_nobody_in(tmp_path: Path) -> None:
    with running(tmp_path, options=("-X", "disable-remote-debug")) as program:
        assert "-X disable-remote-debug" in refused(tmp_path, program.pid)
        program.is_well()


def test_an_environment_with_another_version_of_memwatch(tmp_path: Path) -> None:
    source = "import memwatch_core\nmemwatch_core.__version__ = '0.0.9'\n" + LOOP
    with running(tmp_path, source) as program:
        said = refused(tmp_path, program.pid)
        assert "has memwatch-core 0.0.9, and this is" in said
        assert "-m pip install memwatch==" in said
        program.is_well()


def test_gdb_is_missing(tmp_path: Path) -> None:
    if sys.version_info >= (3, 14):
        pytest.skip("it takes no gdb")
    with running(tmp_path) as program:
        done = subprocess.run(
            [*CLI, "attach", str(program.pid), "--watch", "program:config"],
            cwd=tmp_path,
            env={**os.environ, "PATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2
        assert "apt-get install gdb" in done.stderr


def test_nothing_to_watch(tmp_path: Path) -> None:
    done = subprocess.run([*CLI, "attach", "1"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "nothing to watch: --watch MODULE:NAME" in done.stderr


def test_a_session_that_it_has_closed_is_no_hindrance_and_forgotten_by_nobody(tmp_path: Path) -> None:
    source = """
import sys
from memwatch_core import session, watch
config = {"n": 0}
with session(sinks=[], folder="closed"):
    pass
print("ready", flush=True)
for line in sys.stdin:
    config["n"] += 1
    try:
        watch([1])
    except Exception as error:
        print(type(error).__name__, "closed session" in str(error), flush=True)
    else:
        print("watched", flush=True)
"""
    with running(tmp_path, source) as program:
        assert program.ask() == "SessionError True"
        attach(program, "--for", "0.2")
        assert program.ask() == "SessionError True"
