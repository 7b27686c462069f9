"""The two libraries for MySQL, of which the tests ask the same: what each calls its things."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import memwatch_sql_mysqlclient
import memwatch_sql_pymysql
import MySQLdb
import MySQLdb.connections
import MySQLdb.converters  # else imported by the first connection
import MySQLdb.cursors
import pymysql
import pymysql.connections
import pymysql.cursors
import servers
from pymysql.constants import CLIENT

from memwatch_plugins.sql.mysql import MySqlDriverBase


class _Loud:
    """A cursor of the program's own."""

    def execute(self, query: Any, args: Any = None) -> Any:
        self.loud = str(query).upper()
        return super().execute(query, args)  # type: ignore[misc]

    def fetchall(self) -> Any:
        return [*iter(self.fetchone, None)]  # type: ignore[attr-defined]


class _OfMySqlClient(
    _Loud, MySQLdb.cursors.CursorUseResultMixIn, MySQLdb.cursors.CursorDictRowsMixIn, MySQLdb.cursors.BaseCursor
):
    pass


class _OfPyMySql(_Loud, pymysql.cursors.DictCursorMixin, pymysql.cursors.SSCursor):
    pass


@dataclass(frozen=True)
class Library:
    """A driver, and the library that it traces."""

    name: str
    module: Any
    driver: MySqlDriverBase
    loud: type

    @property
    def cursors(self) -> list[Any]:
        return [getattr(self.module.cursors, name) for name in CURSORS]

    def connect(self, **options: Any) -> Any:
        if self.module is pymysql:  # as mysqlclient does; to prepare for TLS takes 50 ms
            options = {"client_flag": CLIENT.MULTI_STATEMENTS, "ssl_disabled": True} | options
        return self.module.connect(**options)


CURSORS = ("Cursor", "DictCursor", "SSCursor", "SSDictCursor")
LIBRARIES = {
    "mysqlclient": Library("mysqlclient", MySQLdb, memwatch_sql_mysqlclient.driver, _OfMySqlClient),
    "pymysql": Library("pymysql", pymysql, memwatch_sql_pymysql.driver, _OfPyMySql),
}


def while_it_sleeps(server: servers.MariaDb, connection: Any, statement: str) -> threading.Thread:
    """Runs a statement of the server's, on a thread, once it is busy with the connection's ``SLEEP``."""
    ident = connection.thread_id()

    def work() -> None:
        busy = f"SELECT 1 FROM information_schema.processlist WHERE id = {ident} AND state = 'User sleep'"
        while not server.administer(busy):
            pass
        server.administer(statement)

    thread = threading.Thread(target=work)
    thread.start()
    return thread
