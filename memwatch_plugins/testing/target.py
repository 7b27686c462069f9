"""How the contract of SQL drivers speaks to the library under it: PEP 249 by default, each step to be overridden.

The contract's tests are written once, for libraries that are called and for those that are awaited: they await
:func:`done`, which awaits what can be. A library that is called runs without an event loop, as it does in a program.
"""

from __future__ import annotations

import functools
import inspect
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import pytest

from .plugin import PluginContract
from .tracers import RecordingTracer

T = TypeVar("T")

ROWS = ((1, "one"), (2, "two"), (3, "three"))
"""What the table under test has, in its columns a (a primary key) and b."""
_PROCEDURES = {
    "postgresql": (
        "CREATE FUNCTION {table}_twice(n integer) RETURNS integer LANGUAGE sql AS 'SELECT 2 * n'",
        "DROP FUNCTION {table}_twice",
    ),
    "mysql": ("CREATE PROCEDURE {table}_twice(n integer) SELECT 2 * n", "DROP PROCEDURE {table}_twice"),
}
_ENDLESS = {
    "sqlite": "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(600)",
    "mysql": "SELECT count(*) FROM information_schema.schemata WHERE sleep(600)",
}


@dataclass(frozen=True)
class Way:
    """A public way to run a statement, besides a cursor's ``execute`` and ``executemany``."""

    name: str
    """As the library's documentation calls it: ``"Connection.execute"``."""
    run: Callable[[Any, str, Any], Any]
    """``run(connection, statement, parameters)``; of a library that is awaited, it may return an awaitable."""
    many: bool = False
    """``parameters`` are rows."""
    parameters: bool = True
    """It takes any."""
    changes: bool = True
    """It can run a statement that gives no rows, an INSERT for instance."""


async def done(result: Any) -> Any:
    """The result of a step, awaited if it must be."""
    return await result if inspect.isawaitable(result) else result


async def rows_of(rows: Any) -> AsyncIterator[Any]:
    """Iterates over what can be iterated over, either way."""
    if hasattr(rows, "__aiter__"):
        async for row in rows:
            yield row
    else:
        for row in rows:
            yield row


def driven(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Makes a test of a coroutine function; :meth:`Library.drive` says how it is run."""

    @functools.wraps(test)
    def run(self: Library, *args: Any, **kwargs: Any) -> None:
        self.drive(test(self, *args, **kwargs))

    return run


class Library(PluginContract):
    """The seam. A subclass must say how to :meth:`connect`; the rest has defaults for PEP 249."""

    kind = "sql"

    mark: ClassVar[str] = "?"
    """Where a parameter stands in a statement: ``?``, ``%s``."""
    dialect: ClassVar[str] = ""
    """Which one the driver publishes."""
    ways: ClassVar[Sequence[Way]] = ()
    """More public ways to run a statement. Every one that the library documents belongs here."""
    secrets: ClassVar[Sequence[str]] = ()
    """What must never be kept and isn't known from the tests: the password of :meth:`connect`. May be a property."""

    where: Any = None
    """What the fixture ``database`` gave."""
    table: str = ""
    """Name of a table of this test's own, with :data:`ROWS`."""

    # ---- to be overridden -------------------------------------------------------------------------------------------

    @pytest.fixture
    def database(self) -> Any:
        """Where a test's tables are, if a fixture is needed for that; it becomes ``self.where``."""
        return None

    def connect(self) -> Any:
        """A new connection, always to the same database. Look up the library's ``connect`` when it is called."""
        raise NotImplementedError(f"{type(self).__name__}.connect(): return a new connection to a database for tests")

    def run(self, connection: Any, statement: str, parameters: Any = None) -> Any:
        """Runs a statement; returns what rows are fetched from."""
        cursor = connection.cursor()
        cursor.execute(statement, *(() if parameters is None else (parameters,)))
        return cursor

    def run_many(self, connection: Any, statement: str, rows: Any) -> Any:
        cursor = connection.cursor()
        cursor.executemany(statement, rows)
        return cursor

    def fetch_one(self, result: Any) -> Any:
        """The next row; None if there is none."""
        return result.fetchone()

    def fetch_some(self, result: Any, count: int) -> Any:
        return result.fetchmany(count)

    def fetch_all(self, result: Any) -> Any:
        return result.fetchall()

    def each(self, result: Any) -> Any:
        """An iterator over the rows, or an asynchronous one."""
        return iter(result)

    def close_result(self, result: Any) -> Any:
        return result.close()

    def commit(self, connection: Any) -> Any:
        return connection.commit()

    def rollback(self, connection: Any) -> Any:
        return connection.rollback()

    def close(self, connection: Any) -> Any:
        return connection.close()

    def same_error(self, published: Any, caught: BaseException) -> bool:
        """Whether the published error is what the program got: the very object."""
        return published is caught

    # ---- of capabilities --------------------------------------------------------------------------------------------

    def autocommit(self, connection: Any) -> Any:
        """``autocommit``: from now on each statement of the connection commits itself."""
        connection.autocommit = True

    def transaction(self, connection: Any) -> Any:
        """``connection_context``: what a ``with`` block takes that commits, or rolls back if it is left by an error."""
        return connection

    def savepoint(self, connection: Any) -> Any:
        """``savepoints``: what a ``with`` block takes that releases a savepoint, or goes back to it."""
        raise NotImplementedError(f"{type(self).__name__}.savepoint(): the library's own way to set savepoints")

    def run_named(self, connection: Any, statement: str) -> Any:
        """``named_cursors``: runs a statement with a cursor of the server's."""
        cursor = connection.cursor(name="kit_cursor")
        cursor.execute(statement)
        return cursor

    def run_many_returning(self, connection: Any, statement: str, rows: Any) -> Any:
        """``executemany_returning``: runs it once for each row; each has a result of its own."""
        cursor = connection.cursor()
        cursor.executemany(statement, rows, returning=True)
        return cursor

    def next_result(self, result: Any) -> Any:
        """``nextset``: goes on to the next result; a false value if there is none."""
        return result.nextset()

    def call(self, connection: Any, procedure: str, arguments: Sequence[Any]) -> Any:
        """``callproc``: calls a procedure."""
        cursor = connection.cursor()
        cursor.callproc(procedure, arguments)
        return cursor

    def copy(self, connection: Any, statement: str, rows: Sequence[Sequence[Any]]) -> Any:
        """``copy``: runs ``COPY ... FROM STDIN`` with these rows."""
        with connection.cursor().copy(statement) as copy:
            for row in rows:
                copy.write_row(row)

    def cancel(self, connection: Any) -> Any:
        """``cancel``: has the statement fail that the connection runs; called in another thread (or task)."""
        return connection.cancel()

    two_results: ClassVar[str] = "SELECT 1; SELECT 2"
    """``nextset``: a statement with two results."""

    @property
    def endless(self) -> str:
        """``cancel``: a statement that would run for a very long time."""
        return _ENDLESS[self.dialect]

    def connect_with(self, kind: type) -> Any:
        """``connection_classes``: a connection of a class of the program's own, derived from the library's."""
        raise NotImplementedError(f"{type(self).__name__}.connect_with(): a new connection of the given class")

    def cursor_of(self, connection: Any, kind: type) -> Any:
        """``cursor_classes``: a cursor of a class of the program's own, derived from the library's."""
        raise NotImplementedError(f"{type(self).__name__}.cursor_of(): a new cursor of the given class")

    # ---- what the tests use -----------------------------------------------------------------------------------------

    def drive(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine to its end. A library that is called never suspends it."""
        try:
            coroutine.send(None)
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            coroutine.close()
        raise TypeError(f"{type(self).__name__}: a step has to be awaited; use AsyncSqlDriverContract for this library")

    def sql(self, text: str) -> str:
        """A statement for the table of this test, with the library's marks of parameters."""
        return text.replace("?", self.mark).replace("{table}", self.table)

    async def run_sql(self, connection: Any, text: str, parameters: Any = None) -> Any:
        return await done(self.run(connection, self.sql(text), parameters))

    @pytest.fixture(autouse=True)
    def _a_table(self, _in_a_folder: None, database: Any) -> Iterator[None]:
        self.where = database
        self.table = f"kit_{secrets.token_hex(4)}"
        self.drive(self._make())
        yield
        self.record.uninstall()
        with suppress(Exception):  # a test that failed may have left a transaction open
            self.drive(self._drop())

    async def _make(self) -> None:
        connection = await done(self.connect())
        await self.run_sql(connection, "CREATE TABLE {table} (a INTEGER PRIMARY KEY, b VARCHAR(100))")
        await done(self.run_many(connection, self.sql("INSERT INTO {table} VALUES (?, ?)"), list(ROWS)))
        if "callproc" in self.capabilities:
            await self.run_sql(connection, _PROCEDURES[self.dialect][0])
        await done(self.commit(connection))
        await done(self.close(connection))

    async def _drop(self) -> None:
        connection = await done(self.connect())
        if "callproc" in self.capabilities:
            await self.run_sql(connection, _PROCEDURES[self.dialect][1])
        await self.run_sql(connection, "DROP TABLE {table}")
        await done(self.commit(connection))
        await done(self.close(connection))

    @contextmanager
    def traced(self, tracer: RecordingTracer | None = None) -> Iterator[RecordingTracer]:
        """The driver, installed; what it published wrongly is a failure."""
        tracer = tracer or RecordingTracer()
        self.record.install(tracer)
        try:
            yield tracer
        finally:
            self.record.uninstall()
        assert not tracer.wrong, "\n".join(dict.fromkeys(tracer.wrong))

    @asynccontextmanager
    async def open(self, tracer: RecordingTracer | None = None) -> AsyncIterator[tuple[RecordingTracer, Any]]:
        """The driver, installed, and a connection of which nothing was published yet."""
        with self.traced(tracer) as recording:
            connection = await done(self.connect())
            recording.clear()
            try:
                yield recording, connection
            finally:
                with suppress(Exception):  # the test may have closed it
                    await done(self.close(connection))

    def every_way(self) -> list[Way]:
        """Those of the library, the two of PEP 249 first."""
        one = Way("run()", lambda connection, statement, parameters: self.run(connection, statement, parameters))
        many = Way("run_many()", lambda connection, statement, rows: self.run_many(connection, statement, rows), True)
        return [one, many, *self.ways]

    def troubles(self) -> int:
        """How many errors of its own the driver has kept from the program."""
        owner = getattr(self.record.install, "__self__", None)
        count = getattr(owner, "troubles", None)
        assert isinstance(count, int), (
            "derive the driver from memwatch_plugins.sql.SqlDriverBase, or count the errors that it keeps from the "
            f"program and override {type(self).__name__}.troubles()"
        )
        return count
