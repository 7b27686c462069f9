"""The frozen records that travel through MemWatch: what the reading side says, and what plugins return.

Two groups, and nothing else lives here:

* **What happened**: :class:`Event` and the lifecycle records (:class:`Watched`, :class:`Unwatched`, :class:`Lost`,
  :class:`Outcome`, :class:`Notice`), with the :class:`Site`, :class:`Context`, :class:`Call` and :class:`Variable` they
  refer to.
  Readers of journals make them, sinks receive them.
* **What plugins offer**: :class:`Serializer`, :class:`SqlDriver`, :class:`Sink`, :class:`Bridge`: each hook of
  :mod:`memwatch_core.hookspecs` returns records of one of these.

All are immutable and may be shared between threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel

NAME_MAX = 1024
"""Characters of a variable's name: ``watch()`` takes no longer one, and readers cut it."""

Origin = Literal["announced", "store", "syscall", "kernel"]
"""How a write came about: a proxy announced it, an instruction stored, a libc call filled a buffer, or the kernel."""


class Site(msgspec.Struct, frozen=True):
    """Where in the program's own source a store came from."""

    file: str
    line: int
    """From 1; 0 where it isn't known."""
    function: str
    column: int = 0


class Context(msgspec.Struct, frozen=True):
    """The SQL statement in force when a store happened."""

    id: int
    driver: str
    statement: str
    """Normalised: literals replaced by ``?``."""
    statement_hash: str
    parameters: tuple[str, ...] = ()
    """Keyed hashes, or values if the configuration asks for them; empty with ``sql.parameters = "none"``."""
    outcome: str = "open"
    """``open``, ``ended``, ``committed``, ``rolled back``, ``failed: <exception class>``, ``closed``."""
    transaction: int = 0
    """Id of the first context of the transaction that this one belongs to; 0: none, or not known (yet)."""
    autocommit: bool = False
    """It ran outside of any transaction: what it changed was committed with it. Known once it was run."""
    connection: int = 0
    thread: str = ""
    database: str = ""
    server: str = ""
    """``host:port``, or the path of a socket; ``""`` for a database without a server."""
    rows: int | None = None
    """How many the statement changed, or how many were fetched from it."""
    started: int = 0
    """ns since 1970, UTC."""
    ended: int | None = None
    """When it had been run: ``execute()`` returned or raised. It may have stayed in force for longer."""


class Call(msgspec.Struct, frozen=True, gc=False):
    """The call that filled a buffer, of which an event's variable is a part: libc's, or one of the system."""

    name: str
    """``read``, ``recv``, ``fread`` for instance: without what only says how it was compiled (``pread64``). Of an event
    whose origin is ``kernel`` the system's own name; empty if it isn't known."""
    fd: int
    """-1 if it has none."""
    bytes: int
    """How many it brought, to all its buffers together; of ``recvmmsg``, with this message. 0 for ``kernel``."""


class Variable(msgspec.Struct, frozen=True):
    """A watched value, as its adapter registered it."""

    id: int
    name: str
    pid: int
    runtime: str
    size: int
    """Bytes in its page(s) that belong to the value."""
    serializer: str
    """Name of the serializer that decodes it, ``"int64"`` for instance; ``""`` for raw bytes."""
    options: Mapping[str, Any]
    """What the serializer needs to decode: ``{"format": "<qd", "fields": ["qty", "price"]}`` for instance."""
    flags: tuple[str, ...] = ()
    depth: tuple[int, int] | None = None
    """Watched byte range [start, stop) of the value, None for all of it."""
    watched_at: Site | None = None
    thread_ident: int = 0
    """``threading.get_ident()`` (Node: ``threadId``) of the thread that called ``watch``."""
    thread: str = ""
    journal: str = ""
    """Name of the file that it is recorded in, without ``.mwj``. Ids are those of one journal: a process has several if
    it has run one program after the other (exec)."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """What one store did to one variable."""

    seq: int
    """Number of the event in its journal, from 1: the order in which the bytes changed."""
    time_ns: int
    """ns since 1970, UTC."""
    pid: int
    runtime: str
    tid: int
    """Kernel's id of the thread that wrote; 0 if the variable isn't tracked by thread."""
    thread: str
    variable: str
    variable_id: int
    path: str | None
    origin: Origin
    offset: int
    """First byte of the variable that the store touched."""
    before: bytes
    after: bytes
    old: Any
    """The decoded variable before the store; ``None`` if it couldn't be decoded (see ``before``)."""
    new: Any
    changed: bool
    """False for a store that wrote what was there already."""
    exact: bool
    site: Site | None
    context: Context | None
    call: Call | None = None
    """Of an event whose origin is ``syscall`` or ``kernel``; otherwise None."""
    journal: str = ""
    """As a variable's."""

    @property
    def time(self) -> datetime:
        """The moment of the store, UTC, to the microsecond."""
        return datetime.fromtimestamp(self.time_ns // 1000 / 1e6, UTC)


class Watched(msgspec.Struct, frozen=True, tag="watched", tag_field="event"):
    """A variable was registered."""

    time_ns: int
    variable: Variable
    value: Any


class Unwatched(msgspec.Struct, frozen=True, tag="unwatched", tag_field="event"):
    """A watch ended: ``unwatch()``, or the last reference to the value went away."""

    time_ns: int
    pid: int
    variable: str
    variable_id: int
    journal: str = ""


class Lost(msgspec.Struct, frozen=True, tag="lost", tag_field="event"):
    """Stores that ran and couldn't be recorded, or records that were cut short: never silent."""

    time_ns: int
    pid: int
    count: int
    reason: str
    variable: str | None = None


class Outcome(msgspec.Struct, frozen=True, tag="outcome", tag_field="event"):
    """What became of statements whose events were reported before: ``committed``, ``rolled back``, ``failed: …``."""

    time_ns: int
    pid: int
    outcome: str
    contexts: tuple[int, ...]
    """Ids of those statements that events carried, in ascending order."""
    transaction: int = 0
    """Id of the first context of the transaction that ended, or went back to a savepoint; 0: a statement alone."""
    events: int = 0
    """How many events carried them."""
    journal: str = ""


class Notice(msgspec.Struct, frozen=True, tag="notice", tag_field="event"):
    """Something a reader should know: a journal was opened, closed, found cut short; which tracker is in use."""

    time_ns: int
    pid: int
    text: str


Record = Event | Watched | Unwatched | Lost | Outcome | Notice
"""Everything that a sink may be handed."""


# ---- what plugins offer ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Buffer:
    """What the buffer protocol shows of an ``object`` proxy, so that numpy and C code take it for what it is."""

    format: str
    """Of one item, as in the ``struct`` module, and understood by ``memoryview``: ``"d"``, ``"?"``."""
    shape: tuple[int, ...] = ()
    """Lengths of up to 8 dimensions, items in the order of C; ``()``: one item, a scalar. In all ``size`` bytes."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How one value lies in its page: made by a serializer when a value is watched.

    ``proxy`` names the proxy class of the adapter that gives the value its behaviour:
    ``int`` (8 bytes, signed), ``float`` (8 bytes, IEEE 754), ``bytes``/``bytearray`` (8 bytes length, then ``capacity``
    bytes), ``struct`` (``options["format"]``, ``options["fields"]``), ``object`` (whole-value reads and writes through
    the serializer's own ``encode`` and ``decode``).
    """

    proxy: Literal["int", "float", "bytes", "bytearray", "struct", "object"]
    size: int
    """Bytes that the value takes in its page(s)."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able; stored with the variable and handed to :attr:`Serializer.decode` when a journal is read."""
    buffer: Buffer | None = None
    """Of an ``object``: what its page holds, seen as a buffer. ``None``: it has none, and who asks for one is refused.
    A value that has a buffer of its own must have the same one when it is watched."""


@dataclass(frozen=True, slots=True)
class Serializer:
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


class Database(NamedTuple):
    """What a connection is to, without user, password or path."""

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


@dataclass(frozen=True, slots=True)
class SqlDriver:
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

    def write(self, records: Sequence[Record]) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Sink:
    """An output. ``open(settings)`` is called once per run, with an instance of ``settings``."""

    name: str
    summary: str
    open: Callable[[Any], RecordSink]
    settings: type[BaseModel] | None = None
    """Model of the table ``[sinks.<name>]``; None if there is nothing to set."""


@dataclass(frozen=True, slots=True)
class Bridge:
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
