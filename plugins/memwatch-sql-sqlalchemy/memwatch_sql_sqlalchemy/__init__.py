"""Traces SQLAlchemy by listening to all engines, and at the calls by which a dialect ends a transaction.

The driver below may be traced as well. Both then name the same connection, so that a statement is one context: what the
driver says of it belongs to SQLAlchemy's.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import Database, SqlDriver
from memwatch_plugins.sql import Outcome, SqlDriverBase
from memwatch_plugins.sql.around import Around, traced
from memwatch_plugins.sql.tokens import Tokens

_DIALECTS = {"sqlite": "sqlite", "postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql"}
_ENDS: dict[str, Outcome] = {
    "do_commit": "committed", "do_rollback": "rolled back", "do_close": "closed", "do_terminate": "closed",
}  # fmt: skip


class SqlalchemyDriver(SqlDriverBase):
    name, summary, target = "sqlalchemy", "SQLAlchemy, Core and ORM", "sqlalchemy"

    def __init__(self) -> None:
        super().__init__()
        self._tokens = Tokens()  # by ExecutionContext
        self._records: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()

    def patch(self) -> None:
        from sqlalchemy import event
        from sqlalchemy.engine import Engine
        from sqlalchemy.engine.default import DefaultDialect

        heard: dict[str, Callable[..., None]] = {
            "before_cursor_execute": self._begins,
            "after_cursor_execute": self._ends,
            "handle_error": self._fails,
        }
        for name, call in heard.items():
            listener = self.listener(call)
            event.listen(Engine, name, listener)
            self.on_undo(partial(event.remove, Engine, name, listener))
        for name, outcome in _ENDS.items():
            self.put(DefaultDialect, name, traced(self, DefaultDialect, name, self._ending(outcome)))

    def _begins(
        self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        dialect = connection.dialect
        token = self.tracer.statement_begins(  # type: ignore[union-attr]
            self.name,
            statement,
            parameters,
            self._identity(dialect, connection.connection),
            lambda identity: _database(connection.engine.url),
            _DIALECTS.get(dialect.name, ""),
            executemany,
        )
        self._tokens.set(context or cursor, token)

    def _ends(
        self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        rows = None if cursor.description is not None else cursor.rowcount
        token = self._tokens.get(context or cursor)
        self.tracer.statement_ends(token, rows, None, rows is None, _in_transaction(connection))  # type: ignore[union-attr]

    def _fails(self, failure: Any) -> None:
        ran = failure.execution_context or failure.cursor
        if ran is None or self.tracer is None:
            return
        error = failure.original_exception
        self.tracer.statement_ends(self._tokens.get(ran), error=error, fetchable=False)
        if failure.is_disconnect and failure.connection is not None and not failure.connection.closed:
            identity = self._identity(failure.dialect, failure.connection.connection)
            self.tracer.transaction_ends(identity, "closed")

    def _ending(self, outcome: Outcome) -> Around:
        def before(dialect: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return self._identity(dialect, args[0] if args else kwargs["dbapi_connection"])

        def after(dialect: Any, identity: Any, result: Any) -> None:
            if self.tracer is not None and identity is not None:
                self.tracer.transaction_ends(identity, outcome)

        return Around(before, after, lambda dialect, identity, error: None)

    def _identity(self, dialect: Any, connection: Any) -> Any:
        """What stands for a connection of the driver's, given it or what the pool hands out: the same that a plugin for
        the driver names. If it allows no weak references, as sqlite3's, the pool's record of it."""
        raw = getattr(connection, "dbapi_connection", connection)
        below = dialect.get_driver_connection(raw)
        below = getattr(below, "_memwatch", below)
        if type(below).__weakrefoffset__:
            return below
        record = getattr(connection, "_connection_record", None)
        if record is None:
            record = self._records.get(id(raw))
            return record if record is not None and record.dbapi_connection is raw else None
        self._records[id(raw)] = record
        return record


def _in_transaction(connection: Any) -> bool | None:
    """False in autocommit; otherwise only the driver knows."""
    level = connection.get_execution_options().get("isolation_level")
    level = level or getattr(connection.dialect, "_on_connect_isolation_level", None)
    return False if level == "AUTOCOMMIT" else None


def _database(url: Any) -> Database:
    name = url.database or ""
    if url.get_backend_name() == "sqlite":
        return Database(os.path.basename(name.removeprefix("file:").partition("?")[0]) or ":memory:")
    host = url.host or url.query.get("host") or url.query.get("unix_socket") or ""
    server = host if isinstance(host, str) else ",".join(host)
    return Database(name, f"{server}:{url.port}" if url.port else server)


driver = SqlalchemyDriver()


@hookimpl
def memwatch_sql() -> Iterator[SqlDriver]:
    yield driver.record
