"""Files that sinks write to: private, and none that a stranger has put in their place.

For bridges, :func:`distrust`: why a file isn't to be run. :class:`OwnFile`: a descriptor in a process that may close
what it hasn't opened.
"""

from __future__ import annotations

import errno
import os
import stat

from memwatch_core.files import OwnFile as OwnFile
from memwatch_core.trust import Found
from memwatch_core.trust import distrust as distrust


def open_output(path: str, *, append: bool = True) -> int:
    """The descriptor of a file for records, made with mode 0600 if there is none; without ``append``, emptied.

    In a folder that others may put files into (``/tmp``), only a regular file of the user's own with a single name is
    written to: never through a symbolic link, nor to a pipe, a device or a hard link that waits there. In any other
    folder, whatever is there. Raises OSError.
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
            return os.open(found.name, flags | os.O_WRONLY, 0o600, dir_fd=found.folder)  # we may write, not read
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
