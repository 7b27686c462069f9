"""What the drivers of SQLite share: sqlite3's, and those of libraries that call it."""

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
    """A ``factory=`` that makes what the program asked for, but not traced by the driver of sqlite3."""

    def __init__(self, factory: Any) -> None:
        self.factory = factory

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the factory."""
        return self.factory(*args, **kwargs)


class SqliteDriverBase(DbapiDriverBase):
    """A driver whose cursors and connections are sqlite3's."""

    dialect = "sqlite"
    cursors = ("sqlite3:Cursor",)
    connections = ("sqlite3:Connection",)
    runs: ClassVar[Mapping[str, tuple[str, str]]] = dict.fromkeys(("execute", "executemany", "executescript"), ("", ""))
    status = Status(("in_transaction",))

    def all_fetched(self, cursor: Any) -> bool:
        """A cursor releases its statement after the last row; only its referents show that."""
        return not any(_is_statement(type(each)) for each in gc.get_referents(cursor))

    def script_begins(self, connection: sqlite3.Connection, legacy: bool) -> None:
        """With legacy transaction control, the only one before Python 3.12, a script commits first."""
        if legacy and ask(self.in_transaction, connection):
            self.publish.transaction_ends(self.identity(connection), "committed")


_name_of = type.__dict__["__name__"].__get__


def _is_statement(kind: type) -> bool:
    """Whether a type is sqlite3's statement, which can't be imported."""
    return _name_of(kind) == "Statement" and bool(member(kind, "__flags__") & IMMUTABLE)


_PATH = type(pathlib.Path())  # any other class may be the program's


def file_name(named: Any) -> str:
    """The base name of a connection's file: the folders above are private."""
    path = os.fsdecode(plain(named)) if is_a(named, str | bytes) else str(named) if type(named) is _PATH else ""
    if path.startswith("file:"):
        path = unquote(path[5:].partition("?")[0])
    return os.path.basename(path)
