"""Names of variables, with their numbers where several have one name: ``total#3``, ``total#57``."""

from __future__ import annotations

from collections.abc import Sequence

from ..records import Event, Merged, Record, Unfollowed, Unwatched, Watched

MOST = 10_000
"""Limit of names that are remembered. Beyond it, all variables are shown with their numbers."""


def numbered(name: str, number: int) -> str:
    """The name by which filters find one of several variables that are called the same."""
    return f"{name}#{number}"


class Labels:
    """Remembers which names several variables of a journal have had."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str], int] = {}
        self._several: set[tuple[str, str]] = set()
        self._all = False

    def note(self, records: Sequence[Record]) -> None:
        """Notes the variables that records are about. A whole batch first, so that it calls each the same."""
        for each in records:
            record = each.first if isinstance(each, Merged) else each
            if isinstance(record, Event | Watched | Unwatched | Unfollowed) and not self._all:
                journal, name, number = _variable(record)
                if self._first.setdefault((journal, name), number) != number:
                    self._several.add((journal, name))
                self._all = len(self._first) > MOST

    def of(self, record: Event | Watched | Unwatched | Unfollowed) -> str:
        """The variable's name, or, if another one was seen that has it too, name and number."""
        journal, name, number = _variable(record)
        return numbered(name, number) if self._all or (journal, name) in self._several else name


def _variable(record: Event | Watched | Unwatched | Unfollowed) -> tuple[str, str, int]:
    if isinstance(record, Watched):
        return record.variable.journal, record.variable.name, record.variable.id
    return record.journal, record.variable, record.variable_id
