"""Traces the standard library's SQLite: the connections that ``sqlite3.connect`` makes."""

from __future__ import annotations

import sqlite3
import sqlite3.dbapi2
import sys
from collections.abc import Callable
from typing import Any

from memwatch_core.records import Database
from memwatch_plugins.sql.around import named
from memwatch_plugins.sql.composed import ComposedDriverBase, Factory
from memwatch_plugins.sql.dbapi import ask
from memwatch_plugins.sql.plain import Own, is_a, member, set_slot, slot
from memwatch_plugins.sql.sqlite import LEGACY, SqliteDriverBase, Untraced, file_name
from memwatch_plugins.sql.targets import tells

_HAS_AUTOCOMMIT = hasattr(sqlite3.Connection, "autocommit")  # Python 3.12
_CONNECTION = Own(sqlite3.Connection)


class _Connected:
    """Identifies a connection, which doesn't support weak references."""

    __slots__ = ("__weakref__", "named")

    def __init__(self, named: Any) -> None:
        self.named = named


class Sqlite3Driver(SqliteDriverBase, ComposedDriverBase):
    name, summary, target = "sqlite3", "the standard library's SQLite", "sqlite3"
    connects = ("sqlite3:connect", "sqlite3.dbapi2:connect", "_sqlite3:connect")  # pickle finds it by the last name
    connection_factory = Factory("factory", 5)
    cursor_factory = Factory("factory", 0, most=1)
    identity = staticmethod(slot)  # type: ignore[assignment]  # set by connection_members(); read in C

    def database(self, identity: _Connected) -> Database:
        return Database(file_name(identity.named))

    def connect(self, call: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        factory = kwargs.get("factory")
        if type(factory) is Untraced:
            return call(*args, **{**kwargs, "factory": factory.factory})
        if sys._getframe(1).f_globals.get("__name__") == "aiosqlite.core":
            self.tell(
                "aiosqlite is traced by memwatch-sql-aiosqlite: install it, and name it in plugins.sql if you name any"
            )
        return super().connect(call, instance, args, kwargs)

    @tells("executescript")
    def script(self, cursor: Any, script: Any) -> tuple[Any]:
        connection = self.connection_of(cursor)
        legacy = not _HAS_AUTOCOMMIT or ask(_CONNECTION.autocommit, connection) == LEGACY
        self.script_begins(connection, legacy)
        return (script,)

    def connection_members(self, base: type) -> dict[str, Any]:
        def __init__(connection: Any, *args: Any, **kwargs: Any) -> None:
            connected = _Connected(args[0] if args else kwargs.get("database"))
            set_slot(connection, connected)
            member(base, "__init__")(connection, *args, **kwargs)
            set_slot(connection, connected)  # sqlite3 clears the slot if __init__ is called again

        return {"__init__": __init__}

    def makes_cursors(self) -> dict[str, Any]:
        # The originals make a plain cursor, whatever ``cursor()`` does, and call its method.
        counts = {"execute": (2, 3), "executemany": (3,), "executescript": (2,)}
        return {name: self._through_cursor(name, counts[name]) for name in counts}

    def _through_cursor(self, name: str, counts: tuple[int, ...]) -> Callable[..., Any]:
        original = getattr(sqlite3.Connection, name)

        def run(*args: Any, **kwargs: Any) -> Any:
            if kwargs or len(args) not in counts or not is_a(args[0], sqlite3.Connection):
                return original(*args, **kwargs)
            return getattr(self.make_cursor((args[0],), {}), name)(*args[1:])

        return named(run, original, sqlite3.Connection, name)


driver = Sqlite3Driver()
