"""A place that shall stay as it is: what it held, what it holds, and who has written there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from memwatch_core.records import Event
from memwatch_core.running.recording import Place, Snapshot, snapshot
from memwatch_core.targets import matches

from .told import Where, Writes

PYTESTS_OWN = "PYTEST_CURRENT_TEST"
"""A variable of the environment that pytest sets before each phase of a test."""
_STEPS = (".", "[", "{")

Source = tuple[int, str]
"""A variable that has the place, and the path at which it is there."""


class Within(NamedTuple):
    """A part of a place: what lies below a path, of names that match a pattern."""

    path: str
    pattern: str = "*"

    def has(self, path: str) -> bool:
        """Whether something at a path is a part of it."""
        if self.pattern == "*":
            return path == self.path or _is_in(path, self.path)
        return _is_in(path, self.path) and matches(self.pattern, _first(path[len(self.path) :]))

    def depends_on(self, path: str) -> bool:
        """Whether it is another one if a path gets another value."""
        return self.has(path) or path == self.path or _is_in(self.path, path)


class Guard:
    """One place, watched. ``name``: what it is called; ``sources``: where its events are told; ``within``: the
    part of it that is meant, if not all is."""

    def __init__(self, name: str, place: Place, sources: Iterable[Source], within: Within | None = None) -> None:
        self.name = name
        self.place = place
        self.within = within
        self.sources = tuple(sources)
        self.writes: dict[str, Writes] = {}
        """By path, since :meth:`restart`."""
        self.touched = False
        """Whether something was written since :meth:`refresh`."""
        self.state = self.expected = self._look()
        """What is there; and what there should be: what was there before the test, as its wider fixtures have changed
        it since."""

    @property
    def seen(self) -> bool:
        """Whether there is, or was, something at the place."""
        return bool(self.state or self.touched or self.writes or self.expected)

    def _look(self) -> Snapshot:
        within = self.within
        return {
            path: held
            for path, held in snapshot(self.place).items()
            if PYTESTS_OWN not in path and (within is None or within.has(path))
        }

    def note(self, event: Event, where: Where) -> bool:
        """Whether an event is about this place; then it is remembered."""
        path = self.path_of(event)
        if path is None:
            return False
        self.touched = True
        if (known := self.writes.get(path)) is None:
            self.writes[path] = Writes(event, event, where)
        else:
            known.last, known.where, known.count = event, where, known.count + 1
        return True

    def path_of(self, event: Event) -> str | None:
        """Where in this place an event has happened; None: not in it."""
        name = event.part.name if event.part is not None else ""
        if PYTESTS_OWN in name:
            return None
        for ident, path in ((event.variable_id, name), *((each.variable_id, each.name) for each in event.aliases)):
            for source, prefix in self.sources:
                if ident == source and path.startswith(prefix):
                    rest = path[len(prefix) :]
                    if rest and prefix and not rest.startswith(_STEPS):
                        continue
                    return rest if self.within is None or self.within.depends_on(rest) else None
        return None

    def refresh(self) -> bool:
        """Looks at the place again, if something was written. Returns whether it isn't as it was before."""
        if not self.touched:
            return False
        self.touched = False
        before, self.state = self.state, self._look()
        return before != self.state

    def restart(self) -> None:
        """What is there now is what should be there."""
        self.expected = self.state
        self.writes = {}

    def adopt(self, paths: Iterable[str], state: Snapshot) -> None:
        """What a state has at these paths is what should be there."""
        self.expected = dict(self.expected)
        for path in paths:
            if path in state:
                self.expected[path] = state[path]
            else:
                self.expected.pop(path, None)

    def changed(self) -> list[str]:
        """Paths at which there isn't what should be there."""
        return differences(self.expected, self.state)


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """Paths that differ, outer ones first."""
    if before == after:
        return []
    return [path for path in {**before, **after} if before.get(path) != after.get(path)]


def authors(writes: dict[str, Writes], paths: Sequence[str]) -> Iterator[tuple[str, Writes | None]]:
    """Who has left these paths as they are: each write once, with the path that it is told under."""
    told: set[int] = set()
    for path in paths:
        at, found = author(writes, path)
        if found is None and any(_is_in(path, other) for other in paths):
            continue  # an item of a list has another number
        if found is None:
            if not told:
                told.add(0)
                yield path, None
        elif found.last.seq not in told:
            told.add(found.last.seq)
            yield at, found


def author(writes: dict[str, Writes], path: str) -> tuple[str, Writes | None]:
    """The writes that have made a path what it is: to itself, else to what it lies in, else to what lies in it."""
    if path in writes:
        return path, writes[path]
    above = [each for each in writes if _is_in(path, each)]
    inside = [each for each in writes if _is_in(each, path)]
    for candidates in (inside, above):
        if candidates:
            at = max(candidates, key=lambda each: writes[each].last.seq)
            return at, writes[at]
    return path, None


def _is_in(path: str, outer: str) -> bool:
    return path.startswith(outer) and path[len(outer) :].startswith(_STEPS)


def _first(path: str) -> str:
    """``.config["debug"]`` -> ``config``."""
    ends = [at for each in _STEPS if (at := path.find(each, 1)) > 0]
    return path[1 : min(ends, default=len(path))]
