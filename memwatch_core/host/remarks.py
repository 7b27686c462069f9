"""Where a program would mislead itself with a watched number, and what to write instead: for the end of a run.

Two things are other with a watched number than with a plain one. ``x = x + 1`` gives the name to a plain number, and
the watch ends. And ``x += f()`` adds to what ``x`` holds when ``f`` has returned, where a plain number adds to what it
held before, and loses what ``f`` or another thread has written to it meanwhile: the program's fault goes away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ..printed import clean
from ..records import Event, Site, Unwatched, Variable
from ..rendering.endings import is_own
from ..rendering.layout import both_ends
from ..rendering.text import short_path

SHOWN = 3
"""Limit of remarks of each kind."""
MOST = 1000
"""Limit of places, and of variables, that are remembered."""
_NAME = 40
_Place = tuple[str, str, int, str]
"""Variable, file, line, function."""
_Key = tuple[int, str, int]
_Writer = tuple[int, str, str]
"""Thread, file and function of a write."""


class Remarks:
    """Collects them from records. Not thread-safe."""

    def __init__(self) -> None:
        self._rebound: dict[_Place, Unwatched] = {}
        self._arrays: dict[_Key, str] = {}
        """The serializer of each variable that is watched as what it is, and so has no ``.value``."""
        self._added: Counter[_Place] = Counter()
        """How often each ``x += f()`` added to what something else had written last."""
        self._writers: dict[_Key, _Writer] = {}
        """Who wrote last to the variables that such lines write to."""

    def events(self, events: Sequence[Event], before: dict[_Key, Event]) -> None:
        """Takes a batch of events; ``before`` has the last event of each variable before them."""
        marked = [event for event in events if event.site is not None and event.site.adds_call]
        if not marked and not self._writers:
            return
        for event in marked:
            key = event.pid, event.journal, event.variable_id
            if key not in self._writers and len(self._writers) < MOST:
                self._writers[key] = _writer(before[key]) if key in before else (event.tid, "", "")
        for event in events:
            key = event.pid, event.journal, event.variable_id
            last, now = self._writers.get(key), _writer(event)
            if last is None:
                continue
            self._writers[key] = now
            if event.site is not None and event.site.adds_call and last != now and last[1]:
                place = _place(event.variable, event.site)
                if place in self._added or len(self._added) < MOST:
                    self._added[place] += 1

    def watched(self, variable: Variable) -> None:
        """Takes the beginning of a watch."""
        if "dtype" in variable.options and len(self._arrays) < MOST:
            self._arrays[variable.pid, variable.journal, variable.id] = variable.serializer

    def ended(self, record: Unwatched) -> None:
        """Takes the end of a watch."""
        key = record.pid, record.journal, record.variable_id
        self._writers.pop(key, None)
        site = record.site if record.why == "rebound" and record.given and is_own(record) else None
        if site is not None and len(self._rebound) < MOST:
            self._rebound.setdefault(_place(record.variable, site), record)

    def lines(self) -> Iterator[str]:
        """A sentence for each of the first of them."""
        for place, record in [*self._rebound.items()][:SHOWN]:
            name, where = _said(place)
            serializer = self._arrays.get((record.pid, record.journal, record.variable_id))
            if serializer is not None:
                into = _code(f"{name}[...] = …" if serializer == "numpy" else f"{name}[:] = …")
                done = f"the watch ended with {_code(f'{name} = …')} at {where}"
                yield f"{name}: {done}, which makes another one: to write into this one, {into}"
                continue
            computed = record.given == "computed"
            what = _code(f"{name} = {name} + …" if computed else f"{name} = …")
            instead = (
                f"{_code(f'{name} += …')} or {_code(f'{name}.value = …')}" if computed else _code(f"{name}.value = …")
            )
            yield f"{name}: the watch ended with {what} at {where}, which makes it a plain value: write {instead}"
        for place, count in self._added.most_common(SHOWN):
            name, where = _said(place)
            times = "once" if count == 1 else f"{count:,} times"
            yield (
                f"{name}: {_code(f'{name} += f()')} at {where} added to what another thread or function had written, "
                f"{times}: if that came during the call, a plain number would have lost it, and this one doesn't. "
                f"To see it lost: {_code(f'{name}.value = {name}.value + f()')}, or watch the object that holds it"
            )
        for kind in (self._rebound, self._added):
            if len(kind) > SHOWN:
                yield f"and {len(kind) - SHOWN:,} more of this kind"


def _writer(event: Event) -> _Writer:
    site = event.site
    return (event.tid, "?", "") if site is None else (event.tid, site.file or "?", site.function)


def _place(variable: str, site: Site) -> _Place:
    return variable, site.file, site.line, site.function


def _said(place: _Place) -> tuple[str, str]:
    variable, file, line, function = place
    return both_ends(clean(variable), _NAME), f"{short_path(file)}:{line}\t{clean(function)}"


def _code(text: str) -> str:
    """At a tab no line breaks."""
    return f"`{text}`".replace(" ", "\t")
