"""Which statement is in force in which execution flow, and what is known of it until its record is written."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextvars import ContextVar, Token
from hashlib import blake2b
from typing import NamedTuple, Protocol

import msgspec

from ..records import Database
from .statements import LIMIT, normalise

CURRENT: ContextVar[int] = ContextVar("memwatch.context", default=0)
"""Id of the context in force in this flow; 0: none. For the core's origin provider."""


_HEADS = 256


class Tracer(Protocol):
    def finish(self, state: Statement, outcome: str) -> None: ...
    def forgotten(self, state: Statement) -> None: ...


class Head(NamedTuple):
    """What is the same whenever a connection runs the same statement."""

    driver: str
    json: str
    """The beginning of its CONTEXT record."""
    verb: str


def quoted(text: str) -> str:
    """As JSON."""
    return msgspec.json.encode(text if text.isascii() else text.encode("utf-8", "replace").decode()).decode()


def failure(error: BaseException) -> str:
    """The outcome of a statement that failed, to be put between quotes. No message: it may hold the program's data."""
    return f"failed: {quoted(type(error).__name__)[1:-1]}"


class Connection:
    __slots__ = ("database", "heads", "number", "ref", "statements", "told", "transaction", "waiting")

    def __init__(self, number: int, database: Database, ref: Callable[[], object] | None) -> None:
        self.number = number  # 0: none was named
        self.database = Database(
            *("?" if any(sign in part for sign in ("=", "@", "://")) else part[:200] for part in database)
        )
        """A connection string, which may hold a password, isn't kept."""
        self.ref = ref  # None: of an object that can't be referred to weakly, and is known by its id alone
        self.heads: dict[str, Head] = {}
        self.transaction = 0  # id of its first context, 0: none open
        self.told = False  # whether a statement of the open transaction has its OUTCOME record already
        # Without an OUTCOME record:
        self.statements: dict[int, Statement] = {}  # in force
        self.waiting: dict[int, weakref.ref[Statement]] = {}  # not now, but rows may still be fetched

    def head(self, driver: str, statement: str, dialect: str, key: bytes) -> Head:
        """What is known of a statement before it is run; made once, as long as it is among the last few hundred."""
        statement = statement[: LIMIT + 1]
        head = self.heads.get(statement)
        if head is None or head.driver != driver:
            text = normalise(statement, dialect)
            digest = blake2b(text.encode(), key=key, digest_size=8, person=b"mw-statement").hexdigest()
            json = (
                f'{{"driver":{quoted(driver)},"statement":{quoted(text)},"statement_hash":"{digest}",'
                f'"connection":{self.number},"database":{quoted(self.database.name)},"server":{quoted(self.database.server)},"thread":'
            )
            if len(self.heads) >= _HEADS:
                self.heads.clear()
            head = self.heads[statement] = Head(driver, json, text.partition(" ")[0].rstrip(";").upper())
        return head

    def stands_for(self, connection: object) -> bool:
        return self.ref is None or self.ref() is connection

    def wait(self, *states: Statement) -> None:
        """Keeps statements alive no longer than their cursors and flows do."""
        for state in states:
            state.__class__ = Waiting
            self.waiting[state.id] = weakref.ref(state)
            self.statements.pop(state.id, None)

    def forget(self, state: Statement) -> None:
        if self.statements.pop(state.id, None) is None:
            self.waiting.pop(state.id, None)

    def unfinished(self) -> list[Statement]:
        waiting = [state for ref in list(self.waiting.values()) if (state := ref()) is not None]
        return [state for state in (*list(self.statements.values()), *waiting) if not state.finished]


class Statement:
    running = True
    fetchable = False  # rows may still be fetched
    finished = False  # the OUTCOME record is written
    fetched = -1
    changed = -1
    ended = 0
    transaction = 0
    outcome = ""  # the last word: how it failed, or its transaction ended
    in_transaction: bool | None = None  # as a driver below an ORM said
    outer: Statement | None = None  # the running statement that this one interrupts
    place: Token[Statement | None] | None = None  # where it is in force: tells a flow from an inherited copy

    def __init__(self, tracer: Tracer, ident: int, head: Head, where: Connection) -> None:
        self.tracer = tracer
        self.id = ident
        self.head = head
        self.where = where


class Waiting(Statement):
    """One that ends when nobody refers to it any more. (Apart, because ``__del__`` costs a call for each statement.)"""

    def __del__(self) -> None:
        if not self.finished:
            self.tracer.forgotten(self)


class Part:
    """Token of a statement that runs inside another one, and is a part of it."""

    __slots__ = ("whole",)

    def __init__(self, whole: Statement) -> None:
        self.whole = whole


FLOW: ContextVar[Statement | None] = ContextVar("memwatch.statement", default=None)
"""The statement whose id :data:`CURRENT` is."""


def is_here(state: Statement) -> bool:
    """Whether the statement, which this flow shows as in force, was put in force by it, and not inherited. If so, this
    takes it out of force."""
    place = state.place
    if place is None:
        return False
    try:
        FLOW.reset(place)  # possible where it was set, and only there
    except (ValueError, RuntimeError):
        return False
    state.place = None
    return True


def is_somewhere(state: Statement) -> bool:
    """Whether the statement is in force in some flow."""
    return state.place is not None
