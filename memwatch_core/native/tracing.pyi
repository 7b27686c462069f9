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
    def cursor_closed(self, token: Any, all_fetched: bool = False) -> None: ...
    def transaction_ends(self, connection: object, outcome: Literal["committed", "rolled back", "closed"]) -> None: ...
    def savepoint(self, connection: object, name: str, what: Literal["set", "released", "rolled back"]) -> None: ...
    def close(self) -> None:
        """Ends every context, before the journal is closed. Drivers may go on publishing; nothing comes of it."""

class Tokens:
    """The token of the statement that an object ran last: a cursor, or whatever else runs statements.

    In the slot of a composed class, or else beside the object, so that nothing can be seen on it. Objects
    need to allow weak references or have the slot; nothing is kept of one that is gone.
    """

    beside: dict[int, list[Any]]
    """By address: ``[token, weak reference]``."""

    def get(self, of: Any, /) -> Any:
        """The token; None if there is none."""
    def set(self, of: Any, token: Any, /) -> None:
        """Raises TypeError for an object that allows no weak references and has no slot."""

class Running:
    """What is done around a cursor's method that runs a statement, for a ``DbapiDriverBase``, whose hooks it asks.

    Methods raise what they meet: the shell around them contains it.
    """

    def __new__(
        cls,
        *,
        driver: Any,
        tokens: Tokens,
        name: str,
        dialect: str,
        database: Callable[[Any], Database],
        statement: str,
        parameters: str,
        connection: Any,
        many: bool,
        answers: bool,
    ) -> Running:
        """``statement``, ``parameters``: what the method calls its first two arguments, where they may be passed by
        keyword. ``connection``: the attribute of cursors, or its descriptor, that is their connection and stands for
        it; None: the hooks ``connection_of`` and ``identity`` tell. ``answers``: the hook ``rolled_back`` is asked."""
    def before(self, cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> Any:
        """The token of the statement that begins; None if the call lacks one."""
    def after(self, cursor: Any, token: Any, result: Any, /) -> None:
        """It has succeeded."""

class Shell:
    """What is done around a library's function, contained: an Exception goes to ``host.trouble``. What else is raised,
    and whatever a signal's handler raises, is the program's: ``failed`` is told, and it goes on. The program's trace
    and profile functions aren't called meanwhile."""

    host: Any

    def __new__(cls, host: Any, before: Any, after: Any, failed: Any, each: Any) -> Shell:
        """``host``: a driver. The others as ``memwatch_plugins.sql.around.Around`` has them."""
    def call(self, function: Any, of: Any, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> Any:
        """``function(of, *args, **kwargs)``, traced if ``host.tracer`` isn't None."""
    def before(self, of: Any, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> Any:
        """A token; None if it raised."""
    def after(self, of: Any, token: Any, result: Any, /) -> None: ...
    def each(self, of: Any, token: Any, item: Any, /) -> None: ...
    def failed(self, of: Any, token: Any, error: BaseException, /) -> None: ...

def in_force() -> int:
    """Id of the statement in force here and now; 0: none."""

def read_statement(statement: str, dialect: str, /) -> tuple[str, int, str]:
    """Its text without literals and comments, what it does to the transaction (``adapter.transactions.Action``), and
    the name of its savepoint. Never raises for what a text says. ``core/text/statement.h``."""

def slot(of: Any, /) -> Any:
    """What is in the slot of an object of a composed class; None: nothing, or there is no slot. Nothing of the
    program's is called. No attribute of the program's has its name, which is no identifier."""

def set_slot(of: Any, value: Any, /) -> None:
    """Raises TypeError for an object without the slot."""

def peek(of: Any, name: str, /) -> Any:
    """The attribute that a library keeps in its object: in the object's dict, or by a descriptor of ``__slots__`` or of
    a class written in C; None if there is none. A property, or any other code in its place, isn't called."""

def disguise(kind: type, base: type, /) -> None:
    """Makes a composed class look like its base: its slot ``_memwatch`` gets a name that no attribute has; over a class
    that can't be changed it can't be changed either, and messages call it by the same name."""

def raise_unless_ours(error: BaseException, /) -> None:
    """Raises it if it isn't ours to swallow: no Exception, or what a signal's handler has raised while our code ran."""

def clock_types() -> tuple[Any, Any, Any, Any, Any, Any]:
    """The interpreter's own ``date``, ``datetime``, ``time``, ``timedelta``, ``timezone``, and UTC, whatever has been
    put into the module ``datetime`` since."""

def ends_of(buffer: Any, most: int, /) -> tuple[bytes, int]:
    """The bytes of a contiguous buffer, or ``most`` from each end of it; its length. Raises BufferError."""
