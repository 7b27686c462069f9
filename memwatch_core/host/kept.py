"""How much of a session is kept in memory: as much as its journals take on disk, and a fixed number of bytes more.

A variable takes 64 bytes of a journal, and may claim to have any size. What is kept of values is therefore counted, for
all journals of a session together; a variable for which there is no room is followed by the bytes that stores touch.
"""

from __future__ import annotations

from ..journal.file import JournalFile
from ..records import NAME_MAX

KEPT_LIMIT = 1 << 27
"""Bytes that may be kept besides those that the journals take on disk."""
PLAIN_METADATA, JSON_WEIGHT = 1024, 24
"""Metadata of more bytes than the first is counted too: decoded, JSON takes so many times its own length."""


class Kept:
    """What the decoders of one session have kept of values."""

    def __init__(self) -> None:
        self.left = KEPT_LIMIT
        self.short = False
        """Something wasn't kept: what that is depends on the order in which the journals were read."""


class Share:
    """One journal's part of it."""

    def __init__(self, kept: Kept, file: JournalFile) -> None:
        self._kept, self._file = kept, file
        self._occupied = 0
        self.refused = 0
        """Variables whose values aren't followed."""

    def take(self, size: int) -> bool:
        """Takes bytes (negative: gives them back) if there are as many left."""
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
        """What is kept of a variable of ``size`` bytes from now on, of which ``before`` were: all of it, or nothing."""
        if size and not self.take(size - before):
            self.refused += 1
            size = 0
        if not size:
            self.take(-before)
        return size

    def describe(self, length: int, before: int) -> int:
        """The same for metadata of ``length`` bytes. Raises ValueError if there is no room for it."""
        weight = JSON_WEIGHT * max(0, length - PLAIN_METADATA)
        if not self.take(weight - before):
            raise ValueError("what describes the variables of this session takes too much memory")
        return weight


def cut(name: str) -> str:
    """A name, shortened if it is longer than a writer makes one."""
    return name if len(name) <= NAME_MAX else name[: NAME_MAX - 1] + "…"
