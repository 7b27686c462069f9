"""The types and functions of python/sql/tracer.c. All need the GIL, which Python code holds."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Literal

from ..records import Database

class ParameterHash:
    """Keyed hashes of parameters: SipHash-2-4 of their canonical forms, 16 hex digits each."""

    def __new__(cls, key: bytes, canonical: Callable[[object], bytes | None], /) -> ParameterHash:
        """``key``: 16 bytes. ``canonical`` makes the forms of values that C doesn't know; None: not hashed."""

    def __call__(self, parameters: object, many: bool = False, /) -> str:
        """``,"parameters":[...]``, or ``""`` if there are none; one string for each parameter, or for each row if
        ``many``."""

class Statement:
    """A statement: the token that a driver hands back."""

class Part:
    """A statement that is part of another one."""

class Connection:
    """A known connection."""

class Tracer:
    """A :class:`~memwatch_core.records.SqlTracer`. A subclass adds the underscore methods."""

    troubles: int
    """Errors swallowed."""
    unfinished: int
    """Statements without an OUTCOME record."""
    variable: ContextVar[Statement | None]
    """The statement in force in a flow; shared by all tracers."""

    def __init__(
        self,
        window: int,
        parameters: Callable[[object, bool], str] | None,
        context: Callable[[int, bytes], object] | None,
        outcome: Callable[[int, bytes], object] | None,
        /,
    ) -> None:
        """``window``: 0 to 3, in the order of ``contexts.Window``. ``context`` and ``outcome`` write records; None: the
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
        """Ends every context, before the journal is closed. Later calls of drivers have no effect."""

class Tokens:
    """The token of the last statement of an object that runs statements, such as a cursor.

    Held in the slot of a composed class, otherwise beside the object, so that the object looks unchanged. Objects need
    the slot, or support for weak references; entries of dead objects are removed.
    """

    beside: dict[int, list[Any]]
    """By address: lists of a token, a weak reference, and further state."""

    def get(self, of: Any, /) -> Any:
        """The token; None if there is none."""
    def set(self, of: Any, token: Any, /) -> None:
        """Raises TypeError for an object without a slot and without support for weak references."""

class Reader:
    """Reads a library's object: each step is a descriptor or method of the library's own class, or a name for
    :func:`peek`. None if the object lacks it."""

    def __new__(cls, *steps: Any) -> Reader: ...
    def __call__(self, of: Any, /) -> Any: ...

class Status:
    """Whether a connection's transaction is open; None: unknown."""

    def __new__(cls, read: Callable[[Any], Any], open: tuple[int, ...], unknown: tuple[int, ...], mask: int) -> Status:
        """``read`` returns a number from 0 to 63; with a ``mask``, any number, whose bits count."""
    def __call__(self, connection: Any, /) -> bool | None: ...

class Running:
    """A trace around a cursor method that runs a statement, for a ``DbapiDriverBase``, whose hooks it calls."""

    def __new__(
        cls,
        *,
        driver: Any,
        tokens: Tokens,
        name: str,
        dialect: str,
        database: Callable[[Any], Database],
        arguments: tuple[str, str] | Callable[..., tuple[Any, ...] | None],
        connection: Callable[[Any], Any],
        identity: Callable[[Any], Any] | None,
        after: Callable[[Any], tuple[int | None, bool | None] | None] | None,
        description: Callable[[Any], Any],
        rowcount: Callable[[Any], Any],
        status: Callable[[Any], bool | None],
        many: bool,
        answers: bool,
    ) -> Running:
        """``arguments``: the names of the method's first two arguments, for calls by keyword; or a function of the
        cursor and all arguments that returns the statement and its parameters. ``connection``, ``description``,
        ``rowcount``: functions of a cursor. ``identity``: the object that identifies a connection; None: itself.
        ``after``: the hook of that name; None: the three above and ``status`` are used. ``answers``: whether to call
        the hook ``rolled_back``."""
    def begins(self, cursor: Any, statement: Any, parameters: Any = None, /) -> Any:
        """The token of a statement that a cursor begins by other means than its own methods."""
    def ends(self, cursor: Any, token: Any, /) -> None:
        """The statement succeeded."""

class Fetching:
    """A trace around a cursor method that returns rows, for a ``DbapiDriverBase``."""

    def __new__(
        cls, driver: Any, tokens: Tokens, count: Literal["one", "some", "rest"] | Callable[[Any], tuple[int, bool]]
    ) -> Fetching:
        """``count``: the method returns a row or None, a list that is empty at the end, or all rows left; or a function
        of the result: (number of rows, whether they were the last)."""

class Shell:
    """Runs a trace around a library's function, and contains its errors.

    An Exception goes to ``host.trouble``. Any other exception, and any from a signal handler, is the program's: it is
    passed to the trace and raised again. The program's trace and profile functions aren't called meanwhile.
    """

    host: Any

    def __new__(cls, host: Any, trace: Running | Fetching | Callable[..., Any]) -> Shell:
        """``host``: a driver; ``trace``: a ``memwatch_plugins.sql.around.Trace``."""
    def call(self, function: Any, of: Any, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> Any:
        """``function(of, *args, **kwargs)``, traced if ``host.tracer`` isn't None."""
    def call_function(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> Any:
        """``function(*args, **kwargs)``, likewise."""
    def before(self, of: Any, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> Any:
        """A token; None if the trace raised."""
    def after(self, of: Any, token: Any, result: Any, /) -> None: ...
    def each(self, of: Any, token: Any, item: Any, /) -> None: ...
    def failed(self, of: Any, token: Any, error: BaseException, /) -> None: ...

def in_force() -> int:
    """Id of the statement in force in this flow; 0: none."""

def read_statement(statement: str, dialect: str, /) -> tuple[str, int, str]:
    """The statement's text without literals and comments, its effect on the transaction
    (``adapter.transactions.Action``), and the name of its savepoint. Accepts any text. See
    ``core/text/statement.h``."""

def slot(of: Any, /) -> Any:
    """The value in the slot of an object of a composed class; None: empty, or no slot. Calls nothing of the program's.
    The slot's name isn't an identifier, so that no attribute of the program's has it."""

def set_slot(of: Any, value: Any, /) -> None:
    """Raises TypeError for an object without the slot."""

def peek(of: Any, name: str, /) -> Any:
    """An attribute that a library keeps in its object: from the object's dict, or through a descriptor of ``__slots__``
    or of a class written in C; None if there is none. A property, or any other code of the same name, isn't called."""

def disguise(kind: type, base: type, /) -> None:
    """Makes a composed class look like its base. Its slot ``_memwatch`` gets a name that no attribute has. If the base
    is immutable, so is the class, and messages call it by the base's name."""

def raise_unless_ours(error: BaseException, /) -> None:
    """Raises an error that isn't ours to swallow: not an Exception, or raised by a signal handler while our code
    ran."""

def clock_types() -> tuple[Any, Any, Any, Any, Any, Any]:
    """The interpreter's own ``date``, ``datetime``, ``time``, ``timedelta``, ``timezone``, and UTC, whatever was put
    into the module ``datetime``."""

def ends_of(buffer: Any, most: int, /) -> tuple[bytes, int]:
    """The bytes of a contiguous buffer, or ``most`` from each end; its length. Raises BufferError."""
