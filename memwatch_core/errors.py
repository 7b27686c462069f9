"""Every exception that MemWatch raises on purpose. The message names what, why, and what to do about it."""

from __future__ import annotations

from .printed import clean


class MemWatchError(Exception):
    """Base of all. Its text is one line, or as many as it has arguments: what it quotes can neither steer the terminal
    that a traceback is printed to, nor begin a line."""

    def __str__(self) -> str:
        return "\n".join(map(clean, self.lines))

    @property
    def lines(self) -> tuple[str, ...]:
        """Of the text, not cleaned yet."""
        return self.args if len(self.args) > 1 else (super().__str__(),)


class CoreError(MemWatchError):
    """The native core refused a call. ``code`` is the ``mw_error`` of memwatch.h."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class JournalFullError(CoreError, OSError):
    """The journal can't grow (disk full, or journal.max_bytes reached). What was being written is unchanged."""


class SessionError(MemWatchError):
    """No session where one is needed, a closed one, or one that can't be made."""


class WatchError(MemWatchError, TypeError):
    """The value can't be watched; the message says which part of it and what can be done."""


class ConfigError(MemWatchError, ValueError):
    """A setting is unknown, has the wrong type or names something that isn't there; the message names file and key."""


class PluginError(MemWatchError):
    """A plugin that the configuration asks for can't be used."""


class JournalError(MemWatchError, ValueError):
    """A file is not a journal, or of a version that this reader doesn't know."""
