"""Risk: what psycopg2 programs do is published wrongly, or not at all."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import logging
import re
import select
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions
import psycopg2.extras
import psycopg2.pool
import pytest
import servers
from memwatch_sql_psycopg2 import driver
from psycopg2 import sql
from psycopg2.extras import wait_select
from sql_support import Records, outcomes

from memwatch_core.adapter.contexts import SqlContexts
from memwatch_core.native.tracing import in_force

Connect = Callable[..., Any]
FACTORIES = [
    psycopg2.extensions.cursor,
    psycopg2.extras.DictCursor,
    psycopg2.extras.RealDictCursor,
    psycopg2.extras.NamedTupleCursor,
]
CONNECTIONS = {
    None: psycopg2.extensions.cursor,
    psycopg2.extras.DictConnection: psycopg2.extras.DictCursor,
    psycopg2.extras.RealDictConnection: psycopg2.extras.RealDictCursor,
    psycopg2.extras.NamedTupleConnection: psycopg2.extras.NamedTupleCursor,
    psycopg2.extras.LoggingConnection: psycopg2.extras.LoggingCursor,
    psycopg2.extras.MinTimeLoggingConnection: psycopg2.extras.MinTimeLoggingCursor,
}


@pytest.fixture
def connect(tracer: SqlContexts, postgresql_database: servers.PostgreSql) -> Iterator[Connect]:
    """Connects to a database with a table t (a, b) of three rows; nothing of this is in the records."""
    made: list[Any] = []

    def connect(**options: Any) -> Any:
        made.append(psycopg2.connect(**(postgresql_database.connect | options)))
        return made[-1]

    with contextlib.closing(connect()) as first, first, first.cursor() as cursor:
        cursor.execute("CREATE TABLE t (a int PRIMARY KEY, b text)")
        cursor.execute("INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three')")
    driver.install(tracer)
    yield connect
    for connection in made:
        connection.close()
    driver.uninstall()
    assert (tracer.troubles, driver.troubles) == (0, 0)


@pytest.fixture
def traced(connect: Connect) -> Any:
    return connect()


@pytest.fixture
def cursor(traced: Any) -> Any:
    return traced.cursor()


# ---- ways to run, to fetch, to end ----------------------------------------------------------------------------------


def test_context_of_each_way_to_run_a_statement(cursor: Any, records: Records) -> None:
    x, rows = psycopg2.extras, [(n, "x") for n in range(10, 220)]
    composed = sql.SQL("SELECT {} FROM {} WHERE a = {} AND b = {}").format(
        sql.Identifier("a"), sql.Identifier("public", "t"), sql.Literal(5), sql.Placeholder()
    )
    values, batch = "INSERT INTO t VALUES %s", "UPDATE t SET b = %s WHERE a = %s"
    many = "INSERT INTO t VALUES (%s, %s)"
    expert = "COPY (SELECT 's3cr3t') TO STDOUT"
    ways: list[tuple[Callable[[], Any], str, int | None]] = [
        (lambda: cursor.execute("SELECT 'x', %s", (1,)), "SELECT ?, %s", None),
        (lambda: cursor.execute(query=b"SELECT 2", vars=None), "SELECT ?", None),
        (lambda: cursor.execute("UPDATE t SET b = 'x' WHERE a < 3"), "UPDATE t SET b = ? WHERE a < ?", 2),
        (lambda: cursor.executemany(many, [(4, ""), (5, "")]), many, 2),
        (lambda: cursor.executemany(query=many, vars_list=[(6, "")]), many, 1),
        (lambda: cursor.callproc("lower", ["X"]), "SELECT * FROM lower(%s)", None),
        (lambda: cursor.execute(sql.Composed([composed]), ("y",)), COMPOSED, None),
        (lambda: cursor.copy_from(io.StringIO("7\tx\n8\ty\n"), "t"), 'COPY "t" FROM STDIN', 2),
        (lambda: cursor.copy_from(io.StringIO("9\n"), "t", columns=("a",)), 'COPY "t" ("a") FROM STDIN', 1),
        (lambda: cursor.copy_to(io.StringIO(), "t"), 'COPY "t" TO STDOUT', 9),
        (lambda: cursor.copy_expert(expert, io.StringIO()), "COPY (SELECT ?) TO STDOUT", 1),
        (lambda: x.execute_values(cursor, values, rows), values, 210),
        (lambda: x.execute_values(cursor, sql.SQL(values), [(500, "")], fetch=False), values, 1),
        (lambda: x.execute_batch(cursor, batch, [("x", n) for n in range(250)]), batch, None),
        (lambda: x.execute_batch(cur=cursor, sql=batch, argslist=[("x", 1)]), batch, None),
    ]
    for number, (way, statement, changed) in enumerate(ways, 1):
        way()
        assert records.statement == statement
        assert len(records.contexts) == number
        current = records.current or {}
        cursor.connection.commit()
        assert (current["driver"], current.get("rows")) == ("psycopg2", changed), statement
    assert {outcome for _, outcome in records.outcomes} == {"committed"}


COMPOSED = 'SELECT "a" FROM "public"."t" WHERE a = ? AND b = %s'


def test_values_that_are_fetched_at_once(cursor: Any, records: Records) -> None:
    statement = "INSERT INTO t VALUES %s RETURNING a"
    rows = psycopg2.extras.execute_values(cursor, statement, [(n, "") for n in range(10, 260)], fetch=True)
    assert rows == [(n,) for n in range(10, 260)]
    assert records.statement == statement
    cursor.execute("SELECT 1")
    assert next(iter(records.contexts.values()))["rows"] == 250


@pytest.mark.parametrize("name", [None, "named"])
@pytest.mark.parametrize("factory", FACTORIES)
def test_rows_are_counted(traced: Any, records: Records, factory: type, name: str | None) -> None:
    def rows(fetch: Callable[[Any], object]) -> int:
        with traced.cursor(name, factory) as cursor:
            cursor.itersize = 2
            cursor.execute("SELECT a, b FROM t")
            assert isinstance(cursor, factory)
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


def test_nested_cursors_are_blamed_for_their_own_rows(traced: Any, records: Records) -> None:
    seen = []
    with traced.cursor("outer") as outer, traced.cursor() as inner:
        outer.itersize = 2
        outer.execute("SELECT a FROM t")
        for (a,) in outer:
            seen.append(records.statement)
            inner.execute("SELECT b FROM t WHERE a = %s", (a,))
            for _ in inner:
                seen.append(records.statement)
    assert seen == ["SELECT a FROM t", "SELECT b FROM t WHERE a = %s"] * 3


def test_named_cursor_that_is_held_gives_rows_after_the_commit(traced: Any, records: Records) -> None:
    cursor = traced.cursor("held", withhold=True, scrollable=True)
    cursor.execute("SELECT a FROM t")
    assert cursor.fetchone() == (1,)
    traced.commit()
    assert records.statement is None
    cursor.scroll(0, mode="absolute")
    assert cursor.fetchall() == [(1,), (2,), (3,)]
    assert records.statement == "SELECT a FROM t"
    cursor.close()
    assert records.statement == "SELECT a FROM t"


def test_every_end_of_a_transaction(traced: Any, records: Records) -> None:
    def run() -> None:
        with traced.cursor() as cursor:
            cursor.execute("UPDATE t SET b = b")

    def block(fails: bool) -> None:
        with contextlib.suppress(ZeroDivisionError), traced:
            run()
            1 / (not fails)

    def prepared(end: Callable[[], None]) -> None:
        traced.tpc_begin(traced.xid(1, "memwatch", "x"))
        run()
        traced.tpc_prepare()
        end()

    ways: list[tuple[Callable[[], Any], str]] = [
        (lambda: (run(), traced.commit()), "committed"),
        (lambda: (run(), traced.rollback()), "rolled back"),
        (lambda: block(fails=False), "committed"),
        (lambda: block(fails=True), "rolled back"),
        (lambda: (run(), traced.reset()), "rolled back"),
        (lambda: (run(), traced.set_isolation_level(2)), "rolled back"),
        (lambda: (run(), traced.set_client_encoding("LATIN1")), "rolled back"),
        (lambda: (traced.tpc_begin("x"), run(), traced.tpc_commit()), "committed"),
        (lambda: (traced.tpc_begin("x"), run(), traced.tpc_rollback()), "rolled back"),
        (lambda: prepared(traced.tpc_commit), "committed"),
        (lambda: prepared(traced.tpc_rollback), "rolled back"),
        (lambda: (run(), traced.close()), "rolled back"),
    ]
    for number, (way, outcome) in enumerate(ways):
        way()
        assert outcomes(records)[number:] == [outcome], number
        assert list(records.contexts.values())[-1]["transaction"] != 0
        assert in_force() == 0


def test_prepared_transaction_is_neither_ended_by_what_fails_nor_rolled_back_by_closing(
    traced: Any, records: Records
) -> None:
    cursor = traced.cursor()
    traced.tpc_begin("left")
    cursor.execute("UPDATE t SET b = b")
    traced.tpc_prepare()
    with pytest.raises(psycopg2.ProgrammingError):
        cursor.execute("SELECT 1")
    assert outcomes(records)[0] == "ended"
    traced.close()
    assert outcomes(records) == ["committed", "failed: ProgrammingError"]


def test_encoding_that_is_set_already_ends_nothing(traced: Any, records: Records) -> None:
    cursor = traced.cursor()
    cursor.execute("SELECT a FROM t")
    traced.set_client_encoding(traced.encoding)
    assert records.statement == "SELECT a FROM t"


def test_autocommit_and_transactions_by_text(traced: Any, records: Records) -> None:
    traced.set_session(autocommit=True)
    cursor = traced.cursor()
    for text in (
        "UPDATE t SET b = b",
        "BEGIN",
        "UPDATE t SET b = b",
        "COMMIT",
        "BEGIN",
        "UPDATE t SET b = b",
        "ROLLBACK",
    ):
        cursor.execute(text)
        assert (in_force() == 0) == (text in ("COMMIT", "ROLLBACK"))
    traced.autocommit = False
    cursor.execute("SELECT 1")
    traced.rollback()
    assert outcomes(records) == ["ended", *["committed"] * 3, *["rolled back"] * 3, "rolled back"]


@pytest.mark.parametrize("commit", ["method", "text", "block"])
def test_commit_of_a_failed_transaction_rolls_back(traced: Any, records: Records, commit: str) -> None:
    cursor = traced.cursor()
    cursor.execute("UPDATE t SET b = 'lost'")
    if commit == "block":
        with traced, contextlib.suppress(psycopg2.DataError):
            cursor.execute("SELECT 1 / 0")
    else:
        with pytest.raises(psycopg2.DataError):
            cursor.execute("SELECT 1 / 0")
        traced.commit() if commit == "method" else cursor.execute("COMMIT")
    assert outcomes(records)[:2] == ["rolled back", "failed: DivisionByZero"]
    assert in_force() == 0
    cursor.execute("SELECT count(*) FROM t WHERE b = 'lost'")
    assert cursor.fetchone() == (0,)


def test_failing_commit_rolls_back(traced: Any, records: Records) -> None:
    cursor = traced.cursor()
    cursor.execute("CREATE TABLE u (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    cursor.execute("INSERT INTO u VALUES (1), (1)")
    with pytest.raises(psycopg2.IntegrityError):
        traced.commit()
    assert outcomes(records) == ["rolled back", "rolled back"]


# ---- classes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factory", CONNECTIONS)
@pytest.mark.parametrize("cursors", [None, *FACTORIES])
def test_factories_of_extras_are_composed(
    connect: Connect, records: Records, factory: Any, cursors: Any, caplog: pytest.LogCaptureFixture
) -> None:
    connection = connect(connection_factory=factory, cursor_factory=cursors)
    if hasattr(connection, "initialize"):
        connection.initialize(logging.getLogger("queries"))
    expected = cursors or CONNECTIONS[factory]
    assert isinstance(connection, factory or psycopg2.extensions.connection)
    assert connection.cursor_factory is cursors
    for cursor, kind in (
        (connection.cursor(), expected),
        (connection.cursor(cursor_factory=psycopg2.extras.DictCursor), psycopg2.extras.DictCursor),
        (connection.cursor("named", cursor_factory=psycopg2.extras.RealDictCursor), psycopg2.extras.RealDictCursor),
    ):
        assert isinstance(cursor, kind)
        assert type(cursor).__name__ == kind.__name__
        cursor.execute("SELECT a FROM t")
        assert records.statement == "SELECT a FROM t"
        assert len(cursor.fetchall()) == 3
    assert len(records.contexts) == 3
    connection.cursor_factory = LoudCursor
    assert isinstance(connection.cursor(), LoudCursor)


class LoudCursor(psycopg2.extras.DictCursor):
    def execute(self, query: Any, vars: Any = None) -> Any:
        self.loud = query.upper()
        return super().execute(query, vars)


class LoudConnection(psycopg2.extensions.connection):
    def __init__(self, dsn: str, **kwargs: Any) -> None:
        super().__init__(dsn, **kwargs)
        with self.cursor() as cursor:
            cursor.execute("SET application_name = 'loud'")

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        return super().cursor(*args, **{"cursor_factory": LoudCursor, **kwargs})


def test_classes_of_the_program_are_composed(connect: Connect, records: Records) -> None:
    connection = connect(connection_factory=LoudConnection)
    assert isinstance(connection, LoudConnection)
    assert records.outcomes == [("SET application_name = ?", "open")]
    cursor = connection.cursor()
    assert isinstance(cursor, LoudCursor)
    cursor.execute("select a from t")
    assert (cursor.loud, records.statement) == ("SELECT A FROM T", "select a from t")
    assert type(connect(connection_factory=type(connection))) is type(connection)
    assert type(connection.cursor(cursor_factory=type(cursor))) is type(cursor)
    assert connection.cursor_factory is None


def test_factories_that_are_functions_are_left_alone_and_this_is_told(
    connect: Connect, records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    driver._told.clear()
    for _ in range(2):
        connection = connect(connection_factory=lambda dsn: psycopg2.extensions.connection(dsn))
        assert type(connection) is psycopg2.extensions.connection
        made = connect().cursor(cursor_factory=partial(psycopg2.extras.DictCursor))
        assert type(made) is psycopg2.extras.DictCursor
    assert [record.getMessage() for record in caplog.records] == [
        f"SQL driver psycopg2: {what} made by a factory that is no class go untraced"
        for what in ("connections", "cursors")
    ]
    assert records.log == []


def test_connections_of_a_pool(postgresql_database: servers.PostgreSql, connect: Connect, records: Records) -> None:
    pool = psycopg2.pool.ThreadedConnectionPool(1, 2, **postgresql_database.connect)
    connection = pool.getconn()
    with connection.cursor() as cursor:
        cursor.execute("SELECT a FROM t")
    pool.putconn(connection)
    assert records.outcomes == [("SELECT a FROM t", "rolled back")]
    pool.closeall()


@pytest.mark.parametrize("kind", ["Logical", "Physical"])
def test_replication(connect: Connect, records: Records, postgresql_database: servers.PostgreSql, kind: str) -> None:
    factory = getattr(psycopg2.extras, f"{kind}ReplicationConnection")
    connection = connect(connection_factory=factory)
    cursor = connection.cursor(cursor_factory=psycopg2.extras.ReplicationCursor)
    name = postgresql_database.database
    if kind == "Physical":
        cursor.create_replication_slot(name)
        cursor.drop_replication_slot(name)
        verbs = ["CREATE_REPLICATION_SLOT", "DROP_REPLICATION_SLOT"]
    else:
        cursor.create_replication_slot(name, output_plugin="test_decoding")
        cursor.start_replication(slot_name=name, decode=True)
        with contextlib.closing(connect()) as other, other, other.cursor() as writer:
            writer.execute("INSERT INTO t VALUES (100, 's3cr3t')")
        while (message := cursor.read_message()) is None:
            select.select([cursor], [], [], 10)
        assert message.payload.startswith("BEGIN")
        assert (records.statement or "").startswith(f'START_REPLICATION SLOT "{name}" LOGICAL')
        connection.close()
        drop = connect(connection_factory=factory)
        drop.cursor(cursor_factory=psycopg2.extras.ReplicationCursor).drop_replication_slot(name)
        verbs = ["CREATE_REPLICATION_SLOT", "START_REPLICATION", "INSERT", "DROP_REPLICATION_SLOT"]
    assert [each["statement"].split()[0] for each in records.contexts.values()] == verbs
    assert {outcome for _, outcome in records.outcomes} <= {"open", "ended", "closed", "committed"}


def test_database_and_server_are_named_without_user_and_password(
    connect: Connect, records: Records, postgresql_database: servers.PostgreSql
) -> None:
    server = postgresql_database
    for options in (server.connect, server.connect_trusted):
        with contextlib.closing(psycopg2.connect(**options)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    found = [(each["database"], each["server"]) for each in records.contexts.values()]
    assert found == [
        (server.database, f"{server.host}:{server.port}"),
        (server.database, f"{server.socket}/.s.PGSQL.{server.port}"),
    ]
    assert Path(found[1][1]).is_socket()


# ---- asynchronous connections, cooperative ones ---------------------------------------------------------------------


def test_asynchronous_statement_is_run_when_poll_says_so(connect: Connect, records: Records) -> None:
    connection = connect(async_=1)
    wait_select(connection)
    cursor = connection.cursor()
    cursor.execute("UPDATE t SET b = 'x' WHERE a < 3")
    assert records.statement == "UPDATE t SET b = ? WHERE a < ?"
    wait_select(connection)
    cursor.execute("SELECT a FROM t ORDER BY a")
    wait_select(connection)
    assert cursor.fetchall() == [(1,), (2,), (3,)]
    assert records.statement == "SELECT a FROM t ORDER BY a"
    cursor.execute("SELECT 1 / 0")
    with pytest.raises(psycopg2.DataError):
        wait_select(connection)
    assert in_force() == 0
    cursor.execute("SELECT pg_sleep(60)")
    connection.close()
    assert [(each["outcome"], each.get("rows")) for each in records.contexts.values()] == [
        ("ended", 2), ("ended", 3), ("failed: DivisionByZero", None), ("closed", None)
    ]  # fmt: skip


def test_two_asynchronous_connections_in_one_thread(connect: Connect, records: Records) -> None:
    connections = [connect(async_=1) for _ in range(2)]
    for connection in connections:
        wait_select(connection)
    cursors = [connection.cursor() for connection in connections]
    for number, cursor in enumerate(cursors):
        cursor.execute(f"SELECT a AS of_{number} FROM t")
    for connection in reversed(connections):
        wait_select(connection)
    for number, cursor in enumerate(cursors):
        for _ in cursor:
            assert records.statement == f"SELECT a AS of_{number} FROM t"


def test_cooperative_waiting(connect: Connect, records: Records) -> None:
    psycopg2.extensions.set_wait_callback(wait_select)
    try:
        connection = connect()
        cursor = connection.cursor()
        cursor.execute("SELECT a FROM t")
        assert records.statement == "SELECT a FROM t"
        assert cursor.fetchall() == [(1,), (2,), (3,)]
        with pytest.raises(psycopg2.DataError):
            cursor.execute("SELECT 1 / 0")
        connection.commit()
    finally:
        psycopg2.extensions.set_wait_callback(None)
    assert outcomes(records) == ["rolled back", "failed: DivisionByZero"]


# ---- install, uninstall ---------------------------------------------------------------------------------------------


def test_nothing_is_left_patched(tracer: SqlContexts, postgresql_database: servers.PostgreSql) -> None:
    places = [psycopg2, psycopg2.extras, psycopg2.extensions, psycopg2.pool, psycopg2.sql]
    places += [value for place in places for value in vars(place).values() if isinstance(value, type)]
    before = [dict(vars(place)) for place in places]
    for _ in range(2):
        driver.install(tracer)
        driver.install(tracer)
        assert psycopg2._connect is not before[0]["_connect"]  # type: ignore[attr-defined]
        psycopg2.connect(**postgresql_database.connect).close()
        driver.uninstall()
        for place, attributes in zip(places, before, strict=True):
            assert vars(place).keys() == attributes.keys()
            assert all(vars(place)[name] is value for name, value in attributes.items())


def test_connections_made_meanwhile_go_on_untraced(
    tracer: SqlContexts, records: Records, postgresql_database: servers.PostgreSql
) -> None:
    driver.install(tracer)
    connection = psycopg2.connect(**postgresql_database.connect)
    cursor = connection.cursor()
    cursor.execute("SELECT generate_series(1, 2)")
    driver.uninstall()
    tracer.close()
    count = len(records.log)
    assert cursor.fetchall() == [(1,), (2,)]
    with connection:
        cursor.execute("SELECT 3")
    assert type(connection.cursor()) is psycopg2.extensions.cursor
    connection.close()
    assert len(records.log) == count


def test_connect_that_was_imported_before_is_traced_and_connections_made_before_are_not(
    tracer: SqlContexts, records: Records, postgresql_database: servers.PostgreSql
) -> None:
    from psycopg2 import connect

    early = connect(**postgresql_database.connect)
    driver.install(tracer)
    late = connect(**postgresql_database.connect)
    for connection in (early, late):
        connection.cursor().execute("SELECT 1")
        connection.close()
    driver.uninstall()
    assert len(records.contexts) == 1


def test_installed_version_is_one_that_is_supported() -> None:
    extras = importlib.metadata.requires("memwatch-sql-psycopg2") or []
    (least,) = {match[1] for each in extras if (match := re.match(r"psycopg2(?:-binary)?>=([\d.]+)", each))}
    assert [int(part) for part in psycopg2.__version__.split()[0].split(".")] >= [
        int(part) for part in least.split(".")
    ]
    (entry,) = importlib.metadata.entry_points(group="memwatch.sql", name="psycopg2")
    assert entry.load() is driver
