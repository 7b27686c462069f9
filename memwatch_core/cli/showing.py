"""Who wrote, when and what, as the cells of a table: for ``memwatch blame``, ``history``, ``at`` and ``diff``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ..answers.blamed import Row
from ..answers.calls import NUMBER, call_of, with_call, without_call
from ..answers.moments import process_of
from ..answers.parts import UNKNOWN
from ..answers.states import WITH_THE_PROGRAM, Value
from ..printed import NARROWEST, clean, escape_json, put, put_bytes, shows_colours, terminal_width, width, wrap
from ..records import Event, Site, Watched
from ..rendering.changes import LENGTH, named, value_text
from ..rendering.endings import ending
from ..rendering.jsonlines import encode, value_json
from ..rendering.layout import both_ends, shorten
from ..rendering.palette import Role, paint, plain
from ..rendering.text import FOUND, brief, request_text, short_path

VALUE_MOST, STATEMENT_MOST = 60, 4000
"""Columns of a value, and of a statement in a pipe."""


def colour(role: Role, text: str) -> str:
    """The text in its colour, if standard output shows colours."""
    return (paint if shows_colours(sys.stdout) else plain)(role, text)


def arrow() -> str:
    """As in ``memwatch log``."""
    return "→" if utf8() and terminal_width(sys.stdout) is not None else "->"


def utf8() -> bool:
    """Whether standard output takes every character."""
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def clock(time_ns: int) -> str:
    """``15:04:05.123``, local."""
    second, rest = divmod(time_ns, 10**9)
    return f"{time.strftime('%H:%M:%S', time.localtime(second))}.{rest // 10**6:03d}"


def file_line(site: Site) -> str:
    """``orders.py:41``."""
    path = short_path(site.file, full=terminal_width(sys.stdout) is None)
    return path + (f":{site.line}" if site.line else "")


def line_of(site: Site | None) -> str:
    """``orders.py:41 add``, or empty."""
    if site is None or not site.file:
        return ""
    return f"{file_line(site)} {clean(site.function)}".rstrip()


def by(event: Event) -> str:
    """Where an event came from: the first line in the program's own code."""
    if event.origin == "found":
        return FOUND
    text = line_of(event.own or event.site) or "(unknown place)"
    if not event.exact and not text.startswith("("):
        text = text.replace(" ", "? ", 1) if " " in text else f"{text}?"
    return text if event.call is None else f"{text} {clean(event.call.name)}()"


def thread_of(event: Event) -> str:
    """The thread's name, or its id."""
    if event.origin == "found":
        return "-"
    return clean(event.thread) or (f"thread {event.tid}" if event.tid else "-")


def statement_of(event: Event) -> str:
    """The request and the statement in force, with what became of that if it was undone; or empty."""
    context, parts = event.context, []
    if event.request is not None:
        parts.append(request_text(event.request))
    if context is not None:
        end = f"{context.outcome}: " if context.outcome.startswith(("rolled back", "failed")) else ""
        parts.append(f"{end}{context.driver}: {context.statement}")
    width = terminal_width(sys.stdout)
    return brief("; ".join(filter(None, parts)), STATEMENT_MOST if width is None else max(NARROWEST, width) - 6)


def value_of(value: Any, limit: int = VALUE_MOST) -> str:
    """A value as text."""
    return shorten(value_text(value, limit), limit)


def shown(row: Row, limit: int = VALUE_MOST) -> str:
    """The value of a row; its size, if it is large."""
    if row.value is None and row.stop > row.start:
        return f"({row.stop - row.start:,} bytes)"
    return value_of(row.value, limit) + ("?" if row.doubt and row.value is not UNKNOWN else "")


def name_of(value: Value, part: str = "", *, several: Collection[str] = (), last: Event | None = None) -> str:
    """``order.customer.age``; with its number, if several have its name. Of a function, ``last`` says in which call. On
    a terminal, a long one is shortened."""
    part = with_call(part, last)
    name = f"{value.name}#{value.ident}" if value.name in several else value.name
    columns, (name, part) = terminal_width(sys.stdout), (clean(name), clean(part))
    if columns is not None and width(name) + width(part) > (most := max(columns, NARROWEST) // 2):
        name = both_ends(name, max(most // 2, most - width(part)))  # each for itself: then one can be asked for
        part = both_ends(part, most - width(name)) if part != LENGTH else part
    return named(name, part)


def headline(value: Value, *, processes: bool) -> str:
    """``total: int64, watched at orders.py:7 <module>, until 12:00:00.123: unwatch() at orders.py:9``."""
    about = []
    if value.shown:
        about.append(value.shown)
    elif value.variable is not None:
        about.append(value.variable.serializer or "bytes")
        about[0] += f" of {value.variable.size:,} bytes" if value.variable.serializer != "int64" else ""
    if processes:
        about.append(f"process {process_of(value.journal)}")
    if place := line_of(value.watched_at):
        about.append(f"watched at {place}")
    if value.ended is not None and value.ended.why not in WITH_THE_PROGRAM:
        where = "" if value.ended.site is None else file_line(value.ended.site)
        about.append(f"until {clock(value.ended.time_ns)}{ending(value.ended, where)}")
    return f"{clean(value.name)}: {clean(', '.join(about))}" if about else clean(value.name)


def put_json(fields: Mapping[str, Any]) -> None:
    """Prints a line of JSON; events as ``memwatch log --json`` has them, and values too."""
    pairs = [f"{json.dumps(name)}:".encode() + _json(value) for name, value in fields.items()]
    put_bytes(b"{" + b",".join(pairs) + b"}\n")


def _json(value: Any) -> bytes:
    if isinstance(value, Event | Watched):
        return encode([value])[:-1]
    if isinstance(value, Site):
        return escape_json(
            json.dumps({"file": value.file.encode("utf-8", "backslashreplace").decode(), "line": value.line,
                        "column": value.column, "function": value.function}, ensure_ascii=False,
                       separators=(",", ":"))
        ).encode("utf-8", "backslashreplace")  # fmt: skip
    return value_json(value)


def in_json(part: str, last: Event | None) -> dict[str, Any]:
    """The fields of a line of JSON for a part, and for the call that it is of."""
    return {"part": part if call_of(last) is None else without_call(part), "activation": call_of(last)}


def note_calls(found: Iterable[tuple[Value, str]]) -> None:
    """Says so if names of a function are told of whichever call bound them last."""
    names = [value.name for value, part in found if value.calls > 1 and not part.startswith(NUMBER)]
    if names:
        name = clean(names[0])
        note(
            "of a function, each name is that of the call that bound it last; "
            f"{name}#2 asks for one call, '{name}#*' for all"
        )


def note(text: str, role: Role = "warning") -> None:
    """Prints a remark below a table."""
    for number, part in enumerate(fitting(clean(text), 2)):
        put(f"{'  ' if number else ''}{colour(role, part)}")


def fitting(text: str, indent: int) -> Iterable[str]:
    """The text, on a terminal wrapped to lines that leave room for an indent; words that are wider than that are
    shortened."""
    columns = terminal_width(sys.stdout)
    if columns is None:
        return [text]
    most = max(NARROWEST, columns) - indent
    return [both_ends(part, most) for part in wrap(text, most)]
