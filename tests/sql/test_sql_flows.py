"""Risk: the C tracer mixes flows, leaks, or takes the program down with an argument that it didn't expect.

What it means by its statements is in test_sql_contexts.py and test_sql_transactions.py."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import itertools
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import greenlet
import pytest
from sql_support import KEY, Connection, Records, Session, run

from memwatch_core.adapter.contexts import SqlContexts
from memwatch_core.adapter.watch import watch
from memwatch_core.native.tracing import Connection as Known
from memwatch_core.native.tracing import Part, Statement, Tracer, in_force
from memwatch_core.records import Database

Make = Callable[..., SqlContexts]
WINDOWS = ["statement", "fetch", "until-next", "transaction"]


# ---- flows ----------------------------------------------------------------------------------------------------------


def test_code_in_a_greenlet_belongs_to_the_task_that_awaits_it(tracer: SqlContexts, records: Records) -> None:
    """As SQLAlchemy's asyncio extension does: synchronous code in a greenlet that shares its task's context."""

    async def in_greenlet(name: str, connection: Connection) -> None:
        def synchronous() -> None:
            for n in range(20):
                whole = tracer.statement_begins("orm", f"{name}{n}", connection=connection)
                parent.switch()  # awaits
                part = tracer.statement_begins("driver", "select", connection=Connection())
                parent.switch()
                tracer.statement_ends(part, in_transaction=True)
                tracer.statement_ends(whole)
                parent.switch()
                assert records.statement == f"{name}{n}"

        parent = greenlet.getcurrent()
        child = greenlet.greenlet(synchronous)
        child.gr_context = parent.gr_context
        child.switch()
        while not child.dead:
            await asyncio.sleep(0)
            child.parent = parent = greenlet.getcurrent()
            child.switch()

    async def main() -> None:
        await asyncio.gather(*(in_greenlet(f"t{n}_", Connection()) for n in range(10)))

    asyncio.run(main())
    assert tracer.troubles == 0
    assert {each["driver"] for each in records.contexts.values()} == {"orm"}
    assert len(records.contexts) == 200


def test_greenlet_with_a_context_of_its_own_is_a_flow_of_its_own(tracer: SqlContexts, records: Records) -> None:
    seen = []

    def work() -> None:
        seen.append(records.statement)
        run(tracer, "CHILD")
        parent.switch()
        seen.append(records.statement)

    parent = greenlet.getcurrent()
    child = greenlet.greenlet(work)
    run(tracer, "PARENT")
    child.switch()
    assert records.statement == "PARENT"
    child.switch()
    assert seen == [None, "CHILD"]
    assert records.statement == "PARENT"


@pytest.mark.parametrize("window", WINDOWS)
def test_token_may_be_used_in_another_thread(make_tracer: Make, records: Records, window: str) -> None:
    tracer, connection = make_tracer(window=window), Connection()
    with ThreadPoolExecutor(1) as other:

        def there(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            return other.submit(call, *args, **kwargs).result()

        token = there(tracer.statement_begins, "driver", "A", None, connection)
        assert (in_force(), there(lambda: records.statement)) == (0, "A")
        tracer.statement_ends(token, in_transaction=True)
        assert (records.statement == "A") == (window != "statement")
        there(tracer.rows_fetched, token, 1)
        assert (there(lambda: records.statement) == "A") == (window != "statement")
        tracer.cursor_closed(token)
        assert (records.statement == "A") == (window == "transaction")
        there(tracer.transaction_ends, connection, "committed")
        assert (in_force(), there(in_force)) == (0, 0)
    assert records.outcomes == [("A", "committed")]
    assert tracer.troubles == 0


def test_flow_at_the_address_of_one_that_is_gone_has_inherited_nothing(tracer: SqlContexts, records: Records) -> None:
    """Contexts come from a free list: what tells an owner from an heir mustn't be the address."""
    keep = []
    for n in range(50):
        origin = contextvars.Context()
        origin.run(run, tracer, f"PARENT{n}")
        heir = origin.copy()
        keep.append(heir)
        del origin
        copies = [heir.copy() for _ in range(3)]  # one of them lies where the origin was
        for copy in copies:
            copy.run(run, tracer, "OTHER")
        assert heir.run(lambda: records.statement) == f"PARENT{n}"
    assert tracer.troubles == 0


def test_writer_of_a_finished_statement_carries_none(session: Callable[..., Session]) -> None:
    """The core looks at the statement itself: it needs no OUTCOME record to see that it is over."""
    opened = session()
    tracer, connection = SqlContexts(None, KEY), Connection()
    value: Any = watch(0, name="value", track_sql=True)
    token = run(tracer, "A", connection, fetchable=True)
    value.value = 1
    with ThreadPoolExecutor(1) as other:
        other.submit(tracer.cursor_closed, token).result()
    value.value = 2
    memoryview(value).cast("B").cast("q")[0] = 3
    tracer.close()
    events = opened.events()
    assert [(event.new, event.context.statement if event.context else None) for event in events] == [
        (1, "A"), (2, None), (3, None),
    ]  # fmt: skip


# ---- garbage --------------------------------------------------------------------------------------------------------


class Hostile:
    """Raises whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise ZeroDivisionError(name)

    def __bool__(self) -> bool:
        raise ZeroDivisionError

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    def __hash__(self) -> int:
        raise ZeroDivisionError


class Text(str):
    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    def __hash__(self) -> int:
        raise ZeroDivisionError


GARBAGE: list[Any] = [
    None, 5, -1, 2**70, "x", "\ud800", b"\xff", "x" * 100_000, [], {}, {1: 2}, [[1], None], (((1,),),), object(),
    Hostile(), Text("x"), float("nan"), int, Hostile, itertools.count(), ValueError("x"),
]  # fmt: skip


def test_no_argument_makes_a_method_raise(make_tracer: Make, records: Records) -> None:
    for window, keep in itertools.product(WINDOWS, ("hash", "full", "none")):
        tracer = make_tracer(window=window, parameters=keep)
        token = run(tracer, "SELECT", Connection(), fetchable=True)
        for garbage in GARBAGE:
            plain = ["driver", "SELECT ?", (1,), Connection(), Database("a"), "sqlite", False, token]
            for at in range(len(plain)):
                made = tracer.statement_begins(*[garbage if n == at else each for n, each in enumerate(plain)])
                for position in range(1, 6):
                    arguments = [made, 1, None, True, False, False]
                    arguments[position] = garbage
                    tracer.statement_ends(*arguments)
            tracer.statement_begins("driver", "SELECT ?", [garbage, {"a": garbage}, [garbage]])
            tracer.statement_begins("driver", "SELECT ?", [garbage, [garbage], (garbage, 1)], many=True)
            for each in (token, garbage):
                tracer.rows_fetched(each, garbage)
                tracer.rows_fetched(each, 1, exhausted=garbage)
            tracer.cursor_closed(garbage)
            tracer.transaction_ends(garbage, "committed")
            tracer.transaction_ends(Connection(), garbage)
            for what in ("set", "released", "rolled back", garbage):
                tracer.savepoint(garbage, "s", what)  # type: ignore[arg-type]
                tracer.savepoint(plain[3], garbage, what)  # type: ignore[arg-type]
        tracer.statement_begins()  # type: ignore[call-arg]
        tracer.statement_begins("driver", "SELECT", nothing=5)  # type: ignore[call-arg]
        tracer.statement_begins("driver", "SELECT", driver="twice")  # type: ignore[misc]
        tracer.rows_fetched(*range(9))  # type: ignore[call-arg, misc]
        run(tracer, "AFTER", Connection())
        assert records.statement in ("AFTER", None)
        assert next(reversed(records.contexts.values()))["statement"] == "AFTER"
        tracer.close()


def test_interrupt_is_not_swallowed(records: Records) -> None:
    """Ctrl-C while Python code of ours runs is the program's."""

    class Interrupted(SqlContexts):
        def _head(self, driver: str, statement: str, dialect: str) -> tuple[bytes, int, str]:
            raise KeyboardInterrupt

    tracer = Interrupted(records, KEY)
    with pytest.raises(KeyboardInterrupt):
        tracer.statement_begins("driver", "SELECT")
    assert tracer.troubles == 0
    assert in_force() == 0


def test_tracer_without_hooks_is_harmless() -> None:
    for arguments in ((), (5, None, None, None), (1, None, None), ("x", None, None, None)):
        with pytest.raises((TypeError, ValueError)):
            Tracer(*arguments)  # type: ignore[arg-type]
    tracer = Tracer(2, None, None, None)
    assert tracer.statement_begins("driver", "SELECT") is None
    assert tracer.troubles == 1
    never = Tracer.__new__(Tracer)
    assert never.statement_begins("driver", "SELECT") is None
    never.close()


def test_exception_of_the_program_survives_the_end_of_a_statement(tracer: SqlContexts, records: Records) -> None:
    """A statement may be collected while an exception is on its way."""

    def fail() -> None:
        token = run(tracer, "A", fetchable=True)
        tracer.rows_fetched(token, 1)
        run(tracer, "B")
        raise KeyError("mine")

    records.fail = OSError("disk full")
    with pytest.raises(KeyError, match="mine"):
        fail()
    records.fail = None


# ---- leaks ----------------------------------------------------------------------------------------------------------


class Counting:
    """A writer that keeps nothing."""

    def __init__(self) -> None:
        self.contexts = self.outcomes = 0

    def context(self, context: int, payload: bytes) -> None:
        self.contexts += 1

    def outcome(self, context: int, payload: bytes) -> None:
        self.outcomes += 1


def exercise(tracer: SqlContexts, connection: Connection, texts: list[str], rounds: int) -> None:
    error, parameters = ValueError(), (1, "x", 2.5, None, b"y", "ä", True, 10**30, {"a": 1}, object)
    previous = None
    for n in range(rounds):
        text = texts[n % len(texts)]
        token = tracer.statement_begins("driver", text, parameters, connection, None, "postgresql", False, previous)
        inner = tracer.statement_begins("driver", text, [parameters], connection, dialect="postgresql", many=True)
        tracer.statement_ends(inner, rows=1)
        tracer.statement_ends(token, 1, error if n % 7 == 0 else None, n % 2 == 0, n % 11 != 0)
        tracer.rows_fetched(token, 1)
        tracer.rows_fetched(token, 1, exhausted=n % 3 == 0)
        if n % 5 == 0:
            tracer.cursor_closed(token)
        if n % 13 == 0:
            tracer.transaction_ends(connection, "committed")
        if n % 17 == 0:
            tracer.savepoint(connection, "s", "set")
            contextvars.Context().run(run, tracer, "elsewhere", Connection(), fetchable=True)
        previous = token


def test_hundred_thousand_statements_leave_nothing_behind() -> None:
    texts = [f"SELECT {name}" for name in "abcdefg"] + ["SAVEPOINT s", "ROLLBACK TO s", "RELEASE s", "COMMIT", "BEGIN"]
    connection = Connection()
    writer = Counting()
    tracer = SqlContexts(writer, KEY)
    held: list[Any] = [
        connection,
        tracer,
        tracer.variable,
        *texts,
        None,
        type(in_force()),
        ValueError,
        True,
        False,
        Statement,
        Part,
    ]
    held.append(Known)
    exercise(tracer, connection, texts, 2_000)
    gc.collect()
    before, blocks = [sys.getrefcount(each) for each in held], sys.getallocatedblocks()
    exercise(tracer, connection, texts, 100_000)
    gc.collect()
    after = [sys.getrefcount(each) for each in held]
    assert sys.getallocatedblocks() - blocks < 500
    assert [b - a for a, b in zip(before, after, strict=True) if abs(b - a) > 20 and a < 2**30] == []
    assert tracer.unfinished < 5
    assert tracer.troubles == 0
    tracer.close()
    assert writer.contexts > 100_000
    assert writer.outcomes >= writer.contexts


def test_tracer_and_connections_are_collected(records: Records) -> None:
    class Weak(SqlContexts):
        __slots__ = ("__weakref__",)

    tracer, connection = Weak(records, KEY), Connection()
    run(tracer, "A", connection, in_transaction=True)
    alive: list[weakref.ref[Any]] = [weakref.ref(tracer), weakref.ref(connection)]
    tracer.close()
    del tracer, connection
    gc.collect()
    assert [each() for each in alive] == [None, None]
    # Never closed, and part of a cycle.
    tracer = Weak(records, KEY)
    records.tracer = tracer  # type: ignore[attr-defined]
    connection = Connection()
    run(tracer, "A", connection, in_transaction=True)
    contextvars.Context().run(run, tracer, "B", connection)
    alive = [weakref.ref(tracer)]
    contextvars.copy_context().run(lambda: None)
    run(Weak(Records(), KEY), "another's")  # takes A out of force here
    del records.tracer, tracer  # type: ignore[attr-defined]
    gc.collect()
    assert alive[0]() is None
    del connection  # its weak reference has a callback still
