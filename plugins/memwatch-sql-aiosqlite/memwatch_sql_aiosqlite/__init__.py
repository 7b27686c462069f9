"""Traces aiosqlite in the task that awaits, not in the thread in which aiosqlite calls sqlite3.

Every operation of aiosqlite passes through ``Connection._execute(method, *args)``. ``method`` belongs to sqlite3's
connection or cursor, or is a helper of aiosqlite's. The driver publishes what it would around that method, had the task
called it. The sqlite3 connections underneath are not traced.
"""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from memwatch_core.records import Database
from memwatch_plugins.sql.around import Shell, Steps
from memwatch_plugins.sql.sqlite import LEGACY, SqliteDriverBase, Untraced, file_name
from memwatch_plugins.sql.targets import replaces, traces

_HELPERS = ("_execute_insert", "_execute_fetchall")  # run a statement and return its rows in one call


class _Made(NamedTuple):
    """How an aiosqlite connection was made."""

    database: Any
    legacy: bool
    """Whether it uses legacy transaction control. Its getter raises outside of aiosqlite's thread; nothing changes it
    there."""


class _Call:
    """Stands in for the cursor that a connection's method is about to make."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection


class AiosqliteDriver(SqliteDriverBase):
    name, summary, target = "aiosqlite", "aiosqlite, which runs SQLite in a thread", "aiosqlite"

    def __init__(self) -> None:
        super().__init__()
        self._made: weakref.WeakKeyDictionary[Any, _Made] = weakref.WeakKeyDictionary()
        self._owners: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()

    def prepare(self) -> None:
        super().prepare()
        self._of_cursors = {name: Shell(self, trace) for name, trace in self.traced_cursors.items()}
        self._of_connections = {name: Shell(self, trace) for name, trace in self.traced_connections.items()}
        self._of_connections |= {name: self._of_cursors[name] for name in self.runs}
        self._of_connections |= dict.fromkeys(_HELPERS, self._of_cursors["execute"])

    def trace_classes(self) -> None:
        """Doesn't trace sqlite3's classes."""

    def identity(self, connection: Any) -> Any:
        """aiosqlite's connection for a connection of sqlite3; None if there is none."""
        owner = self._owners.get(id(connection))
        return owner if owner is not None and owner._connection is connection else None

    def connection_of(self, cursor: Any) -> Any:
        return cursor.connection if type(cursor) is _Call else super().connection_of(cursor)

    def database(self, identity: Any) -> Database:
        made = self._made.get(identity)
        return Database(file_name(made and made.database))

    @replaces("aiosqlite:connect", "aiosqlite.core:connect")
    def connect(self, call: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        made = call(*args, **{**kwargs, "factory": Untraced(kwargs.get("factory", sqlite3.Connection))})
        legacy = kwargs.get("autocommit", LEGACY) == LEGACY
        self._made[made] = _Made(args[0] if args else kwargs["database"], legacy)
        return made

    @traces("aiosqlite.core:Connection._execute")
    def executes(self, owner: Any, method: Any, *args: Any, **kwargs: Any) -> Steps:
        on: Any = getattr(method, "__self__", None)
        name, below = getattr(method, "__name__", ""), owner._connection
        made = self._made.get(owner)
        shell = (self._of_cursors if isinstance(on, sqlite3.Cursor) else self._of_connections).get(name)
        if made is None or below is None or shell is None:
            return
        self._owners[id(below)] = owner
        if name == "executescript":
            self.script_begins(below, made.legacy)
        if on is owner or (on is below and name in self.runs):
            on = _Call(below)
        token = shell.before(on, args, kwargs)
        try:
            result = yield
        except BaseException as error:
            shell.failed(on, token, error)
            raise
        if name in _HELPERS:
            self.publish.statement_ends(token, None, None, True, self.in_transaction(on.connection))
            rows = len(result) if name == "_execute_fetchall" else int(result is not None)
            self.publish.rows_fetched(token, rows, exhausted=True)
            return
        if type(on) is _Call:
            on = result
            self.keep(on, token)
        shell.after(on, token, result)


driver = AiosqliteDriver()
