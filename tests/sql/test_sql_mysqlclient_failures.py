"""Risk: a statement of mysqlclient's that failed, wherever and however, goes on being blamed, or is blamed for what
became of its transaction; threads mix; secrets leak; the program gets something else than without tracing."""

from __future__ import annotations

import contextlib
import copy
import inspect
import os
import pickle
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import MySQLdb
import MySQLdb.cursors
import pytest
import servers
from memwatch_sql_mysqlclient import driver
from MySQLdb.cursors import DictCursor, SSCursor
from sql_support import Records, Session

from memwatch_core import watch
from memwatch_core.adapter.contexts import SqlContexts
from memwatch_core.native.tracing import in_force

TIMES = 1000 if os.environ.get("MEMWATCH_SOAK") else 100


@pytest.fixture
def connect(tracer: SqlContexts, mariadb_database: servers.MariaDb) -> Iterator[Callable[..., Any]]:
    """Connects to a database with a table t (a, b) of two rows; nothing of this is in the records."""
    made: list[Any] = []

    def connect(**options: Any) -> Any:
        made.append(MySQLdb.connect(**(mariadb_database.connect | options)))
        return made[-1]

    with contextlib.closing(connect()) as first, first.cursor() as cursor:
        cursor.execute("CREATE TABLE t (a int PRIMARY KEY, b int)")
        cursor.execute("INSERT INTO t VALUES (1, 0), (2, 0)")
        first.commit()
    driver.install(tracer)
    yield connect
    for connection in made:
        if connection.open:
            connection.close()
    driver.uninstall()
    assert (tracer.troubles, driver.troubles) == (0, 0)


def outcomes(records: Records) -> list[str]:
    return [outcome for _, outcome in records.outcomes]


def while_it_sleeps(server: servers.MariaDb, connection: Any, statement: str) -> threading.Thread:
    """Runs a statement of the server's, on a thread, once it is busy with the connection's ``SLEEP``."""
    ident = connection.thread_id()

    def work() -> None:
        busy = f"SELECT 1 FROM information_schema.processlist WHERE id = {ident} AND state = 'User sleep'"
        while not server.administer(busy):
            pass
        server.administer(statement)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.parametrize("how", ["KILL QUERY", "max_statement_time", "lock wait timeout"])
def test_statement_that_is_cut_short_ends_alone(
    connect: Any, records: Records, mariadb_database: servers.MariaDb, how: str
) -> None:
    connection, other, thread = connect(), connect(), None
    cursor = connection.cursor()
    cursor.execute("UPDATE t SET b = 1 WHERE a = 1")
    statement = "SELECT SLEEP(20)"
    if how == "KILL QUERY":
        thread = while_it_sleeps(mariadb_database, connection, f"KILL QUERY {connection.thread_id()}")
    elif how == "max_statement_time":
        cursor.execute("SET max_statement_time = 0.05")
    else:
        cursor.execute("SET innodb_lock_wait_timeout = 1")
        other.cursor().execute("UPDATE t SET b = 1 WHERE a = 2")
        statement = "UPDATE t SET b = 2 WHERE a = 2"
    with pytest.raises(MySQLdb.OperationalError) as raised:
        cursor.execute(statement)
    assert raised.value.args[0] in (1317, 1969, 1205)
    if thread is not None:
        thread.join()
    assert in_force() == 0
    connection.commit()
    mine = [each["outcome"] for each in records.contexts.values() if each["connection"] == 1]
    assert (mine[0], mine[-1]) == ("committed", "failed: OperationalError")
    other.rollback()
    cursor.execute("SELECT a, b FROM t")
    assert cursor.fetchall() == ((1, 1), (2, 0))


@pytest.mark.parametrize("when", ["in mid-statement", "between statements", "in mid-stream", "before close"])
def test_killed_connection(connect: Any, records: Records, mariadb_database: servers.MariaDb, when: str) -> None:
    connection = connect()
    cursor = connection.cursor(SSCursor)
    connection.cursor().execute("UPDATE t SET b = 9")
    kill = f"KILL CONNECTION {connection.thread_id()}"
    if when == "in mid-statement":
        thread = while_it_sleeps(mariadb_database, connection, kill)
        with pytest.raises(MySQLdb.OperationalError):
            cursor.execute("SELECT SLEEP(20)")
        thread.join()
    elif when == "in mid-stream":
        cursor.execute("SELECT seq, repeat('x', 1000) FROM seq_1_to_1000000")
        cursor.fetchone()
        mariadb_database.administer(kill)
        with pytest.raises(MySQLdb.OperationalError):
            cursor.fetchall()
    else:
        mariadb_database.administer(kill)
        if when == "before close":
            connection.close()
        else:
            with pytest.raises(MySQLdb.OperationalError):
                connection.cursor().execute("SELECT 1")
    assert in_force() == 0
    assert outcomes(records) == ["rolled back", *["failed: OperationalError"] * (when != "before close")]
    with contextlib.closing(connect()) as other, other.cursor() as after:
        after.execute("SELECT max(b) FROM t")
        assert after.fetchone() == (0,)


def test_deadlock_victim_is_rolled_back_and_the_other_is_not(connect: Any, records: Records) -> None:
    barrier, failed = threading.Barrier(2), []

    def work(mine: int, other: int) -> None:
        connection = connect()
        cursor = connection.cursor()
        cursor.execute("UPDATE t SET b = b + 1 WHERE a = %s", (mine,))
        barrier.wait()
        try:
            cursor.execute("UPDATE t SET b = b + 10 WHERE a = %s", (other,))
        except MySQLdb.OperationalError:
            assert in_force() == 0
            failed.append(threading.current_thread().name)
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


def test_mistake_of_the_program_while_fetching_says_nothing_of_the_statement(connect: Any, records: Records) -> None:
    connection = connect()
    cursor = connection.cursor()
    cursor.execute("UPDATE t SET b = 1")
    with pytest.raises(MySQLdb.ProgrammingError, match="execute"):
        connection.cursor().fetchone()
    streaming = connection.cursor(SSCursor)
    streaming.execute("SELECT a FROM t")
    for call in (lambda: cursor.execute("SELECT 1"), streaming.fetchall):
        with pytest.raises(MySQLdb.ProgrammingError, match="out of sync"):
            call()
    assert not outcomes(records)[1].startswith("failed")
    cursor.close()
    with pytest.raises(MySQLdb.ProgrammingError, match="closed"):
        cursor.execute("SELECT 1")
    connection.close()
    with pytest.raises(MySQLdb.Error):
        connection.cursor().execute("SELECT 1")
    assert in_force() == 0


class Fails:
    """A tracer of which one method fails."""

    def __init__(self, tracer: SqlContexts, name: str) -> None:
        self._tracer, self._name, self.times = tracer, name, 0

    def __getattr__(self, name: str) -> Any:
        if name != self._name:
            return getattr(self._tracer, name)
        self.times += 1
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "name", ["statement_begins", "statement_ends", "rows_fetched", "cursor_closed", "transaction_ends"]
)
def test_failure_at_any_hook_point_never_reaches_the_program(
    connect: Any, tracer: SqlContexts, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    driver._told.clear()
    driver.install(fails := Fails(tracer, name))  # type: ignore[arg-type]
    connection = connect()
    cursor = connection.cursor()
    assert cursor.executemany("INSERT INTO t VALUES (%s, 0)", [(3,), (4,)]) == 2
    connection.begin()
    assert cursor.execute("SELECT a FROM t") == 4
    assert (cursor.fetchone(), cursor.fetchmany(1), cursor.fetchall()) == ((1,), ((2,),), ((3,), (4,)))
    assert cursor.nextset() is None
    with pytest.raises(MySQLdb.ProgrammingError):
        cursor.execute("SELEC 1")
    connection.commit()
    connection.autocommit(True)
    connection.rollback()
    cursor.close()
    connection.close()
    assert driver.troubles == fails.times > 0
    assert len(caplog.records) == 1
    driver.troubles = 0
    driver.install(tracer)


# ---- threads, and what is in a session ------------------------------------------------------------------------------


def test_threads_write_under_their_own_statements(
    session: Callable[..., Session], mariadb_database: servers.MariaDb
) -> None:
    opened = session(driver)
    names = [f"thread_{n}" for n in range(8)]

    def work(name: str) -> None:
        value = watch(0, name=name, track_sql=True)
        view = memoryview(value)
        with contextlib.closing(MySQLdb.connect(**mariadb_database.connect)) as connection:
            cursor = connection.cursor(SSCursor if name.endswith("0") else None)
            for n in range(TIMES):
                cursor.execute(f"SELECT %s AS {name}_{n % 7}", (n,))
                (fetched,) = cursor.fetchone()
                value += fetched  # announced
                view[()] = fetched  # faults

    threads = [threading.Thread(target=work, args=(name,), name=name) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = dict.fromkeys(names, 0)
    for event in opened.events():
        n = seen[event.variable] // 2
        seen[event.variable] += 1
        assert event.context is not None
        assert event.context.statement == f"SELECT %s AS {event.variable}_{n % 7}"
        assert event.thread == event.context.thread == event.variable
    assert seen == dict.fromkeys(names, 2 * TIMES)
    assert driver.troubles == 0


def test_secrets_are_in_no_byte_of_a_session(
    session: Callable[..., Session], mariadb_database: servers.MariaDb, caplog: pytest.LogCaptureFixture
) -> None:
    opened = session(driver)
    secret = "s3cr3tvalue"
    value = watch(0, name="value", track_sql=True)
    with contextlib.closing(MySQLdb.connect(**mariadb_database.connect)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE u (a text)")
        cursor.execute("CREATE PROCEDURE p (a text) SELECT a")
        cursor.execute("INSERT INTO u VALUES (%s)", (secret,))
        cursor.execute(f"INSERT INTO u VALUES ('{secret}'), (\"{secret}\") # {secret}".encode())
        cursor.executemany("INSERT INTO u VALUES (%s)", [(secret,), (secret,)])
        cursor.callproc("p", [secret])
        while cursor.nextset():
            pass
        cursor.execute("SELECT a FROM u WHERE a = %(a)s", {"a": secret})
        assert len(cursor.fetchall()) == 5
        value += 1
        with pytest.raises(MySQLdb.Error):
            cursor.execute(f"SELECT '{secret}' FROM nowhere")
    opened.leave()
    written = opened.bytes()
    assert b"SELECT a FROM u WHERE a = %(a)s" in written
    for each in (secret, mariadb_database.password):
        assert each.encode() not in written
        assert each not in caplog.text


# ---- the same with and without --------------------------------------------------------------------------------------


@pytest.fixture(params=["untraced", "traced"])
def connection(request: pytest.FixtureRequest, connect: Any) -> Any:
    if request.param == "untraced":
        driver.uninstall()
    return connect()


def test_pep_249_cursor(connection: Any) -> None:
    cursor = connection.cursor()
    assert cursor.connection is connection
    assert (cursor.description, cursor.arraysize, cursor.lastrowid) == (None, 1, None)
    assert cursor.execute("SELECT a, b FROM t ORDER BY a") == 2
    assert [column[0] for column in cursor.description] == ["a", "b"]
    assert (cursor.rowcount, cursor.rownumber) == (2, 0)
    assert (cursor.fetchone(), cursor.fetchmany(5), cursor.fetchmany(), cursor.fetchall()) == (
        (1, 0),
        ((2, 0),),
        (),
        (),
    )
    assert cursor.fetchone() is None
    cursor.scroll(0, mode="absolute")
    assert [*cursor] == [(1, 0), (2, 0)]
    assert cursor.executemany("INSERT INTO t VALUES (%s, 1)", [(3,), (4,)]) == cursor.rowcount == 2
    assert cursor.executemany("INSERT INTO t VALUES (%s, 1)", []) is None
    assert cursor.execute("CREATE PROCEDURE p (a int) SELECT a") == 0
    assert cursor.callproc("p", [7]) == [7]
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
        (lambda: connection.select_db("nowhere"), MySQLdb.OperationalError, "nknown database"),
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
