"""The plugin keeps the SQL drivers' contract."""

import memwatch_sql_psycopg
import psycopg
import pytest

from memwatch_plugins.testing import AsyncSqlDriverContract, SqlDriverContract, Way

WAYS = (Way("Connection.execute", lambda connection, sql, values: connection.execute(sql, values)),)


class TestPsycopg(SqlDriverContract):
    plugin, name, dialect, mark = memwatch_sql_psycopg, "psycopg", "postgresql", "%s"
    capabilities = ("autocommit", "cancel", "copy", "executemany_returning", "named_cursors", "savepoints")
    ways = WAYS

    @pytest.fixture
    def database(self, postgresql_database):
        return postgresql_database

    @property
    def secrets(self):
        return (self.where.password,)

    def connect(self):
        return psycopg.connect(**self.where.connect)

    def savepoint(self, connection):
        return connection.transaction()


class TestAsyncPsycopg(AsyncSqlDriverContract):
    plugin, name, dialect, mark = memwatch_sql_psycopg, "psycopg", "postgresql", "%s"
    ways = WAYS

    @pytest.fixture
    def database(self, postgresql_database):
        return postgresql_database

    @property
    def secrets(self):
        return (self.where.password,)

    def connect(self):
        return psycopg.AsyncConnection.connect(**self.where.connect)
