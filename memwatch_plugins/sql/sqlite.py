"""What drivers of SQLite have in common: sqlite3's, and those of libraries that call it."""

from __future__ import annotations

import gc
import os
import pathlib
import sqlite3
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import unquote

from .dbapi import DbapiDriverBase, Status, ask
from .plain import IMMUTABLE, is_a, member, plain

LEGACY = -1  # sqlite3.LEGACY_TRANSACTION_CONTROL, Python 3.12


class Untraced:
    """A ``factory=`` that makes what the program asked for, and tells the driver of sqlite3 to leave it untraced."""

    def __init__(self, factory: Any) -> None:
        self.factory = factory

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the factory makes."""
        return self.factory(*args, **kwargs)


class SqliteDriverBase(DbapiDriverBase):
    """A driver whose cursors and connections are sqlite3's."""

    dialect = "sqlite"
    cursors = ("sqlite3:Cursor",)
    connections = ("sqlite3:Connection",)
    runs: ClassVar[Mapping[str, tuple[str, str]]] = dict.fromkeys(("execute", "executemany", "executescript"), ("", ""))
    status = Status(("in_transaction",))

    def all_fetched(self, cursor: Any) -> bool:
        """A cursor lets go of its statement with the last row, and says so to the garbage collector alone."""
        return not any(_is_statement(type(each)) for each in gc.get_referents(cursor))

    def script_begins(self, connection: sqlite3.Connection, legacy: bool) -> None:
        """A script commits first, in the transaction control that was the only one before Python 3.12."""
        if legacy and ask(self.in_transaction, connection):
            self.publish.transaction_ends(self.identity(connection), "committed")


_name_of = type.__dict__["__name__"].__get__


def _is_statement(kind: type) -> bool:
    """Whether it is sqlite3's type of statements, which has no name that one could import."""
    return _name_of(kind) == "Statement" and bool(member(kind, "__flags__") & IMMUTABLE)


_PATH = type(pathlib.Path())  # any other class may be the program's


def file_name(named: Any) -> str:
    """The base name of the file that a connection is to: the folders above it are nobody's business."""
    path = os.fsdecode(plain(named)) if is_a(named, str | bytes) else str(named) if type(named) is _PATH else ""
    if path.startswith("file:"):
        path = unquote(path[5:].partition("?")[0])
    return os.path.basename(path)
