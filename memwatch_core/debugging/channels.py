"""Messages of the Debug Adapter Protocol over byte streams.

A message is a header (``Content-Length: 119``) and JSON. Its JSON is kept as it came, so that it can be passed on as it
is; it is parsed for those who look at it.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import MemWatchError

_LONGEST_HEADER = 1 << 14


class ProtocolError(MemWatchError):
    """What comes isn't the Debug Adapter Protocol. Nothing more can be read from the stream."""


@dataclass(frozen=True)
class Message:
    """One message. ``data``: its JSON, as it came or goes."""

    data: bytes

    @cached_property
    def content(self) -> dict[str, Any]:
        """Empty if it isn't an object of JSON."""
        try:
            content = json.loads(self.data)
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}

    @classmethod
    def of(cls, content: dict[str, Any]) -> Message:
        """A message with this content."""
        return cls(json.dumps(content, separators=(",", ":")).encode())

    @property
    def kind(self) -> tuple[str, str]:
        """``("request", "next")``, ``("event", "stopped")``; ``("", "")`` of what is none of these."""
        content = self.content
        what = content.get("type")
        name = content.get("event" if what == "event" else "command")
        return (what, name) if isinstance(what, str) and isinstance(name, str) else ("", "")

    @property
    def arguments(self) -> dict[str, Any]:
        """Of a request; of an event or a response, its body."""
        content = self.content
        found = content.get("arguments" if content.get("type") == "request" else "body")
        return found if isinstance(found, dict) else {}


class Channel:
    """A pair of streams. For one task that reads and any that write."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive(self) -> Message | None:
        """The next message. None: the stream has ended, be it within a message. Raises ProtocolError."""
        length: int | None = None
        read = 0
        while True:
            try:
                line = await self._reader.readline()
            except OSError:
                return None
            except ValueError as error:  # longer than the reader's limit
                raise ProtocolError("a header of a message never ends: is this a debugger's client?") from error
            if not line.endswith(b"\n"):
                return None
            read += len(line)
            line = line.strip()
            if not line:
                if length is not None:
                    break
                raise ProtocolError("a message has no Content-Length: is this a debugger's client?")
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length" and value.strip().isdigit():
                length = int(value)
            if read > _LONGEST_HEADER:
                raise ProtocolError("a header of a message never ends: is this a debugger's client?")
        try:
            return Message(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, OSError):
            return None

    async def send(self, message: Message) -> bool:
        """Sends a message; messages of several tasks don't mix. False: nobody reads any more."""
        self._writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(message.data), message.data))
        try:
            await self._writer.drain()
        except OSError:
            return False
        return True

    async def close(self) -> None:
        """Ends the stream of what is sent, after all of it. Idempotent."""
        self._writer.close()
        with suppress(TimeoutError, OSError):
            await asyncio.wait_for(self._writer.wait_closed(), 2)
