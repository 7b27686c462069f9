"""Traces mysqlclient, the module ``MySQLdb``: its classes are written in Python, and traced in place."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import Database, SqlDriver
from memwatch_plugins.sql import DbapiDriverBase, Tokens
from memwatch_plugins.sql.around import Around, contained, named
from memwatch_plugins.sql.dbapi import one, rest, some
from memwatch_plugins.sql.plain import Own, is_a, peek, shown

LOST = {1053, 1927, 2006, 2013, 2055, 4031}  # shut down, killed, gone away, lost, lost while reading, idle for too long
DEADLOCK, OUT_OF_SYNC = 1213, 2014
SERVER_STATUS, IN_TRANSACTION = 30, 1  # of MariaDB's mysql.h


class MySqlClientDriver(DbapiDriverBase):
    name, summary, target, dialect = "mysqlclient", "mysqlclient, for MySQL and MariaDB", "MySQLdb", "mysql"
    keywords = ("query", "args")
    fetches: ClassVar = {"fetchone": one, "fetchmany": some, "fetchall": rest}  # __next__ calls fetchone

    def __init__(self) -> None:
        super().__init__()
        self._own: Any = None  # what MySQLdb's connections have, whatever the program's subclasses of them
        self._chosen = Tokens()  # by connection: database and socket, as the program has said
        self._status_of: Callable[[Any], Callable[[], int]] | None = None
        self._statuses = Tokens()  # by connection: what reads its status

    def patch(self) -> None:
        from MySQLdb import _mysql, connections, cursors

        self._own = Own(_mysql.connection)
        self._status_of = _status_of(_mysql.__file__, self._own)
        self.trace_cursors(cursors.BaseCursor, cursors.CursorStoreResultMixIn, cursors.CursorUseResultMixIn)
        if "__iter__" in vars(cursors.CursorStoreResultMixIn):  # before 2.3: past fetchone
            self._trace_iteration(cursors.CursorStoreResultMixIn)
        self.trace_methods(connections.Connection, self.around_connection(lambda name: True))  # inherited ones as well

    # ---- connections ------------------------------------------------------------------------------------------------

    def connected(self) -> Any:
        return _CONNECTED

    def database(self, identity: Any) -> Database:
        name, socket = self._chosen.get(identity) or (peek(identity, "db"), "")
        if self.is_closed(identity):
            return Database(shown(name))
        host, _, how = self._own.get_host_info(identity).partition(" via ")  # kept by the client library
        port = self._own.port(identity)
        return Database(shown(name), f"{host}:{port}" if how == "TCP/IP" else shown(socket) or "localhost")

    def in_transaction(self, connection: Any) -> bool | None:
        if self._status_of is None or self.is_closed(connection):
            return None
        status = self._statuses.get(connection)
        if status is None:
            self._statuses.set(connection, status := self._status_of(connection))
        return bool(status() & IN_TRANSACTION)

    def is_closed(self, connection: Any) -> bool:
        return not (is_a(connection, self._own.kind) and self._own.open(connection))  # it may be a stand-in

    def after(self, cursor: Any) -> tuple[int | None, bool | None]:
        # With every statement: as in in_transaction(), with fewer calls. It has succeeded, so the connection is open.
        connection = peek(cursor, "connection")
        read = None if connection is None else self._statuses.get(connection)
        in_transaction = self.in_transaction(connection) if read is None else bool(read() & IN_TRANSACTION)
        return None if peek(cursor, "description") is not None else peek(cursor, "rowcount"), in_transaction

    def all_fetched(self, cursor: Any) -> bool:
        rows, at = peek(cursor, "_rows"), peek(cursor, "rownumber")  # none of a cursor that leaves them on the server
        return type(rows) is tuple and type(at) is int and at >= len(rows)

    def around_connection(self, names: Callable[[str], bool]) -> dict[str, Around]:
        def opened(host=None, user=None, password=None, database="", port=0, unix_socket="", *args, db=None, **kwargs):  # type: ignore[no-untyped-def]
            return database if db is None else db, unix_socket

        def begins(connection: Any) -> bool:
            return self.in_transaction(connection) is not False

        def may_commit(connection: Any) -> bool:
            return not self._own.get_autocommit(connection) and begins(connection)

        return super().around_connection(names) | {
            "__init__": self._choosing(opened),
            "select_db": self._choosing(lambda name: (name, "")),
            "change_user": self.ending("rolled back"),
            "begin": self._committing(begins, lambda connection: True),
            "autocommit": self._committing(may_commit, self._own.get_autocommit),
        }

    def _choosing(self, tell: Callable[..., tuple[Any, Any]]) -> Around:
        """Around a method that is told which database, and perhaps which socket."""

        def after(connection: Any, token: tuple[Any, Any], result: Any) -> None:
            _, socket = self._chosen.get(connection) or token
            self._chosen.set(connection, (token[0], socket))

        return Around(lambda connection, args, kwargs: tell(*args, **kwargs), after, _nothing)

    def _committing(self, may_commit: Callable[[Any], bool], commits: Callable[[Any], bool]) -> Around:
        """Around a method that commits what is open if ``may_commit``, asked before, and ``commits``, after, say so."""

        def after(connection: Any, token: bool, result: Any) -> None:
            if token and commits(connection) and self.tracer is not None:
                self.tracer.transaction_ends(connection, "committed")

        return Around(lambda connection, args, kwargs: may_commit(connection), after, _nothing)

    # ---- cursors ----------------------------------------------------------------------------------------------------

    def around_cursor(self, names: Callable[[str], bool]) -> dict[str, Around]:
        found = super().around_cursor(names)
        if names("callproc"):
            found["callproc"] = self.running_as(lambda procname, args=(): (f"CALL {shown(procname)}", args))
        if names("nextset"):
            found["nextset"] = self._next_result()
        return found

    def _trace_iteration(self, owner: Any) -> None:
        """Puts in place an ``__iter__`` that publishes each row: the library's own is that of a tuple."""
        original = owner.__iter__

        def publish(token: Any, count: int, exhausted: bool) -> None:
            if token is not None and self.tracer is not None:
                self.tracer.rows_fetched(token, count, exhausted=exhausted)

        def each(rows: Any, token: Any) -> Iterator[Any]:
            for row in rows:
                contained(self, publish, token, 1, False)
                yield row
            contained(self, publish, token, 0, True)

        def shell(cursor: Any) -> Any:
            rows = original(cursor)
            return rows if self.tracer is None else each(rows, self._tokens.get(cursor))

        self.put(owner, "__iter__", named(shell, original, owner, "__iter__"))

    def _next_result(self) -> Around:
        """Around ``nextset``, which drops rows by fetching them, and fails if the statement does so only now."""

        def before(cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            token = self._tokens.get(cursor)
            self.keep(cursor, None)
            return token

        def failed(cursor: Any, token: Any, error: BaseException) -> None:
            self.keep(cursor, token)
            self.fetch_failed(cursor, token, error)

        return Around(before, lambda cursor, token, result: self.keep(cursor, token), failed)

    def failed(self, cursor: Any, token: Any, error: BaseException) -> None:
        tracer, connection, code = self.tracer, self.connection_of(cursor), _code(error)
        if tracer is None:
            return
        # Not told by the client library, whose status is that of the last success.
        in_transaction = False if code == DEADLOCK or connection is None else self.in_transaction(connection)
        tracer.statement_ends(token, error=error, fetchable=False, in_transaction=in_transaction)
        if code in LOST and connection is not None:
            tracer.transaction_ends(connection, "closed")

    def fetch_failed(self, cursor: Any, token: Any, error: BaseException) -> None:
        if _code(error) not in (0, OUT_OF_SYNC):
            self.failed(cursor, token, error)
        else:
            super().fetch_failed(cursor, token, error)


class _Connected:
    """The connection of a cursor, as a descriptor."""

    def __get__(self, cursor: Any, owner: object = None) -> Any:
        return peek(cursor, "connection")


_CONNECTED = _Connected()


def _status_of(library: str, own: Own) -> Callable[[Any], Callable[[], int]] | None:
    """Finds what the client library keeps of a connection: the status that the server sent with its last success.

    ``library``: MySQLdb's extension, through which the client library that it uses is found. None if that isn't
    MariaDB's: MySQL's has no function for it.
    """
    try:
        inform = ctypes.PyDLL(library).mariadb_get_infov
    except (OSError, AttributeError):
        return None
    pointer_in = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )

    def status_of(connection: Any) -> Callable[[], int]:
        """To be called only while the connection lives."""
        handle = own._get_native_connection(connection)
        pointer = ctypes.c_void_p(pointer_in(handle, b"_mysql.connection.native_connection"))
        status = ctypes.c_uint()
        place = ctypes.byref(status)

        def read() -> int:
            inform(pointer, SERVER_STATUS, place)
            return status.value

        return read

    return status_of


def _code(error: BaseException) -> int:
    """The number of an error of the server or the client library; 0 for any other."""
    from MySQLdb import MySQLError

    args = BaseException.args.__get__(error) if is_a(error, MySQLError) else ()  # type: ignore[attr-defined]
    return args[0] if args and type(args[0]) is int else 0


def _nothing(*args: Any) -> None: ...


driver = MySqlClientDriver()


@hookimpl
def memwatch_sql() -> Iterator[SqlDriver]:
    yield driver.record
