"""Marks the one reader of a session that writers wait for, by a lock that the kernel releases if the reader dies.

A writer whose journal has reached ``journal.max_bytes`` waits only for the reader that holds this lock
(``core/journal/segments.c``). Others may read the session too, but only this one frees what it has read.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import weakref
from pathlib import Path

from ..files import OwnFile
from ..folders import open_folder
from .layout import READER_FILE

_LOCK = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)  # struct flock of the x86-64 ABI: the whole file
_claims: weakref.WeakSet[Claim] = weakref.WeakSet()


class Claim:
    """The claim to a session's folder, taken if it is free. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._file: OwnFile | None = None
        try:
            with open_folder(folder, own=True) as opened:
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
                file = os.open(READER_FILE, flags, 0o600, dir_fd=opened)
        except OSError:
            return  # a folder that we may only read: no writer waits then
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise OSError
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, _LOCK)
        except OSError:
            os.close(file)
        else:
            self._file = OwnFile(file)
            _claims.add(self)

    @property
    def held(self) -> bool:
        """Whether writers wait for this process."""
        return self._file is not None

    def close(self) -> None:
        """Releases the claim. Idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _after_fork() -> None:
    """Closes the child's copies: the lock belongs to the open file description, and writers must not wait for a
    child."""
    for claim in _claims:
        claim.close()


os.register_at_fork(after_in_child=_after_fork)
