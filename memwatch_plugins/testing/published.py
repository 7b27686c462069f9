"""The contract's first part: what the driver publishes of statements, rows, transactions and savepoints."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from .target import ROWS, Library, Way, done, driven, rows_of
from .tracers import Published, RecordingTracer

SELECT = "SELECT a, b FROM {table} ORDER BY a"
INSERT = "INSERT INTO {table} VALUES (?, ?)"
NO_TABLE = "SELECT a FROM {table}_that_is_not_there"


@asynccontextmanager
async def entered(manager: Any) -> AsyncIterator[Any]:
    """Enters a ``with`` block of the library's, async or not."""
    if hasattr(manager, "__aenter__"):
        async with manager as found:
            yield found
    else:
        with manager as found:
            yield found


class Publishes(Library):
    """Tests of what is published."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "way" in metafunc.fixturenames:
            kind = metafunc.function.__name__.split("_")[1]
            ways = [
                number
                for number, way in enumerate(self.every_way())
                if (kind != "query" or not way.many) and (kind != "change" or way.changes)
            ]
            metafunc.parametrize("way", ways, ids=[self.every_way()[number].name for number in ways])

    def only(self, tracer: RecordingTracer, text: str, what: str) -> Published:
        """The only statement that was published, begun once and ended once."""
        assert tracer.statements, f"{what} publishes nothing: trace it"
        assert len(tracer.statements) == 1, f"{what} must publish one statement, not {tracer.statements}"
        published = tracer.statements[0]
        assert published.text.strip() == text.strip(), f"{what} must publish {text!r}, not {published.text!r}"
        times = len(published.ends)
        assert times == 1 or (times and published.has_several_results), (
            f"{what} must publish once that the statement ended, not {published.ends}"
        )
        assert published.driver == self.name, f"publish driver={self.name!r}, not {published.driver!r}"
        assert published.dialect == self.dialect, (
            f"it publishes the dialect {published.dialect!r}, as which literals are then masked; "
            f"{type(self).__name__}.dialect is {self.dialect!r}"
        )
        return published

    def same_parameters(self, published: Any, given: Any) -> bool:
        """Whether the published parameters are those that the program gave."""
        return not published if not given else published is not None and list(published) == list(given)

    # ---- statements -------------------------------------------------------------------------------------------------

    @driven
    async def test_query_is_published_once(self, way: int) -> None:
        how = self.every_way()[way]
        text, parameters = ("SELECT a FROM {table} WHERE a < ?", (3,)) if how.parameters else (SELECT, None)
        async with self.open() as (tracer, connection):
            await done(how.run(connection, self.sql(text), parameters))
            published = self.only(tracer, self.sql(text), how.name)
        self._check_parameters(published, how, parameters)
        (end,) = published.ends
        assert end.error is None, f"{how.name} has succeeded, but {end.error!r} was published"
        assert not published.many, f"{how.name} runs a statement once: publish many=False"

    @driven
    async def test_change_is_published_once(self, way: int) -> None:
        how = self.every_way()[way]
        rows: Any = [(4, "four"), (5, "five")] if how.many else (4, "four")
        text = INSERT if how.parameters else "INSERT INTO {table} VALUES (4, 'four')"
        async with self.open() as (tracer, connection):
            await done(how.run(connection, self.sql(text), rows if how.parameters else None))
            published = self.only(tracer, self.sql(text), how.name)
            await done(self.rollback(connection))
        assert all(part.ends for part in published.parts), f"publish the end of each part: {published.parts}"
        self._check_parameters(published, how, rows if how.parameters else None)
        assert published.many == how.many, f"{how.name} takes {'rows' if how.many else 'no rows'}: publish many="
        (end,) = published.ends
        count = len(rows) if how.many else 1
        assert end.rows in (None, count), f"{how.name} changed {count} rows, and {end.rows} was published"

    @driven
    async def test_failure_is_published_once(self, way: int) -> None:
        how = self.every_way()[way]
        text = self.sql("INSERT INTO {table}_that_is_not_there VALUES (?, ?)" if how.many else NO_TABLE)
        async with self.open() as (tracer, connection):
            with pytest.raises(Exception) as caught:  # noqa: PT011  (each library has its own)
                await done(how.run(connection, text, [(1, "x")] if how.many else None))
            published = self.only(tracer, text, how.name)
            (end,) = published.ends
            assert self.same_error(end.error, caught.value), f"publish the error itself, not {end.error!r}"
            assert not end.fetchable, "a statement that failed has no rows: publish fetchable=False"
            await done(self.rollback(connection))

    @driven
    async def test_changed_rows_are_counted(self) -> None:
        async with self.open() as (tracer, connection):
            await self.run_sql(connection, "UPDATE {table} SET b = 'x' WHERE a < 3")
            await self.run_sql(connection, "DELETE FROM {table}")
            await self.run_sql(connection, "SELECT 1")
            ends = [published.ends[0] for published in tracer.statements]
            await done(self.rollback(connection))
        told = [end.rows for end in ends]
        assert told[:2] == [2, 3], f"publish in statement_ends() how many rows a statement changed: not {told[:2]}"
        assert told[2] is None, f"a query changes no rows: publish rows=None, not {told[2]}"
        assert ends[2].fetchable, "rows can be fetched from a query: publish fetchable=True"

    @driven
    async def test_open_transaction_is_known(self) -> None:
        async with self.open() as (tracer, connection):
            await self.run_sql(connection, INSERT, (4, "four"))
            (end,) = tracer.statements[0].ends
            await done(self.rollback(connection))
        assert end.in_transaction is not False, "a transaction is open: publish in_transaction=True, or None if unknown"

    @driven
    async def test_connections_are_told_apart(self) -> None:
        async with self.open() as (tracer, first):
            second = await done(self.connect())
            tracer.clear()
            for connection in (first, second, first):
                await done(self.fetch_all(await self.run_sql(connection, SELECT)))
            idents = [published.connection for published in tracer.statements]
            await done(self.close(second))
        assert idents[0] == idents[2], "publish for each statement of a connection the same object as connection="
        assert idents[0] != idents[1], "publish for each connection an object of its own as connection="

    @driven
    async def test_statement_that_the_cursor_ran_before_is_replaced(self) -> None:
        async with self.open() as (tracer, connection):
            result = await self.run_sql(connection, SELECT)
            if not hasattr(result, "execute"):
                pytest.skip("what rows are fetched from runs no second statement")
            await done(result.execute("SELECT 1"))
            first, second = tracer.statements
        assert second.previous is first, "hand the token of the statement before it to statement_begins(previous=)"

    # ---- rows -------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("how", ["fetch_one", "fetch_some", "fetch_all", "each"])
    @driven
    async def test_fetched_rows_are_counted(self, how: str) -> None:
        async with self.open() as (tracer, connection):
            rows = await self._fetch(await self.run_sql(connection, SELECT), how)
            published = self.only(tracer, self.sql(SELECT), "a query")
        assert [tuple(row) for row in rows] == list(ROWS), f"{how}() gives other rows while it is traced"
        assert published.rows == len(ROWS), (
            f"publish with rows_fetched() that {how}() handed out {len(ROWS)} rows: {published.fetches} was published"
        )
        assert published.exhausted, f"publish exhausted=True when {how}() finds no more rows: not {published.fetches}"

    @driven
    async def test_rows_are_published_as_they_are_fetched(self) -> None:
        async with self.open() as (tracer, connection):
            result = await self.run_sql(connection, SELECT)
            published = self.only(tracer, self.sql(SELECT), "a query")
            seen = [published.rows]
            for _ in ROWS:
                await done(self.fetch_one(result))
                seen.append(published.rows)
        assert seen == [0, 1, 2, 3], f"publish each row when the program gets it: after each fetch there were {seen}"

    @driven
    async def test_rows_are_those_of_their_cursor(self) -> None:
        async with self.open() as (tracer, connection):
            outer = await self.run_sql(connection, SELECT)
            for number, _ in ROWS:
                await done(self.fetch_one(outer))
                inner = await self.run_sql(connection, "SELECT b FROM {table} WHERE a = ?", (number,))
                await done(self.fetch_all(inner))
            first, *others = tracer.statements
        assert first.rows == len(ROWS), f"of the outer cursor {len(ROWS)} rows were fetched, not {first.fetches}"
        assert [each.rows for each in others] == [1] * len(ROWS), f"each inner query has one row, not {others}"

    @driven
    async def test_closed_cursor_is_published(self) -> None:
        async with self.open() as (tracer, connection):
            await done(self.close_result(await self.run_sql(connection, SELECT)))
            published = self.only(tracer, self.sql(SELECT), "a query")
        assert published.closed, "publish cursor_closed() with the token of the statement that the cursor ran last"
        assert not published.exhausted, f"no row was fetched, but {published.fetches} was published"
        assert not published.all_fetched, "no row was fetched: publish cursor_closed(token) without all_fetched"

    @pytest.mark.parametrize("how", ["fetch_one", "fetch_some", "fetch_all", "each"])
    @driven
    async def test_closed_cursor_without_rows_left_is_known(self, how: str) -> None:
        async with self.open() as (tracer, connection):
            result = await self.run_sql(connection, SELECT)
            await self._fetch(result, how)
            await done(self.close_result(result))
            published = self.only(tracer, self.sql(SELECT), "a query")
        assert published.exhausted, f"publish exhausted=True when {how}() finds no more rows: not {published.fetches}"
        assert published.closed, "publish cursor_closed() with the token of the statement that the cursor ran last"

    @pytest.mark.parametrize("where", ["a = 2", "a > 1"])
    @driven
    async def test_last_row_is_known_to_be_the_last(self, where: str) -> None:
        self.needs("row_counts")
        async with self.open() as (tracer, connection):
            result = await self.run_sql(connection, f"SELECT a FROM {{table}} WHERE {where}")
            await done(self.fetch_one(result))
            await done(self.close_result(result))
            (published,) = tracer.statements
        told, one = published.exhausted or published.all_fetched, where == "a = 2"
        assert told == one, f"{1 if one else 2} rows were there, 1 was fetched: publish all_fetched={one} in close()"

    # ---- transactions -----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("how", "outcome"), [("commit", "committed"), ("rollback", "rolled back"), ("close", "closed")]
    )
    @driven
    async def test_end_of_transaction_is_published(self, how: str, outcome: str) -> None:
        async with self.open() as (tracer, connection):
            await self.run_sql(connection, INSERT, (4, "four"))
            ident = tracer.statements[0].connection
            assert tracer.outcomes() == [], f"the transaction is open, but {tracer.outcomes()} was published"
            await done(getattr(self, how)(connection))
            told = tracer.outcomes(ident)
        assert told[:1] == [outcome], f"publish transaction_ends(connection, {outcome!r}) in {how}(): not {told}"

    @pytest.mark.parametrize("outcome", ["committed", "rolled back"])
    @driven
    async def test_with_block_publishes_the_end_of_its_transaction(self, outcome: str) -> None:
        self.needs("connection_context")
        async with self.open() as (tracer, connection):
            try:
                async with entered(self.transaction(connection)):
                    await self.run_sql(connection, INSERT, (4, "four"))
                    if outcome == "rolled back":
                        raise ZeroDivisionError
            except ZeroDivisionError:
                pass
            told = tracer.outcomes(tracer.statements[0].connection)
        assert told[:1] == [outcome], f"publish transaction_ends(connection, {outcome!r}) in a with block: not {told}"

    @pytest.mark.parametrize("text", ["COMMIT", "ROLLBACK"])
    @driven
    async def test_end_of_transaction_as_a_statement_is_published(self, text: str) -> None:
        async with self.open() as (tracer, connection):
            await self.run_sql(connection, INSERT, (4, "four"))
            await self.run_sql(connection, text)
            last = tracer.statements[-1]
            await self.run_sql(connection, "DELETE FROM {table} WHERE a = 4")
            await done(self.commit(connection))
        assert last.text == text, f"publish {text} like any statement: the last was {last}"
        assert last.ends[0].in_transaction is not True, f"after {text} no transaction is open, and True was published"

    @driven
    async def test_autocommit_is_known(self) -> None:
        self.needs("autocommit")
        async with self.open() as (tracer, connection):
            await done(self.autocommit(connection))
            tracer.clear()
            await self.run_sql(connection, "UPDATE {table} SET b = b")
            (end,) = tracer.statements[0].ends
        assert end.in_transaction is False, (
            f"in autocommit publish in_transaction=False when the statement ended, not {end.in_transaction}"
        )

    @driven
    async def test_savepoint_is_published(self) -> None:
        self.needs("savepoints")
        async with self.open() as (tracer, connection):
            await self.run_sql(connection, INSERT, (4, "four"))
            async with entered(self.savepoint(connection)):
                await self.run_sql(connection, INSERT, (5, "five"))
            try:
                async with entered(self.savepoint(connection)):
                    await self.run_sql(connection, INSERT, (6, "six"))
                    raise ZeroDivisionError
            except ZeroDivisionError:
                pass
            count = await done(self.fetch_one(await self.run_sql(connection, "SELECT count(*) FROM {table}")))
            told = [what for _, what in tracer.savepoints] + [_of_savepoint(each.text) for each in tracer.statements]
            await done(self.rollback(connection))
        assert tuple(count) == (5,), f"savepoints work otherwise while they are traced: {count} rows"
        for what, times in (("set", 2), ("released", 1), ("rolled back", 1)):
            assert told.count(what) >= times, (
                f"publish what becomes of savepoints, with savepoint() or as statements: {what!r} is told "
                f"{told.count(what)} times, and happened {times} times"
            )

    @driven
    async def test_two_phase_commit_is_published(self) -> None:
        self.needs("two_phase")
        async with self.open() as (tracer, connection):
            await done(connection.tpc_begin(connection.xid(1, self.table, "branch")))
            await self.run_sql(connection, "UPDATE {table} SET b = b")
            ident = tracer.statements[0].connection
            try:
                await done(connection.tpc_prepare())
            except Exception as error:
                pytest.skip(f"the server prepares no transactions: {error}")
            await done(connection.tpc_commit())
            told = tracer.outcomes(ident)
        assert told == ["committed"], f"publish transaction_ends(connection, 'committed') in tpc_commit(): not {told}"

    # ---- what only some libraries have ------------------------------------------------------------------------------

    @driven
    async def test_named_cursor_is_published(self) -> None:
        self.needs("named_cursors")
        async with self.open() as (tracer, connection):
            result = await done(self.run_named(connection, self.sql(SELECT)))
            rows = await self._fetch(result, "each")
            published = self.only(tracer, self.sql(SELECT), "a named cursor")
            await done(self.close_result(result))
        assert len(rows) == published.rows == len(ROWS), f"{len(rows)} rows were fetched, but {published} published"

    @driven
    async def test_results_of_executemany_are_counted(self) -> None:
        self.needs("executemany_returning")
        text = self.sql(f"{INSERT} RETURNING a")
        async with self.open() as (tracer, connection):
            result = await done(self.run_many_returning(connection, text, [(4, "four"), (5, "five")]))
            rows = list(await done(self.fetch_all(result)))
            while await done(self.next_result(result)):
                rows += await done(self.fetch_all(result))
            published = self.only(tracer, text, "executemany with results")
            await done(self.rollback(connection))
        assert published.many, "publish many=True for executemany"
        assert len(rows) == published.rows == 2, f"{len(rows)} rows were fetched, but {published} published"

    @driven
    async def test_rows_of_the_next_result_are_counted(self) -> None:
        self.needs("nextset")
        async with self.open() as (tracer, connection):
            result = await self.run_sql(connection, self.two_results)
            rows = list(await done(self.fetch_all(result)))
            assert await done(self.next_result(result)), f"{self.two_results!r} must have two results"
            rows += await done(self.fetch_all(result))
            published = self.only(tracer, self.two_results, "a statement with two results")
        assert len(rows) == published.rows, f"{len(rows)} rows were fetched, but {published} published"

    @driven
    async def test_procedure_is_published(self) -> None:
        self.needs("callproc")
        name = f"{self.table}_twice"
        async with self.open() as (tracer, connection):
            result = await done(self.call(connection, name, (21,)))
            row = await done(self.fetch_one(result))
            assert len(tracer.statements) == 1, f"callproc must publish one statement, not {tracer.statements}"
            (published,) = tracer.statements
            await done(self.close_result(result))
        assert tuple(row) == (42,), f"the procedure gives {row} while it is traced"
        assert name in published.text, f"publish the procedure's name as the statement, not {published.text!r}"
        assert published.rows == 1, f"1 row was fetched, but {published} published"

    @driven
    async def test_copy_is_published(self) -> None:
        self.needs("copy")
        text = self.sql("COPY {table} (a, b) FROM STDIN")
        async with self.open() as (tracer, connection):
            await done(self.copy(connection, text, [(4, "four"), (5, "five")]))
            published = self.only(tracer, text, "COPY")
            await done(self.rollback(connection))
        assert published.ends[0].rows in (None, 2), f"COPY read 2 rows, but {published} was published"

    # ---- pieces -----------------------------------------------------------------------------------------------------

    async def _fetch(self, result: Any, how: str) -> list[Any]:
        """All rows, fetched in one way until no more come."""
        if how == "fetch_all":
            return list(await done(self.fetch_all(result)))
        if how == "each":
            return [row async for row in rows_of(self.each(result))]
        rows: list[Any] = []
        while found := await done(self.fetch_one(result) if how == "fetch_one" else self.fetch_some(result, 2)):
            rows += [found] if how == "fetch_one" else found
        return rows

    def _check_parameters(self, published: Published, way: Way, given: Any) -> None:
        assert self.same_parameters(published.parameters, given), (
            f"{way.name} was given the parameters {given!r}, but {published.parameters!r} was published"
        )


def _of_savepoint(text: str) -> str:
    """A statement's effect on a savepoint, in the terms of ``SqlTracer.savepoint``."""
    words = text.upper().split()
    if words[:1] == ["SAVEPOINT"]:
        return "set"
    if words[:1] == ["RELEASE"]:
        return "released"
    return "rolled back" if words[:1] == ["ROLLBACK"] and "TO" in words else ""
