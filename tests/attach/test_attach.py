"""A program that runs is attached to: a write that isn't told, or told wrongly; a state in which it can't be
reached."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import time
from itertools import pairwise
from pathlib import Path

import pytest
from programs import LOOP, attach, attached, command, events, running, until

PLACES = """
import sys

class Order:
    limit = 100
    def __init__(self):
        self.total = 0

config = {"debug": False}
LIMITS = [1, 2, 3]
order = Order()

def work():
    config["debug"] = not config["debug"]
    Order.limit += 1
    LIMITS[2] += 1
    order.total += 1
    Order().total = 5

print("ready", flush=True)
for line in sys.stdin:
    work()
    print("done", flush=True)
"""


def line_of(source: str, text: str) -> int:
    return next(number for number, line in enumerate(source.splitlines(), 1) if text in line)


@pytest.mark.parametrize(
    ("target", "text", "count"),
    [
        ("program:config", 'config["debug"] =', 3),
        ('program:config["debug"]', 'config["debug"] =', 3),
        ("program:LIMITS[2]", "LIMITS[2] +=", 3),
        ("program:Order.limit", "Order.limit +=", 3),
        ("program:order.total", "order.total +=", 3),
        ("__main__:config", 'config["debug"] =', 3),
    ],
)
def test_every_write_from_then_on_is_told_with_its_line(target: str, text: str, count: int, tmp_path: Path) -> None:
    with running(tmp_path, PLACES) as program:
        assert program.ask() == "done"
        with attached(program, watch=target):
            for _ in range(count):
                assert program.ask() == "done"
        assert program.ask() == "done"
        found = [one for one in events(program) if one["site"] and text in PLACES.splitlines()[one["site"]["line"] - 1]]
        assert len(found) == count
        assert {one["site"]["line"] for one in found} == {line_of(PLACES, text)}
        assert {one["site"]["function"] for one in found} == {"work"}
        assert {one["thread"] for one in found} == {"MainThread"}
        program.is_well()


STATES = {
    "sleeps": "time.sleep(1000)",
    "waits for a lock": "threading.Event().wait()",
    "waits for a thread": "t = threading.Thread(target=time.sleep, args=(1000,), daemon=True); t.start(); t.join()",
    "accepts": "socket.create_server(('127.0.0.1', 0)).accept()",
    "selects": "select.select([socket.create_server(('127.0.0.1', 0))], [], [])",
    "polls": "s = socket.create_server(('127.0.0.1', 0)); p = select.poll(); p.register(s); p.poll()",
    "runs an idle loop of asyncio": "asyncio.run(asyncio.Event().wait())",
    "computes": "while True: pass",
    "waits for a child": "subprocess.run(['sleep', '1000'])",
    "reads": "sys.stdin.read()",
    "pauses": "signal.pause()",
}


@pytest.mark.parametrize("state", STATES)
def test_it_is_reached_whatever_its_main_thread_waits_for(state: str, tmp_path: Path) -> None:
    source = f"""
import asyncio, select, signal, socket, subprocess, sys, threading, time
config = {{"n": 0}}
def work():
    while True:
        time.sleep(0.01)
        config["n"] += 1
threading.Thread(target=work, daemon=True, name="worker").start()
print("ready", flush=True)
{STATES[state]}
"""
    with running(tmp_path, source) as program:
        time.sleep(0.1)
        attach(program, "--for", "0.3")
        found = events(program)
        assert found
        assert {(one["place"], one["thread"], one["site"]["function"]) for one in found} == {
            ('["n"]', "worker", "work")
        }
        before = len(found)
        time.sleep(0.2)
        assert len(events(program)) == before, "it goes on writing to the journal"
        program.is_well()


def test_a_long_call_of_c_is_waited_for_and_then_given_up(tmp_path: Path) -> None:
    source = "config = {}\nprint('ready', flush=True)\nsum(range(10**9 * 3))\n"
    with running(tmp_path, source) as program:
        done = attach(program, "--wait", "1.5", status=2)
        assert (
            "waiting for the program's next Python instruction: its main thread is in C code that runs" in done.stderr
        )
        assert "didn't come to an instruction of Python within 1.5 s" in done.stderr
        assert not list((tmp_path / "sessions").iterdir()), "an empty session is left"
        program.is_well()


def test_what_was_given_up_never_happens(tmp_path: Path) -> None:
    source = """
import sys, time
config = {"n": 0}
print("ready", flush=True)
sum(range(10**8 * 2))
time.sleep(0.2)
sys.stdout.write(f"{'memwatch_core' in sys.modules}\\n"); sys.stdout.flush()
time.sleep(100)
"""
    with running(tmp_path, source) as program:
        attach(program, "--wait", "0.7", status=2)
        assert program.line() == "False"
        program.is_well()


def test_several_threads_write_while_it_is_attached_and_detached(tmp_path: Path) -> None:
    source = """
import threading, sys
config = dict.fromkeys(range(4), 0)
stop = False
def work(i):
    while not stop:
        config[i] += 1
threads = [threading.Thread(target=work, args=(i,), name=f"worker-{i}") for i in range(4)]
[t.start() for t in threads]
print("ready", flush=True)
sys.stdin.readline()
stop = True
[t.join() for t in threads]
print(len(threading.enumerate()), flush=True)
"""
    with running(tmp_path, source) as program:
        attach(program, "--for", "0.2")
        found = events(program)
        for i in range(4):
            own = [one for one in found if one["place"] == f"[{i}]"]
            assert {one["thread"] for one in own} <= {f"worker-{i}"}
            assert all(after["value"] == before["value"] + 1 for before, after in pairwise(own))
        assert program.ask() == "1"


def test_a_module_that_is_imported_later_is_watched_from_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text("state = 1\nstate = 2\n")
    source = "import sys\nprint('ready', flush=True)\nsys.stdin.readline()\nimport late\nlate.state = 3\nprint(late.state, flush=True)\nsys.stdin.readline()\n"
    with running(tmp_path, source) as program:
        with attached(program, watch="late:state"):
            assert program.ask() == "3"
        assert [(one["value"], one["site"]["line"]) for one in events(program)] == [(1, 1), (2, 2), (3, 5)]


def test_a_target_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    with running(tmp_path) as program:
        done = attach(program, "--for", "0.2", watch="program:confg")
        assert "did you mean program:config?" in done.stderr
        program.is_well()


FORKING = """
import os, signal, sys, time
config = {"n": 0}
children = []
print("ready", flush=True)
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        while True:
            time.sleep(0.005)
            config["n"] += 1
    children.append(pid)
    print(pid, flush=True)
"""


def test_children_that_it_forks_are_watched_and_let_go_too(tmp_path: Path) -> None:
    with running(tmp_path, FORKING) as program:
        children = [int(program.ask())]
        try:
            with attached(program):
                children += [int(program.ask()), int(program.ask())]
                time.sleep(0.3)
            found = events(program)
            assert {one["pid"] for one in found} == {*children[1:]}
            time.sleep(0.2)
            assert len(events(program)) == len(found), "a child goes on writing to its journal"
            for child in children:
                os.kill(child, 0)
            program.is_well()
        finally:
            for child in children:
                os.kill(child, signal.SIGKILL)


def test_a_program_without_memwatch_is_lent_it(tmp_path: Path) -> None:
    plain = sysconfig.get_config_var("BINDIR") + f"/python{sysconfig.get_python_version()}"
    lacks = subprocess.run([plain, "-I", "-c", "import memwatch_core"], capture_output=True, check=False).returncode
    if not Path(plain).exists() or not lacks:
        pytest.skip("there is no plain interpreter without MemWatch here")
    with running(tmp_path, python=plain, options=("-I",)) as program:
        done = attach(program, "--for", "0.2")
        assert "is lent to it" in done.stderr
        assert len(events(program)) > 5
        program.is_well()


@pytest.mark.parametrize("gone", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_signals_to_memwatch_end_it_and_not_the_program(gone: int, tmp_path: Path) -> None:
    with running(tmp_path) as program:
        with attached(program) as host:
            time.sleep(0.1)
            host.send_signal(gone)
            _, said = host.communicate(timeout=60)
            assert host.returncode == 0
            assert "the program goes on" in said
        program.is_well()


def test_the_program_ends_while_it_is_attached(tmp_path: Path) -> None:
    source = LOOP.replace("while True", "for _ in range(1500)")
    with running(tmp_path, source) as program:
        with attached(program) as host:
            _, said = host.communicate(timeout=60)
            assert host.returncode == 0
            assert "the program has ended" in said
        assert program.process.wait(10) == 0
        assert program.errors.read_text() == ""


def test_a_killed_memwatch_leaves_a_program_that_goes_on_unwatched(tmp_path: Path) -> None:
    with running(tmp_path) as program:
        with attached(program) as host:
            host.kill()
            host.communicate()
            journal = next(session for session in (tmp_path / "sessions").iterdir())
            until(
                lambda: (
                    "closed"
                    in subprocess.run(
                        [sys.executable, "-m", "memwatch_core.cli", "log", str(journal)],
                        capture_output=True,
                        text=True,
                        check=True,
                    ).stdout
                )
            )
        program.is_well()
        attach(program, "--for", "0.2")
        assert events(program)


def test_a_killed_memwatch_and_its_guardian_are_followed_by_the_next_one(tmp_path: Path) -> None:
    with running(tmp_path) as program:
        with attached(program) as host:
            others = Path(f"/proc/{host.pid}/task/{host.pid}/children").read_text().split()
            for other in map(int, others):
                os.kill(other, signal.SIGKILL)
            host.kill()
            host.communicate()
        time.sleep(0.1)
        done = attach(program, "--for", "0.2")
        assert "nothing lost" in done.stderr
        assert events(program)
        program.is_well()


def test_a_reader_that_stands_still_does_not_hold_the_program_up(tmp_path: Path) -> None:
    source = "import sys\nconfig = {'n': 0}\nprint('ready', flush=True)\nfor line in sys.stdin:\n    for _ in range(300_000): config['n'] += 1\n    print('done', flush=True)\n"
    (tmp_path / "memwatch.toml").write_text("[journal]\nmax_bytes = 4_194_304\n")
    with running(tmp_path, source) as program:
        with attached(program) as host:
            host.send_signal(signal.SIGSTOP)
            try:
                assert program.ask() == "done"
            finally:
                host.send_signal(signal.SIGCONT)
        assert program.ask() == "done"


def test_it_can_be_attached_to_again_and_again(tmp_path: Path) -> None:
    with running(tmp_path) as program:
        for _ in range(5):
            attach(program, "--for", "0.1")
            assert events(program)
        program.is_well()


def test_help_shows_how_it_is_called() -> None:
    done = subprocess.run([*command(1)[:3], "attach", "--help"], capture_output=True, text=True, check=True)
    assert "memwatch attach 4711 --watch orders:config" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
