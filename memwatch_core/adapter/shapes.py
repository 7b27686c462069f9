"""What conditions know of a watched value: where its numbers and bytes are."""

from __future__ import annotations

from ..conditions import Field, Shape, shape_of_struct
from ..records import Layout, Serializer
from ..structs import number


def of_value(name: str, serializer: Serializer, layout: Layout, *, secret: bool) -> Shape:
    """Of a value in a page of its own."""
    kind = layout.proxy
    if kind == "struct":
        return shape_of_struct(name, layout.options["format"], layout.options.get("fields"), secret=secret)
    if kind in ("bytes", "bytearray"):
        return Shape("bytes", name, secret=secret)
    letter = {"int": "q", "float": "d"}.get(kind) or number(serializer.format, layout.size)
    if letter:
        return Shape("number", name, (Field(letter, 0, layout.size, True),), secret=secret)
    return Shape("other", name, secret=secret)


def of_places(name: str, *, secret: bool) -> Shape:
    """Of the places of an object."""
    return Shape("cells", name, secret=secret)

