"""``struct``: a tuple or named tuple, packed by a format of the struct module."""

from __future__ import annotations

import math
import struct
from bisect import bisect_left, bisect_right
from collections import OrderedDict, namedtuple
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from keyword import iskeyword
from threading import Lock
from typing import Any, NamedTuple

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import Extent, Layout, Serializer
from memwatch_plugins.structs import fields

FORMAT_MAX = 16_384
"""Limit of a format's length, in characters."""
FIELDS_MAX = 4096
"""Limit of a format's values."""
WIDE = 32
"""For more fields, no named tuple type is created: that takes milliseconds, for each format."""
NAME_MAX = 255
"""Limit of the names of a field and of the type, in characters."""
FIELDS_KEPT = 1 << 16
"""Limit of the values of all cached formats: each takes up to half a kilobyte."""
TEXT = 256
"""Longer fields of text (``s``, ``p``), in bytes, are shown by the bytes that a store touched."""
_INTEGERS = frozenset("bBhHiIlLqQnN")
_FLOATS = frozenset("efd")


class _Form(NamedTuple):
    """A valid format."""

    packer: struct.Struct
    fields: tuple[tuple[str, str], ...]
    """Name (or number) and single format of each value."""
    starts: tuple[int, ...]
    """The first byte of each value."""
    make: Any
    """Turns a tuple into the value that decode returns."""


class _Wide(tuple[Any, ...]):
    """A named tuple without a type of its own."""

    _kind: str
    _fields: tuple[str, ...]

    def __new__(cls, values: Iterable[Any], kind: str, fields: tuple[str, ...]) -> _Wide:
        made = super().__new__(cls, values)
        made._kind, made._fields = kind, fields
        return made

    def _make(self, values: Iterable[Any]) -> _Wide:
        return _Wide(values, self._kind, self._fields)

    def __reduce__(self) -> Any:
        return _Wide, (tuple(self), self._kind, self._fields)

    def __getattr__(self, name: str) -> Any:
        if name in self._fields:
            return self[self._fields.index(name)]
        raise AttributeError(f"{self._kind!r} has no field {name!r}")

    def __repr__(self) -> str:
        return f"{self._kind}({', '.join(f'{n}={v!r}' for n, v in zip(self._fields, self, strict=True))})"


_Key = tuple[str, tuple[str, ...] | None, str]


class _Forms:
    """A cache of forms, limited to FIELDS_KEPT values. Thread-safe: at worst, a form is made twice."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Key, _Form] = OrderedDict()
        self._fields = 0

    def get(self, key: _Key) -> _Form:
        """The cached or new form. Raises ValueError."""
        found = self._known.get(key)
        return found if found is not None else self._add(key)

    def _add(self, key: _Key) -> _Form:
        made = _form(*key)
        with _lock:
            if key not in self._known:
                self._known[key] = made
                self._fields += len(made.fields)
            while self._fields > FIELDS_KEPT and len(self._known) > 1:
                _, oldest = self._known.popitem(last=False)
                self._fields -= len(oldest.fields)
        return made


_lock = Lock()
_forms = _Forms()


def _form(form: str, names: tuple[str, ...] | None, kind: str) -> _Form:
    """Raises ValueError: not a format, one with pointers, too long, or the names don't match."""
    if len(form) > FORMAT_MAX:
        raise ValueError(f"a format of {len(form)} characters: at most {FORMAT_MAX}")
    if max(map(len, (kind, *(names or ())))) > NAME_MAX:
        raise ValueError(f"a name of more than {NAME_MAX} characters")
    try:
        packer = struct.Struct(form)
    except struct.error as error:
        raise ValueError(f"format={form!r}: {error}") from error
    if "P" in form:
        raise ValueError(f"format={form!r}: a pointer (P) means nothing outside of its process; use Q for its number")
    found = list(islice(fields(form), FIELDS_MAX + 1))
    if len(found) > FIELDS_MAX:
        raise ValueError(f"format={form!r} has more than {FIELDS_MAX} values")
    if not found:
        raise ValueError(f"format={form!r} has no values")
    if names is not None and len(names) != len(found):
        raise ValueError(f"format={form!r} has {len(found)} values, and fields has {len(names)} names")
    make: Any = tuple
    if names is not None:
        kind = kind if kind.isidentifier() and not iskeyword(kind) else "Struct"
        for name in names:
            if not name.isidentifier() or iskeyword(name) or name.startswith("_"):
                raise ValueError(f"fields={names!r}: {name!r} is a keyword, no identifier, or begins with _")
        if len(set(names)) < len(names):
            raise ValueError(f"fields={names!r}: a name occurs twice")
        if len(names) > WIDE:
            make = _Wide((), kind, names)._make
        else:
            made: Any = namedtuple(kind, names)  # type: ignore[misc]
            make = made._make
    labels = names if names is not None else map(str, range(len(found)))
    singles = tuple((label, field.single) for label, field in zip(labels, found, strict=True))
    return _Form(packer, singles, tuple(field.offset for field in found), make)


def _of(options: Mapping[str, Any]) -> _Form:
    names = options.get("fields")
    return _forms.get((options["format"], None if names is None else tuple(names), options.get("type", "Struct")))


def _layout(value: tuple[Any, ...], options: Mapping[str, Any]) -> Layout:
    unknown = [name for name in options if name not in ("format", "fields")]
    if unknown:
        raise TypeError(f"unknown option {unknown[0]!r}: a struct has format and fields")
    form, names = options.get("format"), options.get("fields", getattr(value, "_fields", None))
    if not isinstance(form, str):
        raise TypeError(
            'a tuple never changes: watch the place where it lies, watch_place(owner, "name"). As a value whose '
            "fields can be written to it needs a format of the struct module: watch((3, 9.99), format='<qd')"
        )
    if isinstance(names, str):
        names = names.replace(",", " ").split()
    if names is not None and not all(isinstance(name, str) for name in names):
        raise TypeError(f"fields are names, not {names!r}")
    kept: dict[str, Any] = {"format": form}
    if names is not None:
        named = type(value).__name__ if hasattr(value, "_fields") else "Struct"
        kept |= {"fields": list(names), "type": named}
    return Layout("struct", _of(kept).packer.size, kept)


def _encode(value: tuple[Any, ...], options: Mapping[str, Any]) -> bytes:
    form = _of(options)
    if not isinstance(value, tuple):
        raise TypeError(f"a tuple is expected, not {type(value).__name__}")
    if len(value) != len(form.fields):
        raise ValueError(f"format={options['format']!r} has {len(form.fields)} values, and the tuple has {len(value)}")
    for item, (name, single) in zip(value, form.fields, strict=True):
        _check(item, name, single)
    return form.packer.pack(*value)


def _check(item: Any, name: str, single: str) -> None:
    """Raises for a value that the struct module refuses or would truncate silently; the error names the field."""
    letter = single[-1]
    if letter in "sp" and isinstance(item, bytes | bytearray):
        room = struct.calcsize(single) - (letter == "p")
        if len(item) > room:
            raise ValueError(f"field {name}: {len(item)} bytes don't fit into {room} ({single})")
    try:
        packed = struct.pack(single, item)
        if letter in "ef" and math.isinf(struct.unpack(single, packed)[0]) and not math.isinf(item):
            raise OverflowError("it would become infinite")  # native f doesn't raise
    except (struct.error, TypeError, OverflowError) as error:
        number = isinstance(item, int) and letter in _INTEGERS | _FLOATS
        if number or (isinstance(item, float) and letter in _FLOATS):
            raise OverflowError(f"field {name}: the number doesn't fit into {single!r}: {error}") from error
        raise TypeError(f"field {name}: {single!r} doesn't take {type(item).__name__}: {error}") from error


def _decode(data: bytes, options: Mapping[str, Any]) -> Any:
    form = _of(options)
    return form.make(form.packer.unpack(data))


class _Piece(NamedTuple):
    """The part of a value that some bytes hold."""

    name: str
    start: int
    stop: int
    single: str
    """Its format; ``""``: bytes of a long text."""

    def decode(self, data: bytes, first: int) -> Any:
        """Decodes the piece from bytes that begin at offset ``first``."""
        mine = data[self.start - first : self.stop - first]
        return struct.unpack(self.single, mine)[0] if self.single else mine


def _piece(form: _Form, number: int, start: int, stop: int) -> _Piece:
    label, single = form.fields[number]
    at = form.starts[number]
    end = at + struct.calcsize(single)
    name = f"[{label}]" if label.isdecimal() else f".{label}"
    if single[-1] not in "sp" or end - at <= TEXT:
        return _Piece(name, at, end, single)
    first, last = max(at, start), min(end, stop)
    return _Piece(f"{name}[{first - at}:{last - at}]", first, max(first, last), "")


def _several(pieces: list[_Piece], data: bytes, first: int) -> Any:
    """A dict by name if the fields have names, otherwise a tuple."""
    values = [piece.decode(data, first) for piece in pieces]
    if not pieces[0].name.startswith("."):
        return tuple(values)
    return {piece.name[1:]: value for piece, value in zip(pieces, values, strict=True)}


def _part(start: int, stop: int, options: Mapping[str, Any]) -> Extent | None:
    """The field that contains the bytes; for several fields, their range."""
    form = _of(options)
    first = max(0, bisect_right(form.starts, start) - 1)
    last = max(first + 1, bisect_left(form.starts, stop))
    if last - first == len(form.fields) > 1:
        return None
    pieces = [_piece(form, number, start, stop) for number in range(first, last)]
    begin, end = min(start, pieces[0].start), max(stop, pieces[-1].stop)
    if len(pieces) == 1:
        return Extent(pieces[0].name, begin, end, lambda data: pieces[0].decode(data, begin))
    return Extent(f"[{first}:{last}]", begin, end, lambda data: _several(pieces, data, begin))


@hookimpl
def memwatch_serializers() -> Iterator[Serializer]:
    """One serializer, for every tuple."""
    yield Serializer(
        name="struct",
        summary="tuple or named tuple, with format=",
        accepts=lambda value: issubclass(type(value), tuple),  # isinstance() asks the value for its class
        layout=_layout,
        encode=_encode,
        decode=_decode,
        part=_part,
    )
