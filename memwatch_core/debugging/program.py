"""Asks the program that is debugged: through debugpy, which evaluates a call of ``adapter/debugged.py`` in it."""

from __future__ import annotations

import ast
import json
from typing import Any, Protocol

from ..errors import MemWatchError

MODULE = "memwatch_core.adapter.debugged"
_PATIENCE = 10.0
"""Seconds for an answer. Whoever looks at a program that hangs should be told so."""


class Refused(MemWatchError):
    """The debugger, or the program, says no. The message says why."""


class Debugger(Protocol):
    """Whom to ask."""

    async def ask(self, command: str, arguments: dict[str, Any], patience: float = ...) -> dict[str, Any]:
        """A request of our own; returns the response's body. Raises Refused."""


async def call(debugger: Debugger, function: str, argument: object, frame: int | None = None) -> Any:
    """Calls a function of ``adapter/debugged.py`` in the program, with a value that JSON can hold, and returns such
    one. In a frame that stands still, it is called by that frame's thread; without one, by a thread of the debugger's,
    while the program runs. Raises Refused."""
    called = f"__import__({MODULE!r}, fromlist=['_']).{function}({json.dumps(argument)!r})"
    arguments: dict[str, Any] = {"expression": called, "context": "repl"}
    if frame is not None:
        arguments |= {"frameId": frame, "context": "clipboard"}  # of which debugpy shortens nothing
    try:
        text = str((await debugger.ask("evaluate", arguments, _PATIENCE)).get("result", ""))
    except Refused as refusal:
        raise _explained(str(refusal)) from None
    try:
        answer = json.loads(text if frame is None else ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError):
        raise _explained(text) from None
    if isinstance(answer, dict) and "refused" in answer:
        raise Refused(str(answer["refused"]))
    return answer


def _explained(text: str) -> Refused:
    if "No module named 'memwatch_core" in text:
        return Refused("MemWatch isn't installed where the program runs: pip install memwatch, with its own python")
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return Refused(lines[-1].strip() if lines else "the program gave no answer")
