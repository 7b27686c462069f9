"""Names what a driver traces: ``"psycopg:Transaction.__exit__"`` is a method, ``"sqlite3:connect"`` a function.

The module before the colon is the one that the program imports; nothing is looked up before. A name that ends in ``?``
may be missing in some versions of the library.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from inspect import isdatadescriptor
from types import FunctionType, MethodDescriptorType, ModuleType
from typing import Any, Literal, NamedTuple, TypeVar

from memwatch_core.errors import PluginError
from memwatch_core.native.tracing import Reader

from .plain import IMMUTABLE, has, member, mro, own_member

F = TypeVar("F", bound=Callable[..., Any])
Kind = Literal["traces", "replaces", "cursors", "connections", "tells"]
_DECLARED = "_memwatch_declared"


class Declared(NamedTuple):
    """A decorator's declaration on a method of a driver."""

    kind: Kind
    names: tuple[str, ...]
    method: str
    """The driver's method."""


def _declares(kind: Kind, names: tuple[str, ...]) -> Callable[[F], F]:
    def declare(function: F) -> F:
        declared = (*getattr(function, _DECLARED, ()), Declared(kind, names, function.__name__))
        setattr(function, _DECLARED, declared)
        return function

    return declare


def traces(*targets: str) -> Callable[[F], F]:
    """Decorates a trace of these targets: a generator that runs around each call, see ``around.py``."""
    return _declares("traces", targets)


def of_cursors(*methods: str) -> Callable[[F], F]:
    """Decorates a trace of these methods of the library's cursors."""
    return _declares("cursors", methods)


def of_connections(*methods: str) -> Callable[[F], F]:
    """Decorates a trace of these methods of the library's connections."""
    return _declares("connections", methods)


def tells(*methods: str) -> Callable[[F], F]:
    """Decorates a function that gets a cursor and the arguments of a call of these methods.

    It returns a tuple of the statement that is run, and perhaps its parameters. None: don't trace this call.
    """
    return _declares("tells", methods)


def replaces(*targets: str) -> Callable[[F], F]:
    """Decorates a replacement for a function, to change its arguments: ``(call, instance, args, kwargs)``, wrapt's
    signature.

    The targets are names of the same function.
    """
    return _declares("replaces", targets)


def declared(driver: type) -> Iterator[Declared]:
    """All declarations of a driver's class; for an overridden method, only the subclass's."""
    for name in dict.fromkeys(name for each in reversed(driver.__mro__) for name in vars(each)):
        yield from getattr(getattr(driver, name, None), _DECLARED, ())


# ---- names -----------------------------------------------------------------------------------------------------------


def module_of(target: str) -> str:
    """The module of a target."""
    return target.partition(":")[0]


def place(target: str) -> tuple[Any, str] | None:
    """The module or class that owns a target, and the target's name in it. None: missing in this version."""
    module, _, path = target.rstrip("?").partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    try:
        for each in classes:
            owner = getattr(owner, each)
        getattr(owner, name)
    except AttributeError:
        if target.endswith("?"):
            return None
        raise PluginError(f"there is no {target!r}: is the library of another version?") from None
    return (owner if isinstance(owner, ModuleType) else definer(owner, name)), name


def named(target: str) -> Any:
    """The object that a target names."""
    found = place(target)
    return None if found is None else getattr(*found)


def same(places: Sequence[tuple[Any, str]]) -> list[tuple[Any, str]]:
    """The places that hold the same object as the first."""
    first, *others = places
    found = getattr(*first)
    return [first, *(each for each in others if getattr(*each) is found)]


def definer(owner: type, name: str) -> type:
    """The class in which to replace a method: the one that defines it, unless that is written in C."""
    found: type = next((each for each in mro(owner) if own_member(each, name) is not None), owner)
    return owner if member(found, "__flags__") & IMMUTABLE else found


def is_own(owner: type, name: str) -> bool:
    """Whether a class defines a method itself, or inherits it from a class written in C, which can't be modified."""
    if not has(owner, name) or (name in vars(object) and name not in vars(owner)):
        return False
    return definer(owner, name) is owner


# ---- attributes ------------------------------------------------------------------------------------------------------


def reader(kind: type, *path: str) -> Reader:
    """Reads an attribute of the library's objects, even if a class of the program's overrides it.

    Each step is an attribute of the previous step's value: its name, or, if that value isn't of class ``kind``, its
    dotted name. A method is called.
    """
    steps = []
    for each in path:
        owner, name = (place(each) or (None, "")) if ":" in each else (kind, each)
        found = getattr(owner, name, None)
        is_code = isdatadescriptor(found) or isinstance(found, FunctionType | MethodDescriptorType)
        steps.append(found if is_code else name)
    return Reader(*steps)
