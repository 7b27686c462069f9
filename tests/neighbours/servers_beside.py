"""Programs beside others, under ``memwatch run``: servers that are asked, and what their sessions have."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

CLI = [sys.executable, "-m", "memwatch_core.cli"]
STATE = """
from memwatch_core import watch

hits = watch({"n": 0}, name="hits")

def hit():
    hits["n"] += 1  # the line
    return hits["n"]
"""
LINE = 7
APP = """
import os
import state

def wsgi(environment, start):
    start("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {state.hit()}".encode()]

async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": f"{os.getpid()} {state.hit()}".encode()})
"""


def need(module: str) -> None:
    if find_spec(module) is None:
        pytest.skip(f"{module} isn't installed here")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Server:
    """A server under ``memwatch run``, in a folder of its own."""

    def __init__(self, folder: Path, port: int, process: subprocess.Popen[bytes]) -> None:
        self.folder, self.port, self.process = folder, port, process
        self.answers: dict[int, list[int]] = defaultdict(list)

    def said(self) -> str:
        return (self.folder / "output").read_text(errors="replace")[-3000:]

    def ask(self) -> int:
        """One request. Returns the process that answered."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=20) as answer:
            pid, number = map(int, answer.read().split())
        self.answers[pid].append(number)
        return pid

    def until_it_answers(self, other_than: frozenset[int] = frozenset()) -> int:
        deadline = time.monotonic() + 60
        while True:
            assert time.monotonic() < deadline, self.said()
            assert self.process.poll() is None, self.said()
            with suppress(OSError):
                if (pid := self.ask()) not in other_than:
                    return pid
            time.sleep(0.1)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.said()) from None

    def written(self) -> dict[int, list[int]]:
        """What each process has written, as its journal has it."""
        found: dict[int, list[int]] = defaultdict(list)
        for event in events(self.folder):
            assert (Path(event["site"]["file"]).name, event["site"]["line"]) == ("state.py", LINE)
            assert event["site"]["function"] == "hit"
            found[event["pid"]].append(event["value"])
        return found


def events(folder: Path) -> list[dict[str, Any]]:
    (session,) = (folder / "sessions").iterdir()
    done = subprocess.run([*CLI, "log", "--json", str(session)], capture_output=True, text=True, timeout=60, check=True)
    found = [one for one in map(json.loads, done.stdout.splitlines()) if one.get("seq")]
    for one in found:
        one["place"], one["value"] = (one["part"]["name"], one["part"]["new"]) if one["part"] else ("", one["new"])
    return found


@contextmanager
def serving(folder: Path, arguments: Callable[[int], list[str]], **environment: str) -> Iterator[Server]:
    port = free_port()
    (folder / "state.py").write_text(STATE)
    (folder / "app.py").write_text(APP)
    command = [*CLI, "run", "--quiet", "--folder", "sessions", "--sink", "jsonl", *arguments(port)]
    with open(folder / "output", "wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    try:
        yield Server(folder, port, process)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for pid in of_folder(folder):
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def of_folder(folder: Path) -> list[int]:
    """Processes that run in it."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):
            if os.readlink(f"/proc/{name}/cwd") == str(folder):
                found.append(int(name))
    return found


def nobody_is_left(folder: Path) -> None:
    deadline = time.monotonic() + 15
    while left := of_folder(folder):
        assert time.monotonic() < deadline, [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left]
        time.sleep(0.1)
