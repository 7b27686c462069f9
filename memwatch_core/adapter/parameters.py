"""How a statement's parameters are recorded: as keyed hashes, as values, or not at all.

A hash shows that two parameters are equal and nothing else: its key is the session's. C code computes it
(``python/sql/parameters.c``, ``core/text/parameter.c``) from the canonical forms defined here. Values that Python calls
equal hash equal (``1``, ``1.0``, ``True``, ``Decimal(1)``). A watched number or text hashes as its value does.

No code of the program is called. Values are inspected only if their type is exactly one of those listed here, which the
program can't modify. For any other type, subclasses included, only the type's name is recorded, as ``<type>``; an
iterator is not consumed. Types are compared by ``is``, because a metaclass may define ``__eq__``. Their methods are
those found at import, whatever the program has put into ``datetime`` since.

All functions are thread-safe. They may raise if another thread modifies a container meanwhile; the tracer catches that.
"""

from __future__ import annotations

import decimal
import fractions
import json
import math
import struct
import uuid
import zoneinfo
from collections.abc import Callable
from itertools import islice
from types import MemberDescriptorType
from typing import Any, Literal

from ..native import proxy, tracing
from ..native.tracing import ParameterHash
from .hashes import digest, keyed
from .names import type_name

Keep = Literal["hash", "none", "full"]
Kept = Callable[[object, bool], str]
"""``kept(parameters, many)`` returns ``,"parameters":[...]`` for a CONTEXT record, or ``""``. The array has one string
for each parameter, or for each row if ``many``."""

MOST = 64
"""Parameters recorded for one statement; a last string says how many were left out."""
MOST_ROWS = 8
"""Rows recorded for one ``executemany``."""
LONGEST = 200
"""Characters recorded of one value, with ``full``."""
_SHORT = 4096
_END = 1 << 20
_CHUNK = 16
_IMMUTABLE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _slot(owner: type, name: str) -> Callable[[Any], Any]:
    """Reads a slot of a Python class, past whatever the program has put into that class."""
    member = owner.__dict__.get(name)
    return member.__get__ if type(member) is MemberDescriptorType else lambda value: None


class _Known:
    """The types that are inspected, held here so that replacing a module's contents doesn't affect them."""

    date, datetime, time, timedelta, timezone, utc = tracing.clock_types()
    decimal = decimal.Decimal if decimal.Decimal.__flags__ & _IMMUTABLE else None
    zone = zoneinfo.ZoneInfo if zoneinfo.ZoneInfo.__flags__ & _IMMUTABLE else None
    fraction, numerator, denominator = (
        fractions.Fraction, _slot(fractions.Fraction, "_numerator"), _slot(fractions.Fraction, "_denominator"),
    )  # fmt: skip
    uuid, uuid_int = uuid.UUID, _slot(uuid.UUID, "int")
    proxies = (proxy.Int, proxy.Float, proxy.Bytes, proxy.ByteArray)


def keeper(keep: Keep, key: bytes) -> Kept | None:
    """The function that renders parameters; None: they aren't recorded. Raises ValueError for an unknown ``keep``."""
    if keep == "none":
        return None
    if keep == "hash":
        return ParameterHash(keyed(key, "parameter", b"")[:16], canonical)
    if keep == "full":
        return _values
    raise ValueError(f'sql.parameters is {keep!r}; it can be "hash", "none" or "full"')


def _values(parameters: object, many: bool = False) -> str:
    words = _rows(parameters) if many else _row(parameters)
    return f',"parameters":{_encode(words)}' if words else ""


def _row(parameters: object) -> list[str]:
    kind = type(parameters)
    if kind is tuple or kind is list:
        length, most = len(parameters), [_shown(value) for value in parameters[:MOST]]  # type: ignore[arg-type,index]
    elif kind is dict:
        length, pairs = _pairs(parameters, MOST)  # type: ignore[arg-type]
        most = [f"{_name(name)}={_shown(value)}" for name, value in pairs]
    else:
        return [] if parameters is None else [type_name(parameters)]
    return most if length <= MOST else [*most, f"… {length - MOST} more"]


def _rows(parameters: object) -> list[str]:
    kind = type(parameters)
    if kind is not tuple and kind is not list:  # inspecting an iterator would consume it
        return [] if parameters is None else [type_name(parameters)]
    rows: Any = parameters
    length, most = len(rows), [" ".join(_row(each)) for each in rows[:MOST_ROWS]]
    return most if length <= MOST_ROWS else [*most, f"… {length - MOST_ROWS} more rows"]


def _name(name: Any) -> str:
    return name[:LONGEST].encode("utf-8", "replace").decode() if type(name) is str else type_name(name)


def _pairs(of: dict[object, object], most: int) -> tuple[int, list[tuple[object, object]]]:
    """The number of items, and the first ones. Iterating doesn't call a key's ``__hash__``."""
    return len(of), list(islice(of.items(), most))


def _plain(value: Any) -> Any:
    """The value that a proxy stands for; anything else as it is."""
    kind = type(value)
    return value.value if any(kind is each for each in _Known.proxies) else value


def _shown(value: Any, depth: int = 3) -> str:
    value = _plain(value)
    kind = type(value)
    if value is None or kind is bool or kind is float:
        return repr(value)
    if kind is str or kind is bytes or kind is bytearray:
        return repr(value[:LONGEST]) + ("…" if len(value) > LONGEST else "")
    if kind is int:
        return repr(value)[:LONGEST] if value.bit_length() <= 4 * LONGEST else "<int>"
    if (kind is list or kind is tuple) and depth:
        return f"[{', '.join(_shown(each, depth - 1) for each in value[:_CHUNK])}]"[:LONGEST]
    if kind is dict and depth:
        pairs = _pairs(value, _CHUNK)[1]
        return f"{{{', '.join(f'{_shown(k, 0)}: {_shown(v, depth - 1)}' for k, v in pairs)}}}"[:LONGEST]
    if kind is _Known.decimal:
        return _decimal_text(value) or type_name(value)
    if kind is _Known.fraction and (ratio := _fraction(value)) is not None:
        return (f"{ratio[0]}" if ratio[1] == 1 else f"{ratio[0]}/{ratio[1]}")[:LONGEST]
    plain = None if kind is memoryview else canonical(value, 0)
    return type_name(value) if plain is None else plain[1:].decode("utf-8", "replace")[:LONGEST]


def canonical(value: Any, depth: int = 3) -> bytes | None:  # noqa: C901 - one branch a type
    """The same bytes for equal values; None for an unknown type. At most a few KiB, whatever the value's size.

    ``parameters.c`` makes the same bytes for the most frequent types.
    """
    value = _plain(value)
    kind, known = type(value), _Known
    if value is None:
        return b"0"
    if kind is int or kind is bool:
        return _integer(value)
    if kind is float:
        return _float(value)
    if kind is str:
        return _long(b"s", value.encode("utf-8", "surrogatepass"))
    if kind is bytes or kind is bytearray or kind is memoryview:
        return _long(b"b", *tracing.ends_of(value, _END))
    if kind is known.decimal:
        return _decimal(value)
    if kind is known.fraction:
        ratio = _fraction(value)
        return None if ratio is None else _ratio(*ratio)
    if kind is known.datetime:
        zone = value.tzinfo
        if zone is None:
            return _iso(b"d", value)
        if type(zone) is not known.timezone and type(zone) is not known.zone:
            return None
        return _iso(b"d", value.astimezone(known.utc))
    if kind is known.date:
        return _iso(b"d", value)
    if kind is known.time:
        return None if value.tzinfo is not None else _iso(b"t", value)
    if kind is known.timedelta:
        return b"i%d/%d/%d" % (value.days, value.seconds, value.microseconds)
    if kind is known.uuid:
        number = known.uuid_int(value)
        return b"u%d" % number if type(number) is int and number.bit_length() <= 128 else None
    if (kind is list or kind is tuple) and depth:
        return _several(b"l", value[:_CHUNK], len(value), depth)
    if kind is dict and depth:
        length, pairs = _pairs(value, _CHUNK)
        return _several(b"m", [*(key for key, _ in pairs), *(each for _, each in pairs)], length, depth)
    return None


def _iso(kind: bytes, value: Any) -> bytes:
    text: str = value.isoformat()
    return kind + text.encode()


def _several(kind: bytes, values: list[object] | tuple[object, ...], length: int, depth: int) -> bytes | None:
    parts = [kind + b"%d" % length]
    for value in values:
        part = canonical(value, depth - 1)
        if part is None:
            return None
        parts.append(b",%d:%b" % (len(part), part))
    return b"".join(parts)


def _long(kind: bytes, data: bytes, length: int | None = None) -> bytes:
    """Replaces 4 KiB and more by a digest; of more than 2 MiB, only the two ends are digested."""
    length = len(data) if length is None else length
    if length < _SHORT:
        return kind + data
    if len(data) > 2 * _END:
        data = data[:_END] + data[-_END:]
    return kind + b"%d/" % length + digest(data)


def _integer(value: int) -> bytes:
    return _long(b"n", b"%x" % value) if value.bit_length() > 64 else b"n%d" % value


def _float(value: float) -> bytes:
    if value.is_integer():
        return _integer(int(value))
    return b"f" + struct.pack("<d", value) if math.isfinite(value) else b"n" + repr(value).encode()


_MOST_DIGITS = 600
_MOST_BITS = 4096


def _parts(value: decimal.Decimal) -> tuple[int, str, int | str] | None:
    """Sign, digits and exponent; None if there are too many digits.

    Most methods of a Decimal create the decimal context in the caller's context variables; these don't.
    """
    if value.__sizeof__() > 1024:
        return None
    sign, digits, exponent = value.as_tuple()
    return (sign, "".join(map(repr, digits)), exponent) if len(digits) <= _MOST_DIGITS else None


def _decimal(value: decimal.Decimal) -> bytes | None:
    parts = _parts(value)
    if parts is None:
        return None
    sign, digits, exponent = parts
    if isinstance(exponent, str):
        return b"n" + _special(sign, digits, exponent).lower().replace("infinity", "inf").encode()
    kept = digits.rstrip("0")
    if not kept:
        return b"n0"
    number = -int(kept) if sign else int(kept)
    exponent += len(digits) - len(kept)
    if not -1000 < exponent < 1000:
        return b"n%de%d" % (number, exponent)
    return _ratio(number * 10**exponent, 1) if exponent >= 0 else _ratio(*_reduced(number, 10**-exponent))


def _special(sign: int, digits: str, exponent: str) -> str:
    name = {"F": "Infinity", "n": f"NaN{digits}", "N": f"sNaN{digits}"}[exponent]
    return f"-{name}" if sign else name


def _decimal_text(value: decimal.Decimal) -> str | None:
    parts = _parts(value)
    if parts is None:
        return None
    sign, digits, exponent = parts
    if isinstance(exponent, str):
        return _special(sign, digits, exponent)
    if -100 < exponent < 0:
        digits = digits.rjust(1 - exponent, "0")
        digits = f"{digits[:exponent]}.{digits[exponent:]}"
    elif exponent:
        digits = f"{digits}E{exponent:+}"
    return f"{'-' * sign}{digits}"[:LONGEST]


def _reduced(numerator: int, denominator: int) -> tuple[int, int]:
    common = math.gcd(numerator, denominator)
    return numerator // common, denominator // common


def _fraction(value: fractions.Fraction) -> tuple[int, int] | None:
    ratio = _Known.numerator(value), _Known.denominator(value)
    return ratio if all(type(each) is int and each.bit_length() <= _MOST_BITS for each in ratio) else None


def _ratio(numerator: int, denominator: int) -> bytes:
    if denominator == 1:
        return _integer(numerator)
    try:
        near = numerator / denominator
        if near.as_integer_ratio() == (numerator, denominator):
            return _float(near)
    except OverflowError:
        pass
    return b"n%x/%x" % (numerator, denominator)
