"""Risk: what programs do with PyMySQL is published wrongly, or not at all, or blamed for what became of another one."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import peewee
import pymysql
import pymysql.connections
import pymysql.cursors
import pytest
import servers
from memwatch_sql_pymysql import driver
from pymysql.constants import CLIENT
from pymysql.cursors import Cursor, DictCursor, SSCursor, SSDictCursor
from sql_support import Records, Session

from memwatch_core import watch
from memwatch_core.adapter.contexts import SqlContexts
from memwatch_core.native.tracing import in_force

Connect = Callable[..., Any]
CURSORS: list[Any] = [Cursor, DictCursor, SSCursor, SSDictCursor]
IN_TRANSACTION = 1  # of server_status


class LoudCursor(pymysql.cursors.DictCursorMixin, SSCursor):
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
        made.append(pymysql.connect(**(mariadb_database.connect | options)))
        return made[-1]

    with connect() as first, first.cursor() as cursor:
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


# ---- ways to run, to fetch ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CURSORS)
def test_context_of_each_way_to_run_a_statement(traced: Any, records: Records, kind: type) -> None:
    cursor, many = traced.cursor(kind), "INSERT INTO t VALUES (%s, %s)"
    cursor.max_stmt_length = 100_000
    update = "UPDATE t SET b = %(b)s WHERE a = %(a)s"
    ways: list[tuple[Callable[[], Any], str, int | None]] = [
        (lambda: cursor.execute("SELECT 'x', %s", (1,)), "SELECT ?, %s", None),
        (lambda: cursor.execute(query=b"SELECT 2", args=None), "SELECT ?", None),
        (lambda: cursor.execute('UPDATE t SET b = "x" WHERE a < 3'), "UPDATE t SET b = ? WHERE a < ?", 2),
        (lambda: cursor.executemany(many, [(n, "y" * 900) for n in range(10, 200)]), many, 190),  # two statements
        (lambda: cursor.executemany(update, [{"a": 1, "b": "z"}, {"a": 2, "b": "z"}]), update, 2),  # two statements
        (lambda: cursor.executemany(query=many, args=iter([(7, "")])), many, 1),
        (lambda: (cursor.callproc("p", (2,)), cursor.fetchall()), "CALL p", 2),
    ]
    for number, (way, statement, changed) in enumerate(ways, 1):
        way()
        assert records.statement == statement
        assert len(records.contexts) == number
        current = records.current or {}
        cursor.fetchall()
        while cursor.nextset():
            cursor.fetchall()
        traced.commit()
        if statement != "CALL p":
            rows = 1 if changed is None else changed
            assert (current["driver"], current.get("rows")) == ("pymysql", rows), statement
    assert cursor.executemany(many, []) is None
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
    if issubclass(kind, SSCursor):
        assert rows(lambda cursor: [*cursor.fetchall_unbuffered()]) == 3


@pytest.mark.parametrize("kind", CURSORS)
def test_closing_a_cursor_ends_its_statement_only_if_rows_are_left(traced: Any, records: Records, kind: type) -> None:
    for limit, fetched in ((1, 1), (3, 1), (3, 3)):
        with traced.cursor(kind) as cursor:
            cursor.execute("SELECT a FROM t LIMIT %s", (limit,))
            cursor.fetchmany(fetched)
        streamed = issubclass(kind, SSCursor)  # only a fetch that gives no row tells
        assert (records.statement is None) == (streamed or limit > fetched)
        with traced.cursor(kind) as cursor:
            cursor.execute("SELECT a FROM t")
            cursor.fetchall()
        assert records.statement == "SELECT a FROM t"


def test_nested_cursors_are_blamed_for_their_own_rows(connect: Connect, traced: Any, records: Records) -> None:
    seen = []
    with traced.cursor(SSCursor) as outer, connect().cursor(SSDictCursor) as inner:  # a stream takes a connection
        outer.execute("SELECT a FROM t")
        for (a,) in outer:
            seen.append(records.statement)
            inner.execute("SELECT b FROM t WHERE a = %s", (a,))
            for _ in inner:
                seen.append(records.statement)
    assert seen == ["SELECT a FROM t", "SELECT b FROM t WHERE a = %s"] * 3


@pytest.mark.parametrize("kind", CURSORS)
def test_procedure_with_several_results(traced: Any, records: Records, kind: type) -> None:
    cursor = traced.cursor(kind)
    cursor.callproc("p", [2])
    assert len([*cursor]) == 2
    assert cursor.nextset()
    assert records.statement == "CALL p"
    assert cursor.fetchall()
    while cursor.nextset():
        assert records.statement == "CALL p"
    cursor.execute("SELECT 1")
    assert [(each["statement"], each.get("rows")) for each in records.contexts.values()] == [
        ("CALL p", 5), ("SELECT ?", None)
    ]  # fmt: skip


def test_procedure_that_fails_in_its_second_statement(traced: Any, records: Records) -> None:
    cursor = traced.cursor()
    cursor.callproc("f")
    with pytest.raises(pymysql.OperationalError):
        cursor.nextset()
    assert in_force() == 0
    assert outcomes(records) == ["failed: OperationalError"]


def test_several_statements_in_one_text(connect: Connect, records: Records) -> None:
    cursor = connect(client_flag=CLIENT.MULTI_STATEMENTS).cursor()
    text = "UPDATE t SET b = 'x'; SELECT a FROM t; COMMIT"
    cursor.execute(text)
    assert cursor.nextset()
    assert len(cursor.fetchall()) == 3
    assert records.statement == "UPDATE t SET b = ?; SELECT a FROM t; COMMIT"
    assert cursor.nextset()
    cursor.execute("SELECT 1")
    assert outcomes(records) == ["committed", "open"]
    cursor.connection.rollback()
    with cursor:
        cursor.execute("UPDATE t SET b = 'y'; ROLLBACK")  # docs/sql.md names this limit
    assert outcomes(records)[2] == "committed"


# ---- transactions ---------------------------------------------------------------------------------------------------


def test_every_end_of_a_transaction(connect: Connect, traced: Any, records: Records) -> None:
    def run(*also: str) -> Any:
        with traced.cursor() as cursor:
            cursor.execute("UPDATE t SET b = concat(b, 'x')")
            for each in also:
                cursor.execute(each)
        return traced

    def block() -> None:
        with connect() as connection, connection.cursor() as cursor:
            cursor.execute("UPDATE t SET b = 'y'")

    def reconnect() -> None:
        run()._force_close()
        with warnings.catch_warnings():  # later versions deprecate it
            warnings.simplefilter("ignore")
            traced.ping(reconnect=True)

    ways: list[tuple[Callable[[], Any], str, int]] = [
        (lambda: run().commit(), "committed", 1),
        (lambda: run().rollback(), "rolled back", 1),
        (lambda: run("COMMIT"), "committed", 2),
        (lambda: run("ROLLBACK"), "rolled back", 2),
        (lambda: run("CREATE TABLE u (a int)"), "committed", 1),  # commits what was before it
        (lambda: run().begin(), "committed", 1),
        (lambda: run().autocommit(True), "committed", 1),
        (lambda: (traced.begin(), run().rollback()), "rolled back", 1),
        (block, "rolled back", 1),
        (lambda: (traced.autocommit(False), reconnect()), "rolled back", 1),
        (lambda: run().close(), "rolled back", 1),
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


def test_deadlock_victim_is_rolled_back_and_the_other_is_not(connect: Connect, records: Records) -> None:
    barrier, failed = threading.Barrier(2), []

    def work(mine: int, other: int) -> None:
        connection = connect()
        cursor = connection.cursor()
        cursor.execute("UPDATE t SET b = 'x' WHERE a = %s", (mine,))
        barrier.wait()
        try:
            cursor.execute("UPDATE t SET b = 'y' WHERE a = %s", (other,))
        except pymysql.OperationalError:
            assert in_force() == 0
            failed.append(threading.current_thread().name)
            assert connection.server_status & IN_TRANSACTION, "what it was before"
            cursor.execute("SELECT b FROM t")  # of another transaction
        connection.commit()

    threads = [threading.Thread(target=work, args=pair) for pair in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {
        each.name: [c["outcome"] for c in records.contexts.values() if c["thread"] == each.name] for each in threads
    }
    (victim,) = failed
    assert found.pop(victim) == ["rolled back", "failed: OperationalError", "committed"]
    assert list(found.values()) == [["committed", "committed"]]


@pytest.mark.parametrize("when", ["in mid-statement", "between statements", "in mid-stream", "before close"])
def test_killed_connection(connect: Connect, records: Records, mariadb_database: servers.MariaDb, when: str) -> None:
    connection = connect()
    cursor = connection.cursor(SSCursor)
    connection.cursor().execute("UPDATE t SET b = 9")
    kill = f"KILL CONNECTION {connection.thread_id()}"
    if when == "in mid-statement":
        thread = threading.Timer(0.5, mariadb_database.administer, [kill])
        thread.start()
        with pytest.raises(pymysql.OperationalError):
            connection.cursor().execute("SELECT SLEEP(20)")
        thread.join()
    elif when == "in mid-stream":
        cursor.execute("SELECT seq, repeat('x', 1000) FROM seq_1_to_1000000")
        cursor.fetchone()
        mariadb_database.administer(kill)
        with pytest.raises(pymysql.OperationalError):
            cursor.fetchall()
        cursor._result.unbuffered_active, cursor.connection = False, None  # else its __del__ fails
    else:
        mariadb_database.administer(kill)
        if when == "before close":
            connection.close()
        else:
            with pytest.raises(pymysql.OperationalError):
                connection.cursor().execute("SELECT 1")
    assert in_force() == 0
    assert outcomes(records) == ["rolled back", *["failed: OperationalError"] * (when != "before close")]


def test_mistake_of_the_program_while_fetching_says_nothing_of_the_statement(traced: Any, records: Records) -> None:
    cursor = traced.cursor()
    cursor.execute("UPDATE t SET b = 1")
    with pytest.raises(pymysql.ProgrammingError, match="execute"):
        traced.cursor().fetchone()
    assert records.statement == "UPDATE t SET b = ?"
    cursor.close()
    with pytest.raises(pymysql.ProgrammingError, match="closed"):
        cursor.execute("SELECT 1")
    traced.close()
    with pytest.raises(pymysql.InterfaceError):
        traced.cursor().execute("SELECT 1")
    assert in_force() == 0


# ---- connections ----------------------------------------------------------------------------------------------------


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


class LoudConnection(pymysql.connections.Connection):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, cursorclass=LoudCursor, **kwargs)
        self.cursor(Cursor).execute("SET @loud = 1")

    def commit(self) -> None:
        super().commit()


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
    assert traced.query("SELECT a FROM t") == 3
    traced.ping(reconnect=False)
    assert traced.show_warnings() == ()
    assert records.log == []


def test_nothing_is_left_patched(tracer: SqlContexts, mariadb_database: servers.MariaDb) -> None:
    places: list[Any] = [pymysql, pymysql.connections, pymysql.cursors]
    places += [value for place in places for value in vars(place).values() if isinstance(value, type)]
    before = [dict(vars(place)) for place in places]
    for _ in range(2):
        driver.install(tracer)
        driver.install(tracer)
        pymysql.connect(**mariadb_database.connect).close()
        driver.uninstall()
        for place, attributes in zip(places, before, strict=True):
            assert vars(place).keys() == attributes.keys()
            assert all(vars(place)[name] is value for name, value in attributes.items())


def test_connections_made_before_are_traced_from_then_on_and_later_no_more(
    tracer: SqlContexts, records: Records, mariadb_database: servers.MariaDb
) -> None:
    connection = pymysql.connect(**mariadb_database.connect)
    cursor = connection.cursor()
    driver.install(tracer)
    cursor.execute("SELECT 1 UNION SELECT 2")
    assert [each["database"] for each in records.contexts.values()] == [mariadb_database.database]
    driver.uninstall()
    tracer.close()
    count = len(records.log)
    assert cursor.fetchall() == ((1,), (2,))
    cursor.execute("SELECT 3")
    connection.close()
    assert len(records.log) == count


# ---- in a session, and what is built on PyMySQL ---------------------------------------------------------------------


def test_threads_write_under_their_own_statements(
    session: Callable[..., Session], mariadb_database: servers.MariaDb
) -> None:
    opened = session(driver)
    names = [f"thread_{n}" for n in range(4)]

    def work(name: str, kind: Any) -> None:
        value = watch(0, name=name, track_sql=True)
        with pymysql.connect(**mariadb_database.connect) as connection, connection.cursor(kind) as cursor:
            for n in range(50):
                cursor.execute(f"SELECT %s AS {name}_{n % 7} UNION SELECT 's3cr3t'", (n,))
                for _ in cursor:
                    value += 1

    threads = [threading.Thread(target=work, args=pair, name=pair[0]) for pair in zip(names, CURSORS, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = dict.fromkeys(names, 0)
    for event in opened.events():
        n = seen[event.variable] // 2
        seen[event.variable] += 1
        assert event.context is not None
        assert event.context.statement == f"SELECT %s AS {event.variable}_{n % 7} UNION SELECT ?"
        assert event.thread == event.context.thread == event.variable
    assert seen == dict.fromkeys(names, 100)
    for secret in ("s3cr3t", mariadb_database.password):
        assert secret.encode() not in opened.bytes()


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


def test_installed_version_is_one_that_is_supported() -> None:
    extras = importlib.metadata.requires("memwatch-sql-pymysql") or []
    (least,) = {match[1] for each in extras if (match := re.match(r"pymysql>=([\d.]+)", each))}
    assert pymysql.VERSION[:2] >= tuple(int(part) for part in least.split("."))
    (entry,) = importlib.metadata.entry_points(group="memwatch.sql", name="pymysql")
    assert entry.load() is driver
