"""Values of a program that tell whenever one of their methods is called: subclasses of whatever can be a parameter or a
statement, with every method and attribute that there is overridden, of a metaclass that tells as well."""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
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
"""Types to derive from, and what makes a value of each."""

_LEFT = {"__new__", "__init__", "__init_subclass__", "__subclasshook__", "__class_getitem__", "__del__", "__class__",
         "__dict__", "__slots__", "__doc__", "__module__", "__weakref__", "__abstractmethods__"}  # fmt: skip
_OPTIONAL = {"__getattr__", "__conform__", "__adapt__", "__bool__", "__len__", "__iter__", "__fspath__", "__index__",
             "__int__", "__float__", "__bytes__", "__getitem__", "__array__", "__html__", "__clause_element__",
             "__getquoted__", "getquoted", "prepare", "as_string", "as_bytes", "keys", "items", "encode",
             "decode"}  # fmt: skip


class Calls(Counter[str]):
    """How often which of their methods was called."""

    def values(self) -> Iterator[Any]:  # type: ignore[override]
        """One of each type."""
        for base, arguments in BASES:
            yield self.value(base, *arguments)

    def value(self, base: type, *arguments: Any) -> Any:
        """A value of a subclass of ``base``. Making it counts for nothing."""
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


def _refuse(*args: Any, **kwargs: Any) -> Any:
    raise AttributeError("of a value that refuses")
