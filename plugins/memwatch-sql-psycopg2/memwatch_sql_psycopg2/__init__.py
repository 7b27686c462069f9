"""Traces psycopg2: publishes what connections do that are made by ``psycopg2.connect``.

Its connections and cursors are C types, and C code checks for them: traced are real subclasses, composed over whatever
class the program asks for.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

from memwatch_core.records import Database
from memwatch_plugins.sql import DbapiDriverBase, Outcome, Wrapper
from memwatch_plugins.sql.around import Around, Shell, named
from memwatch_plugins.sql.dbapi import is_composed
from memwatch_plugins.sql.plain import Own, is_a, peek, plain, set_slot, slot

from .statements import STATEMENTS, composed

# Values of libpq and psycopg2, which is imported by the program alone.
INTRANS, INERROR, UNKNOWN = 2, 3, 4
PREPARED = 5
POLL_OK = 0


class Psycopg2Driver(DbapiDriverBase):
    name, summary, target, dialect = "psycopg2", "psycopg2, for PostgreSQL", "psycopg2", "postgresql"
    keywords = ("query", "vars")
    fetches: ClassVar = {**DbapiDriverBase.fetches, "read_message": lambda message: (int(message is not None), False)}

    def __init__(self) -> None:
        super().__init__()
        self._bulks: dict[int, int] = {}  # cursors (by id) in execute_values() or execute_batch(): rows so far

    def patch(self) -> None:
        import psycopg2

        # What every ``connect`` calls, also one that was imported by name before.
        self.replace(self._connect, (psycopg2, "_connect"))
        self.when_imported("psycopg2.extras", self._patch_extras)

    def _connect(self, call: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        factory = kwargs.get("connection_factory")
        factory = self._plain_connection if factory is None else factory
        if is_a(factory, type) and issubclass(factory, self._plain_connection):
            return call(*args, **{**kwargs, "connection_factory": self.traced_connection(factory)})
        self.tell("connections made by a factory that is no class go untraced")
        return call(*args, **kwargs)

    # ---- connections ------------------------------------------------------------------------------------------------

    @cached_property
    def _own(self) -> Own:
        """What psycopg2's connections have, whatever the program's subclasses of them."""
        return Own(self._plain_connection)

    @cached_property
    def _cursors_own(self) -> Own:
        from psycopg2.extensions import cursor

        return Own(cursor)

    def connected(self) -> Any:
        from psycopg2.extensions import cursor

        return cursor.connection

    def database(self, identity: Any) -> Database:
        if self._own.closed(identity):
            return Database()
        info = self._own.info(identity)
        host = info.host or ""
        if host.startswith("/"):
            return Database(info.dbname, f"{host}/.s.PGSQL.{info.port}")
        return Database(info.dbname, f"[{host}]:{info.port}" if ":" in host else f"{host}:{info.port}")

    def in_transaction(self, connection: Any) -> bool | None:
        status = self._own.get_transaction_status(connection)  # libpq's: asks nobody
        if status in (INTRANS, INERROR) or self._own.status(connection) == PREPARED:
            return True
        return None if status == UNKNOWN else False

    def is_closed(self, connection: Any) -> bool:
        return bool(self._own.closed(connection))

    def rolled_back(self, cursor: Any) -> bool:
        return bool(self._cursors_own.statusmessage(cursor) == "ROLLBACK")

    def commits(self, connection: Any) -> Outcome:
        return "rolled back" if self._own.get_transaction_status(connection) == INERROR else "committed"

    def around_connection(self, names: Callable[[str], bool]) -> dict[str, Around]:
        found = super().around_connection(names)
        for name in ("reset", "set_isolation_level", "set_client_encoding", "tpc_rollback"):
            found[name] = self._settling("rolled back")
        return found | {"tpc_commit": self._settling("committed"), "close": self._leaving(), "poll": self._polling()}

    def _settling(self, outcome: Outcome) -> Around:
        """Around a method that ends the transaction, if there is one and the arguments are such."""

        def before(connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outcome | None:
            if not self.in_transaction(connection):
                return None
            return self.commits(connection) if outcome == "committed" else outcome

        def after(connection: Any, token: Outcome | None, result: Any) -> None:
            if token is not None and self.tracer is not None and self.in_transaction(connection) is False:
                self.tracer.transaction_ends(connection, token)

        return Around(before, after, lambda connection, token, error: after(connection, token and "rolled back", None))

    def _leaving(self) -> Around:
        """Around ``close``."""

        def before(connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outcome:
            # What was prepared isn't rolled back by this: it counts as committed, as PREPARE TRANSACTION by text does.
            return "committed" if self._own.status(connection) == PREPARED else "closed"

        def after(connection: Any, token: Outcome, result: Any) -> None:
            if self.tracer is not None:
                if (pending := self._pending(connection)) is not None:
                    self.tracer.statement_ends(pending[1], fetchable=False, in_transaction=False)
                self.tracer.transaction_ends(connection, token)

        return Around(before, after, _nothing)

    # ---- connections with async_=1: a statement is run when poll() says so ------------------------------------------

    def running(self, *, many: bool = False, keywords: tuple[str, str] | None = None) -> Around:
        def after(cursor: Any, token: Any, result: Any) -> None:
            if token is None:
                return
            connection = self.connection_of(cursor)
            if self._own.async_(connection):  # psycopg2 doesn't keep the cursor alive meanwhile, so we don't either
                set_slot(connection, (weakref.ref(cursor), token))
            else:
                self._ends(cursor, token)

        return replace(super().running(many=many, keywords=keywords), after=after)

    def _ends(self, cursor: Any, token: Any) -> None:
        if (tracer := self.tracer) is None:
            return
        rows, in_transaction = self.after(cursor) if cursor is not None else (None, None)
        rolled_back = in_transaction is False and self.rolled_back(cursor)
        tracer.statement_ends(token, rows, None, rows is None, in_transaction, rolled_back)

    def _pending(self, connection: Any) -> tuple[Any, Any] | None:
        """The statement of an asynchronous connection that isn't known to have been run, once: its cursor, token."""
        pending = slot(connection)
        if pending is None:
            return None
        set_slot(connection, None)
        return pending[0](), pending[1]

    def _polling(self) -> Around:
        def after(connection: Any, token: None, state: int) -> None:
            if state == POLL_OK and (pending := self._pending(connection)) is not None:
                self._ends(*pending)

        def failed(connection: Any, token: None, error: BaseException) -> None:
            if (pending := self._pending(connection)) is not None:
                self.failed(*pending, error)

        return Around(_nothing, after, failed)

    # ---- cursors ----------------------------------------------------------------------------------------------------

    def connection_members(self, base: type) -> dict[str, Any]:
        return {"__bases__": (self._makes_cursors,) if base is self._plain_connection else (base, self._makes_cursors)}

    @cached_property
    def _plain_connection(self) -> Any:
        from psycopg2.extensions import connection

        return connection

    @cached_property
    def _error(self) -> Any:
        from psycopg2 import Error

        return Error

    @cached_property
    def _makes_cursors(self) -> type:
        """Comes right before psycopg2's own class, so that the ``cursor()`` of classes of the program, and of
        psycopg2.extras, gets traced cursors as well."""
        from psycopg2.extensions import cursor as plain_cursor

        base = self._plain_connection

        def cursor(*args: Any, **kwargs: Any) -> Any:
            if self.tracer is None or not args or not is_a(args[0], base):
                return base.cursor(*args, **kwargs)
            factory = args[2] if len(args) > 2 else kwargs.get("cursor_factory")
            factory = self._own.cursor_factory(args[0]) if factory is None else factory
            factory = plain_cursor if factory is None else factory
            if not (is_a(factory, type) and issubclass(factory, plain_cursor)):
                self.tell("cursors made by a factory that is no class go untraced")
            elif len(args) > 2:
                args = (*args[:2], self.traced_cursor(factory), *args[3:])
            else:
                kwargs["cursor_factory"] = self.traced_cursor(factory)
            return base.cursor(*args, **kwargs)

        members = {"__slots__": (), "cursor": named(cursor, base.cursor, base, "cursor")}
        made = type("MakesCursors", (base,), members)
        del made.__slots__  # type: ignore[attr-defined]
        return made

    def text(self, cursor: Any, statement: Any) -> Any:
        return plain(composed(statement))

    def after(self, cursor: Any) -> tuple[int | None, bool | None]:
        own = self._cursors_own
        in_transaction = self.in_transaction(own.connection(cursor))
        rows = None if own.description(cursor) is not None or own.name(cursor) is not None else own.rowcount(cursor)
        if self._bulks and id(cursor) in self._bulks:
            self._bulks[id(cursor)] += own.rowcount(cursor)
            rows = None
        return rows, in_transaction

    def all_fetched(self, cursor: Any) -> bool:
        own = self._cursors_own  # of a named cursor, the server alone knows
        return own.name(cursor) is None and own.rownumber(cursor) >= own.rowcount(cursor)

    def fetch_failed(self, cursor: Any, token: Any, error: BaseException) -> None:
        # If the server said so: a named cursor asks it for its rows.
        if is_a(error, self._error) and peek(error, "pgcode") is not None:
            self.failed(cursor, token, error)
        else:
            super().fetch_failed(cursor, token, error)

    def around_cursor(self, names: Callable[[str], bool]) -> dict[str, Around]:
        told = {
            name: self.running_as(tell, many=name == "executemany") for name, tell in STATEMENTS.items() if names(name)
        }
        return super().around_cursor(names) | told

    # ---- execute_values and execute_batch: one statement, whatever the number of pages ------------------------------

    def _patch_extras(self) -> None:
        from psycopg2 import extras

        self.replace(self._bulk(counts=True), (extras, "execute_values"))
        self.replace(self._bulk(counts=False), (extras, "execute_batch"))  # tells only what the last one of a page did

    def _bulk(self, counts: bool) -> Wrapper:
        def ends(cursor: Any, token: Any, rows: int) -> None:
            in_transaction = self.in_transaction(self.connection_of(cursor))
            if self.tracer is not None:
                self.tracer.statement_ends(token, rows if counts else None, in_transaction=in_transaction)

        shell = Shell(self, self.running(many=True).before, ends, self.failed, None)

        def wrapper(call: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            given = dict(zip(("cur", "sql", "argslist"), args, strict=False)) | kwargs
            cursor = given.get("cur")
            if not is_composed(type(cursor)):
                return call(*args, **kwargs)
            self._bulks[id(cursor)] = 0
            token = None
            try:
                token = shell.before(cursor, (given.get("sql"), given.get("argslist")), {})
                result = call(*args, **kwargs)
            except BaseException as error:
                shell.failed(cursor, token, error)
                raise
            finally:
                rows = self._bulks.pop(id(cursor), 0)
            shell.after(cursor, token, rows)
            return result

        return wrapper


def _nothing(*args: Any) -> None: ...


driver = Psycopg2Driver()
