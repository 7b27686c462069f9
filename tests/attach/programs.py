"""Programs that are attached to, and what they are attached by."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
CLI = [sys.executable, "-m", "memwatch_core.cli"]
LOOP = """
import time
config = {"n": 0}

def tick():
    config["n"] += 1

print("ready", flush=True)
while True:
    time.sleep(0.005)
    tick()
"""


def need_a_way_in() -> None:
    """Skips where this Python can't be attached to."""
    if sys.version_info < (3, 14) and shutil.which("gdb") is None:
        pytest.skip("gdb isn't installed here")


class Program:
    """A program that runs, of its own."""

    def __init__(
        self, folder: Path, source: str, *, python: str = sys.executable, options: tuple[str, ...] = ()
    ) -> None:
        need_a_way_in()
        self.folder = folder
        (folder / "program.py").write_text(source)
        self.errors = folder / "errors"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MEMWATCH")}
        with open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(
                [python, *options, "program.py"],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        self.pid = self.process.pid
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n", self.errors.read_text()

    def line(self) -> str:
        """The next line of its output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def ask(self, text: str = "") -> str:
        """Writes a line to it, and reads one."""
        assert self.process.stdin is not None
        print(text, file=self.process.stdin, flush=True)
        return self.line()

    def is_well(self) -> None:
        """It runs, and has said nothing."""
        time.sleep(0.1)
        assert self.process.poll() is None, (self.process.returncode, self.errors.read_text())
        assert self.errors.read_text() == ""

    def end(self) -> None:
        """Kills it, and what it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.communicate()


@contextmanager
def running(folder: Path, source: str = LOOP, **options: Any) -> Iterator[Program]:
    program = Program(folder, source, **options)
    try:
        yield program
    finally:
        program.end()


def command(
    program: Program | int, *options: str, watch: str = "program:config", folder: str = "sessions"
) -> list[str]:
    pid = program if isinstance(program, int) else program.pid
    return [*CLI, "attach", str(pid), "--watch", watch, "--folder", folder, "--sink", "jsonl", *options]


def attach(
    program: Program, *options: str, watch: str = "program:config", status: int = 0, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Attaches to the end."""
    done = subprocess.run(
        command(program, *options, watch=watch),
        cwd=program.folder,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == status, (done.stdout, done.stderr)
    return done


@contextmanager
def attached(program: Program, *options: str, watch: str = "program:config") -> Iterator[subprocess.Popen[str]]:
    """Attached for the length of a block; ended by SIGINT, if it wasn't by then."""
    host = subprocess.Popen(
        command(program, *options, watch=watch),
        cwd=program.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert host.stderr is not None
        said = ""
        while "attached to process" not in said:
            line = host.stderr.readline()
            assert line, said
            said += line
        yield host
        if host.poll() is None:
            host.send_signal(signal.SIGINT)
            host.communicate(timeout=60)
    finally:
        if host.poll() is None:
            host.kill()
            host.communicate()


def session(program: Program) -> Path:
    return max((program.folder / "sessions").iterdir(), key=lambda path: path.stat().st_mtime)


def events(program: Program, folder: Path | None = None) -> list[dict[str, Any]]:
    """What the last session has."""
    done = subprocess.run(
        [*CLI, "log", "--json", str(folder or session(program))], capture_output=True, text=True, timeout=60, check=True
    )
    found = [one for one in map(json.loads, done.stdout.splitlines()) if one.get("seq")]
    for one in found:
        one["place"], one["value"] = (one["part"]["name"], one["part"]["new"]) if one["part"] else ("", one["new"])
    return found


def until(what: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found
