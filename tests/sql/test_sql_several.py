"""Risk: a text of several statements that rolls back in the end passes for one that lasted."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from scripts import Dialect, Script, scripts
from sql_support import Records

from memwatch_core.adapter.contexts import SqlContexts

COUNT = 1000 if os.environ.get("MEMWATCH_SOAK") else 40
DIALECTS: dict[str, Dialect] = {
    "psycopg": "postgresql", "psycopg2": "postgresql", "mysqlclient": "mysql", "pymysql": "mysql", "sqlite3": "sqlite",
}  # fmt: skip
SETUP = {
    "postgresql": ["CREATE TABLE t (a varchar(20))"],
    "mysql": [
        "CREATE TABLE t (a varchar(20))", "CREATE PROCEDURE rolls_back() ROLLBACK", "CREATE PROCEDURE commits() COMMIT",
    ],
    "sqlite": ["PRAGMA journal_mode = WAL", "CREATE TABLE t (a)"],
}  # fmt: skip


@pytest.fixture(params=list(DIALECTS))
def name(request: pytest.FixtureRequest) -> str:
    """Of a driver."""
    return str(request.param)


@pytest.fixture
def connect(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[bool], Any]:
    """Connects to a database with a table t (a); its argument: whether each statement commits by itself."""
    dialect = DIALECTS[name]
    fixtures = {"postgresql": "postgresql_database", "mysql": "mariadb_database"}
    where = request.getfixturevalue(fixtures[dialect]).connect if dialect in fixtures else {}

    def connect(autocommit: bool) -> Any:
        if name == "sqlite3":
            connection = sqlite3.connect(tmp_path / "file", isolation_level=None)
            connection.execute("PRAGMA synchronous = OFF")
            return connection
        if name in ("mysqlclient", "pymysql"):
            return import_module("mysql_support").LIBRARIES[name].connect(**where, autocommit=autocommit)
        connection = import_module(name).connect(**where)
        connection.autocommit = autocommit
        return connection

    with contextlib.closing(connect(True)) as connection, contextlib.closing(connection.cursor()) as cursor:
        for statement in SETUP[dialect]:
            cursor.execute(statement)
    return connect


def run(script: Script, connection: Any) -> None:
    cursor = connection.cursor()
    for statement in script.statements:
        with contextlib.suppress(Exception):
            several = statement == script.text and isinstance(connection, sqlite3.Connection)
            (cursor.executescript if several else cursor.execute)(statement)
            while statement == script.text and script.read and hasattr(cursor, "nextset") and cursor.nextset():
                pass
    with contextlib.suppress(Exception):
        getattr(connection, script.ends)()
    with contextlib.suppress(Exception):
        connection.close()


def told(context: dict[str, Any]) -> str:
    alone = context["autocommit"] and context["outcome"] in ("ended", "closed")
    return "committed" if alone else str(context["outcome"])


def test_no_outcome_that_is_told_is_another_one(
    name: str, connect: Callable[[bool], Any], tracer: SqlContexts, records: Records
) -> None:
    with contextlib.closing(connect(True)) as other:
        driver = import_module(f"memwatch_sql_{name}").driver
        driver.install(tracer)
        several = list(scripts(DIALECTS[name], COUNT))
        for script in several:
            begun = len(records.contexts)
            run(script, connect(script.autocommit))
            contexts = [each for _, each in sorted(records.contexts.items())]
            begun += name == "sqlite3"  # the PRAGMA
            script.done = list(zip(script.statements, map(told, contexts[begun:]), strict=True))
            if name == "psycopg2" and script.text.startswith("COMMIT"):
                script.certain = False  # libpq keeps the last answer, which may be that of a ROLLBACK behind it
        driver.uninstall()
        cursor = other.cursor()
        cursor.execute("SELECT a FROM t")
        present = {a for (a,) in cursor.fetchall()}
        cursor.close()
    assert (tracer.troubles, driver.troubles) == (0, 0)
    wrong = [f"{script}: {each}" for script in several for each in script.judge(present)]
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong[:40])
