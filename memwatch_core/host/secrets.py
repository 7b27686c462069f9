"""What is shown of secrets: texts that are equal if the values are.

A secret's journal has no value of it: bytes are masked one by one, or hashed together, by a key that no reader has
(docs/decisions/secrets.md). What a serializer makes of such bytes means nothing; only where its parts lie still does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import blake2b
from typing import Any

from ..records import Extent, Serializer, Shown

_BYTES = 6
"""Of a hash that is shown."""


def is_secret(value: object) -> bool:
    """Whether a value is shown as a secret's."""
    return isinstance(value, Shown) and value.text.startswith("<secret ") and " " not in value.text[8:]


def shown(data: bytes) -> Shown:
    """A secret, by its masked bytes."""
    return Shown(f"<secret {blake2b(data, digest_size=_BYTES).hexdigest()}>")


def shown_cell(payload: bytes, tag: int) -> Shown:
    """A secret in a cell, by its hash. ``tag``: more of that, in copies that :mod:`memwatch_core.journal.stripped`
    has made."""
    return Shown(f"<secret {f'{tag:03x}' if tag else ''}{payload[:_BYTES].hex()}>")


@cache
def hidden(serializer: Serializer) -> Serializer:
    """One for secrets that this serializer would decode."""
    find = serializer.part

    def part(start: int, stop: int, options: Mapping[str, Any]) -> Extent | None:
        if not serializer.head:
            found = None if find is None else find(start, stop, options)
            return None if found is None else Extent(found.name, found.start, found.stop, shown)
        if start < serializer.head:  # how long it is can't be read
            return Extent("len()", 0, serializer.head, shown) if stop <= serializer.head else None
        return Extent(f"[{start - serializer.head}:{stop - serializer.head}]", start, stop, shown)

    divide = serializer.cut

    def cut(start: int, stop: int, options: Mapping[str, Any]) -> Iterator[Extent]:
        for found in () if divide is None else divide(start, stop, options):
            yield Extent(found.name, found.start, found.stop, shown)

    return serializer._replace(
        decode=lambda data, options: shown(data), format=None, head=0, part=None if find is None else part,
        cut=None if divide is None else cut,
    )  # fmt: skip
