"""The plugin keeps the SQL drivers' contract."""

import sqlite3

import memwatch_sql_sqlite3

from memwatch_plugins.testing import SqlDriverContract, Way


class TestSqlite3(SqlDriverContract):
    plugin, name, dialect = memwatch_sql_sqlite3.driver, "sqlite3", "sqlite"
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
