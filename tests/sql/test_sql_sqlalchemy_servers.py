"""Risk: SQLAlchemy over a driver of a real server: one statement is two contexts, or carries another's outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import servers
import sqlalchemy as sa
from memwatch_sql_mysqlclient import driver as mysqlclient
from memwatch_sql_psycopg import driver as psycopg
from memwatch_sql_psycopg2 import driver as psycopg2
from memwatch_sql_pymysql import driver as pymysql
from memwatch_sql_sqlalchemy import driver
from sql_support import Records, Session
from sqlalchemy import exc, orm
from sqlalchemy.ext.asyncio import create_async_engine

from memwatch_core.adapter.contexts import SqlContexts
from memwatch_core.adapter.watch import watch

BELOW = {
    "postgresql+psycopg": psycopg,
    "postgresql+psycopg2": psycopg2,
    "mysql+mysqldb": mysqlclient,
    "mysql+pymysql": pymysql,
}


@pytest.fixture(params=sorted(BELOW))
def engine(request: pytest.FixtureRequest, tracer: SqlContexts) -> Iterator[sa.Engine]:
    scheme = request.param
    server = "mariadb_database" if scheme.startswith("mysql") else "postgresql_database"
    url = request.getfixturevalue(server).url(scheme)
    below = BELOW[scheme]
    below.install(tracer)
    driver.install(tracer)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE orders (id int PRIMARY KEY, qty int)"))
        connection.execute(sa.text("INSERT INTO orders VALUES (1, 5), (2, 7)"))
    yield engine
    engine.dispose()
    driver.uninstall()
    below.uninstall()
    assert (tracer.troubles, driver.troubles, below.troubles) == (0, 0, 0)


def ours(records: Records, since: int) -> list[tuple[str, str, str]]:
    """(driver, statement, outcome) of the contexts since then."""
    found = [context for ident, context in sorted(records.contexts.items()) if ident > since]
    return [(context["driver"], context["statement"].split(" ")[0], context["outcome"]) for context in found]


def test_one_statement_is_one_context_with_the_outcome_of_its_transaction(engine: sa.Engine, records: Records) -> None:
    start = max(records.contexts)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE orders SET qty = :qty"), {"qty": 1})
        assert len(connection.execute(sa.text("SELECT id FROM orders")).all()) == 2
    with engine.connect() as connection:
        connection.execute(sa.text("UPDATE orders SET qty = 2"))
        connection.rollback()
    found = [each for each in ours(records, start) if each[1] in ("UPDATE", "SELECT")]
    assert found == [
        ("sqlalchemy", "UPDATE", "committed"),
        ("sqlalchemy", "SELECT", "committed"),
        ("sqlalchemy", "UPDATE", "rolled back"),
    ]
    assert [c["rows"] for c in records.contexts.values() if c["statement"].startswith("SELECT id FROM orders")] == [2]


def test_savepoint_that_is_rolled_back_takes_its_own_statements_with_it(engine: sa.Engine, records: Records) -> None:
    start = max(records.contexts)
    with orm.Session(engine) as session, session.begin():
        session.execute(sa.text("UPDATE orders SET qty = 1"))
        nested = session.begin_nested()
        session.execute(sa.text("DELETE FROM orders"))
        nested.rollback()
        session.execute(sa.text("INSERT INTO orders VALUES (3, 3)"))
    found = [each[1:] for each in ours(records, start) if each[1] in ("UPDATE", "DELETE", "INSERT")]
    assert found == [("UPDATE", "committed"), ("DELETE", "rolled back"), ("INSERT", "committed")]


def test_failed_statement_is_in_force_no_more(engine: sa.Engine, records: Records) -> None:
    start = max(records.contexts)
    with engine.connect() as connection, pytest.raises(exc.IntegrityError):
        connection.execute(sa.text("INSERT INTO orders VALUES (1, 1)"))
    assert records.statement is None
    ((name, _, outcome),) = [each for each in ours(records, start) if each[1] == "INSERT"]
    assert (name, outcome.partition(":")[0]) == ("sqlalchemy", "failed")


def test_connection_that_is_killed_ends_its_transaction(
    tracer: SqlContexts, records: Records, postgresql_database: servers.PostgreSql
) -> None:
    psycopg.install(tracer)
    driver.install(tracer)
    try:
        engine = sa.create_engine(postgresql_database.url("postgresql+psycopg"))
        with engine.connect() as connection:
            pid = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar()
            connection.execute(sa.text("CREATE TABLE lost (a int)"))
            postgresql_database.administer(f"SELECT pg_terminate_backend({pid})")
            with pytest.raises(exc.DBAPIError):
                connection.execute(sa.text("SELECT 1 AS after"))
            assert records.statement is None
        engine.dispose()
    finally:
        driver.uninstall()
        psycopg.uninstall()
    outcomes = dict(records.outcomes)
    assert outcomes["CREATE TABLE lost (a int)"] == "rolled back"
    assert outcomes["SELECT ? AS after"].startswith("failed")


def test_asyncio_tasks_never_mix_over_psycopg(
    session: Callable[..., Session], postgresql_database: servers.PostgreSql
) -> None:
    opened = session(driver, psycopg)

    async def work(engine: Any, name: str) -> None:
        value: Any = watch(0, name=name, track_sql=True)
        async with engine.connect() as connection:
            for n in range(1, 6):
                result = await connection.execute(sa.text(f"SELECT {n} AS {name}"))
                await asyncio.sleep(0)
                value.value = result.scalar_one()
                await asyncio.sleep(0)
                memoryview(value).cast("B").cast("q")[0] = -n

    async def main() -> None:
        engine = create_async_engine(postgresql_database.url("postgresql+psycopg"), pool_size=20)
        await asyncio.gather(*(work(engine, f"t{n}") for n in range(20)))
        await engine.dispose()

    asyncio.run(main())
    events = opened.events()
    assert len(events) == 20 * 10
    for each in events:
        assert each.context is not None
        assert (each.context.driver, each.context.statement) == ("sqlalchemy", f"SELECT ? AS {each.variable}")
