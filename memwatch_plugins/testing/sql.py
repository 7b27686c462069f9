"""The contract of SQL drivers: they publish everything, once, and the program doesn't notice."""

from __future__ import annotations

import logging
import threading
from typing import Any, ClassVar

import pytest

from memwatch_core import unwatch, watch

from .published import INSERT, NO_TABLE, SELECT, Publishes
from .sessions import real_session
from .target import ROWS, done, driven, rows_of
from .unseen import Unseen
from .untouched import Untouched

PLANTED = ("planted-literal-7c1e", "planted-parameter-93ab", "planted-row-5d02")
UPDATE = "UPDATE {table} SET b = b"


class SqlDriverContract(Publishes, Unseen, Untouched):
    """The suite of a SQL driver: declare how to connect, and what the library can do.

    .. code-block:: python

        class TestDbx(SqlDriverContract):
            plugin, name, dialect, mark = memwatch_sql_dbx, "dbx", "postgresql", "%s"
            capabilities = ("autocommit", "connection_context", "savepoints")
            ways = (Way("Connection.execute", lambda connection, sql, values: connection.execute(sql, values)),)

            def connect(self):
                return dbx.connect("postgresql://localhost/test")

    Where the library differs from PEP 249, override a step of :class:`~memwatch_plugins.testing.target.Library`:
    ``run``, ``fetch_one``, ``commit``, ``savepoint`` ... The tests create, fill and drop their own table in the
    database of ``connect``. For an async library there is :class:`AsyncSqlDriverContract`.
    """

    known: ClassVar[dict[str, str]] = {
        "autocommit": "a connection can be made to commit each statement: autocommit()",
        "callproc": "procedures are called by a method: call()",
        "cancel": "a running statement can be cancelled from another thread: cancel()",
        "connection_classes": "connections can be of a class of the program's own: connect_with()",
        "connection_context": "a with block commits or rolls back: transaction()",
        "copy": "COPY ... FROM STDIN: copy()",
        "cursor_classes": "cursors can be of a class of the program's own: cursor_of()",
        "executemany_returning": "executemany can give results: run_many_returning()",
        "iterators": "executemany takes any iterator of rows",
        "named_cursors": "there are cursors of the server's: run_named()",
        "nextset": "a statement can have several results: next_result(), two_results",
        "row_counts": "a cursor knows, when it is closed, whether rows are left, also where one was fetched of one",
        "savepoints": "the library has a way of its own to set savepoints: savepoint()",
        "two_phase": "transactions can be committed in two phases: tpc_begin() and so on",
    }

    # ---- in a real session ------------------------------------------------------------------------------------------

    @driven
    async def test_write_is_blamed_on_its_statement(self) -> None:
        inner = self.sql("SELECT b FROM {table} WHERE a = ?")
        with real_session(self.folder / "sessions", drivers=[self.record]) as session:
            connection = await done(self.connect())
            total = watch(0, name="total")
            async for row in rows_of(self.each(await self.run_sql(connection, SELECT))):
                total += row[0]
                await done(self.fetch_all(await done(self.run(connection, inner, (row[0],)))))
                total += 1
            await done(self.close(connection))
            unwatch(total)
            contexts = [event.context for event in session.events()]
        blamed = [context.statement if context else None for context in contexts]
        assert blamed == [self.sql(SELECT), inner] * len(ROWS), f"writes were blamed on {blamed}"
        assert {context.driver for context in contexts if context} == {self.name}

    @driven
    async def test_write_after_the_end_is_blamed_on_no_statement(self) -> None:
        with real_session(self.folder / "sessions", drivers=[self.record]) as session:
            connection = await done(self.connect())
            total = watch(0, name="total")
            for end in (self.commit, self.rollback):
                await self.run_sql(connection, UPDATE)
                total += 1
                await done(end(connection))
                total += 1
            with pytest.raises(Exception):  # noqa: B017, PT011  (each library has its own)
                await self.run_sql(connection, NO_TABLE)
            total += 1
            await done(self.rollback(connection))
            await done(self.close(connection))
            unwatch(total)
            events = session.events()
        update = self.sql(UPDATE)
        blamed = [event.context.statement if event.context else None for event in events]
        assert blamed == [update, None, update, None, None], (
            f"after commit, rollback and a failure no statement is in force: writes were blamed on {blamed}"
        )

    @driven
    async def test_no_secret_reaches_session_or_log(
        self, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        literal, parameter, row = PLANTED
        with caplog.at_level(logging.DEBUG), real_session(self.folder / "sessions", drivers=[self.record]) as session:
            connection = await done(self.connect())
            total = watch(0, name="total")
            await self.run_sql(connection, f"INSERT INTO {{table}} VALUES (4, '{literal}')")
            await self.run_sql(connection, INSERT, (5, parameter))
            await done(self.run_many(connection, self.sql(INSERT), [(6, row), (7, row)]))
            total += len(await done(self.fetch_all(await self.run_sql(connection, SELECT))))
            failing: tuple[tuple[str, Any], ...] = (
                (f"SELECT '{literal}' FROM {{table}}_that_is_not_there", None),
                (INSERT, (1, parameter)),
            )
            for text, given in failing:
                with pytest.raises(Exception):  # noqa: B017, PT011  (each library has its own)
                    await self.run_sql(connection, text, given)
                total += 1
                await done(self.rollback(connection))
            await done(self.close(connection))
            unwatch(total)
            kept = session.bytes()
        printed = "".join(capfd.readouterr())
        printed += "\n".join(found.getMessage() for found in caplog.records if found.name.startswith("memwatch"))
        assert self.table.encode() in kept, "no statement has reached the journal"
        for secret in (*PLANTED, *self.secrets):
            assert secret.encode() not in kept, f"{secret!r} is in a file of the session"
            assert secret not in printed, f"{secret!r} was logged or printed"

    # ---- cancelled --------------------------------------------------------------------------------------------------

    @driven
    async def test_cancelled_statement_ends(self) -> None:
        self.needs("cancel")
        async with self.open() as (tracer, connection):
            over = threading.Event()

            def cancel() -> None:
                while not over.wait(0.02):  # the statement may not have begun yet
                    self.cancel(connection)

            thread = threading.Thread(target=cancel)
            thread.start()
            try:
                with pytest.raises(Exception) as caught:  # noqa: PT011  (each library has its own)
                    await done(self.fetch_all(await done(self.run(connection, self.endless))))
            finally:
                over.set()
                thread.join()
            (published,) = tracer.statements
            error = published.ends[-1].error
            assert self.same_error(error, caught.value), f"publish that a cancelled statement failed: {published}"
            await done(self.rollback(connection))
