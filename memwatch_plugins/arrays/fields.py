"""What the fields of records are called, for who looks for a secret among them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def part_names(options: dict[str, Any]) -> tuple[str, ...]:
    """Of each field, within a single record and within the first of several: ``.price``, ``[0].price``."""
    found = tuple(_names(options["dtype"]))
    return (*found, *(f"[{', '.join('0' * max(len(options['shape']), 1))}]{name}" for name in found))


def _names(item: Any) -> Iterator[str]:
    while isinstance(item, list):
        item = item[0]
    if isinstance(item, dict):
        for name, inner, *_ in item["fields"]:
            yield f".{name}"
            yield from (f".{name}{behind}" for behind in _names(inner))
