"""Variables to which writes are told under another one's name, as both hold what was written: for the end of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator

from ..printed import clean
from ..records import Event
from ..rendering.layout import both_ends

MOST = 10_000
"""Limit of variables that are remembered."""
SHOWN = 6
_NAME = 40
_Key = tuple[int, str, int]


class Sharing:
    """Counts them. Not thread-safe."""

    def __init__(self) -> None:
        self._writes: Counter[_Key] = Counter()
        self._names: dict[_Key, str] = {}
        self._told: dict[_Key, tuple[_Key, str]] = {}
        """Under which variable the last one was told."""

    def add(self, events: Iterable[Event]) -> None:
        """Takes events that have aliases."""
        for event in events:
            own = event.pid, event.journal, event.variable_id
            for key, name in {
                (event.pid, event.journal, alias.variable_id): alias.variable for alias in event.aliases
            }.items():
                if key != own and (key in self._names or len(self._names) < MOST):
                    self._writes[key] += 1
                    self._names[key], self._told[key] = name, (own, event.variable)

    @property
    def variables(self) -> Collection[_Key]:
        """Those variables."""
        return self._writes.keys()

    def forget(self, key: _Key) -> None:
        """Removes a variable that has ended."""
        self._writes.pop(key, None)
        self._names.pop(key, None)
        self._told.pop(key, None)

    def lines(self, label: Callable[[_Key, str], str]) -> Iterator[str]:
        """A line for each of those with the most writes."""
        for key, count in self._writes.most_common(SHOWN):
            name, told = (both_ends(clean(label(*one)), _NAME) for one in ((key, self._names[key]), self._told[key]))
            writes = "1 write" if count == 1 else f"{count:,} writes"
            yield f"{name}: {writes} to what it shares {'is' if count == 1 else 'are'} told under {told}"
        if len(self._writes) > SHOWN:
            yield f"and {len(self._writes) - SHOWN:,} more that share what was written"
