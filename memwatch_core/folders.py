"""A session's folder, opened: its files are created and read relative to the folder's descriptor.

If others can write to a parent folder, the path may lead elsewhere at any moment; an open descriptor can't.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from . import trust
from .errors import SessionError

Where = str | os.PathLike[str]
FILE_MAX = 16 << 20
"""Largest file of a session other than a journal, in bytes."""


@contextmanager
def open_base(base: Where) -> Iterator[int]:
    """The descriptor of a folder for sessions. Raises OSError, also if other users could replace sessions in it."""
    with _open(base, None) as opened:
        status = os.fstat(opened)
        why = trust.doubt(status)
        if not why and status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
            why = f"can be written to by others (mode {stat.S_IMODE(status.st_mode):04o})"
        if why:
            raise PermissionError(errno.EPERM, f"it {why}", os.fspath(base))
        yield opened


@contextmanager
def open_folder(path: Where, *, own: bool, parent: int | None = None) -> Iterator[int]:
    """The descriptor of a session's folder. ``own``: only if it belongs to this user and no other may write to it.

    Raises OSError.
    """
    with _open(path, parent) as opened:
        if own and (why := trust.owned(os.fstat(opened))):
            raise PermissionError(errno.EPERM, f"its folder {why}", os.fspath(path))
        yield opened


@contextmanager
def _open(path: Where, parent: int | None) -> Iterator[int]:
    try:
        opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except NotADirectoryError as error:
        if not os.path.islink(path):
            raise
        raise OSError(error.errno, "it is a symbolic link: name its target", os.fspath(path)) from error
    try:
        yield opened
    finally:
        os.close(opened)


def save(folder: Where, name: str, data: bytes) -> None:
    """Creates a file in a session's folder, which must belong to this user. Raises SessionError."""
    try:
        with open_folder(folder, own=True) as opened:
            write_file(opened, name, data)
    except OSError as error:
        raise SessionError(f"{os.path.join(folder, name)}: can't be written ({error.strerror})") from error


def write_file(folder: int, name: str, data: bytes) -> None:
    """Creates a file in an open folder, mode 0600. Raises OSError, also if the file exists."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(name, flags, 0o600, dir_fd=folder), "wb") as file:
        file.write(data)
