"""A server that can't outlive the process that wanted it.

That process, the owner, starts a guard: ``python -m servers postgresql <pid of the owner>``. The guard makes the
folder, starts the server in it, tells on its standard output how to reach it (one line of JSON), and waits. When it is
told to stop, or the owner is gone in whatever way, it kills the server and removes the folder. If the guard itself is
killed, the kernel ends the server.
"""

from __future__ import annotations

import json
import os
import pwd
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from typing import Any

ACCOUNT = "nobody"
"""Whom a server runs as if we are root; otherwise it runs as ourselves."""
PATIENCE = 60.0  # seconds
_PLACES = ("/dev/shm", tempfile.gettempdir(), "/tmp")  # in memory a new database takes 25 ms, on a slow disk 250 ms


class ServerError(Exception):
    """A private server didn't start; the message carries the end of its log."""


class ServerMissing(ServerError):
    """Its programs aren't installed."""


class PrivateServer(ABC):
    """One server while it runs, seen by its guard. What is peculiar to PostgreSQL and MariaDB is in the subclasses."""

    name: str
    stop_signal: signal.Signals
    """Ends it at once, with all that it left outside of its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.password = secrets.token_hex(16)

    @abstractmethod
    def prepare(self) -> None:
        """Makes the data folder."""

    @abstractmethod
    def command(self) -> list[str]:
        """What starts it in the foreground, on ``self.port``."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether it takes connections."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Makes the accounts; returns the fields of the record that the owner gets."""

    @property
    def log(self) -> str:
        """The end of what its programs said."""
        return (self.folder / "log").read_text(errors="replace")[-4000:] if (self.folder / "log").exists() else ""

    def run(self, *command: str) -> None:
        """One program to its end, unprivileged. Raises ServerError."""
        if self._start(*command).wait():
            raise ServerError(f"{self.name}: {command[0]} failed\n{self.log}")

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """The server, ready. Raises ServerError."""
        for _ in range(5):
            self.port = _free_port()
            process = self._start(*self.command())
            try:
                if self._becomes_ready(process):
                    yield process
                    return
            finally:
                _end(process, self.stop_signal)
            if "already in use" not in self.log:  # somebody may have taken the port meanwhile
                break
            (self.folder / "log").unlink()
        raise ServerError(f"{self.name} didn't start\n{self.log}")

    def _becomes_ready(self, process: subprocess.Popen[bytes]) -> bool:
        end = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < end:
            if self.ready():
                return True
            time.sleep(0.02)
        return False

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        unprivileged = ["setpriv", "--pdeathsig", self.stop_signal.name[3:]]
        if os.geteuid() == 0:
            account = pwd.getpwnam(ACCOUNT)
            unprivileged += [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        with open(self.folder / "log", "ab") as log:
            return subprocess.Popen(
                [*unprivileged, *command],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def program(name: str, *places: str) -> str:
    """Its path, from the last of the places (globs) that has it, or from PATH. Raises ServerMissing."""
    found = [path for place in places for path in sorted(glob(f"{place}/{name}"), key=_version)]
    path = found[-1] if found else shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise ServerMissing(f"{name} isn't installed; make setup installs it")
    return path


@contextmanager
def private(name: str) -> Iterator[dict[str, Any]]:
    """A server by the name of its module here, while the block runs: the fields of its record. Raises ServerError."""
    here = Path(__file__).parent
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", here.name, name, str(os.getpid())],
        env={**os.environ, "PYTHONPATH": str(here.parent)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,  # so that Ctrl-C in a terminal reaches the owner only
    )
    assert process.stdout is not None
    with process, process.stdout:
        try:
            said = json.loads(process.stdout.readline() or '{"error": "the guard of the server died"}')
            if "error" in said:
                raise ServerError(said["error"])
            yield said
        finally:
            process.terminate()


def guard(name: str, make: Callable[[Path], PrivateServer], owner: int) -> None:
    """What a guard does, to its end."""

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit()

    signal.signal(signal.SIGTERM, stop)
    alive = os.pidfd_open(owner)
    if os.getppid() != owner:
        return
    with _folder(name) as folder:
        server = make(folder)
        try:
            server.prepare()
            with server.running() as process:
                print(json.dumps(server.describe()), flush=True)
                ended, _, _ = select.select([alive, os.pidfd_open(process.pid)], [], [])
                if alive not in ended:
                    print(f"{server.name} ended by itself\n{server.log}", file=sys.stderr)
        except ServerError as error:
            print(json.dumps({"error": str(error)}), flush=True)


@contextmanager
def _folder(name: str) -> Iterator[Path]:
    """A new folder that only the server's account and root can enter."""
    folder = Path(tempfile.mkdtemp(prefix=f"memwatch-{name}-", dir=next(filter(_suits, _PLACES))))
    try:
        if os.geteuid() == 0:
            account = pwd.getpwnam(ACCOUNT)
            os.chown(folder, account.pw_uid, account.pw_gid)
        yield folder
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        shutil.rmtree(folder)


def _suits(place: str) -> bool:
    if place == "/dev/shm" and (not os.path.isdir(place) or shutil.disk_usage(place).free < 1 << 30):
        return False
    reachable = all(folder.stat().st_mode & 0o001 for folder in (Path(place), *Path(place).parents))
    return reachable and len(place) < 40  # the path of a Unix socket may have 107 bytes


def _end(process: subprocess.Popen[bytes], with_signal: signal.Signals) -> None:
    process.send_signal(with_signal)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def _version(path: str) -> list[int]:
    return [int(part) for part in path.split("/") if part.isdecimal()]
