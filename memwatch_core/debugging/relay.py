"""Passes messages on between a client and debugpy, both ways, as they come: but for what concerns data breakpoints.

A message of ours has a number of its own range, so nobody else's has to be changed. What the client sends keeps its
order, also behind a ``setDataBreakpoints`` that takes its time; what stops or ends the program never waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any, Protocol

from ..errors import MemWatchError
from .breakpoints import CAPABILITIES, Breakpoints
from .channels import Channel, Message, ProtocolError
from .program import Refused

_OURS = 1 << 30
"""The first number of our messages; those of others count from 1."""
_PATIENCE = 5.0
"""Seconds for debugpy's own answers, which need nothing of the program."""
_AT_ONCE = frozenset(("pause", "disconnect", "terminate", "cancel", "threads"))
_LEARNT = frozenset(("initialize", "scopes", "variables", "evaluate", "stackTrace"))
"""Requests whose responses we look at."""


class Debugger(Protocol):
    """The other side: debugpy's adapter, started here or elsewhere."""

    channel: Channel

    async def end(self) -> str:
        """Ends it. Returns how it ended, if that was before: ``exit status 1``."""


class Relay:
    """One debugging session."""

    def __init__(
        self,
        client: Channel,
        start: Callable[[], Awaitable[Debugger]],
        connect: Callable[[str, int], Awaitable[Debugger]],
    ) -> None:
        """``start`` starts a debugpy, ``connect`` reaches the one of a program that listens; both raise
        MemWatchError."""
        self._client = client
        self._start, self._connect = start, connect
        self._numbers = count(_OURS)
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._open: dict[int, tuple[str, dict[str, Any]]] = {}
        """Requests of the client's that have no response yet."""
        self._informing: dict[int, asyncio.Task[None]] = {}
        self._initialize: Message | None = None
        self._ordered: asyncio.Queue[Message | None] = asyncio.Queue()
        self._arrived: asyncio.Queue[Message | None] = asyncio.Queue()
        self._leaving = self._terminated = False
        self._breakpoints = Breakpoints(self)
        self._debugger: Debugger
        self._reading: asyncio.Task[None]

    async def run(self) -> bool:
        """Runs the session to its end. Returns False if debugpy ended before its client had asked it to. Raises
        MemWatchError: debugpy can't be started; the client speaks another protocol."""
        self._debugger = await self._start()
        self._reading = asyncio.create_task(self._read(self._debugger))
        asking = asyncio.create_task(self._from_client())
        ordered = asyncio.create_task(self._in_order())
        told = asyncio.create_task(self._from_debugger())
        try:
            await asyncio.wait({asking, ordered, told}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                asking.result()
                ordered.cancel()
                await self._leave()
                return True
            if ordered.done():
                ordered.result()
            return await self._outlive()
        finally:
            for task in (asking, ordered, told, self._reading, *self._informing.values()):
                task.cancel()
            await self._debugger.end()
            await self._client.close()

    async def ask(self, command: str, arguments: dict[str, Any], patience: float = _PATIENCE) -> dict[str, Any]:
        """A request of our own to debugpy; returns the body of its response. Raises Refused."""
        content = await self._request({"command": command, "arguments": arguments}, patience)
        if not content.get("success"):
            body = content.get("body")
            error = body.get("error") if isinstance(body, dict) else None
            said = error.get("format") if isinstance(error, dict) else None
            raise Refused(str(content.get("message") or said or f"debugpy refuses {command}"))
        body = content.get("body")
        return body if isinstance(body, dict) else {}

    async def _request(self, content: dict[str, Any], patience: float) -> dict[str, Any]:
        number = next(self._numbers)
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            if not await self._debugger.channel.send(Message.of({"seq": number, "type": "request", **content})):
                raise Refused("debugpy has ended")
            return await asyncio.wait_for(future, patience)
        except TimeoutError:
            raise Refused(
                f"no answer within {patience:.0f} seconds: the program may be in a call that holds everything up; "
                "pause it and try again"
            ) from None
        finally:
            del self._asked[number]

    # ---- from the client ----

    async def _from_client(self) -> None:
        """Until it hangs up."""
        while (message := await self._client.receive()) is not None:
            what, name = message.kind
            if (what == "request" and name in _AT_ONCE) or what == "response":
                await self._urgent(message, name)
            elif (what, name) == ("request", "dataBreakpointInfo"):  # it only asks
                self._begin_informing(message)
            else:
                self._ordered.put_nowait(message)

    async def _urgent(self, message: Message, name: str) -> None:
        if name == "cancel":
            number = message.arguments.get("requestId", 0)
            task = self._informing.get(number)
            if task is not None:
                task.cancel()
                await self._refuse(number, "dataBreakpointInfo", "cancelled")
                await self._respond(message, {})
                return
        if name in ("disconnect", "terminate"):
            self._leaving = True
            if name == "disconnect" and not message.arguments.get("terminateDebuggee"):
                await self._clear()
        await self._pass_on(message)

    async def _in_order(self) -> None:
        while (message := await self._ordered.get()) is not None:
            kind = message.kind
            if kind == ("request", "setDataBreakpoints"):
                await self._respond(message, await self._breakpoints.set(message.arguments))
            elif kind == ("request", "attach") and (address := _address(message.arguments)) is not None:
                await self._attach(message, *address)
            else:
                if kind == ("request", "initialize"):
                    self._initialize = message
                await self._pass_on(message)

    async def _pass_on(self, message: Message) -> None:
        number = message.content.get("seq")
        what, name = message.kind
        if what == "request" and isinstance(number, int):
            self._open[number] = (name, message.arguments if name in _LEARNT else {})
        await self._debugger.channel.send(message)

    def _begin_informing(self, request: Message) -> None:
        number = request.content.get("seq")
        if isinstance(number, int):
            task = self._informing[number] = asyncio.create_task(self._inform(request))
            task.add_done_callback(partial(self._informed, number))

    async def _inform(self, request: Message) -> None:
        await self._respond(request, await self._breakpoints.info(request.arguments))

    def _informed(self, number: int, _: asyncio.Task[None]) -> None:
        del self._informing[number]

    async def _attach(self, request: Message, host: str, port: int) -> None:
        """The program has a debugpy of its own: goes on with that one instead of ours."""
        try:
            debugger = await self._connect(host, port)
        except MemWatchError as error:
            await self._refuse(request.content.get("seq"), "attach", str(error))
            return
        left, self._debugger = self._debugger, debugger
        self._reading.cancel()
        await left.end()
        self._reading = asyncio.create_task(self._read(debugger))
        if self._initialize is not None:
            content = {key: self._initialize.content[key] for key in ("command", "arguments")}
            with suppress(Refused):
                await self._request(content, _PATIENCE)
        await self._pass_on(request)

    # ---- from debugpy ----

    async def _read(self, debugger: Debugger) -> None:
        """Hands responses to who waits for them; all else goes to the client in its order."""
        with suppress(ProtocolError):
            while (message := await debugger.channel.receive()) is not None:
                content = message.content
                number = content.get("request_seq")
                if content.get("type") == "response" and isinstance(number, int) and number >= _OURS:
                    future = self._asked.get(number)
                    if future is not None and not future.done():
                        future.set_result(content)
                else:
                    self._arrived.put_nowait(message)
        for future in self._asked.values():
            if not future.done():
                future.set_exception(Refused("debugpy has ended"))
        self._arrived.put_nowait(None)

    async def _from_debugger(self) -> None:
        """Until it has ended, or nobody listens."""
        while (message := await self._arrived.get()) is not None:
            kind = message.kind
            if kind[0] == "response":
                message = self._learn(message)
            elif kind == ("event", "stopped"):
                self._breakpoints.goes_on()
                message = await self._explained(message)
            elif kind == ("event", "terminated"):
                self._terminated = True
            if not await self._client.send(message):
                return

    def _learn(self, response: Message) -> Message:
        request = self._open.pop(response.content.get("request_seq", 0), None)
        if request is None or not response.content.get("success"):
            return response
        name, asked = request
        if name == "initialize":
            return Message.of({**response.content, "body": {**response.arguments, **CAPABILITIES}})
        if name == "stackTrace":
            corrected = self._breakpoints.corrected(asked, response.arguments)
            return response if corrected is None else Message.of({**response.content, "body": corrected})
        if name == "scopes":
            self._breakpoints.shown.scopes(asked.get("frameId"), response.arguments)
        elif name == "variables":
            self._breakpoints.shown.variables(asked.get("variablesReference"), response.arguments)
        elif name == "evaluate":
            self._breakpoints.shown.evaluated(asked.get("frameId"), asked.get("expression"), response.arguments)
        return response

    async def _explained(self, stopped: Message) -> Message:
        """A stop for a data breakpoint says so."""
        thread = stopped.arguments.get("threadId")
        if not self._breakpoints.any or not isinstance(thread, int):
            return stopped
        with suppress(Refused):
            for one in await self._breakpoints.retry():
                await self._tell("breakpoint", {"reason": "changed", "breakpoint": one})
            hit = await self._breakpoints.hit(thread)
            if hit is not None:
                return Message.of({**stopped.content, "body": {**stopped.arguments, **hit}})
        return stopped

    # ---- to the client ----

    async def _respond(self, request: Message, body: dict[str, Any]) -> None:
        command, number = request.content.get("command"), request.content.get("seq")
        await self._say("response", {"request_seq": number, "success": True, "command": command, "body": body})

    async def _refuse(self, number: object, command: str, message: str) -> None:
        error = {"id": 1, "format": message.replace("{", "(").replace("}", ")"), "showUser": True}
        said = {"success": False, "message": message, "body": {"error": error}}
        await self._say("response", {"request_seq": number, "command": command, **said})

    async def _tell(self, event: str, body: dict[str, Any]) -> None:
        await self._say("event", {"event": event, "body": body})

    async def _say(self, what: str, content: dict[str, Any]) -> None:
        await self._client.send(Message.of({"seq": next(self._numbers), "type": what, **content}))

    # ---- the end ----

    async def _clear(self) -> None:
        with suppress(Refused):
            await self._breakpoints.clear()

    async def _leave(self) -> None:
        """The client has hung up: a program that goes on must not stop for nobody."""
        if not self._leaving and not self._terminated:
            await self._clear()

    async def _outlive(self) -> bool:
        """debugpy has ended: all that the client waits for is answered. Returns whether that was to be expected."""
        how = await self._debugger.end()
        expected = self._leaving or self._terminated
        for number, (command, _) in sorted(self._open.items()):
            await self._refuse(number, command, f"debugpy's adapter has ended: {how.splitlines()[0]}")
        if not expected:
            text = f"memwatch dap: debugpy's adapter has ended: {how}\n"
            await self._tell("output", {"category": "important", "output": text})
            await self._tell("terminated", {})
        return expected


def _address(arguments: dict[str, Any]) -> tuple[str, int] | None:
    """Where the program's debugpy listens, by an ``attach``; None: it doesn't say so."""
    asked = arguments.get("connect")
    if not isinstance(asked, dict):
        asked = arguments if "port" in arguments and "listen" not in arguments else {}
    host, port = asked.get("host") or "127.0.0.1", asked.get("port")
    if isinstance(port, str) and port.isdecimal():
        port = int(port)
    return (host, port) if isinstance(host, str) and type(port) is int else None
