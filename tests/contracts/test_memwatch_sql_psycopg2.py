"""The plugin keeps the SQL drivers' contract."""

import memwatch_sql_psycopg2
import psycopg2
import pytest

from memwatch_plugins.testing import SqlDriverContract


class TestPsycopg2(SqlDriverContract):
    plugin, name, dialect, mark = memwatch_sql_psycopg2.driver, "psycopg2", "postgresql", "%s"
    capabilities = ("autocommit", "callproc", "cancel", "connection_context", "connection_classes", "cursor_classes",
                    "row_counts")  # fmt: skip

    @pytest.fixture
    def database(self, postgresql_database):
        return postgresql_database

    @property
    def secrets(self):
        return (self.where.password,)

    def connect(self):
        return psycopg2.connect(**self.where.connect)

    def connect_with(self, kind):
        return psycopg2.connect(**self.where.connect, connection_factory=kind)

    def cursor_of(self, connection, kind):
        return connection.cursor(cursor_factory=kind)
