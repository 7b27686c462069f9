"""Selects which records of a journal are given out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from time import time_ns
from typing import NamedTuple

from ..journal.reader import JournalReader
from ..journal.stores import By, PythonStores
from ..records import Event, Record

NONE = 2**64 - 1
"""A slot that no journal has; a time that never comes."""


class Sieve(NamedTuple):
    """Which events are given out: see :meth:`PythonStores.sieve`."""

    wanted: Callable[[Event], bool] | None
    since: int
    most: int
    """How many of the last events to find."""
    begin: Mapping[str, int] | None
    """Journal -> slot from which on to give out events, 0 if missing; None: only find that slot, give out nothing.
    Unused if all events are wanted: each journal is then searched from its end."""
    aside: Callable[[Record], object]
    """Called with the records that aren't events."""
    all: bool = False
    """Give out all wanted events, not the last ones, and each other record for which ``aside`` is true."""
    by: By = By.ALL
    """What ``wanted`` depends on."""


class Sifter:
    """A sieve applied to one journal: the store loop filters events, this class the other records."""

    def __init__(self, sieve: Sieve, stores: PythonStores, reader: JournalReader, journal: str) -> None:
        self.sieve, self._stores = sieve, stores
        self.floors: list[int] = []
        """For each record of the last batch, the latest time of the records left out before it."""
        self.matches: deque[tuple[int, int]] = deque()
        """If only the slot is looked for: (slot, wanted events in the block at it), for the last ones."""
        self._noted = 0
        if sieve.all:
            until = 0
        elif sieve.wanted is None:
            until = reader.begin_of_last(sieve.most)
        else:
            until = NONE if sieve.begin is None else sieve.begin.get(journal, 0)
        self.until, self.since, self.now = until, max(0, min(sieve.since, NONE)), time_ns()
        stores.sieve(self.until, self.since, self.now, sieve.wanted, self.floors, sieve.by)

    def set_aside(self, records: list[Record], kept: int) -> None:
        """Filters the records from ``kept`` on, which aren't events.

        Those removed still count for the order of time, and ``aside`` has seen them.
        """
        if len(records) == kept:
            return
        now, others = time_ns(), records[kept:]
        del records[kept:]
        self._stores.time = others[-1].time_ns
        for record in others:
            if self.sieve.aside(record) and self.sieve.all:
                records.append(record)
                self.floors.append(self._stores.high)
            elif record.time_ns <= now:
                self._stores.high = max(self._stores.high, record.time_ns)

    def note(self, slot: int, matches: int) -> None:
        """Notes the number of wanted events in the block at a slot. Drops blocks that later ones make unnecessary."""
        if matches:
            self.matches.append((slot, matches))
            self._noted += matches
            while self._noted - self.matches[0][1] >= self.sieve.most:
                self._noted -= self.matches.popleft()[1]
