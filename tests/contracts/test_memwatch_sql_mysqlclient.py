"""The plugin keeps the SQL drivers' contract."""

import memwatch_sql_mysqlclient
import MySQLdb
import pytest

from memwatch_plugins.testing import SqlDriverContract


class TestMysqlclient(SqlDriverContract):
    plugin, name, dialect, mark = memwatch_sql_mysqlclient.driver, "mysqlclient", "mysql", "%s"
    capabilities = ("autocommit", "callproc", "connection_classes", "cursor_classes", "row_counts")

    @pytest.fixture
    def database(self, mariadb_database):
        return mariadb_database

    @property
    def secrets(self):
        return (self.where.password,)

    def connect(self):
        return MySQLdb.connect(**self.where.connect)

    def connect_with(self, kind):
        return kind(**self.where.connect)

    def cursor_of(self, connection, kind):
        return connection.cursor(kind)

    def autocommit(self, connection):
        connection.autocommit(True)
