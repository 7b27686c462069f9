"""Checks ownership: files that another user may have put there aren't obeyed, executed, believed or written to.

On a shared machine, anybody may leave a ``memwatch.toml``, a symbolic link or a folder where a program will look. The
rule: a path is trusted if each part of it, including symbolic links and their targets, belongs to this user or root and
is writable for nobody else. In a folder with the sticky bit (``/tmp``), the user's own files are trusted: others can't
replace them. A group whose only members are this user and root doesn't count as others (with umask 002, a user's own
group may write to everything).
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from contextlib import suppress
from types import TracebackType

_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_LINKS = 40
"""Limit of symbolic links on a path: the kernel's."""
READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""Flags to open a file of unknown type: doesn't wait for a pipe's writer."""
BLOCK = 1 << 16


def distrust(path: str | os.PathLike[str]) -> str:
    """Why a path isn't trusted: ``/srv/shared can be written to by anybody (mode 0777)``; empty if it is.

    Raises OSError if the file doesn't exist.
    """
    with Found(path) as found:
        if found.status is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path))
        return found.reason


def doubt(status: os.stat_result) -> str:
    """Why a file isn't exclusively this user's or root's, as the end of a sentence; empty if it is."""
    if status.st_uid not in (0, os.geteuid()):
        return f"belongs to {_user(status.st_uid)}, neither to you nor to root"
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode) or (stat.S_ISDIR(status.st_mode) and mode & stat.S_ISVTX):
        return ""
    if mode & stat.S_IWOTH:
        return f"can be written to by anybody (mode {mode:04o})"
    if mode & stat.S_IWGRP and not _is_nobody_else(status.st_gid):
        return f"can be written to by the group {_group(status.st_gid)} (mode {mode:04o})"
    return ""


def owned(status: os.stat_result) -> str:
    """Why a file isn't this user's own, or others may write to it; empty if all is well."""
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid():
        return f"belongs to {_user(status.st_uid)}, not to {_user(os.geteuid())}, who runs this"
    return f"can be written to by others (mode {mode:04o})" if mode & 0o022 else ""


def stranger(path: str | os.PathLike[str]) -> str:
    """The owner of a file, if neither this user nor root; otherwise empty, also if the file can't be examined."""
    with suppress(OSError):
        uid = os.stat(path).st_uid
        return "" if uid in (0, os.geteuid()) else _user(uid)
    return ""


def read(folder: int | None, name: str | os.PathLike[str], limit: int, *, follow: bool = False) -> bytes:
    """The contents of a regular file, in an open folder; never blocks. Raises OSError: not a file, or more than
    ``limit``."""
    descriptor = os.open(name, READ | (0 if follow else os.O_NOFOLLOW), dir_fd=folder)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            why = os.strerror(errno.EISDIR) if stat.S_ISDIR(mode) else "not a regular file"
            raise OSError(errno.EINVAL, why, os.fspath(name))
        data = bytearray()
        while len(data) <= limit and (block := os.read(descriptor, BLOCK)):
            data += block
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"longer than {limit} bytes", os.fspath(name))
    return bytes(data)


class Found:
    """The target of a path, resolved step by step: each step is examined through a descriptor, so nobody can swap it.

    ``within``: a folder that ``path`` is relative to; it is trusted, and so are its parents. Raises OSError, or with
    ``lenient`` keeps the error. A context manager.
    """

    error: OSError | None = None
    """Why the target can't be reached; ``reason`` is then about the parts before."""
    folder: int = -1
    """Descriptor of the folder that contains the target."""
    name: str = ""
    """The target's name in that folder."""
    status: os.stat_result | None = None
    """The target's status; None: it doesn't exist yet. For a link in ``/proc``, whose text isn't its target, the link's
    own."""
    reason: str = ""
    """Why the target isn't trusted: what is wrong with the first part of the path that isn't exclusively ours or
    root's."""
    shared: bool = False
    """Whether others may have put the target there, or may yet do so."""
    planted: str = ""
    """The reason, if it is a symbolic link that another user made, or may have put there."""
    _loose: bool = False
    """Whether others may rename files in the folder, whoever owns them."""

    def __init__(
        self, path: str | os.PathLike[str], within: str | os.PathLike[str] | None = None, lenient: bool = False
    ) -> None:
        path = os.fspath(path)
        try:
            if within is not None:
                self._go(os.fspath(within), path.split("/"))
            else:
                self._go("/", (path if path.startswith("/") else os.path.join(os.getcwd(), path)).split("/"))
        except OSError as error:
            self.close()
            if not lenient:
                raise
            self.error = error
        except BaseException:
            self.close()
            raise

    def _go(self, at: str, todo: list[str]) -> None:
        links = 0
        self._enter(at, os.open(at, _FOLDER))
        todo.reverse()
        while todo:
            name = todo.pop()
            if name in ("", ".", ".."):
                if name == "..":
                    at = os.path.dirname(at)
                    self._enter(at, os.open("..", _FOLDER, dir_fd=self.folder))
                self.name, self.status = ".", os.fstat(self.folder)
                continue
            here = os.path.join(at, name)
            self.name = name
            try:
                step = os.open(name, _STEP, dir_fd=self.folder)
            except FileNotFoundError:
                if todo:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), here) from None
                self.status = None
                return
            status = os.fstat(step)
            self._weigh(here, status)
            if stat.S_ISLNK(status.st_mode) and (todo or not at.startswith("/proc/")):
                links += 1
                target = os.readlink("", dir_fd=step)
                os.close(step)
                if links > _LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), here)
                if target.startswith("/"):
                    at = "/"
                    self._enter(at, os.open(at, _FOLDER))
                todo += reversed(target.split("/"))
            elif todo and stat.S_ISDIR(status.st_mode):
                at = here
                self._enter(at, step, status)
            else:
                os.close(step)
                if todo:
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), here)
                self.status = status

    def _enter(self, at: str, folder: int, status: os.stat_result | None = None) -> None:
        self.close()
        self.folder = folder
        if status is None:
            status = os.fstat(folder)
            self._weigh(at, status)
        mode = status.st_mode
        others = mode & stat.S_IWOTH or (mode & stat.S_IWGRP and not _is_nobody_else(status.st_gid))
        self.shared = bool(self.reason) or bool(others)
        self._loose = bool(doubt(status))

    def _weigh(self, path: str, status: os.stat_result) -> None:
        why = doubt(status)
        if stat.S_ISLNK(status.st_mode) and self._loose and not why:
            why = "others may have put there"
        if why and stat.S_ISLNK(status.st_mode) and not self.planted:
            self.planted = f"{path} is a symbolic link that {why}"
        if why and not self.reason:
            self.reason = self.planted or f"{path} {why}"

    def close(self) -> None:
        """Closes the folder. Idempotent."""
        if self.folder >= 0:
            os.close(self.folder)
            self.folder = -1

    def __enter__(self) -> Found:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _is_nobody_else(group: int) -> bool:
    us = {0, os.geteuid()}
    try:
        names = grp.getgrgid(group).gr_mem
    except KeyError:  # in a container, for instance: only processes that run with the group are members
        return group == os.getegid()
    try:
        members = {pwd.getpwnam(name).pw_uid for name in names}
    except KeyError:
        return False
    return members <= us and all(user.pw_uid in us for user in pwd.getpwall() if user.pw_gid == group)


def _user(uid: int) -> str:
    with suppress(KeyError):
        return f"{pwd.getpwuid(uid).pw_name} (user {uid})"
    return f"user {uid}"


def _group(gid: int) -> str:
    with suppress(KeyError):
        return grp.getgrgid(gid).gr_name
    return str(gid)
