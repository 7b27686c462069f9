"""Traces psycopg 3, sync and async, including connections that exist already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from weakref import WeakKeyDictionary, WeakSet

from memwatch_plugins.sql.around import Steps
from memwatch_plugins.sql.dbapi import Count
from memwatch_plugins.sql.driver import Outcome
from memwatch_plugins.sql.libpq import ACTIVE, IDLE, UNKNOWN, LibpqDriverBase
from memwatch_plugins.sql.plain import Own, is_a, peek, plain
from memwatch_plugins.sql.targets import of_connections, of_cursors, traces

BAD = 1  # psycopg.pq.ConnStatus
COPY_OUT = 3  # psycopg.pq.ExecStatus


class PsycopgDriver(LibpqDriverBase):
    name, summary, target = "psycopg", "PostgreSQL, by psycopg 3", "psycopg"
    cursors = ("psycopg:Cursor", "psycopg:AsyncCursor", "psycopg:ServerCursor", "psycopg:AsyncServerCursor")
    connections = ("psycopg:Connection", "psycopg:AsyncConnection")
    runs: ClassVar[Mapping[str, tuple[str, str]]] = {
        "execute": ("query", "params"), "executemany": ("query", "params_seq"), "copy": ("statement", "params"),
    }  # fmt: skip
    fetches: ClassVar[Mapping[str, Count]] = {
        **LibpqDriverBase.fetches, "__iter__": "one", "__aiter__": "one",
        "scroll": lambda result: (0, False),  # a server cursor's may fail
    }  # fmt: skip
    ends: ClassVar[Mapping[str, Outcome]] = {
        "commit": "committed", "rollback": "rolled back", "tpc_commit": "committed", "tpc_rollback": "rolled back",
    }  # fmt: skip
    connected_by = "_conn"
    status = LibpqDriverBase.of_libpq("pgconn", "psycopg.pq:PGconn.transaction_status")
    wrapped, code = "_obj", "sqlstate"

    def __init__(self) -> None:
        super().__init__()
        # Statements that a pipeline has sent and awaits results for, by the id of the entry in psycopg's queue.
        self._queued: WeakKeyDictionary[Any, dict[int, Any]] = WeakKeyDictionary()
        self._aborted: WeakSet[Any] = WeakSet()  # pipelines in which something failed since the last sync

    def prepare(self) -> None:
        import psycopg

        super().prepare()
        self._own = Own(psycopg.pq.PGconn)
        self._of_servers = (psycopg.ServerCursor, psycopg.AsyncServerCursor)

    def patch(self) -> None:
        super().patch()
        self.on_undo(self._queued.clear)

    # ---- connections: only what psycopg keeps in them is looked at, they may be of classes of the program's ----------

    def info(self, connection: Any) -> Any:
        from psycopg import ConnectionInfo

        return ConnectionInfo(peek(connection, "pgconn"))

    def in_transaction(self, connection: Any) -> bool | None:
        status = self.status_of(connection)
        if status == ACTIVE:  # in a pipeline in autocommit, until its sync
            return True if peek(connection, "_pipeline") is not None else None
        return None if status == UNKNOWN else bool(status != IDLE)

    def is_closed(self, connection: Any) -> bool:
        return bool(self._own.status(peek(connection, "pgconn")) == BAD)

    @of_connections("close")
    def closes(self, connection: Any) -> Steps:
        try:
            yield
        finally:
            if self.is_closed(connection):  # not returned to its pool
                self.publish.transaction_ends(connection, "closed")

    @of_connections("tpc_prepare")
    def prepares(self, connection: Any) -> Steps:
        try:
            yield
        except BaseException:  # a prepared transaction has no outcome yet
            self.not_ended(connection)
            raise

    @traces("psycopg_pool:ConnectionPool.putconn", "psycopg_pool:AsyncConnectionPool.putconn")
    def returned(self, pool: Any, conn: Any) -> None:
        """The pool rolls back an open transaction when a connection returns, before others get the connection."""
        if peek(conn, "_pool") is pool:
            over = self.in_transaction(conn) is False
            self.publish.transaction_ends(conn, "committed" if over else "rolled back")

    # ---- cursors ----------------------------------------------------------------------------------------------------

    def rolled_back(self, cursor: Any) -> bool:
        result = peek(cursor, "pgresult")
        return result is not None and result.command_status == b"ROLLBACK"

    def after(self, cursor: Any) -> tuple[int | None, bool | None]:
        result, connection = peek(cursor, "pgresult"), peek(cursor, "_conn")
        pipelined = peek(connection, "_pipeline") is not None
        if result is None:
            rows = None if pipelined else peek(cursor, "_rowcount")
        else:
            rows = None if result.nfields and result.status != COPY_OUT else peek(cursor, "_rowcount")
        if pipelined:
            self._sent(cursor, self.token(cursor))
        return rows, self.in_transaction(connection)

    def all_fetched(self, cursor: Any) -> bool:
        result, position = peek(cursor, "pgresult"), peek(cursor, "_pos")
        if result is None or is_a(cursor, self._of_servers):  # only the server knows about these
            return False
        others = peek(cursor, "_results")
        return bool(position >= result.ntuples and (not others or others[-1] is result))

    def failed(self, cursor: Any, token: Any, error: BaseException) -> None:
        # In a pipeline, the error may be an earlier statement's, while this one was sent nevertheless.
        connection = peek(cursor, "_conn")
        pipelined = peek(connection, "_pipeline") is not None
        if pipelined and not self.is_closed(connection) and self._sent(cursor, token):
            self.ended(cursor, token)
        else:
            super().failed(cursor, token, error)

    def fetch_failed(self, cursor: Any, token: Any, error: BaseException) -> None:
        # The server's error for a FETCH; in a pipeline it may be about another statement, see receives().
        if self.is_servers(error) and peek(peek(cursor, "_conn"), "_pipeline") is None:
            self.failed(cursor, token, error)
        else:
            super().fetch_failed(cursor, token, error)

    @of_cursors("stream")
    def streams(self, cursor: Any, query: Any, params: Any = None, **options: Any) -> Steps:
        """The statement has run once the first row is there."""
        connection = peek(cursor, "_conn")  # its status is useless while rows are coming
        in_transaction = not peek(connection, "_autocommit") or self.in_transaction(connection)
        token = self.begins(cursor, query, params)
        try:
            row = yield
            if row is None:
                self.ended(cursor, token)
            else:
                self.publish.statement_ends(token, in_transaction=in_transaction)
            while row is not None:
                self.publish.rows_fetched(token, 1)
                row = yield
            self.publish.rows_fetched(token, 0, exhausted=True)
        except BaseException as error:
            self.failed(cursor, token, error)
            raise

    @traces("psycopg:Copy.read", "psycopg:AsyncCopy.read", "psycopg:Copy.read_row", "psycopg:AsyncCopy.read_row")
    def reads(self, copy: Any) -> Steps:
        """Rows of a COPY; iteration and rows() call these methods. An error leaves the COPY block, which publishes
        it."""
        token = self.token(peek(copy, "cursor"))
        if token is None:
            return
        data = yield
        is_over = not data and type(data) is not tuple
        self.publish.rows_fetched(token, 0 if is_over else 1, exhausted=is_over)

    # ---- transaction() blocks ---------------------------------------------------------------------------------------

    @traces("psycopg:Transaction.__enter__", "psycopg:AsyncTransaction.__aenter__")
    def block_begins(self, block: Any) -> Steps:
        yield
        if name := _savepoint(block):
            self.publish.savepoint(peek(block, "_conn"), name, "set")

    @traces("psycopg:Transaction.__exit__", "psycopg:AsyncTransaction.__aexit__")
    def block_ends(self, block: Any, kind: Any, error: Any, traceback: Any) -> Steps:
        """Publishes the end of the block's transaction or savepoint."""
        connection = peek(block, "_conn")
        back = error is not None or peek(block, "force_rollback") not in (False, None)
        outcome: Outcome = "rolled back" if back else self.commits(connection)
        try:
            yield
        except BaseException:
            self.not_ended(connection)
            raise
        if self.is_closed(connection):
            self.publish.transaction_ends(connection, "closed")
        elif peek(block, "_outer_transaction"):
            # In a pipeline, the result of a commit is known at its sync.
            pipelined = peek(connection, "_pipeline") is not None
            if self.in_transaction(connection) is False or (outcome == "rolled back" and pipelined):
                self.publish.transaction_ends(connection, outcome)
        else:
            if outcome == "rolled back":
                self.publish.savepoint(connection, _savepoint(block), "rolled back")
            self.publish.savepoint(connection, _savepoint(block), "released")

    # ---- pipelines: a statement's failure comes later, from whatever call happens to receive it ---------------------

    def _sent(self, cursor: Any, token: Any) -> bool:
        """Notes the results that a pipeline awaits since the cursor ran the statement. Returns whether there are
        any."""
        pipeline = peek(peek(cursor, "_conn"), "_pipeline")
        queued = self._queued.setdefault(pipeline, {})
        known = len(queued)
        for entry in reversed(peek(pipeline, "result_queue")):
            if entry is not None:  # None: of a command without a cursor
                if entry[0] is not cursor or id(entry) in queued:
                    break
                queued[id(entry)] = token
        return len(queued) > known

    @traces("psycopg:Pipeline._process_results")
    def receives(self, pipeline: Any, queued: Any, results: Any) -> Steps:
        """A pipeline handles one result."""
        token = self._queued.get(pipeline, {}).pop(id(queued), None)
        try:
            yield
        except BaseException as error:
            self._aborted.add(pipeline)
            if token is not None:
                in_transaction = self.in_transaction(peek(pipeline, "_conn"))
                self.publish.statement_ends(token, error=error, fetchable=False, in_transaction=in_transaction)
            raise

    @traces(
        "psycopg:Pipeline.sync", "psycopg:Pipeline.__exit__",
        "psycopg:AsyncPipeline.sync", "psycopg:AsyncPipeline.__aexit__",
    )  # fmt: skip
    def synchronises(self, pipeline: Any, *args: Any) -> Steps:
        """A sync ends the transaction, unless one was begun explicitly."""
        try:
            yield
        finally:
            connection, aborted = peek(pipeline, "_conn"), pipeline in self._aborted
            self._aborted.discard(pipeline)
            if pipeline in self._queued:
                if not peek(pipeline, "level"):
                    del self._queued[pipeline]
                if self.is_closed(connection):
                    self.publish.transaction_ends(connection, "closed")
                elif self.in_transaction(connection) is False:
                    self.publish.transaction_ends(connection, "rolled back" if aborted else "committed")


def _savepoint(block: Any) -> Any:
    name = peek(block, "_savepoint_name")
    return plain(name) if is_a(name, str) else ""


driver = PsycopgDriver()
