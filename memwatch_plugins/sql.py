"""What a SQL driver plugin is written with: patching that is undone completely, and traced DB-API classes.

A driver publishes what its connections do and knows nothing else. The smallest, for a driver whose ``connect`` takes a
class to make connections of:

.. code-block:: python

    class Driver(SqlDriverBase):
        name, summary, target, dialect = "dbx", "the database X", "dbx", "postgresql"

        def patch(self):
            import dbx

            def connect(call, instance, args, kwargs):
                kwargs["factory"] = self.traced_connection(kwargs.get("factory", dbx.Connection))
                return call(*args, **kwargs)

            self.replace(connect, (dbx, "connect"))

    driver = Driver()

    @hookimpl
    def memwatch_sql():
        yield driver.record

Connections and cursors are never proxied: C code checks their types. They become instances of a subclass, composed over
whatever class the program asked for, which keeps that class's name and adds nothing a program could see but its own
methods around those that run, fetch, close, commit and roll back.

Tracing never raises into the program: what goes wrong in it is counted (:attr:`SqlDriverBase.troubles`), and reported
once.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, ClassVar, Literal, final

import wrapt

from memwatch_core.errors import PluginError
from memwatch_core.records import Database, SqlDriver, SqlTracer

Wrapper = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
"""``wrapper(call, instance, args, kwargs)``, as wrapt has it."""
Outcome = Literal["committed", "rolled back", "closed"]

_ENDS: tuple[tuple[str, Outcome], ...] = (("commit", "committed"), ("rollback", "rolled back"), ("close", "closed"))
_ABSENT: Any = object()
_IMMUTABLE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE
_log = logging.getLogger("memwatch.sql")


class SqlDriverBase(ABC):
    """Base of SQL drivers: a subclass names itself and writes :meth:`patch`; the rest has defaults for PEP 249.

    ``install`` and ``uninstall`` may be called from any thread and any number of times; connections that were made in
    between go on working untraced afterwards.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    target: ClassVar[str]
    """The module that is traced. It is looked up before it is imported."""
    dialect: ClassVar[str] = ""
    """``"sqlite"``, ``"postgresql"``, ``"mysql"``: how literals are quoted; ``""``: unknown, so masked with caution."""

    cursor_methods: ClassVar[tuple[str, ...]] = ("execute", "executemany", "callproc")
    """Methods of cursors that run a statement, which is their first argument; those in ``*many`` take rows."""
    keywords: ClassVar[tuple[str, str]] = ("", "")
    """Their names for the statement and its parameters, where they may be passed by keyword."""

    def __init__(self) -> None:
        self.tracer: SqlTracer | None = None
        self.troubles = 0
        self._lock = threading.Lock()
        self._undo: list[Callable[[], None]] = []
        self._told: set[str] = set()
        self.traced_cursor: Callable[[Any], Any] = lru_cache(maxsize=256)(self._traced_cursor)
        self.traced_connection: Callable[[Any], Any] = lru_cache(maxsize=256)(self._traced_connection)

    # ---- written by subclasses --------------------------------------------------------------------------------------

    @abstractmethod
    def patch(self) -> None:
        """Imports the target and calls :meth:`replace`. What it replaced is put back if it raises."""

    def identity(self, connection: Any) -> Any:
        """What stands for the connection: itself, or an object that lives as long, if it allows no weak references."""
        return connection

    def database(self, identity: Any) -> Database:
        """What the connection is to, without password or path."""
        return Database()

    def in_transaction(self, connection: Any) -> bool | None:
        """Whether a transaction is open now; None: not known without asking the server."""
        return None

    def after(self, cursor: Any) -> tuple[int | None, bool | None]:
        """After a statement that succeeded: how many rows it changed (None: it gives rows), and ``in_transaction``."""
        return None if cursor.description is not None else cursor.rowcount, self.in_transaction(cursor.connection)

    def cursor_members(self, base: type) -> dict[str, Any]:
        """More members for the traced subclass of a cursor class."""
        return {}

    def connection_members(self, base: type) -> dict[str, Any]:
        """More members for the traced subclass of a connection class."""
        return {}

    # ---- install, uninstall -----------------------------------------------------------------------------------------

    @property
    def record(self) -> SqlDriver:
        """What the plugin's hook yields."""
        return SqlDriver(self.name, self.summary, self.target, self.install, self.uninstall)

    @final
    def install(self, tracer: SqlTracer) -> None:
        """Publishes to ``tracer`` from now on. Raises PluginError if the target library isn't there."""
        with self._lock:
            if self.tracer is None:
                if not _is_there(self.target):
                    raise PluginError(f"SQL driver {self.name!r}: there is no module {self.target!r}; install it first")
                try:
                    self.patch()
                except BaseException:
                    self._put_back()
                    raise
            self.tracer = tracer

    @final
    def uninstall(self) -> None:
        """Puts everything back."""
        with self._lock:
            self.tracer = None
            self._put_back()

    def replace(self, wrapper: Wrapper, *places: tuple[Any, str]) -> None:
        """Wraps the callable that these attributes, ``(module or class, name)``, have in common.

        On uninstall they are what they were. Where somebody else has wrapped ours in the meantime, theirs stays, and
        ours hands every call through.
        """
        owner, name = places[0]
        ours = wrapt.FunctionWrapper(getattr(owner, name), wrapper, enabled=lambda: self.tracer is not None)
        for owner, name in places:
            before = vars(owner).get(name, _ABSENT)
            setattr(owner, name, ours)
            self._undo.append(partial(_restore, owner, name, ours, before))

    def _put_back(self) -> None:
        while self._undo:
            self._undo.pop()()

    def trouble(self, error: Exception) -> None:
        """Counts an error of ours that the program must not see, and reports the first of its kind."""
        self.troubles += 1  # no message: it may hold the program's data
        self.tell(
            f"tracing failed ({type(error).__name__}); the program is unaffected, some events lack their statement"
        )

    def tell(self, text: str) -> None:
        """Logs a warning, once."""
        if text not in self._told:
            self._told.add(text)
            with contextlib.suppress(Exception):  # of a handler of the program's own
                _log.warning("SQL driver %s: %s", self.name, text)

    # ---- traced classes ---------------------------------------------------------------------------------------------

    def _traced_cursor(self, base: type) -> type:
        """The subclass of a cursor class that publishes; ``base`` itself if it can't have one. Cached."""
        if hasattr(base, "_memwatch"):
            return base
        members: dict[str, Any] = {"__slots__": ("_memwatch",)}
        for name in self.cursor_methods:
            if hasattr(base, name):
                members[name] = self.running(base, name, many=name.endswith("many"))
        for name, counts in (("fetchone", _one), ("fetchmany", _some), ("fetchall", _rest), ("__next__", _one)):
            if hasattr(base, name):
                members[name] = self.fetching(base, name, counts)
        members["close"] = self._closing(base)
        return self._compose(base, (base,), members | self.cursor_members(base))

    def _traced_connection(self, base: type) -> type:
        """The subclass of a connection class that publishes; ``base`` itself if it can't have one. Cached."""
        if hasattr(base, "_memwatch"):
            return base
        members: dict[str, Any] = {"__slots__": ("_memwatch",)}
        for name, outcome in _ENDS:
            members[name] = self.ending(base, name, outcome)
        if hasattr(base, "__exit__"):
            members["__exit__"] = self.ending(base, "__exit__", None)
        members |= self.connection_members(base)
        return self._compose(base, members.pop("__bases__", (base,)), members)

    def _compose(self, base: type, bases: tuple[type, ...], members: dict[str, Any]) -> type:
        members |= {"__module__": base.__module__, "__qualname__": base.__qualname__, "__doc__": base.__doc__}
        try:
            return type(base)(base.__name__, bases, members)
        except Exception as error:  # final, or with demands on its subclasses
            self.trouble(error)
            return base

    def running(self, base: type, name: str, *, many: bool = False) -> Callable[..., Any]:
        """A cursor's method that runs a statement."""
        fixed = _fixed(base, name)
        first, second = self.keywords
        named, dialect = self.name, self.dialect
        identity, database, after = self.identity, self.database, self.after

        def run(self: Any, *args: Any, **kwargs: Any) -> Any:
            call = fixed or getattr(base, name)
            tracer = driver.tracer
            if tracer is None or (not args and first not in kwargs):
                return call(self, *args, **kwargs)
            token = None
            try:
                token = tracer.statement_begins(
                    named,
                    args[0] if args else kwargs[first],
                    args[1] if len(args) > 1 else kwargs.get(second),
                    identity(self.connection),
                    database,
                    dialect,
                    many,
                    getattr(self, "_memwatch", None),
                )
                self._memwatch = token
            except Exception as trouble:
                driver.trouble(trouble)
            try:
                result = call(self, *args, **kwargs)
            except BaseException as error:
                driver.failed(tracer, self, token, error)
                raise
            try:
                rows, in_transaction = after(self)
                tracer.statement_ends(token, rows, None, rows is None, in_transaction)
            except Exception as trouble:
                driver.trouble(trouble)
            return result

        driver = self
        return _named(run, base, name)

    def failed(self, tracer: SqlTracer, cursor: Any, token: Any, error: BaseException) -> None:
        """Publishes that a statement failed."""
        in_transaction = None
        with contextlib.suppress(Exception):  # the connection is gone: what became of the transaction isn't known
            in_transaction = self.in_transaction(cursor.connection)
        tracer.statement_ends(token, error=error, fetchable=False, in_transaction=in_transaction)

    def fetching(self, base: type, name: str, counts: Callable[[Any], tuple[int, bool]]) -> Callable[..., Any]:
        """A cursor's method that hands out rows; ``counts(result)``: how many, and whether these were the last."""
        fixed = _fixed(base, name)

        def fetch(self: Any, *args: Any, **kwargs: Any) -> Any:
            call = fixed or getattr(base, name)
            tracer = driver.tracer
            if tracer is None:
                return call(self, *args, **kwargs)
            try:
                result = call(self, *args, **kwargs)
            except StopIteration:
                tracer.rows_fetched(getattr(self, "_memwatch", None), 0, exhausted=True)
                raise
            try:
                count, exhausted = counts(result)
                tracer.rows_fetched(self._memwatch, count, exhausted=exhausted)
            except Exception as trouble:
                if not isinstance(trouble, AttributeError):  # nothing was run on this cursor yet
                    driver.trouble(trouble)
            return result

        driver = self
        return _named(fetch, base, name)

    def _closing(self, base: type) -> Callable[..., Any]:
        def close(self: Any, *args: Any, **kwargs: Any) -> Any:
            result = base.close(self, *args, **kwargs)  # type: ignore[attr-defined]
            tracer = driver.tracer
            if tracer is not None:
                tracer.cursor_closed(getattr(self, "_memwatch", None))
            return result

        driver = self
        return _named(close, base, "close")

    def ending(self, base: type, name: str, outcome: Outcome | None) -> Callable[..., Any]:
        """A connection's method that ends a transaction, thus if it succeeds; None: that of a ``with`` block."""

        def end(self: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                result = getattr(base, name)(self, *args, **kwargs)
            except BaseException:
                with contextlib.suppress(Exception):  # the connection is gone
                    if driver.tracer is not None and driver.in_transaction(self) is False:
                        driver.tracer.transaction_ends(driver.identity(self), "rolled back")
                raise
            try:
                if driver.tracer is not None:
                    driver.tracer.transaction_ends(
                        driver.identity(self), outcome or ("rolled back" if args[0] else "committed")
                    )
            except Exception as trouble:
                driver.trouble(trouble)
            return result

        driver = self
        return _named(end, base, name)


def _one(row: Any) -> tuple[int, bool]:
    return (0, True) if row is None else (1, False)


def _some(rows: Any) -> tuple[int, bool]:
    return len(rows), not rows


def _rest(rows: Any) -> tuple[int, bool]:
    return len(rows), True


def _fixed(base: type, name: str) -> Callable[..., Any] | None:
    """The method of a class that nobody can change, so that it needs no look-up; None for another class."""
    return getattr(base, name) if base.__flags__ & _IMMUTABLE else None


def _named(function: Any, base: type, name: str) -> Callable[..., Any]:
    function.__name__ = name
    function.__qualname__ = f"{base.__qualname__}.{name}"
    function.__code__ = function.__code__.replace(co_name=name, co_qualname=function.__qualname__)  # for tracebacks
    function.__doc__ = getattr(base, name).__doc__
    return function  # type: ignore[no-any-return]


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _restore(owner: Any, name: str, ours: Any, before: Any) -> None:
    if vars(owner).get(name) is not ours:
        return
    if before is _ABSENT:
        delattr(owner, name)
    else:
        setattr(owner, name, before)
