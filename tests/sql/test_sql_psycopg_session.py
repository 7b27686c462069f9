"""Risk: a write is blamed on another flow's statement; the program's secrets get into a journal; tracing is noticed."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import pickle
import re
import threading
import traceback
import typing
import weakref
from collections.abc import Callable
from typing import Any

import psycopg
import psycopg_pool
import pytest
import servers
from memwatch_sql_psycopg import driver
from psycopg import sql
from sql_support import Records, Session

from memwatch_core import watch
from memwatch_core.adapter.contexts import SqlContexts
from memwatch_core.records import Event

Begin = Callable[..., Session]
SOAK = bool(os.environ.get("MEMWATCH_SOAK"))


def store(value: Any, number: int) -> None:
    """Writes past the proxy, as C code does: through the buffer, which faults."""
    memoryview(value).cast("B").cast("q")[0] = number


def mixed(events: list[Event]) -> list[Event]:
    """Those that don't carry the statement of the flow that wrote them: its text ends with the variable's name."""
    return [
        event for event in events if not (event.context and event.context.statement.endswith(f" AS {event.variable}"))
    ]


# ---- flows ----------------------------------------------------------------------------------------------------------


def test_fifty_tasks_never_mix_announced_nor_faulted(session: Begin, postgresql_database: servers.PostgreSql) -> None:
    tasks, statements = 50, 500 if SOAK else 10
    opened = session(driver.record)

    async def work(name: str) -> None:
        value: Any = watch(0, name=name, track_sql=True)
        async with await psycopg.AsyncConnection.connect(**postgresql_database.connect_trusted) as connection:
            for n in range(1, statements + 1):
                cursor = await connection.execute(sql.SQL("SELECT {} AS {}").format(n, sql.SQL(name)))
                await asyncio.sleep(0)
                assert await cursor.fetchone() == (n,)
                await asyncio.sleep(0)
                value.value = n
                await asyncio.sleep(0)
                store(value, -n)

    async def main() -> None:
        await asyncio.gather(*(work(f"task{n}") for n in range(tasks)))

    asyncio.run(main())
    events = opened.events()
    assert len(events) == tasks * statements * 2
    assert mixed(events) == []


def test_tasks_that_share_a_pool_and_stream_never_mix(session: Begin, postgresql_database: servers.PostgreSql) -> None:
    tasks, statements = 20, 200 if SOAK else 5
    opened = session(driver.record)

    async def work(name: str, pool: Any) -> None:
        value: Any = watch(0, name=name, track_sql=True)
        for _ in range(statements):
            async with pool.connection() as connection:
                async for (n,) in connection.cursor().stream(f"SELECT generate_series(1, 2) AS {name}"):
                    await asyncio.sleep(0)
                    value.value = n
                    store(value, -n)

    async def main() -> None:
        how = {"min_size": 4, "max_size": 4, "open": False}
        async with psycopg_pool.AsyncConnectionPool(postgresql_database.dsn_trusted, **how) as pool:
            await asyncio.gather(*(work(f"task{n}", pool) for n in range(tasks)))

    asyncio.run(main())
    events = opened.events()
    assert len(events) == tasks * statements * 4
    assert mixed(events) == []


def test_eight_threads_never_mix_announced_nor_faulted(session: Begin, postgresql_database: servers.PostgreSql) -> None:
    threads, statements = 8, 500 if SOAK else 100
    opened = session(driver.record)

    def work(name: str) -> None:
        value: Any = watch(0, name=name, track_sql=True)
        with psycopg.connect(**postgresql_database.connect_trusted) as connection:
            for n in range(1, statements + 1):
                connection.execute(f"SELECT {n} AS {name}").fetchone()
                value.value = n
                store(value, -n)

    working = [threading.Thread(target=work, args=(f"thread{n}",)) for n in range(threads)]
    for thread in working:
        thread.start()
    for thread in working:
        thread.join()
    events = opened.events()
    assert len(events) == threads * statements * 2
    assert mixed(events) == []


def test_writes_between_nested_cursors_copies_and_blocks(
    session: Begin, postgresql_database: servers.PostgreSql
) -> None:
    opened = session(driver.record)
    value: Any = watch(0, name="value", track_sql=True)
    count = iter(range(1, 100))

    def write() -> None:
        value.value = next(count)

    with psycopg.connect(**postgresql_database.connect) as connection, connection.cursor() as inner:
        write()
        with connection.cursor("outer") as outer:
            outer.execute("SELECT a FROM (VALUES (1), (2)) AS o (a)")
            for _ in outer:
                write()
                inner.execute("SELECT 1 AS i").fetchone()
                write()
        with inner.copy("COPY (SELECT 1 AS c) TO STDOUT") as copying:
            write()
            assert list(copying.rows()) == [("1",)]
            write()
        connection.commit()
        write()
    texts = [event.context and event.context.statement for event in opened.events()]
    loop = ["SELECT a FROM (VALUES (?), (?)) AS o (a)", "SELECT ? AS i"]
    out = "COPY (SELECT ? AS c) TO STDOUT"
    assert texts == [None, *loop, *loop, out, out, None]


# ---- secrets --------------------------------------------------------------------------------------------------------


def test_secrets_appear_in_no_byte_of_the_session(session: Begin, postgresql_database: servers.PostgreSql) -> None:
    secret, word = "s3cr3t-v4lue", "dr0ws-s4p"
    postgresql_database.administer(f"CREATE ROLE {postgresql_database.database} LOGIN SUPERUSER PASSWORD '{word}'")
    try:
        how = {**postgresql_database.connect, "user": postgresql_database.database, "password": word}
        opened = session(driver.record)
        with psycopg.connect(psycopg.conninfo.make_conninfo(**how)) as connection:
            connection.execute("CREATE TABLE t (a text, b bytea)")
            connection.execute("INSERT INTO t VALUES (%s, %s)", [secret, secret.encode()])
            connection.execute(f"INSERT INTO t VALUES ('{secret}', $x${secret}$x$)")
            connection.execute(sql.SQL("SELECT {}").format(sql.Literal(secret)))
            connection.execute(f"SELECT '{secret}'".encode())
            psycopg.ClientCursor(connection).execute("SELECT %(x)s", {"x": secret})
            connection.cursor().executemany("INSERT INTO t (a) VALUES (%s)", [(secret,), (secret,)])
            with connection.cursor().copy("COPY t (a) FROM STDIN") as copying:
                copying.write_row([secret])
            with connection.cursor().copy(f"COPY (SELECT '{secret}') TO STDOUT") as copying:
                list(copying.rows())
            list(connection.cursor().stream("SELECT %s", [secret]))
            with pytest.raises(psycopg.Error, match=secret):
                connection.execute(f"SELECT '{secret}'::int")
        data = opened.bytes()
    finally:
        postgresql_database.administer(f"DROP OWNED BY {postgresql_database.database}")
        postgresql_database.administer(f"DROP ROLE {postgresql_database.database}")
    assert b"INSERT INTO t VALUES (%s, %s)" in data
    assert postgresql_database.database.encode() in data
    for planted in (secret, word, secret.encode().hex()):
        assert planted.encode() not in data


# ---- the same as without --------------------------------------------------------------------------------------------


def caught(call: Callable[[], object]) -> list[object]:
    """What an error shows, and the frames of the program in it."""
    try:
        return [call()]
    except Exception as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == __file__]
        causes = (type(error.__cause__), type(error.__context__), getattr(error, "sqlstate", None))
        return [type(error), str(error), causes, len(frames)]


CLASSES = (
    *(psycopg.Cursor, psycopg.AsyncCursor, psycopg.ServerCursor, psycopg.AsyncServerCursor),
    *(psycopg.Connection, psycopg.AsyncConnection, psycopg.Transaction, psycopg.AsyncTransaction),
    *(psycopg.Pipeline, psycopg.AsyncPipeline, psycopg.Copy, psycopg.AsyncCopy),
    *(psycopg_pool.ConnectionPool, psycopg_pool.AsyncConnectionPool),
)


def of_classes() -> list[object]:
    """What can be seen of the classes."""
    found: list[object] = []
    for owner in CLASSES:
        for name, member in inspect.getmembers(owner, inspect.isfunction):
            kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
            found += [name, member.__name__, member.__qualname__, member.__module__, member.__doc__]
            found += [str(inspect.signature(member)), [kind(member) for kind in kinds], member.__annotations__]
        found += [owner.__mro__, owner.__name__, owner.__module__, owner.__doc__]
        found.append(sorted({*vars(owner)} - {"__slotnames__"}))  # which pickle leaves behind
    found.append(psycopg.Cursor[tuple[int]])
    found.append(typing.get_origin(psycopg.Connection[Any]))
    return found


def of_use(connection: psycopg.Connection[Any]) -> list[object]:
    """What can be seen while they are used."""
    found: list[object] = []
    connection.rollback()
    cursor = connection.cursor()
    for thing in (connection, cursor):
        found += [type(thing), isinstance(thing, type(thing).__mro__[1]), re.sub("0x[0-9a-f]+", "", repr(thing))]
        found += [hasattr(thing, "__dict__"), weakref.ref(thing)() is thing, hash(thing) == object.__hash__(thing)]
        found += [re.sub("0x[0-9a-f]+", "", str(each)) for each in caught(lambda thing=thing: pickle.dumps(thing))]  # type: ignore[misc]
    found += caught(lambda: setattr(cursor, "mine", 1))
    found += [cursor.execute("SELECT 1 AS a") is cursor, cursor.description[0].name, cursor.rowcount, cursor.rownumber]  # type: ignore[index]
    found += [cursor.statusmessage, cursor.fetchone(), cursor.fetchone(), iter(cursor) is cursor, cursor.nextset()]
    for wrong in ("SELEC", "SELECT 1/0", "SELECT %s", b"\xff", 5, None):
        found += caught(lambda wrong=wrong: connection.execute(wrong))  # type: ignore[misc]
        connection.rollback()
    found += caught(lambda: cursor.execute())  # type: ignore[call-overload]
    found += caught(lambda: cursor.execute("SELECT 1", wrong=1))  # type: ignore[call-overload]
    found += caught(lambda: cursor.executemany("SELECT 1", 5))  # type: ignore[arg-type]
    found += caught(lambda: connection.execute("CREATE TEMPORARY TABLE u (a int)").fetchall())
    found += caught(lambda: connection.execute("SELECT 1").scroll(9))
    stream = cursor.stream("SELECT n FROM generate_series(1, 9) AS n")
    found += [next(stream), stream.close(), *caught(lambda: next(stream))]  # type: ignore[attr-defined]
    connection.rollback()

    def block() -> None:
        with cursor.copy("COPY (SELECT 1) TO STDOUT") as copying:
            found.append(type(copying))
            raise StopIteration("mine")

    found += caught(block)
    connection.rollback()
    found += caught(lambda: connection.cursor().copy("COPY (SELECT 1) TO STDOUT"))[1:]
    with connection.transaction() as transaction:
        found += [type(transaction), *caught(connection.commit)]
    with connection.pipeline() as pipeline:
        found += [type(pipeline), connection.execute("SELECT 1").fetchall()]
    cursor.close()
    found += caught(lambda: cursor.execute("SELECT 1"))
    freed = [weakref.ref(connection.execute("SELECT 1"))]
    gc.collect()
    return [*found, freed[0]() is None]


def test_program_sees_the_same(postgresql_database: servers.PostgreSql, tracer: SqlContexts) -> None:
    with psycopg.connect(**postgresql_database.connect) as connection:
        plain = [of_classes(), of_use(connection)]
        driver.install(tracer)
        try:
            for mine, expected in zip([of_classes(), of_use(connection)], plain, strict=True):
                for each, other in zip(mine, expected, strict=True):
                    assert each == other
        finally:
            driver.uninstall()
        assert (tracer.troubles, driver.troubles) == (0, 0)


# ---- install, uninstall ---------------------------------------------------------------------------------------------


def members() -> dict[str, dict[str, Any]]:
    modules = [psycopg, psycopg_pool]
    classes = {each for module in modules for each in vars(module).values() if isinstance(each, type)}
    everything = {base for each in classes for base in each.__mro__ if base.__module__.startswith("psycopg")}
    return {f"{each.__module__}.{each.__qualname__}": dict(vars(each)) for each in everything}


def test_nothing_is_left_patched(tracer: SqlContexts) -> None:
    before = members()
    for _ in range(2):
        driver.install(tracer)
        driver.install(tracer)
        assert members() != before
        driver.uninstall()
        after = members()
        assert after.keys() == before.keys()
        for name, attributes in before.items():
            assert after[name].keys() == attributes.keys()
            assert all(after[name][each] is value for each, value in attributes.items())
    driver.uninstall()


def test_connections_made_before_are_traced_and_go_on_untraced(
    postgresql_database: servers.PostgreSql, tracer: SqlContexts, records: Records
) -> None:
    with psycopg.connect(**postgresql_database.connect) as connection, connection.cursor() as cursor:
        driver.install(tracer)
        cursor.execute("SELECT 1 FROM generate_series(1, 3)")
        cursor.fetchone()
        stream = psycopg.connect(**postgresql_database.connect)
        rows = stream.cursor().stream("SELECT 2 FROM generate_series(1, 3)")
        next(rows)
        driver.uninstall()
        known = len(records.log)
        assert cursor.fetchall() == [(1,), (1,)]
        assert list(rows) == [(2,), (2,)]
        connection.execute("SELECT 3")
        stream.close()
    assert driver.troubles == 0
    assert [each["statement"] for each in records.contexts.values()] == ["SELECT ? FROM generate_series(?, ?)"] * 2
    assert len(records.log) == known


@pytest.mark.parametrize("failing", ["statement_begins", "statement_ends", "rows_fetched", "cursor_closed",
                                     "transaction_ends", "savepoint"])  # fmt: skip
def test_failure_of_the_tracer_never_reaches_the_program(
    postgresql_database: servers.PostgreSql, tracer: SqlContexts, failing: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            def fail(*args: Any, **kwargs: Any) -> Any:
                raise ZeroDivisionError("mine")

            return fail if name == failing else getattr(tracer, name)

    driver._told.clear()
    driver.install(Broken())  # type: ignore[arg-type]
    try:
        with psycopg.connect(**postgresql_database.connect) as connection:
            plain: list[object] = of_use(connection)
            with connection.transaction(), connection.transaction():
                connection.execute("SELECT 1")
            with connection.cursor().copy("COPY (SELECT 1) TO STDOUT") as copying:
                assert list(copying.rows()) == [("1",)]
        troubles, driver.troubles = driver.troubles, 0
        assert plain
        assert troubles > 0
        assert len([record for record in caplog.records if record.name == "memwatch.sql"]) == 1
        assert "mine" not in caplog.text
    finally:
        driver.uninstall()
        driver.troubles = 0


def test_record_of_the_plugin() -> None:
    (record,) = driver.memwatch_sql()
    assert (record.name, record.target) == ("psycopg", "psycopg")
