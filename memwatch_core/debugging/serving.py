"""Starts sessions: one on standard input and output, or one for each client that connects to a port."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from ..errors import MemWatchError, SessionError
from .channels import Channel
from .peers import user_of
from .relay import Relay

_LIMIT = 1 << 16
_LINES = 12
"""Of what debugpy says on standard error."""
_PATIENCE = 5.0
"""Seconds that debugpy has to end in: it ends the program first."""


class Started:
    """A debugpy adapter that is our child, and speaks to us through its standard streams."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        assert process.stdin is not None
        self._process = process
        self._said: deque[str] = deque(maxlen=_LINES)
        self._listening = asyncio.create_task(self._listen())
        self.channel = Channel(process.stdout, process.stdin)

    async def _listen(self) -> None:
        """It logs at length what it survives; the end is worth telling if it doesn't."""
        assert self._process.stderr is not None
        with suppress(ValueError):  # a line that is too long
            while line := await self._process.stderr.readline():
                self._said.append(line.decode(errors="replace").rstrip())
        while await self._process.stderr.read(_LIMIT):
            pass

    async def end(self) -> str:
        """Hangs up, and kills it if it doesn't end by that."""
        await self.channel.close()
        for end in (self._process.terminate, self._process.kill):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), _PATIENCE)
                break
            with suppress(ProcessLookupError):
                end()
        status = await self._process.wait()
        await asyncio.wait({self._listening}, timeout=1)
        how = f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"
        return "\n  ".join([how, *self._said])


class Reached:
    """A debugpy adapter elsewhere, to which we have connected."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.channel = Channel(reader, writer)

    async def end(self) -> str:
        """Hangs up."""
        await self.channel.close()
        return "it has hung up"


def check() -> None:
    """Raises SessionError if there is no debugpy."""
    if importlib.util.find_spec("debugpy") is None:
        raise SessionError('memwatch dap stands before debugpy, which isn\'t installed: pip install "memwatch[dap]"')


def _unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """asyncio trips over a child that is killed while something is being sent to it."""
    if not isinstance(context.get("exception"), asyncio.InvalidStateError):
        loop.default_exception_handler(context)


async def start(log: str | None) -> Started:
    """Starts debugpy's adapter, which logs into a folder if one is given."""
    try:
        return Started(
            await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "debugpy.adapter", *(() if log is None else ("--log-dir", log)),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                limit=_LIMIT, start_new_session=True,
            )
        )  # fmt: skip
    except OSError as error:
        raise SessionError(f"{sys.executable}: debugpy's adapter can't be started: {error.strerror}") from error


async def connect(host: str, port: int) -> Reached:
    """Connects to a debugpy that listens. Raises SessionError."""
    try:
        return Reached(*await asyncio.open_connection(host, port, limit=_LIMIT))
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise SessionError(
            f"no debugpy listens at {host}:{port} ({why}): start the program with python -m debugpy --listen {port}"
        ) from error


async def on_standard_streams(log: str | None) -> bool:
    """One session with the client that started us; debugpy logs into a folder. Returns and raises as
    :meth:`Relay.run`."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_unhandled)
    reader = asyncio.StreamReader(limit=_LIMIT)
    # Others may write to descriptor 1; only we to this one.
    output = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    try:
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
        unread = asyncio.StreamReader()
        transport, protocol = await loop.connect_write_pipe(lambda: asyncio.StreamReaderProtocol(unread), output)
    except ValueError as error:  # a file
        raise SessionError("memwatch dap is started by a debugger's client, with a pipe to it on each side") from error
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    return await Relay(Channel(reader, writer), partial(start, log), connect).run()


async def on_port(port: int, log: str | None, ready: Callable[[int], None], failed: Callable[[str], None]) -> None:
    """A session for each client that connects to a port of this machine, until we are interrupted. ``ready`` gets the
    port, ``failed`` what went wrong in a session. Raises SessionError."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            user = user_of(writer.get_extra_info("sockname"), writer.get_extra_info("peername"))
            if user not in (os.getuid(), 0):
                who = "somebody" if user is None else f"user {user}"
                raise SessionError(f"{who} has connected, and was refused: who debugs runs programs as you")
            await Relay(Channel(reader, writer), partial(start, log), connect).run()
        except MemWatchError as error:
            failed(str(error))
            writer.close()

    asyncio.get_running_loop().set_exception_handler(_unhandled)
    try:
        server = await asyncio.start_server(serve, "127.0.0.1", port, limit=_LIMIT)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise SessionError(f"can't listen on port {port}: {why}") from error
    async with server:
        ready(server.sockets[0].getsockname()[1])
        await server.serve_forever()
