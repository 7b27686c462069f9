"""Output files of sinks: private, and not replaced by another user's.

For bridges, :func:`distrust` says why a file must not be executed. :class:`OwnFile` is a descriptor that survives a
program that closes all.
"""

from __future__ import annotations

import errno
import os
import stat

from memwatch_core.files import OwnFile as OwnFile
from memwatch_core.trust import Found
from memwatch_core.trust import distrust as distrust


def open_output(path: str, *, append: bool = True) -> int:
    """The descriptor of an output file, created with mode 0600 if missing; without ``append``, truncated.

    In a folder that others may write to (``/tmp``), only a regular file of this user with a single hard link is opened:
    never a symbolic link, pipe or device. In any other folder, any kind of file is opened. Raises OSError.
    """
    try:
        found = Found(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(error.errno, error.strerror, path) from error
    with found:
        if found.planted:
            raise _refusal(found.planted, path)
        flags = os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY
        if found.shared:
            _check(found.status, path)
            flags |= os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = _open(found, flags, path)
    try:
        if found.shared:
            _check(os.fstat(descriptor), path)
        if not append and stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.ftruncate(descriptor, 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open(found: Found, flags: int, path: str) -> int:
    try:
        try:
            return os.open(found.name, flags | os.O_RDWR, 0o600, dir_fd=found.folder)
        except PermissionError:
            return os.open(found.name, flags | os.O_WRONLY, 0o600, dir_fd=found.folder)  # writable, but not readable
    except OSError as error:
        raise type(error)(error.errno, error.strerror, path) from error


def _check(status: os.stat_result | None, path: str) -> None:
    if status is None:
        return
    if not stat.S_ISREG(status.st_mode):
        raise _refusal("it is no regular file", path)
    if status.st_uid != os.geteuid():
        raise _refusal(f"it belongs to user {status.st_uid}, not to you", path)
    if status.st_nlink != 1:
        raise _refusal("it has another name as well (a hard link)", path)


def _refusal(why: str, path: str) -> OSError:
    hint = "others may put files there: choose another folder, or remove it"
    return PermissionError(errno.EPERM, f"{why}, and {hint}", path)
