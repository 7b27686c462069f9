"""The plugin keeps the SQL drivers' contract."""

import sqlite3

import aiosqlite
import memwatch_sql_sqlite3
import pytest

from memwatch_plugins.testing import AsyncSqlDriverContract, SqlDriverContract, Way


class TestSqlite3(SqlDriverContract):
    plugin, name, dialect = memwatch_sql_sqlite3, "sqlite3", "sqlite"
    capabilities = ("autocommit", "cancel", "connection_classes", "connection_context", "cursor_classes", "iterators",
                    "row_counts")  # fmt: skip
    ways = (
        Way("Connection.execute", lambda connection, sql, values: connection.execute(sql, values or ())),
        Way("Connection.executemany", lambda connection, sql, rows: connection.executemany(sql, rows), many=True),
    )

    def connect(self):
        return sqlite3.connect(self.folder / "kit.db")

    def connect_with(self, kind):
        return sqlite3.connect(self.folder / "kit.db", factory=kind)

    def cursor_of(self, connection, kind):
        return connection.cursor(kind)

    def autocommit(self, connection):
        connection.isolation_level = None

    def cancel(self, connection):
        connection.interrupt()


class TestAiosqlite(AsyncSqlDriverContract):
    plugin, name, dialect = memwatch_sql_sqlite3, "sqlite3", "sqlite"
    ways = (
        Way("Connection.execute", lambda connection, sql, values: connection.execute(sql, values)),
        Way("Connection.executemany", lambda connection, sql, rows: connection.executemany(sql, rows), many=True),
        Way("Connection.execute_fetchall", lambda connection, sql, values: connection.execute_fetchall(sql, values)),
        Way("Connection.execute_insert", lambda connection, sql, values: connection.execute_insert(sql, values)),
    )

    def connect(self):
        return aiosqlite.connect(self.folder / "kit.db")

    @pytest.mark.xfail(strict=True, reason="async for takes 64 rows at once, and hands 63 out unseen")
    def test_write_is_blamed_on_another_statement(self):
        super().test_write_is_blamed_on_another_statement()
