"""Risk: a statement that is in force too long, too short, or in the wrong flow blames the wrong SQL for a write.

The tracer is driven here by what a driver publishes; what SQLite publishes is in test_sql_sqlite3.py."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from sql_support import KEY, Connection, Records, run

from memwatch_core.adapter.contexts import SqlContexts
from memwatch_core.adapter.parameters import keeper
from memwatch_core.native.tracing import in_force
from memwatch_core.records import Database

Make = Callable[..., SqlContexts]


def test_context_is_complete(tracer: SqlContexts, records: Records) -> None:
    connection = Connection()
    token = tracer.statement_begins(
        "driver", "SELECT a FROM t WHERE b = 'x'", (1, "p"), connection, Database("db", "h:1"), "sqlite"
    )
    context = records.contexts[in_force()]
    assert context["statement"] == "SELECT a FROM t WHERE b = ?"
    assert f',"parameters":{json.dumps(context["parameters"], separators=(",", ":"))}' == keeper("hash", KEY)(
        (1, "p"), False
    )
    assert (context["driver"], context["database"], context["server"]) == ("driver", "db", "h:1")
    assert context["thread"] == threading.current_thread().name
    assert (context["connection"], context["outcome"], context["transaction"]) == (1, "open", 0)
    tracer.statement_ends(token, in_transaction=False)
    tracer.rows_fetched(token, 2)
    tracer.rows_fetched(token, 1, exhausted=True)
    run(tracer, "SELECT 2", connection)
    assert (context["rows"], context["outcome"]) == (3, "ended")
    assert context["ended"] >= context["started"] > 1_600_000_000_000_000_000


def test_ids_are_never_used_twice_in_a_process(make_tracer: Make) -> None:
    ids = []
    for _ in range(3):
        tracer = make_tracer()
        run(tracer, "SELECT 1")
        ids.append(in_force())
        tracer.close()
        assert in_force() == 0
    assert sorted(set(ids)) == ids


# ---- windows --------------------------------------------------------------------------------------------------------


def trail(tracer: SqlContexts, records: Records, *, left: bool) -> list[bool]:
    """Whether a SELECT is in force: running, run, fetched, fetched all (unless rows are left), cursor closed,
    committed."""
    connection = Connection()
    seen = []
    token = tracer.statement_begins("driver", "SELECT", None, connection)
    seen.append(records.statement == "SELECT")
    tracer.statement_ends(token, in_transaction=True)
    seen.append(records.statement == "SELECT")
    tracer.rows_fetched(token, 1)
    seen.append(records.statement == "SELECT")
    tracer.rows_fetched(token, 3, exhausted=not left)
    seen.append(records.statement == "SELECT")
    tracer.cursor_closed(token)
    seen.append(records.statement == "SELECT")
    tracer.transaction_ends(connection, "committed")
    seen.append(records.statement == "SELECT")
    assert (records.statement is None) == (in_force() == 0)
    return seen


@pytest.mark.parametrize(
    ("window", "expected", "with_rows_left"),
    [
        ("statement", "1.....", "1....."),
        ("fetch", "111...", "1111.."),
        ("until-next", "11111.", "1111.."),
        ("transaction", "11111.", "11111."),
    ],
)
def test_window_says_how_long(
    make_tracer: Make, records: Records, window: str, expected: str, with_rows_left: str
) -> None:
    for left, trace in ((False, expected), (True, with_rows_left)):
        seen = trail(make_tracer(window=window), records, left=left)
        assert "".join("1" if each else "." for each in seen) == trace
    assert records.outcomes == [("SELECT", "committed")] * 2


WITHOUT_ROWS = dict.fromkeys(("fetchable",), False)


@pytest.mark.parametrize("window", ["until-next", "transaction"])
@pytest.mark.parametrize(
    ("ends", "fetches", "all_fetched", "stays"),
    [
        ({}, [], False, False),  # nothing was fetched
        ({}, [(1, False)], False, False),
        ({}, [(1, False)], True, True),  # the library knows that this was the only one
        ({}, [], True, True),  # there was none
        ({}, [(1, True)], False, True),
        ({}, [(1, False), (0, True)], False, True),
        (WITHOUT_ROWS, [], False, True),
    ],
)
@pytest.mark.parametrize("then", ["next", "committed", "closed"])
def test_closing_a_cursor_ends_its_statement_only_if_rows_are_left(
    make_tracer: Make,
    records: Records,
    window: str,
    ends: dict[str, Any],
    fetches: list[tuple[int, bool]],
    all_fetched: bool,
    stays: bool,
    then: str,
) -> None:
    tracer, connection = make_tracer(window=window), Connection()
    token = tracer.statement_begins("driver", "ONE", None, connection)
    tracer.statement_ends(token, in_transaction=False, **ends)
    for count, exhausted in fetches:
        tracer.rows_fetched(token, count, exhausted=exhausted)
    tracer.cursor_closed(token, all_fetched)
    assert (records.statement == "ONE") == stays
    tracer.cursor_closed(token)  # again
    assert (records.statement == "ONE") == stays
    del token
    if then == "next":
        run(tracer, "TWO", connection)
        assert records.statement == "TWO"
    else:
        tracer.transaction_ends(connection, then)  # type: ignore[arg-type]
        assert records.statement is None
    kinds = [(ident, new["outcome"]) for kind, ident, new in records.log if kind == "outcome" and "scope" not in new]
    assert kinds[0] == (1 + min(records.contexts) - 1, "ended" if stays and then != "closed" else "closed")
    assert tracer.troubles == 0


def test_closing_a_cursor_ends_its_statement_wherever_it_is_in_force(tracer: SqlContexts, records: Records) -> None:
    """In the task that runs it, and by another task or thread; one that is in force nowhere any more is finished."""

    async def main() -> None:
        for fetched in (True, False):
            token = tracer.statement_begins("driver", "ONE", None, Connection())
            tracer.statement_ends(token, in_transaction=False)
            tracer.rows_fetched(token, 1, exhausted=fetched)
            await asyncio.to_thread(contextvars.Context().run, tracer.cursor_closed, token)
            assert records.statement == ("ONE" if fetched else None)

    asyncio.run(main())
    closed = tracer.statement_begins("driver", "TWO", None, Connection())
    tracer.statement_ends(closed, in_transaction=False)
    run(tracer, "THREE")
    tracer.cursor_closed(closed, True)
    assert records.statement == "THREE"
    assert dict(records.outcomes)["TWO"] == "closed"


@pytest.mark.parametrize("window", ["fetch", "until-next", "transaction"])
def test_statement_without_rows_stays_in_force_but_with_fetch(make_tracer: Make, records: Records, window: str) -> None:
    tracer, connection = make_tracer(window=window), Connection()
    run(tracer, "INSERT", connection)
    assert (records.statement is None) == (window == "fetch")


def test_unknown_window_is_an_error(records: Records) -> None:
    with pytest.raises(ValueError, match=r"sql\.window.*until-next"):
        SqlContexts(records, KEY, window="for ever")  # type: ignore[arg-type]


# ---- ends -----------------------------------------------------------------------------------------------------------


def test_next_statement_ends_the_one_before_it(tracer: SqlContexts, records: Records) -> None:
    run(tracer, "A", rows=5)
    run(tracer, "B")
    assert records.statement == "B"
    assert records.outcomes == [("A", "ended"), ("B", "open")]
    assert records.contexts[min(records.contexts)]["rows"] == 5


def test_failed_statement_is_not_in_force(tracer: SqlContexts, records: Records) -> None:
    run(tracer, "A", error=ZeroDivisionError("secret"))
    assert in_force() == 0
    assert records.outcomes == [("A", "failed: ZeroDivisionError")]


def test_transaction_marks_all_its_statements_and_no_other(tracer: SqlContexts, records: Records) -> None:
    one, other = Connection(), Connection()
    run(tracer, "before", one)
    run(tracer, "A", one, in_transaction=True)
    run(tracer, "elsewhere", other, in_transaction=True)
    run(tracer, "B", one, in_transaction=True)
    run(tracer, "C", one, in_transaction=True, error=ValueError())
    run(tracer, "D", one, in_transaction=True)
    tracer.transaction_ends(one, "rolled back")
    assert in_force() == 0
    run(tracer, "after", one)
    tracer.transaction_ends(other, "committed")
    assert records.outcomes == [
        ("before", "ended"),
        ("A", "rolled back"),
        ("elsewhere", "committed"),
        ("B", "rolled back"),
        ("C", "failed: ValueError"),
        ("D", "rolled back"),
        ("after", "open"),
    ]


@pytest.mark.parametrize(
    ("text", "outcome"), [("COMMIT", "committed"), ("rollback;", "rolled back"), ("END", "committed")]
)
def test_transaction_that_ends_by_text(tracer: SqlContexts, records: Records, text: str, outcome: str) -> None:
    connection = Connection()
    run(tracer, "A", connection, in_transaction=True)
    run(tracer, text, connection, in_transaction=False)
    assert in_force() == 0
    assert [each[1] for each in records.outcomes] == [outcome, outcome]


def test_conflict_that_rolls_back_is_seen(tracer: SqlContexts, records: Records) -> None:
    connection = Connection()
    run(tracer, "A", connection, in_transaction=True)
    run(tracer, "B", connection, in_transaction=False, error=ValueError())
    assert records.outcomes == [("A", "rolled back"), ("B", "failed: ValueError")]


def test_closed_connection_rolls_back(tracer: SqlContexts, records: Records) -> None:
    connection = Connection()
    run(tracer, "A", connection)
    run(tracer, "B", connection, in_transaction=True)
    tracer.transaction_ends(connection, "closed")
    assert records.outcomes == [("A", "ended"), ("B", "rolled back")]
    assert in_force() == 0


def test_collected_connection_rolls_back_but_what_was_fetched_lives_on(tracer: SqlContexts, records: Records) -> None:
    connection = Connection()
    run(tracer, "A", connection, in_transaction=True)
    del connection
    gc.collect()
    assert records.outcomes == [("A", "rolled back")]
    assert in_force() == 0

    def load() -> None:
        connection = Connection()
        tracer.rows_fetched(run(tracer, "B", connection, fetchable=True), 1, exhausted=True)

    load()
    gc.collect()
    assert records.statement == "B"
    run(tracer, "C")
    assert records.outcomes[1:] == [("B", "ended"), ("C", "open")]


def test_another_connection_at_the_same_address_is_another(tracer: SqlContexts, records: Records) -> None:
    for _ in range(20):
        run(tracer, "A", Connection())
    assert len({each["connection"] for each in records.contexts.values()}) == 20


# ---- nesting --------------------------------------------------------------------------------------------------------


def test_fetch_brings_its_statement_back_into_force(tracer: SqlContexts, records: Records) -> None:
    connection = Connection()
    outer = run(tracer, "OUTER", connection, fetchable=True)
    for _ in range(3):
        tracer.rows_fetched(outer, 1)
        assert records.statement == "OUTER"
        inner = run(tracer, "INNER", connection, fetchable=True)
        assert records.statement == "INNER"
        tracer.rows_fetched(inner, 1)
        tracer.rows_fetched(inner, 0, exhausted=True)
        assert records.statement == "INNER"
    tracer.rows_fetched(outer, 0, exhausted=True)
    assert records.statement == "INNER"
    assert records.outcomes[0] == ("OUTER", "ended")
    assert sum(kind == "outcome" for kind, *_ in records.log) == 3  # two INNER, and OUTER: none twice


def test_fetch_after_commit_reopens_and_keeps_the_last_word(tracer: SqlContexts, records: Records) -> None:
    connection = Connection()
    token = run(tracer, "A", connection, fetchable=True, in_transaction=True)
    tracer.transaction_ends(connection, "committed")
    assert (records.statement, in_force()) == (None, 0)
    tracer.rows_fetched(token, 1)
    assert records.statement == "A"
    run(tracer, "B", connection)
    tracer.rows_fetched(token, 0, exhausted=True)
    assert records.outcomes == [("A", "committed"), ("B", "open")]


def test_driver_below_an_orm_makes_no_context_of_its_own(tracer: SqlContexts, records: Records) -> None:
    orm, connection = Connection(), Connection()
    whole = tracer.statement_begins("orm", "SELECT a FROM t", None, orm)
    part = tracer.statement_begins("driver", "select A from T", None, connection)
    assert records.statement == "SELECT a FROM t"
    tracer.statement_ends(part, rows=7, in_transaction=False)
    assert records.statement == "SELECT a FROM t"
    tracer.statement_ends(whole)
    tracer.rows_fetched(part, 4, exhausted=True)
    run(tracer, "B", connection)
    assert records.outcomes == [("SELECT a FROM t", "ended"), ("B", "open")]
    assert records.contexts[min(records.contexts)]["rows"] == 4
    assert records.contexts[min(records.contexts)]["driver"] == "orm"


def test_orm_that_closes_its_cursor_at_once_keeps_its_statement_in_force(tracer: SqlContexts, records: Records) -> None:
    connection = Connection()
    outer = tracer.statement_begins("orm", "SELECT a", connection=connection)
    inner = tracer.statement_begins("driver", "SELECT a", connection=connection)
    tracer.statement_ends(inner, in_transaction=True)
    tracer.statement_ends(outer)
    tracer.rows_fetched(inner, 3, exhausted=True)
    tracer.cursor_closed(inner)
    assert records.statement == "SELECT a"
    tracer.transaction_ends(connection, "committed")
    assert records.outcomes == [("SELECT a", "committed")]


def test_statement_of_a_callback_on_another_connection_is_its_own(tracer: SqlContexts, records: Records) -> None:
    one, other = Connection(), Connection()
    outer = tracer.statement_begins("driver", "OUTER", None, one)
    inner = tracer.statement_begins("driver", "INNER", None, other)
    assert records.statement == "INNER"
    tracer.statement_ends(inner, error=ValueError(), in_transaction=False)
    assert records.statement == "OUTER"
    tracer.statement_ends(outer, in_transaction=False)
    assert records.statement == "OUTER"


# ---- flows ----------------------------------------------------------------------------------------------------------


def test_threads_never_mix(tracer: SqlContexts, records: Records) -> None:
    barrier = threading.Barrier(8)
    wrong = []

    def work(name: str) -> None:
        connection = Connection()
        barrier.wait()
        for n in range(200):
            token = run(tracer, f"SELECT {name}_{n % 7}", connection, fetchable=True)
            tracer.rows_fetched(token, 1)
            statement = records.contexts[in_force()]["statement"]
            if statement != f"SELECT {name}_{n % 7}":
                wrong.append(statement)

    threads = [threading.Thread(target=work, args=(f"t{n}",), name=f"worker-{n}") for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert in_force() == 0
    assert {each["thread"] for each in records.contexts.values()} == {f"worker-{n}" for n in range(8)}


def test_plain_thread_starts_without_a_statement(tracer: SqlContexts) -> None:
    run(tracer, "A")
    seen = []
    thread = threading.Thread(target=lambda: seen.append(in_force()))
    thread.start()
    thread.join()
    assert seen == [0]


def test_tasks_never_mix(tracer: SqlContexts, records: Records) -> None:
    async def work(name: str) -> None:
        connection = Connection()
        for n in range(20):
            token = tracer.statement_begins("driver", f"SELECT {name}_{n}", None, connection)
            await asyncio.sleep(0)
            tracer.statement_ends(token, in_transaction=True)
            await asyncio.sleep(0)
            tracer.rows_fetched(token, 1)
            await asyncio.sleep(0)
            assert records.statement == f"SELECT {name}_{n}"
        tracer.transaction_ends(connection, "committed")
        assert records.statement is None

    async def main() -> None:
        await asyncio.gather(*(work(f"t{n}") for n in range(20)))

    asyncio.run(main())
    assert {outcome for _, outcome in records.outcomes} == {"committed"}
    assert len(records.outcomes) == 400


def test_task_inherits_until_the_statement_goes_out_of_force_where_it_came_from(
    tracer: SqlContexts, records: Records
) -> None:
    async def main() -> None:
        started, superseded = asyncio.Event(), asyncio.Event()

        async def child() -> list[str | None]:
            seen = [records.statement]
            started.set()
            await superseded.wait()
            seen.append(records.statement)
            run(tracer, "CHILD")
            seen.append(records.statement)
            return seen

        run(tracer, "PARENT")
        task = asyncio.create_task(child())
        await started.wait()
        run(tracer, "NEXT")
        superseded.set()
        assert await task == ["PARENT", None, "CHILD"]
        assert records.statement == "NEXT"

    asyncio.run(main())
    assert ("NEXT", "ended") not in records.outcomes[:1]


def test_statement_of_a_child_does_not_touch_the_parent(tracer: SqlContexts, records: Records) -> None:
    async def main() -> None:
        mine = Connection()
        running = tracer.statement_begins("driver", "PARENT", None, mine)

        async def child() -> None:
            connection = Connection()
            run(tracer, "CHILD", connection)  # while the parent's statement runs
            assert records.statement == "CHILD"

        await asyncio.create_task(child())
        assert records.statement == "PARENT"
        tracer.statement_ends(running, in_transaction=False)
        assert records.statement == "PARENT"

    asyncio.run(main())


def test_contextvars_of_the_program_are_left_alone(tracer: SqlContexts) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("mine")
    token = variable.set(5)
    run(tracer, "A")
    variable.reset(token)
    assert variable.get(None) is None


# ---- lifetimes, trouble ---------------------------------------------------------------------------------------------


def test_nothing_of_the_program_is_kept_alive(tracer: SqlContexts) -> None:
    class Parameter:
        pass

    connection, parameter = Connection(), Parameter()
    alive: list[weakref.ref[Any]] = [weakref.ref(connection), weakref.ref(parameter)]
    tracer.statement_begins("driver", "A", [parameter], connection)
    del connection, parameter
    assert [ref() for ref in alive] == [None, None]


def test_abandoned_statements_end_and_are_not_kept(tracer: SqlContexts, records: Records) -> None:
    connection = Connection()
    for _ in range(500):  # as conn.execute(...).fetchone(): never read to the end, the cursor gone
        tracer.rows_fetched(run(tracer, "A", connection, fetchable=True), 1)
    for n in range(500):  # flows that are gone
        contextvars.Context().run(run, tracer, f"B{n}", connection, fetchable=True)
    gc.collect()
    assert sum(outcome == "open" for _, outcome in records.outcomes) < 50
    assert tracer.unfinished < 50


def test_failing_writer_never_reaches_the_program(
    tracer: SqlContexts, records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    run(tracer, "BEFORE")
    records.fail = OSError(28, "no space left for s3cr3t")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            run(tracer, "A", Connection(), in_transaction=True)
        assert in_force() == 0  # rather none than the one before
    assert tracer.troubles >= 3
    assert len(caplog.records) == 1
    assert "OSError" in caplog.text
    assert "s3cr3t" not in caplog.text
    records.fail = None
    run(tracer, "B")
    assert records.statement == "B"


@pytest.mark.parametrize("token", [None, 5, "token", object()])
def test_any_token_is_taken(tracer: SqlContexts, token: object) -> None:
    tracer.statement_ends(token, rows=1, error=ValueError())
    tracer.rows_fetched(token, 1, exhausted=True)
    tracer.cursor_closed(token)
    tracer.transaction_ends(token, "committed")
    assert tracer.troubles == 0


@pytest.mark.parametrize("statement", [b"SELECT 'x'", None, 5, object(), "", "-- a comment", "\ud800", "x" * 10**6])
def test_any_statement_is_taken(tracer: SqlContexts, records: Records, statement: object) -> None:
    run(tracer, statement)  # type: ignore[arg-type]
    assert tracer.troubles == 0
    assert records.current is not None


def test_closed_tracer_records_nothing(tracer: SqlContexts, records: Records) -> None:
    token = run(tracer, "A", fetchable=True)
    tracer.close()
    tracer.rows_fetched(token, 1)
    run(tracer, "B")
    tracer.close()
    assert in_force() == 0
    assert records.outcomes == [("A", "ended")]


@pytest.mark.parametrize(
    ("name", "kept"),
    [("orders", "orders"), ("host:5432/a", "host:5432/a"), ("postgresql://u:pw@h/d", "?"), ("host=h password=pw", "?")],
)
def test_connection_strings_are_not_kept(tracer: SqlContexts, records: Records, name: str, kept: str) -> None:
    tracer.statement_begins("driver", "A", None, Connection(), Database(name, name))
    context = records.contexts[in_force()]
    assert (context["database"], context["server"]) == (kept, kept)
