"""Traces SQLAlchemy at its dialects, by which every engine runs statements and ends transactions.

Not by events of engines: a listener makes SQLAlchemy itself slower, as much as all that is done here, and can't be
removed without a trace. Every class of dialects is traced that has such methods of its own, also one that is defined
later.

The driver below may be traced as well. Both then name the same connection, so that a statement is one context: what the
driver says of it belongs to SQLAlchemy's.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import Database, SqlDriver
from memwatch_plugins.sql import Outcome, SqlDriverBase
from memwatch_plugins.sql.around import Around, traced
from memwatch_plugins.sql.plain import is_a, slot

_DIALECTS = {"sqlite": "sqlite", "postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql"}
_RUNS: dict[str, Callable[..., tuple[Any, Any, Any, Any]]] = {
    "do_execute": lambda cursor, statement, parameters, context=None: (cursor, statement, parameters, context),
    "do_executemany": lambda cursor, statement, parameters, context=None: (cursor, statement, parameters, context),
    "do_execute_no_params": lambda cursor, statement, context=None: (cursor, statement, None, context),
}
_ENDS: dict[str, Outcome] = {
    "do_commit": "committed", "do_rollback": "rolled back", "do_close": "closed", "do_terminate": "closed",
}  # fmt: skip


class SqlalchemyDriver(SqlDriverBase):
    name, summary, target = "sqlalchemy", "SQLAlchemy, Core and ORM", "sqlalchemy"

    def __init__(self) -> None:
        super().__init__()
        self._records: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()

    def patch(self) -> None:
        from sqlalchemy.engine.default import DefaultDialect

        around = {name: self._running(told, name == "do_executemany") for name, told in _RUNS.items()}
        around |= {name: self._ending(outcome) for name, outcome in _ENDS.items()}

        def trace(owner: type) -> None:
            for name in around.keys() & vars(owner).keys():
                self.put(owner, name, traced(self, owner, name, around[name]))
            each: type
            for each in owner.__subclasses__():
                trace(each)

        def defined(owner: type[Any], /, **options: Any) -> None:
            super(DefaultDialect, owner).__init_subclass__(**options)  # type: ignore[misc]
            self.listener(trace)(owner)

        trace(DefaultDialect)
        self.put(DefaultDialect, "__init_subclass__", classmethod(defined))

    def _running(self, told: Callable[..., tuple[Any, Any, Any, Any]], many: bool) -> Around:
        def before(dialect: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            cursor, statement, parameters, context = told(*args, **kwargs)
            if context is None:
                return None  # of the dialect's own, on a connection that nobody has yet
            connection = context.root_connection
            identity = self._identity(dialect, connection.connection)
            token = self.tracer.statement_begins(  # type: ignore[union-attr]
                self.name,
                statement,
                parameters,
                identity,
                lambda _: _database(connection.engine.url),
                _DIALECTS.get(dialect.name, ""),
                many,
            )
            return token, cursor, connection, identity

        def after(dialect: Any, ran: Any, result: Any) -> None:
            if ran is not None and (tracer := self.tracer) is not None:
                token, cursor, connection, _ = ran
                rows = None if cursor.description is not None else cursor.rowcount
                tracer.statement_ends(token, rows, None, rows is None, _in_transaction(connection))

        def failed(dialect: Any, ran: Any, error: BaseException) -> None:
            if (tracer := self.tracer) is None:
                return
            if ran is None:
                tracer.statement_ends(None, None, error, False)
                return
            token, cursor, connection, identity = ran
            tracer.statement_ends(token, None, error, False)
            raw = connection.connection.dbapi_connection
            if is_a(error, dialect.loaded_dbapi.Error) and dialect.is_disconnect(error, raw, cursor):
                tracer.transaction_ends(identity, "closed")

        return Around(before, after, failed)

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


@hookimpl
def memwatch_sql() -> Iterator[SqlDriver]:
    yield driver.record
