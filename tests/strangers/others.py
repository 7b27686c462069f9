"""A folder that several users can reach, and what each of them leaves in it. Only root can be several users."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import memwatch_plugins.text  # noqa: F401 - nothing is imported while acting as a user who can't read this Python

ME, STRANGER = 64998, 64999
"""Users that nobody is."""
OWNERS = {"me": ME, "root": 0, "stranger": STRANGER}
MODES = {"private": 0o700, "readable": 0o755, "group": 0o775, "anybody": 0o777, "sticky": 0o1777}
KINDS = ("file", "link", "dangling link", "pipe", "device", "folder", "hard link")
SECRET = "keep me\n"


@contextmanager
def acting_as(uid: int) -> Iterator[None]:
    """The effective user of this process, for file access and for what it is asked about."""
    before = os.geteuid()
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(before)


class Place:
    """A folder that everybody can enter, with a file of the caller's in it that must stay as it is."""

    def __init__(self, folder: Path, me: int = ME) -> None:
        self.folder = folder
        self.me = me
        self.precious = folder / "mine" / "precious"
        self.precious.parent.mkdir(mode=0o700)
        self.precious.write_text(SECRET)
        for path in (self.precious, self.precious.parent):
            os.chown(path, me, me)

    def make(self, path: Path, owner: int, mode: int) -> Path:
        """A folder of somebody's; the group is a stranger's as well."""
        path.mkdir(parents=True, exist_ok=True)
        os.chown(path, owner, STRANGER)
        path.chmod(mode)
        return path

    def plant(self, path: Path, kind: str, owner: int, text: str = SECRET) -> None:
        """Something of somebody's at a path; links lead to the caller's own file."""
        if kind == "file":
            path.write_text(text)
        elif kind == "link":
            path.symlink_to(self.precious)
        elif kind == "dangling link":
            path.symlink_to(self.precious.with_name("absent"))
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        elif kind == "folder":
            path.mkdir()
        else:
            path.hardlink_to(self.precious)
            return  # it is the caller's file
        os.lchown(path, owner, owner)
        if kind == "file":
            path.chmod(0o644)

    def unharmed(self) -> bool:
        """Whether nothing of the caller's was touched, and nothing was made beside it."""
        return self.precious.read_text() == SECRET and os.listdir(self.precious.parent) == ["precious"]


def python(*arguments: str, cwd: Path, status: int | None = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    """This interpreter in a folder, without settings of ours in its environment."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MEMWATCH_", "NODE_"))}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=clean | variables,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert status is None or done.returncode == status, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done
