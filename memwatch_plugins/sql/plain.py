"""Inspects the program's objects without calling its code: ``isinstance`` would read ``__class__``, and a subclass of
str may override every method."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isdatadescriptor
from typing import Any, TypeGuard

from memwatch_core.native.tracing import peek as peek
from memwatch_core.native.tracing import set_slot as set_slot
from memwatch_core.native.tracing import slot as slot


def is_a(value: object, kind: Any) -> TypeGuard[Any]:
    """``isinstance``, by the object's real type."""
    return issubclass(type(value), kind)


def plain(text: Any) -> Any:
    """The plain str or bytes of an instance of a subclass; anything else unchanged."""
    kind = type(text)
    if kind is str or kind is bytes:
        return text
    if issubclass(kind, str):
        return str.__str__(text)
    return bytes.__getitem__(text, slice(None)) if issubclass(kind, bytes) else text


def shown(text: Any) -> str:
    """A name given as text or bytes; ``""`` for anything else."""
    text = plain(text)
    if type(text) is bytes:
        return text.decode(errors="replace")
    return text if type(text) is str else ""


IMMUTABLE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE: a class written in C

mro = type.__dict__["__mro__"].__get__
_members = type.__dict__["__dict__"].__get__


member: Callable[[type, str], Any] = type.__getattribute__
"""``getattr`` of a class, without its metaclass."""


def has(kind: type, name: str) -> bool:
    """Whether the class of an instance has such a member. Calls nothing of a metaclass of the program's."""
    return any(name in _members(each) for each in mro(kind))


def own_member(kind: type, name: str) -> Any:
    """A member of the class itself, unbound; None if there is none."""
    return _members(kind).get(name)


class Own:
    """The members of a library's class, even if a subclass of the program's overrides them:
    ``Own(Cursor).rowcount(cursor)``, ``Own(Connection).cancel(connection)``."""

    def __init__(self, kind: type) -> None:
        self.kind = kind

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.kind, name)
        found = getattr(member, "__get__") if isdatadescriptor(member) else member  # noqa: B009
        setattr(self, name, found)
        return found
