"""A client of the Debug Adapter Protocol: what an editor does, for tests."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

PATIENCE = 60.0


class Refused(Exception):
    """A response without success; its message."""


class Client:
    """Speaks to an adapter over a pair of streams. ``received`` keeps all messages in the order of their arrival."""

    def __init__(self, reader: BinaryIO, writer: BinaryIO) -> None:
        self._reader, self._writer = reader, writer
        self._numbers = count(1)
        self.received: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._ended = False
        self._seen = 0
        """How many of the messages ``event`` has passed."""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            while True:
                length = 0
                while (line := self._reader.readline()) not in (b"\r\n", b""):
                    name, _, value = line.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                if not line:
                    break
                body = self._reader.read(length)
                with self._news:
                    self.received.append(json.loads(body))
                    self._news.notify_all()
        except (OSError, ValueError):
            pass
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _wait(self, found: Callable[[], Any], what: str, patience: float) -> Any:
        until = time.monotonic() + patience
        with self._news:
            while (result := found()) is None:
                left = until - time.monotonic()
                if self._ended or left <= 0:
                    tail = "\n".join(json.dumps(message)[:400] for message in self.received[-12:])
                    raise AssertionError(f"no {what}; {'it hung up' if self._ended else 'it waits'}; last:\n{tail}")
                self._news.wait(left)
            return result

    def send(self, content: dict[str, Any], *, pieces: int = 1) -> None:
        body = json.dumps(content).encode()
        data = b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        size = -(-len(data) // pieces)
        for at in range(0, len(data), size):
            self._writer.write(data[at : at + size])
            self._writer.flush()
            if pieces > 1:
                time.sleep(0.005)

    def begin(self, command: str, arguments: dict[str, Any] | None = None, *, pieces: int = 1) -> int:
        """Sends a request, doesn't wait. Returns its number."""
        number = next(self._numbers)
        self.send({"seq": number, "type": "request", "command": command, "arguments": arguments or {}}, pieces=pieces)
        return number

    def answer(self, number: int, patience: float = PATIENCE) -> dict[str, Any]:
        """The response to a request; whole."""

        def found() -> dict[str, Any] | None:
            return next((m for m in self.received if m["type"] == "response" and m["request_seq"] == number), None)

        response: dict[str, Any] = self._wait(found, f"response to request {number}", patience)
        return response

    def ask(self, command: str, arguments: dict[str, Any] | None = None, patience: float = PATIENCE) -> dict[str, Any]:
        """The body of the response. Raises Refused."""
        response = self.answer(self.begin(command, arguments), patience)
        if not response["success"]:
            raise Refused(response.get("message"))
        body: dict[str, Any] = response.get("body") or {}
        return body

    def event(self, name: str, patience: float = PATIENCE) -> dict[str, Any]:
        """The body of the next event of a name, behind the one that was returned last."""
        return self._event_of((name,), patience).get("body") or {}

    def _event_of(self, names: Collection[str], patience: float = PATIENCE) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            for at in range(self._seen, len(self.received)):
                message = self.received[at]
                if message["type"] == "event" and message["event"] in names:
                    self._seen = at + 1
                    return message
            return None

        event: dict[str, Any] = self._wait(found, f"event {' or '.join(names)}", patience)
        return event

    def output(self) -> str:
        """What the program has written so far."""
        return "".join(
            m["body"].get("output", "")
            for m in self.received
            if m["type"] == "event" and m["event"] == "output" and m["body"].get("category") == "stdout"
        )

    # ---- what every test needs ----

    def initialize(self, **more: Any) -> dict[str, Any]:
        return self.ask("initialize", {"adapterID": "debugpy", "clientID": "test", "linesStartAt1": True, **more})

    def launch(self, program: Path, *lines: int, before: Callable[[], None] | None = None, **more: Any) -> None:
        """Starts a program with breakpoints on lines, to the first stop or its end."""
        asked = {"program": str(program), "python": [sys.executable], "cwd": str(program.parent)}
        asked |= {"console": "internalConsole", "redirectOutput": True, "justMyCode": True}
        begun = self.begin("launch", asked | more)
        self.event("initialized")
        self.ask("setBreakpoints", {"source": {"path": str(program)}, "breakpoints": [{"line": n} for n in lines]})
        if before is not None:
            before()
        self.ask("configurationDone")
        self.answer(begun)

    def attach(self, *lines: int, program: Path | None = None, **more: Any) -> None:
        """Takes part in a program that waits for it, with breakpoints on lines of a file."""
        self.initialize()
        begun = self.begin("attach", more)
        self.event("initialized")
        if program is not None:
            places = [{"line": line} for line in lines]
            self.ask("setBreakpoints", {"source": {"path": str(program)}, "breakpoints": places})
        self.ask("configurationDone")
        self.answer(begun)

    def stopped(self) -> Stop:
        """The next stop."""
        return Stop(self, self.event("stopped"))

    def stops(self) -> Iterator[Stop]:
        """All stops, to the program's end; whoever takes one has the program go on before the next."""
        while (event := self._event_of(("stopped", "terminated")))["event"] == "stopped":
            yield Stop(self, event["body"])

    def go(self, stop: Stop, how: str = "continue") -> None:
        self.ask(how, {"threadId": stop.thread})

    def set(self, *places: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("setDataBreakpoints", {"breakpoints": list(places)})["breakpoints"]
        return found

    def close(self) -> None:
        self._writer.close()


class Stop:
    """A thread stands still."""

    def __init__(self, client: Client, body: dict[str, Any]) -> None:
        self._client = client
        self.body = body
        self.thread: int = body["threadId"]
        self.frames: list[dict[str, Any]] = client.ask("stackTrace", {"threadId": self.thread})["stackFrames"]

    @property
    def reason(self) -> str:
        return str(self.body["reason"])

    @property
    def line(self) -> int:
        return int(self.frames[0]["line"])

    def at(self) -> tuple[str, int]:
        """The function that stands still, and its line."""
        return self.frames[0]["name"], self.line

    def evaluate(self, expression: str, frame: int = 0) -> str:
        asked = {"expression": expression, "frameId": self.frames[frame]["id"], "context": "repl"}
        return str(self._client.ask("evaluate", asked)["result"])

    def info(self, expression: str, frame: int = 0) -> dict[str, Any]:
        return self._client.ask("dataBreakpointInfo", {"name": expression, "frameId": self.frames[frame]["id"]})

    def info_in(self, *names: str, scope: str = "Locals", frame: int = 0) -> dict[str, Any]:
        """By the lines of the view: the scope, and the names down to the variable."""
        scopes = self._client.ask("scopes", {"frameId": self.frames[frame]["id"]})["scopes"]
        reference = next(one["variablesReference"] for one in scopes if one["name"] == scope)
        for name in names[:-1]:
            shown = self._client.ask("variables", {"variablesReference": reference})["variables"]
            reference = next(one["variablesReference"] for one in shown if one["name"] == name)
        self._client.ask("variables", {"variablesReference": reference})
        return self._client.ask("dataBreakpointInfo", {"variablesReference": reference, "name": names[-1]})


@contextmanager
def connected(port: int) -> Iterator[Client]:
    """A client of an adapter that is about to listen."""
    for attempt in range(300):
        try:
            link = socket.create_connection(("127.0.0.1", port))
            break
        except OSError:
            assert attempt < 299, "the adapter doesn't listen"
            time.sleep(0.1)
    with link:
        try:
            yield Client(link.makefile("rb"), link.makefile("wb"))
        finally:
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
