"""Traces psycopg 3: publishes what its connections do, sync and async, also those that were there before."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, ClassVar
from weakref import WeakKeyDictionary, WeakSet

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import Database, SqlDriver
from memwatch_plugins.sql import DbapiDriverBase, Outcome
from memwatch_plugins.sql.around import Around
from memwatch_plugins.sql.dbapi import one
from memwatch_plugins.sql.plain import Own, is_a, peek, plain, shown

IDLE, ACTIVE, INTRANS, INERROR, UNKNOWN = range(5)  # psycopg.pq.TransactionStatus
BAD = 1  # psycopg.pq.ConnStatus
BUSY = (ACTIVE, UNKNOWN)
COPY_OUT = 3  # psycopg.pq.ExecStatus
QUOTE = '"'


class PsycopgDriver(DbapiDriverBase):
    name, summary, target, dialect = "psycopg", "PostgreSQL, by psycopg 3", "psycopg", "postgresql"
    runs: ClassVar[tuple[str, ...]] = ("execute",)
    keywords: ClassVar[tuple[str, str]] = ("query", "params")
    ends: ClassVar[dict[str, Outcome]] = {
        "commit": "committed", "rollback": "rolled back", "close": "closed",
        "tpc_commit": "committed", "tpc_rollback": "rolled back",
    }  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self._own: Any = None  # what psycopg's connections of libpq have
        self._of_servers: Any = ()
        # What a pipeline has sent, and awaits results for: the statement, by the id of the entry in psycopg's queue.
        self._queued: WeakKeyDictionary[Any, dict[int, Any]] = WeakKeyDictionary()
        self._aborted: WeakSet[Any] = WeakSet()  # pipelines in which something has failed since they synchronised

    def patch(self) -> None:
        import psycopg

        self._own = Own(psycopg.pq.PGconn)
        self._of_servers = (psycopg.ServerCursor, psycopg.AsyncServerCursor)
        for cursor in (psycopg.Cursor, psycopg.AsyncCursor, psycopg.ServerCursor, psycopg.AsyncServerCursor):
            self.trace_cursors(cursor)
            for name in ("__iter__", "__aiter__"):  # before psycopg 3.3 generators, since then the cursor itself
                own = vars(cursor).get(name)
                if inspect.isgeneratorfunction(own) or inspect.isasyncgenfunction(own):
                    self.trace_methods(cursor, {name: self.fetching(one)})
        self.trace_connections(psycopg.Connection, psycopg.AsyncConnection)
        for copy in (psycopg.Copy, psycopg.AsyncCopy):  # rows() and iteration call these
            self.trace_methods(copy, {"read": self.reading(_block), "read_row": self.reading(one)})
        begins, ends, syncs = Around(_nothing, self._block_begun, _nothing), self.leaving(), self.syncing()
        self.trace_methods(psycopg.Transaction, {"__enter__": begins, "__exit__": ends})
        self.trace_methods(psycopg.AsyncTransaction, {"__aenter__": begins, "__aexit__": ends})
        self.trace_methods(psycopg.Pipeline, {"sync": syncs, "__exit__": syncs})
        self.trace_methods(psycopg.AsyncPipeline, {"sync": syncs, "__aexit__": syncs})
        base = next(each for each in psycopg.Pipeline.__mro__ if "_process_results" in vars(each))
        self.trace_methods(base, {"_process_results": self.receiving()})
        self.on_undo(self._queued.clear)
        self.when_imported("psycopg_pool", self._patch_pools)

    def _patch_pools(self) -> None:
        import psycopg_pool

        for pool in (psycopg_pool.ConnectionPool, psycopg_pool.AsyncConnectionPool):
            self.trace_methods(pool, {"putconn": Around(self._returned, _nothing, _nothing)})

    # ---- what is peculiar to psycopg --------------------------------------------------------------------------------

    # Connections and cursors may be of classes of the program's: only what psycopg keeps in them is looked at.

    def connected(self) -> Any:
        from psycopg import Cursor

        return Cursor._conn  # type: ignore[misc]  # a descriptor of its __slots__

    def database(self, identity: Any) -> Database:
        from psycopg import ConnectionInfo

        if self.is_closed(identity):
            return Database()
        info = ConnectionInfo(peek(identity, "pgconn"))
        host, port = info.host, info.port
        if host.startswith("/"):
            return Database(info.dbname, f"{host}/.s.PGSQL.{port}")
        return Database(info.dbname, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")

    def text(self, cursor: Any, statement: Any) -> Any:
        return _text(statement)

    def in_transaction(self, connection: Any) -> bool | None:
        status = self._status(connection)
        if status == ACTIVE and peek(connection, "_pipeline") is not None:
            return True  # in autocommit: until it synchronises
        return None if status in BUSY else bool(status != IDLE)

    def _status(self, connection: Any) -> int:
        return self._own.transaction_status(peek(connection, "pgconn"))  # type: ignore[no-any-return]

    def is_closed(self, connection: Any) -> bool:
        return bool(self._own.status(peek(connection, "pgconn")) == BAD)

    def rolled_back(self, cursor: Any) -> bool:
        result = peek(cursor, "pgresult")
        return result is not None and result.command_status == b"ROLLBACK"

    def commits(self, connection: Any) -> Outcome:
        return "rolled back" if self._status(connection) == INERROR else "committed"

    def after(self, cursor: Any) -> tuple[int | None, bool | None]:
        result, connection = peek(cursor, "pgresult"), peek(cursor, "_conn")
        pipelined = peek(connection, "_pipeline") is not None
        if result is None:
            rows = None if pipelined else peek(cursor, "_rowcount")
        else:
            rows = None if result.nfields and result.status != COPY_OUT else peek(cursor, "_rowcount")
        if pipelined:
            self._sent(cursor, self._tokens.get(cursor))
            return rows, self.in_transaction(connection)
        status = self._status(connection)
        return rows, None if status in BUSY else status != IDLE

    def all_fetched(self, cursor: Any) -> bool:
        result, position = peek(cursor, "pgresult"), peek(cursor, "_pos")
        if result is None or is_a(cursor, self._of_servers):  # of these, the server alone knows
            return False
        others = peek(cursor, "_results")
        return bool(position >= result.ntuples and (not others or others[-1] is result))

    def fetch_failed(self, cursor: Any, token: Any, error: BaseException) -> None:
        # The server's word on a FETCH; in a pipeline it may concern another statement, see receiving().
        from psycopg import Error

        said = is_a(error, Error) and peek(error, "sqlstate") is not None
        if said and peek(peek(cursor, "_conn"), "_pipeline") is None:
            self.failed(cursor, token, error)
        else:
            super().fetch_failed(cursor, token, error)

    # ---- cursors ----------------------------------------------------------------------------------------------------

    def around_cursor(self, names: Callable[[str], bool]) -> dict[str, Around]:
        more = {
            "executemany": self.running(many=True, keywords=("query", "params_seq")),
            "copy": self.running(keywords=("statement", "params")),
            "stream": self.streaming(),
            "scroll": self.fetching(lambda result: (0, False)),  # a server cursor's may fail
        }
        return super().around_cursor(names) | {name: around for name, around in more.items() if names(name)}

    def running(self, *, many: bool = False, keywords: tuple[str, str] | None = None) -> Around:
        run = super().running(many=many, keywords=keywords)

        def failed(cursor: Any, token: Any, error: BaseException) -> None:
            # In a pipeline the error may be an earlier statement's, while this one has been sent all the same.
            connection = peek(cursor, "_conn")
            pipelined = peek(connection, "_pipeline") is not None
            if not pipelined or self.is_closed(connection) or not self._sent(cursor, token):
                run.failed(cursor, token, error)
            else:
                run.after(cursor, token, None)

        return replace(run, failed=failed)

    def _sent(self, cursor: Any, token: Any) -> bool:
        """Notes for which results a pipeline waits since the cursor ran the statement; whether there are any."""
        pipeline = peek(peek(cursor, "_conn"), "_pipeline")
        queued = self._queued.setdefault(pipeline, {})
        known = len(queued)
        for entry in reversed(peek(pipeline, "result_queue")):
            if entry is not None:  # as that of a command without a cursor is
                if entry[0] is not cursor or id(entry) in queued:
                    break
                queued[id(entry)] = token
        return len(queued) > known

    def streaming(self) -> Around:
        """Around a generator of rows: the statement has been run when the first one is there."""
        run, fetch = self.running(), self.fetching(one)

        def before(cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
            connection = peek(cursor, "_conn")  # its status says little while rows are coming
            in_transaction = not peek(connection, "_autocommit") or self.in_transaction(connection)
            return [run.before(cursor, args, kwargs), in_transaction, True]

        def each(cursor: Any, state: Any, row: Any) -> None:
            if state is None or state[0] is None:
                return
            if state[2]:
                state[2] = False
                self.tracer.statement_ends(state[0], in_transaction=state[1])  # type: ignore[union-attr]
            fetch.after(cursor, state[0], row)

        def after(cursor: Any, state: Any, result: Any) -> None:
            if state is None:
                return
            if state[2]:
                run.after(cursor, state[0], result)
            fetch.after(cursor, state[0], None)

        def failed(cursor: Any, state: Any, error: BaseException) -> None:
            self.failed(cursor, state and state[0], error)

        return Around(before, after, failed, each)

    def reading(self, count: Callable[[Any], tuple[int, bool]]) -> Around:
        """Around a method of a COPY that hands out rows. An error leaves the block, and is published there."""
        fetch = self.fetching(count)

        def before(copy: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return fetch.before(peek(copy, "cursor"), args, kwargs)

        return Around(before, fetch.after, _nothing)

    # ---- transactions -----------------------------------------------------------------------------------------------

    def around_connection(self, names: Callable[[str], bool]) -> dict[str, Around]:
        found = super().around_connection(names)
        close = found["close"]

        def closed(connection: Any, token: Any, result: Any) -> None:
            if self.is_closed(connection):  # and not given back to its pool
                close.after(connection, token, result)

        # Prepared, a transaction has no outcome yet; if that fails, it is over.
        prepare = replace(self.ending("rolled back"), after=_nothing)
        return found | {"close": replace(close, after=closed), "tpc_prepare": prepare}

    def _block_begun(self, block: Any, token: Any, result: Any) -> None:
        if name := _savepoint(block):
            self.tracer.savepoint(peek(block, "_conn"), name, "set")  # type: ignore[union-attr]

    def leaving(self) -> Around:
        """Around the end of a ``transaction()`` block, which ends its transaction or its savepoint."""
        ending = self.ending("committed")

        def before(block: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outcome:
            if args[1] is not None or peek(block, "force_rollback") not in (False, None):
                return "rolled back"
            return self.commits(peek(block, "_conn"))

        def after(block: Any, token: Outcome, result: Any) -> None:
            connection, tracer, back = peek(block, "_conn"), self.tracer, token == "rolled back"
            if tracer is None:
                return
            if self.is_closed(connection):
                tracer.transaction_ends(connection, "closed")
            elif peek(block, "_outer_transaction"):
                # In a pipeline, whether a commit succeeds is known when it synchronises.
                pipelined = peek(connection, "_pipeline") is not None
                if self.in_transaction(connection) is False or (back and pipelined):
                    tracer.transaction_ends(connection, token)
            else:
                if back:
                    tracer.savepoint(connection, _savepoint(block), "rolled back")
                tracer.savepoint(connection, _savepoint(block), "released")

        return Around(before, after, lambda block, token, error: ending.failed(peek(block, "_conn"), token, error))

    def _returned(self, pool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A connection goes back to its pool, which rolls back what is open: before somebody else gets it."""
        connection = args[0] if args else kwargs["conn"]
        if peek(connection, "_pool") is pool:
            over = self.in_transaction(connection) is False
            self.tracer.transaction_ends(connection, "committed" if over else "rolled back")  # type: ignore[union-attr]

    # ---- pipelines: a statement's failure comes later, from whatever call happens to receive it ---------------------

    def receiving(self) -> Around:
        """Around the pipeline's handling of one result."""

        def before(pipeline: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return self._queued.get(pipeline, {}).pop(id(args[0]), None)

        def failed(pipeline: Any, token: Any, error: BaseException) -> None:
            self._aborted.add(pipeline)
            if token is not None and (tracer := self.tracer) is not None:
                open = self.in_transaction(peek(pipeline, "_conn"))
                tracer.statement_ends(token, error=error, fetchable=False, in_transaction=open)

        return Around(before, _nothing, failed)

    def syncing(self) -> Around:
        """Around synchronising, which ends the transaction if none was begun explicitly."""

        def settle(pipeline: Any, token: Any, result: Any) -> None:
            connection, tracer = peek(pipeline, "_conn"), self.tracer
            aborted = pipeline in self._aborted
            self._aborted.discard(pipeline)
            if tracer is None or pipeline not in self._queued:
                return
            if not peek(pipeline, "level"):
                del self._queued[pipeline]
            if self.is_closed(connection):
                tracer.transaction_ends(connection, "closed")
            elif self.in_transaction(connection) is False:
                tracer.transaction_ends(connection, "rolled back" if aborted else "committed")

        return Around(_nothing, settle, settle)


def _savepoint(block: Any) -> Any:
    name = peek(block, "_savepoint_name")
    return plain(name) if is_a(name, str) else ""


def _text(statement: Any) -> Any:
    """A statement, perhaps composed. Literals aren't adapted: that is the program's code, and its data."""
    from psycopg import sql

    kind = type(statement)
    kinds = (sql.Composed, sql.SQL, sql.Identifier, sql.Placeholder, sql.Literal)
    return _part(statement) if any(kind is each for each in kinds) else plain(statement)


def _part(part: Any) -> str:
    from psycopg import sql

    kind = type(part)
    if kind is sql.Composed:
        return "".join(map(_part, part._obj))
    if kind is sql.SQL:
        return shown(part._obj)
    if kind is sql.Identifier:
        return ".".join(f'"{shown(name).replace(QUOTE, QUOTE * 2)}"' for name in part._obj)
    if kind is sql.Placeholder:
        name, code = shown(part._obj), part._format.value
        return f"%({name}){code}" if name else f"%{code}"
    return "?"  # a literal, or the program's own


def _block(data: Any) -> tuple[int, bool]:
    return (1, False) if data else (0, True)


def _nothing(*args: Any) -> None: ...


driver = PsycopgDriver()


@hookimpl
def memwatch_sql() -> Iterator[SqlDriver]:
    yield driver.record
