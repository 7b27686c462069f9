"""Names of variables, with their numbers where several have one name: ``total#3``, ``total#57``."""

from __future__ import annotations

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

    def see(self, journal: str, name: str, number: int) -> None:
        """Notes that there is such a variable."""
        if self._all:
            return
        key = journal, name
        if self._first.setdefault(key, number) != number:
            self._several.add(key)
        if len(self._first) > MOST:
            self._all = True
            self._first.clear()
            self._several.clear()

    def label(self, journal: str, name: str, number: int) -> str:
        """The name, or, if another variable was seen that has it too, name and number."""
        return numbered(name, number) if self._all or (journal, name) in self._several else name
