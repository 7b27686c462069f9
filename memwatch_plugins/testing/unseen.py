"""The contract's second part: the program notices nothing of the tracing, during and after it."""

from __future__ import annotations

import gc
import inspect
import logging
import pickle
import re
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

import pytest

from .namespaces import differences, snapshot
from .plugin import module_of
from .published import INSERT, NO_TABLE, SELECT, entered
from .target import ROWS, Library, done, driven, rows_of
from .tracers import METHODS, BrokenTracer

_OF_CURSORS = ("description", "rowcount", "arraysize", "lastrowid", "rownumber")
MINE = {"kit_method": lambda self: "mine", "__module__": __name__, "_memwatch": "mine"}
"""Members of a class of the program's."""
_ADDRESS = re.compile(r"0x[0-9a-f]+")


class Unseen(Library):
    """Tests of what the program could notice."""

    # ---- installed and undone ---------------------------------------------------------------------------------------

    @driven
    async def test_uninstall_leaves_nothing_patched(self) -> None:
        await self._scenario()  # the library's first use creates objects
        library = self.record.target.partition(".")[0]
        before = snapshot(library)
        for _ in range(2):
            with self.traced() as tracer:
                self.record.install(tracer)
                await self._scenario()
            changed = differences(before, snapshot(library))
            assert not changed, "put back in uninstall() the very objects that were there:\n" + "\n".join(changed)

    @driven
    async def test_installing_twice_publishes_once(self) -> None:
        async with self.open() as (tracer, connection):
            self.record.install(tracer)
            await self.run_sql(connection, SELECT)
            assert len(tracer.statements) == 1, f"make install() idempotent: {tracer.statements}"

    def test_uninstalling_what_is_not_installed_is_allowed(self) -> None:
        for _ in range(2):
            self.record.uninstall()

    @driven
    async def test_second_session_has_a_tracer_of_its_own(self) -> None:
        async with self.open() as (first, _):
            pass
        first.clear()
        async with self.open() as (second, connection):
            await self.run_sql(connection, SELECT)
            assert second.statements, "publish to the tracer of the last install()"
        assert not first.statements, "publish to the tracer of the last install() only"

    @driven
    async def test_connection_goes_on_when_tracing_ends(self) -> None:
        with self.traced() as tracer:
            connection = await done(self.connect())
            result = await self.run_sql(connection, SELECT)
            await done(self.fetch_one(result))
        tracer.clear()
        rows = [tuple(row) for row in await done(self.fetch_all(result))]
        assert rows == list(ROWS[1:]), f"a cursor from before uninstall() gives {rows}"
        await self.run_sql(connection, INSERT, (4, "four"))
        with pytest.raises(Exception):  # noqa: B017, PT011  (each library has its own)
            await self.run_sql(connection, NO_TABLE)
        await done(self.rollback(connection))
        await done(self.close(connection))
        published = (tracer.statements, tracer.transactions)
        assert published == ([], []), f"publish nothing after uninstall(): {published}"

    @driven
    async def test_connection_from_before_tracing_goes_on(self) -> None:
        connection = await done(self.connect())
        with self.traced():
            rows = [tuple(row) for row in await done(self.fetch_all(await self.run_sql(connection, SELECT)))]
            await done(self.close(connection))
        assert rows == list(ROWS), f"a connection from before install() gives {rows}"

    # ---- the same program, with tracing and without -----------------------------------------------------------------

    @driven
    async def test_program_gets_the_same_results(self) -> None:
        untraced = await self._scenario()
        with self.traced():
            traced = await self._scenario()
        assert traced == untraced, "a program gets other results while it is traced"

    @driven
    async def test_connections_and_cursors_look_the_same(self) -> None:
        untraced_kinds, untraced = await self._appearance()
        with self.traced():
            traced_kinds, traced = await self._appearance()
        for what, before in untraced.items():
            now = traced[what]
            differing = {
                key: (before.get(key), now.get(key)) for key in before | now if before.get(key) != now.get(key)
            }
            assert not differing, f"a {what} shows that it is traced; untraced and traced: {differing}"
        for kind, traced_kind in zip(untraced_kinds, traced_kinds, strict=True):
            assert issubclass(traced_kind, kind), (
                f"make a traced {kind.__name__} an instance of it: C code and isinstance() check types"
            )

    @driven
    async def test_error_reaches_the_program_unchanged(self) -> None:
        untraced = await self._failure()
        with self.traced():
            traced = await self._failure()
        assert type(traced) is type(untraced), f"the program gets a {type(traced)!r}, and untraced a {type(untraced)!r}"
        assert _first_line(traced) == _first_line(untraced)
        for name in ("__cause__", "__context__"):
            before, now = type(getattr(untraced, name)), type(getattr(traced, name))
            assert now is before, f"the error's {name} is a {now.__name__}, and untraced a {before.__name__}"
        frames = iter(_frames(traced))
        missing = [frame for frame in _frames(untraced) if frame not in frames]
        assert not missing, f"raise the same error again, bare: the traceback {_frames(traced)} has lost {missing}"

    @driven
    async def test_no_cursor_is_kept_alive(self) -> None:
        async with self.open() as (_, connection):
            result = await self.run_sql(connection, SELECT)
            await done(self.fetch_all(result))
            ref = _reference(result)
            del result
            gc.collect()
            assert ref() is None, f"keep no reference to a cursor: {gc.get_referrers(ref())}"

    @driven
    async def test_no_connection_is_kept_alive(self) -> None:
        with self.traced():
            connection = await done(self.connect())
            await done(self.fetch_all(await self.run_sql(connection, SELECT)))
            await done(self.close(connection))
            ref = _reference(connection)
            del connection
            gc.collect()
            assert ref() is None, f"keep no reference to a connection: {gc.get_referrers(ref())}"

    @driven
    async def test_iterator_of_rows_is_the_librarys_to_read(self) -> None:
        self.needs("iterators")
        async with self.open() as (tracer, connection):
            await done(self.run_many(connection, self.sql(INSERT), iter([(4, "four"), (5, "five")])))
            count = await done(self.fetch_one(await self.run_sql(connection, "SELECT count(*) FROM {table}")))
            await done(self.rollback(connection))
            assert tuple(count) == (5,), "leave iterators of parameters alone: they can be read once"

            def failing() -> Iterator[tuple[int, str]]:
                yield 4, "four"
                raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                await done(self.run_many(connection, self.sql(INSERT), failing()))
            (end,) = tracer.statements[-1].ends
            assert isinstance(end.error, KeyboardInterrupt), f"publish every error, not Exception alone: {end}"
            await done(self.rollback(connection))

    @driven
    async def test_connection_class_of_the_program_is_kept(self) -> None:
        self.needs("connection_classes")
        base = await self._class_of(lambda connection: connection)
        kind: Any = type("Mine", (base,), MINE)
        with self.traced() as tracer:
            connection = await done(self.connect_with(kind))
            try:
                tracer.clear()
                assert isinstance(connection, kind), f"a connection of the program's class: {type(connection).__mro__}"
                assert (type(connection).__name__, connection.kit_method()) == ("Mine", "mine")
                await done(self.fetch_all(await self.run_sql(connection, SELECT)))
                _check_attributes(connection)
            finally:
                await done(self.close(connection))
        assert tracer.texts() == [self.sql(SELECT)], f"trace connections of the program's classes: {tracer.statements}"

    @driven
    async def test_cursor_class_of_the_program_is_kept(self) -> None:
        self.needs("cursor_classes")
        base = await self._class_of(lambda connection: connection.cursor())
        kind: Any = type("Mine", (base,), MINE)
        async with self.open() as (tracer, connection):
            cursor = await done(self.cursor_of(connection, kind))
            assert isinstance(cursor, kind), f"a cursor of the program's class is a {type(cursor).__mro__}"
            assert (type(cursor).__name__, cursor.kit_method()) == ("Mine", "mine")
            await done(cursor.execute(self.sql(SELECT)))
            _check_attributes(cursor)
            rows = await done(cursor.fetchall())
            assert tracer.texts() == [self.sql(SELECT)], f"trace cursors of the program's classes: {tracer.statements}"
            assert tracer.statements[0].rows == len(rows) == len(ROWS)

    # ---- errors of tracing ------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("method", METHODS)
    @driven
    async def test_error_of_tracing_stays_out_of_the_program(self, method: str) -> None:
        untraced, tracer = await self._scenario(), BrokenTracer(method)
        with self._afresh():
            before = self.troubles()
            with self.traced(tracer):
                try:
                    traced = await self._scenario()
                except Exception as error:
                    text = "".join(traceback.format_exception(error))
                    pytest.fail(f"contain every error of tracing: one in {method}() reached the program\n{text}")
            counted = self.troubles() - before
        assert traced == untraced, f"an error of {method}() changes what the program gets"
        assert counted == tracer.raised, f"{method}() has failed {tracer.raised} times, but {counted} were counted"

    @driven
    async def test_errors_of_tracing_are_reported_once(self, caplog: pytest.LogCaptureFixture) -> None:
        if not self._can_be_afresh():
            pytest.skip("the plugin is no object of a module that could be imported afresh")
        tracer = BrokenTracer(*METHODS)
        with self._afresh(), caplog.at_level(logging.DEBUG), self.traced(tracer):
            await self._scenario()
        assert tracer.raised > 2, "the tracer was hardly called"
        told = [found.getMessage() for found in caplog.records if found.levelno >= logging.WARNING]
        assert len(told) == 1, f"report the first error of tracing, by logging, and only count the others: {told}"
        assert "planted" not in caplog.text, "leave the error's message out of the report: it may hold data"

    # ---- threads ----------------------------------------------------------------------------------------------------

    def test_threads_are_told_apart(self) -> None:
        ran: set[tuple[int, str]] = set()
        errors: list[BaseException] = []

        async def work(number: int) -> None:
            connection = await done(self.connect())
            try:
                for turn in range(20):
                    text = f"SELECT {number}, {turn}"
                    ran.add((threading.get_ident(), text))
                    await done(self.fetch_all(await done(self.run(connection, text))))
            finally:
                await done(self.close(connection))

        def run(number: int) -> None:
            try:
                self.drive(work(number))
            except BaseException as error:
                errors.append(error)

        with self.traced() as tracer:
            threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert not errors, f"a thread failed: {errors[0]!r}"
        ours = [published for published in tracer.statements if re.fullmatch(r"SELECT \d, \d+", published.text)]
        assert len(ours) == len(ran), f"publish each statement of each thread once: {len(ran)} ran"
        assert {(each.thread, each.text) for each in ours} == ran, "publish in the thread that runs the statement"
        assert all(each.rows == 1 for each in ours), "the rows of a thread are published for another's statement"
        for number in range(4):
            its = {each.connection for each in ours if each.text.startswith(f"SELECT {number},")}
            assert len(its) == 1, "publish for each statement of a connection the same object as connection="

    # ---- pieces -----------------------------------------------------------------------------------------------------

    async def _scenario(self) -> list[Any]:
        """A program that uses most of the library, and its results. Leaves the table unchanged."""
        connection = await done(self.connect())
        got: list[Any] = []
        result = await self.run_sql(connection, SELECT)
        got.append(tuple(await done(self.fetch_one(result))))
        got.append([tuple(row) for row in await done(self.fetch_some(result, 1))])
        got.append([tuple(row) for row in await done(self.fetch_all(result))])
        got.append([tuple(row) async for row in rows_of(self.each(await self.run_sql(connection, SELECT)))])
        await done(self.close_result(result))
        await done(self.run_many(connection, self.sql(INSERT), [(4, "four"), (5, "five")]))
        await done(self.commit(connection))
        got.append(getattr(await self.run_sql(connection, "DELETE FROM {table} WHERE a > ?", (3,)), "rowcount", None))
        await done(self.commit(connection))
        try:
            await self.run_sql(connection, NO_TABLE)
        except Exception as error:
            got.append((type(error), _first_line(error)))
        await done(self.rollback(connection))
        if "savepoints" in self.capabilities:
            await self.run_sql(connection, INSERT, (6, "six"))
            with suppress(ZeroDivisionError):
                async with entered(self.savepoint(connection)):
                    raise ZeroDivisionError
            await done(self.rollback(connection))
        got.append([tuple(row) for row in await done(self.fetch_all(await self.run_sql(connection, SELECT)))])
        await done(self.close(connection))
        return got

    async def _failure(self) -> BaseException:
        connection = await done(self.connect())
        try:
            await self.run_sql(connection, INSERT, (1, "a key that is there"))
        except Exception as error:
            return error
        finally:
            await done(self.rollback(connection))
            await done(self.close(connection))
        raise AssertionError("a second row with the same key was taken")

    async def _appearance(self) -> tuple[list[type], dict[str, dict[str, Any]]]:
        connection = await done(self.connect())
        result = await self.run_sql(connection, SELECT)
        facts = {"connection": _facts(connection), "cursor": _facts(result)}
        facts["cursor"] |= {name: _ADDRESS.sub("0x", repr(getattr(result, name, None))) for name in _OF_CURSORS}
        facts["cursor"]["its connection made it"] = getattr(result, "connection", None) is connection
        kinds = [type(connection), type(result)]
        await done(self.close(connection))
        return kinds, facts

    async def _class_of(self, what: Callable[[Any], Any]) -> type:
        connection = await done(self.connect())
        kind = type(await done(what(connection)))
        await done(self.close(connection))
        return kind

    def _can_be_afresh(self) -> bool:
        """Whether the plugin is a module, or an object in one."""
        module = sys.modules.get(module_of(self.plugin))
        return self.plugin is module or any(self.plugin is value for value in vars(module).values())

    @contextmanager
    def _afresh(self) -> Iterator[None]:
        """Replaces the plugin by an unused copy of its module, so that its counters and reports start at zero."""
        if not self._can_be_afresh():
            yield
            return
        name, ours = module_of(self.plugin), self.plugin
        attribute = next((key for key, value in vars(sys.modules[name]).items() if value is ours), "")
        kept = {found: module for found, module in sys.modules.items() if f"{found}.".startswith(f"{name}.")}
        try:
            for found in kept:
                del sys.modules[found]
            copy = import_module(name)
            self.plugin = getattr(copy, attribute) if attribute else copy  # type: ignore[misc]
            yield
        finally:
            self.plugin = ours  # type: ignore[misc]
            sys.modules.update(kept)


def _check_attributes(thing: Any) -> None:
    """Checks that the program's own attributes are unchanged."""
    assert thing._memwatch == "mine", f"an attribute of the program's class is {thing._memwatch!r} instead"
    thing._memwatch = ours = object()
    assert thing._memwatch is ours
    assert type(thing)._memwatch == "mine"


def _facts(thing: Any) -> dict[str, Any]:
    """What a program can see of an object, without what differs each time."""
    kind = type(thing)
    facts: dict[str, Any] = {
        "name": (kind.__module__, kind.__qualname__),
        "repr": _ADDRESS.sub("0x", repr(thing)),
        "truth": bool(thing),
        "attributes": sorted(vars(thing)) if hasattr(thing, "__dict__") else None,
        "hash": hash(thing) == object.__hash__(thing),
    }
    facts |= {call.__name__: _outcome(call, thing) for call in (pickle.dumps, weakref.ref)}
    facts["copy"] = _outcome(thing.__reduce_ex__, 4)  # copying starts with this; a copy would be left half done
    for name in sorted(dir(thing)):
        if not name.startswith("_"):
            member = inspect.getattr_static(kind, name, None)
            described = (
                (_signature(member), getattr(member, "__name__", ""), member.__doc__)
                if inspect.isroutine(member)
                else True
            )
            facts[f".{name}"] = described
    facts["a new attribute"] = _outcome(setattr, thing, "kit_attribute", 1)
    return facts


def _outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        call(*arguments)
    except Exception as error:
        return type(error)
    return "works"


def _signature(member: Any) -> str:
    try:
        return str(inspect.signature(member))
    except (TypeError, ValueError):
        return "(...)"


def _reference(thing: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(thing)
    except TypeError:
        pytest.skip(f"a {type(thing).__name__} allows no weak references")


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def _frames(error: BaseException) -> list[tuple[str, str]]:
    """(file, function) of each frame of a traceback, the program's first."""
    return [(frame.filename, frame.name) for frame in traceback.extract_tb(error.__traceback__)]
