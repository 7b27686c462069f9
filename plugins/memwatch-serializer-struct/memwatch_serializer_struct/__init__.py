"""``struct``: a tuple or named tuple, packed by a format of the struct module."""

from __future__ import annotations

import math
import re
import struct
from collections import namedtuple
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import Layout, Serializer

_TOKEN = re.compile(r"\s*(\d*)([A-Za-z?])")
_INTEGERS = frozenset("bBhHiIlLqQnN")
_FLOATS = frozenset("efd")


class _Form(NamedTuple):
    """A format that is in order."""

    packer: struct.Struct
    fields: tuple[tuple[str, str], ...]
    """Name (or number) and single format of each value."""
    make: Any
    """tuple -> what decode returns."""


@lru_cache(maxsize=1024)
def _form(form: str, names: tuple[str, ...] | None, kind: str) -> _Form:
    """Raises ValueError: not a format, one with pointers, or one that the names don't fit."""
    try:
        packer = struct.Struct(form)
    except struct.error as error:
        raise ValueError(f"format={form!r}: {error}") from error
    order = form[0] if form[:1] in tuple("@=<>!") else "@"
    singles: list[str] = []
    for count, letter in _TOKEN.findall(form.removeprefix(order)):
        if letter == "P":
            raise ValueError(
                f"format={form!r}: a pointer (P) means nothing outside of its process; use Q for its number"
            )
        if letter in "sp":
            singles.append(f"{order}{count}{letter}")
        elif letter != "x":
            if int(count or 1) + len(singles) > 4096:
                raise ValueError(f"format={form!r} has more than 4096 values")
            singles.extend([order + letter] * int(count or 1))
    if not singles:
        raise ValueError(f"format={form!r} has no values")
    if names is not None and len(names) != len(singles):
        raise ValueError(f"format={form!r} has {len(singles)} values, and fields has {len(names)} names")
    make: Any = tuple
    if names is not None:
        try:
            made: Any = namedtuple(kind if kind.isidentifier() else "Struct", names)  # type: ignore[misc]
        except ValueError as error:
            raise ValueError(f"fields={names!r}: {error}") from error
        make = made._make
    labels = names if names is not None else [str(i) for i in range(len(singles))]
    return _Form(packer, tuple(zip(labels, singles, strict=True)), make)


def _of(options: Mapping[str, Any]) -> _Form:
    names = options.get("fields")
    return _form(options["format"], None if names is None else tuple(names), options.get("type", "Struct"))


def _layout(value: tuple[Any, ...], options: Mapping[str, Any]) -> Layout:
    unknown = [name for name in options if name not in ("format", "fields")]
    if unknown:
        raise TypeError(f"unknown option {unknown[0]!r}: a struct has format and fields")
    form, names = options.get("format"), options.get("fields", getattr(value, "_fields", None))
    if not isinstance(form, str):
        raise TypeError("a tuple needs a format of the struct module: watch((3, 9.99), format='<qd')")
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
    """Raises for what the struct module refuses, or would cut short without a word; the error names the field."""
    letter = single[-1]
    if letter in "sp" and isinstance(item, bytes | bytearray):
        room = struct.calcsize(single) - (letter == "p")
        if len(item) > room:
            raise ValueError(f"field {name}: {len(item)} bytes don't fit into {room} ({single})")
    try:
        packed = struct.pack(single, item)
        if letter in "ef" and math.isinf(struct.unpack(single, packed)[0]) and not math.isinf(item):
            raise OverflowError("it would become infinite")  # native f says nothing
    except (struct.error, TypeError, OverflowError) as error:
        number = isinstance(item, int) and letter in _INTEGERS | _FLOATS
        if number or (isinstance(item, float) and letter in _FLOATS):
            raise OverflowError(f"field {name}: the number doesn't fit into {single!r}: {error}") from error
        raise TypeError(f"field {name}: {single!r} doesn't take {type(item).__name__}: {error}") from error


def _decode(data: bytes, options: Mapping[str, Any]) -> Any:
    form = _of(options)
    return form.make(form.packer.unpack(data))


@hookimpl
def memwatch_serializers() -> Iterator[Serializer]:
    """One, for every tuple."""
    yield Serializer(
        name="struct",
        summary="tuple or named tuple, with format=",
        accepts=lambda value: isinstance(value, tuple),
        layout=_layout,
        encode=_encode,
        decode=_decode,
    )
