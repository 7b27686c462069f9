"""Publishes what connections do that are made by ``sqlite3.connect``."""

from __future__ import annotations

import _sqlite3
import functools
import gc
import os
import pathlib
import sqlite3
import sqlite3.dbapi2
from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import unquote

from memwatch_core.records import Database
from memwatch_plugins.sql import DbapiDriverBase
from memwatch_plugins.sql.around import IMMUTABLE, named, traced
from memwatch_plugins.sql.dbapi import ask
from memwatch_plugins.sql.plain import Own, is_a, member, plain, set_slot, slot

from .aio import LEGACY, Aiosqlite, Call, Untraced

_CONNECTION, _CURSOR = Own(sqlite3.Connection), Own(sqlite3.Cursor)
_HAS_AUTOCOMMIT = hasattr(sqlite3.Connection, "autocommit")  # Python 3.12


class Sqlite3Driver(DbapiDriverBase):
    name, summary, target, dialect = "sqlite3", "the standard library's SQLite", "sqlite3", "sqlite"
    runs: ClassVar[tuple[str, ...]] = ("execute", "executemany", "executescript")

    def __init__(self) -> None:
        super().__init__()
        self.aiosqlite = Aiosqlite(self)

    def patch(self) -> None:
        places: list[tuple[Any, str]] = [(sqlite3, "connect"), (sqlite3.dbapi2, "connect")]
        if _sqlite3.connect is sqlite3.connect:  # it is pickled by this name
            places.append((_sqlite3, "connect"))
        self.replace(self._connect, *places)
        self.when_imported("aiosqlite", self.aiosqlite.patch)

    def _connect(self, call: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        at = 5  # its place, where it isn't passed by name
        factory = args[at] if len(args) > at else kwargs.get("factory", sqlite3.Connection)
        if type(factory) is Untraced:
            return call(*args, **{**kwargs, "factory": factory.factory})
        if not (is_a(factory, type) and issubclass(factory, sqlite3.Connection)):
            self.tell("connections made by a factory that is no class go untraced")
            return call(*args, **kwargs)
        traced = self.traced_connection(factory)
        if len(args) > at:
            return call(*args[:at], traced, *args[at + 1 :], **kwargs)
        return call(*args, **{**kwargs, "factory": traced})

    def identity(self, connection: Any) -> Any:
        return slot(connection) or self.aiosqlite.owner(connection)

    def database(self, identity: Any) -> Database:
        named = identity.named if isinstance(identity, _Connected) else self.aiosqlite.file(identity)
        return Database(_database(named))

    def in_transaction(self, connection: Any) -> bool | None:
        return _CONNECTION.in_transaction(connection)  # type: ignore[no-any-return]

    def connection_of(self, cursor: Any) -> Any:
        return cursor.connection if type(cursor) is Call else _CURSOR.connection(cursor)

    def after(self, cursor: Any) -> tuple[int | None, bool | None]:
        rows = None if _CURSOR.description(cursor) is not None else _CURSOR.rowcount(cursor)
        return rows, _CONNECTION.in_transaction(_CURSOR.connection(cursor))

    def all_fetched(self, cursor: Any) -> bool:
        # It lets go of its statement with the last row, and says so to the garbage collector alone.
        return not any(_is_statement(type(each)) for each in gc.get_referents(cursor))

    def cursor_members(self, base: type) -> dict[str, Any]:
        run = traced(self, base, "executescript", self.running(), late=True)

        def executescript(cursor: Any, *args: Any, **kwargs: Any) -> Any:
            ask(self._script_begins, cursor)
            return run(cursor, *args, **kwargs)

        return {"executescript": functools.update_wrapper(executescript, run)}

    def script_begins(self, connection: sqlite3.Connection, legacy: bool) -> None:
        """A script commits first, in the transaction control that was the only one before Python 3.12."""
        if self.tracer is not None and legacy and ask(self.in_transaction, connection):
            self.tracer.transaction_ends(self.identity(connection), "committed")

    def _script_begins(self, cursor: sqlite3.Cursor) -> None:
        connection = self.connection_of(cursor)
        self.script_begins(connection, not _HAS_AUTOCOMMIT or _CONNECTION.autocommit(connection) == LEGACY)

    def connection_members(self, base: type) -> dict[str, Any]:
        def __init__(connection: Any, *args: Any, **kwargs: Any) -> None:
            connected = _Connected(args[0] if args else kwargs.get("database"))
            set_slot(connection, connected)
            member(base, "__init__")(connection, *args, **kwargs)
            set_slot(connection, connected)  # sqlite3 clears it, if the object was a connection before

        # _MakesCursors comes right before sqlite3.Connection, so that the cursor() of a class of the program's own gets
        # traced cursors as well.
        bases = (_MakesCursors,) if base is sqlite3.Connection else (base, _MakesCursors)
        return {"__bases__": bases, "__init__": __init__}


class _Connected:
    """Stands for a connection, which allows no weak references."""

    __slots__ = ("__weakref__", "named")

    def __init__(self, named: Any) -> None:
        self.named = named


class _MakesCursors(sqlite3.Connection):
    """The originals make a plain cursor, whatever ``cursor()`` does, and call its method. They get every call that they
    would refuse, so that the program is told in their words."""

    __slots__ = ()


def _cursor(*args: Any, **kwargs: Any) -> Any:
    if driver.tracer is not None and args and is_a(args[0], sqlite3.Connection):
        at = len(args)
        factory = args[1] if at == 2 else sqlite3.Cursor if at == 1 and not kwargs else kwargs.get("factory")
        if is_a(factory, type) and issubclass(factory, sqlite3.Cursor):
            if "factory" in kwargs:
                kwargs["factory"] = driver.traced_cursor(factory)
            else:
                args = args[0], driver.traced_cursor(factory), *args[2:]
    return sqlite3.Connection.cursor(*args, **kwargs)


def _runs(name: str, *counts: int) -> Callable[..., Any]:
    original = getattr(sqlite3.Connection, name)

    def run(*args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) not in counts or not is_a(args[0], sqlite3.Connection):
            return original(*args, **kwargs)
        return getattr(_cursor(args[0]), name)(*args[1:])

    return run


for _name, _method in {
    "cursor": _cursor, "execute": _runs("execute", 2, 3), "executemany": _runs("executemany", 3),
    "executescript": _runs("executescript", 2),
}.items():  # fmt: skip
    setattr(_MakesCursors, _name, named(_method, getattr(sqlite3.Connection, _name), sqlite3.Connection, _name))
del _name, _method, _MakesCursors.__slots__


_name_of = type.__dict__["__name__"].__get__


def _is_statement(kind: type) -> bool:
    """Whether it is sqlite3's type of statements, which has no name that one could import."""
    return _name_of(kind) == "Statement" and bool(member(kind, "__flags__") & IMMUTABLE)


_PATH = type(pathlib.Path())  # any other class may be the program's


def _database(named: Any) -> str:
    """The base name of the file: the folders above it are nobody's business."""
    path = os.fsdecode(plain(named)) if is_a(named, str | bytes) else str(named) if type(named) is _PATH else ""
    if path.startswith("file:"):
        path = unquote(path[5:].partition("?")[0])
    return os.path.basename(path)


driver = Sqlite3Driver()
