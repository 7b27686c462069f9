"""Copies a session without the values in it: see :mod:`memwatch_core.journal.stripped`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import folders
from ..errors import JournalError, SessionError
from ..journal import session as sessions
from ..journal import stripped
from ..journal.file import JournalFile, NotBegun
from ..journal.liveness import Writer
from ..journal.stripped_text import What

Progress = Callable[[int, int], object]
UNFINISHED = "-unfinished"
"""How the folder's name ends as long as it isn't whole; it begins with a dot, too. It never has a value."""
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def strip(path: Path, target: Path, keys: bool, labels: bool, progress: Progress) -> tuple[int, list[str]]:
    """Copies the session in a folder to a new folder. ``keys``, ``labels``: those are taken out as well.

    Returns how many journals it has, and what couldn't be read. Raises SessionError: the folder is there already or
    can't be written to, the session isn't one or is still being written. Then nothing is left of the copy, nor after a
    signal that ends the process. It is made in a folder beside it, and named when it is whole.
    """
    target = target.absolute()
    if os.path.lexists(target):
        raise SessionError(f"{target}: is there already: name another folder with --output")
    if path.resolve() in (target.parent.resolve(), *target.parent.resolve().parents):
        raise SessionError(f"{target}: lies in the session itself: name another folder with --output")
    with _ended_late():
        try:
            work = Path(tempfile.mkdtemp(UNFINISHED, f".{target.name[:200]}-", target.parent))
        except OSError as error:
            raise SessionError(f"{target}: can't be made ({error.strerror}): name another with --output") from error
        try:
            done = _copy(path, work, What(os.urandom(16), keys, labels), progress)
            os.rename(work, target)
        except OSError as error:
            raise SessionError(f"{target}: can't be written ({error.strerror}); nothing is left there") from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return done


@contextmanager
def _ended_late() -> Iterator[None]:
    """A signal that ends the process lets what is done here end first, by an exception."""
    arrived: list[int] = []

    def stop(number: int, frame: object) -> None:
        arrived.append(number)
        if len(arrived) == 1:
            raise _Stopped

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in _ENDING:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, stop)
    try:
        yield
    except _Stopped:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if arrived:
        os.kill(os.getpid(), arrived[0])


class _Stopped(BaseException):
    """A signal has come."""


def _copy(path: Path, target: Path, what: What, progress: Progress) -> tuple[int, list[str]]:
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
        if not found:
            sessions.read_session(path)
            why = f": {damaged[0]}" if damaged else ""
            raise SessionError(f"{path}: has no journal that can be copied{why}")
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
