"""Risk: a statement of psycopg2's that failed, wherever and however, goes on being blamed; threads mix; secrets
leak."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import psycopg2.extras
import pytest
import servers
from memwatch_sql_psycopg2 import driver
from psycopg2 import sql
from psycopg2.extras import wait_select
from sql_support import Records, Session, outcomes

from memwatch_core import watch
from memwatch_core.adapter.contexts import SqlContexts
from memwatch_core.native.tracing import in_force

TIMES = 1000 if os.environ.get("MEMWATCH_SOAK") else 100


@pytest.fixture
def connect(tracer: SqlContexts, postgresql_database: servers.PostgreSql) -> Iterator[Callable[..., Any]]:
    made: list[Any] = []

    def connect(**options: Any) -> Any:
        made.append(psycopg2.connect(**(postgresql_database.connect | options)))
        return made[-1]

    postgresql_database.administer(f"ALTER DATABASE {postgresql_database.database} SET lock_timeout = '20s'")
    driver.install(tracer)
    yield connect
    for connection in made:
        connection.close()
    driver.uninstall()
    assert (tracer.troubles, driver.troubles) == (0, 0)


def terminate(server: servers.PostgreSql, connection: Any) -> None:
    server.administer(f"SELECT pg_terminate_backend({connection.get_backend_pid()}, 10000)")


def while_it_sleeps(server: servers.PostgreSql, connection: Any, act: Callable[[], object]) -> threading.Thread:
    """Acts, on a thread, once the server is busy with the connection's ``pg_sleep``."""
    pid = connection.get_backend_pid()

    def work() -> None:
        busy = f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'PgSleep'"
        while not server.administer(busy):
            pass
        act()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.parametrize("how", ["timeout", "cancel", "pg_cancel_backend"])
def test_cancelled_statement_ends_and_its_transaction_goes_on(
    connect: Any, records: Records, postgresql_database: servers.PostgreSql, how: str
) -> None:
    connection = connect(options="-c statement_timeout=50ms" if how == "timeout" else "")
    cursor, thread = connection.cursor(), None
    cursor.execute("CREATE TEMP TABLE u (a int)")
    cursor.execute("SAVEPOINT s")
    if how == "cancel":
        thread = while_it_sleeps(postgresql_database, connection, connection.cancel)
    elif how == "pg_cancel_backend":
        pid = connection.get_backend_pid()
        act = lambda: postgresql_database.administer(f"SELECT pg_cancel_backend({pid})")  # noqa: E731
        thread = while_it_sleeps(postgresql_database, connection, act)
    with pytest.raises(psycopg2.errors.QueryCanceled):
        cursor.execute("SELECT pg_sleep(20)")
    if thread is not None:
        thread.join()
    assert in_force() == 0
    assert outcomes(records)[2:] == ["failed: QueryCanceled"]
    cursor.execute("ROLLBACK TO s")
    connection.commit()
    assert [outcomes(records)[n] for n in (0, 2)] == ["committed", "failed: QueryCanceled"]


@pytest.mark.parametrize(
    "when", ["in mid-statement", "between statements", "before commit", "before fetch", "before close"]
)
def test_lost_connection(connect: Any, records: Records, postgresql_database: servers.PostgreSql, when: str) -> None:
    connection = connect()
    cursor = connection.cursor("named" if when == "before fetch" else None)
    connection.cursor().execute("CREATE TABLE u (a int)")
    if when == "before fetch":
        cursor.execute("SELECT generate_series(1, 100)")
    if when == "in mid-statement":
        thread = while_it_sleeps(postgresql_database, connection, lambda: terminate(postgresql_database, connection))
        with pytest.raises(psycopg2.OperationalError):
            cursor.execute("SELECT pg_sleep(20)")
        thread.join()
    else:
        terminate(postgresql_database, connection)
        calls = {"before commit": connection.commit, "before fetch": lambda: cursor.fetchmany(3)}
        if when == "before close":
            connection.close()
        else:
            with pytest.raises(psycopg2.OperationalError):
                calls.get(when, lambda: cursor.execute("SELECT 1"))()
    assert connection.closed
    assert in_force() == 0
    assert outcomes(records)[0] == "rolled back"
    if when in ("in mid-statement", "between statements", "before fetch"):
        assert outcomes(records)[1].startswith("failed: ")
    with contextlib.closing(connect()) as other, other.cursor() as after:
        after.execute("SELECT to_regclass('u')")
        assert after.fetchone() == (None,)


def test_deadlock_victim_is_rolled_back_and_the_other_is_not(connect: Any, records: Records) -> None:
    with contextlib.closing(connect()) as first, first, first.cursor() as cursor:
        cursor.execute("CREATE TABLE u (a int PRIMARY KEY, b int)")
        cursor.execute("INSERT INTO u VALUES (1, 0), (2, 0)")
    barrier, failed = threading.Barrier(2), []

    def work(mine: int, other: int) -> None:
        connection = connect()
        cursor = connection.cursor()
        cursor.execute(f"UPDATE u SET b = b + 1 WHERE a = %s AND {mine} < 3", (mine,))
        barrier.wait()
        try:
            cursor.execute(f"UPDATE u SET b = b + 10 WHERE a = %s AND {mine} < 3", (other,))
        except psycopg2.errors.DeadlockDetected:
            failed.append(threading.current_thread().name)
            assert in_force() == 0
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
    assert found.pop(victim) == ["rolled back", "failed: DeadlockDetected"]
    assert list(found.values()) == [["committed", "committed"]]


def test_mistake_of_the_program_while_fetching_says_nothing_of_the_statement(connect: Any, records: Records) -> None:
    cursor = connect().cursor()
    cursor.execute("CREATE TEMP TABLE u (a int)")
    with pytest.raises(psycopg2.ProgrammingError, match="no results to fetch"):
        cursor.fetchone()
    assert outcomes(records) == ["open"]


def test_failure_while_a_named_cursor_fetches(connect: Any, records: Records) -> None:
    cursor = connect().cursor("named")
    cursor.itersize = 1
    cursor.execute("SELECT 1 / (2 - n) FROM generate_series(1, 3) n")
    assert next(cursor) == (1,)
    with pytest.raises(psycopg2.DataError):
        next(cursor)
    assert in_force() == 0
    assert outcomes(records) == ["failed: DivisionByZero"]


def test_failure_of_the_programs_own_in_the_middle_of_a_statement(connect: Any, records: Records) -> None:
    class File:
        def read(self, size: int = -1) -> str:
            assert records.statement == 'COPY "u" FROM STDIN'
            raise ZeroDivisionError

    def rows() -> Iterator[tuple[int]]:
        yield (1,)
        raise ZeroDivisionError

    connection = connect()
    cursor = connection.cursor()
    cursor.execute("CREATE TEMP TABLE u (a int)")
    connection.commit()
    with pytest.raises(psycopg2.errors.QueryCanceled):
        cursor.copy_from(File(), "u")
    connection.rollback()
    for run in (
        lambda: cursor.executemany("INSERT INTO u VALUES (%s)", rows()),
        lambda: psycopg2.extras.execute_values(cursor, "INSERT INTO u VALUES %s", rows()),
    ):
        with pytest.raises(ZeroDivisionError):
            run()
        assert in_force() == 0
    assert outcomes(records)[1:] == ["failed: QueryCanceled", "failed: ZeroDivisionError", "failed: ZeroDivisionError"]


def test_timeout_raised_by_the_wait_callback_ends_statement_and_connection(connect: Any, records: Records) -> None:
    class Timeout(BaseException):
        pass

    connection = connect()
    connection.cursor().execute("CREATE TEMP TABLE u (a int)")

    def wait(connection: Any) -> None:
        if connection.poll() != psycopg2.extensions.POLL_OK:
            raise Timeout

    psycopg2.extensions.set_wait_callback(wait)
    try:
        with pytest.raises(Timeout):
            connection.cursor().execute("SELECT pg_sleep(20)")
    finally:
        psycopg2.extensions.set_wait_callback(None)
    assert connection.closed
    assert in_force() == 0
    assert outcomes(records) == ["rolled back", "failed: Timeout"]


def test_lost_asynchronous_connection(connect: Any, records: Records, postgresql_database: servers.PostgreSql) -> None:
    connection = connect(async_=1)
    wait_select(connection)
    connection.cursor().execute("SELECT pg_sleep(20)")  # psycopg2 misses the cursor, which nobody holds
    while_it_sleeps(postgresql_database, connection, lambda: terminate(postgresql_database, connection)).join()
    with pytest.raises(psycopg2.Error):
        wait_select(connection)
    assert in_force() == 0
    assert outcomes(records)[0].startswith("failed: ")


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
    connection, waiting = connect(), connect(async_=1)
    wait_select(waiting)
    driver._told.clear()
    driver.install(fails := Fails(tracer, name))  # type: ignore[arg-type]
    cursor = connection.cursor()
    cursor.execute("CREATE TEMP TABLE u (a int)")
    cursor.executemany("INSERT INTO u VALUES (%s)", [(1,), (2,)])
    psycopg2.extras.execute_values(cursor, "INSERT INTO u VALUES %s", [(3,)])
    psycopg2.extras.execute_batch(cursor, "INSERT INTO u VALUES (%s)", [(4,)])
    connection.commit()
    with connection.cursor("named") as named:
        named.execute("SELECT a FROM u")
        assert [*named] == [(1,), (2,), (3,), (4,)]
    with pytest.raises(psycopg2.DataError):
        cursor.execute("SELECT 1 / 0")
    connection.reset()
    cursor.execute("SELECT 5")
    assert (cursor.fetchone(), cursor.fetchmany(), cursor.fetchall()) == ((5,), [], [])
    asynchronous = waiting.cursor()
    asynchronous.execute("SELECT 6")
    wait_select(waiting)
    assert asynchronous.fetchall() == [(6,)]
    asynchronous.execute("SELECT pg_sleep(20)")
    waiting.close()
    connection.close()
    assert driver.troubles == fails.times > 0
    assert len(caplog.records) == 1
    driver.troubles = 0
    driver.install(tracer)


# ---- threads, and what is in a session ------------------------------------------------------------------------------


def test_threads_write_under_their_own_statements(
    session: Callable[..., Session], postgresql_database: servers.PostgreSql
) -> None:
    opened = session(driver)
    names = [f"thread_{n}" for n in range(8)]

    def work(name: str) -> None:
        value = watch(0, name=name, track_sql=True)
        view = memoryview(value)
        with contextlib.closing(psycopg2.connect(**postgresql_database.connect)) as connection:
            cursor = connection.cursor()
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
    session: Callable[..., Session], postgresql_database: servers.PostgreSql, caplog: pytest.LogCaptureFixture
) -> None:
    opened = session(driver)
    secret, password = "s3cr3tvalue", postgresql_database.password
    value = watch(0, name="value", track_sql=True)
    with contextlib.closing(psycopg2.connect(postgresql_database.dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE u (a text)")
        cursor.execute("INSERT INTO u VALUES (%s)", (secret,))
        cursor.execute(f"INSERT INTO u VALUES ('{secret}'), (E'{secret}'), ($${secret}$$)".encode())
        cursor.execute(sql.SQL("INSERT INTO u VALUES ({})").format(sql.Literal(secret)))
        psycopg2.extras.execute_values(cursor, "INSERT INTO u VALUES %s", [(secret,)])
        psycopg2.extras.execute_batch(cursor, "INSERT INTO u VALUES (%s)", [(secret,)])
        cursor.callproc("lower", [secret])
        cursor.execute("SELECT a FROM u WHERE a = %(a)s", {"a": secret})
        assert len(cursor.fetchall()) == 7
        value += 1
        with pytest.raises(psycopg2.Error):
            cursor.execute(f"SELECT '{secret}'::int")
    opened.leave()
    written = opened.bytes()
    assert b"SELECT a FROM u WHERE a = %(a)s" in written
    for each in (secret, password, "user=memwatch"):
        assert each.encode() not in written
        assert each not in caplog.text
