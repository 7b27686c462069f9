"""What the watched objects of a run hold, and what of it isn't followed, and targets that were never met: for its
end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..printed import clean
from ..records import Unfollowed
from ..rendering.layout import both_ends
from ..rendering.unfollowed import reason, short

OBJECTS = 10_000
"""Limit of objects that are remembered."""
TYPES = 32
"""Limit of reasons and types of one object."""
SHOWN, SHOWN_TYPES = 6, 4
"""Limit of lines, and of reasons and types in one of them."""
_NAME = 40
_Key = tuple[int, str, int]


class LeftOut:
    """Counts them. Not thread-safe."""

    def __init__(self) -> None:
        self._counts: dict[_Key, dict[tuple[str, str], int]] = {}
        self._names: dict[_Key, str] = {}
        self._unmet: dict[str, Unfollowed] = {}

    def add(self, record: Unfollowed) -> None:
        """Takes a record: its count replaces the one before."""
        if record.why == "unmet":
            if len(self._unmet) < OBJECTS:
                self._unmet.setdefault(record.variable, record)
            return
        key = record.pid, record.journal, record.variable_id
        if key not in self._counts and len(self._counts) == OBJECTS:
            return
        counts, kind = self._counts.setdefault(key, {}), (record.why, record.type)
        if kind in counts or len(counts) < TYPES:
            counts[kind] = max(record.count, counts.get(kind, 0))
        self._names[key] = record.variable

    def lines(self, label: Callable[[_Key, str], str]) -> Iterator[str]:
        """A line for each of the objects of which most was left out."""
        by_count = sorted(self._counts.items(), key=lambda row: -sum(row[1].values()))
        for key, counts in by_count[:SHOWN]:
            name = both_ends(clean(label(key, self._names[key])), _NAME)
            most = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
            said = [f"{count:,} {short(why, clean(kind))}" for (why, kind), count in most[:SHOWN_TYPES]]
            rest = sum(count for _, count in most[SHOWN_TYPES:])
            said += [f"{rest:,} more"] if rest else []
            total = sum(counts.values())
            objects = "1 object is" if total == 1 else f"{total:,} objects are"
            yield f"{name}: {objects} not followed: {', '.join(said)}"
        more = len(self._counts) - SHOWN
        if more > 0:
            yield f"and {more:,} more {'object' if more == 1 else 'objects'} of which not all is followed"
        for name, record in [*self._unmet.items()][:SHOWN]:
            yield f"{both_ends(clean(name), _NAME)}: never met: {reason(record)}"
        if len(self._unmet) > SHOWN:
            yield f"and {len(self._unmet) - SHOWN:,} more targets that were never met"
