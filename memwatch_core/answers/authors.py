"""How often who wrote: events counted by line, thread, statement, function, call stack or unit of work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple, cast

from ..host.digests import Later, Undecided, Wrote
from ..host.native import function_of
from ..records import Event, Site

By = Literal["site", "thread", "statement", "function", "stack", "label", "task", "trace"]
MOST = 100_000
"""Limit of authors; what others write is counted together."""


class Author(NamedTuple):
    """Whoever writes; fields that don't matter to what is counted by are empty."""

    site: Site | None = None
    thread: str = ""
    tid: int = 0
    pid: int = 0
    """With ``thread``: names of threads are those of one process."""
    driver: str = ""
    statement: str = ""
    stack: tuple[Site, ...] = ()
    request: str = ""
    """Label, task or trace."""
    found: str = ""
    """Of an event without a line: the libc call that made it, or its origin."""
    others: bool = False
    """Stands for all that are beyond the limit."""


class Count:
    """What one author wrote."""

    __slots__ = ("changed", "first", "last", "writes")

    def __init__(self, event: Event) -> None:
        self.first = self.last = event
        self.writes = self.changed = 0
        """Of ``writes`` events, so many changed something."""


def _place(event: Event) -> tuple[Site | None, str]:
    site = event.own or event.site
    if site is not None:
        return Site(site.file, site.line, site.function), ""
    return None, event.origin if event.call is None else event.call.name


def _site(event: Event) -> Author:
    site, found = _place(event)
    return Author(site=site, found=found)


def _function(event: Event) -> Author:
    site, found = _place(event)
    return Author(site=None if site is None else Site(site.file, 0, function_of(site)), found=found)


def _thread(event: Event) -> Author:
    return Author(thread=event.thread, tid=event.tid, pid=event.pid)


def _statement(event: Event) -> Author:
    context = event.context
    return Author() if context is None else Author(driver=context.driver, statement=context.statement)


def _stack(event: Event) -> Author:
    if event.site is None:
        return _site(event)
    return Author(site=event.site, stack=event.stack or ())


def _label(event: Event) -> Author:
    return Author() if event.request is None else Author(request=event.request.label)


def _task(event: Event) -> Author:
    return Author() if event.request is None else Author(request=event.request.task)


def _trace(event: Event) -> Author:
    return Author() if event.request is None else Author(request=event.request.trace_id)


AUTHORS: dict[By, Callable[[Event], Author]] = {
    "site": _site,
    "thread": _thread,
    "statement": _statement,
    "function": _function,
    "stack": _stack,
    "label": _label,
    "task": _task,
    "trace": _trace,
}


DIGESTED: frozenset[By] = frozenset(("site", "function", "thread", "stack"))
"""What digests say."""


def _of_digest(by: By, wrote: Wrote, pid: int) -> Author:
    if by == "thread":
        return Author(thread=wrote.thread, tid=wrote.tid, pid=pid)
    if by == "stack" and wrote.site is not None:
        return Author(site=wrote.site, stack=wrote.callers)
    site = wrote.own or wrote.site
    if site is None:
        return Author(found=wrote.found)
    if by == "function":
        return Author(site=Site(site.file, 0, function_of(site)))
    return Author(site=Site(site.file, site.line, site.function))


class Authors:
    """Counts events by author."""

    def __init__(self, by: By) -> None:
        self._by, self._author = by, AUTHORS[by]
        self._counts: dict[Author, Count] = {}

    def add(self, event: Event) -> None:
        author = self._author(event)
        count = self._counts.get(author)
        if count is None:
            if len(self._counts) >= MOST:
                author = Author(others=True)
            count = self._counts.setdefault(author, Count(event))
        count.last = event
        count.writes += 1
        count.changed += event.changed

    def digest(self, wrote: Wrote, pid: int) -> None:
        """Takes events that are known from a digest alone. Raises Undecided. Then see :meth:`unsettled`."""
        author = _of_digest(self._by, wrote, pid)
        count = self._counts.get(author)
        if count is None:
            if len(self._counts) >= MOST:
                raise Undecided
            count = self._counts[author] = Count(cast(Event, wrote.first))
        last = count.last
        if not isinstance(last, Later) or last.slot < wrote.last.slot:
            count.last = cast(Event, wrote.last)
        count.writes += wrote.writes
        count.changed += wrote.changed

    def unsettled(self) -> Iterator[Later]:
        """The events that aren't made yet."""
        for count in self._counts.values():
            yield from (cast(Later, event) for event in (count.first, count.last) if isinstance(event, Later))

    def settle(self, events: Mapping[Later, Event]) -> None:
        """Puts these events in their places."""
        for count in self._counts.values():
            if isinstance(count.first, Later):
                count.first = events[count.first]
            if isinstance(count.last, Later):
                count.last = events[count.last]

    def most(self) -> list[tuple[Author, Count]]:
        """Who wrote most first; then who wrote first."""
        return sorted(self._counts.items(), key=lambda each: -each[1].writes)
