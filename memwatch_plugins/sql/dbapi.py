"""Traces a library with connections and cursors (PEP 249, or its like with ``async``) in place: its classes get methods
that publish, so that connections which exist already are traced as well. What can't be changed, because it is written
in C, is traced by ``composed.py``.

A driver declares what its library calls things, and overrides the hooks below where the library differs from PEP 249.
Each hook may raise, which is contained.
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
"""What a method returns that hands out rows: ``"one"``, or None; ``"some"``, none in the end; the ``"rest"``. Or a
function of the result: how many rows it has, and whether these were the last."""


class Status(NamedTuple):
    """Where a library keeps whether a transaction is open. Read in C, after every statement."""

    at: tuple[str, ...]
    """An attribute of connections, or a method of theirs that asks nobody; perhaps an attribute of what that gives, and
    so on: see ``targets.py``, ``reader``."""
    open: tuple[int, ...] = (1,)
    """Values that mean yes."""
    unknown: tuple[int, ...] = ()
    """Values that say nothing; all others mean no."""
    mask: int = 0
    """If the value has several bits: which of them means yes."""


class DbapiDriverBase(SqlDriverBase):
    """A subclass names itself and its library's classes; the rest has defaults for PEP 249."""

    cursors: ClassVar[tuple[str, ...]] = ()
    """The library's classes of cursors, ``"dbx.cursors:Cursor"``. Each is named by itself: only methods in its own body
    are traced, so that one of a base class is traced once. The first tells where attributes are."""
    connections: ClassVar[tuple[str, ...]] = ()
    """The same of connections."""
    runs: ClassVar[Mapping[str, tuple[str, str]]] = {
        "execute": ("operation", "parameters"), "executemany": ("operation", "seq_of_parameters"),
        "callproc": ("procname", "parameters"),
    }  # fmt: skip
    """Methods of cursors that run a statement, and what they call it and its parameters, their first two arguments; one
    that ends in ``many`` takes rows. Others are told by a method that is decorated with ``tells``."""
    fetches: ClassVar[Mapping[str, Count]] = {
        "fetchone": "one", "fetchmany": "some", "fetchall": "rest", "__next__": "one", "__anext__": "one",
    }  # fmt: skip
    """Methods of cursors that hand out rows; ``__iter__`` and ``__aiter__`` only where they are generators. One that is
    called by another one of the same cursor's counts for nothing."""
    ends: ClassVar[Mapping[str, Outcome]] = {"commit": "committed", "rollback": "rolled back", "close": "closed"}
    """Methods of connections that end a transaction, and how, if they succeed."""
    connected_by: ClassVar[str] = "connection"
    """The attribute of cursors that is their connection."""
    status: ClassVar[Status | None] = None
    """None: whether a transaction is open isn't known without asking the server."""

    def __init__(self) -> None:
        super().__init__()
        self._tokens = Tokens()
        self.traced_cursors: dict[str, Trace] = {}
        """What is traced of cursors, by method; made when the library is there."""
        self.traced_connections: dict[str, Trace] = {}
        self._is_prepared = False

    # ---- hooks: what is peculiar to a library -----------------------------------------------------------------------

    def connection_of(self, cursor: Any) -> Any:
        """The connection that a cursor belongs to."""
        return self._connection(cursor)

    def identity(self, connection: Any) -> Any:
        """What stands for the connection: itself, or an object that lives as long, if it allows no weak references."""
        return connection

    def database(self, identity: Any) -> Database:
        """What the connection is to, without user and password; of a file its name alone. Asked once a connection."""
        return Database()

    def text(self, cursor: Any, statement: Any) -> Any:
        """The statement as str or bytes, if the library knows other ways to say it. Not asked of a str."""
        return statement

    def in_transaction(self, connection: Any) -> bool | None:
        """Whether a transaction is open now; None: not known without asking the server. See :attr:`status`."""
        return self._open(connection)

    def is_closed(self, connection: Any) -> bool:
        """Whether the connection was closed, or lost."""
        return False

    def commits(self, connection: Any) -> Outcome:
        """What a commit would come to now: ``rolled back`` in a transaction that has failed."""
        return "committed"

    def rolled_back(self, cursor: Any) -> bool:
        """Of a statement behind which no transaction is open: whether it rolled back the one before, by the server's
        answer. PostgreSQL answers so to COMMIT, where a statement has failed."""
        return False

    def after(self, cursor: Any) -> tuple[int | None, bool | None] | None:
        """After a statement that succeeded: how many rows it changed (None: it gives rows), and ``in_transaction``.
        None: it hasn't been run yet, and the driver will say so (``ended``). Not overridden, it is read in C."""
        rows = None if self._description(cursor) is not None else self._rowcount(cursor)
        return rows, self.in_transaction(self.connection_of(cursor))

    def all_fetched(self, cursor: Any) -> bool:
        """Whether no row is left of what the cursor ran, by what the library knows without asking the server. Asked
        before the cursor is closed; no need to tell what fetching has told by giving no row."""
        return False

    def failed(self, cursor: Any, token: Any, error: BaseException) -> None:
        """Publishes that a statement failed, and that its connection was lost, if it was."""
        connection = ask(self.connection_of, cursor)
        lost = connection is None or ask(self.is_closed, connection)
        in_transaction = None if lost else ask(self.in_transaction, connection)
        self.publish.statement_ends(token, error=error, fetchable=False, in_transaction=in_transaction)
        if lost and connection is not None:
            self.publish.transaction_ends(self.identity(connection), "closed")

    def fetch_failed(self, cursor: Any, token: Any, error: BaseException) -> None:
        """Rows couldn't be had. A lost connection, a timeout, a cancelled task end the statement; a mistake of the
        program (nothing was run, nothing to fetch) says nothing of it: told apart by the library's own classes."""
        if not is_a(error, Exception) or ask(self.is_closed, ask(self.connection_of, cursor)):
            self.failed(cursor, token, error)

    # ---- for traces of one's own ------------------------------------------------------------------------------------

    def token(self, cursor: Any) -> Any:
        """Of the statement that a cursor ran last; None: none is known."""
        return self._tokens.get(cursor)

    def keep(self, cursor: Any, token: Any) -> None:
        """Notes what a cursor ran, where it was run by other means than the cursor's own methods."""
        self._tokens.set(cursor, token)

    def begins(self, cursor: Any, statement: Any, parameters: Any = None, *, many: bool = False) -> Any:
        """A statement that a cursor runs by other means begins: its token."""
        return (self._running_many if many else self._running).begins(cursor, statement, parameters)

    def ended(self, cursor: Any, token: Any) -> None:
        """It has succeeded."""
        self._running.ends(cursor, token)

    def ending(self, connection: Any, outcome: Outcome) -> Steps:
        """Steps around a call that ends the transaction, thus if it succeeds."""
        if outcome == "committed":
            outcome = self.commits(connection)
        try:
            yield
        except BaseException:
            self.not_ended(connection)
            raise
        self.publish.transaction_ends(self.identity(connection), outcome)

    def not_ended(self, connection: Any) -> None:
        """A call has failed that was to end the transaction: it is rolled back, if none is open any more."""
        if ask(self.is_closed, connection) or ask(self.in_transaction, connection) is False:
            self.publish.transaction_ends(self.identity(connection), "rolled back")

    @of_cursors("close")
    def closing(self, cursor: Any, *args: Any, **kwargs: Any) -> Steps:
        """A cursor is closed."""
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
        """Traces those methods that a class has of its own, until uninstall."""
        for name, trace in traces.items():
            if is_own(owner, name) and (name not in ("__iter__", "__aiter__") or _gives_rows(vars(owner).get(name))):
                self.trace(owner, name, trace)

    def prepare(self) -> None:
        """Looks up what the library's classes have, and makes what is traced of them. Called once."""
        if not self.cursors or not self.connections:
            raise PluginError(f"SQL driver {self.name!r} names no classes: set cursors and connections")
        cursor, connection = named(self.cursors[0]), named(self.connections[0])
        self._connection = reader(cursor, self.connected_by)
        self._description, self._rowcount = reader(cursor, "description"), reader(cursor, "rowcount")
        at, opens, unknown, mask = self.status or Status(())
        self.status_of = reader(connection, *at)
        """What ``status`` says is read of a connection."""
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
        """Around a method that runs a statement."""
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
        """Around a method that hands out rows."""
        return Fetching(self, self._tokens, count)

    def _has(self, hook: str) -> bool:
        """Whether the driver has a hook of its own."""
        return getattr(type(self), hook) is not getattr(DbapiDriverBase, hook)

    def _ending(self, outcome: Outcome) -> Trace:
        return lambda connection, *args, **kwargs: self.ending(connection, outcome)


def _gives_rows(method: Any) -> bool:
    return inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method)


def _unknown(connection: Any) -> None: ...


def ask(hook: Callable[[Any], Any], of: Any) -> Any:
    """What a hook says of a connection that may be gone; None if it can't say."""
    try:
        return hook(of)
    except Exception as error:
        raise_unless_ours(error)
        return None
