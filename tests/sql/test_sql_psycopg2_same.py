"""Risk: tracing changes what a program gets from psycopg2. Every check runs over an untraced and a traced connection.

psycopg2's own test suite (in its source distribution; not a part of ours, since it has to be downloaded) was run both
ways when this was written: 747 tests, plain and with a wait callback, of which one tells the difference, as it asks for
``type(cursor) is psycopg2.extensions.cursor``.
"""

from __future__ import annotations

import contextlib
import copy
import datetime as dt
import gc
import inspect
import io
import pickle
import traceback
import uuid
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import psycopg2.extensions as ext
import psycopg2.extras
import pytest
import servers
from memwatch_sql_psycopg2 import driver
from psycopg2 import sql

from memwatch_core.adapter.contexts import SqlContexts


@pytest.fixture(params=["untraced", "traced"])
def connection(
    request: pytest.FixtureRequest, tracer: SqlContexts, postgresql_database: servers.PostgreSql
) -> Iterator[Any]:
    """To a database with a table t (a, b) of two rows."""
    if request.param == "traced":
        driver.install(tracer)
    connection = psycopg2.connect(**postgresql_database.connect)
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (a int PRIMARY KEY, b text)")
        cursor.execute("INSERT INTO t VALUES (1, 'one'), (2, 'two')")
    yield connection
    connection.close()
    driver.uninstall()
    assert (tracer.troubles, driver.troubles) == (0, 0)


def test_pep_249_cursor(connection: Any) -> None:
    cursor = connection.cursor()
    assert cursor.connection is connection
    assert (cursor.description, cursor.rowcount, cursor.arraysize, cursor.name, cursor.query) == (
        None,
        -1,
        1,
        None,
        None,
    )
    assert cursor.execute("SELECT a, b FROM t ORDER BY a") is None
    assert [column.name for column in cursor.description] == ["a", "b"]
    assert (cursor.rowcount, cursor.rownumber, cursor.statusmessage) == (2, 0, "SELECT 2")
    assert (cursor.fetchone(), cursor.fetchmany(5), cursor.fetchmany(), cursor.fetchall()) == (
        (1, "one"), [(2, "two")], [], []
    )  # fmt: skip
    assert cursor.fetchone() is None
    cursor.scroll(-2)
    assert iter(cursor) is cursor
    assert [*cursor] == [(1, "one"), (2, "two")]
    assert cursor.executemany("INSERT INTO t VALUES (%s, '')", ((n,) for n in (3, 4))) is None
    assert (cursor.rowcount, cursor.mogrify("SELECT %s", ("x",))) == (2, b"SELECT 'x'")
    assert cursor.callproc("abs", [-5]) == [-5]
    assert cursor.fetchone() == (5,)
    assert cursor.query == b"SELECT * FROM abs( -5)"
    assert (cursor.setinputsizes([]), cursor.setoutputsize(1)) == (None, None)
    out = io.StringIO()
    cursor.copy_to(out, "t", sep="|", columns=["b", "a"])
    assert out.getvalue() == "one|1\ntwo|2\n|3\n|4\n"
    cursor.close()
    assert cursor.closed
    with pytest.raises(psycopg2.InterfaceError, match="cursor already closed"):
        cursor.execute("SELECT 1")


def test_errors_are_the_same_and_have_no_cause(connection: Any) -> None:
    connection.autocommit = True
    cursor = connection.cursor()
    failing: list[tuple[Callable[[], object], type[BaseException], str]] = [
        (lambda: cursor.execute("SELEC"), psycopg2.errors.SyntaxError, "syntax error"),
        (lambda: cursor.execute("INSERT INTO t VALUES (1)"), psycopg2.errors.UniqueViolation, "duplicate"),
        (lambda: cursor.execute("SELECT %s", ()), IndexError, "out of range"),
        (lambda: cursor.execute("SELECT %s", (object(),)), psycopg2.ProgrammingError, "can't adapt"),
        (lambda: cursor.execute(), TypeError, "query"),
        (lambda: cursor.execute(5), TypeError, "must be a string"),
        (lambda: cursor.execute("SELECT 1", nonsense=1), TypeError, "."),
        (lambda: cursor.callproc(), TypeError, "."),
        (lambda: cursor.copy_from(io.StringIO()), TypeError, "."),
        (lambda: cursor.copy_from(5, "t"), TypeError, "read"),
        (lambda: cursor.nextset(), psycopg2.NotSupportedError, "."),
        (lambda: connection.cursor("n", int), TypeError, "."),
        (lambda: connection.cursor(nonsense=1), TypeError, "."),
        (lambda: connection.set_isolation_level(17), ValueError, "between"),
        (lambda: connection.tpc_commit(), psycopg2.ProgrammingError, "two-phase"),
        (lambda: psycopg2.extras.execute_values(cursor, "INSERT INTO t", [(1,)]), ValueError, "placeholder"),
        (lambda: psycopg2.extras.execute_batch(cursor), TypeError, "argslist"),
    ]
    for call, kind, message in failing:
        with pytest.raises(kind, match=message) as raised:
            call()
        assert raised.type is kind
        assert raised.value.__context__ is raised.value.__cause__ is None
        frames = traceback.extract_tb(raised.value.__traceback__)
        assert frames[0].name == "test_errors_are_the_same_and_have_no_cause"
        assert not any(frame.name in ("shell", "before", "after") for frame in frames)


def test_types_names_and_attributes(connection: Any) -> None:
    cursor = connection.cursor()
    assert isinstance(connection, ext.connection)
    assert isinstance(cursor, ext.cursor)
    for thing, name in ((connection, "connection"), (cursor, "cursor")):
        assert (type(thing).__name__, type(thing).__module__) == (name, "psycopg2.extensions")
        assert repr(thing).startswith(f"<{name} object at 0x")
        assert not hasattr(thing, "__dict__")
        with pytest.raises(AttributeError):
            thing.mine = 1
        assert hash(thing) == object.__hash__(thing)
        for make in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="cannot pickle"):
                make(thing)
        assert type(thing).close.__doc__.startswith("close()")
    assert "password=xxx" in repr(connection)
    assert connection.OperationalError is psycopg2.OperationalError
    assert str(inspect.signature(psycopg2.extras.execute_batch)) == "(cur, sql, argslist, page_size=100)"
    assert str(inspect.signature(psycopg2.connect)).startswith("(dsn=None, connection_factory=None")
    for function in (psycopg2.connect, psycopg2.extras.execute_values):
        assert pickle.loads(pickle.dumps(function)) is copy.copy(function) is copy.deepcopy(function) is function
        assert function.__name__ in ("connect", "execute_values")


def test_subclassing_what_the_connection_is(connection: Any) -> None:
    class Mine(type(connection)):  # type: ignore[misc]
        pass

    mine = Mine(connection.dsn.replace("password=xxx", "") + f" password={connection.info.password}")
    with mine.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)
    mine.close()


def test_connections_and_cursors_are_freed(connection: Any) -> None:
    cursor = connection.cursor("named")
    cursor.execute("SELECT 1")
    other = psycopg2.connect(connection.dsn.replace("xxx", connection.info.password))
    other.cursor().execute("SELECT 1")
    gone = weakref.ref(cursor), weakref.ref(other)
    del cursor, other
    gc.collect()
    assert [ref() for ref in gone] == [None, None]


def test_c_code_that_checks_types(connection: Any) -> None:
    cursor = connection.cursor()
    psycopg2.extras.register_uuid(conn_or_curs=connection)
    psycopg2.extras.register_default_json(connection)
    psycopg2.extras.register_hstore(cursor, oid=1, array_oid=2)
    ext.register_type(ext.new_type((25,), "UPPER", lambda value, cursor: (value or "").upper()), cursor)
    ident = uuid.UUID(int=5)
    cursor.execute("SELECT %s, '[1]'::json, 'x'::text, '2026-01-02'::date", (ident,))
    assert cursor.fetchone() == (ident, [1], "X", dt.date(2026, 1, 2))
    cursor.execute("CREATE TYPE pair AS (a int, b int)")
    psycopg2.extras.register_composite("pair", cursor)
    cursor.execute("SELECT (1, 2)::pair")
    assert cursor.fetchone()[0].b == 2
    assert ext.quote_ident("a b", connection) == ext.quote_ident("a b", cursor) == '"a b"'
    assert sql.SQL("SELECT {}").format(sql.Literal("x")).as_string(connection) == "SELECT 'x'"
    assert ext.adapt("x").getquoted() == b"'x'"
    connection.string_types.clear()


def test_what_connections_can_do_besides(connection: Any) -> None:
    large = connection.lobject(0, "wb")
    large.write(b"abc")
    large.close()
    with contextlib.closing(connection.lobject(large.oid, "rb")) as again:
        assert again.read() == b"abc"
    connection.commit()
    cursor = connection.cursor()
    cursor.execute("LISTEN channel; NOTIFY channel, 'said'")
    connection.commit()
    connection.poll()
    assert [notify.payload for notify in connection.notifies] == ["said"]
    connection.set_session(isolation_level="SERIALIZABLE", readonly=True, autocommit=False)
    assert (connection.isolation_level, connection.readonly) == (ext.ISOLATION_LEVEL_SERIALIZABLE, True)
    cursor.execute("SHOW transaction_isolation")
    assert cursor.fetchone() == ("serializable",)
    connection.rollback()
    connection.isolation_level, connection.readonly = None, None
    connection.cancel()
    assert connection.status == ext.STATUS_READY
    connection.cursor_factory = psycopg2.extras.DictCursor
    assert connection.cursor_factory is psycopg2.extras.DictCursor
    with connection as same:
        assert same is connection
    assert not connection.closed


def test_rows_of_dictionaries_pickle(connection: Any) -> None:
    for factory in (psycopg2.extras.DictCursor, psycopg2.extras.RealDictCursor):
        cursor = connection.cursor(cursor_factory=factory)
        cursor.execute("SELECT a, b FROM t ORDER BY a")
        row = cursor.fetchone()
        again = pickle.loads(pickle.dumps(row))
        assert (type(again), again["b"]) == (type(row), "one")


def test_asynchronous_statement_whose_cursor_is_gone(postgresql_database: servers.PostgreSql, connection: Any) -> None:
    asynchronous = psycopg2.connect(**postgresql_database.connect, async_=1)
    psycopg2.extras.wait_select(asynchronous)
    asynchronous.cursor().execute("SELECT 1")
    gc.collect()
    with pytest.raises(psycopg2.InterfaceError, match="disappeared"):
        psycopg2.extras.wait_select(asynchronous)
    asynchronous.close()


WRONG: dict[str, Callable[[Any, Any], Any]] = {
    "cursor(nothing=)": lambda connection, cursor: connection.cursor(nothing=1),
    "cursor(no factory)": lambda connection, cursor: connection.cursor(cursor_factory=5),
    "cursor(twice)": lambda connection, cursor: connection.cursor("a", None, cursor_factory=None),
    "cursor of nothing": lambda connection, cursor: type(connection).cursor(),
    "cursor of an int": lambda connection, cursor: type(connection).cursor(5),
    "execute()": lambda connection, cursor: cursor.execute(),
    "fetchone(1 argument)": lambda connection, cursor: cursor.fetchone(1),
    "no such attribute": lambda connection, cursor: cursor.nothing,
    "a new attribute": lambda connection, cursor: setattr(cursor, "nothing", 1),
    "a new attribute of the class": lambda connection, cursor: setattr(type(cursor), "nothing", 1),
    "another class": lambda connection, cursor: setattr(cursor, "__class__", int),
    "its slots": lambda connection, cursor: type(cursor).__slots__,
}


def test_mistakes_of_the_program_are_told_as_untraced(
    tracer: SqlContexts, postgresql_database: servers.PostgreSql
) -> None:
    def told() -> dict[str, str]:
        found = {}
        with contextlib.closing(psycopg2.connect(**postgresql_database.connect)) as connection:
            for name, wrong in WRONG.items():
                try:
                    found[name] = repr(wrong(connection, connection.cursor()))
                except Exception as error:
                    found[name] = f"{type(error).__name__}: {error}"
        return found

    untraced = told()
    driver.install(tracer)
    traced = told()
    driver.uninstall()
    assert traced == untraced
