"""Traces SQLAlchemy at its dialects, through which every engine runs statements and ends transactions.

Events of engines aren't used: a listener slows SQLAlchemy itself down, by as much as everything here, and can't be
removed completely. Every dialect class with methods of its own is traced, including those defined later.

The driver underneath may be traced as well. Both name the same connection, so a statement is one context: the driver's
statement becomes part of SQLAlchemy's.
"""

from __future__ import annotations

import os
import weakref
from typing import Any

from memwatch_core.records import Database
from memwatch_plugins.sql import Outcome, SqlDriverBase
from memwatch_plugins.sql.around import Steps, Trace
from memwatch_plugins.sql.plain import is_a, slot

_DIALECTS = {"sqlite": "sqlite", "postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql"}


class SqlalchemyDriver(SqlDriverBase):
    name, summary, target = "sqlalchemy", "SQLAlchemy, Core and ORM", "sqlalchemy"

    def __init__(self) -> None:
        super().__init__()
        self._records: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self._traces: dict[str, Trace] = {
            "do_execute": self.executes,
            "do_executemany": self.executes_many,
            "do_execute_no_params": self.executes_text,
            "do_commit": self._ending("committed"),
            "do_rollback": self._ending("rolled back"),
            "do_close": self._ending("closed"),
            "do_terminate": self._ending("closed"),
        }

    def patch(self) -> None:
        from sqlalchemy.engine.default import DefaultDialect

        def trace(owner: type) -> None:
            for name in self._traces.keys() & vars(owner).keys():
                self.trace(owner, name, self._traces[name])
            each: type
            for each in owner.__subclasses__():
                trace(each)

        def defined(owner: type[Any], /, **options: Any) -> None:
            super(DefaultDialect, owner).__init_subclass__(**options)  # type: ignore[misc]
            self.listener(trace)(owner)

        trace(DefaultDialect)
        self.put(DefaultDialect, "__init_subclass__", classmethod(defined))

    def executes(self, dialect: Any, cursor: Any, statement: Any, parameters: Any, context: Any = None) -> Steps:
        return self._running(dialect, cursor, statement, parameters, context, False)

    def executes_many(self, dialect: Any, cursor: Any, statement: Any, parameters: Any, context: Any = None) -> Steps:
        return self._running(dialect, cursor, statement, parameters, context, True)

    def executes_text(self, dialect: Any, cursor: Any, statement: Any, context: Any = None) -> Steps:
        return self._running(dialect, cursor, statement, None, context, False)

    def _running(self, dialect: Any, cursor: Any, statement: Any, parameters: Any, context: Any, many: bool) -> Steps:
        if context is None:
            return  # the dialect's own statement, on a connection that is still private
        connection = context.root_connection
        identity = self._identity(dialect, connection.connection)
        token = self.publish.statement_begins(
            self.name,
            statement,
            parameters,
            identity,
            lambda _: _database(connection.engine.url),
            _DIALECTS.get(dialect.name, ""),
            many,
        )
        try:
            yield
        except BaseException as error:
            self.publish.statement_ends(token, None, error, False)
            raw = connection.connection.dbapi_connection
            if is_a(error, dialect.loaded_dbapi.Error) and dialect.is_disconnect(error, raw, cursor):
                self.publish.transaction_ends(identity, "closed")
            raise
        rows = None if cursor.description is not None else cursor.rowcount
        self.publish.statement_ends(token, rows, None, rows is None, _in_transaction(connection))

    def _ending(self, outcome: Outcome) -> Trace:
        def ends(dialect: Any, dbapi_connection: Any) -> Steps:
            identity = self._identity(dialect, dbapi_connection)
            yield
            if identity is not None:
                self.publish.transaction_ends(identity, outcome)

        return ends

    def _identity(self, dialect: Any, connection: Any) -> Any:
        """The object that identifies a driver's connection, given that connection or the pool's: the same as in the
        driver's plugin. For a connection without weak references, such as sqlite3's, the pool's record."""
        raw = getattr(connection, "dbapi_connection", connection)
        below = dialect.get_driver_connection(raw)
        below = slot(below) or below
        if type(below).__weakrefoffset__:
            return below
        record = self._records.get(id(raw))
        if record is not None and record.dbapi_connection is raw:
            return record
        record = getattr(connection, "_connection_record", None)
        if record is not None:
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
