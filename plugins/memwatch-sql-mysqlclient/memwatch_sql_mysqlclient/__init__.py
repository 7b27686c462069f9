"""Traces mysqlclient, the module ``MySQLdb``. Its classes are written in Python and traced in place."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from memwatch_core.records import Database
from memwatch_plugins.sql import Tokens
from memwatch_plugins.sql.around import Steps, contained
from memwatch_plugins.sql.dbapi import Count
from memwatch_plugins.sql.mysql import MySqlDriverBase
from memwatch_plugins.sql.plain import Own, is_a, peek, shown
from memwatch_plugins.sql.targets import of_connections, of_cursors, replaces

SERVER_STATUS, IN_TRANSACTION, MORE_RESULTS = 30, 1, 8  # of MariaDB's mysql.h


class MySqlClientDriver(MySqlDriverBase):
    name, summary, target = "mysqlclient", "mysqlclient, for MySQL and MariaDB", "MySQLdb"
    cursors = (
        "MySQLdb.cursors:BaseCursor", "MySQLdb.cursors:CursorStoreResultMixIn", "MySQLdb.cursors:CursorUseResultMixIn",
    )  # fmt: skip
    connections = ("MySQLdb.connections:Connection",)
    runs: ClassVar[Mapping[str, tuple[str, str]]] = {"execute": ("query", "args")}
    fetches: ClassVar[Mapping[str, Count]] = {
        "fetchone": "one",
        "fetchmany": "some",
        "fetchall": "rest",
    }  # __next__ calls

    def __init__(self) -> None:
        super().__init__()
        self._chosen = Tokens()  # by connection: database and socket that the program chose
        self._statuses = Tokens()  # by connection: function that reads its status

    def patch(self) -> None:
        if sys.modules[self.target].__name__ == self.target:  # not PyMySQL under this name
            super().patch()

    def prepare(self) -> None:
        from MySQLdb import _mysql

        super().prepare()
        self._own = Own(_mysql.connection)  # MySQLdb's members, past overrides by the program
        self._status_of = _status_of(_mysql.__file__, self._own)

    # ---- connections ------------------------------------------------------------------------------------------------

    def database(self, identity: Any) -> Database:
        name, socket = self._chosen.get(identity) or (peek(identity, "db"), "")
        if self.is_closed(identity):
            return Database(shown(name))
        host, _, how = self._own.get_host_info(identity).partition(" via ")  # known to the client library
        port = self._own.port(identity)
        return Database(shown(name), f"{host}:{port}" if how == "TCP/IP" else shown(socket) or "localhost")

    def in_transaction(self, connection: Any) -> bool | None:
        status = self._status(connection)
        return None if status is None else bool(status & IN_TRANSACTION)

    def has_more(self, connection: Any) -> bool:
        return bool((self._status(connection) or 0) & MORE_RESULTS)

    def _status(self, connection: Any) -> int | None:
        if self._status_of is None or self.is_closed(connection):
            return None
        read = self._statuses.get(connection)
        if read is None:
            self._statuses.set(connection, read := self._status_of(connection))
        status: int = read()
        return status

    def is_closed(self, connection: Any) -> bool:
        return not (is_a(connection, self._own.kind) and self._own.open(connection))  # may be a stand-in

    @of_connections("__init__")
    def opened(  # type: ignore[no-untyped-def]
        self, connection, host=None, user=None, password=None, database="", port=0, unix_socket="", *args, db=None, **kw
    ) -> Steps:
        yield
        self._chosen.set(connection, (database if db is None else db, unix_socket))

    @of_connections("select_db")
    def chosen(self, connection: Any, name: Any) -> Steps:
        yield
        _, socket = self._chosen.get(connection) or ("", "")
        self._chosen.set(connection, (name, socket))

    @of_connections("change_user")
    def user_changes(self, connection: Any, *args: Any, **kwargs: Any) -> Steps:
        return self.ending(connection, "rolled back")

    @of_connections("begin")
    def another_begins(self, connection: Any) -> Steps:
        may_be_open = self.in_transaction(connection) is not False
        yield
        if may_be_open:
            self.publish.transaction_ends(connection, "committed")

    @of_connections("autocommit")
    def commits_alone(self, connection: Any, on: Any) -> Steps:
        may_be_open = not self._own.get_autocommit(connection) and self.in_transaction(connection) is not False
        yield
        if may_be_open and self._own.get_autocommit(connection):
            self.publish.transaction_ends(connection, "committed")

    # ---- cursors ----------------------------------------------------------------------------------------------------

    def all_fetched(self, cursor: Any) -> bool:
        rows, at = peek(cursor, "_rows"), peek(cursor, "rownumber")  # missing if the cursor leaves rows on the server
        return type(rows) is tuple and type(at) is int and at >= len(rows)

    @of_cursors("nextset")
    def next_result(self, cursor: Any) -> Steps:
        """It drops rows by fetching them, and fails if the statement does so only now."""
        yield from self.result(cursor, self.connection_of(cursor))

    @of_cursors("close")
    def closing(self, cursor: Any, *args: Any, **kwargs: Any) -> Steps:
        """It reads the results that are left."""
        token, connection = self.token(cursor), self.connection_of(cursor)
        more = token is not None and connection is not None and self.has_more(connection)
        error = None
        try:
            yield from super().closing(cursor, *args, **kwargs)
        except BaseException as raised:
            error = raised
            raise
        finally:
            if more:
                self.publish.statement_ends(
                    token, error=error, fetchable=False, in_transaction=self.in_transaction(connection)
                )

    @replaces("MySQLdb.cursors:CursorStoreResultMixIn.__iter__?")
    def iterated(self, call: Callable[..., Any], cursor: Any, args: Any, kwargs: Any) -> Any:
        """Before mysqlclient 2.3, this iterates over a tuple without fetchone."""
        rows = call(*args, **kwargs)
        return rows if self.tracer is None else self._each(rows, contained(self, self.token, cursor))

    def _each(self, rows: Any, token: Any) -> Iterator[Any]:
        for row in rows:
            contained(self, self._fetched, token, 1, False)
            yield row
        contained(self, self._fetched, token, 0, True)

    def _fetched(self, token: Any, count: int, exhausted: bool) -> None:
        if token is not None:
            self.publish.rows_fetched(token, count, exhausted=exhausted)


def _status_of(library: str, own: Own) -> Callable[[Any], Callable[[], int]] | None:
    """Finds the client library's status of a connection: the one that the server sent with its last success.

    ``library`` is MySQLdb's extension, which is linked to the client library. None if that isn't MariaDB's: MySQL's has
    no function for this.
    """
    try:
        inform = ctypes.PyDLL(library).mariadb_get_infov
    except (OSError, AttributeError):
        return None
    pointer_in = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )

    def status_of(connection: Any) -> Callable[[], int]:
        """Call the result only while the connection lives."""
        handle = own._get_native_connection(connection)
        pointer = ctypes.c_void_p(pointer_in(handle, b"_mysql.connection.native_connection"))
        status = ctypes.c_uint()
        place = ctypes.byref(status)

        def read() -> int:
            inform(pointer, SERVER_STATUS, place)
            return status.value

        return read

    return status_of


driver = MySqlClientDriver()
