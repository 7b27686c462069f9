"""What happened: the records that the reading side makes of journals and hands to sinks.

To be had from :mod:`memwatch_core.records`, whose description is theirs too. They are in a module of their own because
a watched program, which makes none, is spared the import of msgspec.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

Origin = Literal["announced", "store", "syscall", "kernel", "found"]
"""How a write came about: a proxy or the interpreter announced it, an instruction stored, a libc call filled a buffer,
or the kernel; ``found``: nobody saw it, the value was found to have changed."""

Operation = Literal["add", "set", "delete"]
"""What happened to a place: an attribute or a key that is new, has another value, is gone."""


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


class Shown(msgspec.Struct, frozen=True, gc=False):
    """A value of which only a text is known: of a type that MemWatch doesn't record, or longer than it records."""

    text: str
    """``[1, 2, 3]``, ``<orders.Order>``, ``'the beginning…' (1,234 characters)``, ``absent``."""

    def __str__(self) -> str:
        return self.text


ABSENT = Shown("absent")
"""In place of the value of an attribute or a key that isn't there."""


class Part(msgspec.Struct, frozen=True, gc=False):
    """The part of a value that a store touched, counted as the program counts: in elements, fields, bytes of a
    ``bytearray``; or the place in an object or a dict that is watched where it lies."""

    name: str
    """What to write behind the variable's name: ``[3]``, ``[0:16]``, ``.qty``, ``.tag[0:4]``; ``len()``: its length; a
    place: ``.customer.age``, ``["db"]["port"]``."""
    old: Any
    """What it was; None if that isn't known. Of a place: None, a bool, int, float, str, bytes or :class:`Shown`."""
    new: Any


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
    """The decoded variable before the store; ``None`` if it couldn't be decoded, or is large (see ``part``)."""
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
    part: Part | None = None
    """What of the value the store touched; None: all of it, or its serializer knows no parts."""
    operation: Operation | None = None
    """What happened to a place of an object or a dict, which ``part`` names; None: the variable is no such object."""

    @property
    def time(self) -> datetime:
        """The moment of the store, UTC, to the microsecond."""
        return datetime.fromtimestamp(self.time_ns // 1000 / 1e6, UTC)


class Watched(msgspec.Struct, frozen=True, tag="watched", tag_field="event"):
    """A variable was registered."""

    time_ns: int
    variable: Variable
    value: Any
    """None if it couldn't be decoded, or is large (see ``part``). Of an object that is watched where it lies, what it
    is: :class:`Shown`."""
    part: Part | None = None
    """The beginning of a large value, as ``new``."""


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
