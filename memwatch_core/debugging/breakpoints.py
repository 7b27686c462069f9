"""Data breakpoints: answers the two requests that debugpy hasn't, and knows which breakpoint a stop belongs to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import count
from typing import Any

from . import program
from .program import Debugger, Refused
from .shown import Line, Shown

_FIRST = 1_000_001
"""Clients know a breakpoint by its number alone; those of debugpy start from 0."""
CAPABILITIES = {"supportsDataBreakpoints": True, "supportsDataBreakpointBytes": False}


@dataclass(slots=True)
class _Breakpoint:
    number: int
    wanted: dict[str, Any]
    verified: bool = False
    message: str = ""

    def shown(self) -> dict[str, Any]:
        said = {"message": self.message} if self.message else {}
        return {"id": self.number, "verified": self.verified, **said}


class Breakpoints:
    """Those of one debugged program."""

    def __init__(self, debugger: Debugger) -> None:
        self._debugger = debugger
        self.shown = Shown()
        self._numbers = count(_FIRST)
        self._set: list[_Breakpoint] = []
        self._turn = asyncio.Lock()
        self._lines: dict[int, tuple[int, int]] = {}
        """By thread that stands still: the line of its innermost frame, and the one before it that stored."""

    @property
    def any(self) -> bool:
        """Whether one is set."""
        return bool(self._set)

    async def info(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Answers ``dataBreakpointInfo``: by what the client calls the place, and what it is; ``dataId`` is None if
        nothing can stop there, and the description says why."""
        try:
            line = await self._named(arguments)
            asked = {"expression": line.expression, "scope": line.scope}
            answer = await program.call(self._debugger, "describe", asked, line.frame)
        except Refused as refusal:
            return {"dataId": None, "description": str(refusal)}
        return {
            "dataId": answer["id"],
            "description": answer["description"],
            "accessTypes": ["write"],
            "canPersist": answer["persists"],
        }

    async def set(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Answers ``setDataBreakpoints``: these, and no others. One that is there already goes on, with its count."""
        wanted = [one for one in arguments.get("breakpoints") or () if isinstance(one, dict)]
        async with self._turn:
            left = list(self._set)
            found = []
            for one in wanted:
                same = next((known for known in left if known.wanted == one), None)
                if same is not None:
                    left.remove(same)
                found.append(same or _Breakpoint(next(self._numbers), one))
            self._set = found
            await self._arm()
        return {"breakpoints": [one.shown() for one in found]}

    async def retry(self) -> list[dict[str, Any]]:
        """Tries again those that couldn't be set. Returns the ones of which the client has to be told."""
        if all(one.verified for one in self._set):
            return []
        async with self._turn:
            before = [one.shown() for one in self._set]
            await self._arm()
            return [one.shown() for one, was in zip(self._set, before, strict=True) if one.shown() != was]

    async def clear(self) -> None:
        """Before the debugger leaves a program that goes on."""
        if self._set:
            await self.set({})

    async def hit(self, thread: int) -> dict[str, Any] | None:
        """What a thread that has just stopped was stopped for: the fields of a ``stopped`` event. None: for nothing of
        ours."""
        body = await self._debugger.ask("stackTrace", {"threadId": thread, "startFrame": 0, "levels": 1})
        frames = body.get("stackFrames") or [{}]
        answer = await program.call(self._debugger, "hit", None, frames[0].get("id"))
        if answer is None:
            return None
        if answer["line"] is not None:
            self._lines[thread] = (answer["at"], answer["line"])
        return {
            "reason": "data breakpoint",
            "description": answer["description"],
            "text": answer["text"],
            "hitBreakpointIds": [answer["number"]],
        }

    def goes_on(self) -> None:
        """The program has been let go, or has stopped anew: what was shown of it isn't true any more."""
        self.shown.forget()
        self._lines.clear()

    def corrected(self, asked: dict[str, Any], body: dict[str, Any]) -> dict[str, Any] | None:
        """A response to ``stackTrace`` whose first line is the one that stored; None: it is so already."""
        at, line = self._lines.get(asked.get("threadId", 0), (0, 0))
        frames = body.get("stackFrames")
        if not line or asked.get("startFrame") or not isinstance(frames, list) or not frames:
            return None
        first = frames[0]
        if not isinstance(first, dict) or first.get("line") != at:
            return None
        rest = {key: value for key, value in first.items() if key != "endColumn"}
        return {**body, "stackFrames": [{**rest, "line": line, "column": 1}, *frames[1:]]}

    async def _arm(self) -> None:
        wanted = [{"number": one.number, **one.wanted} for one in self._set]
        try:
            answer = await program.call(self._debugger, "arm", wanted)
        except Refused as refusal:
            answer = [{"verified": False, "message": str(refusal)}] * len(wanted)
        for one, told in zip(self._set, answer, strict=True):
            one.verified, one.message = told["verified"], told.get("message", "")

    async def _named(self, arguments: dict[str, Any]) -> Line:
        """What a request means. Raises Refused."""
        reference, name, frame = (arguments.get(key) for key in ("variablesReference", "name", "frameId"))
        if not isinstance(name, str) or not name:
            raise Refused("the request names no variable")
        if arguments.get("asAddress"):
            raise Refused("an address can't be watched: name what lies there")
        if not isinstance(reference, int) or not reference:
            return Line(name, frame if isinstance(frame, int) else None)
        line = self.shown.find(reference, name)
        if line is None:
            self.shown.variables(reference, await self._debugger.ask("variables", {"variablesReference": reference}))
            line = self.shown.find(reference, name)
        if line is None:
            raise Refused(f"no variable of the name {name} is there")
        return line
