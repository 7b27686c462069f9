"""Risk: statements of SQLAlchemy are published wrongly, twice together with their driver's, or not at all."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from memwatch_sql_aiosqlite import driver as aiosqlite
from memwatch_sql_sqlalchemy import driver
from memwatch_sql_sqlite3 import driver as sqlite
from sql_support import Records, Session
from sqlalchemy import event, exc, orm
from sqlalchemy.dialects.mysql.mysqldb import MySQLDialect_mysqldb
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import Engine
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.ext.asyncio import create_async_engine

from memwatch_core.adapter.contexts import SqlContexts
from memwatch_core.adapter.watch import watch


class Base(orm.DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    qty: orm.Mapped[int]


@pytest.fixture(params=["alone", "over its driver"])
def installed(tracer: SqlContexts, request: pytest.FixtureRequest) -> Iterator[None]:
    drivers = [driver] if request.param == "alone" else [sqlite, driver]
    for each in drivers:
        each.install(tracer)
    yield
    for each in drivers:
        each.uninstall()
        assert (each.name, each.troubles) == (each.name, 0)
    assert tracer.troubles == 0


@pytest.fixture
def engine(installed: None) -> Iterator[sa.Engine]:
    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(Order), [{"id": 1, "qty": 5}, {"id": 2, "qty": 7}])
    yield engine
    engine.dispose()


def test_each_way_to_run_a_statement_is_one_context(engine: sa.Engine, records: Records) -> None:
    select = "SELECT orders.id, orders.qty FROM orders"
    with engine.connect() as connection, orm.Session(engine) as session:
        ways: list[tuple[Callable[[], Any], str]] = [
            (lambda: connection.execute(sa.text("SELECT 1, 'x'")).all(), "SELECT ?, ?"),
            (lambda: connection.execute(sa.select(Order)).first(), select),
            (lambda: connection.exec_driver_sql("SELECT ?", (5,)).scalar(), "SELECT ?"),
            (lambda: connection.execute(sa.update(Order).values(qty=1)), "UPDATE orders SET qty=?"),
            (lambda: session.scalars(sa.select(Order)).all(), select),
            (
                lambda: session.scalars(sa.select(Order.qty).filter(Order.id > 0)).all(),
                "SELECT orders.qty FROM orders WHERE orders.id > ?",
            ),
            (lambda: session.query(Order.qty).all(), "SELECT orders.qty AS orders_qty FROM orders"),
        ]
        for way, statement in ways:
            before = len(records.contexts)
            way()
            assert [c["statement"] for c in list(records.contexts.values())[before:]] == [statement]
            assert records.current is not None, statement
            assert (records.current["driver"], records.current["database"]) == ("sqlalchemy", ":memory:")
            session.expunge_all()


def test_flush_and_lazy_load_have_the_statements_that_they_run(engine: sa.Engine, records: Records) -> None:
    with orm.Session(engine) as session:
        session.add_all([Order(id=3, qty=1), Order(id=4, qty=1)])
        session.flush()
        assert records.statement == "INSERT INTO orders (id, qty) VALUES (?, ?)"
        order = session.get_one(Order, 3)
        session.expire(order)
        before = len(records.contexts)
        assert order.qty == 1
        assert len(records.contexts) == before + 1
        assert records.statement is not None
        assert records.statement.endswith("FROM orders WHERE orders.id = ?")


def test_transactions_commit_and_roll_back_their_statements(engine: sa.Engine, records: Records) -> None:
    before = len(records.contexts)
    with engine.begin() as connection:
        connection.execute(sa.update(Order).values(qty=1))
    with engine.connect() as connection:
        connection.execute(sa.update(Order).values(qty=2))
        connection.rollback()
        connection.execute(sa.update(Order).values(qty=3))
    with orm.Session(engine) as session, session.begin():
        session.execute(sa.update(Order).values(qty=4))
    outcomes = [outcome for _, outcome in records.outcomes[before:]]
    assert outcomes == ["committed", "rolled back", "rolled back", "committed"]


def test_engine_made_before_installation_is_traced(tracer: SqlContexts, records: Records) -> None:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        driver.install(tracer)
        connection.execute(sa.text("SELECT 1"))
        assert records.statement == "SELECT ?"
        driver.uninstall()
    engine.dispose()


def test_failure_ends_the_statement_and_reaches_the_program_as_it_was(engine: sa.Engine, records: Records) -> None:
    with engine.connect() as connection:
        with pytest.raises(exc.IntegrityError) as caught:
            connection.execute(sa.insert(Order).values(id=1, qty=1))
        assert isinstance(caught.value.orig, sqlite3.IntegrityError)
        assert records.statement is None
    assert records.outcomes[-1][1] == "failed: IntegrityError"


def test_autocommit_is_told(installed: None, records: Records) -> None:
    engine = sa.create_engine("sqlite://", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
        connection.execute(sa.text("SELECT 2"))
    engine.dispose()
    ours = [context for context in records.contexts.values() if context["driver"] == "sqlalchemy"]
    assert [context["transaction"] for context in ours] == [0, 0]


def test_asyncio_tasks_never_mix(session: Callable[..., Session], tmp_path: Path) -> None:
    opened = session(sqlite, aiosqlite, driver)

    async def work(engine: Any, name: str) -> None:
        value: Any = watch(0, name=name, track_sql=True)
        async with engine.connect() as connection:
            for n in range(1, 6):
                result = await connection.execute(sa.text(f"SELECT {n} AS {name}"))
                await asyncio.sleep(0)
                value.value = result.scalar_one()
                await asyncio.sleep(0)
                memoryview(value).cast("B").cast("q")[0] = -n
            await connection.commit()
            value.value = 0

    async def main() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/x.db")
        await asyncio.gather(*(work(engine, f"t{n}") for n in range(20)))
        await engine.dispose()

    try:
        asyncio.run(main())
    finally:
        driver.uninstall()
    events = opened.events()
    assert len(events) == 20 * 11
    for each in events:
        statement = each.context.statement if each.context else None
        assert statement == (f"SELECT ? AS {each.variable}" if each.new else None)


def test_nothing_is_left_after_uninstall(tracer: SqlContexts) -> None:
    before = {owner: dict(vars(owner)) for owner in (DefaultDialect, MySQLDialect_mysqldb, Engine)}
    driver.install(tracer)
    assert vars(MySQLDialect_mysqldb)["do_executemany"] is not before[MySQLDialect_mysqldb]["do_executemany"]
    driver.uninstall()
    assert {owner: dict(vars(owner)) for owner in before} == before


def test_dialect_with_methods_of_its_own_is_not_missed(installed: None, records: Records) -> None:
    """Defined after tracing began, as by a third party."""

    class Dialect(SQLiteDialect_pysqlite):
        supports_statement_cache = True

        def do_execute(self, cursor: Any, statement: Any, parameters: Any, context: Any = None) -> None:
            cursor.execute(statement, parameters)

        def do_commit(self, dbapi_connection: Any) -> None:
            dbapi_connection.commit()

    engine = sa.create_engine("sqlite://", _initialize=False)
    engine.dialect.__class__ = Dialect
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE own (a int)"))
        connection.execute(sa.text("INSERT INTO own VALUES (1)"))
    engine.dispose()
    ours = [c for c in records.contexts.values() if c["driver"] == "sqlalchemy"]
    assert [context["statement"] for context in ours][-2:] == ["CREATE TABLE own (a int)", "INSERT INTO own VALUES (?)"]
    assert ours[-1]["outcome"] == "committed"


def test_listeners_of_the_program_go_on(engine: sa.Engine) -> None:
    seen: list[str] = []

    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def change(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> Any:
        seen.append(statement)
        return statement.replace("1", "2"), parameters

    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT 1")).scalar() == 2
    assert seen == ["SELECT 1"]


def test_trouble_in_tracing_never_reaches_the_program(
    installed: None, tracer: SqlContexts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("s3cr3t")

    engine = sa.create_engine("sqlite://")
    before = driver.troubles
    monkeypatch.setattr(driver, "tracer", Broken())
    with engine.begin() as connection:
        assert connection.execute(sa.text("SELECT 1")).scalar() == 1
        with pytest.raises(exc.OperationalError):
            connection.execute(sa.text("SELECT nothing"))
    engine.dispose()
    assert driver.troubles > before + 3
    assert sum("sqlalchemy" in record.getMessage() for record in caplog.records) <= 1
    assert "s3cr3t" not in caplog.text
    driver.troubles = 0
