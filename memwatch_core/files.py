"""Our files in the program's process. The program may close descriptors that it didn't open (daemons close all), and
then open files of its own under the same numbers."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

_keep: Callable[[int], int] | None = None
_close: Callable[[int], bool] | None = None


def keep_with(keep: Callable[[int], int], close: Callable[[int], bool]) -> None:
    """Installs hooks for a watched process: ``keep`` moves a descriptor out of reach of the program's calls and returns
    its new number; ``close`` closes such a descriptor, or returns False if the number isn't one of them."""
    global _keep, _close
    _keep, _close = keep, close


class OwnFile:
    """A descriptor that takes over ``number`` and is verified before each use.

    If the program has closed it, ``open_again`` is called for a new descriptor of the same file. Thread-safe; close it
    once.
    """

    __slots__ = ("_again", "_number", "_what")

    def __init__(self, number: int, open_again: Callable[[], int] | None = None) -> None:
        self._again = open_again
        self._what = _identity(number)
        self._number = number if _keep is None else _keep(number)

    @property
    def number(self) -> int:
        """The descriptor. Raises OSError (EBADF): it was closed and can't be opened again."""
        if self._number < 0 or _identity(self._number) != self._what:
            self._number = self._found_again()
        return self._number

    def is_of(self, number: int) -> bool:
        """Whether another descriptor refers to the same file; works after :meth:`close`, too."""
        return _identity(number) == self._what

    def close(self) -> None:
        """Closes the descriptor if it is still ours. Idempotent."""
        number, self._number, self._again = self._number, -1, None
        if number >= 0 and _identity(number) == self._what and not (_close is not None and _close(number)):
            os.close(number)

    def _found_again(self) -> int:
        if self._again is not None:
            number = self._again()
            if _identity(number) == self._what:
                return number if _keep is None else _keep(number)
            os.close(number)
        raise OSError(errno.EBADF, "the program has closed this file")


def _identity(number: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(number)
    except OSError:
        return None
    return status.st_dev, status.st_ino
