"""Copies a session without the values in it: see :mod:`memwatch_core.journal.stripped`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from .. import folders
from ..errors import JournalError, SessionError
from ..journal import session as sessions
from ..journal import stripped
from ..journal.file import JournalFile, NotBegun
from ..journal.liveness import Writer

Progress = Callable[[int, int], object]


def strip(path: Path, target: Path, keys: bool, labels: bool, progress: Progress) -> tuple[int, list[str]]:
    """Copies the session in a folder to a new folder. ``keys``, ``labels``: those are taken out as well.

    Returns how many journals it has, and what couldn't be read. Raises SessionError: the folder is there already or
    can't be written to, the session isn't one or is still being written. Then nothing is left of the copy.
    """
    try:
        os.mkdir(target, 0o700)
    except FileExistsError as error:
        raise SessionError(f"{target}: is there already: name another folder with --output") from error
    except OSError as error:
        raise SessionError(f"{target}: can't be made ({error.strerror}): name another with --output") from error
    try:
        return _copy(path, target, stripped.What(os.urandom(16), keys, labels), progress)
    except BaseException as error:
        shutil.rmtree(target, ignore_errors=True)
        if isinstance(error, OSError):
            raise SessionError(f"{target}: can't be written ({error.strerror}); nothing is left there") from error
        raise


def _copy(path: Path, target: Path, what: stripped.What, progress: Progress) -> tuple[int, list[str]]:
    found: list[JournalFile] = []
    damaged: list[str] = []
    try:
        for file in sessions.journals(path):
            try:
                found.append(JournalFile(file))
            except NotBegun:
                continue
            except JournalError as error:
                damaged.append(str(error))
        _check_ended(path, found)
        for journal in found:
            stripped.copy(journal, target / journal.path.name, what, progress)
    finally:
        for journal in found:
            journal.close()
    _describe(path, target)
    return len(found), damaged


def _check_ended(path: Path, found: list[JournalFile]) -> None:
    """Raises SessionError if a process still writes."""
    alive = []
    for journal in found:
        writer = Writer(journal.header.pid, journal.path)
        counters = journal.counters()
        if counters is not None and not counters.closed and writer.alive():
            alive.append(str(journal.header.pid))
            writer.close()
    if alive:
        who = f"process {alive[0]} still writes" if len(alive) == 1 else f"processes {', '.join(alive)} still write"
        raise SessionError(f"session {path.name}: {who} to it: wait until it has ended, then copy it")


def _describe(path: Path, target: Path) -> None:
    """Writes the session's description, last: it makes the folder a session."""
    session = sessions.read_session(path)
    description = {
        "format": sessions.FORMAT,
        "session": session.id.hex(),
        "started": session.started.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "command": [os.path.basename(word) for word in session.command[:1]],
        "memwatch": session.version,
    }
    folders.save(target, sessions.DESCRIPTION, json.dumps(description).encode() + b"\n")
