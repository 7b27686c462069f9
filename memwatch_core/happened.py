"""What happened: the records that the reading side makes from journals and hands to sinks.

Import them from :mod:`memwatch_core.records`, which also documents them. They have a module of their own to spare
watched programs, which make none, the import of msgspec.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

Origin = Literal["announced", "store", "syscall", "kernel", "found"]
"""How a write came about: a proxy or the interpreter announced it, an instruction stored, a libc call filled a buffer,
or the kernel wrote. ``found``: nobody saw the write; the value was found to have changed."""

Operation = Literal["add", "set", "delete", "clear", "replace", "move"]
"""What happened to a place: an attribute, a key or an item was added, got another value, or was deleted. ``clear``: all
keys of the dict were deleted at once; ``replace``: the object's ``__dict__`` was; ``move``: the items of a list are in
another order."""


End = Literal[
    "", "unwatched", "rebound", "replaced", "deleted", "left", "dropped", "collected", "exit", "closed", "released",
    "taken", "moved",
]  # fmt: skip
"""Why a watch ended; see :class:`Unwatched`."""

Given = Literal["", "plain", "computed"]
"""What is known of a value that took the place of a watched one: it is a plain number, bytes or bytearray; it was
computed from the watched one, ``x = x + 1``."""


WhyNot = Literal["kind", "max_objects", "other watch", "key", "member", "memory", "unmet"]
"""Why something that a watched object holds isn't followed; see :class:`Unfollowed`."""


class Site(msgspec.Struct, frozen=True):
    """The place in the program's own source that a store came from. Where no line of Python or JavaScript made it, the
    native code that did."""

    file: str
    """Of native code: the program or library, ``[vdso]``, or ``[jit]``: code made at run time."""
    line: int
    """From 1; 0 if unknown."""
    function: str
    """Of native code: ``encode+0x4c``; ``+0x114c``, where in the file, if no symbol is known."""
    column: int = 0
    adds_call: bool = False
    """It is ``x += f()`` on a proxy: a number that ``f`` or another thread writes to ``x`` meanwhile is not lost, as it
    would be if ``x`` were a plain number."""


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
    """Id of the first context in the same transaction; 0: none, or not known (yet)."""
    autocommit: bool = False
    """The statement ran outside of any transaction, so its changes were committed with it. Known once it has run."""
    connection: int = 0
    thread: str = ""
    database: str = ""
    server: str = ""
    """``host:port``, or the path of a socket; ``""`` for a database without a server."""
    rows: int | None = None
    """Number of rows that the statement changed, or that were fetched from it."""
    started: int = 0
    """ns since 1970, UTC."""
    ended: int | None = None
    """When ``execute()`` returned or raised. The statement may have stayed in force for longer."""


class Call(msgspec.Struct, frozen=True, gc=False):
    """The call that filled a buffer of which the event's variable is a part: a libc function or a system call."""

    name: str
    """``read``, ``recv``, ``fread`` for instance, without suffixes of compilation (``pread64`` is ``pread``). With
    origin ``kernel``: the system call's own name, empty if unknown."""
    fd: int
    """-1 if it has none."""
    bytes: int
    """Bytes that the call brought to all its buffers together; for ``recvmmsg``, with this message. 0 for
    ``kernel``."""


class Request(msgspec.Struct, frozen=True):
    """The unit of work on whose behalf a store happened: what the program named by ``memwatch_core.label()``, the task
    of asyncio that ran, and the span of OpenTelemetry that was current. What there wasn't is ``""``."""

    label: str = ""
    """The innermost label in force."""
    outer: tuple[str, ...] = ()
    """The labels around it, the innermost first."""
    task: str = ""
    """Name of the task, ``Task-3`` if the program gave it none."""
    trace_id: str = ""
    """32 hexadecimal digits."""
    span_id: str = ""
    """16 hexadecimal digits."""


class Shown(msgspec.Struct, frozen=True, gc=False):
    """A value of which only a text is known: its type isn't recorded, or it is longer than a record."""

    text: str
    """``[1, 2, 3]``, ``<orders.Order>``, ``'the beginning…' (1,234 characters)``, ``absent``."""

    def __str__(self) -> str:
        return self.text


ABSENT = Shown("absent")
"""Stands for the value of an attribute or a key that isn't there."""


class Part(msgspec.Struct, frozen=True, gc=False):
    """The part of a value that a store touched, in the program's units: elements, fields, bytes of a ``bytearray``; or
    a place of an object or a dict watched in place."""

    name: str
    """The suffix of the variable's name: ``[3]``, ``[0:16]``, ``.qty``, ``.tag[0:4]``; ``len()``: its length; of a
    place: ``.customer.age``, ``["db"]["port"]``."""
    old: Any
    """The part's value before the store; None if unknown. Of a place: None, a bool, int, float, str, bytes or
    :class:`Shown`."""
    new: Any
    activation: int | None = None
    """Of a name of a function: in which of its calls, counted from 1. None: of anything else, or it isn't known."""


class Alias(msgspec.Struct, frozen=True, gc=False):
    """Another name of a place: an object, a dict or a list is found at several places of watched ones."""

    variable: str
    variable_id: int
    """The variable, which may be the event's own."""
    name: str
    """As :attr:`Part.name`: what stands behind the variable's name."""


class Variable(msgspec.Struct, frozen=True):
    """A watched value, as its adapter registered it."""

    id: int
    name: str
    pid: int
    runtime: str
    size: int
    """Bytes of the value in its page(s)."""
    serializer: str
    """Name of the serializer that decodes the value, ``"int64"`` for instance; ``""`` for raw bytes."""
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
    """Name of the journal that the variable is recorded in, without ``.mwj``. Ids are unique within one journal; a
    process has several journals if it ran one program after the other (exec)."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """What one store did to one variable."""

    seq: int
    """Number of the event in its journal, from 1: the order in which the bytes changed."""
    time_ns: int
    """ns since 1970, UTC."""
    pid: int
    runtime: str
    tid: int
    """The kernel's id of the thread that wrote; 0 if the variable isn't tracked by thread."""
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
    """False for a store that wrote the value already there."""
    exact: bool
    site: Site | None
    context: Context | None
    call: Call | None = None
    """The call, if the origin is ``syscall`` or ``kernel``."""
    journal: str = ""
    """As :attr:`Variable.journal`."""
    part: Part | None = None
    """The part of the value that the store touched; None: all of it, or its serializer has no parts."""
    operation: Operation | None = None
    """What happened to the place that ``part`` names; None: the variable is no object watched in place."""
    own: Site | None = None
    """The first place in the program's own code: ``site``, or else the nearest of its callers in ``stack``. None: there
    is none."""
    stack: tuple[Site, ...] | None = None
    """The callers of ``site``, the innermost first; None: they weren't recorded."""
    stack_cut: bool = False
    """Whether there were more callers than ``stack`` has."""
    stack_inexact: bool = False
    """Whether ``stack`` may lack a caller, or have another line of it: of JavaScript that V8 has optimised."""
    aliases: tuple[Alias, ...] = ()
    """The other names of the place that ``part`` names, at the time of the store: the shortest, at most 8."""
    aliases_cut: bool = False
    """Whether it had more names than ``aliases`` has."""
    request: Request | None = None
    """The unit of work in force; None: there was none."""
    native: Site | None = None
    """The native code that stored, or made the call, under the line of ``site``; None: the write was announced, it
    isn't known, or ``site`` itself is native."""

    @property
    def time(self) -> datetime:
        """The moment of the store, UTC, to the microsecond."""
        return datetime.fromtimestamp(self.time_ns // 1000 / 1e6, UTC)


class Span(msgspec.Struct, frozen=True, gc=False):
    """Bytes of a variable that lie at one distance, or at two: a column of a matrix, or a block."""

    start: int
    """The first of them."""
    length: int
    """How many lie together."""
    strides: tuple[tuple[int, int], ...] = ()
    """(distance, how often), the innermost first, at most two. Empty: they lie there once."""

    @property
    def bytes(self) -> int:
        """How many there are."""
        return self.length * math.prod(count for _, count in self.strides)


class Range(msgspec.Struct, frozen=True, gc=False):
    """What the items were that several stores found, or left."""

    low: Any
    high: Any
    """The least and the greatest. Items that are no numbers are all the same, or there is no range."""
    same: bool
    """Whether all of them were ``low``, to the bit."""
    nan: bool = False
    """Whether there were NaNs among them, which are neither least nor greatest."""


class Merged(msgspec.Struct, frozen=True, gc=False, tag="merged", tag_field="event"):
    """Several events that one statement made: consecutive stores of one thread to one variable, from one place, on one
    behalf. They are the events from ``first.seq`` to ``last_seq`` that have the variable, thread, origin, exactness,
    site, stack, context and request of ``first``: all of these, and no others.

    Only sinks get it that ask for it (:attr:`Sink.merged`), in place of those events.
    """

    time_ns: int
    """ns since 1970, UTC, of the last store, in whose place this record stands."""
    first: Event
    last_seq: int
    stores: int
    """Number of the events, at least 2."""
    changed: int
    """How many of them wrote something else than was there."""
    bytes: int
    """Bytes that they wrote together; what is written twice counts twice."""
    name: str
    """What they wrote, as :attr:`Part.name`: ``[0:4096]``, ``[:, 3]``."""
    start: int
    stop: int
    """All of it lies in these bytes of the variable, [start, stop)."""
    spans: tuple[Span, ...] = ()
    """Exactly the bytes that were written, each in one span. Empty: they are too scattered; of [start, stop), perhaps
    not all was written."""
    elements: int | None = None
    """How many different elements were written; None if that isn't known."""
    old: Range | None = None
    """What the stores found. Of elements that were written twice, only the first time counts, if ``spans`` are known.
    None: it isn't known, as elements were written in part, or are no numbers and not all the same."""
    new: Range | None = None
    """What the stores left, of elements that were written twice both times."""


class Watched(msgspec.Struct, frozen=True, tag="watched", tag_field="event"):
    """A variable was registered."""

    time_ns: int
    variable: Variable
    value: Any
    """None if it couldn't be decoded, or is large (see ``part``). Of an object watched in place, a
    :class:`Shown` with its type."""
    part: Part | None = None
    """The beginning of a large value, in ``new``."""


class Unwatched(msgspec.Struct, frozen=True, tag="unwatched", tag_field="event"):
    """A watch ended: ``unwatch()``, or the last reference to the value went away."""

    time_ns: int
    pid: int
    variable: str
    variable_id: int
    journal: str = ""
    why: End = ""
    """``unwatched``: ``unwatch()`` was called. ``rebound``: a name, attribute or item (``target``) was given something
    else; ``replaced``: another watched value. ``deleted``: one was deleted. ``left``: a function that held the value
    ended. ``dropped``: the last reference went away in some other way; ``collected``: while a garbage collection ran.
    ``exit``: the program ended; ``closed``: its session did. ``released``: the owner of memory that was watched where
    it lay freed, resized, moved or unmapped it, by the call ``target``; ``taken``: that was found out later: the memory
    wasn't there any more, or was another's. ``moved``: what lay there, a column of a DataFrame, goes on in other
    memory, by its library's copy-on-write or because it was given another. ``""``: not known."""
    site: Site | None = None
    """Where; None if that isn't known."""
    target: str = ""
    """Of ``released``, the call: ``munmap``. Otherwise what was rebound or deleted: a name (``limit``), an attribute
    (``.limit``), an item (``[]``); ``""``: not known. What it held may have held the watched value."""
    given: Given = ""
    """Of ``rebound``: what ``target`` was given."""


class Unfollowed(msgspec.Struct, frozen=True, tag="unfollowed", tag_field="event"):
    """Something that an object watched in place holds isn't followed: changes in it aren't told. What lies deeper than
    the watch was asked to go is left out on purpose, and not told here."""

    time_ns: int
    pid: int
    variable: str
    variable_id: int
    journal: str = ""
    count: int = 1
    """How often so far that something was left out for this reason, and was of this type. Told when it has doubled, and
    at the end."""
    why: WhyNot = "kind"
    """``kind``: changes of such an object aren't seen; what a tuple holds isn't followed. ``max_objects``: so many are
    followed already. ``other watch``: it is a part of another watch, which doesn't go as deep, or is of some fields.
    ``key``: it lies under a key that isn't a plain value. ``member``: it is in a set. ``memory``: there was none.
    ``unmet``: the variable is a target, and nothing of its name was there until the end."""
    type: str = ""
    """The name of its type; empty: of several types. Of an unmet target, one that was probably meant."""
    name: str = ""
    """Where the last one was found, as :attr:`Part.name`."""


class Lost(msgspec.Struct, frozen=True, tag="lost", tag_field="event"):
    """Stores that ran and couldn't be recorded, or truncated records: a loss is never silent."""

    time_ns: int
    pid: int
    count: int
    reason: str
    variable: str | None = None


class Outcome(msgspec.Struct, frozen=True, tag="outcome", tag_field="event"):
    """The outcome of statements whose events were reported before: ``committed``, ``rolled back``, ``failed: …``."""

    time_ns: int
    pid: int
    outcome: str
    contexts: tuple[int, ...]
    """Ids of the statements that events carried, in ascending order."""
    transaction: int = 0
    """Id of the first context of the transaction that ended, or was rolled back to a savepoint; 0: a single
    statement."""
    events: int = 0
    """Number of events that carried these statements."""
    journal: str = ""


class Notice(msgspec.Struct, frozen=True, tag="notice", tag_field="event"):
    """A message for the reader: a journal was opened, closed, or found truncated; the tracker in use."""

    time_ns: int
    pid: int
    text: str


Record = Event | Merged | Watched | Unwatched | Unfollowed | Lost | Outcome | Notice
"""Every type that a sink may receive; :class:`Merged` only if it asks for that."""
