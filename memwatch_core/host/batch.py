"""The records that a decoder is about to give out."""

from __future__ import annotations

from ..records import Lost, Notice, Record


class Batch:
    """The records of one poll. It is long enough when its values came to ``limit`` bytes.

    ``time`` is what is known of the time where no record says it: when the last one that a block had was written.
    """

    def __init__(self, pid: int, time: int) -> None:
        self.records: list[Record] = []
        self.limit = 0
        self.time = time
        self._pid = pid
        self._made = 0

    def begin(self, limit: int) -> None:
        """Another batch, of ``limit`` bytes of values."""
        self.records, self.limit, self._made = [], limit, 0

    def restart(self) -> None:
        """Nothing counts for the limit so far."""
        self._made = 0

    def weigh(self, made: int) -> None:
        """Counts bytes of a value."""
        self._made += made

    @property
    def is_full(self) -> bool:
        """Whether its values have come to the limit."""
        return self._made > self.limit

    def add(self, record: Record) -> None:
        """One more."""
        self.records.append(record)

    def lost(self, count: int, reason: str, variable: str | None = None, time: int | None = None) -> None:
        """Adds that stores, or slots, aren't there."""
        self.records.append(Lost(self.time if time is None else time, self._pid, count, reason, variable))

    def notice(self, text: str, time: int | None = None) -> None:
        """Adds a sentence about the journal."""
        self.records.append(Notice(self.time if time is None else time, self._pid, text))
