"""The contract of drivers for async libraries: the same, and what only tasks can do."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, ClassVar, TypeVar

import pytest

from memwatch_core import unwatch, watch

from .published import SELECT
from .sessions import real_session
from .sql import SqlDriverContract
from .target import ROWS, done, driven, rows_of

T = TypeVar("T")


class AsyncSqlDriverContract(SqlDriverContract):
    """The suite of a driver with async connections and cursors.

    Each step may return an awaitable. The defaults fit PEP 249 with ``async``:

    .. code-block:: python

        class TestDbxAsync(AsyncSqlDriverContract):
            plugin, name, dialect, mark = memwatch_sql_dbx, "dbx", "postgresql", "%s"

            def connect(self):
                return dbx.AsyncConnection.connect("postgresql://localhost/test")
    """

    known: ClassVar[dict[str, str]] = SqlDriverContract.known | {
        "cancel": "a task that runs a statement can be cancelled, and the statement then fails",
    }

    def drive(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(coroutine)

    async def run(self, connection: Any, statement: str, parameters: Any = None) -> Any:
        cursor = await done(connection.cursor())
        await cursor.execute(statement, *(() if parameters is None else (parameters,)))
        return cursor

    async def run_many(self, connection: Any, statement: str, rows: Any) -> Any:
        cursor = await done(connection.cursor())
        await cursor.executemany(statement, rows)
        return cursor

    def each(self, result: Any) -> Any:
        return aiter(result)

    async def autocommit(self, connection: Any) -> None:
        await connection.set_autocommit(True)

    async def run_named(self, connection: Any, statement: str) -> Any:
        cursor = connection.cursor(name="kit_cursor")
        await cursor.execute(statement)
        return cursor

    async def run_many_returning(self, connection: Any, statement: str, rows: Any) -> Any:
        cursor = connection.cursor()
        await cursor.executemany(statement, rows, returning=True)
        return cursor

    async def copy(self, connection: Any, statement: str, rows: Any) -> None:
        async with connection.cursor().copy(statement) as copy:
            for row in rows:
                await copy.write_row(row)

    # ---- tasks ------------------------------------------------------------------------------------------------------

    @driven
    async def test_tasks_are_told_apart(self) -> None:
        ran: set[tuple[object, str]] = set()

        async def work(number: int) -> None:
            async with self._connection() as connection:
                for turn in range(5):
                    text = f"SELECT {number}, {turn}"
                    ran.add((asyncio.current_task(), text))
                    result = await done(self.run(connection, text))
                    await asyncio.sleep(0)
                    await done(self.fetch_all(result))

        with self.traced() as tracer:
            await asyncio.gather(*(work(number) for number in range(10)))
        ours = {(each.task, each.text) for each in tracer.statements}
        assert ours >= ran, "publish in the task that runs the statement, not in a thread or task of the library's"
        counted = [each.rows for each in tracer.statements if (each.task, each.text) in ran]
        assert counted == [1] * len(ran), "the rows of a task are published for another's statement"

    @driven
    async def test_write_of_a_task_is_blamed_on_its_statement(self) -> None:
        async def work(number: int) -> None:
            async with self._connection() as connection:
                async for row in rows_of(self.each(await done(self.run(connection, self.sql(self._of(number)))))):
                    await asyncio.sleep(0)
                    totals[number] += row[0]
                    await asyncio.sleep(0)

        with real_session(self.folder / "sessions", drivers=[self.record]) as session:
            totals = [watch(0, name=f"total_{number}") for number in range(10)]
            await asyncio.gather(*(work(number) for number in range(10)))
            for total in totals:
                unwatch(total)
            events = session.events()
        assert len(events) == 10 * len(ROWS)
        wrong = [
            (event.variable, event.context and event.context.statement)
            for event in events
            if event.context is None or event.context.statement != self.sql(self._of(int(event.variable[6:])))
        ]
        assert not wrong, f"writes of tasks were blamed on the statements of others: {wrong}"

    @driven
    async def test_cancelled_statement_ends(self) -> None:
        self.needs("cancel")
        async with self.open() as (tracer, connection):
            task = asyncio.ensure_future(self._endlessly(connection))
            while not tracer.statements:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            (published,) = tracer.statements
            assert published.ends, f"publish that a cancelled statement failed: {published}"
            assert isinstance(published.ends[-1].error, asyncio.CancelledError), (
                f"its error is CancelledError: {published}"
            )
            with suppress(Exception):
                await done(self.rollback(connection))

    # ---- pieces -----------------------------------------------------------------------------------------------------

    async def _endlessly(self, connection: Any) -> None:
        await done(self.fetch_all(await done(self.run(connection, self.endless))))

    def _of(self, number: int) -> str:
        return SELECT.replace("SELECT a", f"SELECT a AS task_{number}")

    @asynccontextmanager
    async def _connection(self) -> Any:
        connection = await done(self.connect())
        try:
            yield connection
        finally:
            await done(self.close(connection))
