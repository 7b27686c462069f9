"""What SQL drivers publish, given its meaning: contexts, written to the journal, in force in an execution flow.

A flow is what Python's contextvars tell apart: a thread, an asyncio task. The id of the statement in force is the value
of :data:`~memwatch_core.adapter.flows.CURRENT`, which the core's origin provider reads from the writing thread at the
moment of each store. Nothing else connects a statement with a store.

* A statement comes into force when it begins, and again whenever rows are fetched from it: what is written after a
  fetch is blamed on the statement whose rows were fetched, also when cursors are nested.
* It goes out of force with the next statement or fetch in its flow, with commit or rollback of its connection, when its
  cursor or connection is closed, when it fails, or earlier, as the window says (see :data:`Window`).
* A task that is started while a statement is in force inherits it, as it inherits every context variable, and so does
  ``asyncio.to_thread``; a plain ``threading.Thread`` starts without. It loses it when the statement goes out of force
  where it came from: the OUTCOME record says so to the reader. A statement of its own touches nobody else's.
* A statement that begins while another one runs in the same flow is part of it (an ORM and its driver), unless it is
  known to run on another connection of the same driver.

Lifetimes do the rest: a statement is held by its cursor (as the driver's token) and by the flows it is in force in,
never the other way round; when nobody can bring it into force any more, it ends.

Nothing here raises into the program, blocks or calls its code. Any thread may call anything.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from itertools import count
from time import time_ns
from typing import Any, Literal, Protocol, get_args

from ..records import Database
from . import parameters as _parameters
from .flows import CURRENT, FLOW, Connection, Part, Statement, failure, is_here, is_somewhere, quoted
from .statements import normalise

Window = Literal["statement", "fetch", "until-next", "transaction"]
"""How long a statement that succeeded stays in force: while it is run; until its last row was fetched; until the next
one or the closing of its cursor; until the next one, while closing the cursor doesn't end it as long as its transaction
is open."""

_log = logging.getLogger("memwatch.sql")
_numbers = count(1)  # per process: an id left behind in some flow never means a context of a later session
_LAST = 0xFFFF_FFFF
_MOST = 32


class ContextRecords(Protocol):
    """Where contexts are written: the journal. Both may raise; the statement then goes unrecorded."""

    def context(self, context: int, payload: bytes) -> None: ...
    def outcome(self, context: int, payload: bytes) -> None: ...


class SqlContexts:
    """The tracer that driver plugins publish to (:class:`memwatch_core.records.SqlTracer`).

    ``key``: the session's, at most 64 bytes. Raises ValueError for an unknown ``window`` or ``parameters``; nothing
    else in it ever raises. :attr:`troubles` counts the errors that were swallowed; the first one is logged.
    """

    def __init__(
        self,
        records: ContextRecords,
        key: bytes,
        *,
        window: Window = "until-next",
        parameters: _parameters.Keep = "hash",
    ) -> None:
        if window not in get_args(Window):
            raise ValueError(f"sql.window is {window!r}; it can be one of {', '.join(map(repr, get_args(Window)))}")
        self.troubles = 0
        self.variable = CURRENT
        self._context = records.context
        self._outcome = records.outcome
        self._key = key
        self._window = window
        self._brief = window in ("statement", "fetch")
        self._kept = _parameters.keeper(parameters, key)
        self._connections: dict[int, Connection] = {}
        self._nowhere = Connection(0, Database(), None)
        self._count = count(1)
        self._local = threading.local()
        self._closed = False

    # ---- what drivers call ------------------------------------------------------------------------------------------

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
        try:
            current = FLOW.get()
            outer = None
            if current is not None and current.running and is_here(current):
                current.place = FLOW.set(current)
                if self._is_part(current, driver, connection):
                    return Part(current)
                outer = current
            if self._closed:
                return None
            where = self._connections.get(id(connection))
            if where is None or (where.ref is not None and where.ref() is not connection):
                where = self._connect(connection, database)
            if type(statement) is not str:
                statement = str.__str__(statement) if isinstance(statement, str) else normalise(statement, dialect)
            head = where.heads.get(statement)
            if head is None or head.driver != driver:
                head = where.head(driver, statement, dialect, self._key)
            listed = self._kept(parameters, many) if parameters is not None else ""
            try:
                thread = self._local.name
            except AttributeError:
                thread = self._local.name = quoted(threading.current_thread().name)
            ident = next(_numbers)
            if ident > _LAST:
                raise OverflowError
            self._context(ident, f'{head.json}{thread},"id":{ident},"started":{time_ns()}{listed}}}'.encode())
            if len(where.statements) > _MOST:  # of flows that are gone, perhaps
                where.wait(*list(where.statements.values()))
            state = Statement(self, ident, head, where)
            where.statements[ident] = state
            if outer is not None:
                state.outer = outer
            if previous is not None:
                if current is not None and previous is current:
                    current.fetchable = False
                else:
                    self._replaced(previous)
            if current is not None and (place := current.place) is not None:  # _enter, and is_here, without their calls
                try:
                    FLOW.reset(place)
                except (ValueError, RuntimeError):
                    pass
                else:
                    current.place = None
                    if current.fetchable:
                        current.where.wait(current)
                    elif not current.running:
                        current.tracer.finish(current, "ended")
            state.place = FLOW.set(state)
            CURRENT.set(ident)
            return state
        except Exception as error:
            CURRENT.set(0)  # rather no statement than the one before
            FLOW.set(None)
            self._trouble(error)
            return None

    def statement_ends(
        self,
        token: Any,
        rows: int | None = None,
        error: BaseException | None = None,
        fetchable: bool = True,
        in_transaction: bool | None = None,
    ) -> None:
        if not isinstance(token, Statement):
            if type(token) is Part:
                token.whole.in_transaction = in_transaction
                if rows is not None and rows >= 0:
                    token.whole.changed = rows
            return
        try:
            token.running = False
            token.ended = time_ns()
            where = token.where
            if rows is not None and rows >= 0:
                token.changed = rows
            if in_transaction is None:
                in_transaction = token.in_transaction
            if in_transaction is not False:
                if where.number and (in_transaction or where.transaction or error is None):
                    if not where.transaction:
                        where.transaction = token.id
                    token.transaction = where.transaction
            elif where.transaction:
                self._ends_transaction(token, error)
            if error is not None:
                token.outcome = failure(error)
                self.finish(token, token.outcome)
            elif not token.finished:
                if fetchable:
                    token.fetchable = True
                if self._brief and (self._window == "statement" or not fetchable):
                    self.finish(token, "ended")
                else:
                    if (current := FLOW.get()) is not token:
                        self._enter(token, current)
                    return
            self._leave(token)
        except Exception as trouble:
            self._trouble(trouble)

    def rows_fetched(self, token: Any, count: int, *, exhausted: bool = False) -> None:
        if not isinstance(token, Statement):
            if type(token) is not Part:
                return
            token = token.whole
        try:
            if self._window == "statement":
                return
            if count:
                token.fetched = count if token.fetched < 0 else token.fetched + count
                if (current := FLOW.get()) is not token and not self._closed:
                    self._again(token, current)
            if exhausted and not token.running:
                token.fetchable = False
                if token.finished:
                    return
                here = FLOW.get() is token
                if self._window == "fetch" or not (here or is_somewhere(token)):
                    self.finish(token, "ended")
                    if here:
                        self._leave(token)
        except Exception as trouble:
            self._trouble(trouble)

    def cursor_closed(self, token: Any) -> None:
        if not isinstance(token, Statement):  # of a Part: an ORM closes its cursors as it likes
            return
        try:
            token.fetchable = False
            if token.finished or token.running:
                return
            if self._window == "transaction" and token.transaction and token.transaction == token.where.transaction:
                return
            self.finish(token, "closed")
            self._leave(token)
        except Exception as trouble:
            self._trouble(trouble)

    def transaction_ends(self, connection: object, outcome: Literal["committed", "rolled back", "closed"]) -> None:
        try:
            where = self._connections.get(id(connection))
            if where is not None and where.stands_for(connection):
                self._over(where, outcome)
        except Exception as trouble:
            self._trouble(trouble)

    def savepoint(self, connection: object, name: str, what: Literal["set", "released", "rolled back"]) -> None:
        pass

    # ---- session ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Ends every context, before the journal is closed. Drivers may go on publishing; nothing comes of it."""
        try:
            self._closed = True
            for where in (*list(self._connections.values()), self._nowhere):
                for state in where.unfinished():
                    self.finish(state, "ended")
            self._connections.clear()
            CURRENT.set(0)
            FLOW.set(None)
        except Exception as trouble:
            self._trouble(trouble)

    # ---- in force ---------------------------------------------------------------------------------------------------

    def _enter(self, state: Statement, current: Statement | None) -> None:
        """Puts a statement in force, where ``current`` was before."""
        if current is not None and is_here(current):
            if current.fetchable:
                current.where.wait(current)
            elif not current.running:
                current.tracer.finish(current, "ended")
        state.place = FLOW.set(state)
        CURRENT.set(state.id)

    def _leave(self, state: Statement) -> None:
        outer, state.outer = state.outer, None
        if FLOW.get() is state:
            if outer is not None and outer.running:
                outer.place = FLOW.set(outer)
                CURRENT.set(outer.id)
            else:
                FLOW.set(None)
                CURRENT.set(0)

    def _again(self, state: Statement, current: Statement | None) -> None:
        """Brings a statement back into force, because rows of it were fetched."""
        if state.finished:
            if state.outcome.startswith("failed"):
                return
            self._outcome(state.id, b'{"outcome":"open"}')
            state.finished = False
            state.where.wait(state)
        self._enter(state, current)

    def _is_part(self, outer: Statement, driver: str, connection: object) -> bool:
        if outer.head.driver != driver or connection is None or not outer.where.number:
            return True
        return outer.where is self._connections.get(id(connection)) and outer.where.stands_for(connection)

    # ---- ends -------------------------------------------------------------------------------------------------------

    def finish(self, state: Statement, outcome: str) -> None:
        """Writes the OUTCOME record, once."""
        if state.finished:
            return
        state.finished = True
        state.place = None
        if state.outcome:  # it came back after its transaction
            outcome = state.outcome
        where = state.where
        where.forget(state)
        if state.transaction and state.transaction == where.transaction:
            where.told = True
        rows = state.fetched if state.fetched >= 0 else state.changed
        self._outcome(
            state.id,
            f'{{"outcome":"{outcome}","rows":{rows if rows >= 0 else "null"},"ended":{state.ended or "null"},'
            f'"transaction":{state.transaction}}}'.encode(),
        )

    def _replaced(self, token: Any) -> None:
        """The cursor of this statement runs another one: no more rows come from it."""
        if type(token) is Part:
            token = token.whole
        if not isinstance(token, Statement) or token.running:
            return
        token.fetchable = False
        if not token.finished and not is_somewhere(token):
            self.finish(token, "ended")

    def forgotten(self, state: Statement) -> None:
        """Nobody can bring the statement into force any more. Called by the collector: at any place, in any thread."""
        try:
            if not self._closed:
                self.finish(state, "ended")
        except Exception as trouble:
            self._trouble(trouble)

    def _ends_transaction(self, state: Statement, error: BaseException | None) -> None:
        """A statement ended its transaction: COMMIT, ROLLBACK as text, a script, a conflict that rolls back."""
        state.transaction = state.where.transaction
        if error is not None:
            state.outcome = failure(error)
            self.finish(state, state.outcome)
        back = error is not None or state.head.verb in ("ROLLBACK", "ABORT")
        self._over(state.where, "rolled back" if back else "committed")

    def _over(self, where: Connection, outcome: str) -> None:
        transaction, where.transaction = where.transaction, 0
        told, where.told = where.told, False
        of_transaction = "rolled back" if outcome == "closed" else outcome
        for state in where.unfinished():
            if not state.running:
                if transaction and state.transaction == transaction:
                    state.outcome = of_transaction
                self.finish(state, "closed" if outcome == "closed" else "ended")
                self._leave(state)
        if told:
            self._outcome(transaction, f'{{"outcome":"{of_transaction}","scope":"transaction"}}'.encode())

    # ---- pieces -----------------------------------------------------------------------------------------------------

    def _connect(self, connection: object, database: Database | Callable[[Any], Database] | None) -> Connection:
        if connection is None:
            return self._nowhere
        ident = id(connection)
        try:
            ref: Callable[[], object] | None = weakref.ref(connection, lambda gone: self._gone(ident, gone))
        except TypeError:
            ref = None
            while len(self._connections) >= 1024:
                del self._connections[next(iter(self._connections))]
        named = database(connection) if callable(database) else database or Database()
        where = self._connections[ident] = Connection(next(self._count), named, ref)
        return where

    def _gone(self, ident: int, ref: object) -> None:
        """A connection was collected, which rolls back; but its last statement stays in force, as its rows live on."""
        try:
            where = self._connections.get(ident)
            if where is not None and where.ref is ref:
                del self._connections[ident]
                if not self._closed:
                    for state in where.unfinished():
                        if not where.transaction or state.transaction != where.transaction:
                            where.forget(state)
                            state.where = self._nowhere
                            self._nowhere.wait(state)
                    self._over(where, "closed")
        except Exception as trouble:
            self._trouble(trouble)

    def _trouble(self, error: Exception) -> None:
        self.troubles += 1
        if self.troubles > 1:
            return
        try:
            at = error.__traceback__
            while at is not None and at.tb_next is not None:
                at = at.tb_next
            line = f" at {at.tb_frame.f_code.co_name}:{at.tb_lineno}" if at is not None else ""
            # The message of the error may hold the program's data, so it isn't shown.
            _log.warning(
                "tracing a SQL statement failed (%s%s); the program is unaffected, some events will lack their "
                "statement; further failures are only counted",
                type(error).__name__,
                line,
            )
        except Exception:  # a handler of the program's own
            pass
