"""The records of a session that pass filters, as events or as lines: for ``memwatch log``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from ..host import history
from ..host.merging import Merging, may_merge
from ..printed import say
from ..records import Event, Merged, Record
from .filters import Filters
from .progress import Progress

BATCH = 2000


class Matching:
    """What passes the filters, in batches; and what is to be said besides once all were taken.

    ``filters`` makes them anew, where reading begins again. ``own``, ``by_outcome``: as :func:`history.read`.
    ``merges``: events that one statement made are one line.
    """

    def __init__(
        self,
        path: Path,
        filters: Callable[[], Filters],
        *,
        own: Sequence[Path] | None,
        by_outcome: bool,
        merges: bool,
    ) -> None:
        self._path, self._filters, self._own, self._by_outcome, self._merges = path, filters, own, by_outcome, merges
        self.wanted = filters()
        self.seen = 0
        """Number of events that there were."""
        self.damaged: list[str] = []
        self._progress = Progress("indexing, once")

    def batches(self, last: int | None) -> Iterable[list[Record]]:
        """All of them; of ``last``, the last so many lines."""
        if last is None:
            return self._read()
        tail = self._tail(last)
        return _last(self._read(), last) if tail is None else _batches(tail)

    def _tail(self, last: int) -> list[Event] | None:
        """The last lines, if they can be found from the end: if all are events."""
        wanted = self.wanted
        if wanted.by_part:
            return None
        tail = history.last(
            self._path,
            last,
            wanted.wanted,
            wanted.since,
            wanted,
            by_outcome=self._by_outcome,
            own=self._own,
            by=history.by(wanted.by),
            progress=self._progress,
        )
        merges = tail is not None and self._merges and any(map(may_merge, tail.events))
        if tail is None or merges or (tail.seen and wanted.failed()):
            self.wanted = self._filters()  # suggestions for a filter without a match need the events in order of time
            return None
        for text in tail.said:
            say(text)
        self.seen, self.damaged = tail.seen, tail.damaged
        return tail.events

    def _passes(self, event: Event) -> bool:
        self._see(1)
        return self.wanted(event)

    def _see(self, events: int) -> None:
        self.seen += events

    def _read(self) -> Iterator[list[Record]]:
        wanted = self.wanted
        merging = Merging(keep=self._passes if wanted.by_part else None) if self._merges else None
        only = None
        if wanted.wanted is not None or wanted.since:
            only = history.Only(wanted.possible, wanted.possible_since, wanted, self._see, history.by(wanted.by))
        for records in history.read(
            self._path,
            say,
            self.damaged.append,
            by_outcome=self._by_outcome,
            only=only,
            own=self._own,
            progress=self._progress,
            merging=merging,
        ):
            if merging is None or merging.keep is None:
                self._see(sum(map(_events, records)))
            by_part = wanted.by_part and merging is None
            yield [each for each in records if not isinstance(each, Event) or wanted(each)] if by_part else records


def _last(batches: Iterable[list[Record]], count: int) -> Iterator[list[Record]]:
    return _batches(deque((each for batch in batches for each in batch if isinstance(each, Event | Merged)), count))


def _events(record: Record) -> int:
    """How many events a record stands for."""
    return record.stores if isinstance(record, Merged) else int(isinstance(record, Event))


def _batches(events: Iterable[Record]) -> Iterator[list[Record]]:
    rest = iter(events)
    while batch := list[Record](islice(rest, BATCH)):
        yield batch
