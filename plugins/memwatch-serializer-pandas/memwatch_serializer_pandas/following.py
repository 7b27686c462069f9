"""Whether a column still lies in the memory that it was given.

pandas keeps columns in blocks, and the values of each in an array of its own. Where a column is copied or replaced,
either is dropped: that is when it is looked where the column lies now. Reading costs nothing by this, and no method of
pandas is replaced.
"""

from __future__ import annotations

import weakref
from typing import Any

from memwatch_core.records import Left

from .columns import address, array_of, arrays

_all: set[_Following] = set()
"""Those that wait for it."""


class _Following:
    """One column of one table. Holds neither."""

    def __init__(self, table: Any, label: Any, at: int, left: Left) -> None:
        self._table = weakref.ref(table)
        self._label, self._at, self._left = label, at, left
        self._held: list[weakref.ref[Any]] = []

    def is_there(self) -> bool:
        """Whether the table has the memory, in a block that is followed from now on; or is no more itself."""
        table = self._table()
        if table is None:
            return True
        held = next((held for held in arrays(table) if address(held[1]) == self._at), None)
        if held is None:
            return False
        self._held = [weakref.ref(each, self._dropped) for each in held]
        _all.add(self)
        return True

    def _dropped(self, held: object) -> None:
        """Runs in the midst of what drops the block or its array, and raises nothing into it."""
        self._held.clear()
        _all.discard(self)
        try:
            if not self.is_there():
                self._left(self._is_gone())
        except Exception:  # a table in the making: its memory tells when it goes itself
            return

    def _is_gone(self) -> bool:
        """Whether there is no column of that name anymore."""
        columns = getattr(self._table(), "columns", None)
        return columns is not None and type(self._label) in (str, int) and self._label not in columns


def begin(table: Any, series: Any, left: Left) -> None:
    """``left(gone)`` is called once, where a column of a table, or a Series itself, leaves the memory that it lies in
    now. Raises TypeError: it doesn't lie there."""
    following = _Following(table, series.name, address(array_of(series._values)), left)
    if not following.is_there():
        raise TypeError("this version of pandas copies a column when a DataFrame is given it, so none can be watched")
