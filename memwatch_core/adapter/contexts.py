"""The tracer that SQL drivers publish to: the work done once for each statement text, connection or thread.

The work of each execution is in C (see ``python/sql/tracer.h``). The C code calls the underscore methods here on the
first use of a text, connection or thread.
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
"""How long a successful statement stays in force.

* ``statement``: while it runs
* ``fetch``: until its last row was fetched
* ``until-next``: until the next statement, or until its cursor is closed
* ``transaction``: as ``until-next``, but closing the cursor doesn't end it while its transaction is open
"""

_log = logging.getLogger("memwatch.sql")


class ContextRecords(Protocol):
    """Where contexts are written: the journal. Both methods may raise; the statement then goes unrecorded."""

    def context(self, context: int, payload: bytes) -> None: ...
    def outcome(self, context: int, payload: bytes) -> None: ...


class SqlContexts(tracing.Tracer):
    """The tracer that driver plugins publish to (:class:`memwatch_core.records.SqlTracer`).

    ``records`` receives the contexts (None: this process's journal). ``key`` is the session's key.

    Raises ValueError for an unknown ``window`` or ``parameters``. No method raises: errors are swallowed,
    :attr:`troubles` counts them, and the first one is logged. All methods are thread-safe.
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
        """The normalised text of a statement that isn't a str."""
        return normalise(statement, dialect)

    def _head(self, driver: str, statement: str, dialect: str) -> tuple[bytes, int, str]:
        """The head of the statement's CONTEXT records, its effect on the transaction, and its savepoint."""
        text, action, savepoint = tracing.read_statement(statement, dialect)
        digest = keyed(self._key, "statement", text.encode())[:8].hex()
        json = f'{{"driver":{quoted(driver)},"statement":{quoted(text)},"statement_hash":"{digest}"'
        return json.encode(), action, savepoint

    def _connection(
        self, connection: object, database: Database | Callable[[Any], Database] | None, number: int
    ) -> bytes:
        """The members of a CONTEXT record that describe the connection."""
        if callable(database):
            database = None if connection is None else database(connection)
        named = database or Database()
        json = f',"connection":{number}'
        for member, value in zip(Database._fields, named, strict=True):
            if value:  # a connection string may hold a password
                kept = "?" if any(sign in value for sign in ("=", "@", "://")) else value[:200]
                json += f',"{"database" if member == "name" else member}":{quoted(kept)}'
        return json.encode()

    def _thread(self) -> bytes:
        return f',"thread":{quoted(name_here())}'.encode()

    def _savepoint(self, name: str, dialect: str | None) -> str:
        return fold(name, dialect or "")

    def _report(self, error: Exception) -> None:
        """Logs the first error that was swallowed."""
        at = error.__traceback__
        while at is not None and at.tb_next is not None:
            at = at.tb_next
        line = f" at {at.tb_frame.f_code.co_name}:{at.tb_lineno}" if at is not None else ""
        # The error's message may hold the program's data, so it is left out.
        _log.warning(
            "tracing a SQL statement failed (%s%s); the program is unaffected, some events will lack their "
            "statement; further failures are only counted",
            type(error).__name__,
            line,
        )
