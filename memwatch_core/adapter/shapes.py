"""What conditions know of a watched value: where its numbers and bytes are."""

from __future__ import annotations

from struct import Struct
from typing import Any

from ..conditions import Field, Shape, shape_of_struct
from ..native import core
from ..records import Serializer
from ..structs import number, split
from . import process
from .met import Decode, OfElement, OfPart


def of_value(info: Any) -> tuple[Shape, Decode]:
    """Of a value in a page of its own, and how to decode it; by what ``watch()`` remembers of it."""
    journal = process.journal()
    serializer = next((one for one in journal.serializers if one.name == info.serializer), None) if journal else None
    options = info.options

    def decode(data: bytes) -> object:
        return serializer.decode(data, options) if serializer else data

    if serializer is not None and info.layout.items:
        unpack = Struct(info.layout.items)
        shape = Shape("number", info.name, (_number(info.layout.items, unpack.size),), step=unpack.size)
        return _flagged(shape, info), OfElement(info.name, unpack, serializer, options)
    shape = _flagged(_shape(info.name, serializer, info.layout), info)
    if serializer is not None and serializer.by_parts:
        return shape, OfPart(info.name, serializer, options)
    return shape, decode


def _number(form: str, size: int) -> Field:
    order, letter = split(form)
    return Field(letter, 0, size, order != ">")


def _flagged(shape: Shape, info: Any) -> Shape:
    return shape._replace(secret=bool(info.flags & core.SECRET), sql=bool(info.flags & core.TRACK_SQL))


def _shape(name: str, serializer: Serializer | None, layout: Any) -> Shape:
    kind = layout.proxy
    if kind == "struct":
        return shape_of_struct(name, layout.options["format"], layout.options.get("fields"))
    if kind in ("bytes", "bytearray"):
        return Shape("bytes", name)
    letter = {"int": "q", "float": "d"}.get(kind) or (number(serializer.format, layout.size) if serializer else "")
    if letter:
        return Shape("number", name, (Field(letter, 0, layout.size, True),))
    return Shape("other", name)


def of_locals(info: Any) -> Shape:
    """Of the names of a function. Whether their events carry SQL is said by the session that they are bound in."""
    journal = process.journal()
    return of_places(info)._replace(sql=journal is None or journal.config.watch.track_sql)


def of_places(info: Any) -> Shape:
    """Of the places of an object."""
    return _flagged(Shape("cells", info.name), info)
