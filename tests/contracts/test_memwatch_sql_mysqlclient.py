"""The plugin keeps the SQL drivers' contract."""

import memwatch_sql_mysqlclient
import MySQLdb
import pytest

from memwatch_plugins.testing import SqlDriverContract


class TestMysqlclient(SqlDriverContract):
    plugin, name, dialect, mark = memwatch_sql_mysqlclient, "mysqlclient", "mysql", "%s"
    capabilities = ("autocommit", "callproc")

    @pytest.fixture
    def database(self, mariadb_database):
        return mariadb_database

    @property
    def secrets(self):
        return (self.where.password,)

    @pytest.fixture(autouse=True)
    def differs(self, request):
        name = request.node.name
        if name.endswith("_is_missed_or_published_twice[run_many()]"):
            reason = "executemany calls execute, which the tracer makes a part of it (tests/sql)"
            request.applymarker(pytest.mark.xfail(strict=True, reason=reason))

    def connect(self):
        return MySQLdb.connect(**self.where.connect)

    def autocommit(self, connection):
        connection.autocommit(True)
