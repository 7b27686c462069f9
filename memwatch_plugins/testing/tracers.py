"""Tracers for drivers under test: one that records all calls, and one that raises."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from memwatch_core.records import Database

DIALECTS = ("sqlite", "postgresql", "mysql", "")


@dataclass(eq=False)
class Published:
    """A published statement: the token of :class:`RecordingTracer`."""

    driver: str
    statement: object
    parameters: object
    connection: int
    """``id()`` of the object that identifies the connection."""
    database: Database | None
    dialect: str
    many: bool
    previous: Any
    thread: int
    """``threading.get_ident()`` of the publishing thread."""
    task: object
    """The asyncio task that published; None outside of tasks."""
    ends: list[Ended] = field(default_factory=list)
    fetches: list[tuple[int, bool]] = field(default_factory=list)
    """(count, exhausted) of each call."""
    closed: int = 0
    all_fetched: bool = False
    """As published when the cursor was closed."""
    whole: Published | None = None
    """The statement of which this one is a part."""
    parts: list[Published] = field(default_factory=list)
    """Statements that began on the connection while this one ran, for instance if ``executemany`` calls ``execute``."""

    @property
    def text(self) -> str:
        """The statement, as text."""
        return self.statement.decode() if isinstance(self.statement, bytes) else str(self.statement)

    @property
    def rows(self) -> int:
        """Number of rows fetched."""
        return sum(count for count, _ in self.fetches)

    @property
    def running(self) -> bool:
        """Whether its end hasn't been published yet."""
        return not self.ends

    @property
    def has_several_results(self) -> bool:
        """It may have: then its end is published again behind the last one, for what that says of the transaction."""
        return ";" in self.text or self.text.startswith("CALL")

    @property
    def exhausted(self) -> bool:
        return any(exhausted for _, exhausted in self.fetches)

    def is_within(self, other: Published) -> bool:
        """Whether it began while the other one ran: it is a part of that, and no statement of its own."""
        here = (self.connection, self.thread, self.task)
        return not other.ends and here == (other.connection, other.thread, other.task)

    def __repr__(self) -> str:
        ends = ", ".join(map(repr, self.ends)) or "not ended"
        return f"<{self.text!r} {self.parameters!r}: {ends}; {self.rows} fetched>"


@dataclass(frozen=True)
class Ended:
    """How a statement ended."""

    rows: int | None
    error: BaseException | None
    fetchable: bool
    in_transaction: bool | None


def _task() -> object:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


class RecordingTracer:
    """Records all calls, and a sentence in ``wrong`` for each that no driver may make. Thread-safe."""

    def __init__(self) -> None:
        self.statements: list[Published] = []
        self.transactions: list[tuple[int, str]] = []
        """(``id()`` of the object that identifies the connection, outcome)."""
        self.savepoints: list[tuple[str, str]] = []
        """(name, what)."""
        self.wrong: list[str] = []
        self._lock = threading.Lock()
        self._connections: dict[int, Callable[[], object]] = {}

    def statement_begins(
        self,
        driver: str,
        statement: object,
        parameters: object = None,
        connection: object = None,
        database: Database | Callable[[Any], Database] | None = None,
        dialect: str = "",
        many: bool = False,
        previous: Any = None,
    ) -> Any:
        with self._lock:
            named = self._database(connection, database)
            if dialect not in DIALECTS:
                self.wrong.append(f"publish one of the dialects {DIALECTS}, not {dialect!r}")
            if previous is not None and not isinstance(previous, Published):
                self.wrong.append(f"hand back as previous= the token that you got, not {previous!r}")
            token = Published(
                driver,
                statement,
                parameters,
                self._ident(connection),
                named,
                dialect,
                many,
                previous,
                threading.get_ident(),
                _task(),
            )
            token.whole = next(filter(token.is_within, reversed(self.statements)), None)
            (self.statements if token.whole is None else token.whole.parts).append(token)
            return token

    def statement_ends(
        self,
        token: Any,
        rows: int | None = None,
        error: BaseException | None = None,
        fetchable: bool = True,
        in_transaction: bool | None = None,
        rolled_back: bool = False,
    ) -> None:
        with self._lock:
            if self._is_ours(token, "statement_ends"):
                if token.ends and not token.has_several_results:
                    self.wrong.append(f"publish the end of a statement once: {token!r}")
                if error is not None and fetchable:
                    self.wrong.append(f"a statement that failed has no rows: fetchable=False for {token!r}")
                token.ends.append(Ended(rows, error, fetchable, in_transaction))

    def rows_fetched(self, token: Any, count: int, *, exhausted: bool = False) -> None:
        with self._lock:
            if self._is_ours(token, "rows_fetched"):
                if type(count) is not int or count < 0:
                    self.wrong.append(f"rows_fetched() takes a count of rows, not {count!r}")
                (token.whole or token).fetches.append((count, exhausted))

    def cursor_closed(self, token: Any, all_fetched: bool = False) -> None:
        with self._lock:
            if self._is_ours(token, "cursor_closed"):
                token.closed += 1
                token.all_fetched |= all_fetched

    def transaction_ends(self, connection: object, outcome: str) -> None:
        with self._lock:
            if outcome not in ("committed", "rolled back", "closed"):
                self.wrong.append(f"a transaction is committed, rolled back or closed, not {outcome!r}")
            self.transactions.append((self._ident(connection), outcome))

    def savepoint(self, connection: object, name: str, what: str) -> None:
        with self._lock:
            if what not in ("set", "released", "rolled back"):
                self.wrong.append(f"a savepoint is set, released or rolled back, not {what!r}")
            self.savepoints.append((name, what))

    # ---- asking -----------------------------------------------------------------------------------------------------

    def clear(self) -> None:
        """Forgets all calls so far."""
        with self._lock:
            self.statements.clear()
            self.transactions.clear()
            self.savepoints.clear()

    def outcomes(self, connection: int | None = None) -> list[str]:
        """The outcomes of one connection's transactions, or of all."""
        return [outcome for ident, outcome in self.transactions if connection in (None, ident)]

    def texts(self) -> list[str]:
        return [published.text for published in self.statements]

    def _ident(self, connection: object) -> int:
        if connection is None:
            self.wrong.append("publish connection=, the connection or what stands for it")
            return 0
        try:
            ref = weakref.ref(connection)
        except TypeError:
            self.wrong.append(
                f"a {type(connection).__name__} allows no weak references: publish in its place an object that does, "
                "and that lives as long"
            )
            return id(connection)
        known = self._connections.setdefault(id(connection), ref)
        if known() is not connection:
            self._connections[id(connection)] = ref
        return id(connection)

    def _database(self, connection: object, database: Any) -> Database | None:
        try:
            named = database(connection) if callable(database) else database
        except Exception as error:
            self.wrong.append(f"database= must not raise: {error!r}")
            return None
        if named is not None and not isinstance(named, Database):
            self.wrong.append(f"database= is a memwatch_core.records.Database, or a function that makes one: {named!r}")
            return None
        return named

    def _is_ours(self, token: Any, method: str) -> bool:
        if token is not None and not isinstance(token, Published):
            self.wrong.append(f"hand the token of statement_begins() to {method}(), not {token!r}")
        return isinstance(token, Published)


class BrokenTracer(RecordingTracer):
    """Raises from some of its methods, and counts the calls."""

    def __init__(self, *methods: str) -> None:
        super().__init__()
        self.raised = 0
        for method in methods:
            setattr(self, method, self._break)

    def _break(self, *args: object, **kwargs: object) -> Any:
        self.raised += 1
        raise RuntimeError("planted-trouble")


METHODS = (
    "statement_begins", "statement_ends", "rows_fetched", "cursor_closed", "transaction_ends", "savepoint",
)  # fmt: skip
"""The methods of a SqlTracer."""
