"""Risk: what PyMySQL alone has is published wrongly. What it has in common with mysqlclient is in test_sql_mysql.py."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import peewee
import pymysql
import pymysql.connections
import pytest
import servers
from memwatch_sql_pymysql import driver
from mysql_support import LIBRARIES, Library
from sql_support import Records, outcomes

Connect = Callable[..., Any]
IN_TRANSACTION = 1  # of server_status


@pytest.fixture
def mysql() -> Library:
    return LIBRARIES["pymysql"]


@pytest.fixture
def traced(connect: Connect) -> Any:
    return connect()


def test_connection_that_is_made_anew_rolls_back(traced: Any, records: Records) -> None:
    traced.cursor().execute("UPDATE t SET b = 'y'")
    traced._force_close()
    with warnings.catch_warnings():  # later versions deprecate it
        warnings.simplefilter("ignore")
        traced.ping(reconnect=True)
    assert (outcomes(records), records.statement) == (["rolled back"], None)


def test_transaction_that_rows_have_begun(connect: Connect, records: Records) -> None:
    """PyMySQL keeps no status of an answer with rows; without autocommit, the transaction is open all the same."""
    connection = connect()
    cursor = connection.cursor()
    cursor.execute("INSERT INTO t VALUES (4, 'four') RETURNING a")
    assert not connection.server_status & IN_TRANSACTION
    assert driver.in_transaction(connection) is None
    cursor.execute("SELECT a FROM t")
    with pytest.raises(pymysql.IntegrityError):
        cursor.execute("INSERT INTO t VALUES (1, 'one')")
    connection.rollback()
    assert driver.in_transaction(connection) in (None, False)
    assert outcomes(records) == ["rolled back", "rolled back", "failed: IntegrityError"]
    cursor.execute("INSERT INTO t VALUES (4, 'four') RETURNING a")
    cursor.execute("COMMIT")
    assert driver.in_transaction(connection) is False
    assert outcomes(records)[3:] == ["committed", "committed"]
    alone = connect(autocommit=True)
    alone.cursor().execute("INSERT INTO t VALUES (5, 'five') RETURNING a")
    assert driver.in_transaction(alone) is False
    alone.rollback()
    assert outcomes(records)[5] == "ended"
    cursor.execute("UPDATE t SET b = 'y'")
    assert (connection.server_status & IN_TRANSACTION, driver.in_transaction(connection)) == (IN_TRANSACTION, True)


def test_database_and_server_are_named_without_user_and_password(
    connect: Connect, records: Records, mariadb_database: servers.MariaDb
) -> None:
    server = mariadb_database
    late = connect(database=None, defer_connect=True)
    late.connect()
    late.select_db(server.database)
    for connection in (connect(), pymysql.Connect(**server.connect_trusted), late):
        with connection:
            connection.cursor().execute("SELECT 1")
    at = f"{server.host}:{server.port}"
    found = [(each["database"], each["server"]) for each in records.contexts.values()]
    assert found == [(server.database, each) for each in (at, server.socket, at)]


def test_peewee(connect: Connect, records: Records, mariadb_database: servers.MariaDb) -> None:
    known = mariadb_database.connect
    database: Any = peewee.MySQLDatabase(known.pop("database"), **known)

    class Order(peewee.Model):
        qty = peewee.IntegerField()

        class Meta:
            database = None

    with database.bind_ctx([Order]):
        assert isinstance(database.connection(), pymysql.connections.Connection)
        database.create_tables([Order])
        with database.atomic():
            Order.create(qty=3)
            assert records.statement == "INSERT INTO `order` (`qty`) VALUES (%s)"
        assert records.statement is None
        for order in list(Order.select()):
            assert order.qty == 3
            assert records.statement == "SELECT `t1`.`id`, `t1`.`qty` FROM `order` AS `t1`"
        with contextlib.suppress(ZeroDivisionError), database.atomic():
            Order.create(qty=4)
            Order.create(qty=1 // 0)
        database.close()
    inserts = [outcome for statement, outcome in records.outcomes if statement.startswith("INSERT")]
    assert inserts == ["committed", "rolled back"]
    assert {each["driver"] for each in records.contexts.values()} == {"pymysql"}


IN_PLACE_OF_MYSQLDB = """
import sys
import pymysql
pymysql.install_as_MySQLdb()
from memwatch_core import watch
total = watch(0, name="total", track_sql=True)
import MySQLdb
with MySQLdb.connect(host=sys.argv[1], port=int(sys.argv[2]), user=sys.argv[3], password=sys.argv[4]) as connection:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 5")
        for (n,) in cursor:
            total += n
"""


def test_in_place_of_mysqldb(mariadb_database: servers.MariaDb, tmp_path: Any) -> None:
    (tmp_path / "program.py").write_text(IN_PLACE_OF_MYSQLDB)
    server = mariadb_database
    done = subprocess.run(
        [sys.executable, "-m", "memwatch_core.cli", "run", "program.py", server.host, str(server.port), server.user,
         server.password],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "total  0 -> 5" in done.stderr, done.stderr
    assert "pymysql: SELECT ?" in done.stderr
    assert "can't" not in done.stderr
