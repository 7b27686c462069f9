"""The frozen records that travel through MemWatch: what the reading side says, and what plugins return.

Two groups, and nothing else lives here:

* **What happened**: :class:`Event` and the lifecycle records (:class:`Watched`, :class:`Unwatched`, :class:`Lost`,
  :class:`Outcome`, :class:`Notice`), with the :class:`Site`, :class:`Context`, :class:`Call`, :class:`Part`,
  :class:`Shown` and :class:`Variable` they refer to.
  Readers of journals make them, sinks receive them. They are imported when they are first asked for.
* **What plugins offer**: :class:`Serializer`, :class:`TypeFormat`, :class:`SqlDriver`, :class:`Sink`, :class:`Bridge`:
  each hook of :mod:`memwatch_core.hookspecs` returns records of some of these.

All are immutable and may be shared between threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel

    from .happened import ABSENT as ABSENT
    from .happened import Call as Call
    from .happened import Context as Context
    from .happened import Event as Event
    from .happened import Lost as Lost
    from .happened import Notice as Notice
    from .happened import Operation as Operation
    from .happened import Origin as Origin
    from .happened import Outcome as Outcome
    from .happened import Part as Part
    from .happened import Record as Record
    from .happened import Shown as Shown
    from .happened import Site as Site
    from .happened import Unwatched as Unwatched
    from .happened import Variable as Variable
    from .happened import Watched as Watched

NAME_MAX = 1024
"""Characters of a variable's name: ``watch()`` takes no longer one, and readers cut it."""

_HAPPENED = frozenset(
    {
        *("Origin", "Operation", "Site", "Context", "Call", "Shown", "ABSENT", "Part", "Variable", "Event"),
        *("Watched", "Unwatched", "Lost", "Outcome", "Notice", "Record"),
    }
)


def __getattr__(name: str) -> Any:
    if name not in _HAPPENED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import happened

    value = globals()[name] = getattr(happened, name)
    return value


# ---- what plugins offer ---------------------------------------------------------------------------------------------


class Buffer(NamedTuple):
    """What the buffer protocol shows of an ``object`` proxy, so that numpy and C code take it for what it is."""

    format: str
    """Of one item, as in the ``struct`` module, and understood by ``memoryview``: ``"d"``, ``"?"``."""
    shape: tuple[int, ...] = ()
    """Lengths of up to 8 dimensions, items in the order of C; ``()``: one item, a scalar. In all ``size`` bytes."""


class Layout(NamedTuple):
    """How one value lies in its page: made by a serializer when a value is watched.

    ``proxy`` names the proxy class of the adapter that gives the value its behaviour:
    ``int`` (8 bytes, signed), ``float`` (8 bytes, IEEE 754), ``bytes``/``bytearray`` (8 bytes length, then ``capacity``
    bytes), ``struct`` (``options["format"]``, ``options["fields"]``), ``object`` (whole-value reads and writes through
    the serializer's own ``encode`` and ``decode``).
    """

    proxy: Literal["int", "float", "bytes", "bytearray", "struct", "object"]
    size: int
    """Bytes that the value takes in its page(s)."""
    options: Mapping[str, Any] = MappingProxyType({})
    """JSON-able; stored with the variable and handed to :attr:`Serializer.decode` when a journal is read."""
    buffer: Buffer | None = None
    """Of an ``object``: what its page holds, seen as a buffer. ``None``: it has none, and who asks for one is refused.
    A value that has a buffer of its own must have the same one when it is watched."""


class Extent(NamedTuple):
    """Where a part of a value lies."""

    name: str
    """As :attr:`Part.name`."""
    start: int
    stop: int
    """Its bytes: [start, stop)."""
    decode: Callable[[bytes], Any]
    """Those bytes -> what the program sees there. Must not raise on any bytes of that length."""
    decode_old: Callable[[bytes], Any] | None = None
    """The same of the bytes before the store, where the value was shorter for instance. None: ``decode``."""


class Serializer(NamedTuple):
    """Turns values of some types into bytes of fixed extent, and back."""

    name: str
    """Stored with each variable, so never change it: ``"int64"``."""
    summary: str
    accepts: Callable[[object], bool]
    """Whether this serializer takes this value; the first in configured order that does is used."""
    layout: Callable[[Any, Mapping[str, Any]], Layout]
    """``layout(value, options)``: where the value's bytes go. ``options`` are the extra keywords of ``watch()``.
    Raises TypeError, ValueError or OverflowError, with a sentence for the user; TypeError for an unknown option."""
    encode: Callable[[Any, Mapping[str, Any]], bytes]
    """``encode(value, layout.options)``: exactly ``layout.size`` bytes. Raises like ``layout``."""
    decode: Callable[[bytes, Mapping[str, Any]], Any]
    """``decode(data, options)``: inverse of ``encode``. Must not raise on any bytes of the right length."""
    format: str | None = None
    """``struct`` format of a value that is one fixed number (``"<q"``): lets a reader decode without calling back."""
    part: Callable[..., Extent | None] | None = None
    """``part(start, stop, options)``: the smallest part that the bytes [start, stop) lie in; None: only the value as a
    whole. Values of more than 64 KiB are shown by such parts alone; without it, by their bytes."""
    head: int = 0
    """Of a value whose first bytes say what the others are (a length): how many, at most 64. ``part(start, stop,
    options, before, after)`` is then given them as they were before the store and after it, or twice ``b""`` if they
    aren't known."""


class TypeFormat(NamedTuple):
    """How values of a type that is written in Python are shown where they lie: as an attribute of a watched object, or
    in a watched dict. They are read out of memory: no code of theirs runs, and nothing is imported.

    The first template is taken whose parts are all there and of the form that it asks for; if none is, or the type has
    no format, a value is shown by its type and address. What it says must be the same for as long as the value is.
    """

    name: str
    """Where the type is found, as ``"uuid.UUID"``, once the program has imported it. Values of this very type."""
    templates: tuple[str, ...]
    """As ``"UUID('{int:uuid}')"``. ``{name}`` is what a slot, or else the dict of the instance, has under that name, as
    the program would write it; ``{a.b}`` a part of a part; ``{class}`` the name of the value's class; ``{{`` a brace.

    ``{name:form}`` is written in another form, and must fit it: ``text``, a str without its quotes; ``uuid``, ``ipv4``
    and ``ipv6``, an int as these are written; ``path``, a list of segments, joined by slashes; ``member``, a str that
    names one or several members of an enumeration (``A|B``).
    """
    subclasses: bool = False
    """Of its subclasses as well."""

    @property
    def summary(self) -> str:
        """For lists of plugins."""
        return f"how values of {self.name} are written"


class Database(NamedTuple):
    """What a connection is to, without user and password; of a file its name alone."""

    name: str = ""
    server: str = ""
    """``host:port``, or the path of a socket; ``""``: there is no server, or it isn't known."""


class SqlTracer(Protocol):
    """What a SQL driver plugin publishes to. No method raises or blocks; any thread may call.

    A token may be ``None`` and is handed back as it is. It keeps neither connection nor cursor nor parameters alive.
    Every method belongs to the execution flow (thread, asyncio task) in which it is called.
    """

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
        """Before a statement is run: returns its token.

        ``connection``: the connection, or what stands for it: an object that allows weak references and lives as long;
        ``database``: what it is to, or a function that tells, which is called with ``connection`` once;
        ``dialect`` (``"sqlite"``, ``"postgresql"``, ``"mysql"``, ``""``: unknown) tells how literals are quoted;
        ``many``: parameters is a collection of rows; ``previous``: the token of the statement that the same cursor ran
        before, whose remaining rows are gone now.
        """

    def statement_ends(
        self,
        token: Any,
        rows: int | None = None,
        error: BaseException | None = None,
        fetchable: bool = True,
        in_transaction: bool | None = None,
        rolled_back: bool = False,
    ) -> None:
        """After it was run, also when it failed (``error``). ``rows``: how many it changed, None if unknown;
        ``fetchable``: rows may be fetched from it; ``in_transaction``: whether the connection is in one now, None if
        unknown: then what the statement says decides; ``rolled_back``: if it ended its transaction, then by a rollback,
        whatever it says (PostgreSQL answers ``COMMIT`` so where a statement had failed)."""

    def rows_fetched(self, token: Any, count: int, *, exhausted: bool = False) -> None:
        """Rows were handed to the program; ``exhausted``: no more will come."""

    def cursor_closed(self, token: Any, all_fetched: bool = False) -> None:
        """The program closed the cursor that ran the statement. ``all_fetched``: no row was left, though no fetch has
        said ``exhausted``: one row was fetched of one, and the library knows how many there were."""

    def transaction_ends(self, connection: object, outcome: Literal["committed", "rolled back", "closed"]) -> None:
        """After commit, rollback, or close of the connection (which rolls back what is open)."""

    def savepoint(self, connection: object, name: str, what: Literal["set", "released", "rolled back"]) -> None:
        """After a savepoint was set, released, or rolled back to, by other means than a statement that the driver has
        published: the texts ``SAVEPOINT x``, ``RELEASE x`` and ``ROLLBACK TO x`` are understood without this."""


class SqlDriver(NamedTuple):
    """Traces one database driver by publishing what its connections do."""

    name: str
    summary: str
    target: str
    """The module that must be importable for this plugin to be of use, ``"sqlite3"``; looked up, not imported."""
    install: Callable[[SqlTracer], None]
    """Starts publishing to the tracer."""
    uninstall: Callable[[], None]
    """Undoes ``install`` completely."""
    runtime: str = "python"
    """Whose programs it traces, by the name of the bridge: ``"node"``. Elsewhere it is left alone."""
    module: str = ""
    """Of another runtime than Python: the path of what traces the target there."""


class RecordSink(Protocol):
    """Where records go. One thread calls at a time; a method that raises is isolated from the other sinks."""

    def write(self, records: Sequence[Record]) -> None:
        """Takes records, in the order in which they are told."""

    def flush(self) -> None:
        """Lets everybody see what was written."""

    def close(self) -> None:
        """Nothing more will come."""


class Sink(NamedTuple):
    """An output. ``open(settings)`` is called once per run, with an instance of ``settings``."""

    name: str
    summary: str
    open: Callable[[Any], RecordSink]
    settings: type[BaseModel] | None = None
    """Model of the table ``[sinks.<name>]``; None if there is nothing to set."""


class Bridge(NamedTuple):
    """Makes a command of another runtime write into the session."""

    name: str
    summary: str
    matches: Callable[[Sequence[str]], bool]
    """Whether this bridge knows how to start this command line."""
    prepare: Callable[[Sequence[str], Mapping[str, str]], tuple[Sequence[str], Mapping[str, str]]]
    """``prepare(command, environment)``: both as they must be for the runtime to find the session."""
    environment: Callable[[Path, Mapping[str, str]], Mapping[str, str]] | None = None
    """``environment(folder, environment)`` for every program that is run: what its children of that runtime need to
    take part; None: nothing. The folder is a script's own, otherwise the working folder."""
