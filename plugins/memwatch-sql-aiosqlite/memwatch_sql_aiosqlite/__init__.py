"""Traces aiosqlite where the program awaits: in the task, not in the thread in which aiosqlite calls sqlite3.

All that aiosqlite does with a connection passes through ``Connection._execute(method, *args)``, ``method`` being one of
sqlite3's connection or cursor, or a helper of aiosqlite's own. What is published around it is what would be around that
method, had the task called it. The connections below are sqlite3's own and untraced.
"""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from memwatch_plugins.sql.around import Around, traced

if TYPE_CHECKING:
    from .driver import Sqlite3Driver

LEGACY = -1  # sqlite3.LEGACY_TRANSACTION_CONTROL, Python 3.12
_HELPERS = ("_execute_insert", "_execute_fetchall")  # run a statement and hand out its rows in one call


class Untraced:
    """A ``factory=`` that makes what the program asked for, and tells ``sqlite3.connect`` to leave it untraced."""

    def __init__(self, factory: Any) -> None:
        self.factory = factory

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.factory(*args, **kwargs)


class _Made(NamedTuple):
    """How a connection of aiosqlite was made."""

    database: Any
    legacy: bool
    """In sqlite3's old transaction control. Its getter raises in any thread but aiosqlite's; nothing sets it there."""


class Call:
    """Stands for the cursor that a method of a connection is about to make."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection


class Aiosqlite:
    """What the driver does about aiosqlite, once the program has imported it."""

    def __init__(self, driver: Sqlite3Driver) -> None:
        self._driver = driver
        self._made: weakref.WeakKeyDictionary[Any, _Made] = weakref.WeakKeyDictionary()
        self._owners: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()

    def patch(self) -> None:
        import aiosqlite

        self._driver.replace(self._connect, (aiosqlite, "connect"), (aiosqlite.core, "connect"))
        self._of_cursors = self._driver.around_cursor(lambda name: True)
        self._of_connections = self._driver.around_connection(lambda name: True)
        self._of_connections |= {name: self._of_cursors[name] for name in self._driver.runs}
        self._of_connections |= dict.fromkeys(_HELPERS, self._of_cursors["execute"])
        owner, around = aiosqlite.core.Connection, Around(self._before, self._after, self._failed)
        self._driver.put(owner, "_execute", traced(self._driver, owner, "_execute", around))

    def owner(self, connection: sqlite3.Connection) -> Any:
        """aiosqlite's connection over this one of sqlite3's; None if there is none."""
        owner = self._owners.get(id(connection))
        return owner if owner is not None and owner._connection is connection else None

    def file(self, owner: Any) -> Any:
        """What one of aiosqlite's connections was made to; None if it isn't known."""
        made = self._made.get(owner)
        return made and made.database

    def _connect(self, call: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        made = call(*args, **{**kwargs, "factory": Untraced(kwargs.get("factory", sqlite3.Connection))})
        legacy = kwargs.get("autocommit", LEGACY) == LEGACY
        self._made[made] = _Made(args[0] if args else kwargs["database"], legacy)
        return made

    def _before(self, owner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        method, *rest = args
        on, name = getattr(method, "__self__", None), getattr(method, "__name__", "")
        below = owner._connection
        made = self._made.get(owner)
        if made is None or below is None:
            return None
        self._owners[id(below)] = owner
        around = (self._of_cursors if isinstance(on, sqlite3.Cursor) else self._of_connections).get(name)
        if around is None:
            return None
        if name == "executescript":
            self._driver.script_begins(below, made.legacy)
        if on is owner or (on is below and name in self._driver.runs):
            on = Call(below)
        return around, on, around.before(on, tuple(rest), kwargs), name

    def _after(self, owner: Any, state: Any, result: Any) -> None:
        if state is None:
            return
        around, on, token, name = state
        tracer = self._driver.tracer
        if name in _HELPERS and tracer is not None:
            tracer.statement_ends(token, None, None, True, self._driver.in_transaction(on.connection))
            rows = len(result) if name == "_execute_fetchall" else int(result is not None)
            tracer.rows_fetched(token, rows, exhausted=True)
            return
        if isinstance(on, Call):
            on = result
            self._driver.keep(on, token)
        around.after(on, token, result)

    def _failed(self, owner: Any, state: Any, error: BaseException) -> None:
        if state is not None:
            around, on, token, _ = state
            around.failed(on, token, error)
