"""The plugin keeps the SQL drivers' contract."""

import memwatch_sql_pymysql
import pymysql
import pymysql.cursors
import pytest
from pymysql.constants import CLIENT

from memwatch_plugins.testing import SqlDriverContract, Way


def with_cursor(kind):
    """A way to run a statement, with another class of cursors than the connection's."""

    def run(connection, statement, parameters):
        cursor = connection.cursor(kind)
        cursor.execute(statement, parameters)
        return cursor

    return Way(f"{kind.__name__}.execute", run)


class TestPymysql(SqlDriverContract):
    plugin, name, dialect, mark = memwatch_sql_pymysql.driver, "pymysql", "mysql", "%s"
    capabilities = (
        *("autocommit", "callproc", "cancel", "connection_classes", "cursor_classes", "iterators", "nextset"),
        "row_counts",
    )
    ways = tuple(map(with_cursor, (pymysql.cursors.DictCursor, pymysql.cursors.SSCursor, pymysql.cursors.SSDictCursor)))

    @pytest.fixture
    def database(self, mariadb_database):
        return mariadb_database

    @property
    def secrets(self):
        return (self.where.password,)

    @property
    def options(self):
        return self.where.connect | {"client_flag": CLIENT.MULTI_STATEMENTS}

    def connect(self):
        return pymysql.connect(**self.options)

    def connect_with(self, kind):
        return kind(**self.options)

    def cursor_of(self, connection, kind):
        return connection.cursor(kind)

    def autocommit(self, connection):
        connection.autocommit(True)

    def cancel(self, connection):
        self.where.administer(f"KILL QUERY {connection.thread_id()}")
