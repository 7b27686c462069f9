"""The plugin keeps the SQL drivers' contract."""

import memwatch_sql_psycopg
import psycopg
import pytest

from memwatch_plugins.testing import AsyncSqlDriverContract, SqlDriverContract, Way

CLASSES = ("connection_classes", "cursor_classes", "row_counts")
WAYS = (Way("Connection.execute", lambda connection, sql, values: connection.execute(sql, values)),)


class TestPsycopg(SqlDriverContract):
    plugin, name, dialect, mark = memwatch_sql_psycopg.driver, "psycopg", "postgresql", "%s"
    capabilities = ("autocommit", "cancel", "copy", "executemany_returning", "named_cursors", "savepoints", *CLASSES)
    ways = WAYS

    @pytest.fixture
    def database(self, postgresql_database):
        return postgresql_database

    @property
    def secrets(self):
        return (self.where.password,)

    def connect(self):
        return psycopg.connect(**self.where.connect)

    def connect_with(self, kind):
        return kind.connect(**self.where.connect)

    def cursor_of(self, connection, kind):
        connection.cursor_factory = kind
        return connection.cursor()

    def savepoint(self, connection):
        return connection.transaction()


class TestAsyncPsycopg(AsyncSqlDriverContract):
    plugin, name, dialect, mark = memwatch_sql_psycopg.driver, "psycopg", "postgresql", "%s"
    capabilities = CLASSES
    ways = WAYS

    @pytest.fixture
    def database(self, postgresql_database):
        return postgresql_database

    @property
    def secrets(self):
        return (self.where.password,)

    def connect(self):
        return psycopg.AsyncConnection.connect(**self.where.connect)

    def connect_with(self, kind):
        return kind.connect(**self.where.connect)

    def cursor_of(self, connection, kind):
        connection.cursor_factory = kind
        return connection.cursor()
