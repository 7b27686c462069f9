"""``memwatch strip``: copy a session without the values in it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import click

from .. import folders
from ..errors import JournalError, SessionError
from ..host import history
from ..journal import session as sessions
from ..journal import stripped
from ..journal.file import JournalFile, NotBegun
from ..journal.liveness import Writer
from ..printed import put, say
from .asking import configured
from .progress import Progress


@click.command("strip")
@click.argument("session")
@click.option("--output", "-o", metavar="COPY", help="Folder to make.  [default: SESSION-stripped, here]")
@click.option("--keys", is_flag=True, help="Take out keys of dicts as well; whole numbers stay.")
@click.option("--labels", is_flag=True, help="Take out labels, names of tasks and ids of traces as well.")
@click.option("--config", "file", type=click.Path(dir_okay=False), metavar="FILE", help="Settings: only FILE.")
@click.option("--folder", metavar="DIR", help="Where sessions are kept.  [default: .memwatch]")
def command(session: str, output: str | None, keys: bool, labels: bool, file: str | None, folder: str | None) -> None:
    """Copy SESSION (name from log --list, or folder) without the values in it, so that it can be handed to others.

    The copy still says who wrote what, where, when, how often, under which statement, and whether a value is what it
    was before: log, blame, history, at and diff read it, and its events have the same numbers. For each value there is
    a hash, by a key that is thrown away.

    Out: values, old and new; members of sets; parameters of SQL statements; arguments of the program; the settings, the
    key of the hashes, the index, and every file that isn't known. In: names of variables, attributes, files, functions,
    threads and databases; statements without their literals; keys of dicts (--keys), labels and tasks (--labels); how
    long values are, which of their bytes changed, and whether values of a place are equal. Look at what remains with
    memwatch log before you hand it on.

    A session that is still being written can't be copied. The copy is a folder that only you may read (mode 0700).

    \b
    memwatch strip 20261130-101500-3fa9c1
    memwatch strip .memwatch/20261130-101500-3fa9c1 --output for-the-vendor --keys
    memwatch log for-the-vendor
    """
    path = history.find(configured(folder, file).journal.folder, session)
    if path.is_file():
        raise SessionError(f"{path}: a journal; name the folder of its session")
    target = Path(output) if output else Path(f"{path.name}-stripped")
    progress = Progress("copying")
    try:
        os.mkdir(target, 0o700)
    except OSError as error:
        why = "is there already: name another folder with --output" if isinstance(error, FileExistsError) else (
            f"can't be made ({error.strerror}): name another folder with --output"
        )  # fmt: skip
        raise SessionError(f"{target}: {why}") from error
    try:
        copied, damaged = _copy(path, target, stripped.What(os.urandom(16), keys, labels), progress)
    except BaseException as error:
        shutil.rmtree(target, ignore_errors=True)
        if isinstance(error, OSError):
            raise SessionError(f"{target}: can't be written ({error.strerror}); nothing is left there") from error
        raise
    for text in damaged:
        say(f"left out: {text}")
    put(f"{target}: {copied} {'journal' if copied == 1 else 'journals'} without values")
    put(f"memwatch log {target}")


def _copy(path: Path, target: Path, what: stripped.What, progress: Progress) -> tuple[int, list[str]]:
    """How many journals were copied; what couldn't be read."""
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
