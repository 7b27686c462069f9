"""A tracer whose records are kept in memory (its constructor takes a writer), and a real session whose events are read
back by the host's decoder."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import servers
from memwatch_sql_sqlite3 import driver
from sql_support import INT64, KEY, Records, Session

from memwatch_core.adapter.contexts import SqlContexts
from memwatch_core.adapter.join import join
from memwatch_core.config import Config
from memwatch_core.journal.session import create_session
from memwatch_core.loading.discovery import Plugins
from memwatch_core.loading.report import LoadReport
from memwatch_core.records import SqlDriver
from memwatch_plugins.sql import SqlDriverBase

if TYPE_CHECKING:
    from mysql_support import Library


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
def make_tracer(records: Records) -> Iterator[Callable[..., SqlContexts]]:
    made = []

    def make(**options: Any) -> SqlContexts:
        made.append(SqlContexts(records, KEY, **options))
        return made[-1]

    yield make
    for tracer in made:
        tracer.close()


@pytest.fixture
def tracer(make_tracer: Callable[..., SqlContexts]) -> SqlContexts:
    return make_tracer()


@pytest.fixture
def traced(tracer: SqlContexts) -> Iterator[sqlite3.Connection]:
    """A traced connection, with a table t (a, b) of three rows."""
    driver.install(tracer)
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a INTEGER, b TEXT)")
    connection.executemany("INSERT INTO t VALUES (?, ?)", [(1, "one"), (2, "two"), (3, "three")])
    connection.commit()
    yield connection
    connection.close()
    driver.uninstall()
    assert (tracer.troubles, driver.troubles) == (0, 0)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Callable[..., Session]]:
    opened: list[Session] = []

    def begin(*drivers: SqlDriver | SqlDriverBase, **sql: str) -> Session:
        config = Config.of({"sql": sql, "watch": {"track_sql": True}})
        folder = create_session(tmp_path, ["pytest"])
        traced = tuple(each if isinstance(each, SqlDriver) else each.record for each in drivers or (driver,))
        plugins = Plugins((INT64,), traced, (), (), LoadReport(()))
        opened.append(Session(folder, join(folder, config, plugins).leave))
        return opened[-1]

    yield begin
    for each in opened:
        each.leave()


@pytest.fixture(params=["mysqlclient", "pymysql"])
def mysql(request: pytest.FixtureRequest) -> Library:
    """Each library for MySQL; a file about one of them has a fixture of its own."""
    from mysql_support import LIBRARIES  # not every Python has them

    return LIBRARIES[request.param]


@pytest.fixture
def connect(mysql: Library, tracer: SqlContexts, mariadb_database: servers.MariaDb) -> Iterator[Callable[..., Any]]:
    """Connects to a database with a table t (a, b) of three rows; nothing of this is in the records."""
    made: list[Any] = []

    def connect(**options: Any) -> Any:
        made.append(mysql.connect(**(mariadb_database.connect | options)))
        return made[-1]

    with contextlib.closing(connect()) as first, first.cursor() as cursor:
        cursor.execute("CREATE TABLE t (a int PRIMARY KEY, b text)")
        cursor.execute("INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three')")
        cursor.execute("CREATE PROCEDURE p (n int) BEGIN SELECT a FROM t WHERE a <= n; SELECT b, 's3cr3t' FROM t; END")
        cursor.execute("CREATE PROCEDURE f () BEGIN SELECT a FROM t; SELECT 1 + (SELECT a FROM t); END")
        first.commit()
    mysql.driver.install(tracer)
    yield connect
    for connection in made:
        if connection.open:
            connection.close()
    mysql.driver.uninstall()
    assert (tracer.troubles, mysql.driver.troubles) == (0, 0)
