"""The records that a decoder gives out next."""

from __future__ import annotations

from ..records import Lost, Notice, Record


class Batch:
    """The records of one poll; it is full when their values exceed ``limit`` bytes.

    ``time`` dates records that have no time of their own: the time of the last record decoded.
    """

    def __init__(self, pid: int, time: int) -> None:
        self.records: list[Record] = []
        self.limit = 0
        self.time = time
        self._pid = pid
        self._made = 0

    def begin(self, limit: int) -> None:
        """Starts another batch, for values of up to ``limit`` bytes."""
        self.records, self.limit, self._made = [], limit, 0

    def restart(self) -> None:
        """Resets the count of bytes."""
        self._made = 0

    def weigh(self, made: int) -> None:
        """Adds to the count of bytes."""
        self._made += made

    @property
    def is_full(self) -> bool:
        """Whether the values exceed the limit."""
        return self._made > self.limit

    def add(self, record: Record) -> None:
        """Adds a record."""
        self.records.append(record)

    def lost(self, count: int, reason: str, variable: str | None = None, time: int | None = None) -> None:
        """Adds a Lost: stores or slots are missing."""
        self.records.append(Lost(self.time if time is None else time, self._pid, count, reason, variable))

    def notice(self, text: str, time: int | None = None) -> None:
        """Adds a Notice about the journal."""
        self.records.append(Notice(self.time if time is None else time, self._pid, text))
