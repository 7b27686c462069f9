"""Which records of a journal are given out, if not all of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from time import time_ns
from typing import NamedTuple

from ..journal.reader import JournalReader
from ..journal.stores import PythonStores
from ..records import Event, Record

NONE = 2**64 - 1
"""A slot that no journal has, and a time that never comes."""


class Sieve(NamedTuple):
    """Which events are given out: see :meth:`PythonStores.sieve`."""

    wanted: Callable[[Event], bool] | None
    since: int
    most: int
    """The last so many are to be found."""
    begin: Mapping[str, int] | None
    """Journal -> the slot from which on to give them out, 0 if it isn't there; None: look where that would be, give out
    nothing. Not asked if all are wanted: then each journal is looked at from its end."""
    aside: Callable[[Record], object]
    """Gets the records that are no events."""
    all: bool = False
    """Not the last ones are to be found, but all: and with them each other record for which ``aside`` is true."""


class Sifter:
    """A sieve at work on one journal: the store loop sifts events, this what else there is."""

    def __init__(self, sieve: Sieve, stores: PythonStores, reader: JournalReader, journal: str) -> None:
        self._sieve, self._stores = sieve, stores
        self.floors: list[int] = []
        """For each record of the last batch, the time of what came before it and was left out."""
        self.matches: deque[tuple[int, int]] = deque()
        """With a sieve that shows nothing: (slot, wanted events from there on), of the last ones that there are."""
        self._noted = 0
        if sieve.all:
            until = 0
        elif sieve.wanted is None:
            until = reader.begin_of_last(sieve.most)
        else:
            until = NONE if sieve.begin is None else sieve.begin.get(journal, 0)
        stores.sieve(until, max(0, min(sieve.since, NONE)), time_ns(), sieve.wanted, self.floors)

    def set_aside(self, records: list[Record], kept: int) -> None:
        """Takes the records from ``kept`` on, which are no events, off again, unless they pass: they count for the
        order of time, and for who looks on."""
        if len(records) == kept:
            return
        now, others = time_ns(), records[kept:]
        del records[kept:]
        self._stores.time = others[-1].time_ns
        for record in others:
            if self._sieve.aside(record) and self._sieve.all:
                records.append(record)
                self.floors.append(self._stores.high)
            elif record.time_ns <= now:
                self._stores.high = max(self._stores.high, record.time_ns)

    def note(self, slot: int, matches: int) -> None:
        """Notes how many wanted events a block from this slot on had, as long as fewer than are asked for come after
        it."""
        if matches:
            self.matches.append((slot, matches))
            self._noted += matches
            while self._noted - self.matches[0][1] >= self._sieve.most:
                self._noted -= self.matches.popleft()[1]
