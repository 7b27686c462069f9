"""Records of every kind, with values that break unprepared outputs."""

from __future__ import annotations

import enum
import math
from collections import namedtuple
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from memwatch_core.records import (
    ABSENT,
    Alias,
    Call,
    Context,
    Event,
    Lost,
    Merged,
    Notice,
    Outcome,
    Part,
    Range,
    Record,
    Request,
    Shown,
    Site,
    Span,
    Unfollowed,
    Unwatched,
    Variable,
    Watched,
)

NOW = 1_764_000_000_123_456_789
SURROGATE = "caf\udce9"
"""A file name that isn't UTF-8, as Python decodes it."""
CONTROLS = "a\x1b[31mred\x07\r\n\t\0b"

SITE = Site("/project/orders.py", 41, "add_order")
CONTEXT = Context(
    id=9, driver="sqlite3", statement="SELECT price FROM orders WHERE day = ?", statement_hash="1f" * 8,
    parameters=("ab" * 8,), connection=1, thread="MainThread", database="orders.db", started=NOW,
)  # fmt: skip
REQUEST = Request("line 3", ("order 17",), "fetch", "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
VARIABLE = Variable(3, "total", 7, "python", 8, "int64", {}, watched_at=SITE, thread_ident=1, thread="MainThread")


def event(**changes: Any) -> Event:
    """An ordinary event, with some fields changed."""
    return msgspec.structs.replace(_EVENT, **changes)


_EVENT = Event(
    seq=1, time_ns=NOW, pid=7, runtime="python", tid=8, thread="worker-1", variable="total", variable_id=3, path=None,
    origin="announced", offset=0, before=b"\5" + bytes(7), after=b"\7" + bytes(7), old=5, new=7, changed=True,
    exact=True, site=SITE, context=None,
)  # fmt: skip


def place(path: str, old: Any, new: Any, operation: str, **changes: Any) -> Event:
    """An event of a place of an object watched in place."""
    return event(old=None, new=None, part=Part(path, old, new), operation=operation, **changes)


class _Unshowable:
    """A value of a program's serializer whose repr() fails."""

    def __repr__(self) -> str:
        raise RuntimeError("this value can't be shown")


class _Colour(enum.Enum):
    RED = "red"


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def _circular() -> list[Any]:
    value: list[Any] = [1]
    value.append(value)
    return value


_Order = namedtuple("_Order", "qty price")

VALUES: dict[str, Any] = {
    "none": None,
    "bool": True,
    "negative zero": -0.0,
    "nan": math.nan,
    "infinity": -math.inf,
    "int of 64 bits": 2**64 - 1,
    "int of 5,000 digits": 10**5000,
    "empty text": "",
    "lone surrogate": SURROGATE,
    "control characters": CONTROLS,
    "text from right to left": "\u202eabc\u2066 \u05d0",
    "megabyte of text": "x" * 2**20,
    "bytes": b"\0\xff",
    "bytearray": bytearray(b"\0\xff"),
    "memoryview": memoryview(b"\0\xff"),
    "empty tuple": (),
    "named tuple": _Order(1, math.nan),
    "text of a value": Shown(SURROGATE + CONTROLS),
    "dict": {"qty": 1, 2: SURROGATE, (3, 4): None},
    "set": {1, 2},
    "decimal": Decimal("NaN"),
    "datetime": datetime.max.replace(tzinfo=UTC),
    "enum": _Colour.RED,
    "complex": complex(math.nan, math.inf),
    "nested 100 deep": _nested(100),
    "nested 5,000 deep": _nested(5000),
    "circular": _circular(),
    "unshowable": _Unshowable(),
}
"""Values that a serializer may decode to, by their oddity."""


def _records() -> dict[str, Record]:
    found: dict[str, Record] = {f"event, {name}": event(old=value, new=value) for name, value in VALUES.items()}
    found |= {
        "event": event(),
        "event, one value unknown": event(old=None, new=7),
        "event, no site": event(site=None),
        "event, line unknown": event(site=Site("", 0, "")),
        "event, context": event(context=CONTEXT),
        "event, context with odd text": event(
            context=msgspec.structs.replace(
                CONTEXT, statement=CONTROLS, parameters=(SURROGATE, ""), thread=SURROGATE, database=CONTROLS, rows=2**63
            )
        ),
        "event, context of failure": event(context=msgspec.structs.replace(CONTEXT, outcome="failed: IntegrityError")),
        "event, odd names": event(
            variable=CONTROLS, path=SURROGATE, thread=SURROGATE, site=Site(SURROGATE, 1, CONTROLS)
        ),
        "event, no names": event(variable="", path="", thread="", tid=0, runtime=""),
        "event, call": event(origin="syscall", call=Call("recv", 5, 16)),
        "event, odd call": event(origin="syscall", call=Call(SURROGATE + CONTROLS, -1, 2**64 - 1)),
        "event, path": event(path="orders[0].qty"),
        "event, place": place(".customer.age", 3, 4, "set"),
        "event, place added": place('["db"]["port"]', ABSENT, 5432, "add"),
        "event, place deleted": place("[3]", Shown("[1, 2]"), ABSENT, "delete"),
        "event, place found": place(".tags", Shown("['a']"), None, "set", origin="found", exact=False, site=None),
        "event, odd place": place(SURROGATE + CONTROLS, Shown(SURROGATE + CONTROLS), Shown(""), "set", offset=2**32),
        "event, aliases": place(
            '.config["port"]', 5432, 6543, "set",
            aliases=(Alias("settings", 4, '["port"]'), Alias("total", 3, '.backup.config["port"]')),
        ),
        "event, odd aliases": place(
            "", 1, 2, "set", aliases=(Alias(SURROGATE, 2**64 - 1, CONTROLS), Alias("", 0, "")) * 4, aliases_cut=True
        ),
        "event, callers": event(own=SITE, stack=(Site("/project/main.py", 3, "<module>"),)),
        "event, in a library": event(
            site=Site("/lib/orm/state.py", 812, "_expire"), own=SITE, stack=(SITE, Site("/project/main.py", 3, "main"))
        ),
        "event, no callers": event(own=None, stack=()),
        "event, callers unknown": event(own=None, stack=(), stack_cut=True),
        "event, inexact callers": event(own=SITE, stack=(SITE,), stack_inexact=True),
        "event, odd callers": event(
            own=Site(SURROGATE, 1, CONTROLS), stack=(Site("", 0, ""), Site(SURROGATE, 2**32 - 1, CONTROLS)) * 60,
            stack_cut=True,
        ),
        "event, request": event(request=REQUEST),
        "event, native code": event(site=Site("/lib/libz.so.1", 0, "inflate+0x4c"), own=None),
        "event, native code below a line": event(native=Site(SURROGATE, 0, f"{CONTROLS}+0x4c")),
        "event, request of one kind": event(request=Request(task="Task-3")),
        "event, odd request": event(
            request=Request(SURROGATE + CONTROLS, (CONTROLS, SURROGATE, "") * 60, CONTROLS, SURROGATE, "0" * 4000)
        ),
        "event, unchanged": event(new=5, changed=False, exact=False),
        "event, no bytes": event(before=b"", after=b"", old=b"", new=b""),
        "event, beginning of time": event(seq=0, time_ns=0, pid=0, offset=0),
        "event, end of time": event(seq=2**64 - 1, time_ns=2**64 - 1, pid=2**32 - 1, tid=2**64 - 1, offset=2**64 - 1),
        "merged": Merged(
            NOW, event(origin="store", part=Part("[3]", 0.0, 1.0)), 1000, 1000, 900, 8000, "[:, 3]", 24, 63968,
            (Span(24, 8, ((64, 1000),)),), 1000, Range(0.0, 0.0, True), Range(-1.5, math.inf, False, True),
        ),
        "merged, scattered": Merged(
            NOW, event(origin="store", part=Part("[3]", 0, 1), context=CONTEXT), 90, 50, 0, 50, "[0:640]", 0, 640
        ),
        "merged, odd": Merged(
            2**64 - 1, event(origin="store", variable=CONTROLS, thread=SURROGATE, site=None), 2**64 - 1, 2**64 - 1,
            2**64 - 1, 2**64 - 1, SURROGATE + CONTROLS, 0, 2**32, (Span(2**32, 2**32, ((2**32, 2**32),) * 2),) * 16,
            2**64 - 1, Range(_Unshowable(), SURROGATE, False), Range(10**5000, math.nan, False, True),
        ),
        "watched": Watched(NOW, VARIABLE, 5),
        "watched, odd": Watched(
            NOW,
            msgspec.structs.replace(
                VARIABLE, name=SURROGATE, serializer=CONTROLS, options={"a": [SURROGATE, {"b": math.nan}]},
                depth=(0, 8), flags=("track_threads", "track_sql"), watched_at=None, thread=CONTROLS, size=2**40,
            ),
            _Unshowable(),
        ),
        "watched, object": Watched(NOW, msgspec.structs.replace(VARIABLE, serializer="", size=4096), Shown("Order")),
        "unwatched": Unwatched(NOW, 7, "total", 3),
        "unwatched, rebound": Unwatched(
            NOW, 7, "total", 3, "7-python", "rebound", Site("orders.py", 41, "set_limit", 5), "total", "computed"
        ),
        "unwatched, odd": Unwatched(
            0, 0, SURROGATE + CONTROLS, 2**64 - 1, why="deleted", site=Site(SURROGATE, 0, CONTROLS), target=CONTROLS
        ),
        "unfollowed": Unfollowed(NOW, 7, "order", 3, "7-python", 12, "kind", "deque", ".queue"),
        "unfollowed, too many": Unfollowed(NOW, 7, "order", 3, "7-python", 1, "max_objects", "dict", '["a"]'),
        "unfollowed, odd": Unfollowed(0, 0, SURROGATE + CONTROLS, 2**64 - 1, "", 2**64 - 1, "key", CONTROLS, SURROGATE),
        "lost": Lost(NOW, 7, 1200, "the disk was full", "total"),
        "lost, odd": Lost(0, 0, 2**64 - 1, SURROGATE + CONTROLS),
        "outcome": Outcome(NOW, 7, "rolled back", (9, 11), 9),
        "outcome, odd": Outcome(0, 0, f"failed: {SURROGATE}{CONTROLS}", ()),
        "notice": Notice(NOW, 7, "journal closed"),
        "notice, odd": Notice(0, 0, SURROGATE + CONTROLS),
    }  # fmt: skip
    return found


RECORDS: dict[str, Record] = _records()
"""Records of every kind, by their oddity."""
