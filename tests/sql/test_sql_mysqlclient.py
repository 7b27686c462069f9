"""Risk: what programs do with mysqlclient is published wrongly, or not at all."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
from collections.abc import Callable, Iterator
from typing import Any

import MySQLdb
import MySQLdb.connections
import MySQLdb.converters  # else imported by the first connection
import MySQLdb.cursors
import pytest
import servers
from memwatch_sql_mysqlclient import driver
from MySQLdb.cursors import Cursor, DictCursor, SSCursor, SSDictCursor
from sql_support import Records

from memwatch_core.adapter.contexts import SqlContexts
from memwatch_core.native.tracing import in_force

Connect = Callable[..., Any]
CURSORS: list[Any] = [Cursor, DictCursor, SSCursor, SSDictCursor]


class LoudCursor(MySQLdb.cursors.CursorUseResultMixIn, MySQLdb.cursors.CursorDictRowsMixIn, MySQLdb.cursors.BaseCursor):
    """Of the program's own."""

    def execute(self, query: Any, args: Any = None) -> Any:
        self.loud = str(query).upper()
        return super().execute(query, args)

    def fetchall(self) -> Any:
        return [*iter(self.fetchone, None)]


@pytest.fixture
def connect(tracer: SqlContexts, mariadb_database: servers.MariaDb) -> Iterator[Connect]:
    """Connects to a database with a table t (a, b) of three rows; nothing of this is in the records."""
    made: list[Any] = []

    def connect(**options: Any) -> Any:
        made.append(MySQLdb.connect(**(mariadb_database.connect | options)))
        return made[-1]

    with contextlib.closing(connect()) as first, first.cursor() as cursor:
        cursor.execute("CREATE TABLE t (a int PRIMARY KEY, b text)")
        cursor.execute("INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three')")
        cursor.execute("CREATE PROCEDURE p (n int) BEGIN SELECT a FROM t WHERE a <= n; SELECT b, 's3cr3t' FROM t; END")
        cursor.execute("CREATE PROCEDURE f () BEGIN SELECT a FROM t; SELECT 1 + (SELECT a FROM t); END")
        first.commit()
    driver.install(tracer)
    yield connect
    for connection in made:
        if connection.open:
            connection.close()
    driver.uninstall()
    assert (tracer.troubles, driver.troubles) == (0, 0)


@pytest.fixture
def traced(connect: Connect) -> Any:
    return connect()


def outcomes(records: Records) -> list[str]:
    return [outcome for _, outcome in records.outcomes]


# ---- ways to run, to fetch, to end ----------------------------------------------------------------------------------


def test_context_of_each_way_to_run_a_statement(traced: Any, records: Records) -> None:
    cursor, many = traced.cursor(), "INSERT INTO t VALUES (%s, %s)"
    update = "UPDATE t SET b = %(b)s WHERE a = %(a)s"
    ways: list[tuple[Callable[[], Any], str, int | None]] = [
        (lambda: cursor.execute("SELECT 'x', %s", (1,)), "SELECT ?, %s", None),
        (lambda: cursor.execute(query=b"SELECT 2", args=None), "SELECT ?", None),
        (lambda: cursor.execute('UPDATE t SET b = "x" WHERE a < 3'), "UPDATE t SET b = ? WHERE a < ?", 2),
        (lambda: cursor.executemany(many, [(n, "y" * 900) for n in range(10, 200)]), many, 190),  # three statements
        (lambda: cursor.executemany(update, [{"a": 1, "b": "z"}, {"a": 2, "b": "z"}]), update, 2),  # two statements
        (lambda: cursor.executemany(query=many, args=[(7, "")]), many, 1),
        (lambda: (cursor.callproc("p", (2,)), cursor.fetchall()), "CALL p", 2),
    ]
    for number, (way, statement, changed) in enumerate(ways, 1):
        way()
        assert records.statement == statement
        assert len(records.contexts) == number
        current = records.current or {}
        while cursor.nextset():
            pass
        traced.commit()
        assert (current["driver"], current.get("rows")) == ("mysqlclient", changed), statement
    assert cursor.mogrify("SELECT %s", (1,)) == "SELECT 1"
    assert len(records.contexts) == len(ways)


@pytest.mark.parametrize("kind", [*CURSORS, LoudCursor])
def test_rows_are_counted(traced: Any, records: Records, kind: type) -> None:
    def rows(fetch: Callable[[Any], object]) -> int:
        with traced.cursor(kind) as cursor:
            cursor.execute("SELECT a, b FROM t")
            fetch(cursor)
            assert records.statement == "SELECT a, b FROM t"
        with traced.cursor() as cursor:
            cursor.execute("SELECT 0")
        return [each["rows"] for each in records.contexts.values() if "rows" in each][-1]  # type: ignore[no-any-return]

    assert rows(lambda cursor: cursor.fetchall()) == 3
    assert rows(lambda cursor: cursor.fetchmany(2)) == 2
    assert rows(lambda cursor: cursor.fetchone()) == 1
    assert rows(lambda cursor: [*cursor]) == 3
    assert rows(lambda cursor: next(iter(cursor))) == 1


def test_nested_cursors_are_blamed_for_their_own_rows(traced: Any, records: Records) -> None:
    seen = []
    with traced.cursor() as outer, traced.cursor(DictCursor) as inner:
        outer.execute("SELECT a FROM t")
        for (a,) in outer:
            seen.append(records.statement)
            inner.execute("SELECT b FROM t WHERE a = %s", (a,))
            for _ in inner:
                seen.append(records.statement)
        outer.scroll(0, mode="absolute")
        assert outer.fetchone() == (1,)
        seen.append(records.statement)
    assert seen == ["SELECT a FROM t", "SELECT b FROM t WHERE a = %s"] * 3 + ["SELECT a FROM t"]


@pytest.mark.parametrize("kind", CURSORS)
def test_procedure_with_several_results(traced: Any, records: Records, kind: type) -> None:
    cursor = traced.cursor(kind)
    cursor.callproc("p", [2])
    assert len([*cursor]) == 2
    assert cursor.nextset() == 1
    assert records.statement == "CALL p"
    cursor.fetchone()  # two are dropped
    assert records.statement == "CALL p"
    while cursor.nextset():
        pass
    cursor.execute("SELECT 1")
    assert [(each["statement"], each.get("rows")) for each in records.contexts.values()] == [
        ("CALL p", 3), ("SELECT ?", None)
    ]  # fmt: skip


def test_procedure_that_fails_in_its_second_statement(traced: Any, records: Records) -> None:
    cursor = traced.cursor()
    cursor.callproc("f")
    with pytest.raises(MySQLdb.OperationalError):
        cursor.nextset()
    assert in_force() == 0
    assert outcomes(records) == ["failed: OperationalError"]


def test_every_end_of_a_transaction(
    connect: Connect, traced: Any, records: Records, mariadb_database: servers.MariaDb
) -> None:
    def run(*also: str) -> Any:
        with traced.cursor() as cursor:
            cursor.execute("UPDATE t SET b = concat(b, 'x')")
            for each in also:
                cursor.execute(each)
        return traced

    def block() -> None:
        with connect() as connection, connection.cursor() as cursor:
            cursor.execute("UPDATE t SET b = 'y'")

    known = mariadb_database.connect
    ways: list[tuple[Callable[[], Any], str, int]] = [
        (lambda: run().commit(), "committed", 1),
        (lambda: run().rollback(), "rolled back", 1),
        (lambda: run("COMMIT"), "committed", 2),
        (lambda: run("ROLLBACK"), "rolled back", 2),
        (lambda: run("CREATE TABLE u (a int)"), "committed", 1),  # commits what was before it
        (lambda: run().begin(), "committed", 1),
        (lambda: run().autocommit(True), "committed", 1),
        (lambda: (traced.begin(), run().rollback()), "rolled back", 1),
        (lambda: (traced.autocommit(False), run().change_user(known["user"], known["password"], known["database"])),
         "rolled back", 1),
        (block, "rolled back", 1),
        (lambda: (traced.autocommit(False), run().close()), "rolled back", 1),
    ]  # fmt: skip
    for number, (way, outcome, statements) in enumerate(ways):
        start = len(records.contexts)
        way()
        assert outcomes(records)[start : start + statements] == [outcome] * statements, number
        assert records.statement in (None, "CREATE TABLE u (a int)")


def test_autocommit_and_transactions_by_text(traced: Any, records: Records) -> None:
    traced.autocommit(True)
    cursor = traced.cursor()
    for text in (
        "UPDATE t SET b = b",
        "BEGIN",
        "UPDATE t SET b = b",
        "COMMIT",
        "BEGIN",
        "UPDATE t SET b = b",
        "ROLLBACK",
    ):
        cursor.execute(text)
        assert (in_force() == 0) == (text in ("COMMIT", "ROLLBACK"))
    cursor.execute("BEGIN")
    traced.autocommit(True)  # is on: ends nothing
    assert records.statement == "BEGIN"
    traced.rollback()
    assert outcomes(records) == ["ended", *["committed"] * 3, *["rolled back"] * 3, "rolled back"]


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


# ---- connections ----------------------------------------------------------------------------------------------------


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


class LoudConnection(MySQLdb.connections.Connection):
    default_cursor = LoudCursor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cursor(Cursor).execute("SET @loud = 1")

    def commit(self) -> None:
        super().commit()  # type: ignore[no-untyped-call]


def test_classes_of_the_program_are_traced(
    connect: Connect, records: Records, mariadb_database: servers.MariaDb
) -> None:
    connection = LoudConnection(**mariadb_database.connect)
    cursor = connection.cursor()
    assert type(cursor) is LoudCursor
    cursor.execute("update t set b = 'x'")
    assert cursor.loud == "UPDATE T SET B = 'X'"
    assert records.statement == "update t set b = ?"
    connection.commit()
    assert records.outcomes == [("SET @loud = ?", "ended"), ("update t set b = ?", "committed")]
    connection.close()


def test_low_level_queries_are_not_traced(traced: Any, records: Records) -> None:
    traced.query("SELECT a FROM t")
    assert len(traced.store_result().fetch_row(0)) == 3
    traced.ping()
    assert traced.show_warnings() == ()
    assert records.log == []


def test_nothing_is_left_patched(tracer: SqlContexts, mariadb_database: servers.MariaDb) -> None:
    places: list[Any] = [MySQLdb, MySQLdb.connections, MySQLdb.cursors, MySQLdb._mysql]
    places += [value for place in places for value in vars(place).values() if isinstance(value, type)]
    before = [dict(vars(place)) for place in places]
    for _ in range(2):
        driver.install(tracer)
        driver.install(tracer)
        assert "commit" in vars(MySQLdb.connections.Connection)
        MySQLdb.connect(**mariadb_database.connect).close()
        driver.uninstall()
        for place, attributes in zip(places, before, strict=True):
            assert vars(place).keys() == attributes.keys()
            assert all(vars(place)[name] is value for name, value in attributes.items())


def test_connections_made_before_are_traced_from_then_on_and_later_no_more(
    tracer: SqlContexts, records: Records, mariadb_database: servers.MariaDb
) -> None:
    connection = MySQLdb.connect(**mariadb_database.connect)
    cursor = connection.cursor()
    driver.install(tracer)
    cursor.execute("SELECT 1 UNION SELECT 2")
    assert [each["server"] for each in records.contexts.values()] == [
        f"{mariadb_database.host}:{mariadb_database.port}"
    ]
    driver.uninstall()
    tracer.close()
    count = len(records.log)
    assert cursor.fetchall() == ((1,), (2,))
    cursor.execute("SELECT 3")
    connection.close()
    assert len(records.log) == count


def test_installed_version_is_one_that_is_supported() -> None:
    extras = importlib.metadata.requires("memwatch-sql-mysqlclient") or []
    (least,) = {match[1] for each in extras if (match := re.match(r"mysqlclient>=([\d.]+)", each))}
    assert MySQLdb.version_info[:2] >= tuple(int(part) for part in least.split("."))
    (entry,) = importlib.metadata.entry_points(group="memwatch.sql", name="mysqlclient")
    assert entry.load() is driver
