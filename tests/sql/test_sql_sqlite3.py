"""Risk: what SQLite programs do is published wrongly, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import sqlite3.dbapi2
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from memwatch_sql_sqlite3 import driver
from sql_support import Records

from memwatch_core.adapter.contexts import SqlContexts
from memwatch_core.native.tracing import in_force


def since(records: Records, number: int) -> list[tuple[str, str]]:
    return records.outcomes[number:]


def test_context_of_each_way_to_run_a_statement(traced: sqlite3.Connection, records: Records) -> None:
    cursor = traced.cursor()
    ways: list[tuple[Callable[[], Any], str]] = [
        (lambda: cursor.execute("SELECT 'x'"), "SELECT ?"),
        (lambda: cursor.executemany("INSERT INTO t VALUES (?, 'x')", [(1,), (2,)]), "INSERT INTO t VALUES (?, ?)"),
        (lambda: cursor.executescript("SELECT 1; SELECT 2;"), "SELECT ?; SELECT ?;"),
        (lambda: traced.execute("SELECT a FROM t WHERE a = 1"), "SELECT a FROM t WHERE a = ?"),
        (lambda: traced.executemany("UPDATE t SET a = ?", iter([(1,)])), "UPDATE t SET a = ?"),
        (lambda: traced.executescript("-- nothing\nSELECT 3"), "SELECT ?"),
    ]
    for number, (way, statement) in enumerate(ways, len(records.contexts)):
        way()
        assert records.statement == statement
        assert len(records.contexts) == number + 1
        assert (records.current or {})["driver"] == "sqlite3"


def test_rows_are_counted(traced: sqlite3.Connection, records: Records) -> None:
    def rows(run: Callable[[sqlite3.Cursor], object]) -> int:
        cursor = traced.cursor()
        run(cursor)
        number = in_force()
        cursor.execute("SELECT 1")
        return records.contexts[number]["rows"]  # type: ignore[no-any-return]

    assert rows(lambda c: c.execute("SELECT * FROM t").fetchall()) == 3
    assert rows(lambda c: c.execute("SELECT * FROM t").fetchmany(2)) == 2
    assert rows(lambda c: c.execute("SELECT * FROM t").fetchone()) == 1
    assert rows(lambda c: [*c.execute("SELECT * FROM t")]) == 3
    assert rows(lambda c: next(c.execute("SELECT * FROM t"))) == 1
    assert rows(lambda c: c.execute("UPDATE t SET a = a WHERE a < 3")) == 2
    assert rows(lambda c: c.executemany("INSERT INTO t VALUES (?, ?)", [(7, "")] * 5)) == 5


def test_nested_cursors_are_blamed_for_their_own_rows(traced: sqlite3.Connection, records: Records) -> None:
    seen = []
    for (a,) in traced.execute("SELECT a FROM t"):
        seen.append(records.statement)
        for _ in traced.execute("SELECT b FROM t WHERE a = ?", (a,)):
            seen.append(records.statement)
    assert seen == ["SELECT a FROM t", "SELECT b FROM t WHERE a = ?"] * 3


def test_statement_ends_with_commit_rollback_and_close(traced: sqlite3.Connection, records: Records) -> None:
    start = len(records.contexts)
    traced.execute("INSERT INTO t VALUES (4, '')")
    traced.commit()
    assert in_force() == 0
    traced.execute("INSERT INTO t VALUES (5, '')")
    traced.rollback()
    assert in_force() == 0
    cursor = traced.execute("SELECT a FROM t")
    cursor.close()
    assert in_force() == 0
    traced.execute("INSERT INTO t VALUES (6, '')")
    traced.close()
    assert in_force() == 0
    assert [outcome for _, outcome in since(records, start)] == ["committed", "rolled back", "closed", "rolled back"]


def test_with_block_commits_or_rolls_back(traced: sqlite3.Connection, records: Records) -> None:
    start = len(records.contexts)
    with traced:
        traced.execute("INSERT INTO t VALUES (4, '')")
        traced.execute("INSERT INTO t VALUES (5, '')")
    with contextlib.suppress(ZeroDivisionError), traced:
        traced.execute("INSERT INTO t VALUES (6, '')")
        raise ZeroDivisionError
    assert [outcome for _, outcome in since(records, start)] == ["committed", "committed", "rolled back"]
    assert traced.execute("SELECT count(*) FROM t").fetchone() == (5,)


def test_autocommit_and_transactions_by_text(tracer: SqlContexts, records: Records) -> None:
    driver.install(tracer)
    try:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.execute("CREATE TABLE t (a UNIQUE)")
        connection.execute("INSERT INTO t VALUES (1)")
        for end in ("COMMIT", "ROLLBACK"):
            connection.execute("BEGIN")
            connection.execute("INSERT INTO t VALUES (2)")
            connection.execute(end)
            assert in_force() == 0
            connection.execute("DELETE FROM t WHERE a = 2")
        connection.execute("BEGIN")
        connection.execute("INSERT INTO t VALUES (3)")
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute("INSERT OR ROLLBACK INTO t VALUES (1)")
        assert in_force() == 0
        connection.close()
    finally:
        driver.uninstall()
    assert [outcome for _, outcome in records.outcomes] == [
        "ended", "ended", "committed", "committed", "committed", "ended", "rolled back", "rolled back", "rolled back",
        "ended", "rolled back", "rolled back", "failed: IntegrityError",
    ]  # fmt: skip


def test_script_commits_what_was_open(traced: sqlite3.Connection, records: Records) -> None:
    start = len(records.contexts)
    traced.execute("INSERT INTO t VALUES (4, '')")
    traced.executescript("SELECT 1")
    traced.rollback()
    assert since(records, start)[0][1] == "committed"
    assert traced.execute("SELECT count(*) FROM t").fetchone() == (4,)


def test_exception_in_a_statement_ends_it(traced: sqlite3.Connection, records: Records) -> None:
    traced.execute("SELECT 1")
    for statement, error in (("SELEC 1", sqlite3.OperationalError), ("SELECT ?", sqlite3.ProgrammingError)):
        with pytest.raises(error):
            traced.execute(statement)
        assert in_force() == 0
        assert records.outcomes[-1] == (statement.replace("1", "?"), f"failed: {error.__name__}")

    def fail() -> None:
        raise ZeroDivisionError

    traced.create_function("fail", 0, fail)
    with pytest.raises(sqlite3.OperationalError):
        traced.execute("SELECT fail()").fetchall()
    assert in_force() == 0


def test_statement_in_a_callback_belongs_to_the_statement_that_calls(
    traced: sqlite3.Connection, records: Records
) -> None:
    seen = []
    other = sqlite3.connect(":memory:")

    def function(a: int) -> int:
        seen.append(records.statement)
        other.execute("SELECT 2")
        seen.append(records.statement)
        return a

    traced.create_function("f", 1, function)
    cursor = traced.execute("SELECT f(a) FROM t LIMIT 1")
    assert records.statement == "SELECT f(a) FROM t LIMIT ?"
    assert seen[:2] == ["SELECT f(a) FROM t LIMIT ?", "SELECT ?"]
    cursor.close()
    other.close()


def test_threads_with_connections_of_their_own_never_mix(tracer: SqlContexts, records: Records, tmp_path: Path) -> None:
    driver.install(tracer)
    wrong: list[object] = []
    barrier = threading.Barrier(2)

    def work(name: str) -> None:
        connection = sqlite3.connect(tmp_path / f"{name}.db")
        connection.execute(f"CREATE TABLE {name} (a)")
        barrier.wait()
        for n in range(300):
            connection.execute(f"INSERT INTO {name} VALUES (?)", (n,))
            if records.statement != f"INSERT INTO {name} VALUES (?)":
                wrong.append(records.statement)
            for _ in connection.execute(f"SELECT a FROM {name} WHERE a = ?", (n,)):
                if records.statement != f"SELECT a FROM {name} WHERE a = ?":
                    wrong.append(records.statement)
        connection.close()

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        driver.uninstall()
    assert wrong == []
    assert {each["database"] for each in records.contexts.values()} == {"one.db", "two.db"}


def test_tasks_on_one_connection_never_mix(traced: sqlite3.Connection, records: Records) -> None:
    async def work(n: int) -> None:
        for _ in range(20):
            cursor = traced.execute(f"SELECT a AS task_{n} FROM t")
            await asyncio.sleep(0)
            for _ in cursor:
                assert records.statement == f"SELECT a AS task_{n} FROM t"
                await asyncio.sleep(0)
                assert records.statement == f"SELECT a AS task_{n} FROM t"

    async def main() -> None:
        await asyncio.gather(*(work(n) for n in range(10)))

    asyncio.run(main())


@pytest.mark.parametrize(
    ("named", "database"),
    [
        (":memory:", ":memory:"),
        ("", ""),
        ("{folder}/a.db", "a.db"),
        (b"{folder}/b.db", "b.db"),
        (Path("{folder}/c.db"), "c.db"),
        ("file:{folder}/d%20e.db?mode=rwc", "d e.db"),
        ("file::memory:?cache=shared", ":memory:"),
    ],
)
def test_database_is_named_without_its_folder(
    tracer: SqlContexts, records: Records, tmp_path: Path, named: Any, database: str
) -> None:
    driver.install(tracer)
    folder = str(tmp_path)
    name = Path(str(named).format(folder=folder)) if isinstance(named, Path) else named
    name = name.replace(b"{folder}", folder.encode()) if isinstance(name, bytes) else name
    name = name.format(folder=folder) if isinstance(name, str) else name
    try:
        with contextlib.closing(sqlite3.connect(name, uri=True)) as connection:
            connection.execute("SELECT 1")
    finally:
        driver.uninstall()
    assert [each["database"] for each in records.contexts.values()] == [database]


# ---- classes of the program's own -----------------------------------------------------------------------------------


class LoudCursor(sqlite3.Cursor):
    def execute(self, sql: str, *args: Any) -> Any:
        self.loud = sql.upper()  # a class with a dictionary
        return super().execute(sql, *args)


class OldCursor(sqlite3.Cursor):
    __slots__ = ("times",)

    def execute(self, sql: str, parameters: Any = ()) -> Any:
        return sqlite3.Cursor.execute(self, sql, parameters)


class LoudConnection(sqlite3.Connection):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute("PRAGMA foreign_keys = 1")

    def cursor(self, factory: Any = LoudCursor) -> Any:
        return super().cursor(factory)


@pytest.fixture
def installed(tracer: SqlContexts) -> Iterator[None]:
    driver.install(tracer)
    yield
    driver.uninstall()
    assert (tracer.troubles, driver.troubles) == (0, 0)


@pytest.mark.parametrize("factory", [LoudCursor, OldCursor, sqlite3.Cursor])
def test_cursor_classes_of_the_program_are_composed(records: Records, installed: None, factory: Any) -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        cursor = connection.cursor(factory)
        assert isinstance(cursor, factory)
        assert type(cursor).__name__ == factory.__name__
        assert repr(cursor).startswith(f"<{factory.__module__}.{factory.__qualname__} object")
        assert cursor.execute("SELECT 7") is cursor
        assert records.statement == "SELECT ?"
        assert cursor.fetchone() == (7,)
        assert len(records.contexts) == 1
        assert type(connection.cursor(factory)) is type(cursor)
        assert type(connection.cursor(type(cursor))) is type(cursor)


BY_POSITION = pytest.param(
    True, marks=pytest.mark.skipif(sys.version_info >= (3, 15), reason="3.15 takes keywords only")
)


@pytest.mark.parametrize("by_position", [False, BY_POSITION])
@pytest.mark.filterwarnings("ignore:Passing more than 1 positional argument:DeprecationWarning")
def test_connection_classes_of_the_program_are_composed(records: Records, installed: None, by_position: bool) -> None:
    positional = (5.0, 0, "DEFERRED", True, LoudConnection)
    connect: Any = sqlite3.connect
    made = connect(":memory:", *positional) if by_position else connect(":memory:", factory=LoudConnection)
    with contextlib.closing(made) as connection:
        assert isinstance(connection, LoudConnection)
        assert records.outcomes == [("PRAGMA foreign_keys = ?", "open")]
        cursor = connection.cursor()
        assert isinstance(cursor, LoudCursor)
        cursor.execute("select 1")
        assert cursor.loud == "SELECT 1"
        assert records.statement == "select ?"
        again = sqlite3.connect(":memory:", factory=type(connection))
        assert type(again) is type(connection)
        again.close()


def test_factory_function_is_left_alone_and_this_is_told(installed: None, caplog: pytest.LogCaptureFixture) -> None:
    driver._told.clear()
    connect: Any = sqlite3.connect
    for _ in range(2):
        connection = connect(":memory:", factory=lambda *args, **kwargs: sqlite3.Connection(*args))
        assert type(connection) is sqlite3.Connection
        connection.close()
    assert [record.getMessage() for record in caplog.records] == [
        "SQL driver sqlite3: connections made by a factory that is no class go untraced"
    ]


# ---- install, uninstall ---------------------------------------------------------------------------------------------


def test_nothing_is_left_patched(tracer: SqlContexts) -> None:
    modules = (sqlite3, sqlite3.dbapi2)
    before = [dict(vars(module)) for module in modules]
    classes = [dict(vars(each)) for each in (sqlite3.Connection, sqlite3.Cursor)]
    for _ in range(2):
        driver.install(tracer)
        driver.install(tracer)
        assert sqlite3.connect is sqlite3.dbapi2.connect is not before[0]["connect"]
        sqlite3.connect(":memory:").close()
        driver.uninstall()
        for module, attributes in zip(modules, before, strict=True):
            assert vars(module).keys() == attributes.keys()
            assert all(vars(module)[name] is value for name, value in attributes.items())
    assert [dict(vars(each)) for each in (sqlite3.Connection, sqlite3.Cursor)] == classes
    driver.uninstall()


def test_connections_made_meanwhile_go_on_untraced(tracer: SqlContexts, records: Records) -> None:
    driver.install(tracer)
    connection = sqlite3.connect(":memory:")
    cursor = connection.execute("SELECT 1 UNION SELECT 2")
    driver.uninstall()
    tracer.close()
    count = len(records.log)
    assert cursor.fetchall() == [(1,), (2,)]
    assert cursor.execute("SELECT 3").fetchone() == (3,)
    connection.execute("CREATE TABLE t (a)")
    with connection:
        connection.execute("INSERT INTO t VALUES (1)")
    connection.rollback()
    assert type(connection.cursor()) is sqlite3.Cursor
    connection.close()
    assert len(records.log) == count


def test_connections_made_before_are_untouched(tracer: SqlContexts, records: Records) -> None:
    connection = sqlite3.connect(":memory:")
    driver.install(tracer)
    connection.execute("SELECT 1").fetchall()
    driver.uninstall()
    connection.close()
    assert records.log == []


def test_second_session_traces_into_its_own_journal(make_tracer: Callable[..., SqlContexts]) -> None:
    one, other = Records(), Records()
    for kept in (one, other):
        tracer = SqlContexts(kept, b"k")
        driver.install(tracer)
        sqlite3.connect(":memory:").execute("SELECT 1").close()
        driver.uninstall()
        tracer.close()
    assert len(one.contexts) == len(other.contexts) == 1
    assert one.contexts.keys().isdisjoint(other.contexts)


@pytest.mark.parametrize("after", range(8))
def test_failure_at_any_point_never_reaches_the_program(
    traced: sqlite3.Connection, tracer: SqlContexts, records: Records, after: int
) -> None:
    steps: list[tuple[Callable[[], object], object]] = []
    cursor = traced.cursor()
    steps.append((lambda: cursor.execute("INSERT INTO t VALUES (9, 'x')").rowcount, 1))
    steps.append((lambda: cursor.execute("SELECT a FROM t").fetchone(), (1,)))
    steps.append((lambda: cursor.fetchmany(2), [(2,), (3,)]))
    steps.append((lambda: [*cursor], [(9,)]))
    steps.append((lambda: cursor.close(), None))
    steps.append((lambda: traced.commit(), None))
    steps.append((lambda: traced.execute("SELECT 1").fetchall(), [(1,)]))
    steps.append((lambda: traced.rollback(), None))
    for number, (step, result) in enumerate(steps):
        records.fail = OSError("disk full") if number >= after else None
        assert step() == result
    assert tracer.troubles > 0 or after == 7
    records.fail = None
    tracer.troubles = 0
