"""Limits the memory that a session takes: as many bytes as its journals have on disk, plus a constant.

A variable takes 64 bytes of a journal and may claim any size. So the memory for values is counted, for all journals of
a session together. If there is no room for a variable's value, only the bytes that stores touch are shown.
"""

from __future__ import annotations

from ..journal.file import JournalFile
from ..records import NAME_MAX

KEPT_LIMIT = 1 << 27
"""Bytes of memory allowed in addition to those that the journals take on disk."""
PLAIN_METADATA, JSON_WEIGHT = 1024, 24
"""Metadata longer than the first number is counted as well: decoded JSON takes about the second number times its
length."""


class Kept:
    """The memory that the decoders of one session share."""

    def __init__(self) -> None:
        self.left = KEPT_LIMIT
        self.short = False
        """Whether something was refused. What it is depends on the order in which the journals were read."""


class Share:
    """One journal's share of the memory."""

    def __init__(self, kept: Kept, file: JournalFile) -> None:
        self._kept, self._file = kept, file
        self._occupied = 0
        self.refused = 0
        """Number of variables whose values aren't followed."""

    def take(self, size: int) -> bool:
        """Takes bytes if that many are left (negative: gives them back)."""
        kept = self._kept
        if size > kept.left:
            occupied = self._file.occupied()
            kept.left += max(0, occupied - self._occupied)
            self._occupied = max(occupied, self._occupied)
        if size > kept.left:
            kept.short = True
            return False
        kept.left -= size
        return True

    def follow(self, size: int, before: int) -> int:
        """Bytes to keep of a variable of ``size`` bytes, of which ``before`` were kept so far: all, or none if there is
        no room."""
        if size and not self.take(size - before):
            self.refused += 1
            size = 0
        if not size:
            self.take(-before)
        return size

    def describe(self, length: int, before: int) -> int:
        """The weight of metadata of ``length`` bytes, which replaces ``before``. Raises ValueError if there is no room
        for it."""
        weight = JSON_WEIGHT * max(0, length - PLAIN_METADATA)
        if not self.take(weight - before):
            raise ValueError("what describes the variables of this session takes too much memory")
        return weight


def cut(name: str) -> str:
    """A name, truncated to the longest that a writer makes."""
    return name if len(name) <= NAME_MAX else name[: NAME_MAX - 1] + "…"
