"""The contract's third part: tracing calls no code of the program, whatever the arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from memwatch_core import unwatch, watch

from .hostile import BASES, Calls
from .published import INSERT, NO_TABLE, SELECT
from .sessions import real_session
from .target import Library, done, driven
from .tracers import Published

_ONE = "SELECT a FROM {table} WHERE b = ?"
_KEYWORDS = ("query", "sql", "operation", "statement", "parameters", "params", "vars", "args", "nothing_of_this_name")


class Untouched(Library):
    """Tests with values that record each call of their methods."""

    @pytest.mark.parametrize("keep", ["hash", "full", "none"])
    @driven
    async def test_tracing_calls_no_method_of_the_program(self, keep: str) -> None:
        await self._called()  # the library's first use calls more
        untraced = await self._called()
        with real_session(self.folder / "sessions", drivers=[self.record], parameters=keep):
            total = watch(0, name="total")
            traced = await self._called()
            unwatch(total)
        for (way, got, calls), (_, before, expected) in zip(traced, untraced, strict=True):
            more = {name: count - expected[name] for name, count in calls.items() if count > expected[name]}
            assert not more, f"{way}: call no method of the program's: {more} times more than untraced"
            assert got == before, f"{way}: the program gets {got}, and untraced {before}"

    @driven
    async def test_tracing_reads_no_member_that_the_program_overrides(self) -> None:
        for capability in ("connection_classes", "cursor_classes"):
            self.needs(capability)
        calls, before = Calls(), await done(self.connect())
        cursor = await done(before.cursor())
        kinds = calls.subclass(type(before), before), calls.subclass(type(cursor), cursor)
        await done(before.close())
        await self._used(*kinds, calls)  # the library's first use calls more
        untraced = await self._used(*kinds, calls)
        with self.traced() as tracer:
            traced = await self._used(*kinds, calls)
            published = [_told(each) for each in tracer.statements]
            tracer.clear()
            await self._used(type(before), type(cursor), Calls())
            plain = [_told(each) for each in tracer.statements]
        more = {name: count - untraced[name] for name, count in traced.items() if count > untraced[name]}
        assert not more, f"read the library's own attributes, not the program's overrides; additional reads: {more}"
        assert self.troubles() == 0, "of a class of the program's, something of the library's couldn't be read"
        assert published == plain, f"of the program's classes {published} was published, and of plain ones {plain}"

    async def _used(self, connection_kind: Any, cursor_kind: Any, calls: Calls) -> Calls:
        """The calls of the program's classes while they are used a bit."""
        calls.clear()
        connection = await done(self.connect_with(connection_kind))
        try:
            cursor = await done(self.cursor_of(connection, cursor_kind))
            for text in (SELECT, "SELECT a FROM {table} WHERE a = 2"):
                await done(cursor.execute(self.sql(text)))
                await done(cursor.fetchone())
            await done(cursor.executemany(self.sql(INSERT), [(4, "four"), (5, "five")]))
            with pytest.raises(Exception):  # noqa: B017, PT011  (each library has its own)
                await done(cursor.execute(self.sql(NO_TABLE)))
            await done(connection.rollback())
            await done(cursor.execute("SELECT 1"))
            await done(cursor.fetchall())
            await done(cursor.close())
            await done(connection.commit())
        finally:
            await done(connection.close())
        return Calls(calls)

    async def _called(self) -> list[tuple[str, str, Calls]]:
        """The outcome and the calls for each way to pass a strange value to the library."""
        found = []
        connection = await done(self.connect())
        for base, arguments in BASES:
            calls = Calls()
            for name, run in self._strange(connection, calls.value(base, *arguments)):
                calls.clear()
                try:
                    got = repr(await done(self.fetch_all(await done(run()))))
                except BaseException as error:
                    got = type(error).__name__
                found.append((f"a subclass of {base.__name__} {name}", got, Calls(calls)))
                await self._calm(connection)
        await done(self.close(connection))
        return found

    async def _calm(self, connection: Any) -> None:
        """Rolls back: after a failure, the transaction may refuse further statements."""
        await done(self.rollback(connection))

    def _strange(self, connection: Any, value: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
        one, select = self.sql(_ONE), self.sql(SELECT)
        endless: list[Any] = [value]
        endless.append(endless)
        given = {
            "as a parameter": (value,), "in a list": [value], "by name": {"b": value},
            "in a list in a tuple": ([value],), "in a dict in a tuple": ({"k": value},),
            "in a list in itself": (endless,), "as all parameters": value,
        }  # fmt: skip
        for what, parameters in given.items():
            yield what, lambda parameters=parameters: self.run(connection, one, parameters)  # type: ignore[misc]
            yield f"{what}, of many", lambda parameters=parameters: self.run_many(connection, one, [parameters])  # type: ignore[misc]
        yield "as rows", lambda: self.run_many(connection, one, value)
        yield "as the statement", lambda: self.run(connection, value)
        yield "as the statement of many", lambda: self.run_many(connection, value, [(1,)])
        for way in self.ways:
            if not way.many:
                yield f"as the statement of {way.name}", lambda way=way: way.run(connection, value, None)  # type: ignore[misc]
                yield f"given to {way.name}", lambda way=way: way.run(connection, one, (value,))  # type: ignore[misc]
        for keyword in _KEYWORDS:
            yield f"as {keyword}=", lambda keyword=keyword: self._by_keyword(connection, (select,), {keyword: value})  # type: ignore[misc]
            yield f"as {keyword}= alone", lambda keyword=keyword: self._by_keyword(connection, (), {keyword: value})  # type: ignore[misc]

    async def _by_keyword(self, connection: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        cursor = await done(connection.cursor())
        await done(cursor.execute(*args, **keywords))
        return cursor


def _told(published: Published) -> tuple[Any, ...]:
    ends = [(end.rows, end.in_transaction) for end in published.ends]
    return published.text, ends, published.fetches, published.closed, published.all_fetched
