"""Risk: the whole way, from a SQL statement through the core and the journal to an event that names it."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sql_support import Session

from memwatch_core.adapter.watch import watch
from memwatch_core.records import Event

Begin = Callable[..., Session]


def statements(events: list[Event]) -> list[tuple[int, str | None]]:
    return [(event.new, event.context.statement if event.context else None) for event in events]


def store(value: Any, number: int) -> None:
    """Writes past the proxy, as C code does: through the buffer, which faults."""
    memoryview(value).cast("B").cast("q")[0] = number


@pytest.fixture
def table() -> Callable[[], sqlite3.Connection]:
    def make() -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:")
        connection.execute("CREATE TABLE t (a)")
        connection.executemany("INSERT INTO t VALUES (?)", [(1,), (2,), (3,)])
        connection.commit()
        return connection

    return make


def test_value_written_after_a_fetch_carries_its_statement(
    session: Begin, table: Callable[[], sqlite3.Connection]
) -> None:
    opened = session()
    connection = table()
    total: Any = watch(0, name="total", track_sql=True)
    total.value = 10
    for (a,) in connection.execute("SELECT a FROM t WHERE a > ?", (1,)):
        total.value = a
        store(total, a * 100)
    connection.execute("UPDATE t SET a = 5")
    store(total, 5)
    connection.rollback()
    total.value = 6
    store(total, 7)
    connection.close()
    events = opened.events()
    select, update = "SELECT a FROM t WHERE a > ?", "UPDATE t SET a = ?"
    assert statements(events) == [
        (10, None), (2, select), (200, select), (3, select), (300, select), (5, update), (6, None), (7, None),
    ]  # fmt: skip
    assert [event.origin for event in events] == [
        "announced",
        *["announced", "store"] * 2,
        "store",
        "announced",
        "store",
    ]
    context = events[1].context
    assert context is not None
    assert (context.driver, context.database, context.thread) == ("sqlite3", ":memory:", "MainThread")
    assert (len(context.parameters), context.started <= events[1].time_ns) == (1, True)


def test_variable_that_does_not_track_sql_carries_none(session: Begin, table: Callable[[], sqlite3.Connection]) -> None:
    opened = session()
    connection = table()
    value: Any = watch(0, name="value", track_sql=False)
    connection.execute("SELECT a FROM t")
    value.value = 1
    store(value, 2)
    connection.close()
    assert statements(opened.events()) == [(1, None), (2, None)]


def test_threads_never_mix_announced_nor_faulted(session: Begin, tmp_path: Path) -> None:
    opened = session()

    def work(name: str) -> None:
        connection = sqlite3.connect(tmp_path / f"{name}.db")
        connection.execute(f"CREATE TABLE {name} (a)")
        value: Any = watch(0, name=name, track_sql=True)
        for n in range(1, 101):
            connection.execute(f"SELECT {n} AS {name}").fetchall()
            value.value = n
            connection.execute(f"SELECT {n} AS other, '{name}'").fetchall()
            store(value, -n)
        connection.close()

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = opened.events()
    assert len(events) == 800
    for event in events:
        assert event.context is not None
        expected = f"SELECT ? AS {event.variable}" if event.origin == "announced" else "SELECT ? AS other, ?"
        assert event.context.statement == expected
        assert event.context.started <= event.time_ns
        assert event.context.database == f"{event.variable}.db"


def test_tasks_never_mix_announced_nor_faulted(session: Begin, table: Callable[[], sqlite3.Connection]) -> None:
    opened = session()
    connection = table()

    async def work(name: str) -> None:
        value: Any = watch(0, name=name, track_sql=True)
        for n in range(1, 21):
            connection.execute(f"SELECT a AS {name} FROM t").fetchall()
            await asyncio.sleep(0)
            value.value = n
            await asyncio.sleep(0)
            store(value, -n)

    async def main() -> None:
        await asyncio.gather(*(work(f"t{n}") for n in range(10)))

    asyncio.run(main())
    connection.close()
    events = opened.events()
    assert len(events) == 400
    assert all(event.context and event.context.statement == f"SELECT a AS {event.variable} FROM t" for event in events)


def test_task_that_outlives_the_statement_it_inherited_carries_it_no_more(
    session: Begin, table: Callable[[], sqlite3.Connection]
) -> None:
    opened = session()
    connection = table()

    async def main() -> None:
        value: Any = watch(0, name="value", track_sql=True)
        written = asyncio.Event()

        async def child() -> None:
            value.value = 1
            written.set()
            await asyncio.sleep(0)
            await ended.wait()
            value.value = 2
            store(value, 3)

        ended = asyncio.Event()
        connection.execute("SELECT a FROM t").fetchall()
        task = asyncio.create_task(child())
        await written.wait()
        connection.execute("DELETE FROM t")
        connection.rollback()
        ended.set()
        await task

    asyncio.run(main())
    connection.close()
    assert statements(opened.events()) == [(1, "SELECT a FROM t"), (2, None), (3, None)]


def test_failed_and_ended_statements_are_known_by_their_outcome(
    session: Begin, table: Callable[[], sqlite3.Connection]
) -> None:
    opened = session()
    connection = table()
    connection.execute("INSERT INTO t VALUES (7)")
    connection.execute("INSERT INTO t VALUES (8)")
    connection.rollback()
    with pytest.raises(sqlite3.OperationalError):
        connection.execute("SELECT nothing")
    connection.close()
    raw = opened.bytes()
    opened.leave()
    assert b'{"outcome":"rolled back","scope":"transaction"}' in raw
    assert b'"outcome":"failed: OperationalError"' in raw


@pytest.mark.parametrize("window", ["statement", "fetch", "until-next", "transaction"])
def test_window_of_the_settings_counts(session: Begin, table: Callable[[], sqlite3.Connection], window: str) -> None:
    opened = session(window=window)
    connection = table()
    value: Any = watch(0, name="value", track_sql=True)
    connection.create_function("write", 1, lambda number: value.__setattr__("value", number))
    cursor = connection.execute("INSERT INTO t VALUES (4) RETURNING write(a)")
    value.value = 5
    cursor.fetchall()
    value.value = 6
    cursor.close()
    value.value = 7
    connection.commit()
    value.value = 8
    connection.close()
    seen = [event.context is not None for event in opened.events()]
    expected = {"statement": 1, "fetch": 2, "until-next": 4, "transaction": 4}[window]
    assert seen == [n < expected for n in range(5)]


SECRETS = (
    "s3cr3t-literal",
    "s3cr3t-parameter",
    "s3cr3t-named",
    "s3cr3t-row",
    "s3cr3t-comment",
    "s3cr3t-double",
    "s3cr3t-folder",
)


def test_no_parameter_or_literal_is_in_any_byte_of_the_journal(session: Begin, tmp_path: Path) -> None:
    opened = session()
    literal, parameter, named, row, comment, double, folder = SECRETS
    (tmp_path / folder).mkdir()
    connection = sqlite3.connect(tmp_path / folder / "orders.db")
    value: Any = watch(0, name="value", track_sql=True)
    connection.execute("CREATE TABLE t (a, b)")
    connection.execute(f"INSERT INTO t VALUES ('{literal}', X'{literal.encode().hex()}') -- {comment}")
    connection.execute("INSERT INTO t VALUES (?, ?)", (parameter, parameter.encode()))
    connection.execute("INSERT INTO t VALUES (:a, /* " + comment + " */ 987654321)", {"a": named})
    connection.executemany("INSERT INTO t VALUES (?, ?)", [(row, row)] * 3)
    connection.executescript(f"UPDATE t SET a = '{literal}' WHERE b = '{literal}'; SELECT '{literal}'")
    value.value = 1
    connection.execute(f'SELECT a FROM t WHERE a = "{double}"').fetchall()
    for statement in (f"SELECT nothing FROM t WHERE a = '{literal}'", f"SELECT '{literal}"):
        with pytest.raises(sqlite3.OperationalError):
            connection.execute(statement)
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute("SELECT 1", (parameter,))
    connection.close()
    opened.leave()
    data = opened.bytes()
    assert b"INSERT INTO t VALUES" in data
    assert b"orders.db" in data
    for secret in (*SECRETS, "987654321"):
        for form in (secret.encode(), secret.encode().hex().encode(), repr(secret.encode()).encode()):
            assert form not in data


def test_full_keeps_values_and_none_nothing(session: Begin, table: Callable[[], sqlite3.Connection]) -> None:
    data = {}
    for keep in ("full", "none", "hash"):
        opened = session(parameters=keep)
        connection = table()
        connection.execute("SELECT ?", ("a parameter",))
        connection.close()
        opened.leave()
        data[keep] = opened.bytes()
    assert b"'a parameter'" in data["full"]
    assert b"a parameter" not in data["hash"] + data["none"]
    assert re.search(rb'"parameters":\["[0-9a-f]{16}"\]', data["hash"])
    assert b'"parameters"' not in data["none"]


def test_times_are_in_order(session: Begin, table: Callable[[], sqlite3.Connection]) -> None:
    before = time.time_ns()
    opened = session()
    connection = table()
    value: Any = watch(0, name="value", track_sql=True)
    connection.execute("SELECT a FROM t").fetchall()
    value.value = 1
    connection.close()
    (event,) = opened.events()
    assert event.context is not None
    assert before <= event.context.started <= event.time_ns <= time.time_ns()
