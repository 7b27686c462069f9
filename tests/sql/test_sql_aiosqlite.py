"""Risk: aiosqlite runs its statements in a thread, and awaits them in tasks: whose statement is it?"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from memwatch_sql_aiosqlite import driver
from memwatch_sql_sqlite3 import driver as below
from sql_support import Records, Session

from memwatch_core.adapter.contexts import SqlContexts
from memwatch_core.adapter.watch import watch


@pytest.fixture
def installed(tracer: SqlContexts) -> Iterator[None]:
    driver.install(tracer)
    yield
    driver.uninstall()
    assert (tracer.troubles, driver.troubles) == (0, 0)


async def _table(connection: aiosqlite.Connection) -> None:
    await connection.execute("CREATE TABLE t (a)")
    await connection.executemany("INSERT INTO t VALUES (?)", [(1,), (2,), (3,)])
    await connection.commit()


@pytest.mark.usefixtures("installed")
def test_each_way_to_run_a_statement_is_one_context_in_the_task(records: Records, tmp_path: Path) -> None:
    async def main() -> None:
        async with aiosqlite.connect(tmp_path / "orders.db") as connection:
            await _table(connection)
            cursor = await connection.cursor()
            ways: list[tuple[Callable[[], Any], str, int]] = [
                (lambda: connection.execute("SELECT 1"), "SELECT ?", 1),
                (lambda: cursor.execute("SELECT a FROM t WHERE a > ?", (0,)), "SELECT a FROM t WHERE a > ?", 1),
                (lambda: cursor.fetchall(), "SELECT a FROM t WHERE a > ?", 0),
                (lambda: cursor.execute(sql="SELECT 2"), "SELECT ?", 1),
                (lambda: connection.execute_fetchall("SELECT a FROM t"), "SELECT a FROM t", 1),
                (lambda: connection.execute_insert("INSERT INTO t VALUES (4)"), "INSERT INTO t VALUES (?)", 1),
                (lambda: cursor.executemany("UPDATE t SET a = ?", [(1,)]), "UPDATE t SET a = ?", 1),
                (lambda: connection.executescript("SELECT 3;"), "SELECT ?;", 1),
            ]
            for way, statement, more in ways:
                before = len(records.contexts)
                await way()
                assert (records.statement, len(records.contexts) - before) == (statement, more)
            context = records.current
            assert context is not None
            assert (context["driver"], context["database"]) == ("aiosqlite", "orders.db")
        assert records.statement is None

    asyncio.run(main())


@pytest.mark.usefixtures("installed")
def test_commit_rollback_and_failure_end_the_statement(records: Records) -> None:
    async def main() -> None:
        async with aiosqlite.connect(":memory:") as connection:
            await _table(connection)
            await connection.execute("INSERT INTO t VALUES (4)")
            await connection.rollback()
            assert records.statement is None
            await connection.execute("INSERT INTO t VALUES (5)")
            await connection.commit()
            assert records.statement is None
            with pytest.raises(sqlite3.OperationalError):
                await connection.execute("SELECT nothing FROM nowhere")
            assert records.statement is None
            async with connection.execute("SELECT a FROM t") as cursor:
                assert [a async for (a,) in cursor] == [1, 2, 3, 5]
                assert records.statement == "SELECT a FROM t"
            assert records.statement == "SELECT a FROM t"  # to its last row
            async with connection.execute("SELECT a FROM t") as cursor:
                assert await cursor.fetchone() == (1,)
            assert records.statement is None  # rows were left

    asyncio.run(main())
    outcomes = [outcome for _, outcome in records.outcomes[2:]]
    assert outcomes == ["rolled back", "committed", "failed: OperationalError", "ended", "closed"]
    assert [each.get("rows") for each in records.contexts.values()][-2:] == [4, 1]


@pytest.mark.usefixtures("installed")
def test_cancelled_task_ends_its_statement(records: Records) -> None:
    async def main() -> None:
        async with aiosqlite.connect(":memory:") as connection:
            slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000000) SELECT sum(i) FROM n"
            task = asyncio.create_task(connection.execute_fetchall(slow))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert records.statement is None

    asyncio.run(main())
    assert records.outcomes[-1][1] == "failed: CancelledError"


def test_interleaved_tasks_on_one_connection_never_mix(session: Callable[..., Session], tmp_path: Path) -> None:
    opened = session(driver)

    async def work(connection: aiosqlite.Connection, name: str) -> None:
        value: Any = watch(0, name=name, track_sql=True)
        for n in range(1, 11):
            async with connection.execute(f"SELECT {n}, a AS {name} FROM t") as cursor:
                async for _ in cursor:
                    value.value = n
                    await asyncio.sleep(0)
                    memoryview(value).cast("B").cast("q")[0] = -n
            await connection.execute(f"SELECT 0 AS {name}")
            value.value = 0

    async def main() -> None:
        async with aiosqlite.connect(tmp_path / "x.db") as connection:
            await _table(connection)
            await asyncio.gather(*(work(connection, f"t{n}") for n in range(20)))

    asyncio.run(main())
    events = opened.events()
    assert len(events) == 20 * 10 * 7
    for event in events:
        statement = event.context.statement if event.context else None
        assert statement == f"SELECT ?{', a' * bool(event.new)} AS {event.variable}{' FROM t' * bool(event.new)}"


def test_program_gets_its_own_classes_and_nothing_stays_patched(tracer: SqlContexts) -> None:
    class Own(sqlite3.Connection):
        pass

    async def made(**options: Any) -> type:
        async with aiosqlite.connect(":memory:", **options) as connection:
            return type(connection._conn)

    before = dict(vars(aiosqlite.core.Connection)), dict(vars(aiosqlite)), dict(vars(aiosqlite.core))
    driver.install(tracer)
    try:
        assert asyncio.run(made()) is sqlite3.Connection
        assert asyncio.run(made(factory=Own)) is Own
    finally:
        driver.uninstall()
    assert (dict(vars(aiosqlite.core.Connection)), dict(vars(aiosqlite)), dict(vars(aiosqlite.core))) == before


def test_connection_made_meanwhile_goes_on_untraced(tracer: SqlContexts, records: Records) -> None:
    async def main() -> None:
        driver.install(tracer)
        connection = aiosqlite.connect(":memory:")
        driver.uninstall()
        async with connection:
            await connection.execute("SELECT 1")

    asyncio.run(main())
    assert not records.contexts


@pytest.mark.parametrize(
    "order", [[below], [below, driver], [driver, below], [driver]], ids=lambda o: "-".join(d.name for d in o)
)
def test_statements_are_the_tasks_with_sqlite3_traced_as_well_or_a_warning_says_what_is_missing(
    order: list[Any],
    tracer: SqlContexts,
    records: Records,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with aiosqlite.connect(":memory:") as connection:
            await connection.execute("SELECT 1")
            seen.append(records.statement)

    seen: list[str | None] = []
    monkeypatch.setattr(below, "_told", set())
    for each in order:
        each.install(tracer)
    try:
        asyncio.run(main())
    finally:
        for each in order:
            each.uninstall()
    told = [found.getMessage() for found in caplog.records]
    if order == [below]:
        assert seen == [None]
        assert len(told) == 1
        assert "memwatch-sql-aiosqlite" in told[0]
    else:
        assert (seen, told) == (["SELECT ?"], [])
        assert [each["driver"] for each in records.contexts.values()] == ["aiosqlite"]
