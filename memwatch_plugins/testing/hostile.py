"""Values that record every call of their methods.

They are subclasses of all types that can be a parameter or statement, with every method and attribute overridden, and a
recording metaclass; and subclasses of a library's connections and cursors that record every attribute read.
"""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from inspect import getattr_static, isdatadescriptor
from typing import Any

BASES: tuple[tuple[type, tuple[Any, ...]], ...] = (
    (object, ()),
    (int, (7,)),
    (float, (2.5,)),
    (str, ("text",)),
    (bytes, (b"bytes",)),
    (bytearray, (b"bytes",)),
    (tuple, ((1, 2),)),
    (list, ((1, 2),)),
    (dict, ({"k": 1},)),
    (decimal.Decimal, ("1.5",)),
    (dt.date, (2026, 1, 2)),
    (dt.datetime, (2026, 1, 2, 3, 4, 5)),
    (dt.time, (3, 4)),
    (dt.timedelta, (5,)),
    (dt.tzinfo, ()),
    (uuid.UUID, ("12345678" * 4,)),
    (fractions.Fraction, (3, 2)),
)
"""Base types, and the arguments for a value of each."""

_LEFT = {"__new__", "__init__", "__init_subclass__", "__subclasshook__", "__class_getitem__", "__del__", "__class__",
         "__dict__", "__slots__", "__doc__", "__module__", "__weakref__", "__abstractmethods__"}  # fmt: skip
_OPTIONAL = {"__getattr__", "__conform__", "__adapt__", "__bool__", "__len__", "__iter__", "__fspath__", "__index__",
             "__int__", "__float__", "__bytes__", "__getitem__", "__array__", "__html__", "__clause_element__",
             "__getquoted__", "getquoted", "prepare", "as_string", "as_bytes", "keys", "items", "encode",
             "decode"}  # fmt: skip


class Calls(Counter[str]):
    """Counts the calls of their methods."""

    def values(self) -> Iterator[Any]:  # type: ignore[override]
        """A value of each type."""
        for base, arguments in BASES:
            yield self.value(base, *arguments)

    def value(self, base: type, *arguments: Any) -> Any:
        """A value of a subclass of ``base``. Creating it isn't counted."""
        before = dict(self)
        value = self._class(base)(*arguments)
        self.clear()
        self.update(before)
        return value

    def _class(self, base: type) -> type:
        members: dict[str, Any] = {"__class__": property(lambda value: self._tell("__class__", base))}
        for name in set(dir(base)) - _LEFT:
            member = getattr(base, name)
            members[name] = self._method(name, member) if callable(member) else self._attribute(name, member)
        for name in _OPTIONAL - set(dir(base)):
            members[name] = self._method(name, _refuse)
        if base is uuid.UUID:
            members["__slots__"] = ()
        told: dict[str, Any] = {
            name: self._method(f"metaclass.{name}", getattr(type, name)) for name in ("__eq__", "__hash__")
        }
        told |= {name: self._method(f"metaclass.{name}", getattr(type, name)) for name in ("__call__", "__repr__")}
        told["__name__"] = property(lambda kind: self._tell("metaclass.__name__", "Telling"))
        told["__module__"] = property(lambda kind: self._tell("metaclass.__module__", "telling"))
        made: type = type("Meta", (type(base),), told)(f"Telling{base.__name__}", (base,), members)
        return made

    def subclass(self, base: Any, sample: Any) -> Any:
        """A subclass of a library's class, as the program could have; ``sample`` is an instance of the library's.

        Reads of its attributes and comparisons are counted, and everything works as before.
        """
        members: dict[str, Any] = {"__module__": __name__, "__bool__": lambda it: self._tell("__bool__", True)}
        for name in ("__getattribute__", "__setattr__", "__eq__", "__hash__", "__repr__"):
            members[name] = self._naming(name, getattr(base, name))
        for name in dir(base):
            member = getattr_static(base, name)
            if not name.startswith("__") and isdatadescriptor(member):
                members[name] = self._attribute(name, member)
        for name in getattr(sample, "__dict__", {}):
            members[name] = self._kept(name)
        return type(f"Telling{base.__name__}", (base,), members)

    def _naming(self, what: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def method(it: Any, *args: Any) -> Any:
            self[f"{what} {args[0] if args and type(args[0]) is str else ''}"] += 1
            return original(it, *args)

        return method

    def _kept(self, name: str) -> property:
        """A property that keeps its value in the object's dict, as the library would."""

        def get(it: Any) -> Any:
            self[name] += 1
            kept = _dict_of(it)
            return kept[name] if name in kept else getattr(super(type(it), it), name)  # a class's default, or an error

        def put(it: Any, value: Any) -> None:
            self[name] += 1
            _dict_of(it)[name] = value

        return property(get, put)

    def _tell(self, name: str, answer: Any) -> Any:
        self[name] += 1
        return answer

    def _method(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def method(*args: Any, **kwargs: Any) -> Any:
            self[name] += 1
            return original(*args, **kwargs)

        return method

    def _attribute(self, name: str, descriptor: Any) -> property:
        def get(value: Any) -> Any:
            return self._tell(name, descriptor.__get__(value))

        return property(get, lambda value, to: descriptor.__set__(value, to))


def _dict_of(it: Any) -> dict[str, Any]:
    found: dict[str, Any] = object.__getattribute__(it, "__dict__")
    return found


def _refuse(*args: Any, **kwargs: Any) -> Any:
    raise AttributeError("of a value that refuses")
