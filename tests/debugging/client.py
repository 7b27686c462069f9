"""Adapters of MemWatch's, for a client of theirs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from debug_adapter_client import Client, Refused, Stop

__all__ = ["COMMAND", "Client", "Refused", "Stop", "listening", "on_pipes", "on_port"]

COMMAND = [sys.executable, "-m", "memwatch_core.cli", "dap"]


@contextmanager
def on_pipes(folder: Path) -> Iterator[tuple[Client, subprocess.Popen[bytes]]]:
    """An adapter that is a child, as most editors start it."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MEMWATCH_")}
    adapter = subprocess.Popen(COMMAND, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=plain)
    assert adapter.stdin is not None
    assert adapter.stdout is not None
    try:
        yield Client(adapter.stdout, adapter.stdin), adapter
    finally:
        with suppress(OSError):
            adapter.stdin.close()
        try:
            adapter.wait(20)
        except subprocess.TimeoutExpired:
            adapter.kill()
            adapter.wait()
            raise
        adapter.stdout.close()


@contextmanager
def listening(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """An adapter that listens, and its port."""
    adapter = subprocess.Popen([*COMMAND, "--listen", "0"], cwd=folder, stderr=subprocess.PIPE, text=True)
    assert adapter.stderr is not None
    try:
        yield adapter, int(adapter.stderr.readline().rpartition(":")[2])
    finally:
        adapter.terminate()
        adapter.wait(20)
        adapter.stderr.close()


@contextmanager
def on_port(folder: Path) -> Iterator[Callable[[], Client]]:
    """An adapter that listens; each call connects a client."""
    with listening(folder) as (_, port):
        sockets = []

        def connect() -> Client:
            link = socket.create_connection(("127.0.0.1", port))
            sockets.append(link)
            return Client(link.makefile("rb"), link.makefile("wb"))

        yield connect
        for link in sockets:
            link.close()
