"""Traces psycopg2: the connections that ``psycopg2.connect`` makes."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any, ClassVar

from memwatch_plugins.sql.around import Steps
from memwatch_plugins.sql.composed import ComposedDriverBase, Factory, is_composed
from memwatch_plugins.sql.dbapi import Count
from memwatch_plugins.sql.driver import Outcome
from memwatch_plugins.sql.libpq import LibpqDriverBase, quoted
from memwatch_plugins.sql.plain import Own, set_slot, shown, slot
from memwatch_plugins.sql.targets import of_connections, tells, traces

READY, PREPARED, POLL_OK = 1, 5, 0  # values of psycopg2, which is imported by the program alone


class Psycopg2Driver(LibpqDriverBase, ComposedDriverBase):
    name, summary, target = "psycopg2", "psycopg2, for PostgreSQL", "psycopg2"
    cursors = ("psycopg2.extensions:cursor",)
    connections = ("psycopg2.extensions:connection",)
    connects = ("psycopg2:_connect",)  # called by every ``connect``, also by one that was imported by name before
    connection_factory = Factory("connection_factory", 1, optional=True)
    cursor_factory = Factory("cursor_factory", 1, optional=True)
    runs: ClassVar[Mapping[str, tuple[str, str]]] = {"execute": ("query", "vars")}
    fetches: ClassVar[Mapping[str, Count]] = {
        **LibpqDriverBase.fetches, "read_message": lambda message: (int(message is not None), False),
    }  # fmt: skip
    status = LibpqDriverBase.of_libpq("get_transaction_status")
    wrapped, code = "_wrapped", "pgcode"

    def __init__(self) -> None:
        super().__init__()
        self._bulks: dict[int, int] = {}  # cursors (by id) in execute_values() or execute_batch(): rows so far

    def prepare(self) -> None:
        super().prepare()
        # The members of psycopg2's classes, even if the program's subclasses override them.
        self._own, self._cursors_own = Own(self.connection_kind), Own(self.cursor_kind)

    def cursor_class(self, connection: Any) -> Any:
        factory = self._own.cursor_factory(connection)
        return self.cursor_kind if factory is None else factory

    def info(self, connection: Any) -> Any:
        return self._own.info(connection)

    def in_transaction(self, connection: Any) -> bool | None:
        return self._own.status(connection) == PREPARED or super().in_transaction(connection)

    def is_closed(self, connection: Any) -> bool:
        return bool(self._own.closed(connection))

    def rolled_back(self, cursor: Any) -> bool:
        return bool(self._cursors_own.statusmessage(cursor) == "ROLLBACK")

    def all_fetched(self, cursor: Any) -> bool:
        own = self._cursors_own  # only the server knows about a named cursor
        return own.name(cursor) is None and own.rownumber(cursor) >= own.rowcount(cursor)

    def fetch_failed(self, cursor: Any, token: Any, error: BaseException) -> None:
        if self.is_servers(error):  # a named cursor asks the server for rows
            self.failed(cursor, token, error)
        else:
            super().fetch_failed(cursor, token, error)

    # ---- transactions -----------------------------------------------------------------------------------------------

    def ending(self, connection: Any, outcome: Outcome) -> Steps:
        """In autocommit, psycopg2 has begun no transaction, and ends none that the program has begun by text."""
        if self._own.status(connection) != READY:
            yield from super().ending(connection, outcome)

    @of_connections("reset", "set_isolation_level", "set_client_encoding", "tpc_rollback")
    def resets(self, connection: Any, *args: Any, **kwargs: Any) -> Steps:
        return self._settling(connection, "rolled back")

    @of_connections("tpc_commit")
    def commits_prepared(self, connection: Any, *args: Any) -> Steps:
        return self._settling(connection, "committed")

    def _settling(self, connection: Any, outcome: Outcome) -> Steps:
        """Around a method that may end the transaction, depending on its arguments."""
        if not self.in_transaction(connection):
            return
        if outcome == "committed":
            outcome = self.commits(connection)
        try:
            yield
        except BaseException:
            outcome = "rolled back"
            raise
        finally:
            if self.in_transaction(connection) is False:
                self.publish.transaction_ends(connection, outcome)

    @of_connections("close")
    def closes(self, connection: Any) -> Steps:
        # Closing doesn't roll back a prepared transaction: it counts as committed, as with the statement PREPARE
        # TRANSACTION.
        outcome: Outcome = "committed" if self._own.status(connection) == PREPARED else "closed"
        yield
        if (pending := self._pending(connection)) is not None:
            self.publish.statement_ends(pending[1], fetchable=False, in_transaction=False)
        self.publish.transaction_ends(connection, outcome)

    # ---- connections with async_=1: a statement is run when poll() says so ------------------------------------------

    def after(self, cursor: Any) -> tuple[int | None, bool | None] | None:
        connection = self._cursors_own.connection(cursor)
        if not self._own.async_(connection):
            return self._result(cursor)
        set_slot(connection, (weakref.ref(cursor), self.token(cursor)))  # psycopg2 has only a weak reference, too
        return None

    def _result(self, cursor: Any) -> tuple[int | None, bool | None]:
        own = self._cursors_own
        rows = None if own.description(cursor) is not None or own.name(cursor) is not None else own.rowcount(cursor)
        if self._bulks and id(cursor) in self._bulks:
            self._bulks[id(cursor)] += own.rowcount(cursor)
            rows = None
        return rows, self.in_transaction(own.connection(cursor))

    def _pending(self, connection: Any) -> tuple[Any, Any] | None:
        """Returns and clears an async connection's statement that isn't known to have run: (cursor, token)."""
        pending = slot(connection)
        if pending is None:
            return None
        set_slot(connection, None)
        return pending[0](), pending[1]

    @of_connections("poll")
    def polls(self, connection: Any) -> Steps:
        try:
            state = yield
        except BaseException as error:
            if (pending := self._pending(connection)) is not None:
                self.failed(*pending, error)
            raise
        if state == POLL_OK and (pending := self._pending(connection)) is not None:
            cursor, token = pending
            rows, in_transaction = (None, None) if cursor is None else self._result(cursor)
            rolled_back = in_transaction is False and self.rolled_back(cursor)
            self.publish.statement_ends(token, rows, None, rows is None, in_transaction, rolled_back)

    # ---- what else runs statements ----------------------------------------------------------------------------------

    @tells("executemany")
    def many(self, cursor: Any, query: Any, vars_list: Any = None, vars: Any = None) -> tuple[Any, ...]:
        return query, vars_list if vars is None else vars

    @tells("callproc")
    def procedure(self, cursor: Any, procname: Any, parameters: Any = None, vars: Any = None) -> tuple[Any, ...]:
        given = parameters if vars is None else vars
        kind = type(given)
        marks = ", ".join(["%s"] * len(given)) if kind is list or kind is tuple or kind is dict else ""
        return f"SELECT * FROM {shown(procname)}({marks})", given

    @tells("copy_from")
    def copied_in(
        self, cursor: Any, file: Any, table: Any, sep: Any = 0, null: Any = 0, size: Any = 0, columns: Any = None
    ) -> tuple[Any]:
        return (f"COPY {_table(table, columns)} FROM STDIN",)

    @tells("copy_to")
    def copied_out(
        self, cursor: Any, file: Any, table: Any, sep: Any = 0, null: Any = 0, columns: Any = None
    ) -> tuple[Any]:
        return (f"COPY {_table(table, columns)} TO STDOUT",)

    @tells("copy_expert")
    def copied(self, cursor: Any, sql: Any, file: Any, size: Any = 0) -> tuple[Any]:
        return (sql,)

    @tells("start_replication_expert")
    def replicated(self, cursor: Any, command: Any, *args: Any, **kwargs: Any) -> tuple[Any]:
        return (command,)

    @traces("psycopg2.extras:execute_values")
    def values(self, cur: Any, sql: Any, argslist: Any, *args: Any, **kwargs: Any) -> Steps:
        return self._bulk(cur, sql, argslist, counts=True)

    @traces("psycopg2.extras:execute_batch")
    def batch(self, cur: Any, sql: Any, argslist: Any, *args: Any, **kwargs: Any) -> Steps:
        return self._bulk(cur, sql, argslist, counts=False)  # rowcount is only of a page's last statement

    def _bulk(self, cursor: Any, sql: Any, rows: Any, counts: bool) -> Steps:
        """Around a function that runs one statement in several pages."""
        if not is_composed(type(cursor)):
            return
        self._bulks[id(cursor)] = 0
        token = None
        try:
            token = self.begins(cursor, sql, rows, many=True)
            yield
        except BaseException as error:
            self.failed(cursor, token, error)
            raise
        finally:
            changed = self._bulks.pop(id(cursor), 0)
        in_transaction = self.in_transaction(self.connection_of(cursor))
        self.publish.statement_ends(token, changed if counts else None, in_transaction=in_transaction)


def _table(table: Any, columns: Any) -> str:
    listed = ", ".join(map(quoted, columns)) if type(columns) is list or type(columns) is tuple else ""
    return f"{quoted(table)} ({listed})" if listed else quoted(table)


driver = Psycopg2Driver()
