"""The places that a notebook's user names: ``total``, ``config["debug"]``, ``order.total``."""

from __future__ import annotations

import ast
import inspect
from contextlib import suppress
from types import BuiltinFunctionType, FunctionType, MemberDescriptorType, ModuleType
from typing import Any, NamedTuple

from memwatch_core.errors import ConfigError, WatchError
from memwatch_core.running.recording import unwatch_place, watch_place
from memwatch_core.targets import parse

DEPTH = 2
"""Levels below a name that are followed: attributes of the object that it names, and items of what these hold."""
_NO_VARIABLES = (ModuleType, FunctionType, BuiltinFunctionType, type)


class Place(NamedTuple):
    """A place that is watched."""

    text: str
    """As the user wrote it; the variable's name."""
    owner: Any
    key: Any

    def close(self) -> None:
        """Ends the watch. Idempotent."""
        with suppress(WatchError):  # its owner is gone
            unwatch_place(self.owner, self.key)


def open_place(text: str, names: dict[str, Any], when: str | None = None, then: Any = None) -> Place:
    """Watches a place among a notebook's ``names``, there yet or not; ``when`` and ``then`` as of ``watch()``. Raises
    WatchError, ConfigError: no such owner, or it can't be watched; ConditionError."""
    target = parse(f"__main__:{text}")
    if not target.steps or target.is_pattern or target.local is not None:
        raise ConfigError(f"{text}: a name of the notebook, such as total, config['debug'] or order.total, is watched")
    owner: Any = names
    key: Any = target.steps[0].key
    for number, step in enumerate(target.steps[1:], 1):
        before = text if number == 1 else "".join([str(target.steps[0].key), *(s.text for s in target.steps[1:number])])
        owner, key = _below(owner, key, number > 1 and target.steps[number - 1].kind == "name", before), step.key
    watch_place(owner, key, name=text, depth=DEPTH, when=when, then=then)
    return Place(text, owner, key)


def _below(owner: Any, key: Any, attribute: bool, text: str) -> Any:
    """What lies at a place, without running the program's code."""
    missing = object()
    if attribute:
        found = inspect.getattr_static(owner, key, missing)
        if isinstance(found, MemberDescriptorType):  # a slot
            with suppress(AttributeError):
                return found.__get__(owner)
            found = missing
        elif hasattr(type(found), "__set__"):
            raise WatchError(f"{text}: {key} is computed by a {type(found).__name__}; what lies below it isn't watched")
    else:
        try:
            found = owner[key] if type(owner) in (dict, list, tuple) else missing
        except (LookupError, TypeError):
            found = missing
    if found is missing:
        raise WatchError(f"{text}: there is no {key} yet, so what lies below it can't be watched")
    return found


def mentioned(source: str, names: dict[str, Any]) -> list[str]:
    """The variables that a cell's code mentions, in their order: not functions, classes and modules; none if it is
    no plain Python."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return []
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not node.id.startswith("_"):
            there = node.id in names
            if (there and not isinstance(names[node.id], _NO_VARIABLES)) or isinstance(node.ctx, ast.Store):
                found[node.id] = None
    return [*found]
