"""Risk: something that psycopg does with a statement, a row or a transaction goes unseen, or is seen twice.

Everything here runs on a real server, sync and async, and what the driver publishes is compared as it is."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import servers
from memwatch_sql_psycopg import driver
from psycopg import pq, sql
from psycopg.rows import dict_row

from memwatch_core.records import Database


class Published:
    """A tracer that keeps what a driver says, a line each."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.databases: set[Database] = set()

    def statement_begins(
        self,
        driver: str,
        statement: Any,
        parameters: Any = None,
        connection: Any = None,
        database: Any = None,
        dialect: str = "",
        many: bool = False,
        previous: Any = None,
    ) -> list[str]:
        text = statement.decode() if isinstance(statement, bytes) else statement
        assert (driver, dialect, type(text)) == ("psycopg", "postgresql", str)
        self.databases.add(database(connection))
        self.log.append(f"begin {text}" + (f" {parameters!r}" if parameters is not None else "") + many * " many")
        return [text]

    def statement_ends(
        self,
        token: Any,
        rows: Any = None,
        error: Any = None,
        fetchable: bool = True,
        in_transaction: Any = None,
        rolled_back: bool = False,
    ) -> None:
        if token is None:  # nothing was begun: the statement was missing
            return
        said = [f"rows={rows}"] * (rows is not None) + ["fetchable"] * fetchable
        said += ["in transaction"] * bool(in_transaction) + ["unknown"] * (in_transaction is None)
        said += ["rolled back"] * rolled_back
        self.log.append(f"end {', '.join(said)}" if error is None else f"failed {token[0]}: {type(error).__name__}")

    def rows_fetched(self, token: Any, count: int, *, exhausted: bool = False) -> None:
        self.log.append(f"fetched {count}" + exhausted * ", the last")

    def cursor_closed(self, token: Any, all_fetched: bool = False) -> None:
        self.log.append("cursor closed")

    def transaction_ends(self, connection: object, outcome: str) -> None:
        self.log.append(outcome)

    def savepoint(self, connection: object, name: str, what: str) -> None:
        self.log.append(f"savepoint {name} {what}")

    def take(self, *without: str) -> list[str]:
        """What was said since the last time, but the lines that begin thus."""
        log, self.log = self.log, []
        return [line for line in log if not line.startswith(without or "\0")]


@pytest.fixture
def published() -> Iterator[Published]:
    tracer = Published()
    driver.install(tracer)  # type: ignore[arg-type]
    yield tracer
    driver.uninstall()
    troubles, driver.troubles = driver.troubles, 0
    assert troubles == 0


TABLE = "CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three')"


@pytest.fixture
def connection(postgresql_database: servers.PostgreSql, published: Published) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(**postgresql_database.connect) as connection:
        connection.execute(TABLE)
        connection.commit()
        published.take()
        yield connection


def asynchronous(database: servers.PostgreSql, body: Callable[[Any, Published], Any]) -> None:
    """Runs ``body`` with a connection, of which nothing has been published."""

    async def main() -> None:
        async with await psycopg.AsyncConnection.connect(**database.connect) as connection:
            await connection.execute(TABLE)
            await connection.commit()
            published: Any = driver.tracer
            published.take()
            await body(connection, published)

    asyncio.run(main())


def first(cursor: Any) -> Callable[[Any], Any]:
    """A row factory."""
    return lambda values: values[0]


SELECT = "SELECT a FROM t ORDER BY a"
RUN = [f"begin {SELECT}", "end fetchable, in transaction"]
MANY = "SELECT n FROM generate_series(1, 100000) AS n"


# ---- ways to run ----------------------------------------------------------------------------------------------------


class MyCursor(psycopg.Cursor[Any]):
    def execute(self, *args: Any, **kwargs: Any) -> Any:
        return super().execute(*args, **kwargs)


class MyConnection(psycopg.Connection[Any]):
    def commit(self) -> None:
        super().commit()


CURSORS: list[Any] = [psycopg.Cursor, psycopg.ClientCursor, MyCursor]
ASYNC_CURSORS: list[Any] = [psycopg.AsyncCursor, psycopg.AsyncClientCursor]
if hasattr(psycopg, "RawCursor"):  # since 3.2
    CURSORS.append(psycopg.RawCursor)
    ASYNC_CURSORS.append(psycopg.AsyncRawCursor)


@pytest.mark.parametrize("kind", CURSORS)
def test_statement_is_published_once_whatever_runs_it(
    connection: psycopg.Connection[Any], published: Published, kind: Any
) -> None:
    cursor = kind(connection)
    assert cursor.execute(SELECT).fetchall() == [(1,), (2,), (3,)]
    cursor.close()
    assert published.take() == [*RUN, "fetched 3, the last", "cursor closed"]
    connection.cursor_factory = kind
    connection.execute(query=SELECT)
    assert published.take() == RUN
    connection.cursor().execute(query="DELETE FROM t WHERE a > 1")
    assert published.take() == ["begin DELETE FROM t WHERE a > 1", "end rows=2, in transaction"]


def test_async_statement_is_published_once_whatever_runs_it(
    postgresql_database: servers.PostgreSql, published: Published
) -> None:
    async def body(connection: Any, published: Published) -> None:
        for kind in ASYNC_CURSORS:
            async with kind(connection) as cursor:
                await cursor.execute(SELECT)
                assert await cursor.fetchone() == (1,)
                assert await cursor.fetchmany(1) == [(2,)]
                assert [row async for row in cursor] == [(3,)]
                assert await cursor.fetchall() == []
            ends = ["fetched 1", "fetched 0, the last", "fetched 0, the last", "cursor closed"]
            assert published.take() == [*RUN, "fetched 1", "fetched 1", *ends]
            connection.cursor_factory = kind
            await connection.execute(query=SELECT)
            assert published.take() == RUN

    asynchronous(postgresql_database, body)


@pytest.mark.parametrize(
    "options", [{}, {"prepare": True}, {"binary": True}, {"prepare": True, "binary": True}, {"prepare": False}]
)
def test_prepared_and_binary_statements(
    connection: psycopg.Connection[Any], published: Published, options: dict[str, bool]
) -> None:
    for _ in range(7):  # psycopg prepares it at the sixth
        assert connection.execute("SELECT %s::int", [5], **options).fetchone() == (5,)  # type: ignore[call-overload]
        assert published.take() == ["begin SELECT %s::int [5]", "end fetchable, in transaction", "fetched 1"]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (b"SELECT 7", "SELECT 7"),
        (sql.SQL("SELECT 7"), "SELECT 7"),
        (sql.SQL("SELECT 7 AS {}").format(sql.Identifier('a"b')), 'SELECT 7 AS "a""b"'),
        (sql.SQL("SELECT {} + {}").format(sql.Literal(3), 4), "SELECT ? + ?"),
        (sql.SQL("SELECT {}").format(sql.SQL(" + ").join([sql.Literal(3), sql.SQL("4")])), "SELECT ? + 4"),
        (sql.SQL("SELECT 7 FROM {} LIMIT 1").format(sql.Identifier("pg_catalog", "pg_am")),
         'SELECT 7 FROM "pg_catalog"."pg_am" LIMIT 1'),
    ],
)  # fmt: skip
def test_queries_of_every_kind(
    connection: psycopg.Connection[Any], published: Published, query: Any, text: str
) -> None:
    assert connection.execute(query).fetchone() == (7,)
    assert published.take() == [f"begin {text}", "end fetchable, in transaction", "fetched 1"]


def test_literal_of_a_composed_statement_is_adapted_no_more_often(
    connection: psycopg.Connection[Any], published: Published
) -> None:
    class Mine:
        pass

    class Dumper(psycopg.adapt.Dumper):
        calls = 0

        def dump(self, obj: Any) -> bytes:
            Dumper.calls += 1
            return b"7"

    connection.adapters.register_dumper(Mine, Dumper)
    connection.execute(sql.SQL("SELECT {}").format(sql.Literal(Mine())))
    traced = Dumper.calls
    driver.uninstall()
    connection.execute(sql.SQL("SELECT {}").format(sql.Literal(Mine())))
    assert 0 < traced == Dumper.calls - traced


def test_executemany_is_one_statement(connection: psycopg.Connection[Any], published: Published) -> None:
    cursor = connection.cursor()
    cursor.executemany("INSERT INTO t VALUES (%s)", [(4,), (5,)])
    assert published.take() == ["begin INSERT INTO t VALUES (%s) [(4,), (5,)] many", "end rows=2, in transaction"]
    cursor.executemany(query="INSERT INTO t VALUES (%s) RETURNING a", params_seq=[(6,), (7,)], returning=True)
    assert published.take() == [
        "begin INSERT INTO t VALUES (%s) RETURNING a [(6,), (7,)] many", "end fetchable, in transaction"
    ]  # fmt: skip
    assert cursor.fetchone() == (6,)
    assert cursor.nextset()
    assert cursor.fetchall() == [(7,)]
    assert published.take() == ["fetched 1", "fetched 1, the last"]
    with pytest.raises(psycopg.errors.UniqueViolation):
        cursor.executemany("INSERT INTO t VALUES (%s)", [(8,), (1,)])
    assert published.take("begin") == ["failed INSERT INTO t VALUES (%s): UniqueViolation"]


def test_several_statements_in_one_query(connection: psycopg.Connection[Any], published: Published) -> None:
    cursor = connection.execute("SELECT 1; SELECT 2")
    assert cursor.fetchall() == [(1,)]
    assert cursor.nextset()
    assert cursor.fetchall() == [(2,)]
    fetches = ["fetched 1, the last"] * 2
    assert published.take() == ["begin SELECT 1; SELECT 2", "end fetchable, in transaction", *fetches]


# ---- ways to fetch --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "named"])
def test_rows_are_counted_however_they_are_fetched(
    connection: psycopg.Connection[Any], published: Published, name: str
) -> None:
    cursor: Any = connection.cursor(name, row_factory=first, **({"scrollable": True} if name else {}))
    with cursor:
        cursor.execute(SELECT)
        assert published.take() == RUN
        assert cursor.fetchone() == 1
        assert cursor.fetchmany(5) == [2, 3]
        assert cursor.fetchone() is None
        assert published.take() == ["fetched 1", "fetched 2", "fetched 0, the last"]
        cursor.scroll(0, mode="absolute")
        assert cursor.fetchall() == [1, 2, 3]
        assert published.take() == ["fetched 0", "fetched 3, the last"]
        cursor.scroll(1, mode="absolute")
        assert list(cursor) == [2, 3]
        assert published.take() == ["fetched 0", "fetched 1", "fetched 1", "fetched 0, the last"]
        cursor.execute(SELECT)
        published.take()
        for row in cursor:
            assert row == 1
            break
        assert published.take()[:1] == ["fetched 1"]
    assert set(published.take()) == {"cursor closed"}


def test_rows_of_an_async_server_cursor_are_counted(
    postgresql_database: servers.PostgreSql, published: Published
) -> None:
    async def body(connection: Any, published: Published) -> None:
        async with connection.cursor("named", row_factory=dict_row, scrollable=True) as cursor:
            await cursor.execute(SELECT)
            assert await cursor.fetchone() == {"a": 1}
            await cursor.scroll(0, mode="absolute")
            assert await cursor.fetchmany(2) == [{"a": 1}, {"a": 2}]
            assert [row async for row in cursor] == [{"a": 3}]
            assert await cursor.fetchall() == []
        fetches = ["fetched 1", "fetched 0", "fetched 2", "fetched 1", "fetched 0, the last", "fetched 0, the last"]
        assert published.take("cursor closed") == [*RUN, *fetches]

    asynchronous(postgresql_database, body)


def test_failure_of_a_server_cursor_while_fetching_is_its_statements(
    connection: psycopg.Connection[Any], published: Published
) -> None:
    text = "SELECT 1 / (2 - a) FROM t ORDER BY a"
    ways: list[Callable[[Any], object]] = [lambda cursor: cursor.fetchall(), list, lambda cursor: cursor.scroll(2)]
    for fetch in ways:
        cursor = connection.cursor("named")
        cursor.execute(text)
        published.take()
        with pytest.raises(psycopg.errors.DivisionByZero):
            fetch(cursor)
        assert published.take("fetched") == [f"failed {text}: DivisionByZero"]
        cursor.close()
        connection.rollback()


def test_mistakes_of_the_program_say_nothing_of_a_statement(
    connection: psycopg.Connection[Any], published: Published
) -> None:
    cursor = connection.execute("CREATE TABLE u (a int)")
    with pytest.raises(psycopg.ProgrammingError, match="didn't produce"):
        cursor.fetchone()
    with pytest.raises(IndexError):
        connection.execute(SELECT).scroll(7)
    with pytest.raises(TypeError):
        cursor.execute()  # type: ignore[call-overload]
    assert not [line for line in published.take() if "failed" in line]


def test_stream_ends_with_its_last_row_or_when_it_is_left(
    connection: psycopg.Connection[Any], published: Published
) -> None:
    cursor = connection.cursor()
    assert list(cursor.stream(SELECT)) == [(1,), (2,), (3,)]
    assert published.take() == [*RUN, *["fetched 1"] * 3, "fetched 0, the last"]
    assert list(cursor.stream(query="SELECT 1 WHERE false")) == []
    begin, end, *rest = published.take()
    assert (begin, rest) == ("begin SELECT 1 WHERE false", ["fetched 0, the last"])
    assert end.startswith("end ")
    assert end.endswith("in transaction")
    for row in cursor.stream(f"{MANY} LIMIT %s", [99_999]):
        assert row == (1,)
        break
    assert published.take() == [
        f"begin {MANY} LIMIT %s [99999]", "end fetchable, in transaction", "fetched 1", "fetched 0, the last"
    ]  # fmt: skip
    connection.rollback()
    published.take()
    text = "SELECT 1 / (3 - n) FROM generate_series(1, 3) AS n"
    with pytest.raises(psycopg.errors.DivisionByZero):
        list(cursor.stream(text))
    failure = [f"failed {text}: DivisionByZero"]
    assert published.take("begin") == ["end fetchable, in transaction", "fetched 1", "fetched 1", *failure]
    connection.rollback()
    connection.autocommit = True
    published.take()
    list(cursor.stream("SELECT 1"))
    assert published.take()[1] == "end fetchable"


def test_async_stream_ends_with_its_last_row_or_when_it_is_left(
    postgresql_database: servers.PostgreSql, published: Published
) -> None:
    async def body(connection: Any, published: Published) -> None:
        cursor = connection.cursor()
        assert [row async for row in cursor.stream(SELECT)] == [(1,), (2,), (3,)]
        assert published.take() == [*RUN, *["fetched 1"] * 3, "fetched 0, the last"]
        async for row in cursor.stream(MANY):
            assert row == (1,)
            break
        await connection.rollback()  # waits for the end of the stream
        assert sorted(published.take("begin")) == [
            "end fetchable, in transaction", "fetched 0, the last", "fetched 1", "rolled back"
        ]  # fmt: skip

    asynchronous(postgresql_database, body)


def test_rows_copied_out_are_fetched(connection: psycopg.Connection[Any], published: Published) -> None:
    out = "COPY (SELECT a FROM t ORDER BY a) TO STDOUT"
    cursor = connection.cursor()
    ways: list[Callable[[Any], list[Any]]] = [
        lambda copy: [bytes(data) for data in copy],
        lambda copy: [bytes(data) for data in iter(copy.read, b"")],
        lambda copy: list(copy.rows()),
        lambda copy: list(iter(copy.read_row, None)),
    ]
    for read in ways:
        with cursor.copy(out) as copy:
            assert len(read(copy)) == 3
        assert published.take() == [
            f"begin {out}", *["fetched 1"] * 3, "fetched 0, the last", "end rows=3, in transaction"
        ]  # fmt: skip
    with pytest.raises(KeyError), cursor.copy(statement=out) as copy:  # noqa: PT012
        copy.read_row()
        raise KeyError
    assert published.take() == [f"begin {out}", "fetched 1", f"failed {out}: KeyError"]
    connection.rollback()
    published.take()
    with pytest.raises(psycopg.errors.UndefinedTable), cursor.copy("COPY missing TO STDOUT"):
        pass
    assert published.take() == ["begin COPY missing TO STDOUT", "failed COPY missing TO STDOUT: UndefinedTable"]


def test_copy_in_is_a_statement_until_its_block_ends(connection: psycopg.Connection[Any], published: Published) -> None:
    into = "COPY t (a) FROM STDIN"
    with connection.cursor().copy(into) as copy:
        copy.write_row([10])
        copy.write(b"11\n")
        assert published.take() == [f"begin {into}"]
    assert published.take() == ["end rows=2, in transaction"]
    with pytest.raises(psycopg.errors.UniqueViolation), connection.cursor().copy(into) as copy:
        copy.write_row([1])
    assert published.take() == [f"begin {into}", f"failed {into}: UniqueViolation"]
    connection.rollback()


def test_async_copy(postgresql_database: servers.PostgreSql, published: Published) -> None:
    async def body(connection: Any, published: Published) -> None:
        async with connection.cursor().copy("COPY t (a) FROM STDIN") as copy:
            await copy.write_row([10])
        assert published.take() == ["begin COPY t (a) FROM STDIN", "end rows=1, in transaction"]
        for way in ("rows", "read"):
            async with connection.cursor().copy("COPY t TO STDOUT") as copy:
                assert len([row async for row in (copy.rows() if way == "rows" else copy)]) == 4
            fetches = ["fetched 1"] * 4
            assert published.take("begin") == [*fetches, "fetched 0, the last", "end rows=4, in transaction"]
        with pytest.raises(KeyError):
            async with connection.cursor().copy("COPY t TO STDOUT"):
                raise KeyError
        assert published.take() == ["begin COPY t TO STDOUT", "failed COPY t TO STDOUT: KeyError"]

    asynchronous(postgresql_database, body)


# ---- ways to end a transaction --------------------------------------------------------------------------------------


def test_commit_rollback_close_and_with_block(postgresql_database: servers.PostgreSql, published: Published) -> None:
    statement = ("begin", "end")
    with MyConnection.connect(**postgresql_database.connect) as connection:
        connection.execute("SELECT 1")
        connection.commit()
        connection.execute("SELECT 1")
        connection.rollback()
        assert published.take(*statement) == ["committed", "rolled back"]
        connection.execute("SELECT 1")
    assert published.take(*statement) == ["committed", "closed"]
    with pytest.raises(KeyError), psycopg.connect(**postgresql_database.connect) as other:  # noqa: PT012
        other.execute("SELECT 1")
        raise KeyError
    assert published.take(*statement) == ["rolled back", "closed"]


def test_commit_of_a_failed_transaction_is_a_rollback(
    connection: psycopg.Connection[Any], published: Published
) -> None:
    with pytest.raises(psycopg.errors.UndefinedColumn):
        connection.execute("SELECT nothing")
    connection.commit()
    assert published.take() == ["begin SELECT nothing", "failed SELECT nothing: UndefinedColumn", "rolled back"]
    with connection.transaction(), pytest.raises(psycopg.errors.UndefinedColumn):
        connection.execute("SELECT nothing")
    assert published.take()[2:] == ["rolled back"]


def test_commit_that_fails_is_a_rollback(connection: psycopg.Connection[Any], published: Published) -> None:
    connection.execute("CREATE TABLE d (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    connection.commit()
    published.take()
    connection.execute("INSERT INTO d VALUES (1), (1)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.commit()
    assert published.take()[2:] == ["rolled back"]
    with pytest.raises(psycopg.errors.UniqueViolation), connection.transaction():
        connection.execute("INSERT INTO d VALUES (1), (1)")
    assert published.take()[2:] == ["rolled back"]


def test_autocommit_means_no_transaction(connection: psycopg.Connection[Any], published: Published) -> None:
    connection.autocommit = True
    connection.execute("SELECT 1")
    with connection.transaction():
        connection.execute("SELECT 2")
    connection.execute("BEGIN")
    connection.execute("COMMIT")
    assert published.take("begin") == [
        "end fetchable", "end fetchable, in transaction", "committed", "end rows=-1, in transaction", "end rows=-1"
    ]  # fmt: skip


def test_transaction_blocks_nest(connection: psycopg.Connection[Any], published: Published) -> None:
    with connection.transaction(), connection.transaction(), connection.transaction("mine"):
        pass
    first = published.take()
    name = first[0].removesuffix(" set")
    assert first == [f"{name} set", "savepoint mine set", "savepoint mine released", f"{name} released", "committed"]
    back = [f"{name} set", f"{name} rolled back", f"{name} released"]
    with connection.transaction("outer"):
        with connection.transaction(force_rollback=True):
            pass
        with connection.transaction():
            raise psycopg.Rollback
    assert published.take() == ["savepoint outer set", *back, *back, "committed"]
    with connection.transaction() as outer, connection.transaction():
        raise psycopg.Rollback(outer)
    assert published.take() == [*back, "rolled back"]
    with pytest.raises(KeyError), connection.transaction():
        raise KeyError
    assert published.take() == ["rolled back"]
    with connection.transaction(force_rollback=True):
        pass
    assert published.take() == ["rolled back"]
    connection.execute("SELECT 1")
    published.take()
    with connection.transaction("inner"):  # of a transaction that was begun before
        pass
    assert published.take() == ["savepoint inner set", "savepoint inner released"]


def test_async_transactions(postgresql_database: servers.PostgreSql, published: Published) -> None:
    async def body(connection: Any, published: Published) -> None:
        async with connection.transaction(), connection.transaction("mine"):
            pass
        assert published.take() == ["savepoint mine set", "savepoint mine released", "committed"]
        async with connection.transaction():
            raise psycopg.Rollback
        await connection.execute("SELECT 1")
        await connection.commit()
        await connection.rollback()
        await connection.close()
        assert published.take("begin", "end") == ["rolled back", "committed", "rolled back", "closed"]

    asynchronous(postgresql_database, body)


def test_two_phases(connection: psycopg.Connection[Any], published: Published) -> None:
    for end, outcome in ((connection.tpc_commit, "committed"), (connection.tpc_rollback, "rolled back")):
        for prepared in (True, False):
            connection.tpc_begin(outcome)
            connection.execute("DELETE FROM t WHERE a = 9")
            if prepared:
                connection.tpc_prepare()
            assert published.take() == ["begin DELETE FROM t WHERE a = 9", "end rows=0, in transaction"]
            end()
            assert published.take() == [outcome]
    connection.tpc_begin("twice")
    connection.execute("CREATE TEMPORARY TABLE x (a int)")  # such a transaction can't be prepared
    published.take()
    with pytest.raises(psycopg.Error):
        connection.tpc_prepare()
    assert published.take() == ["rolled back"]
    connection.close()


# ---- pipelines ------------------------------------------------------------------------------------------------------

pipelines = pytest.mark.skipif(not psycopg.Pipeline.is_supported(), reason="libpq is older than 14: no pipelines")


@pipelines
@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("prepare", [None, True])
def test_error_in_a_pipeline_is_that_of_its_statement_whoever_receives_it(
    connection: psycopg.Connection[Any], published: Published, prepare: bool | None, early: bool
) -> None:
    cursor = connection.cursor()
    with pytest.raises(psycopg.errors.DivisionByZero), connection.pipeline() as pipeline:  # noqa: PT012
        cursor.execute("SELECT 1", prepare=prepare)
        cursor.execute("SELECT 1 / 0", prepare=prepare)
        if early:
            select.select([connection], [], [])  # the next execute() raises the error of this one
        cursor.execute("SELECT 2", prepare=prepare)
        pipeline.sync()
    failed = ["failed SELECT 1 / 0: DivisionByZero", "failed SELECT 2: PipelineAborted"]
    log = published.take()
    assert [line for line in log if "begin" in line] == ["begin SELECT 1", "begin SELECT 1 / 0", "begin SELECT 2"]
    assert log.count("end fetchable, in transaction") == 3
    assert [line for line in log if "failed" in line] == failed
    assert "committed" not in log
    connection.rollback()
    assert published.take() == ["rolled back"]


@pipelines
def test_rows_and_many_in_a_pipeline(connection: psycopg.Connection[Any], published: Published) -> None:
    with connection.pipeline():
        one = connection.execute(SELECT)
        many = connection.cursor()
        many.executemany("INSERT INTO t VALUES (%s) RETURNING a", [(4,), (5,)], returning=True)
        bad = connection.execute("SELECT nothing")
        assert one.fetchall() == [(1,), (2,), (3,)]
        assert many.fetchone() == (4,)
        with pytest.raises(psycopg.errors.UndefinedColumn):
            bad.fetchone()
    log = published.take("begin", "end")
    assert log == ["fetched 3, the last", "fetched 1", "failed SELECT nothing: UndefinedColumn"]
    assert not any(driver._queued.values())


@pipelines
def test_synchronising_a_pipeline_ends_its_implicit_transaction(
    connection: psycopg.Connection[Any], published: Published
) -> None:
    connection.autocommit = True
    with connection.pipeline() as pipeline:
        connection.execute("INSERT INTO t VALUES (4)")
        pipeline.sync()
        assert published.take()[1:] == ["end fetchable, in transaction", "committed"]
        connection.execute("INSERT INTO t VALUES (5)")
    assert published.take()[1:] == ["end fetchable, in transaction", "committed"]
    with pytest.raises(psycopg.errors.UniqueViolation), connection.pipeline():  # noqa: PT012
        connection.execute("INSERT INTO t VALUES (6)")
        connection.execute("INSERT INTO t VALUES (1)")
    assert published.take()[-2:] == ["failed INSERT INTO t VALUES (1): UniqueViolation", "rolled back"]
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (5,)
    published.take()
    with connection.pipeline(), connection.transaction():
        connection.execute("INSERT INTO t VALUES (7)")
    assert set(published.take("begin", "end")) == {"committed"}
    with connection.pipeline(), connection.transaction(force_rollback=True):
        connection.execute("INSERT INTO t VALUES (8)")
    assert published.take("begin", "end")[0] == "rolled back"


@pipelines
def test_async_pipeline(postgresql_database: servers.PostgreSql, published: Published) -> None:
    async def body(connection: Any, published: Published) -> None:
        with pytest.raises(psycopg.errors.DivisionByZero):  # noqa: PT012
            async with connection.pipeline():
                await connection.execute("SELECT 1")
                await connection.execute("SELECT 1 / 0")
        assert published.take("begin", "end") == ["failed SELECT 1 / 0: DivisionByZero"]
        await connection.rollback()
        async with connection.pipeline() as pipeline:
            cursor = await connection.execute(SELECT)
            await pipeline.sync()
            assert await cursor.fetchall() == [(1,), (2,), (3,)]
        assert published.take()[-1] == "fetched 3, the last"

    asynchronous(postgresql_database, body)


# ---- what it is about -----------------------------------------------------------------------------------------------


def test_database_and_server_without_user_and_password(
    postgresql_database: servers.PostgreSql, published: Published
) -> None:
    at = postgresql_database
    for how, server in (
        (at.connect, f"127.0.0.1:{at.port}"),
        (at.connect_trusted, f"{at.socket}/.s.PGSQL.{at.port}"),
        ({**at.connect, "host": "", "hostaddr": "127.0.0.1"}, f"127.0.0.1:{at.port}"),
    ):
        published.databases.clear()
        with psycopg.connect(**how) as connection:
            connection.execute("SELECT 1")
        assert published.databases == {Database(at.database, server)}
    published.databases.clear()
    with pytest.raises(psycopg.OperationalError, match="closed"):
        psycopg.Cursor(connection).execute("SELECT 1")
    assert published.databases == {Database()}


def test_installed_version_is_one_that_is_supported() -> None:
    (needs,) = [each for each in importlib.metadata.requires("memwatch-sql-psycopg") or () if "extra" in each]
    assert needs.startswith("psycopg>=3.2;")
    assert tuple(map(int, psycopg.__version__.split(".")[:2])) >= (3, 2)


def test_other_implementation_of_psycopg() -> None:
    """These tests in a process of its own, where psycopg runs without its part in C."""
    if pq.__impl__ == "python":
        pytest.skip("psycopg has no part in C here")
    environment = {**os.environ, "PSYCOPG_IMPL": "python"}
    program = "import psycopg.pq as pq; assert pq.__impl__ == 'python'"
    if subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True).returncode:
        pytest.skip("there is no libpq for psycopg's implementation in Python")
    here = Path(__file__)
    some = [] if os.environ.get("MEMWATCH_SOAK") else ["-k", "once or counted or copied or two_phases or in_a_pipeline"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *some, str(here)]
    done = subprocess.run(command, env=environment, cwd=here.parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
    assert "passed" in done.stdout
