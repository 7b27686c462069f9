"""How the contract of SQL drivers uses the library: PEP 249 by default; every step can be overridden.

The tests are written once, for sync and async libraries: they await :func:`done`, which awaits whatever is awaitable. A
sync library runs without an event loop, as in a program.
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
"""The rows of the table under test, in its columns a (the primary key) and b."""
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
    """A public way to run a statement, other than a cursor's ``execute`` and ``executemany``."""

    name: str
    """Its name in the library's documentation: ``"Connection.execute"``."""
    run: Callable[[Any, str, Any], Any]
    """``run(connection, statement, parameters)``; for an async library, it may return an awaitable."""
    many: bool = False
    """``parameters`` are rows."""
    parameters: bool = True
    """Whether it takes parameters."""
    changes: bool = True
    """Whether it can run a statement without result rows, an INSERT for instance."""


async def done(result: Any) -> Any:
    """The result of a step, awaited if necessary."""
    return await result if inspect.isawaitable(result) else result


async def rows_of(rows: Any) -> AsyncIterator[Any]:
    """Iterates over an iterable, async or not."""
    if hasattr(rows, "__aiter__"):
        async for row in rows:
            yield row
    else:
        for row in rows:
            yield row


def driven(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Makes a test of a coroutine function; :meth:`Library.drive` runs it."""

    @functools.wraps(test)
    def run(self: Library, *args: Any, **kwargs: Any) -> None:
        self.drive(test(self, *args, **kwargs))

    return run


class Library(PluginContract):
    """The library as the tests use it. A subclass must override :meth:`connect`; the rest has defaults for PEP 249."""

    kind = "sql"

    mark: ClassVar[str] = "?"
    """Placeholder of a parameter in a statement: ``?``, ``%s``."""
    dialect: ClassVar[str] = ""
    """The dialect that the driver publishes."""
    ways: ClassVar[Sequence[Way]] = ()
    """Further public ways to run a statement: list every one that the library documents."""
    secrets: ClassVar[Sequence[str]] = ()
    """Further text that must never be recorded: the password of :meth:`connect`. May be a property."""

    where: Any = None
    """The value of the fixture ``database``."""
    table: str = ""
    """Name of this test's own table, filled with :data:`ROWS`."""

    # ---- to be overridden -------------------------------------------------------------------------------------------

    @pytest.fixture
    def database(self) -> Any:
        """Override if the database needs a fixture; the value becomes ``self.where``."""
        return None

    def connect(self) -> Any:
        """A new connection, always to the same database. Look up the library's ``connect`` at each call."""
        raise NotImplementedError(f"{type(self).__name__}.connect(): return a new connection to a database for tests")

    def run(self, connection: Any, statement: str, parameters: Any = None) -> Any:
        """Runs a statement; returns the object to fetch rows from."""
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
        """An iterator over the rows, async or not."""
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
        """Whether the published error is the one that the program got: the same object."""
        return published is caught

    # ---- of capabilities --------------------------------------------------------------------------------------------

    def autocommit(self, connection: Any) -> Any:
        """``autocommit``: switches a connection to autocommit."""
        connection.autocommit = True

    def transaction(self, connection: Any) -> Any:
        """``connection_context``: a context manager that commits, or rolls back on an error."""
        return connection

    def savepoint(self, connection: Any) -> Any:
        """``savepoints``: a context manager that releases a savepoint, or rolls back to it."""
        raise NotImplementedError(f"{type(self).__name__}.savepoint(): the library's own way to set savepoints")

    def run_named(self, connection: Any, statement: str) -> Any:
        """``named_cursors``: runs a statement with a server-side cursor."""
        cursor = connection.cursor(name="kit_cursor")
        cursor.execute(statement)
        return cursor

    def run_many_returning(self, connection: Any, statement: str, rows: Any) -> Any:
        """``executemany_returning``: runs a statement once for each row; each run has its own result."""
        cursor = connection.cursor()
        cursor.executemany(statement, rows, returning=True)
        return cursor

    def next_result(self, result: Any) -> Any:
        """``nextset``: moves on to the next result; a false value if there is none."""
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
        """``cancel``: makes the connection's running statement fail; called in another thread (or task)."""
        return connection.cancel()

    two_results: ClassVar[str] = "SELECT 1; SELECT 2"
    """``nextset``: a statement with two results."""

    @property
    def endless(self) -> str:
        """``cancel``: a statement that would run for a very long time."""
        return _ENDLESS[self.dialect]

    def connect_with(self, kind: type) -> Any:
        """``connection_classes``: a connection of a given subclass of the library's."""
        raise NotImplementedError(f"{type(self).__name__}.connect_with(): a new connection of the given class")

    def cursor_of(self, connection: Any, kind: type) -> Any:
        """``cursor_classes``: a cursor of a given subclass of the library's."""
        raise NotImplementedError(f"{type(self).__name__}.cursor_of(): a new cursor of the given class")

    # ---- what the tests use -----------------------------------------------------------------------------------------

    def drive(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine to its end. A sync library never suspends it."""
        try:
            coroutine.send(None)
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            coroutine.close()
        raise TypeError(f"{type(self).__name__}: a step has to be awaited; use AsyncSqlDriverContract for this library")

    def sql(self, text: str) -> str:
        """A statement for this test's table, with the library's placeholders."""
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
        """Installs the driver while the block runs. Fails if it published anything wrong."""
        tracer = tracer or RecordingTracer()
        self.record.install(tracer)
        try:
            yield tracer
        finally:
            self.record.uninstall()
        assert not tracer.wrong, "\n".join(dict.fromkeys(tracer.wrong))

    @asynccontextmanager
    async def open(self, tracer: RecordingTracer | None = None) -> AsyncIterator[tuple[RecordingTracer, Any]]:
        """Installs the driver and opens a connection. What that published is already forgotten."""
        with self.traced(tracer) as recording:
            connection = await done(self.connect())
            recording.clear()
            try:
                yield recording, connection
            finally:
                with suppress(Exception):  # the test may have closed it
                    await done(self.close(connection))

    def every_way(self) -> list[Way]:
        """All ways to run a statement, PEP 249's two first."""
        one = Way("run()", lambda connection, statement, parameters: self.run(connection, statement, parameters))
        many = Way("run_many()", lambda connection, statement, rows: self.run_many(connection, statement, rows), True)
        return [one, many, *self.ways]

    def troubles(self) -> int:
        """Number of errors that the driver kept from the program."""
        owner = getattr(self.record.install, "__self__", None)
        count = getattr(owner, "troubles", None)
        assert isinstance(count, int), (
            "derive the driver from memwatch_plugins.sql.SqlDriverBase, or count the errors that it keeps from the "
            f"program and override {type(self).__name__}.troubles()"
        )
        return count
