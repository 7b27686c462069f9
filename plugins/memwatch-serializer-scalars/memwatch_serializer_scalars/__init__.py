"""Numbers of fixed width, ``int64``, ``float64``, ``bool``; how values of the standard library's types are written."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import Buffer, Layout, Serializer, TypeFormat

from .formats import FORMATS

_int, _float = struct.Struct("<q"), struct.Struct("<d")


def _encode_int(value: int, options: Mapping[str, Any]) -> bytes:
    try:
        return _int.pack(value)
    except struct.error as error:
        if not isinstance(value, int):
            raise TypeError(f"an int is expected, not {type(value).__name__}") from error
        bits = value.bit_length() + 1
        raise OverflowError(f"an int of {bits} bits doesn't fit into 64: -2**63 to 2**63 - 1") from error


def _encode_float(value: float, options: Mapping[str, Any]) -> bytes:
    try:
        return _float.pack(value)
    except struct.error as error:
        raise TypeError(f"a float is expected, not {type(value).__name__}") from error


def _encode_bool(value: bool, options: Mapping[str, Any]) -> bytes:
    if not isinstance(value, bool):
        raise TypeError(f"True or False is expected, not {type(value).__name__}")
    return b"\1" if value else b"\0"


def _serializer(
    name: str, kind: type, proxy: Literal["int", "float", "object"], size: int, form: str, summary: str, encode: Any
) -> Serializer:
    unpack = struct.Struct(form).unpack

    def layout(value: Any, options: Mapping[str, Any]) -> Layout:
        if options:
            raise TypeError(f"unknown option {next(iter(options))!r}: {name} has none")
        return Layout(proxy, size, buffer=Buffer(form[-1]) if proxy == "object" else None)

    return Serializer(
        name=name,
        summary=summary,
        accepts=lambda value: type(value) is kind,
        layout=layout,
        encode=encode,
        decode=lambda data, options: unpack(data)[0],
        format=form,
    )


@hookimpl
def memwatch_serializers() -> Iterator[Serializer | TypeFormat]:
    """The three of them, no value is taken by two; and the formats."""
    yield _serializer("int64", int, "int", 8, "<q", "int of up to 64 bits", _encode_int)
    yield _serializer("float64", float, "float", 8, "<d", "float", _encode_float)
    yield _serializer("bool", bool, "object", 1, "<?", "True or False", _encode_bool)
    yield from FORMATS
