"""The frozen records that travel through MemWatch: results of the reading side, and what plugins return.

There are two groups:

* **What happened**: :class:`Event`, :class:`Merged` and the lifecycle records (:class:`Watched`, :class:`Unwatched`,
  :class:`Unfollowed`, :class:`Lost`, :class:`Outcome`, :class:`Notice`), with the :class:`Site`, :class:`Context`,
  :class:`Call`, :class:`Part`, :class:`Alias`, :class:`Request`, :class:`Shown` and :class:`Variable` they refer
  to.
  Readers of journals make them, sinks receive them. They are imported when they are first asked for.
* **What plugins offer**: :class:`Serializer`, :class:`TypeFormat`, :class:`SqlDriver`, :class:`Sink`, :class:`Bridge`:
  each hook of :mod:`memwatch_core.hookspecs` returns records of some of these.

All are immutable and may be shared between threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel

    from .happened import ABSENT as ABSENT
    from .happened import Alias as Alias
    from .happened import Call as Call
    from .happened import Context as Context
    from .happened import End as End
    from .happened import Event as Event
    from .happened import Given as Given
    from .happened import Lost as Lost
    from .happened import Merged as Merged
    from .happened import Notice as Notice
    from .happened import Operation as Operation
    from .happened import Origin as Origin
    from .happened import Outcome as Outcome
    from .happened import Part as Part
    from .happened import Range as Range
    from .happened import Record as Record
    from .happened import Request as Request
    from .happened import Shown as Shown
    from .happened import Site as Site
    from .happened import Span as Span
    from .happened import Unfollowed as Unfollowed
    from .happened import Unwatched as Unwatched
    from .happened import Variable as Variable
    from .happened import Watched as Watched
    from .happened import WhyNot as WhyNot

NAME_MAX = 1024
"""Limit of a variable's name, in characters: ``watch()`` refuses longer ones, readers truncate them."""

_HAPPENED = frozenset(
    {
        *("Origin", "Operation", "Site", "Context", "Call", "Request", "Shown", "ABSENT", "Part", "Alias"),
        *("Variable", "Event", "Merged", "Range", "Span"),
        *("Watched", "Unwatched", "Unfollowed", "End", "Given", "WhyNot", "Lost", "Outcome", "Notice"),
        "Record",
    }
)


def __getattr__(name: str) -> Any:
    if name not in _HAPPENED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import happened

    value = globals()[name] = getattr(happened, name)
    return value


# ---- at once ---------------------------------------------------------------------------------------------------------


class Described(str):
    """A value of which only words are known: ``absent``, ``[1, 2, 3]``, ``<Order at 0x7f3a5c1d2e50>``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Hit(NamedTuple):
    """A write that met a condition, as ``watch(..., then=function)`` gets it in the thread that wrote."""

    variable: str
    path: str
    """What was written: the variable's name, or a place of it, ``order.customer.age``."""
    old: Any
    """The value before; of a place, None, a bool, int, float, str, bytes or :class:`Described`. None as well if it is a
    secret, or has more than 256 bytes."""
    new: Any
    changed: bool
    thread: str
    tid: int
    """The kernel's number of the thread that wrote."""
    site: tuple[str, int, str] | None
    """File, line, function of the Python code that wrote; None: it isn't known."""
    origin: str
    """``announced``, ``store`` (by an instruction, seen by its fault), ``syscall``, ``kernel``, ``found``."""
    when: str | None
    time_ns: int
    """ns since 1970, UTC."""
    more: int = 0
    """Other writes that met the same condition in this thread before it could act."""
    secret: bool = False


# ---- what plugins offer ---------------------------------------------------------------------------------------------


class Buffer(NamedTuple):
    """The buffer that an ``object`` proxy exports, so that numpy and C code see its value."""

    format: str
    """Format of one item, from the ``struct`` module and understood by ``memoryview``: ``"d"``, ``"?"``."""
    shape: tuple[int, ...] = ()
    """Lengths of up to 8 dimensions, in C order; ``()``: a scalar. The items take ``size`` bytes in all."""


class Layout(NamedTuple):
    """How one value lies in its page; a serializer returns it when the value is watched.

    ``proxy`` names the adapter's proxy class that gives the value its behaviour: ``int`` (8 bytes, signed), ``float``
    (8 bytes, IEEE 754), ``bytes``/``bytearray`` (8 bytes length, then ``capacity`` bytes), ``struct``
    (``options["format"]``, ``options["fields"]``), ``object`` (whole-value reads and writes through the serializer's
    own ``encode`` and ``decode``); ``memory``: no proxy at all, but a value of the program's own type that lies in
    watched memory, as :attr:`Serializer.lies` makes it.
    """

    proxy: Literal["int", "float", "bytes", "bytearray", "struct", "object", "memory"]
    size: int
    """Bytes that the value takes in its page(s)."""
    options: Mapping[str, Any] = MappingProxyType({})
    """JSON-able; stored with the variable and passed to :attr:`Serializer.decode` when a journal is read."""
    buffer: Buffer | None = None
    """For an ``object``: the buffer that its page is exported as. None: exporting one is refused. A value that has a
    buffer of its own must have the same one when it is watched."""
    items: str = ""
    """For a ``memory`` that is numbers of one kind, side by side: the ``struct`` format of one, ``"<d"``. Conditions
    are then judged of each by itself."""
    names: Sequence[str] = ()
    """What its parts are called behind its own name: ``.price``, ``[0].price``. Where one of them is a secret's, all of
    it is masked."""


class Extent(NamedTuple):
    """Where a part of a value lies."""

    name: str
    """As :attr:`Part.name`."""
    start: int
    stop: int
    """Its bytes are [start, stop)."""
    decode: Callable[[bytes], Any]
    """Decodes those bytes to what the program sees there. Must not raise, whatever the bytes."""
    decode_old: Callable[[bytes], Any] | None = None
    """Decodes the bytes before the store, if they mean something else: where the value was shorter, for instance. None:
    ``decode``."""


Left = Callable[[bool], None]
"""``left(gone)``, called where a value goes on in other memory than the watched one; ``gone``: or is deleted. Ends the
watch there, with a record, if it hasn't ended. In any thread, at any moment; raises nothing."""


class Lies(NamedTuple):
    """How values of a type that lies in memory (an array) are made to lie in watched memory. All run in the watched
    program, in ``watch()`` and ``unwatch()``."""

    over: Callable[[Any], Callable[[Any], Any]]
    """``over(value)(memory)``: a value of the very same type over ``memory``, an exporter of so many writable bytes as
    ``encode`` has given, with their content. It keeps ``memory`` itself, as all that is made of it does: the watch ends
    with the last reference. What ``over(value)`` returns doesn't keep ``value``."""
    copy: Callable[[Any], Any]
    """A copy of such a value, in memory of its own."""
    memory: Callable[[Any], Iterator[object]]
    """What a value lies in: the objects that it keeps for its memory, from the nearest on, as far as they are known;
    :func:`memwatch_plugins.memory_owners.owners_of` knows those of the standard library and numpy's."""
    follow: Callable[[Any, Left], None] | None = None
    """``follow(value, left)``: has ``left`` called at once where the value's library lays it elsewhere, though
    others may have the memory. It keeps neither the value nor the memory. None: the last reference to it tells."""
    module: str = ""
    """Name of the module whose lines, and those below it, aren't the program's: where that happens is said by the line
    that called them."""


class Split(NamedTuple):
    """How a value that holds several is watched by these, each a variable of its own: a table by its columns. The value
    stays the object that it is. ``lies.memory`` then has what all of them lie in, and ``lies.copy(value)`` gives them
    memory of their own again, and returns the value."""

    parts: Callable[[Any, Mapping[str, Any]], Sequence[tuple[str, Any]] | None]
    """``parts(value, options)``: of each, what stands behind the value's name (``.price``), and a value that the
    serializer takes by itself, without options. None: this value is one. Raises like ``layout``."""
    join: Callable[[Any, Sequence[Any], Sequence[Left]], None]
    """``join(value, watched, left)``: puts the watched parts in their places, and follows each, as ``lies.follow``
    does."""


class Items(NamedTuple):
    """How the items of an array lie in its value."""

    start: int
    """The first byte of the first one; each follows the one before it."""
    format: str
    """``struct`` letter of a number, ``"d"``, little-endian."""
    decode: Callable[[bytes], Any] | None = None
    """Decodes one item; None: as ``struct`` does."""


class Serializer(NamedTuple):
    """Turns values of some types into bytes of fixed extent, and back."""

    name: str
    """Stored with each variable, so never change it: ``"int64"``."""
    summary: str
    accepts: Callable[[object], bool]
    """Whether this serializer takes a value; the first one in configured order is used."""
    layout: Callable[[Any, Mapping[str, Any]], Layout]
    """``layout(value, options)``: where the value's bytes go. ``options`` are the extra keywords of ``watch()``. Raises
    TypeError, ValueError or OverflowError, with a sentence for the user; TypeError for an unknown option."""
    encode: Callable[[Any, Mapping[str, Any]], bytes]
    """``encode(value, layout.options)``: exactly ``layout.size`` bytes. Raises like ``layout``."""
    decode: Callable[[bytes, Mapping[str, Any]], Any]
    """``decode(data, options)``: inverse of ``encode``. Must not raise on any bytes of the right length."""
    format: str | None = None
    """``struct`` format of a value that is a single number (``"<q"``): a reader can then decode without calling
    back."""
    part: Callable[..., Extent | None] | None = None
    """``part(start, stop, options)``: the smallest part that contains the bytes [start, stop); None: there are no
    parts. Values of more than 64 KiB are shown only by their parts, or, if ``part`` is None, by their bytes."""
    head: int = 0
    """For a value whose first bytes determine its parts (a length): their number, at most 64. ``part(start, stop,
    options, before, after)`` then also gets these bytes before and after the store, both ``b""`` if unknown."""
    lies: Lies | None = None
    """Of layouts with the proxy ``memory``. ``encode`` may then return any buffer, whose bytes are copied."""
    by_parts: bool = False
    """Whether its values are shown by their parts alone, whatever their size: ``part`` then knows all of them."""
    locate: Callable[[str, Mapping[str, Any]], tuple[int, int] | None] | None = None
    """``locate(name, options)``: the bytes [start, stop) of the part of that name, as ``part`` would name it or a
    person does; None: there is no such part. Without it, parts are searched for."""
    items: Callable[[Mapping[str, Any]], Items | None] | None = None
    """``items(options)``: how the items lie of a value that is an array of numbers; None: it is none. So a reader says
    what many stores found and left without calling back."""
    region: Callable[[Sequence[Span], Mapping[str, Any]], tuple[str, int | None] | None] | None = None
    """``region(spans, options)``: what these bytes of a value are called, ``[:, 3]``, as :attr:`Part.name` (``""``: all
    of it), and how many elements of one kind they are, None if they are of several; None: they have no such name. If
    it is None, ``items`` or ``part`` say it."""
    split: Split | None = None
    """Of a serializer that takes values of several parts."""
    cut: Callable[[int, int, Mapping[str, Any]], Iterator[Extent]] | None = None
    """``cut(start, stop, options)``: the bytes [start, stop), in order, as the largest parts that lie within them.
    Bytes that mean nothing are left out, or lie between others of one part. So ``blame`` says who wrote what, where
    parts of parts were written apart. If it is None, the smallest part is told as a whole."""


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
    """The database of a connection, without user and password; for a file, only its name."""

    name: str = ""
    server: str = ""
    """``host:port``, or the path of a socket; ``""``: no server, or unknown."""


class SqlTracer(Protocol):
    """What a SQL driver plugin publishes to. No method raises or blocks; all are thread-safe.

    A token may be ``None``; hand it back unchanged. It keeps no connection, cursor or parameters alive. Each call
    belongs to the execution flow (thread, asyncio task) that makes it.
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
        """Call before a statement runs; returns its token.

        ``connection``: the connection, or an object in its place that supports weak references and lives as long.
        ``database``: the connection's database, or a function that is called once with ``connection`` and returns it.
        ``dialect`` (``"sqlite"``, ``"postgresql"``, ``"mysql"``, ``""``: unknown) determines how literals are quoted.
        ``many``: ``parameters`` is a collection of rows. ``previous``: the token of the cursor's previous statement,
        whose remaining rows are gone now.
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
        whatever it says (PostgreSQL answers ``COMMIT`` so where a statement had failed).

        Of MySQL's texts of several statements, and of procedures, it may be called again once the last result was read,
        for what that says: ``in_transaction``, or the ``error`` that came in its place."""

    def rows_fetched(self, token: Any, count: int, *, exhausted: bool = False) -> None:
        """Call when rows were handed to the program. ``exhausted``: no more will come."""

    def cursor_closed(self, token: Any, all_fetched: bool = False) -> None:
        """Call when the program closed the cursor that ran the statement. ``all_fetched``: no row was left, though no
        fetch was ``exhausted``: the library knows the number of rows, and all were fetched."""

    def transaction_ends(self, connection: object, outcome: Literal["committed", "rolled back", "closed"]) -> None:
        """Call after commit, rollback, or close of the connection (which rolls back an open transaction)."""

    def savepoint(self, connection: object, name: str, what: Literal["set", "released", "rolled back"]) -> None:
        """Call after a savepoint was set, released, or rolled back to by other means than a published statement: the
        texts ``SAVEPOINT x``, ``RELEASE x`` and ``ROLLBACK TO x`` are recognised without this call."""


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
    """The runtime whose programs it traces, by the name of the bridge: ``"node"``. Unused in other runtimes."""
    module: str = ""
    """For another runtime than Python: path of the module that traces the target there."""


class RecordSink(Protocol):
    """Receives records. One thread calls at a time; an exception in one sink doesn't affect the others."""

    def write(self, records: Sequence[Record]) -> None:
        """Takes records, in order."""

    def flush(self) -> None:
        """Makes everything written so far visible to others."""

    def close(self) -> None:
        """Called last; nothing more will be written."""


class Sink(NamedTuple):
    """An output. ``open(settings)`` is called once per run, with an instance of ``settings``."""

    name: str
    summary: str
    open: Callable[[Any], RecordSink]
    settings: type[BaseModel] | None = None
    """Pydantic model of the table ``[sinks.<name>]``; None if there are no settings."""
    merged: Callable[[Any], bool] | None = None
    """``merged(settings)``: whether it wants events that one statement made as one :class:`Merged`. None: it
    doesn't."""


class Bridge(NamedTuple):
    """Makes a command of another runtime write into the session."""

    name: str
    summary: str
    matches: Callable[[Sequence[str]], bool]
    """Whether this bridge can start a command line."""
    prepare: Callable[[Sequence[str], Mapping[str, str]], tuple[Sequence[str], Mapping[str, str]]]
    """``prepare(command, environment)``: both, changed so that the runtime finds the session."""
    environment: Callable[[Path, Mapping[str, str]], Mapping[str, str]] | None = None
    """``environment(folder, environment)``, called for every program that is run: the environment in which its children
    of that runtime take part; None: unchanged. The folder is a script's own, otherwise the working folder."""
