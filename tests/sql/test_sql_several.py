"""Risk: a text of several statements that rolls back in the end passes for one that lasted."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import MySQLdb
import psycopg
import psycopg2
import pymysql
import pytest
from pymysql.constants import CLIENT
from scripts import Dialect, Script, scripts
from sql_support import Records

from memwatch_core.adapter.contexts import SqlContexts

COUNT = 1000 if os.environ.get("MEMWATCH_SOAK") else 60
DIALECTS: dict[str, Dialect] = {
    "psycopg": "postgresql", "psycopg2": "postgresql", "mysqlclient": "mysql", "pymysql": "mysql", "sqlite3": "sqlite",
}  # fmt: skip
PROCEDURES = [
    "CREATE PROCEDURE rolls_back() ROLLBACK", "CREATE PROCEDURE commits() COMMIT",
]  # fmt: skip


@pytest.fixture(params=list(DIALECTS))
def library(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Its name, and what connects to a database with a table t (a)."""
    name = request.param
    dialect = DIALECTS[name]
    if dialect == "sqlite":
        options: dict[str, Any] = {"database": tmp_path / "file"}
    else:
        options = request.getfixturevalue("postgresql_database" if dialect == "postgresql" else "mariadb_database").connect

    def connect(autocommit: bool = True) -> Any:
        if name == "sqlite3":
            return sqlite3.connect(**options, isolation_level=None)
        if name == "psycopg":
            return psycopg.connect(**options, autocommit=autocommit)
        if name == "psycopg2":
            connection = psycopg2.connect(**options)
            connection.autocommit = autocommit
            return connection
        if name == "pymysql":
            return pymysql.connect(**options, autocommit=autocommit, client_flag=CLIENT.MULTI_STATEMENTS)
        return MySQLdb.connect(**options, autocommit=autocommit)

    with contextlib.closing(connect()) as connection:
        for statement in ["CREATE TABLE t (a varchar(20))", *(PROCEDURES if dialect == "mysql" else [])]:
            connection.cursor().execute(statement)
    yield name, connect


def run(script: Script, connection: Any, name: str) -> list[str]:
    """Those that were run, in order."""
    cursor, done = connection.cursor(), []
    for statement in script.statements:
        with contextlib.suppress(Exception):
            done.append(statement)
            if name == "sqlite3" and statement == script.text:
                cursor.executescript(statement)
            else:
                cursor.execute(statement)
            if statement == script.text and script.read and hasattr(cursor, "nextset"):
                while cursor.nextset():
                    pass
    with contextlib.suppress(Exception):
        getattr(connection, script.ends)()
    with contextlib.suppress(Exception):
        connection.close()
    return done


def test_no_outcome_that_is_told_is_another_one(
    library: tuple[str, Callable[..., Any]], tracer: SqlContexts, records: Records
) -> None:
    name, connect = library
    driver = __import__(f"memwatch_sql_{name}").driver
    driver.install(tracer)
    wrong = []
    with contextlib.closing(sqlite3.connect(":memory:") if name == "sqlite3" else connect()) as other:
        other = connect() if name == "sqlite3" else other
        for script in scripts(DIALECTS[name], COUNT):
            if name == "psycopg2" and script.text.startswith("COMMIT"):
                script.certain = False  # libpq keeps the last answer alone, which may be that of a ROLLBACK behind it
            begun = len(records.contexts)
            done = run(script, connect(script.autocommit), name)
            told = sorted(records.contexts.items())[begun:]
            looked, told = told, told[: len(done)]
            assert [each["statement"] for _, each in looked]
            script.done = [
                (text, "committed" if each["autocommit"] and each["outcome"] in ("ended", "closed") else each["outcome"])
                for text, (_, each) in zip(done, told, strict=True)
            ]
            cursor = other.cursor()
            cursor.execute("SELECT a FROM t")
            present = {a for (a,) in cursor.fetchall()}
            cursor.close()
            wrong += [f"{script.statements}, autocommit {script.autocommit}, read {script.read}, {script.ends}: {each}" for each in script.judge(present)]
    driver.uninstall()
    assert (tracer.troubles, driver.troubles) == (0, 0)
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong[:40])
