"""Traces a library with connections and cursors (PEP 249, or its like with ``async``).

Two ways, for two kinds of libraries:

* **Composed classes**, for classes written in C: ``connect`` is made to use :meth:`~DbapiDriverBase.traced_connection`
  and :meth:`~DbapiDriverBase.traced_cursor`, subclasses over whatever class the program asked for, which keep that
  class's name and add nothing that a program could see but methods around those that run, fetch, close, commit and roll
  back.
* **Traced in place**, for classes written in Python: :meth:`~DbapiDriverBase.trace_cursors` and
  :meth:`~DbapiDriverBase.trace_connections` put such methods into the classes themselves. Connections that exist
  already are traced as well.

What is peculiar to a library is told by overriding the hooks below; each may raise, which is contained.
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar
from weakref import ref

from memwatch_core.native.tracing import Running, Tokens, disguise, raise_unless_ours
from memwatch_core.records import Database

from .around import IMMUTABLE, Around, traced
from .driver import Outcome, SqlDriverBase
from .plain import has, is_a, member, mro, own_member

Count = Callable[[Any], tuple[int, bool]]
"""``count(result)``: how many rows a call has handed out, and whether these were the last."""


def one(row: Any) -> tuple[int, bool]:
    """Of a call that returns a row, or None behind the last."""
    return (0, True) if row is None else (1, False)


def some(rows: Any) -> tuple[int, bool]:
    """Of a call that returns some rows, or none behind the last."""
    count = _length(rows)
    return count, not count


def rest(rows: Any) -> tuple[int, bool]:
    """Of a call that returns all rows that are left."""
    return _length(rows), True


def _length(rows: Any) -> int:
    """What a method of the program's has made of the rows isn't asked: some, then."""
    return len(rows) if type(rows) is list or type(rows) is tuple else 1


class DbapiDriverBase(SqlDriverBase):
    """A subclass names itself and writes :meth:`patch`; the rest has defaults for PEP 249."""

    runs: ClassVar[tuple[str, ...]] = ("execute", "executemany", "callproc")
    """Methods of cursors that run a statement, which is their first argument; those in ``*many`` take rows."""
    fetches: ClassVar[Mapping[str, Count]] = {
        "fetchone": one, "fetchmany": some, "fetchall": rest, "__next__": one, "__anext__": one,
    }  # fmt: skip
    """Methods of cursors that hand out rows, and what their results tell."""
    ends: ClassVar[Mapping[str, Outcome]] = {"commit": "committed", "rollback": "rolled back", "close": "closed"}
    """Methods of connections that end a transaction, and how, if they succeed."""
    keywords: ClassVar[tuple[str, str]] = ("", "")
    """What ``runs`` call the statement and its parameters, where these may be passed by keyword."""

    connected_by: ClassVar[str] = "connection"
    """The attribute of cursors that :meth:`connection_of` returns."""

    def __init__(self) -> None:
        super().__init__()
        self._tokens = Tokens()
        self._composed: dict[type, tuple[Any, type]] = {}
        self._marked: dict[int, ref[type]] = {}
        self.traced_cursor: Callable[[Any], Any] = self._composer(self._traced_cursor)
        self.traced_connection: Callable[[Any], Any] = self._composer(self._traced_connection)

    # ---- hooks: what is peculiar to a library -----------------------------------------------------------------------

    def connection_of(self, cursor: Any) -> Any:
        """The connection that a cursor belongs to."""
        by = self.connected()
        return getattr(cursor, by) if type(by) is str else by.__get__(cursor)

    def connected(self) -> Any:
        """``connected_by``, or the descriptor that reads it: of a class written in C, past the program's subclasses."""
        return self.connected_by

    def identity(self, connection: Any) -> Any:
        """What stands for the connection: itself, or an object that lives as long, if it allows no weak references."""
        return connection

    def database(self, identity: Any) -> Database:
        """What the connection is to, without user, password or path. Asked once a connection."""
        return Database()

    def text(self, cursor: Any, statement: Any) -> Any:
        """The statement as str or bytes, if the library knows other ways to say it. Not asked of a str."""
        return statement

    def in_transaction(self, connection: Any) -> bool | None:
        """Whether a transaction is open now; None: not known without asking the server."""
        return None

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

    def after(self, cursor: Any) -> tuple[int | None, bool | None]:
        """After a statement that succeeded: how many rows it changed (None: it gives rows), and ``in_transaction``."""
        rows = None if cursor.description is not None else cursor.rowcount
        return rows, self.in_transaction(self.connection_of(cursor))

    def all_fetched(self, cursor: Any) -> bool:
        """Whether no row is left of what the cursor ran, by what the library knows without asking the server. Asked
        before the cursor is closed; no need to tell what fetching has told by giving no row."""
        return False

    def cursor_members(self, base: type) -> dict[str, Any]:
        """More members for the traced subclass of a cursor class."""
        return {}

    def connection_members(self, base: type) -> dict[str, Any]:
        """More members for the traced subclass of a connection class."""
        return {}

    def keep(self, cursor: Any, token: Any) -> None:
        """Notes what a cursor ran, where it was run by other means than the cursor's own methods."""
        self._tokens.set(cursor, token)

    # ---- what is done around a call ---------------------------------------------------------------------------------

    def running(self, *, many: bool = False, keywords: tuple[str, str] | None = None) -> Around:
        """Around a cursor's method that runs a statement; ``keywords``: its own, if they are others than the rest's."""
        first, second = keywords or self.keywords
        kind = type(self)
        plain = kind.identity is DbapiDriverBase.identity and kind.connection_of is DbapiDriverBase.connection_of
        running = Running(
            driver=self,
            tokens=self._tokens,
            name=self.name,
            dialect=self.dialect,
            database=self.database,
            statement=first,
            parameters=second,
            connection=self.connected() if plain else None,
            many=many,
            answers=kind.rolled_back is not DbapiDriverBase.rolled_back,
        )
        return Around(running.before, running.after, self.failed)

    def running_as(self, tell: Callable[..., tuple[Any, ...]], *, many: bool = False) -> Around:
        """Around a method that runs a statement which isn't its first argument: ``tell``, called with its arguments,
        returns the statement and perhaps its parameters."""
        around = self.running(many=many)

        def before(cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            try:
                told = tell(*args, **kwargs)
            except TypeError:
                return None  # the library will say what is wrong
            return around.before(cursor, told, {})

        return replace(around, before=before)

    def failed(self, cursor: Any, token: Any, error: BaseException) -> None:
        """Publishes that a statement failed, and that its connection was lost, if it was."""
        tracer = self.tracer
        if tracer is None:
            return
        connection = ask(self.connection_of, cursor)
        lost = connection is None or ask(self.is_closed, connection)
        in_transaction = None if lost else ask(self.in_transaction, connection)
        tracer.statement_ends(token, error=error, fetchable=False, in_transaction=in_transaction)
        if lost and connection is not None:
            tracer.transaction_ends(self.identity(connection), "closed")

    def fetching(self, count: Count) -> Around:
        """Around a cursor's method that hands out rows."""
        recall = self._tokens.get

        def before(cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return recall(cursor)

        def after(cursor: Any, token: Any, result: Any) -> None:
            if token is None:
                return
            rows, exhausted = count(result)
            tracer = self.tracer
            if tracer is not None:
                tracer.rows_fetched(token, rows, exhausted=exhausted)

        def failed(cursor: Any, token: Any, error: BaseException) -> None:
            tracer = self.tracer
            if token is None or tracer is None:
                return
            if is_a(error, (StopIteration, StopAsyncIteration)):
                tracer.rows_fetched(token, 0, exhausted=True)
            elif not is_a(error, GeneratorExit):
                self.fetch_failed(cursor, token, error)

        def each(cursor: Any, token: Any, row: Any) -> None:
            if token is not None:
                self.tracer.rows_fetched(token, 1)  # type: ignore[union-attr]

        return Around(before, after, failed, each)

    def fetch_failed(self, cursor: Any, token: Any, error: BaseException) -> None:
        """Rows couldn't be had. A lost connection, a timeout, a cancelled task end the statement; a mistake of the
        program (nothing was run, nothing to fetch) says nothing of it: told apart by the library's own classes."""
        if not is_a(error, Exception) or ask(self.is_closed, ask(self.connection_of, cursor)):
            self.failed(cursor, token, error)

    def closing(self) -> Around:
        """Around a cursor's ``close``."""

        def before(cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            token = self._tokens.get(cursor)
            return None if token is None else (token, bool(ask(self.all_fetched, cursor)))

        def after(cursor: Any, closed: tuple[Any, bool] | None, result: Any) -> None:
            if self.tracer is not None and closed is not None:
                self.tracer.cursor_closed(*closed)

        return Around(before, after, _nothing)

    def ending(self, outcome: Outcome | None) -> Around:
        """Around a connection's method that ends its transaction, thus if it succeeds; None: that of a ``with`` block,
        which commits unless it is left by an exception."""

        def before(connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outcome:
            ends = outcome or ("committed" if args[0] is None else "rolled back")
            return self.commits(connection) if ends == "committed" else ends

        def after(connection: Any, token: Outcome, result: Any) -> None:
            if self.tracer is not None:
                self.tracer.transaction_ends(self.identity(connection), token)

        def failed(connection: Any, token: Outcome, error: BaseException) -> None:
            tracer = self.tracer
            if tracer is None:
                return
            if ask(self.is_closed, connection) or ask(self.in_transaction, connection) is False:
                tracer.transaction_ends(self.identity(connection), "rolled back")

        return Around(before, after, failed)

    def around_cursor(self, names: Callable[[str], bool]) -> dict[str, Around]:
        """What is traced of a cursor class, by method, of those that it has."""
        found = {name: self.running(many=name.endswith("many")) for name in self.runs if names(name)}
        found |= {name: self.fetching(count) for name, count in self.fetches.items() if names(name)}
        if names("close"):
            found["close"] = self.closing()
        return found

    def around_connection(self, names: Callable[[str], bool]) -> dict[str, Around]:
        """The same of a connection class."""
        return {name: self.ending(outcome) for name, outcome in self.ends.items() if names(name)}

    # ---- traced in place --------------------------------------------------------------------------------------------

    def trace_cursors(self, *classes: type) -> None:
        """Traces the methods that these classes have of their own, until uninstall."""
        for owner in classes:
            self.trace_methods(owner, self.around_cursor(vars(owner).__contains__))

    def trace_connections(self, *classes: type) -> None:
        """The same for connections."""
        for owner in classes:
            self.trace_methods(owner, self.around_connection(vars(owner).__contains__))

    def trace_methods(self, owner: type, around: Mapping[str, Around]) -> None:
        """Traces methods of a class, until uninstall."""
        for name, how in around.items():
            self.put(owner, name, traced(self, owner, name, how))

    # ---- composed classes -------------------------------------------------------------------------------------------

    def _composer(self, compose: Callable[[Any], type]) -> Callable[[Any], Any]:
        """``compose``, once for each class; the class that it was given if it raises: one that is final, or has demands
        on its subclasses."""

        def composed(base: type) -> type:
            known = self._composed.get(base) if member(base, "__flags__") & IMMUTABLE else own_member(base, _COMPOSED)
            if known is None or known[0] is not self:
                known = self, self._try(compose, base)
                self._keep(base, known)
            return known[1]

        return composed

    def _try(self, compose: Callable[[Any], type], base: type) -> type:
        try:
            return compose(base)
        except Exception as error:
            raise_unless_ours(error)
            self.trouble(error)
            return base

    def _keep(self, base: type, composed: tuple[Any, type]) -> None:
        """In the class itself: a table of ours that leads to the composed class would keep its base as well, and all
        that the program has in there. Classes written in C stay anyway."""
        if member(base, "__flags__") & IMMUTABLE:
            self._composed[base] = composed
            return
        if not self._marked:
            self.on_undo(self._forget)
        marked, address = self._marked, id(base)
        marked[address] = ref(base, lambda _: marked.pop(address, None))
        type.__setattr__(base, _COMPOSED, composed)

    def _forget(self) -> None:
        while self._marked:
            base = self._marked.popitem()[1]()
            if base is not None and (known := own_member(base, _COMPOSED)) is not None and known[0] is self:
                type.__delattr__(base, _COMPOSED)

    def _traced_cursor(self, base: type) -> type:
        """The subclass of a cursor class that publishes."""
        if is_composed(base):
            return base
        around = self.around_cursor(partial(has, base))
        return self._compose(base, (base,), self._members(base, around) | self.cursor_members(base))

    def _traced_connection(self, base: type) -> type:
        """The subclass of a connection class that publishes."""
        if is_composed(base):
            return base
        around = self.around_connection(partial(has, base))
        if has(base, "__exit__"):
            around["__exit__"] = self.ending(None)
        members = self._members(base, around) | self.connection_members(base)
        return self._compose(base, members.pop("__bases__", (base,)), members)

    def _members(self, base: type, around: Mapping[str, Around]) -> dict[str, Any]:
        methods = {name: traced(self, base, name, how, late=True) for name, how in around.items()}
        return {"__slots__": ("_memwatch",), **methods}

    def _compose(self, base: type, bases: tuple[type, ...], members: dict[str, Any]) -> type:
        members |= {name: member(base, name) for name in ("__module__", "__qualname__", "__doc__")}
        if is_a(base, ABCMeta):  # what isinstance() has found of it is its own, as if its metaclass had been called
            members["_abc_impl"] = vars(ABCMeta("", (), {}))["_abc_impl"]
        composed = type.__new__(type(base), member(base, "__name__"), (_Silent, *bases), members)
        disguise(composed, base)
        return composed


def is_composed(kind: type) -> bool:
    """Whether it is one of the classes that a driver makes of the library's."""
    return any(each is _Silent for each in mro(kind))


class _Silent:
    """First base of the composed classes."""

    __slots__ = ()

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Doesn't tell the program's classes of a composed one; of the program's own, derived from that, it does."""
        if type.__dict__["__bases__"].__get__(cls)[0] is not _Silent:
            super().__init_subclass__(**keywords)


del _Silent.__slots__
_COMPOSED = "_memwatch.composed"  # (driver, class), in the class that it was composed over; no name of the program's


def _nothing(*args: Any) -> None: ...


def ask(hook: Callable[[Any], Any], of: Any) -> Any:
    """What a hook says of a connection that may be gone; None if it can't say."""
    try:
        return hook(of)
    except Exception as error:
        raise_unless_ours(error)
        return None
