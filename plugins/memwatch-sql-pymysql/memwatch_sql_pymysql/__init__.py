"""Traces PyMySQL. Its classes are written in Python and traced in place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from memwatch_core.records import Database
from memwatch_plugins.sql import Steps, Tokens, of_connections, of_cursors
from memwatch_plugins.sql.mysql import MySqlDriverBase, is_plain
from memwatch_plugins.sql.plain import peek, shown

IN_TRANSACTION, AUTOCOMMIT = 1, 2  # from pymysql.constants.SERVER_STATUS


class PymysqlDriver(MySqlDriverBase):
    name, summary, target = "pymysql", "PyMySQL, for MySQL and MariaDB", "pymysql"
    cursors = ("pymysql.cursors:Cursor", "pymysql.cursors:SSCursor")  # dictionary cursors only convert rows
    connections = ("pymysql.connections:Connection",)
    runs: ClassVar[Mapping[str, tuple[str, str]]] = {"execute": ("query", "args")}

    def __init__(self) -> None:
        super().__init__()
        self._chosen = Tokens()  # by connection: the database, if the program chose another

    # ---- connections ------------------------------------------------------------------------------------------------

    def database(self, identity: Any) -> Database:
        name, socket = self._chosen.get(identity) or peek(identity, "db"), shown(peek(identity, "unix_socket"))
        return Database(shown(name), socket or f"{shown(peek(identity, 'host'))}:{peek(identity, 'port')}")

    def in_transaction(self, connection: Any) -> bool | None:
        """By the server's last status. PyMySQL doesn't keep the status that follows rows."""
        status = peek(connection, "server_status")
        if type(status) is not int:
            return None
        if status & (IN_TRANSACTION | AUTOCOMMIT):
            return bool(status & IN_TRANSACTION)
        # Not set. If the last result had no rows, no transaction is open; otherwise a SELECT may have opened one.
        return False if type(peek(peek(connection, "_result"), "server_status")) is int else None

    def is_closed(self, connection: Any) -> bool:
        return peek(connection, "_sock") is None

    def is_lost(self, connection: Any, code: int) -> bool:
        return super().is_lost(connection, code) or self.is_closed(connection)

    @of_connections("connect")
    def connects_again(self, connection: Any, *args: Any, **kwargs: Any) -> Steps:
        """The object becomes another connection: ``ping(reconnect=True)``."""
        self.publish.transaction_ends(connection, "closed")
        yield

    @of_connections("select_db")
    def chosen(self, connection: Any, db: Any) -> Steps:
        yield
        self._chosen.set(connection, db)

    @of_connections("begin")
    def another_begins(self, connection: Any) -> Steps:
        if self.in_transaction(connection) is not False:
            yield from self.ending(connection, "committed")

    @of_connections("autocommit")
    def commits_alone(self, connection: Any, value: Any) -> Steps:
        may_be_open = self.in_transaction(connection) is not False
        yield
        if may_be_open and self.in_transaction(connection) is False:
            self.publish.transaction_ends(connection, "committed")

    # ---- cursors ----------------------------------------------------------------------------------------------------

    def all_fetched(self, cursor: Any) -> bool:
        rows, at = peek(cursor, "_rows"), peek(cursor, "rownumber")
        if peek(peek(cursor, "_result"), "unbuffered_active"):
            return False  # only the last row is kept of a stream
        return is_plain(rows) and type(at) is int and at >= len(rows)

    @of_cursors("nextset")
    def next_result(self, cursor: Any) -> Steps:
        """One statement of several in a text, or in a procedure, has run."""
        if peek(peek(cursor, "_result"), "has_next"):  # not so with every execute() and close()
            yield from self.result(cursor, self.connection_of(cursor))

    def has_more(self, connection: Any) -> bool:
        return bool(peek(peek(connection, "_result"), "has_next"))


driver = PymysqlDriver()
