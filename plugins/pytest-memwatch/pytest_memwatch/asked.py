"""The fixture ``memwatch``: what one test asks for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

import pytest

from memwatch_core.errors import MemWatchError, WatchError
from memwatch_core.records import Event
from memwatch_core.running.recording import (
    UNNAMED,
    Place,
    infer_argument,
    infer_name,
    is_proxy,
    unwatch,
    unwatch_place,
    variable,
    watch,
    watch_place,
    why_no_places,
)

from .guards import Guard, authors
from .run import Run
from .told import Found, Where
from .writers import Writer
from .writers import parse as parse_writer

T = TypeVar("T")
_WHOLE: Any = Place(None).key
SHOWN = 5
"""Writes that a failure tells."""


class MemWatch:
    """Watches for one test. Every watch ends with the test.

    Whatever names an object takes an attribute or a key of it instead, as a second argument: of a number or a text, the
    place where it lies can be watched, not the value.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._undo: list[Callable[[], object]] = []
        self._checks: list[Check] = []

    def watch(self, value: T, /, *, name: str | None = None, **options: Any) -> T:
        """As ``memwatch_core.watch()``: returns the same object, or, of a number, bytes or a struct, a proxy that takes
        its place. What is a part of a target of the run is watched already, under that name."""
        frame = sys._getframe(1)
        if name is None:
            name = infer_name(frame)
            name = name if name != UNNAMED else infer_argument(frame) or type(value).__name__
        try:
            watched = watch(value, name=name, **options)
        except WatchError:
            if not self._run.known(Place(value)):
                raise
            return value  # its events are told already
        if not is_proxy(watched):
            self._undo.append(lambda: unwatch(watched))
            self._run.sync()
            here = Place(value, depth=options.get("depth", 1)), ((self._run.watched[name], ""),)
            self._run.others.append(here)
            self._undo.append(lambda: self._run.others.remove(here))
        return watched

    def watch_place(self, owner: object, key: object, /, **options: Any) -> None:
        """As ``memwatch_core.watch_place()``: one attribute or key alone."""
        frame = sys._getframe(1)
        if options.get("name") is None:
            options["name"] = _name(frame, "watch_place", owner, key)
        watch_place(owner, key, **options)
        self._undo.append(lambda: unwatch_place(owner, key))

    @property
    def events(self) -> list[Event]:
        """The writes of this test so far, to all that is watched; of more than 100,000, the last ones."""
        self._run.sync()
        return [event for event, _ in self._run.events]

    def assert_unchanged(self, owner: object, key: object = _WHOLE, /, *, depth: int | None = None) -> Check:
        """The object must be the same at the end as it is now: at the end of the ``with`` block, or, without one, when
        the test's function has returned. What was changed and put back is the same. ``depth``: levels below it that
        count, 3 unless the ini file has ``memwatch_depth``."""
        return self._check(Unchanged(self._run), "assert_unchanged", sys._getframe(1), owner, key, depth)

    def assert_only_written_by(
        self, owner: object, /, *writers: str, key: object = _WHOLE, depth: int | None = None
    ) -> Check:
        """Nobody else may write to the object, from now on until the end of the ``with`` block, or, without one, until
        the test's function has returned. ``writers``: ``"orders.py:*"``, ``"orders.py:add_order"``, ``"orders.py:41"``;
        none: nobody may write."""
        check = OnlyWrittenBy(self._run, tuple(map(parse_writer, writers)))
        return self._check(check, "assert_only_written_by", sys._getframe(1), owner, key, depth)

    def _check(self, check: Check, call: str, frame: Any, owner: object, key: object, depth: int | None) -> Check:
        name = _name(frame, call, owner, key)
        if key is _WHOLE and not is_proxy(owner) and (why := why_no_places(owner)) is not None:
            raise WatchError(f"'{name}' can't be watched: {why.replace('watch_place(', f'memwatch.{call}(')}")
        check.begin(name, Place(owner, key, self._run.depth if depth is None else depth))
        self._checks.append(check)
        return check

    def finish(self) -> None:
        """The test's function has returned. Raises AssertionError: something asserted doesn't hold."""
        __tracebackhide__ = True
        failures = [text for check in self._checks if not check.over and (text := check.end())]
        if failures:
            pytest.fail("\n\n".join(failures), pytrace=False)

    def close(self) -> None:
        """Ends all watches."""
        for check in self._checks:
            check.forget()
        for undo in reversed(self._undo):
            with suppress(MemWatchError, TypeError):  # the test has ended it
                undo()


class Check:
    """An assertion about a span of time. As a context manager, the span is its block."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._guard: Guard | None = None
        self.over = False

    def begin(self, name: str, place: Place) -> None:
        """From now on."""
        self._run.sync()
        if is_proxy(place.owner) and place.whole:
            guard = Guard(variable(place.owner).name, place, ((variable(place.owner).id, ""),))
        else:
            guard = Guard(name, place, self._run.sources(name, place))
        self._guard = guard
        self._run.guards.append(guard)
        self.again()

    def again(self) -> None:
        """From now on, and not from before."""

    def end(self) -> str:
        """Until now. Returns what doesn't hold; empty: all does."""
        guard = self._guard
        if guard is None or self.over:
            return ""
        self.over = True
        self._run.recording.audit()
        self._run.sync()
        text = self.verdict(guard)
        self.forget()
        return text

    def verdict(self, guard: Guard) -> str:
        """What doesn't hold; empty: all does."""
        raise NotImplementedError

    def forget(self) -> None:
        """Ends the watch. Idempotent."""
        guard, self._guard = self._guard, None
        if guard is not None:
            self._run.release(guard)

    def __enter__(self) -> Check:
        self._run.sync()
        self.again()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        text = self.end()
        if text and error is None:
            pytest.fail(text, pytrace=False)


class Unchanged(Check):
    """See :meth:`MemWatch.assert_unchanged`."""

    def again(self) -> None:
        guard = self._guard
        if guard is not None:
            guard.refresh()
            guard.restart()

    def verdict(self, guard: Guard) -> str:
        guard.refresh()
        changed = guard.changed()
        if not changed:
            return ""
        found = [
            self._run.teller.found(guard.name + path, writes, self._run.where)
            for path, writes in authors(guard.writes, changed)
        ]
        return _text(f"{guard.name} was changed, and should be as it was:", found)


class OnlyWrittenBy(Check):
    """See :meth:`MemWatch.assert_only_written_by`."""

    def __init__(self, run: Run, writers: tuple[Writer, ...]) -> None:
        super().__init__(run)
        self._writers = writers
        self._others: list[Found] = []
        self._count = 0

    def again(self) -> None:
        self._others, self._count = [], 0
        if self._listen not in self._run.listeners:
            self._run.listeners.append(self._listen)

    def _listen(self, event: Event, where: Where) -> None:
        if self._guard is None or self._guard.path_of(event) is None:
            return
        if not any(writer.wrote(event) for writer in self._writers):
            self._count += 1
            if self._count <= SHOWN:
                self._others.append(self._run.teller.event(event, where))

    def verdict(self, guard: Guard) -> str:
        if not self._count:
            return ""
        allowed = f"only {', '.join(writer.text for writer in self._writers)} may" if self._writers else "nobody may"
        return _text(f"{allowed} write to {guard.name}; others did, {_times(self._count)}:", self._others)

    def forget(self) -> None:
        if self._listen in self._run.listeners:
            self._run.listeners.remove(self._listen)
        super().forget()


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")


def _text(head: str, found: list[Found]) -> str:
    def lines() -> Iterator[str]:
        yield head
        for one in found[:SHOWN]:
            yield f"  {one.head}"
            yield from (f"  {line}" for line in one.origin())
        if len(found) > SHOWN:
            yield f"  and {len(found) - SHOWN:,} more"

    return "\n".join(lines())


def _name(frame: Any, call: str, owner: object, key: object) -> str:
    from memwatch_core.running.recording import step_to

    whose = infer_argument(frame, call) or type(owner).__name__
    return whose if key is _WHOLE else whose + step_to(owner, key)
