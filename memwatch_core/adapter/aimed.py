"""How the target of one module becomes a watch; what is said where it names nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any, TypeGuard

from ..errors import WatchError
from ..native import core
from ..records import NAME_MAX
from ..targets import Target, matches
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
    if not target.steps or (target.is_pattern and len(target.steps) == 1):
        choice = places.Choice(IMPORT_NAMES, str(target.steps[0].key) if target.steps else "*", quiet=True)
        return [places.open_names(module, called, flags, site, choice, journal.formats)]
    if target.is_pattern:
        raise WatchError("below a module's name, names can't be patterns: watch the object that has them")
    if len(target.steps) > 1:
        route = tuple(step.key for step in target.steps), _brackets(target)
        return [places.open_route(module, route, called, flags, site, journal.formats)]
    key = target.steps[0].key
    return [places.open_named(module, key, called, flags, site, journal.formats)]


def open_unmet(target: Target, journal: process.Journal) -> int:
    """A variable for a target whose module was never there. Returns its id."""
    route = tuple(step.key for step in target.steps) or ("*",), _brackets(target)
    return places.open_route(None, route, target.text[:NAME_MAX], flags_of(journal), ("", 0, ""), journal.formats)[1]


def _brackets(target: Target) -> int:
    return sum(1 << i for i, step in enumerate(target.steps) if step.kind == "item")


def flags_of(journal: process.Journal) -> int:
    """The flags of a variable that the configuration names, as its ``[watch]`` says."""
    settings = journal.config.watch
    flags: int = core.TRACK_THREADS if settings.track_threads else 0
    if settings.track_sql:
        flags |= core.TRACK_SQL
        join.trace_sql()
    return flags


def find(target: Target, module: object) -> FunctionType | None:
    """The function of a target that is a local, as far as it is found without asking anything; None: it isn't there."""
    found: Any = module
    for step in target.steps:
        known = vars_of(found) if is_module(found) else _names_of_class(found) if issubclass(type(found), type) else {}
        found = known.get(str(step.key))
    if type(found) in (staticmethod, classmethod):
        found = found.__func__
    return found if type(found) is FunctionType else None


def locals_of(function: FunctionType | None, pattern: str) -> Iterator[str]:
    """The names that a function may bind and a pattern is of."""
    from .locals import names_in

    return (name for name in names_in(function.__code__) if matches(pattern, name)) if function else iter(())


def missing(target: Target, names: Mapping[str, Any]) -> tuple[str, str] | None:
    """What of a target's place isn't there, in words, and the place that is nearest; None: all of it is.

    What has attributes by code of its own isn't asked: then it may be there.
    """
    if target.is_pattern and len(target.steps) == 1:
        pattern = str(target.steps[0].key)
        return None if any(matches(pattern, name) for name in _texts(names)) else (f"no name {pattern}", "")
    known: Mapping[Any, Any] | None = names
    before = ""
    for i, step in enumerate(target.steps):
        if known is None:
            return None
        if step.key not in known:
            near = nearest(step.key, _texts(known)) if isinstance(step.key, str) else ""
            meant = before + step._replace(key=near).text if near else ""
            rest = "".join(each.text for each in target.steps[i + 1 :])
            return f"no name {step.text.removeprefix('.')}", (meant + rest).removeprefix(".") if near else ""
        before += step.text
        known = _names_in(known[step.key])
    return None


def _texts(names: Iterable[object]) -> list[str]:
    return [name for name in names if type(name) is str]


def _names_in(value: object) -> Mapping[Any, Any] | None:
    """What lies in an object by which names, as far as that is known without asking it."""
    kind = type(value)
    if kind is dict:
        return value  # type: ignore[return-value]
    if kind is list:
        return dict(enumerate(value))  # type: ignore[arg-type]
    if issubclass(kind, ModuleType):
        return vars_of(value)
    if issubclass(kind, type):
        return _names_of_instances(value)
    return None


def _names_of_instances(owner: object) -> Mapping[Any, Any]:
    """The attributes of a class, and those that its methods speak of: names of its instances, probably."""
    found: dict[Any, Any] = {}
    for base in reversed(_bases_of(owner)):
        own = _names_of_class(base)
        for value in own.values():
            if type(value) is FunctionType:
                found.update(dict.fromkeys(value.__code__.co_names))
        found.update(dict.fromkeys(own.get("__annotations__") or ()))
        found.update(own)
    return found


_names_of_class: Any = vars(type)["__dict__"].__get__
_bases_of: Any = vars(type)["__mro__"].__get__


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
