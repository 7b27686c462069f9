"""Traces a library with connections and cursors (PEP 249, or an ``async`` variant) in place.

Its classes get methods that publish, so existing connections are traced as well. Classes written in C, which can't be
modified, are for ``composed.py``. A driver declares the library's names, and overrides the hooks below where the
library differs from PEP 249. Hooks may raise: errors are contained.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

from memwatch_core.errors import PluginError
from memwatch_core.native import tracing
from memwatch_core.native.tracing import Fetching, Running, Tokens, raise_unless_ours
from memwatch_core.records import Database

from .around import Steps, Trace
from .driver import Outcome, SqlDriverBase
from .plain import is_a
from .targets import declared, is_own, named, of_cursors, reader

Count = Literal["one", "some", "rest"] | Callable[[Any], tuple[int, bool]]
"""The result of a method that fetches: ``"one"`` row or None; ``"some"`` rows, empty at the end; the ``"rest"``. Or a
function of the result that returns (number of rows, whether they were the last)."""


class Status(NamedTuple):
    """Where a library keeps whether a transaction is open. Read in C, after every statement."""

    at: tuple[str, ...]
    """An attribute of connections, or a method that doesn't ask the server; then perhaps an attribute of its value, and
    so on: see ``reader`` in ``targets.py``."""
    open: tuple[int, ...] = (1,)
    """Values that mean yes."""
    unknown: tuple[int, ...] = ()
    """Values that mean unknown; all others mean no."""
    mask: int = 0
    """For a value with several bits: the bits that mean yes."""


class DbapiDriverBase(SqlDriverBase):
    """A subclass names itself and its library's classes; everything else has defaults for PEP 249."""

    cursors: ClassVar[tuple[str, ...]] = ()
    """The library's cursor classes, ``"dbx.cursors:Cursor"``. Name each of them: only methods in a class's own body are
    traced, so that an inherited one is traced once. Attributes are looked up in the first."""
    connections: ClassVar[tuple[str, ...]] = ()
    """The library's connection classes, in the same way."""
    runs: ClassVar[Mapping[str, tuple[str, str]]] = {
        "execute": ("operation", "parameters"), "executemany": ("operation", "seq_of_parameters"),
        "callproc": ("procname", "parameters"),
    }  # fmt: skip
    """Cursor methods that run a statement, with the names of their first two arguments: statement and parameters. If
    the method's name ends in ``many``, it takes rows. For other signatures, decorate a method with ``tells``."""
    fetches: ClassVar[Mapping[str, Count]] = {
        "fetchone": "one", "fetchmany": "some", "fetchall": "rest", "__next__": "one", "__anext__": "one",
    }  # fmt: skip
    """Cursor methods that return rows; ``__iter__`` and ``__aiter__`` only where they are generators. A call by another
    method of the same cursor isn't counted."""
    ends: ClassVar[Mapping[str, Outcome]] = {"commit": "committed", "rollback": "rolled back", "close": "closed"}
    """Connection methods that end a transaction, and the outcome if they succeed."""
    connected_by: ClassVar[str] = "connection"
    """The cursor attribute that is its connection."""
    status: ClassVar[Status | None] = None
    """None: whether a transaction is open is only known to the server."""

    def __init__(self) -> None:
        super().__init__()
        self._tokens = Tokens()
        self.traced_cursors: dict[str, Trace] = {}
        """The traces of cursors, by method; made once the library is imported."""
        self.traced_connections: dict[str, Trace] = {}
        self._is_prepared = False

    # ---- hooks: what is peculiar to a library -----------------------------------------------------------------------

    def connection_of(self, cursor: Any) -> Any:
        """The connection that a cursor belongs to."""
        return self._connection(cursor)

    def identity(self, connection: Any) -> Any:
        """The connection itself, or, if it doesn't support weak references, an object that lives as long."""
        return connection

    def database(self, identity: Any) -> Database:
        """The connection's database, without user and password; for a file, only its name. Called once for each
        connection."""
        return Database()

    def text(self, cursor: Any, statement: Any) -> Any:
        """The statement as str or bytes, if the library has other types of statements. Not called for a str."""
        return statement

    def in_transaction(self, connection: Any) -> bool | None:
        """Whether a transaction is open now; None: only the server knows. See :attr:`status`."""
        return self._open(connection)

    def is_closed(self, connection: Any) -> bool:
        """Whether the connection was closed, or lost."""
        return False

    def commits(self, connection: Any) -> Outcome:
        """The outcome of a commit now: ``rolled back`` in a transaction that has failed."""
        return "committed"

    def rolled_back(self, cursor: Any) -> bool:
        """Whether a statement rolled back its transaction, by the server's answer. Called if no transaction is open
        after the statement. PostgreSQL answers so to COMMIT if a statement has failed."""
        return False

    def after(self, cursor: Any) -> tuple[int | None, bool | None] | None:
        """After a successful statement: number of rows changed (None: it returns rows), and ``in_transaction``.

        None: the statement hasn't run yet, and the driver will call ``ended``. Unless overridden, this is read in C.
        """
        rows = None if self._description(cursor) is not None else self._rowcount(cursor)
        return rows, self.in_transaction(self.connection_of(cursor))

    def all_fetched(self, cursor: Any) -> bool:
        """Whether no row of the cursor's result is left, as far as the library knows without asking the server.

        Called before the cursor is closed. Need not repeat what a fetch without rows has already shown.
        """
        return False

    def failed(self, cursor: Any, token: Any, error: BaseException) -> None:
        """Publishes that a statement failed, and if so, that its connection was lost."""
        connection = ask(self.connection_of, cursor)
        lost = connection is None or ask(self.is_closed, connection)
        in_transaction = None if lost else ask(self.in_transaction, connection)
        self.publish.statement_ends(token, error=error, fetchable=False, in_transaction=in_transaction)
        if lost and connection is not None:
            self.publish.transaction_ends(self.identity(connection), "closed")

    def fetch_failed(self, cursor: Any, token: Any, error: BaseException) -> None:
        """Handles a failed fetch.

        A lost connection, a timeout or a cancelled task ends the statement. A mistake of the program (nothing was run,
        nothing to fetch) doesn't. The library's own exception classes tell which.
        """
        if not is_a(error, Exception) or ask(self.is_closed, ask(self.connection_of, cursor)):
            self.failed(cursor, token, error)

    # ---- for traces of one's own ------------------------------------------------------------------------------------

    def token(self, cursor: Any) -> Any:
        """The token of the cursor's last statement; None if unknown."""
        return self._tokens.get(cursor)

    def keep(self, cursor: Any, token: Any) -> None:
        """Stores the token of a statement that a cursor ran by other means than its own methods."""
        self._tokens.set(cursor, token)

    def begins(self, cursor: Any, statement: Any, parameters: Any = None, *, many: bool = False) -> Any:
        """Publishes that a cursor begins a statement by other means; returns the token."""
        return (self._running_many if many else self._running).begins(cursor, statement, parameters)

    def ended(self, cursor: Any, token: Any) -> None:
        """Publishes that the statement succeeded."""
        self._running.ends(cursor, token)

    def ending(self, connection: Any, outcome: Outcome) -> Steps:
        """Steps around a call that ends the transaction; ``outcome`` is that of success."""
        if outcome == "committed":
            outcome = self.commits(connection)
        try:
            yield
        except BaseException:
            self.not_ended(connection)
            raise
        self.publish.transaction_ends(self.identity(connection), outcome)

    def not_ended(self, connection: Any) -> None:
        """Handles a failed call that should have ended the transaction: if none is open any more, it was rolled
        back."""
        if ask(self.is_closed, connection) or ask(self.in_transaction, connection) is False:
            self.publish.transaction_ends(self.identity(connection), "rolled back")

    @of_cursors("close")
    def closing(self, cursor: Any, *args: Any, **kwargs: Any) -> Steps:
        """Publishes that a cursor is closed."""
        token = self.token(cursor)
        if token is None:
            return
        all_fetched = bool(ask(self.all_fetched, cursor))
        yield
        self.publish.cursor_closed(token, all_fetched)

    # ---- installing -------------------------------------------------------------------------------------------------

    def patch(self) -> None:
        """Traces what the driver declares."""
        if not self._is_prepared:
            self.prepare()
            self._is_prepared = True
        self.trace_classes()
        super().patch()

    def trace_classes(self) -> None:
        """Traces cursors and connections."""
        for target in self.cursors:
            self.trace_own(named(target), self.traced_cursors)
        for target in self.connections:
            self.trace_own(named(target), self.traced_connections)

    def trace_own(self, owner: type, traces: Mapping[str, Trace]) -> None:
        """Traces the methods in a class's own body, until uninstall."""
        for name, trace in traces.items():
            if is_own(owner, name) and (name not in ("__iter__", "__aiter__") or _gives_rows(vars(owner).get(name))):
                self.trace(owner, name, trace)

    def prepare(self) -> None:
        """Looks up the library's classes, and makes their traces. Called once."""
        if not self.cursors or not self.connections:
            raise PluginError(f"SQL driver {self.name!r} names no classes: set cursors and connections")
        cursor, connection = named(self.cursors[0]), named(self.connections[0])
        self._connection = reader(cursor, self.connected_by)
        self._description, self._rowcount = reader(cursor, "description"), reader(cursor, "rowcount")
        at, opens, unknown, mask = self.status or Status(())
        self.status_of = reader(connection, *at)
        """Reads the value at ``status`` from a connection."""
        self._open: Callable[[Any], bool | None] = _unknown
        if self.status is not None:
            self._open = tracing.Status(self.status_of, opens, unknown, mask)
        self._running, self._running_many = self.running(("", "")), self.running(("", ""), many=True)
        self.traced_cursors = {
            name: self.running(names, many=name.endswith("many")) for name, names in self.runs.items()
        }
        self.traced_cursors |= {name: self.fetching(count) for name, count in self.fetches.items()}
        self.traced_connections = {name: self._ending(outcome) for name, outcome in self.ends.items()}
        for each in declared(type(self)):
            method = getattr(self, each.method)
            for name in each.names:
                if each.kind == "cursors":
                    self.traced_cursors[name] = method
                elif each.kind == "tells":
                    self.traced_cursors[name] = self.running(method, many=name.endswith("many"))
                elif each.kind == "connections":
                    self.traced_connections[name] = method

    def running(self, arguments: tuple[str, str] | Callable[..., Any], *, many: bool = False) -> Running:
        """A trace for a method that runs a statement."""
        return Running(
            driver=self,
            tokens=self._tokens,
            name=self.name,
            dialect=self.dialect,
            database=self.database,
            arguments=arguments,
            connection=self.connection_of if self._has("connection_of") else self._connection,
            identity=self.identity if self._has("identity") else None,
            after=self.after if self._has("after") else None,
            description=self._description,
            rowcount=self._rowcount,
            status=self.in_transaction if self._has("in_transaction") else self._open,
            many=many,
            answers=self._has("rolled_back"),
        )

    def fetching(self, count: Count) -> Fetching:
        """A trace for a method that returns rows."""
        return Fetching(self, self._tokens, count)

    def _has(self, hook: str) -> bool:
        """Whether the driver overrides a hook."""
        return getattr(type(self), hook) is not getattr(DbapiDriverBase, hook)

    def _ending(self, outcome: Outcome) -> Trace:
        return lambda connection, *args, **kwargs: self.ending(connection, outcome)


def _gives_rows(method: Any) -> bool:
    return inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method)


def _unknown(connection: Any) -> None: ...


def ask(hook: Callable[[Any], Any], of: Any) -> Any:
    """A hook's answer about a connection that may be gone; None if it raises."""
    try:
        return hook(of)
    except Exception as error:
        raise_unless_ours(error)
        return None
