"""The functions of a serializer whose values are arrays, by the options that :mod:`memwatch_plugins.arrays` reads.

That is imported when the first of them is called: a program without arrays pays nothing for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from memwatch_core.records import Extent, Items

if TYPE_CHECKING:
    from memwatch_core.records import Span


def names(options: dict[str, Any]) -> tuple[str, ...]:
    """As :attr:`memwatch_core.records.Layout.names`: of the fields of records."""
    if isinstance(options["dtype"], str):
        return ()
    from .arrays.fields import part_names

    return part_names(options)


def decode(data: bytes, options: Mapping[str, Any]) -> Any:
    """As :attr:`memwatch_core.records.Serializer.decode`."""
    from .arrays import elements

    return elements(options).decode(data)


def part(start: int, stop: int, options: Mapping[str, Any]) -> Extent | None:
    """As :attr:`memwatch_core.records.Serializer.part`."""
    from .arrays import elements

    return elements(options).part(start, stop)


def locate(name: str, options: Mapping[str, Any]) -> tuple[int, int] | None:
    """As :attr:`memwatch_core.records.Serializer.locate`."""
    from .arrays import elements

    return elements(options).find(name)


def items(options: Mapping[str, Any]) -> Items | None:
    """As :attr:`memwatch_core.records.Serializer.items`."""
    from .arrays import elements

    return elements(options).items()


def region(spans: Sequence[Span], options: Mapping[str, Any]) -> tuple[str, int | None] | None:
    """As :attr:`memwatch_core.records.Serializer.region`."""
    from . import arrays

    return arrays.region(arrays.elements(options), spans)


def cut(start: int, stop: int, options: Mapping[str, Any]) -> Iterator[Extent]:
    """As :attr:`memwatch_core.records.Serializer.cut`."""
    from .arrays import elements

    return elements(options).cut(start, stop)
