"""Records as lines of JSON, in MemWatch's only schema (docs/events.md).

Sinks and commands call :func:`encode`, with as many records at once as they have. It runs in C if the extension was
built; :func:`record_json` and :func:`value_json` are the reference, and a test compares both. Every line is valid JSON,
whatever the value:

* bytes, bytearray, memoryview: a string of hexadecimal digits, as for ``before`` and ``after``;
* nan and the infinities: the strings ``"NaN"``, ``"Infinity"``, ``"-Infinity"``;
* ints of any size: a number (of more than 4,300 digits: a string ``"0x…"``);
* characters that could control a terminal (controls from U+007F on, direction marks, line separators): ``\\u009b``;
* lone surrogates, in file names for instance: the text ``\\udc80``, so that every reader accepts the line;
* :class:`Shown`, a value of which only a text is known: an object ``{"shown": "…"}``;
* named tuples and mappings: an object; other sequences: an array; anything else: its ``repr``, a string.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta
from typing import Any

from ..printed import escape_json
from ..records import (
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
    Unfollowed,
    Unwatched,
    Variable,
    Watched,
)

PART = 64
"""Records encoded at once: usually 32 KiB of text."""
_DEPTH_MAX = 32
_BITS_MAX = 14_000
"""Smaller ints, in bits, stay below 4,300 digits, which Python refuses to convert."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def encode(records: Sequence[Record]) -> bytes:
    """One line for each record, each ended by a newline. Thread-safe, keeps no state between calls."""
    return _encode(records)


def parts(records: Sequence[Record]) -> Iterator[bytes]:
    """As :func:`encode`, in pieces that stay small even if every record has a large value or a long statement."""
    for start in range(0, len(records), PART):
        yield encode(records[start : start + PART])


def time_text(time_ns: int) -> str:
    """``2026-11-23T15:04:05.123456Z``; the calendar's last moment for times beyond it."""
    try:
        moment = _EPOCH + timedelta(microseconds=time_ns // 1000)
    except OverflowError:
        moment = datetime.max
    return moment.strftime(f"{moment.year:04}-%m-%dT%H:%M:%S.%fZ")


def record_json(record: object) -> bytes:
    """One record as JSON, without a newline. Raises TypeError if it isn't a :data:`memwatch_core.records.Record`."""
    return _dumps(_record(record))


def value_json(value: object, depth: int = 0) -> bytes:
    """Any value as JSON; ``depth`` is its level of nesting. Never raises."""
    return _dumps(_plain(value, depth))


def _dumps(plain: Any) -> bytes:
    return escape_json(json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False)).encode()


def _record(record: object) -> dict[str, Any]:
    if isinstance(record, Event):
        head, *plain = _EVENT_FIELDS
        line = {head: _plain(record.seq, 0), "time": time_text(record.time_ns)}
        line |= {name: _plain(getattr(record, name), 0) for name in plain}
        line |= {"site": _site(record.site), "context": _context(record.context), "call": _call(record.call)}
        line |= {"part": _part(record.part), "operation": _plain(record.operation, 0), "own": _site(record.own)}
        stack = None if record.stack is None else [_site(frame) for frame in record.stack]
        aliases = [_alias(alias) for alias in record.aliases]
        line |= {"stack": stack, "stack_cut": record.stack_cut, "stack_inexact": record.stack_inexact}
        line |= {"aliases": aliases, "aliases_cut": record.aliases_cut, "request": _request(record.request)}
        return line | {"native": _site(record.native)}
    if isinstance(record, Merged):
        return _merged(record)
    if not isinstance(record, Watched | Unwatched | Unfollowed | Lost | Outcome | Notice):
        raise TypeError(f"not a record: {type(record).__name__}")
    line = {"event": type(record).__name__.lower(), "time": time_text(record.time_ns)}
    if isinstance(record, Watched):
        line |= _variable(record.variable)
        return line | {"value": _plain(record.value, 0), "part": _part(record.part)}
    for name in record.__struct_fields__[1:]:
        value = getattr(record, name)
        line[name] = _site(value) if name == "site" else _plain(value, 0)
    return line


def _merged(record: Merged) -> dict[str, Any]:
    first = _record(record.first)
    line = {"event": "merged", "time": time_text(record.time_ns), "began": first["time"], "last_seq": record.last_seq}
    line |= {name: first[name] for name in first if name not in _OF_ONE_STORE}
    line |= {name: _plain(getattr(record, name), 0) for name in ("stores", "changed", "bytes", "name", "start", "stop")}
    line["spans"] = [
        {"start": span.start, "length": span.length, "strides": [list(stride) for stride in span.strides]}
        for span in record.spans
    ]
    line["elements"] = record.elements
    return line | {"old": _range(record.old), "new": _range(record.new)}


_OF_ONE_STORE = frozenset(
    {
        "time",
        "offset",
        "before",
        "after",
        "old",
        "new",
        "changed",
        "part",
        "operation",
        "call",
        "aliases",
        "aliases_cut",
    }
)
"""Fields of an event that the line of several doesn't have, or has with another meaning."""


def _range(values: Range | None) -> dict[str, Any] | None:
    names = ("low", "high", "same", "nan")
    return None if values is None else {name: _plain(getattr(values, name), 0) for name in names}


_EVENT_FIELDS = (
    "seq", "pid", "runtime", "tid", "thread", "variable", "variable_id", "path", "origin", "offset", "before", "after",
    "old", "new", "changed", "exact", "journal",
)  # fmt: skip

_SITE_FIELDS = ("file", "line", "column", "function")

_REQUEST_FIELDS = ("label", "outer", "task", "trace_id", "span_id")

_CONTEXT_FIELDS = (
    "id", "driver", "database", "server", "statement", "statement_hash", "parameters", "transaction", "outcome",
)  # fmt: skip


def _site(site: Site | None) -> dict[str, Any] | None:
    return None if site is None else {name: _plain(getattr(site, name), 0) for name in _SITE_FIELDS}


def _context(context: Context | None) -> dict[str, Any] | None:
    return None if context is None else {name: _plain(getattr(context, name), 0) for name in _CONTEXT_FIELDS}


def _call(call: Call | None) -> dict[str, Any] | None:
    return None if call is None else {name: _plain(getattr(call, name), 0) for name in ("name", "fd", "bytes")}


def _request(request: Request | None) -> dict[str, Any] | None:
    return None if request is None else {name: _plain(getattr(request, name), 0) for name in _REQUEST_FIELDS}


def _part(part: Part | None) -> dict[str, Any] | None:
    names = ("name", "old", "new", "activation")
    return None if part is None else {name: _plain(getattr(part, name), 0) for name in names}


def _alias(alias: Alias) -> dict[str, Any]:
    return {name: _plain(getattr(alias, name), 0) for name in ("variable", "variable_id", "name")}


def _variable(variable: Variable) -> dict[str, Any]:
    plain = {
        "pid": variable.pid,
        "runtime": variable.runtime,
        "variable": variable.name,
        "variable_id": variable.id,
        "size": variable.size,
        "serializer": variable.serializer,
        "options": variable.options,
        "flags": variable.flags,
        "depth": variable.depth,
        "site": _site(variable.watched_at),
        "thread_ident": variable.thread_ident,
        "thread": variable.thread,
        "journal": variable.journal,
    }
    return {name: _plain(value, 0) for name, value in plain.items()}


def _plain(value: Any, depth: int) -> Any:
    """The value in JSON's types."""
    if value is None or value is True or value is False:
        return value
    try:
        return _plain_of(value, depth)
    except Exception:  # a value's own __repr__, keys() or __iter__
        return f"<{type(value).__name__}>"


def _plain_of(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return str.__str__(value).encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int):
        number = int(value)
        return number if number.bit_length() < _BITS_MAX else hex(number)
    if isinstance(value, float):
        real = float(value)
        if math.isfinite(real):
            return real
        return "NaN" if math.isnan(real) else "Infinity" if real > 0 else "-Infinity"
    if isinstance(value, bytes | bytearray | memoryview):
        return value.hex()
    if isinstance(value, Shown):
        return {"shown": _plain(value.text, 0)}
    if depth >= _DEPTH_MAX:
        return _plain(repr(value), depth)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        value = dict(zip(value._fields, value, strict=True))
    if isinstance(value, Mapping):
        return {str(_plain(str(key), depth)): _plain(item, depth + 1) for key, item in value.items()}
    if type(value) is list and _is_numbers(value):
        return value
    if isinstance(value, Sequence | Set):
        return [_plain(item, depth + 1) for item in value]
    return _plain(repr(value), depth)


def _is_numbers(values: list[Any]) -> bool:
    """Whether a list is a decoded array of numbers, which is JSON already."""
    kinds = set(map(type, values))
    return (kinds == {int} and min(values) >= -(2**63) and max(values) < 2**64) or (
        kinds == {float} and all(map(math.isfinite, values))
    )


def _encode_in_python(records: Sequence[Record]) -> bytes:
    return b"".join([record_json(record) + b"\n" for record in records])


_encode: Callable[[Sequence[Record]], bytes]
try:
    from ..journal._reader import Lines
except ImportError:  # not built: slower, same lines
    _encode = _encode_in_python
else:
    _encode = Lines(Event, Site, Context, Call, Part, Shown, Alias, Request, record_json, value_json).encode
