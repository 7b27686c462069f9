"""Risk: after a failure a statement stays in force, or a transaction that is gone counts as committed.

Real failures of a real server: each ends its statement with that outcome, and later writes don't carry it."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import psycopg_pool
import pytest
import servers
from memwatch_sql_psycopg import driver
from sql_support import Records

from memwatch_core.adapter.contexts import SqlContexts

INSERT = "INSERT INTO t VALUES (?)"
Connect = Callable[..., psycopg.Connection[Any]]


@pytest.fixture
def at(postgresql_database: servers.PostgreSql, tracer: SqlContexts) -> Iterator[servers.PostgreSql]:
    """A database with a table, traced from then on."""
    postgresql_database.administer("CREATE TABLE t (a int)")
    driver.install(tracer)
    yield postgresql_database
    driver.uninstall()
    troubles, driver.troubles = driver.troubles, 0
    assert (tracer.troubles, troubles) == (0, 0)


@pytest.fixture
def connection(at: servers.PostgreSql) -> Iterator[psycopg.Connection[Any]]:
    connection = psycopg.connect(**at.connect)
    yield connection
    connection.close()


def kill(at: servers.PostgreSql, connection: Any) -> None:
    at.administer(f"SELECT pg_terminate_backend({connection.info.backend_pid}, 10000)")


def when_running(at: servers.PostgreSql, text: str, then: Callable[[], object]) -> threading.Thread:
    """Calls ``then`` as soon as a statement that begins thus is being run."""

    def wait() -> None:
        running = f"SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '{text}%'"
        while at.administer(running) == [("0",)]:
            pass
        then()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_statement_timeout(connection: psycopg.Connection[Any], records: Records) -> None:
    connection.execute("INSERT INTO t VALUES (1)")
    connection.execute("SET LOCAL statement_timeout = 10")
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute("SELECT pg_sleep(60)")
    assert records.statement is None
    connection.rollback()
    assert [outcome for _, outcome in records.outcomes] == ["rolled back", "rolled back", "failed: QueryCanceled"]


def test_cancel_from_another_thread(
    at: servers.PostgreSql, connection: psycopg.Connection[Any], records: Records
) -> None:
    thread = when_running(at, "SELECT pg_sleep", connection.cancel)
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute("SELECT pg_sleep(60)")
    thread.join()
    assert (records.statement, records.outcomes) == (None, [("SELECT pg_sleep(?)", "failed: QueryCanceled")])


def test_backend_killed_in_the_middle_of_a_statement(
    at: servers.PostgreSql, connection: psycopg.Connection[Any], records: Records
) -> None:
    connection.execute("INSERT INTO t VALUES (1)")
    thread = when_running(at, "SELECT pg_sleep", lambda: kill(at, connection))
    with pytest.raises(psycopg.OperationalError) as raised:
        connection.execute("SELECT pg_sleep(60)")
    thread.join()
    assert connection.broken
    assert records.statement is None
    failure = f"failed: {type(raised.value).__name__}"
    assert records.outcomes == [(INSERT, "rolled back"), ("SELECT pg_sleep(?)", failure)]


def test_backend_killed_between_statements(
    at: servers.PostgreSql, connection: psycopg.Connection[Any], records: Records
) -> None:
    connection.execute("INSERT INTO t VALUES (1)")
    kill(at, connection)
    with pytest.raises(psycopg.OperationalError) as raised:
        connection.execute("SELECT 1")
    assert records.statement is None
    assert records.outcomes == [(INSERT, "rolled back"), ("SELECT ?", f"failed: {type(raised.value).__name__}")]
    with pytest.raises(psycopg.OperationalError):
        connection.commit()
    assert records.outcomes[0] == (INSERT, "rolled back")


@pytest.mark.parametrize("leave", ["commit", "block", "named cursor"])
def test_connection_lost_where_no_statement_runs(
    at: servers.PostgreSql, connection: psycopg.Connection[Any], records: Records, leave: str
) -> None:
    def lose() -> None:
        if leave == "block":
            with connection.transaction():
                connection.execute("INSERT INTO t VALUES (1)")
                kill(at, connection)
        elif leave == "named cursor":
            with connection.cursor("named") as cursor:
                cursor.execute("SELECT 1")
                kill(at, connection)
                cursor.fetchall()
        else:
            connection.execute("INSERT INTO t VALUES (1)")
            kill(at, connection)
            connection.commit()

    with pytest.raises(psycopg.OperationalError):
        lose()
    assert records.statement is None
    (outcome,) = [outcome for _, outcome in records.outcomes]
    assert outcome == "rolled back" or (leave == "named cursor" and outcome.startswith("failed: "))


def test_deadlock_victim(at: servers.PostgreSql, connection: psycopg.Connection[Any], records: Records) -> None:
    connection.execute("INSERT INTO t VALUES (1), (2)")
    connection.commit()
    begun = len(records.contexts)
    update = "UPDATE t SET a = a WHERE a = %s"
    one_locked, other_locked = threading.Event(), threading.Event()
    failed: list[str] = []

    def work(first: int, second: int, mine: threading.Event, others: threading.Event) -> None:
        with psycopg.connect(**at.connect) as connection:
            connection.execute(update, [first])
            mine.set()
            others.wait()
            try:
                connection.execute(update, [second])
            except psycopg.errors.DeadlockDetected:
                failed.append(records.statement or "none")
                connection.rollback()

    threads = [
        threading.Thread(target=work, args=args)
        for args in ((1, 2, one_locked, other_locked), (2, 1, other_locked, one_locked))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == ["none"]
    outcomes = sorted(outcome for _, outcome in records.outcomes[begun:])
    assert outcomes == ["committed", "committed", "failed: DeadlockDetected", "rolled back"]


def test_cancelled_task(at: servers.PostgreSql, records: Records) -> None:
    async def run(connection: Any) -> None:
        try:
            await connection.execute("SELECT pg_sleep(60)")
        except asyncio.CancelledError:
            assert records.statement is None
            raise

    async def main() -> None:
        async with await psycopg.AsyncConnection.connect(**at.connect) as connection:
            await connection.execute("INSERT INTO t VALUES (1)")
            task = asyncio.create_task(run(connection))
            thread = when_running(at, "SELECT pg_sleep", lambda: loop.call_soon_threadsafe(task.cancel))
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(thread.join)
            await connection.rollback()

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    assert records.outcomes == [(INSERT, "rolled back"), ("SELECT pg_sleep(?)", "failed: CancelledError")]


def test_interrupted_by_the_keyboard(
    at: servers.PostgreSql, connection: psycopg.Connection[Any], records: Records
) -> None:
    main = threading.main_thread().ident
    assert main is not None
    thread = when_running(at, "SELECT pg_sleep", lambda: signal.pthread_kill(main, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        connection.execute("SELECT pg_sleep(60)")
    thread.join()
    assert (records.statement, records.outcomes) == (None, [("SELECT pg_sleep(?)", "failed: KeyboardInterrupt")])


def test_rolled_back_to_a_savepoint_the_rest_is_committed(
    connection: psycopg.Connection[Any], records: Records
) -> None:
    with connection.transaction():
        connection.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(psycopg.errors.UndefinedColumn), connection.transaction():
            connection.execute("SELECT nothing")
        assert records.statement is None
        connection.execute("SELECT 1")
    assert records.outcomes == [
        (INSERT, "committed"), ("SELECT nothing", "failed: UndefinedColumn"), ("SELECT ?", "committed")
    ]  # fmt: skip


def test_failure_in_a_pipeline_is_its_statements_and_takes_the_transaction_along(
    connection: psycopg.Connection[Any], records: Records
) -> None:
    connection.autocommit = True
    with pytest.raises(psycopg.errors.UndefinedColumn), connection.pipeline():  # noqa: PT012
        connection.execute("INSERT INTO t VALUES (1)")
        connection.execute("SELECT nothing")
        connection.execute("SELECT 2")
    assert records.statement is None
    assert records.outcomes == [
        (INSERT, "rolled back"), ("SELECT nothing", "failed: UndefinedColumn"), ("SELECT ?", "failed: PipelineAborted")
    ]  # fmt: skip
    assert connection.execute("SELECT * FROM t").fetchall() == []


def test_pipeline_of_a_lost_connection_leaves_nothing_behind(
    at: servers.PostgreSql, connection: psycopg.Connection[Any], records: Records
) -> None:
    with pytest.raises(psycopg.OperationalError), connection.pipeline():  # noqa: PT012
        connection.execute("INSERT INTO t VALUES (1)")
        kill(at, connection)
        connection.execute("SELECT 1").fetchone()
    assert records.statement is None
    assert records.outcomes[0] == (INSERT, "rolled back")
    assert not driver._queued


# ---- pools ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [psycopg_pool.ConnectionPool, psycopg_pool.NullConnectionPool])
@pytest.mark.parametrize("autocommit", [False, True])
def test_next_user_of_a_pooled_connection_inherits_no_statement(
    at: servers.PostgreSql, records: Records, kind: Any, autocommit: bool
) -> None:
    options = {} if kind is psycopg_pool.NullConnectionPool else {"min_size": 1}
    with kind(at.dsn, max_size=1, open=True, kwargs={"autocommit": autocommit}, **options) as pool:
        with pool.connection() as connection:
            connection.execute("INSERT INTO t VALUES (1)")
            assert records.statement == INSERT
        assert records.statement is None
        for end in ("committed", "rolled back"):
            connection = pool.getconn()
            assert records.statement is None
            connection.execute("INSERT INTO t VALUES (2)")
            if end == "committed":
                connection.commit()
            pool.putconn(connection)  # rolls back
            assert records.statement is None
        with psycopg.connect(**at.connect) as foreign, pytest.raises(ValueError, match="doesn't come from any pool"):
            pool.putconn(foreign)
    outcomes = [outcome for _, outcome in records.outcomes]
    assert outcomes == (["ended"] * 3 if autocommit else ["committed", "committed", "rolled back"])


def test_next_user_of_an_async_pooled_connection_inherits_no_statement(
    at: servers.PostgreSql, records: Records
) -> None:
    async def main() -> None:
        async with psycopg_pool.AsyncConnectionPool(at.dsn, min_size=1, max_size=1, open=False) as pool:
            async with pool.connection() as connection:
                await connection.execute("INSERT INTO t VALUES (1)")
                assert records.statement == INSERT
            assert records.statement is None
            connection = await pool.getconn()
            await connection.execute("INSERT INTO t VALUES (2)")
            await pool.putconn(connection)
            assert records.statement is None

    asyncio.run(main())
    assert records.outcomes == [(INSERT, "committed"), (INSERT, "rolled back")]


def test_connection_returned_to_its_pool_by_close(at: servers.PostgreSql, records: Records) -> None:
    try:
        pool: Any = psycopg_pool.ConnectionPool(at.dsn, min_size=1, max_size=1, open=True, close_returns=True)
    except TypeError:
        pytest.skip("psycopg_pool is older than 3.3")
    with pool:
        connection = pool.getconn()
        connection.execute("INSERT INTO t VALUES (1)")
        connection.close()
        assert records.statement is None
        assert not connection.closed
    assert records.outcomes == [(INSERT, "rolled back")]
