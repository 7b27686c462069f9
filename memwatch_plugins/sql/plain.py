"""Looking at what the program has passed without calling its code: ``isinstance`` would ask for ``__class__``, a
subclass of str may override every method that one could call."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isdatadescriptor
from typing import Any, TypeGuard

from memwatch_core.native.tracing import peek as peek
from memwatch_core.native.tracing import set_slot as set_slot
from memwatch_core.native.tracing import slot as slot


def is_a(value: object, kind: Any) -> TypeGuard[Any]:
    """``isinstance`` by the object's real type."""
    return issubclass(type(value), kind)


def plain(text: Any) -> Any:
    """A str or bytes of a class derived from it as what it is underneath; anything else as it is."""
    kind = type(text)
    if kind is str or kind is bytes:
        return text
    if issubclass(kind, str):
        return str.__str__(text)
    return bytes.__getitem__(text, slice(None)) if issubclass(kind, bytes) else text


def shown(text: Any) -> str:
    """A name, which may be text or bytes; ``""`` for anything else."""
    text = plain(text)
    if type(text) is bytes:
        return text.decode(errors="replace")
    return text if type(text) is str else ""


IMMUTABLE = 1 << 8  # Py_TPFLAGSIMMUTABLETYPE: a class written in C

mro = type.__dict__["__mro__"].__get__
_members = type.__dict__["__dict__"].__get__


member: Callable[[type, str], Any] = type.__getattribute__
"""``getattr`` of a class, past what its metaclass has."""


def has(kind: type, name: str) -> bool:
    """Whether instances have such a member by their class, which may have a metaclass of the program's."""
    return any(name in _members(each) for each in mro(kind))


def own_member(kind: type, name: str) -> Any:
    """A member of the class's own, as it is in there; None if there is none."""
    return _members(kind).get(name)


class Own:
    """The members that a library's class has itself, past whatever a subclass of the program's has in their place:
    ``Own(Cursor).rowcount(cursor)``, ``Own(Connection).cancel(connection)``."""

    def __init__(self, kind: type) -> None:
        self.kind = kind

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.kind, name)
        found = getattr(member, "__get__") if isdatadescriptor(member) else member  # noqa: B009
        setattr(self, name, found)
        return found
