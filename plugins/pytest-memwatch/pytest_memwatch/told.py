"""What was found, as a record that goes from an xdist worker to its controller, and as lines of text."""

from __future__ import annotations

import linecache
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from memwatch_core.records import Event, Part, Site
from memwatch_plugins.text import change, named

VALUE = 30
"""Columns of a value before, and after."""
CALLERS = 8
"""Limit of callers that are named."""


@dataclass(frozen=True)
class Where:
    """A moment of the run: what pytest was at."""

    nodeid: str = ""
    when: str = ""
    """``setup``, ``call``, ``teardown``; ``after``: it had ended."""
    fixture: str = ""
    scope: str = ""
    file: str = ""
    """The test's, or the fixture's: of the lines on the way to a write, the one in it is shown first."""

    def words(self) -> str:
        """``in setup of fixture database [module]``."""
        if self.when == "after":
            return "after it had ended"
        if not self.fixture:
            return f"in {self.when}"
        wider = f" [{self.scope}]" if self.scope not in ("", "function") else ""
        return f"in {self.when} of {self.fixture}{wider}"


@dataclass
class Writes:
    """What was written to one place since the last test's end."""

    first: Event
    last: Event
    where: Where
    count: int = 1

    def net(self) -> Event:
        """One event, from the value before the first to that after the last."""
        first, last = self.first, self.last
        if first is last:
            return last
        if first.part is None or last.part is None:
            return msgspec.structs.replace(last, old=first.old, before=first.before)
        return msgspec.structs.replace(last, part=Part(last.part.name, first.part.old, last.part.new))


@dataclass(frozen=True)
class Found:
    """A target that isn't as it was, and who left it so. Plain values only."""

    place: str
    """``app:SETTINGS["debug"]``."""
    old: str
    new: str
    nodeid: str
    words: str
    """As :meth:`Where.words`."""
    line: str = ""
    """The line of the test, or of the fixture: ``tests/test_cart.py:41 test_checkout``; empty: there is none."""
    source: str = ""
    """What stands there."""
    wrote: str = ""
    """The line that stored."""
    thread: str = ""
    statement: str = ""
    writes: int = 1
    callers: list[str] = field(default_factory=list)
    """Between both, the innermost first."""

    def plain(self) -> dict[str, Any]:
        """As a dict of plain values."""
        return asdict(self)

    @property
    def head(self) -> str:
        """``app:SETTINGS["debug"]: False → True``."""
        return f"{self.place}: {self.old} → {self.new}" if self.old or self.new else f"{self.place}: changed"

    @property
    def brief(self) -> str:
        """One line, for reports of a CI."""
        return f"{self.head} by {self.line or self.wrote or 'an unknown line'} ({self.nodeid}, {self.words})"

    def lines(self) -> Iterator[str]:
        """For people."""
        yield self.head
        yield f"  {self.nodeid}, {self.words}"
        yield from self.origin()

    def origin(self) -> Iterator[str]:
        """Who wrote."""
        if self.line:
            yield f"  {self.line}"
            if self.source:
                yield f"      {self.source}"
        if self.wrote and self.wrote != self.line:
            yield f"    written by {self.wrote}"
        for caller in self.callers:
            yield f"    called by  {caller}"
        about = [f"thread {self.thread}"] if self.thread not in ("", "MainThread") else []
        about += [self.statement] if self.statement else []
        about += [f"the last of {self.writes:,} writes"] if self.writes > 1 else []
        if about:
            yield f"    {', '.join(about)}"


class Teller:
    """Puts writes into words. ``root``: paths are shown relative to it."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)

    def found(self, place: str, writes: Writes | None, where: Where) -> Found:
        """What is said of a place; ``where`` it was found that it isn't as it was."""
        if writes is None:
            return Found(place, "", "", where.nodeid, where.words(), wrote="an unknown line: nobody saw the write")
        event = writes.net()
        part, old, new = change(event, VALUE)
        shown = place or named(event.variable, part)
        return self._found(shown, old, new, writes.where, event, writes.count)

    def event(self, event: Event, where: Where) -> Found:
        """What is said of one event."""
        part, old, new = change(event, VALUE)
        return self._found(named(event.variable, part), old, new, where, event, 1)

    def _found(self, place: str, old: str, new: str, where: Where, event: Event, count: int) -> Found:
        frames = [*([event.site] if event.site is not None else []), *(event.stack or ())]
        at = next((i for i, frame in enumerate(frames) if frame.file == where.file), None)
        if at is None:
            at = next((i for i, frame in enumerate(frames) if frame == event.own), None)
        mine = frames[at] if at is not None else None
        statement = event.context
        return Found(
            place,
            old,
            new,
            where.nodeid,
            where.words(),
            line=self.place(mine) if mine is not None else "",
            source=linecache.getline(mine.file, mine.line).strip() if mine is not None else "",
            wrote=self._wrote(event),
            thread=event.thread if event.origin != "found" else "",
            statement=f"{statement.driver}: {statement.statement}" if statement is not None else "",
            writes=count,
            callers=[self.place(frame) for frame in frames[1 : at or 0][:CALLERS]],
        )

    def _wrote(self, event: Event) -> str:
        if event.origin == "found":
            return "an unknown line: nobody saw the write, it was found afterwards"
        return self.place(event.site) if event.site is not None else "an unknown line"

    def place(self, site: Site) -> str:
        """``app/cart.py:12 add``."""
        relative = os.path.relpath(site.file, self.root) if os.path.isabs(site.file) else site.file
        file = site.file if relative.startswith("..") else relative
        return f"{file}:{site.line} {site.function}".rstrip()
