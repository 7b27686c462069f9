"""Follows a run of tests: who writes to what is watched, and whether it is put back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from memwatch_core.errors import MemWatchError, WatchError
from memwatch_core.records import Event, Lost, Watched
from memwatch_core.running.recording import (
    Place,
    Recording,
    Snapshot,
    path_to,
    step_to,
    unwatch,
    unwatch_place,
    watch,
    watch_place,
)

from .guards import PYTESTS_OWN, Guard, Source, Within, authors, differences
from .told import Found, Teller, Where, Writes

STACK = 64
"""Frames of a call stack: the test's own line is behind those of what it calls."""
EVENTS = 100_000
"""Events of one test that are kept, the last ones."""


class _Left(NamedTuple):
    """What a fixture of a wider scope than a test's has changed in its setup."""

    guard: Guard
    before: Snapshot
    paths: tuple[str, ...]
    writes: dict[str, Writes]


class _Setup:
    """A fixture that is being set up, or is there."""

    def __init__(self, where: Where) -> None:
        self.where = where
        self.left: list[_Left] = []
        self.inner: set[tuple[int, str]] = set()
        """What other wide fixtures have changed meanwhile, which see to it themselves."""


class Run:
    """The session of a run. Raises as :class:`~memwatch_core.running.recording.Recording`."""

    def __init__(self, base: Path, root: Path, depth: int) -> None:
        alone = {"targets": [], "track_all_vars": False, "track_locals": False}  # the file says it for `memwatch run`
        self.recording = Recording(base, watch={"stack": STACK, **alone})
        self.teller = Teller(root)
        self.depth = depth
        self.where = Where()
        self.guards: list[Guard] = []
        self.events: deque[tuple[Event, Where]] = deque(maxlen=EVENTS)
        """Of the current test."""
        self.listeners: list[Callable[[Event, Where], None]] = []
        self.others: list[tuple[Place, tuple[Source, ...]]] = []
        """What is watched and not guarded."""
        self.lost = 0
        self.watched: dict[str, int] = {}
        """Variables, by name; the last one of each."""
        self._setups: list[_Setup] = []
        self._fixtures: dict[object, _Setup] = {}

    # ---- what is watched ---------------------------------------------------------------------------------------------

    def guard(self, name: str, place: Place, within: Within | None = None) -> Guard:
        """Watches a place until :meth:`release`. Raises WatchError, CoreError, TypeError."""
        made = Guard(name, place, self.sources(name, place), within)
        self.guards.append(made)
        return made

    def release(self, guard: Guard) -> None:
        """Forgets a guard, and ends its watch if nobody else is told by it."""
        self.guards.remove(guard)
        ident, prefix = guard.sources[0]
        if prefix or any(ident == source for one in self.guards for source, _ in one.sources):
            return
        try:
            if guard.place.whole:
                unwatch(guard.place.owner)
            else:
                unwatch_place(guard.place.owner, guard.place.key)
        except MemWatchError:
            pass  # it has ended already

    def sources(self, name: str, place: Place) -> tuple[Source, ...]:
        """Watches a place, or finds who is told of it already."""
        try:
            if place.whole:
                options: dict[str, Any] = {"skip": place.skip} if place.skip else {}
                watch(place.owner, name=name, depth=place.depth, **options)
            else:
                watch_place(place.owner, place.key, name=name, depth=place.depth)
        except WatchError:
            if known := self.known(place):
                return known
            raise
        self.sync()
        return ((self.watched[name], ""),)

    def known(self, place: Place) -> tuple[Source, ...]:
        """Where events of a place are told that is watched, perhaps as a part of something else; empty: it isn't."""
        step = "" if place.whole else step_to(place.owner, place.key)
        for watched, sources in (*((guard.place, guard.sources) for guard in self.guards), *self.others):
            if _is_same(watched, place):
                return sources
            found = path_to(watched, place.owner)
            if found is not None:
                return tuple((ident, prefix + found + step) for ident, prefix in sources)
        return ()

    # ---- what happens ------------------------------------------------------------------------------------------------

    def switch(self, where: Where) -> None:
        """From now on, what is written is written there."""
        self.sync()
        self.where = where

    def sync(self) -> None:
        """Takes what was recorded so far."""
        if not self.recording.moved:
            return
        for records in self.recording.read():
            for record in records:
                if isinstance(record, Event):
                    self._take(record)
                elif isinstance(record, Watched):
                    self.watched[record.variable.name] = record.variable.id
                elif isinstance(record, Lost):
                    self.lost += record.count

    def _take(self, event: Event) -> None:
        if event.part is not None and PYTESTS_OWN in event.part.name:
            return
        self.events.append((event, self.where))
        for guard in self.guards:
            guard.note(event, self.where)
        for listener in self.listeners:
            listener(event, self.where)

    @contextmanager
    def within(self, where: Where) -> Iterator[None]:
        """What is written in the block is written there."""
        outer = self.where
        self.switch(where)
        try:
            yield
        finally:
            self.switch(outer)

    # ---- fixtures of wider scopes ------------------------------------------------------------------------------------

    @contextmanager
    def setting_up(self, fixture: object, where: Where) -> Iterator[None]:
        """What a fixture of a wider scope changes in the block is its own affair until :meth:`torn_down`."""
        setup = _Setup(where)
        with self.within(where):
            self._refresh()
            before = [(guard, guard.state) for guard in self.guards]
            self._setups.append(setup)
            try:
                yield
            finally:
                self._setups.pop()
                self.sync()
                self._refresh()
                for guard, state in before:
                    self._own(setup, guard, state)
                self._fixtures[fixture] = setup

    def _own(self, setup: _Setup, guard: Guard, before: Snapshot) -> None:
        changed = differences(before, guard.state)
        guard.adopt(changed, guard.state)
        paths = tuple(path for path in changed if (id(guard), path) not in setup.inner)
        if paths:
            setup.left.append(_Left(guard, before, paths, dict(guard.writes)))
        for outer in self._setups[-1:]:
            outer.inner |= {(id(guard), path) for path in changed}

    def torn_down(self, fixture: object) -> list[Found]:
        """A fixture is gone. Returns what it has left changed."""
        setup = self._fixtures.pop(fixture, None)
        if setup is None:
            return []
        self.sync()
        self._refresh()
        found = []
        for guard, before, paths, writes in setup.left:
            still = [path for path in paths if guard.state.get(path) != before.get(path)]
            guard.adopt(paths, guard.state)
            known = authors(writes | guard.writes, still)
            found += [self._found(guard, path, one, setup.where) for path, one in known]
        return found

    # ---- tests -------------------------------------------------------------------------------------------------------

    def begins(self, where: Where) -> list[Found]:
        """A test begins. Returns what was changed since the last one."""
        found = self.check(self.guards, Where(self.where.nodeid, "after"), audit=False)
        self.events.clear()
        self.where = where
        return found

    def check(self, guards: list[Guard], where: Where, *, audit: bool = True) -> list[Found]:
        """What isn't as it was, of some guards; all begin anew."""
        if audit:
            self.recording.audit()
        self.sync()
        found: list[Found] = []
        told: set[int] = set()
        for guard in self.guards:
            guard.refresh()
            if guard in guards and (changed := guard.changed()):
                for path, writes in authors(guard.writes, changed):
                    seq = writes.last.seq if writes is not None else 0
                    if seq not in told or not seq:
                        told.add(seq)  # once, if several targets have the place
                        found.append(self._found(guard, path, writes, where))
            guard.restart()
        return found

    def _found(self, guard: Guard, path: str, writes: Writes | None, where: Where) -> Found:
        return self.teller.found(guard.name + path, writes, where)

    def _refresh(self) -> None:
        for guard in self.guards:
            guard.refresh()

    def close(self, *, keep: bool) -> None:
        """Ends the session."""
        self.recording.close(keep=keep)


def _is_same(one: Place, other: Place) -> bool:
    return one.owner is other.owner and (
        one.key is other.key or (type(one.key) is type(other.key) is str and one.key == other.key)
    )
