"""What the drivers of MySQL and MariaDB share: mysqlclient's and PyMySQL's."""

from __future__ import annotations

import sys
from typing import Any

from .around import Steps
from .dbapi import DbapiDriverBase
from .plain import is_a, shown
from .targets import tells

LOST = {1053, 1927, 2006, 2013, 2055, 4031}  # shut down, killed, gone away, lost, lost while reading, idle for too long
DEADLOCK, OUT_OF_SYNC = 1213, 2014


class MySqlDriverBase(DbapiDriverBase):
    """For a library whose errors derive from ``MySQLError`` in its main module, with the error number as first
    argument."""

    dialect = "mysql"

    def code(self, error: BaseException) -> int:
        """The number of an error of the server or client; 0 for any other error."""
        ours = is_a(error, sys.modules[self.target].MySQLError)
        args = BaseException.args.__get__(error) if ours else ()  # type: ignore[attr-defined]
        return args[0] if args and type(args[0]) is int else 0

    def is_lost(self, connection: Any, code: int) -> bool:
        """Whether a statement's error means that its connection is lost."""
        return code in LOST

    def has_more(self, connection: Any) -> bool:
        """Whether more results of what was run last have not been read yet."""
        return False

    def result(self, cursor: Any, connection: Any) -> Steps:
        """Steps around what reads the next result of several: the statement may fail in it. After the last one it is
        told again whether a transaction is open: the first result says nothing of what came behind it."""
        token = self.token(cursor)
        if token is None or token.running:  # the program has another statement run meanwhile, which reads what is left
            yield
            return
        self.keep(cursor, None)  # rows that are dropped aren't counted
        try:
            yield
        except BaseException as error:
            self.keep(cursor, token)
            self.fetch_failed(cursor, token, error)
            raise
        self.keep(cursor, token)
        if not self.has_more(connection):
            self.publish.statement_ends(token, fetchable=False, in_transaction=self.in_transaction(connection))

    @tells("executemany")
    def many(self, cursor: Any, query: Any, args: Any) -> tuple[Any, ...] | None:
        """Without rows, nothing is run."""
        return None if args is None or (is_plain(args) and not args) else (query, args)

    @tells("callproc")
    def procedure(self, cursor: Any, procname: Any, args: Any = ()) -> tuple[Any, ...]:
        """The statement that a procedure call runs."""
        return f"CALL {shown(procname)}", args

    def failed(self, cursor: Any, token: Any, error: BaseException) -> None:
        """An error has no transaction status: the one of the last success counts, except for the victim of a deadlock,
        whose transaction was rolled back."""
        connection, code = self.connection_of(cursor), self.code(error)
        in_transaction = False if code == DEADLOCK or connection is None else self.in_transaction(connection)
        self.publish.statement_ends(token, error=error, fetchable=False, in_transaction=in_transaction)
        if connection is not None and self.is_lost(connection, code):
            self.publish.transaction_ends(connection, "closed")

    def fetch_failed(self, cursor: Any, token: Any, error: BaseException) -> None:
        """Errors of the server end the statement."""
        if self.code(error) not in (0, OUT_OF_SYNC):
            self.failed(cursor, token, error)
        else:
            super().fetch_failed(cursor, token, error)


def is_plain(rows: Any) -> bool:
    """Its length is asked of nothing of the program's."""
    return type(rows) is tuple or type(rows) is list
