"""Risk: what mysqlclient alone has is published wrongly; the program gets something else than without tracing.

What it has in common with PyMySQL is in test_sql_mysql.py."""

from __future__ import annotations

import copy
import inspect
import pickle
import traceback
import weakref
from collections.abc import Callable
from typing import Any

import MySQLdb
import MySQLdb.connections
import MySQLdb.cursors
import pytest
import servers
from memwatch_sql_mysqlclient import driver
from mysql_support import LIBRARIES, Library
from MySQLdb.cursors import DictCursor, SSCursor
from sql_support import Records, outcomes

Connect = Callable[..., Any]


@pytest.fixture
def mysql() -> Library:
    return LIBRARIES["mysqlclient"]


@pytest.fixture
def traced(connect: Connect) -> Any:
    return connect()


def test_without_mariadbs_client_library_nothing_is_claimed_of_transactions(
    traced: Any, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert driver.in_transaction(traced) is False
    monkeypatch.setattr(driver, "_status_of", None)
    assert driver.in_transaction(traced) is None
    cursor = traced.cursor()
    cursor.execute("UPDATE t SET b = 'y'")
    traced.rollback()
    assert outcomes(records) == ["rolled back"]


def test_rows_that_the_next_result_drops_are_not_counted(traced: Any, records: Records) -> None:
    cursor = traced.cursor(SSCursor)
    cursor.callproc("p", [3])
    cursor.fetchone()
    while cursor.nextset():
        assert records.statement == "CALL p"
    cursor.execute("SELECT 1")
    assert next(iter(records.contexts.values()))["rows"] == 1


def test_connection_that_is_busy_says_nothing_of_a_statement(traced: Any, records: Records) -> None:
    cursor, streaming = traced.cursor(), traced.cursor(SSCursor)
    streaming.execute("SELECT a FROM t")
    for call in (lambda: cursor.execute("SELECT 1"), streaming.fetchall):
        with pytest.raises(MySQLdb.ProgrammingError, match="out of sync"):
            call()
    assert not outcomes(records)[0].startswith("failed")


def test_database_and_server_are_named_without_user_and_password(
    connect: Connect, records: Records, mariadb_database: servers.MariaDb
) -> None:
    server = mariadb_database
    positional = (server.host, server.user, server.password)
    connections = [
        connect(),
        MySQLdb.connect(**server.connect_trusted),
        MySQLdb.connections.Connection(*positional, server.database, server.port),
        MySQLdb.Connect(*positional, port=server.port, db=server.database),
        MySQLdb.connect(*positional, port=server.port),
    ]
    connections[-1].select_db(server.database)
    for connection in connections:
        connection.cursor().execute("SELECT 1")
        connection.select_db("mysql")
        connection.cursor().execute("SELECT 1")
        connection.close()
    at = f"{server.host}:{server.port}"
    found = [(each["database"], each["server"]) for each in records.contexts.values()]
    assert found == [
        (server.database, server.socket if number == 1 else at) for number in range(len(connections)) for _ in "12"
    ]


# ---- the same with and without --------------------------------------------------------------------------------------


@pytest.fixture(params=["untraced", "traced"])
def connection(request: pytest.FixtureRequest, connect: Connect) -> Any:
    if request.param == "untraced":
        driver.uninstall()
    return connect()


def test_pep_249_cursor(connection: Any) -> None:
    cursor = connection.cursor()
    assert cursor.connection is connection
    assert (cursor.description, cursor.arraysize, cursor.lastrowid) == (None, 1, None)
    assert cursor.execute("SELECT a, b FROM t WHERE a < 3 ORDER BY a") == 2
    assert [column[0] for column in cursor.description] == ["a", "b"]
    assert (cursor.rowcount, cursor.rownumber) == (2, 0)
    assert (cursor.fetchone(), cursor.fetchmany(5), cursor.fetchmany(), cursor.fetchall()) == (
        (1, "one"),
        ((2, "two"),),
        (),
        (),
    )
    assert cursor.fetchone() is None
    cursor.scroll(0, mode="absolute")
    assert [*cursor] == [(1, "one"), (2, "two")]
    assert cursor.executemany("INSERT INTO t VALUES (%s, 1)", [(4,), (5,)]) == cursor.rowcount == 2
    assert cursor.executemany("INSERT INTO t VALUES (%s, 1)", []) is None
    assert cursor.execute("CREATE PROCEDURE q (a int) SELECT a") == 0
    assert cursor.callproc("q", [7]) == [7]
    assert cursor.fetchall() == ((7,),)
    assert (cursor.nextset(), cursor.nextset()) == (1, None)
    with connection.cursor(DictCursor) as rows:
        rows.execute("SELECT a FROM t WHERE a = %(a)s", {"a": 3})
        assert rows.fetchall() == ({"a": 3},)
    assert rows.connection is None
    with pytest.raises(AttributeError, match="mine"):
        cursor.mine  # noqa: B018


def test_errors_are_the_same_and_have_no_cause(connection: Any) -> None:
    cursor = connection.cursor()
    failing: list[tuple[Callable[[], object], type[BaseException], str]] = [
        (lambda: cursor.execute("SELEC"), MySQLdb.ProgrammingError, "syntax"),
        (lambda: cursor.execute("INSERT INTO t VALUES (1, 1)"), MySQLdb.IntegrityError, "Duplicate"),
        (lambda: cursor.execute("SELECT %s", ()), MySQLdb.ProgrammingError, "arguments"),
        (lambda: cursor.execute(), TypeError, "query"),
        (lambda: cursor.execute("SELECT 1", nonsense=1), TypeError, "nonsense"),
        (lambda: cursor.callproc(), TypeError, "procname"),
        (lambda: connection.select_db(), TypeError, "argument"),
        (lambda: connection.select_db("nowhere"), MySQLdb.OperationalError, "database"),
        (lambda: cursor.executemany("UPDATE t SET b = %s", ((1 / n,) for n in [0])), ZeroDivisionError, "."),
    ]
    driver._told.clear()
    for call, kind, message in failing:
        with pytest.raises(kind, match=message) as raised:
            call()
        assert raised.type is kind
        names = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
        assert names[0] == "test_errors_are_the_same_and_have_no_cause"
        assert not any("memwatch" in name or name == "shell" for name in names)
    driver.troubles = 0  # calls that can't be


def test_types_signatures_and_references(connection: Any) -> None:
    cursor = connection.cursor()
    assert type(connection) is MySQLdb.connections.Connection
    assert type(cursor) is MySQLdb.cursors.Cursor
    assert repr(cursor).startswith("<MySQLdb.cursors.Cursor object at 0x")
    assert repr(connection).startswith("<_mysql.connection open to '127.0.0.1' at ")
    assert str(inspect.signature(cursor.execute)) == "(query, args=None)"
    assert str(inspect.signature(MySQLdb.cursors.BaseCursor.callproc)) == "(self, procname, args=())"
    assert cursor.execute.__qualname__ == "BaseCursor.execute"
    assert cursor.execute.__doc__.startswith("Execute a query")
    before = set(vars(cursor))
    cursor.execute("SELECT 1")
    assert set(vars(cursor)) - before == set()
    assert not any("memwatch" in name for thing in (connection, cursor) for name in dir(thing))
    for make in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            make(connection)
    gone = weakref.ref(cursor)
    del cursor
    assert gone() is None
    assert not driver._tokens.beside or all(ref() is not None for _, ref, *_ in driver._tokens.beside.values())
