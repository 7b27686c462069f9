"""What python/tracer.c offers. All of it wants the interpreter lock, which Python code has."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Literal

from ..records import Database

class ParameterHash:
    """Keyed hashes of parameters: SipHash-2-4 of their canonical forms, 16 hex digits each."""

    def __new__(cls, key: bytes, canonical: Callable[[object], bytes | None], /) -> ParameterHash:
        """``key``: 16 bytes; ``canonical`` makes the forms of values that C doesn't know, None: not hashed."""

    def __call__(self, parameters: object, many: bool = False, /) -> str:
        """``,"parameters":[...]``, or ``""`` if there are none; one string a parameter, or one a row, if ``many``."""

class Statement:
    """A statement: the token that a driver hands back."""

class Part:
    """A statement that is a part of another one."""

class Connection:
    """What is known of a connection."""

class Tracer:
    """A :class:`~memwatch_core.records.SqlTracer`, but for the methods with an underscore, which a subclass has."""

    troubles: int
    """Errors that were swallowed."""
    unfinished: int
    """Statements without an OUTCOME record."""
    variable: ContextVar[Statement | None]
    """Which statement is in force in a flow; one for all tracers."""

    def __init__(
        self,
        window: int,
        parameters: Callable[[object, bool], str] | None,
        context: Callable[[int, bytes], object] | None,
        outcome: Callable[[int, bytes], object] | None,
        /,
    ) -> None:
        """``window``: 0 to 3, in the order of ``contexts.Window``; ``context`` and ``outcome`` write records, None: the
        core does, into this process's journal."""

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
    ) -> Any: ...
    def statement_ends(
        self,
        token: Any,
        rows: int | None = None,
        error: BaseException | None = None,
        fetchable: bool = True,
        in_transaction: bool | None = None,
        rolled_back: bool = False,
    ) -> None: ...
    def rows_fetched(self, token: Any, count: int, *, exhausted: bool = False) -> None: ...
    def cursor_closed(self, token: Any) -> None: ...
    def transaction_ends(self, connection: object, outcome: Literal["committed", "rolled back", "closed"]) -> None: ...
    def savepoint(self, connection: object, name: str, what: Literal["set", "released", "rolled back"]) -> None: ...
    def close(self) -> None:
        """Ends every context, before the journal is closed. Drivers may go on publishing; nothing comes of it."""

def in_force() -> int:
    """Id of the statement in force here and now; 0: none."""
