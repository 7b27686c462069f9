"""Whose a file is: what a stranger may have put there isn't obeyed, run, believed or written to.

On a shared machine anybody may leave a ``memwatch.toml``, a symbolic link or a folder where a program will look. The
rule, everywhere: a path is trusted if each part of it, links and where they lead included, belongs to this user or root
and can be written to by nobody else. In a folder with the sticky bit (``/tmp``) what is the user's own is trusted:
others can't replace it. A group without a member but this user and root is nobody else (with umask 002, a user's own
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
"""Links on a path, at most: as the kernel."""
READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""For opening what may be anything: it doesn't wait for a pipe's writer."""
BLOCK = 1 << 16


def distrust(path: str | os.PathLike[str]) -> str:
    """Why a path isn't trusted: ``/srv/shared can be written to by anybody (mode 0777)``; empty if it is.

    Raises OSError: there is no such file.
    """
    with Found(path) as found:
        if found.status is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path))
        return found.reason


def doubt(status: os.stat_result) -> str:
    """Why what has this status isn't this user's or root's alone, as the end of a sentence; empty if it is."""
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
    """Why what has this status isn't this user's own, that nobody else may write to; empty if it is."""
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid():
        return f"belongs to {_user(status.st_uid)}, not to {_user(os.geteuid())}, who runs this"
    return f"can be written to by others (mode {mode:04o})" if mode & 0o022 else ""


def stranger(path: str | os.PathLike[str]) -> str:
    """Whose a file is, if it is neither this user's nor root's; otherwise empty, also if it can't be looked at."""
    with suppress(OSError):
        uid = os.stat(path).st_uid
        return "" if uid in (0, os.geteuid()) else _user(uid)
    return ""


def read(folder: int | None, name: str | os.PathLike[str], limit: int, *, follow: bool = False) -> bytes:
    """The contents of a file, in an open folder; never waits. Raises OSError: it is none, or longer than ``limit``."""
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
    """What a path leads to, gone to step by step: each is looked at through a descriptor, so nobody can swap it.

    ``within``: a folder that ``path`` is relative to; those above it are taken as they are. Raises OSError, or with
    ``lenient`` keeps it. A context manager.
    """

    error: OSError | None = None
    """Why it can't be reached; ``reason`` is of what was on the way."""
    folder: int = -1
    """Descriptor of the folder that it is in."""
    name: str = ""
    """Its name there."""
    status: os.stat_result | None = None
    """None: nothing is there yet. Of a link in ``/proc``, which doesn't lead where its text says, its own."""
    reason: str = ""
    """Why not to trust it: what is wrong with the first part of its path that isn't this user's or root's alone."""
    shared: bool = False
    """Others may have put there what is there, or may yet."""
    planted: str = ""
    """The reason, if it is a symbolic link that somebody else has made, or may have put into its place."""
    _loose: bool = False
    """Others may rename what is in the folder, whoever owns it."""

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
    except KeyError:  # in a container, say: nobody is in it but who runs with it
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
