"""The tracer that SQL drivers publish to: what is done once a statement, a connection or a thread.

What is done for each execution is in C (``python/sql/tracer.h`` says how it hangs together), and calls the methods
with an underscore here for what it doesn't know yet.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Literal, Protocol, get_args

from ..native import tracing
from ..records import Database
from . import parameters as _parameters
from .hashes import keyed
from .names import quoted
from .statements import normalise
from .threads import name_here
from .transactions import fold

Window = Literal["statement", "fetch", "until-next", "transaction"]
"""How long a statement that succeeded stays in force: while it is run; until its last row was fetched; until the next
one or the closing of its cursor; until the next one, while closing the cursor doesn't end it as long as its transaction
is open."""

_log = logging.getLogger("memwatch.sql")


class ContextRecords(Protocol):
    """Where contexts are written: the journal. Both may raise; the statement then goes unrecorded."""

    def context(self, context: int, payload: bytes) -> None: ...
    def outcome(self, context: int, payload: bytes) -> None: ...


class SqlContexts(tracing.Tracer):
    """The tracer that driver plugins publish to (:class:`memwatch_core.records.SqlTracer`).

    ``records`` is where contexts are written, None: this process's journal. ``key``: the session's.
    Raises ValueError for an unknown ``window`` or ``parameters``; nothing else in it ever raises. :attr:`troubles`
    counts the errors that were swallowed; the first one is logged. Any thread may call anything.
    """

    __slots__ = ("_key",)

    def __init__(
        self,
        records: ContextRecords | None,
        key: bytes,
        *,
        window: Window = "until-next",
        parameters: _parameters.Keep = "hash",
    ) -> None:
        windows = get_args(Window)
        if window not in windows:
            raise ValueError(f"sql.window is {window!r}; it can be one of {', '.join(map(repr, windows))}")
        self._key = key
        super().__init__(
            windows.index(window),
            _parameters.keeper(parameters, key),
            records.context if records else None,
            records.outcome if records else None,
        )

    # ---- what C asks ------------------------------------------------------------------------------------------------

    def _text(self, statement: object, dialect: str) -> str:
        """Of a statement that isn't a str."""
        return normalise(statement, dialect)

    def _head(self, driver: str, statement: str, dialect: str) -> tuple[bytes, int, str]:
        """The beginning of its CONTEXT records, and what it does to the transaction."""
        text, action, savepoint = tracing.read_statement(statement, dialect)
        digest = keyed(self._key, "statement", text.encode())[:8].hex()
        json = f'{{"driver":{quoted(driver)},"statement":{quoted(text)},"statement_hash":"{digest}"'
        return json.encode(), action, savepoint

    def _connection(
        self, connection: object, database: Database | Callable[[Any], Database] | None, number: int
    ) -> bytes:
        """A connection's members of its CONTEXT records."""
        if callable(database):
            database = None if connection is None else database(connection)
        named = database or Database()
        json = f',"connection":{number}'
        for member, value in zip(Database._fields, named, strict=True):
            if value:  # a connection string, which may hold a password, isn't kept
                kept = "?" if any(sign in value for sign in ("=", "@", "://")) else value[:200]
                json += f',"{"database" if member == "name" else member}":{quoted(kept)}'
        return json.encode()

    def _thread(self) -> bytes:
        return f',"thread":{quoted(name_here())}'.encode()

    def _savepoint(self, name: str, dialect: str | None) -> str:
        return fold(name, dialect or "")

    def _report(self, error: Exception) -> None:
        """The first error that was swallowed."""
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
