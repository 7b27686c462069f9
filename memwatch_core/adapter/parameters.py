"""What is kept of a statement's parameters: keyed hashes, nothing, or the values.

A hash tells that two parameters are equal and nothing else: its key is the session's. It is made in C
(``native/python/parameters.c``), of the canonical forms that are defined here. Values that Python calls equal hash
equal (``1``, ``1.0``, ``True``, ``Decimal(1)``), and a watched number or text hashes as what it is. No code of the
program is called to find out: of an object of an unknown type only the name of the type is kept, as ``<type>``; an
iterator is not touched.

Functions here may be called from any thread; they can raise on objects that break the promises of their type, which the
tracer takes care of.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import math
import struct
import sys
import uuid
import zoneinfo
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Literal, TypeGuard

import msgspec

from ..native import proxy
from ..native.tracing import ParameterHash

Keep = Literal["hash", "none", "full"]
Kept = Callable[[object, bool], str]
"""``kept(parameters, many)``: ``,"parameters":[...]`` for a CONTEXT record, or ``""``; one string a parameter, or one a
row, if ``many``."""

MOST = 64
"""Parameters that are kept of one statement; the last string says how many more there were."""
MOST_ROWS = 8
"""Rows that are kept of one ``executemany``."""
LONGEST = 200
"""Characters of one value, with ``full``."""
_SHORT = 4096
_END = 1 << 20
_CHUNK = 16
_encode = msgspec.json.Encoder().encode


def _is(value: object, kind: Any) -> TypeGuard[Any]:
    """``isinstance``, but by the object's real type: asking for ``__class__`` may run code of the program."""
    return issubclass(type(value), kind)


def keeper(keep: Keep, key: bytes) -> Kept | None:
    """The function that says what is kept; None: nothing. ``key``: at most 64 bytes. Raises ValueError for another
    ``keep``."""
    if keep == "none":
        return None
    if keep == "hash":
        return ParameterHash(blake2b(key=key, digest_size=16, person=b"mw-parameter").digest(), canonical)
    if keep == "full":
        return _values
    raise ValueError(f'sql.parameters is {keep!r}; it can be "hash", "none" or "full"')


def _values(parameters: object, many: bool = False) -> str:
    words = _rows(parameters) if many else _row(parameters)
    return f',"parameters":{_encode(words).decode()}' if words else ""


def _row(parameters: object) -> list[str]:
    if _is(parameters, tuple | list):
        length, most = _length(parameters), [_shown(value) for value in _first(parameters, MOST)]
    elif _is(parameters, dict):
        names, values = _items(parameters)
        length = len(names)
        most = [f"{_name(name)}={_shown(value)}" for name, value in zip(names[:MOST], values, strict=False)]
    else:
        return [] if parameters is None else [f"<{type(parameters).__name__}>"]
    return most if length <= MOST else [*most, f"… {length - MOST} more"]


def _rows(parameters: object) -> list[str]:
    if not _is(parameters, tuple | list):  # an iterator: looking would consume it
        return [] if parameters is None else [f"<{type(parameters).__name__}>"]
    length, most = _length(parameters), [" ".join(_row(each)) for each in _first(parameters, MOST_ROWS)]
    return most if length <= MOST_ROWS else [*most, f"… {length - MOST_ROWS} more rows"]


def _name(name: object) -> str:
    return name.encode("utf-8", "replace").decode()[:LONGEST] if type(name) is str else f"<{type(name).__name__}>"


# What a subclass of the program's has overridden isn't asked.


def _length(sequence: tuple[object, ...] | list[object]) -> int:
    return tuple.__len__(sequence) if isinstance(sequence, tuple) else list.__len__(sequence)


def _first(sequence: tuple[object, ...] | list[object], most: int) -> tuple[object, ...] | list[object]:
    part = slice(most)
    return tuple.__getitem__(sequence, part) if isinstance(sequence, tuple) else list.__getitem__(sequence, part)


def _items(parameters: dict[object, object]) -> tuple[list[object], list[object]]:
    return list(dict.keys(parameters)), list(dict.values(parameters))


def _plain(value: object) -> object:
    """What a watched value or a scalar of numpy stands for; anything else as it is."""
    if type(value) in _PLAIN_PROXIES:
        return value.value  # type: ignore[attr-defined]
    numpy = sys.modules.get("numpy")
    if numpy is not None and _is(value, numpy.generic) and type(value).__module__ == "numpy":
        return value.item()
    return value


_PLAIN_PROXIES = (proxy.Int, proxy.Float, proxy.Bytes, proxy.ByteArray)
_TEXTUAL: tuple[tuple[Any, Callable[[Any], str]], ...] = (
    *((kind, kind.__repr__) for kind in (bool, int, float)),
    (decimal.Decimal, decimal.Decimal.__str__),
    (fractions.Fraction, fractions.Fraction.__str__),
)


def _shown(value: object, depth: int = 3) -> str:
    value = _plain(value)
    if value is None:
        return "None"
    for kind in (str, bytes, bytearray):
        if _is(value, kind):
            part = kind.__getitem__(value, slice(LONGEST))
            return kind.__repr__(part) + ("…" if kind.__len__(value) > LONGEST else "")
    if _is(value, int) and int.bit_length(value) > 4 * LONGEST:
        return "<int>"
    for kind, text in _TEXTUAL:
        if _is(value, kind):
            return text(value)[:LONGEST]
    if _is(value, list | tuple) and depth:
        return f"[{', '.join(_shown(each, depth - 1) for each in _first(value, _CHUNK))}]"[:LONGEST]
    if _is(value, dict) and depth:
        pairs = list(zip(*_items(value), strict=False))[:_CHUNK]
        return f"{{{', '.join(f'{_shown(k, 0)}: {_shown(v, depth - 1)}' for k, v in pairs)}}}"[:LONGEST]
    plain = canonical(value, 0)
    return f"<{type(value).__name__}>" if plain is None else plain[1:].decode("utf-8", "replace")[:LONGEST]


def canonical(value: object, depth: int = 3) -> bytes | None:
    """The same bytes for equal values, None for a value of an unknown type. At most a few KiB, however long it is.

    parameters.c makes the same bytes for what most parameters are.
    """
    value = _plain(value)
    if value is None:
        return b"0"
    if _is(value, int | float | decimal.Decimal | fractions.Fraction):
        return _number(value)
    if _is(value, str):
        return _long(b"s", str.encode(value, "utf-8", "surrogatepass"))
    if _is(value, bytes | bytearray | memoryview):
        return _long(b"b", value if _is(value, bytes) else bytes(value))
    if _is(value, datetime.datetime):
        zone = datetime.datetime.tzinfo.__get__(value)
        if zone is not None and type(zone) not in (datetime.timezone, zoneinfo.ZoneInfo):
            return None
        moment = value if zone is None else datetime.datetime.astimezone(value, datetime.UTC)
        return b"d" + datetime.datetime.isoformat(moment).encode()
    if _is(value, datetime.date):
        return b"d" + datetime.date.isoformat(value).encode()
    if _is(value, datetime.time):
        return None if value.tzinfo is not None else b"t" + datetime.time.isoformat(value).encode()
    if _is(value, datetime.timedelta):
        return b"i%d/%d/%d" % (value.days, value.seconds, value.microseconds)
    if _is(value, uuid.UUID):
        return b"u%d" % value.int
    if _is(value, list | tuple) and depth:
        return _several(b"l", _first(value, _CHUNK), _length(value), depth)
    if _is(value, dict) and depth:
        keys, values = _items(value)
        return _several(b"m", [*keys[:_CHUNK], *values[:_CHUNK]], len(keys), depth)
    return None


def _several(kind: bytes, values: list[object] | tuple[object, ...], length: int, depth: int) -> bytes | None:
    parts = [canonical(value, depth - 1) for value in values]
    if None in parts:
        return None
    return kind + b"%d" % length + b"".join(b",%d:%b" % (len(part), part) for part in parts if part is not None)


def _long(kind: bytes, data: bytes) -> bytes:
    """What is longer than 4 KiB is stood for by a digest, what is longer than 2 MiB by that of its two ends."""
    if len(data) < _SHORT:
        return kind + data
    digest = blake2b(data[:_END], digest_size=32)
    digest.update(data[max(_END, len(data) - _END) :])
    return kind + b"%d/" % len(data) + digest.digest()


def _number(value: int | float | decimal.Decimal | fractions.Fraction) -> bytes:
    if isinstance(value, int):
        whole = int.__index__(value)
        return b"n%x" % whole if whole.bit_length() > 64 else b"n%d" % whole
    if isinstance(value, float):
        value = float.__float__(value)
        if value.is_integer():
            return _number(int(value))
        return b"f" + struct.pack("<d", value) if math.isfinite(value) else b"n" + repr(value).encode()
    if isinstance(value, fractions.Fraction):
        return _number(value.numerator) if value.denominator == 1 else _ratio(value.numerator, value.denominator)
    if not value.is_finite() or abs(value.adjusted()) > 400:
        return b"n" + str(value).lower().replace("infinity", "inf").encode()
    numerator, denominator = value.as_integer_ratio()
    return _number(numerator) if denominator == 1 else _ratio(numerator, denominator)


def _ratio(numerator: int, denominator: int) -> bytes:
    try:
        near = numerator / denominator
        if near.as_integer_ratio() == (numerator, denominator):
            return _number(near)
    except OverflowError:
        pass
    return b"n%x/%x" % (numerator, denominator)
