"""What a driver traces, by name: ``"psycopg:Transaction.__exit__"`` is a method, ``"sqlite3:connect"`` a function. The
module before the colon is the one that the program imports; until it does, nothing is looked at.

A name that ends in ``?`` is that of something which not every version of the library has.
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
    """What a method of a driver was decorated with."""

    kind: Kind
    names: tuple[str, ...]
    method: str
    """The driver's."""


def _declares(kind: Kind, names: tuple[str, ...]) -> Callable[[F], F]:
    def declare(function: F) -> F:
        declared = (*getattr(function, _DECLARED, ()), Declared(kind, names, function.__name__))
        setattr(function, _DECLARED, declared)
        return function

    return declare


def traces(*targets: str) -> Callable[[F], F]:
    """Decorates a generator that is run around each call of these: see ``around.py``."""
    return _declares("traces", targets)


def of_cursors(*methods: str) -> Callable[[F], F]:
    """The same for methods of the library's cursors, by their names."""
    return _declares("cursors", methods)


def of_connections(*methods: str) -> Callable[[F], F]:
    """The same for methods of its connections."""
    return _declares("connections", methods)


def tells(*methods: str) -> Callable[[F], F]:
    """Decorates a function that says what a method of cursors runs, by the cursor and the arguments of the call: the
    statement, and perhaps its parameters, as a tuple. None: nothing that is traced."""
    return _declares("tells", methods)


def replaces(*targets: str) -> Callable[[F], F]:
    """Decorates what is called in the place of a function, ``(call, instance, args, kwargs)``, as wrapt has it: for
    what changes arguments. The targets are names of one function."""
    return _declares("replaces", targets)


def declared(driver: type) -> Iterator[Declared]:
    """All that a driver's class declares; a method that is overridden is its subclass's."""
    for name in dict.fromkeys(name for each in reversed(driver.__mro__) for name in vars(each)):
        yield from getattr(getattr(driver, name, None), _DECLARED, ())


# ---- names -----------------------------------------------------------------------------------------------------------


def module_of(target: str) -> str:
    """The module that a target lies in."""
    return target.partition(":")[0]


def place(target: str) -> tuple[Any, str] | None:
    """Of what a target names: the module or class that has it, and by which name. None: not in this version."""
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
    """What a target names."""
    found = place(target)
    return None if found is None else getattr(*found)


def same(places: Sequence[tuple[Any, str]]) -> list[tuple[Any, str]]:
    """Those that have what the first has."""
    first, *others = places
    found = getattr(*first)
    return [first, *(each for each in others if getattr(*each) is found)]


def definer(owner: type, name: str) -> type:
    """The class that a method is replaced in: the one that defines it, unless that is written in C."""
    found: type = next((each for each in mro(owner) if own_member(each, name) is not None), owner)
    return owner if member(found, "__flags__") & IMMUTABLE else found


def is_own(owner: type, name: str) -> bool:
    """Whether a class defines a method itself, or has it from a class written in C, which can't be changed."""
    if not has(owner, name) or (name in vars(object) and name not in vars(owner)):
        return False
    return definer(owner, name) is owner


# ---- attributes ------------------------------------------------------------------------------------------------------


def reader(kind: type, *path: str) -> Reader:
    """Reads an attribute of the library's objects, past whatever the program's classes have in its place. Each step is
    an attribute of what the step before gave: its name, or, where that is of another class than ``kind``, its dotted
    name. A method is called."""
    steps = []
    for each in path:
        owner, name = (place(each) or (None, "")) if ":" in each else (kind, each)
        found = getattr(owner, name, None)
        is_code = isdatadescriptor(found) or isinstance(found, FunctionType | MethodDescriptorType)
        steps.append(found if is_code else name)
    return Reader(*steps)
