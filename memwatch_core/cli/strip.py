"""``memwatch strip``: copy a session without the values in it."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import SessionError
from ..host import history
from ..host.stripping import strip
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
    copied, damaged = strip(path, target, keys, labels, Progress("copying"))
    for text in damaged:
        say(f"left out: {text}")
    put(f"{target}: {copied} {'journal' if copied == 1 else 'journals'} without values")
    put(f"memwatch log {target}")
