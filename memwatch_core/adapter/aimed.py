"""How the target of one module becomes a watch; what is said where it names nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, TypeGuard

from ..errors import WatchError
from ..native import core, proxy
from ..records import NAME_MAX
from ..targets import Target
from . import join, places, process

_dict_of: Any = vars(ModuleType)["__dict__"].__get__
IMPORT_NAMES = frozenset(
    f"__{name}__"
    for name in (
        *("annotations", "annotate", "annotate_func", "annotations_cache", "builtins", "cached", "dict", "doc"),
        *("conditional_annotations", "file", "loader", "module", "name", "package", "path", "spec"),
        *("warningregistry", "weakref"),
    )
)
"""What the interpreter itself writes into a module or a class: left out where all names are meant."""


def open_target(target: Target, name: str, module: object, journal: process.Journal) -> list[tuple[str, int]]:
    """Watches what a target names in a module; the name and id of each variable. What is watched already counts.

    Raises WatchError: it can't be watched; CoreError."""
    flags = flags_of(journal)
    called = (name if not target.steps or target.is_pattern else f"{name}:{target.place}")[:NAME_MAX]
    site = site_of(module)
    if target.local is not None:
        raise WatchError("local variables can't be followed by this version: watch a global, an attribute or a key")
    if not target.steps or (target.is_pattern and len(target.steps) == 1):
        known = proxy.find_places(module)
        if known is not None and known[3]:
            return [(known[2].name, known[0])]
        choice = places.Choice(IMPORT_NAMES, str(target.steps[0].key) if target.steps else "*", quiet=True)
        return [places.open_names(module, called, flags, site, choice, journal.formats)]
    if len(target.steps) > 1:
        raise WatchError("what lies below a module's name can't be followed by this version")
    key = target.steps[0].key
    return [places.open_named(module, key, called, flags, site, journal.formats)]


def flags_of(journal: process.Journal) -> int:
    """The flags of a variable that the configuration names, as its ``[watch]`` says."""
    settings = journal.config.watch
    flags: int = core.TRACK_THREADS if settings.track_threads else 0
    if settings.track_sql:
        flags |= core.TRACK_SQL
        join.trace_sql()
    return flags


def missing(target: Target, names: Mapping[str, Any]) -> tuple[str, str] | None:
    """What of a target's place isn't there, in words, and the place that is nearest; None: all of it is."""
    if not target.steps:
        return None
    first = str(target.steps[0].key)
    if target.is_pattern and len(target.steps) == 1:
        from ..targets import matches

        return None if any(matches(first, name) for name in names if type(name) is str) else (f"no name {first}", "")
    if first in names:
        return None
    near = nearest(first, [name for name in names if type(name) is str])
    return f"no name {first!r}", near + target.place[len(first) :] if near else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """The name that was probably meant; empty: none is near."""
    from difflib import get_close_matches

    by_fold = {name.casefold(): name for name in known}
    close = get_close_matches(word.casefold(), by_fold, 1, 0.6)
    return by_fold[close[0]] if close else ""


def site_of(module: object) -> tuple[str, int, str]:
    """Where the watch of a module's names begins: at no line of it."""
    file = vars_of(module).get("__file__")
    return file if type(file) is str else "", 0, "<module>"


def main_names(names: Mapping[str, Any]) -> Iterator[str]:
    """What ``__main__`` may be called: the stem of its file, or the name of the module that is run."""
    spec, file = names.get("__spec__"), names.get("__file__")
    if spec is not None and isinstance(spec.name, str):
        yield spec.name
    elif isinstance(file, str):
        yield os.path.splitext(os.path.basename(file))[0]


def is_module(value: object) -> TypeGuard[ModuleType]:
    """Whether it is a module by its type: asking the object would run code of its class."""
    return issubclass(type(value), ModuleType)


def vars_of(module: object) -> Mapping[str, Any]:
    """The names of a module, whatever its class does when an attribute is read: a lazy one would be loaded."""
    names: Mapping[str, Any] = _dict_of(module)
    return names
