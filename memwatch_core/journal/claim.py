"""Who reads a session: one process, known to the writers by a lock that the kernel takes away when it dies.

A writer whose journal has reached ``journal.max_bytes`` waits for the reader that holds this lock, and for nobody else
(``core/journal/segments.c``). Several may read a session; only the one with the claim frees what it has read.
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
    """The claim to a session's folder, taken if nobody has it. Any thread may use it."""

    def __init__(self, folder: Path) -> None:
        self._file: OwnFile | None = None
        try:
            with open_folder(folder, own=True) as opened:
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
                file = os.open(READER_FILE, flags, 0o600, dir_fd=opened)
        except OSError:
            return  # a folder that we may only read: then nobody is waited for
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
        """Whether writers wait for us."""
        return self._file is not None

    def close(self) -> None:
        """Gives it up. Idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _after_fork() -> None:
    """The lock belongs to the open file, which a forked child shares: writers must not wait for a child of ours."""
    for claim in _claims:
        claim.close()


os.register_at_fork(after_in_child=_after_fork)
