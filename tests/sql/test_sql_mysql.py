"""Risk: what programs do with a library for MySQL is published wrongly, or not at all, or blamed for what became of
another statement. What the two libraries have in common; the rest is in files of their own."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
import servers
from mysql_support import CURSORS, Library, while_it_sleeps
from sql_support import Records, Session, outcomes

from memwatch_core import watch
from memwatch_core.adapter.contexts import SqlContexts
from memwatch_core.native.tracing import in_force

Connect = Callable[..., Any]
TIMES = 1000 if os.environ.get("MEMWATCH_SOAK") else 100


@pytest.fixture
def traced(connect: Connect) -> Any:
    return connect()


@pytest.fixture
def kind(mysql: Library, request: pytest.FixtureRequest) -> Any:
    """A class of cursors."""
    return mysql.loud if request.param == "loud" else getattr(mysql.module.cursors, request.param)


def each_kind(*more: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", [*CURSORS, *more], indirect=True)


# ---- ways to run, to fetch ------------------------------------------------------------------------------------------


@each_kind()
def test_context_of_each_way_to_run_a_statement(traced: Any, mysql: Library, records: Records, kind: type) -> None:
    cursor, many = traced.cursor(kind), "INSERT INTO t VALUES (%s, %s)"
    cursor.max_stmt_length = 100_000
    update = "UPDATE t SET b = %(b)s WHERE a = %(a)s"
    ways: list[tuple[Callable[[], Any], str, int | None]] = [
        (lambda: cursor.execute("SELECT 'x', %s", (1,)), "SELECT ?, %s", None),
        (lambda: cursor.execute(query=b"SELECT 2", args=None), "SELECT ?", None),
        (lambda: cursor.execute('UPDATE t SET b = "x" WHERE a < 3'), "UPDATE t SET b = ? WHERE a < ?", 2),
        (lambda: cursor.executemany(many, [(n, "y" * 900) for n in range(10, 200)]), many, 190),  # two statements
        (lambda: cursor.executemany(update, [{"a": 1, "b": "z"}, {"a": 2, "b": "z"}]), update, 2),  # two statements
        (lambda: cursor.executemany(query=many, args=[(7, "")]), many, 1),
        (lambda: (cursor.callproc("p", (2,)), cursor.fetchall()), "CALL p", 2),
    ]
    for number, (way, statement, changed) in enumerate(ways, 1):
        way()
        assert records.statement == statement
        assert len(records.contexts) == number
        current = records.current or {}
        cursor.fetchall()
        while cursor.nextset():
            cursor.fetchall()
        traced.commit()
        if statement != "CALL p":
            rows = 1 if changed is None else changed
            assert (current["driver"], current.get("rows")) == (mysql.name, rows), statement
    assert cursor.executemany(many, []) is None
    assert cursor.mogrify("SELECT %s", (1,)) == "SELECT 1"
    assert len(records.contexts) == len(ways)


@each_kind("loud")
def test_rows_are_counted(traced: Any, records: Records, kind: type) -> None:
    def rows(fetch: Callable[[Any], object]) -> int:
        with traced.cursor(kind) as cursor:
            cursor.execute("SELECT a, b FROM t")
            fetch(cursor)
            assert records.statement == "SELECT a, b FROM t"
        with traced.cursor() as cursor:
            cursor.execute("SELECT 0")
        return [each["rows"] for each in records.contexts.values() if "rows" in each][-1]  # type: ignore[no-any-return]

    assert rows(lambda cursor: cursor.fetchall()) == 3
    assert rows(lambda cursor: cursor.fetchmany(2)) == 2
    assert rows(lambda cursor: cursor.fetchone()) == 1
    assert rows(lambda cursor: [*cursor]) == 3
    assert rows(lambda cursor: next(iter(cursor))) == 1
    if hasattr(kind, "fetchall_unbuffered"):
        assert rows(lambda cursor: [*cursor.fetchall_unbuffered()]) == 3


@each_kind()
def test_closing_a_cursor_ends_its_statement_only_if_rows_are_left(traced: Any, records: Records, kind: type) -> None:
    for limit, fetched in ((1, 1), (3, 1), (3, 3)):
        with traced.cursor(kind) as cursor:
            cursor.execute("SELECT a FROM t LIMIT %s", (limit,))
            cursor.fetchmany(fetched)
        streamed = kind.__name__.startswith("SS")  # only a fetch that gives no row tells
        assert (records.statement is None) == (streamed or limit > fetched)
        with traced.cursor(kind) as cursor:
            cursor.execute("SELECT a FROM t")
            cursor.fetchall()
        assert records.statement == "SELECT a FROM t"


def test_nested_cursors_are_blamed_for_their_own_rows(
    connect: Connect, traced: Any, mysql: Library, records: Records
) -> None:
    seen = []
    cursors = mysql.module.cursors
    with traced.cursor(cursors.SSCursor) as outer, connect().cursor(cursors.SSDictCursor) as inner:
        outer.execute("SELECT a FROM t")  # a stream takes a connection
        for (a,) in outer:
            seen.append(records.statement)
            inner.execute("SELECT b FROM t WHERE a = %s", (a,))
            for _ in inner:
                seen.append(records.statement)
    with traced.cursor() as outer, traced.cursor(cursors.DictCursor) as inner:
        outer.execute("SELECT a FROM t")
        inner.execute("SELECT b FROM t")
        outer.scroll(1)
        assert outer.fetchone() == (2,)
        seen.append(records.statement)
    assert seen == ["SELECT a FROM t", "SELECT b FROM t WHERE a = %s"] * 3 + ["SELECT a FROM t"]


@each_kind()
def test_procedure_with_several_results(traced: Any, records: Records, kind: type) -> None:
    cursor = traced.cursor(kind)
    cursor.callproc("p", [2])
    assert len([*cursor]) == 2
    assert cursor.nextset()
    assert records.statement == "CALL p"
    assert cursor.fetchall()
    while cursor.nextset():
        assert records.statement == "CALL p"
    cursor.execute("SELECT 1")
    assert [(each["statement"], each.get("rows")) for each in records.contexts.values()] == [
        ("CALL p", 5), ("SELECT ?", None)
    ]  # fmt: skip


def test_procedure_that_fails_in_its_second_statement(traced: Any, mysql: Library, records: Records) -> None:
    cursor = traced.cursor()
    cursor.callproc("f")
    with pytest.raises(mysql.module.OperationalError):
        cursor.nextset()
    assert in_force() == 0
    assert outcomes(records) == ["failed: OperationalError"]


def test_several_statements_in_one_text(traced: Any, records: Records) -> None:
    cursor = traced.cursor()
    cursor.execute("UPDATE t SET b = 'x'; SELECT a FROM t; COMMIT")
    assert cursor.nextset()
    assert len(cursor.fetchall()) == 3
    assert records.statement == "UPDATE t SET b = ?; SELECT a FROM t; COMMIT"
    assert cursor.nextset()
    cursor.execute("SELECT 1")
    assert outcomes(records) == ["committed", "open"]
    traced.rollback()
    with traced.cursor() as cursor:
        cursor.execute("UPDATE t SET b = 'y'; ROLLBACK")
    assert outcomes(records)[2] == "rolled back"


# ---- transactions ---------------------------------------------------------------------------------------------------


def test_every_end_of_a_transaction(
    connect: Connect, traced: Any, mysql: Library, records: Records, mariadb_database: servers.MariaDb
) -> None:
    def run(*also: str) -> Any:
        with traced.cursor() as cursor:
            cursor.execute("UPDATE t SET b = concat(b, 'x')")
            for each in also:
                cursor.execute(each)
        return traced

    def block() -> None:
        with connect() as connection, connection.cursor() as cursor:
            cursor.execute("UPDATE t SET b = 'y'")

    known = mariadb_database.connect
    ways: list[tuple[Callable[[], Any], str, int]] = [
        (lambda: run().commit(), "committed", 1),
        (lambda: run().rollback(), "rolled back", 1),
        (lambda: run("COMMIT"), "committed", 2),
        (lambda: run("ROLLBACK"), "rolled back", 2),
        (lambda: run("CREATE TABLE u (a int)"), "committed", 1),  # commits what was before it
        (lambda: run().begin(), "committed", 1),
        (lambda: run().autocommit(True), "committed", 1),
        (lambda: (traced.begin(), run().rollback()), "rolled back", 1),
        (lambda: traced.autocommit(False), "", 0),
        *[(lambda: run().change_user(known["user"], known["password"], known["database"]), "rolled back", 1)]
        * hasattr(traced, "change_user"),
        (block, "rolled back", 1),
        (lambda: (traced.autocommit(False), run().close()), "rolled back", 1),
    ]
    for number, (way, outcome, statements) in enumerate(ways):
        start = len(records.contexts)
        way()
        assert outcomes(records)[start : start + statements] == [outcome] * statements, number
        assert records.statement in (None, "CREATE TABLE u (a int)")


def test_autocommit_and_transactions_by_text(traced: Any, records: Records) -> None:
    traced.autocommit(True)
    cursor, update = traced.cursor(), "UPDATE t SET b = b"
    for text in (update, "BEGIN", update, "COMMIT", "BEGIN", update, "ROLLBACK"):
        cursor.execute(text)
        assert (in_force() == 0) == (text in ("COMMIT", "ROLLBACK"))
    cursor.execute("BEGIN")
    traced.autocommit(True)  # is on: ends nothing
    assert records.statement == "BEGIN"
    traced.rollback()
    assert outcomes(records) == ["ended", *["committed"] * 3, *["rolled back"] * 3, "rolled back"]


def test_deadlock_victim_is_rolled_back_and_the_other_is_not(
    connect: Connect, mysql: Library, records: Records
) -> None:
    barrier, failed = threading.Barrier(2), []

    def work(mine: int, other: int) -> None:
        connection = connect()
        cursor = connection.cursor()
        cursor.execute("UPDATE t SET b = 'x' WHERE a = %s", (mine,))
        barrier.wait()
        try:
            cursor.execute("UPDATE t SET b = 'y' WHERE a = %s", (other,))
        except mysql.module.OperationalError:
            assert in_force() == 0
            failed.append(threading.current_thread().name)
            cursor.execute("SELECT b FROM t")  # of another transaction
        connection.commit()

    threads = [threading.Thread(target=work, args=pair) for pair in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {
        each.name: [c["outcome"] for c in records.contexts.values() if c["thread"] == each.name] for each in threads
    }
    (victim,) = failed
    assert found.pop(victim) == ["rolled back", "failed: OperationalError", "committed"]
    assert list(found.values()) == [["committed", "committed"]]


@pytest.mark.parametrize("how", ["KILL QUERY", "max_statement_time", "lock wait timeout"])
def test_statement_that_is_cut_short_ends_alone(
    connect: Connect, mysql: Library, records: Records, mariadb_database: servers.MariaDb, how: str
) -> None:
    connection, other, thread = connect(), connect(), None
    cursor = connection.cursor()
    cursor.execute("UPDATE t SET b = 'x' WHERE a = 1")
    statement = "SELECT SLEEP(20)"
    if how == "KILL QUERY":
        thread = while_it_sleeps(mariadb_database, connection, f"KILL QUERY {connection.thread_id()}")
    elif how == "max_statement_time":
        cursor.execute("SET max_statement_time = 0.05")
    else:
        cursor.execute("SET innodb_lock_wait_timeout = 1")
        other.cursor().execute("UPDATE t SET b = 'y' WHERE a = 2")
        statement = "UPDATE t SET b = 'z' WHERE a = 2"
    with pytest.raises(mysql.module.OperationalError) as raised:
        cursor.execute(statement)
    assert raised.value.args[0] in (1317, 1969, 1205)
    if thread is not None:
        thread.join()
    assert in_force() == 0
    connection.commit()
    mine = [each["outcome"] for each in records.contexts.values() if each["connection"] == 1]
    assert (mine[0], mine[-1]) == ("committed", "failed: OperationalError")
    other.rollback()
    cursor.execute("SELECT a, b FROM t WHERE a < 3")
    assert cursor.fetchall() == ((1, "x"), (2, "two"))


@pytest.mark.parametrize("when", ["in mid-statement", "between statements", "in mid-stream", "before close"])
def test_killed_connection(
    connect: Connect, mysql: Library, records: Records, mariadb_database: servers.MariaDb, when: str
) -> None:
    connection, lost = connect(), mysql.module.OperationalError
    cursor = connection.cursor(mysql.module.cursors.SSCursor)
    connection.cursor().execute("UPDATE t SET b = 9")
    kill = f"KILL CONNECTION {connection.thread_id()}"
    if when == "in mid-statement":
        thread = while_it_sleeps(mariadb_database, connection, kill)
        with pytest.raises(lost):
            connection.cursor().execute("SELECT SLEEP(20)")
        thread.join()
    elif when == "in mid-stream":
        cursor.execute("SELECT seq, repeat('x', 1000) FROM seq_1_to_1000000")
        cursor.fetchone()
        mariadb_database.administer(kill)
        with pytest.raises(lost):
            cursor.fetchall()
        if mysql.name == "pymysql":
            cursor._result.unbuffered_active, cursor.connection = False, None  # else its __del__ fails
    else:
        mariadb_database.administer(kill)
        if when == "before close":
            connection.close()
        else:
            with pytest.raises(lost):
                connection.cursor().execute("SELECT 1")
    assert in_force() == 0
    assert outcomes(records) == ["rolled back", *["failed: OperationalError"] * (when != "before close")]
    with contextlib.closing(connect()) as other, other.cursor() as after:
        after.execute("SELECT max(b) FROM t")
        assert after.fetchone() == ("two",)


def test_mistake_of_the_program_while_fetching_says_nothing_of_the_statement(
    traced: Any, mysql: Library, records: Records
) -> None:
    cursor = traced.cursor()
    cursor.execute("UPDATE t SET b = 1")
    with pytest.raises(mysql.module.ProgrammingError, match="execute"):
        traced.cursor().fetchone()
    assert records.statement == "UPDATE t SET b = ?"
    cursor.close()
    with pytest.raises(mysql.module.ProgrammingError, match="closed"):
        cursor.execute("SELECT 1")
    traced.close()
    with pytest.raises(mysql.module.Error):
        traced.cursor().execute("SELECT 1")
    assert in_force() == 0


# ---- connections ----------------------------------------------------------------------------------------------------


def test_classes_of_the_program_are_traced(
    connect: Connect, mysql: Library, records: Records, mariadb_database: servers.MariaDb
) -> None:
    class Connection(mysql.module.connections.Connection):  # type: ignore[misc, name-defined]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.cursor(mysql.module.cursors.Cursor).execute("SET @loud = 1")

        def commit(self) -> None:
            super().commit()

    connection = Connection(**mariadb_database.connect, cursorclass=mysql.loud)
    cursor = connection.cursor()
    assert type(cursor) is mysql.loud
    cursor.execute("update t set b = 'x'")
    assert cursor.loud == "UPDATE T SET B = 'X'"
    assert records.statement == "update t set b = ?"
    connection.commit()
    assert records.outcomes == [("SET @loud = ?", "ended"), ("update t set b = ?", "committed")]
    connection.close()


def test_low_level_queries_are_not_traced(traced: Any, mysql: Library, records: Records) -> None:
    traced.query("SELECT a FROM t")
    if mysql.name == "mysqlclient":
        assert len(traced.store_result().fetch_row(0)) == 3
    traced.ping()
    assert traced.show_warnings() == ()
    assert records.log == []


def test_nothing_is_left_patched(mysql: Library, tracer: SqlContexts, mariadb_database: servers.MariaDb) -> None:
    module, driver = mysql.module, mysql.driver
    places: list[Any] = [module, module.connections, module.cursors, getattr(module, "_mysql", module)]
    places += [value for place in places for value in vars(place).values() if isinstance(value, type)]
    before = [dict(vars(place)) for place in places]
    for _ in range(2):
        driver.install(tracer)
        driver.install(tracer)
        assert "commit" in vars(module.connections.Connection)
        mysql.connect(**mariadb_database.connect).close()
        driver.uninstall()
        for place, attributes in zip(places, before, strict=True):
            assert vars(place).keys() == attributes.keys()
            assert all(vars(place)[name] is value for name, value in attributes.items())


def test_connections_made_before_are_traced_from_then_on_and_later_no_more(
    mysql: Library, tracer: SqlContexts, records: Records, mariadb_database: servers.MariaDb
) -> None:
    connection = mysql.connect(**mariadb_database.connect)
    cursor = connection.cursor()
    mysql.driver.install(tracer)
    cursor.execute("SELECT 1 UNION SELECT 2")
    at = f"{mariadb_database.host}:{mariadb_database.port}"
    assert [(each["database"], each["server"]) for each in records.contexts.values()] == [
        (mariadb_database.database, at)
    ]
    mysql.driver.uninstall()
    tracer.close()
    count = len(records.log)
    assert cursor.fetchall() == ((1,), (2,))
    cursor.execute("SELECT 3")
    connection.close()
    assert len(records.log) == count


class Fails:
    """A tracer of which one method fails."""

    def __init__(self, tracer: SqlContexts, name: str) -> None:
        self._tracer, self._name, self.times = tracer, name, 0

    def __getattr__(self, name: str) -> Any:
        if name != self._name:
            return getattr(self._tracer, name)
        self.times += 1
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "name", ["statement_begins", "statement_ends", "rows_fetched", "cursor_closed", "transaction_ends"]
)
def test_failure_at_any_hook_point_never_reaches_the_program(
    connect: Connect, mysql: Library, tracer: SqlContexts, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    driver = mysql.driver
    driver._told.clear()
    driver.install(fails := Fails(tracer, name))  # type: ignore[arg-type]
    connection = connect()
    cursor = connection.cursor()
    assert cursor.executemany("INSERT INTO t VALUES (%s, 0)", [(4,), (5,)]) == 2
    connection.begin()
    assert cursor.execute("SELECT a FROM t") == 5
    assert (cursor.fetchone(), cursor.fetchmany(1), cursor.fetchall()) == ((1,), ((2,),), ((3,), (4,), (5,)))
    assert cursor.nextset() is None
    with pytest.raises(mysql.module.ProgrammingError):
        cursor.execute("SELEC 1")
    connection.commit()
    connection.autocommit(True)
    connection.rollback()
    cursor.close()
    connection.close()
    assert driver.troubles == fails.times > 0
    assert len(caplog.records) == 1
    driver.troubles = 0
    driver.install(tracer)


# ---- in a session ---------------------------------------------------------------------------------------------------


def test_threads_write_under_their_own_statements(
    session: Callable[..., Session], mysql: Library, mariadb_database: servers.MariaDb
) -> None:
    opened = session(mysql.driver)
    names = [f"thread_{n}" for n in range(8)]

    def work(name: str, kind: Any) -> None:
        value = watch(0, name=name, track_sql=True)
        view = memoryview(value)
        with (
            contextlib.closing(mysql.connect(**mariadb_database.connect)) as connection,
            connection.cursor(kind) as cursor,
        ):
            for n in range(TIMES):
                cursor.execute(f"SELECT %s AS {name}_{n % 7} UNION SELECT 's3cr3t'", (n,))
                cursor.fetchall()
                value += 1  # announced
                view[()] = n  # faults

    threads = [
        threading.Thread(target=work, args=(name, mysql.cursors[n % 4]), name=name) for n, name in enumerate(names)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = dict.fromkeys(names, 0)
    for event in opened.events():
        n = seen[event.variable] // 2
        seen[event.variable] += 1
        assert event.context is not None
        assert event.context.statement == f"SELECT %s AS {event.variable}_{n % 7} UNION SELECT ?"
        assert event.thread == event.context.thread == event.variable
    assert seen == dict.fromkeys(names, 2 * TIMES)
    assert mysql.driver.troubles == 0


def test_secrets_are_in_no_byte_of_a_session(
    session: Callable[..., Session], mysql: Library, mariadb_database: servers.MariaDb, caplog: pytest.LogCaptureFixture
) -> None:
    opened = session(mysql.driver)
    secret = "s3cr3tvalue"
    value = watch(0, name="value", track_sql=True)
    with contextlib.closing(mysql.connect(**mariadb_database.connect)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE u (a text)")
        cursor.execute("CREATE PROCEDURE p (a text) SELECT a")
        cursor.execute("INSERT INTO u VALUES (%s)", (secret,))
        cursor.execute(f"INSERT INTO u VALUES ('{secret}'), (\"{secret}\") # {secret}".encode())
        cursor.executemany("INSERT INTO u VALUES (%s)", [(secret,), (secret,)])
        cursor.callproc("p", [secret])
        while cursor.nextset():
            pass
        cursor.execute("SELECT a FROM u WHERE a = %(a)s", {"a": secret})
        assert len(cursor.fetchall()) == 5
        value += 1
        with pytest.raises(mysql.module.Error):
            cursor.execute(f"SELECT '{secret}' FROM nowhere")
    opened.leave()
    written = opened.bytes()
    assert b"SELECT a FROM u WHERE a = %(a)s" in written
    for each in (secret, mariadb_database.password):
        assert each.encode() not in written
        assert each not in caplog.text


def test_installed_version_is_one_that_is_supported(mysql: Library) -> None:
    extras = importlib.metadata.requires(f"memwatch-sql-{mysql.name}") or []
    (least,) = {match[1] for each in extras if (match := re.match(rf"{mysql.name}>=([\d.]+)", each))}
    installed = importlib.metadata.version(mysql.name).split(".")
    assert tuple(map(int, installed[:2])) >= tuple(int(part) for part in least.split("."))
    (entry,) = importlib.metadata.entry_points(group="memwatch.sql", name=mysql.name)
    assert entry.load() is mysql.driver
