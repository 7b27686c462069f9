"""Every exception that MemWatch raises on purpose. The message names what, why, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .printed import clean

if TYPE_CHECKING:
    from .records import Hit


class MemWatchError(Exception):
    """Base class. One line of text for each argument, escaped so that quoted data can't control the terminal of a
    traceback nor start a line of its own."""

    def __str__(self) -> str:
        return "\n".join(map(clean, self.lines))

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines of the text, not escaped."""
        return self.args if len(self.args) > 1 else (super().__str__(),)


class CoreError(MemWatchError):
    """The native core refused a call. ``code`` is the ``mw_error`` of memwatch.h."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class JournalFullError(CoreError, OSError):
    """The journal can't grow (disk full, or journal.max_bytes reached). The store was not made: the value is
    unchanged."""


class SessionError(MemWatchError):
    """A session is needed and there is none, it is closed, or it can't be created."""


class WatchError(MemWatchError, TypeError):
    """The value can't be watched; the message says which part of it, and what to do."""


class ConditionError(MemWatchError, ValueError):
    """A condition (``when=``) can't be read, or asks for something that a variable hasn't; the message shows where."""

    @property
    def why(self) -> str:
        """What is wrong, in one line."""
        return "; ".join(line.strip(" ^") for line in self.lines[2:]) or self.lines[0]


class MutationError(MemWatchError):
    """A watched value was written to as a condition forbids (``then="raise"``). It has been written: the event is
    recorded, and the program sees the new value."""

    def __init__(self, message: str, hit: Hit | None = None) -> None:
        super().__init__(message)
        self.hit = hit
        """What was written, by whom, and where."""


class ConfigError(MemWatchError, ValueError):
    """A setting is unknown, has the wrong type or names something that doesn't exist; the message names file and
    key."""


class PluginError(MemWatchError):
    """A plugin that the configuration asks for can't be used."""


class JournalError(MemWatchError, ValueError):
    """A file isn't a journal, or its format version is unknown to this reader."""
