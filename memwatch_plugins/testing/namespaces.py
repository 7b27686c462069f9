"""Snapshots of a library's modules and classes, to compare them later."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

_PASSING = ("__warningregistry__", "__annotations__", "__annotations_cache__")  # created by Python on access


def snapshot(target: str) -> dict[str, dict[str, Any]]:
    """The attributes of each imported module of a library, and of each class in these modules.

    ``target`` is the library's top module. Keys are names for messages; classes also have their ids in them.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, module in sorted(sys.modules.items()):
        if isinstance(module, ModuleType) and (name == target or name.startswith(f"{target}.")):
            attributes = dict(vars(module))
            found[name] = attributes
            for value in attributes.values():
                if isinstance(value, type) and value.__module__ != "builtins":
                    found.setdefault(f"{value.__module__}.{value.__qualname__} ({id(value):x})", dict(vars(value)))
    return found


def differences(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> list[str]:
    """A sentence for each attribute that is another object now. Submodules imported meanwhile don't count."""
    return [
        f"{owner.partition(' ')[0]}.{name} {what}"
        for owner, attributes in before.items()
        for name, what in _of(attributes, after.get(owner, attributes))
    ]


def _of(before: dict[str, Any], after: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for name in sorted(before.keys() | after.keys()):
        if name in _PASSING:
            continue
        if name not in after:
            yield name, "is gone"
        elif name not in before:
            if not isinstance(after[name], ModuleType):
                yield name, f"is new: {after[name]!r}"
        elif isinstance(before[name], float) and isinstance(after[name], float):
            continue  # a timestamp
        elif before[name] is not after[name]:
            yield name, f"is another object: {after[name]!r}, and was {before[name]!r}"
