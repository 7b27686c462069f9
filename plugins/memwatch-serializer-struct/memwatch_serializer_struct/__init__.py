"""``struct``: a tuple or named tuple, packed by a format of the struct module."""

from __future__ import annotations

import math
import struct
from bisect import bisect_left, bisect_right
from collections import OrderedDict, namedtuple
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from keyword import iskeyword
from threading import Lock
from typing import Any, NamedTuple

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import Extent, Layout, Serializer
from memwatch_plugins.structs import Run, runs

FORMAT_MAX = 16_384
"""Limit of a format's length, in characters."""
FIELDS_MAX = 1 << 16
"""Limit of a format's values."""
WIDE = 32
"""For more fields, no named tuple type is created: that takes milliseconds, for each format."""
NAME_MAX = 255
"""Limit of the names of a field and of the type, in characters."""
KEPT = 1 << 16
"""Limit of the runs and names of all cached formats: each takes up to half a kilobyte."""
TEXT = 256
"""Longer fields of text (``s``, ``p``), in bytes, are shown by the bytes that a store touched."""
_INTEGERS = frozenset("bBhHiIlLqQnN")
_FLOATS = frozenset("efd")


class _Form(NamedTuple):
    """A valid format."""

    packer: struct.Struct
    runs: tuple[Run, ...]
    starts: tuple[int, ...]
    """The first byte of each run."""
    numbers: tuple[int, ...]
    """The number of the first value of each run, and how many values there are."""
    names: tuple[str, ...] | None
    make: Any
    """Turns a tuple into the value that decode returns."""

    @property
    def values(self) -> int:
        """How many values it has."""
        return self.numbers[-1]

    def label(self, number: int) -> str:
        """The name of a value, or its number."""
        return str(number) if self.names is None else self.names[number]

    def at(self, byte: int) -> int:
        """The number of the value that a byte lies in; in padding: of the one before."""
        k = max(0, bisect_right(self.starts, byte) - 1)
        run = self.runs[k]
        return self.numbers[k] + min(max(0, byte - run.offset) // max(1, run.size), run.times - 1)

    def before(self, byte: int) -> int:
        """How many values begin before a byte."""
        k = bisect_left(self.starts, byte) - 1
        if k < 0:
            return 0
        run = self.runs[k]
        return self.numbers[k] + min(-(-(byte - run.offset) // max(1, run.size)), run.times)

    def value(self, number: int) -> tuple[str, int, int]:
        """The format of a value, and the bytes that it lies in."""
        k = bisect_right(self.numbers, number) - 1
        run = self.runs[k]
        start = run.offset + (number - self.numbers[k]) * run.size
        return run.single, start, start + run.size


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
    """A cache of forms, limited to KEPT runs and names. Thread-safe: at worst, a form is made twice."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Key, _Form] = OrderedDict()
        self._kept = 0

    def get(self, key: _Key) -> _Form:
        """The cached or new form. Raises ValueError."""
        found = self._known.get(key)
        return found if found is not None else self._add(key)

    def _add(self, key: _Key) -> _Form:
        made = _form(*key)
        with _lock:
            if key not in self._known:
                self._known[key] = made
                self._kept += _weight(made)
            while self._kept > KEPT and len(self._known) > 1:
                _, oldest = self._known.popitem(last=False)
                self._kept -= _weight(oldest)
        return made


def _weight(form: _Form) -> int:
    return len(form.runs) + len(form.names or ())


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
    found = tuple(runs(form))
    numbers = tuple(accumulate((run.times for run in found), initial=0))
    if numbers[-1] > FIELDS_MAX:
        raise ValueError(f"format={form!r} has more than {FIELDS_MAX} values")
    if not found:
        raise ValueError(f"format={form!r} has no values")
    if names is not None and len(names) != numbers[-1]:
        raise ValueError(f"format={form!r} has {numbers[-1]} values, and fields has {len(names)} names")
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
    return _Form(packer, found, tuple(run.offset for run in found), numbers, names, make)


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
    if len(value) != form.values:
        raise ValueError(f"format={options['format']!r} has {form.values} values, and the tuple has {len(value)}")
    for run, first in zip(form.runs, form.numbers, strict=False):
        for number in range(first, first + run.times):
            _check(value[number], form, number, run.single)
    return form.packer.pack(*value)


def _check(item: Any, form: _Form, number: int, single: str) -> None:
    """Raises for a value that the struct module refuses or would truncate silently; the error names the field."""
    letter = single[-1]
    if letter in "sp" and isinstance(item, bytes | bytearray):
        room = struct.calcsize(single) - (letter == "p")
        if len(item) > room:
            raise ValueError(f"field {form.label(number)}: {len(item)} bytes don't fit into {room} ({single})")
    try:
        packed = struct.pack(single, item)
        if letter in "ef" and math.isinf(struct.unpack(single, packed)[0]) and not math.isinf(item):
            raise OverflowError("it would become infinite")  # native f doesn't raise
    except (struct.error, TypeError, OverflowError) as error:
        name, whole = form.label(number), isinstance(item, int) and letter in _INTEGERS | _FLOATS
        if whole or (isinstance(item, float) and letter in _FLOATS):
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
    label = form.label(number)
    single, at, end = form.value(number)
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
    first = form.at(start)
    last = max(first + 1, form.before(stop))
    if last - first == form.values > 1:
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
