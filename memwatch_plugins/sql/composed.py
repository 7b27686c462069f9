"""Traces a library whose classes are written in C. These can't be modified, and C code checks for them.

So the traced class is a subclass, composed over whatever class the program asks for. It has that class's name, and adds
only methods around those that run, fetch, close, commit and roll back. A driver declares the argument that selects the
class: of ``connect``, and of a connection's ``cursor``.
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple
from weakref import ref

from memwatch_core.native.tracing import disguise, raise_unless_ours

from .around import Steps, Trace, named, traced
from .dbapi import DbapiDriverBase
from .plain import IMMUTABLE, has, is_a, member, mro, own_member
from .targets import named as found_by_name
from .targets import of_connections, place, same


class Factory(NamedTuple):
    """An argument that takes a class."""

    keyword: str
    place: int
    """Its position; for a method, not counting ``self``."""
    most: int = 99
    """Limit of arguments. A call with more isn't traced: the library refuses it in its own words."""
    optional: bool = False
    """Whether None means the library's own class."""


class ComposedDriverBase(DbapiDriverBase):
    """A driver for classes written in C. ``cursors`` and ``connections`` name one class each."""

    connects: ClassVar[tuple[str, ...]]
    """The function that makes connections, by all its names."""
    connection_factory: ClassVar[Factory]
    """Its argument that selects the class of the connection."""
    cursor_factory: ClassVar[Factory]
    """The same for connections' method ``cursor``."""

    def __init__(self) -> None:
        super().__init__()
        self._composed: dict[type, tuple[Any, type]] = {}
        self._marked: dict[int, ref[type]] = {}
        self.traced_cursor: Callable[[Any], Any] = self._composer(self._traced_cursor)
        self.traced_connection: Callable[[Any], Any] = self._composer(self._traced_connection)

    # ---- hooks ------------------------------------------------------------------------------------------------------

    def cursor_class(self, connection: Any) -> Any:
        """The default class of a connection's cursors."""
        return self.cursor_kind

    def makes_cursors(self) -> dict[str, Any]:
        """Further methods of connections that make cursors, besides ``cursor``."""
        return {}

    def connection_members(self, base: type) -> dict[str, Any]:
        """Further members for the traced subclass of a connection class."""
        return {}

    # ---- what the program asks for ----------------------------------------------------------------------------------

    def trace_classes(self) -> None:
        """Replaces the functions that make connections."""
        places = [found for found in map(place, self.connects) if found is not None]
        self.replace(self.connect, *same(places))

    def prepare(self) -> None:
        """Finds the library's classes, once."""
        super().prepare()
        self.connection_kind, self.cursor_kind = found_by_name(self.connections[0]), found_by_name(self.cursors[0])
        base = self.connection_kind

        def cursor(*args: Any, **kwargs: Any) -> Any:
            return self.make_cursor(args, kwargs)

        members = {"__slots__": (), "cursor": named(cursor, base.cursor, base, "cursor"), **self.makes_cursors()}
        # Comes right before the library's class in the MRO, so that cursor() of the program's classes makes traced
        # cursors too. Its methods pass invalid calls on, so that the library's own error reaches the program.
        makes_cursors: Any = type("MakesCursors", (base,), members)
        del makes_cursors.__slots__
        self._makes_cursors: type = makes_cursors

    def connect(self, call: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Replaces the library's ``connect``."""
        keyword, at, _, optional = self.connection_factory
        factory = args[at] if len(args) > at else kwargs.get(keyword, self.connection_kind)
        if factory is None and optional:
            factory = self.connection_kind
        if self._is_kind(factory, self.connection_kind, "connections"):
            args, kwargs = _with(self.traced_connection(factory), at, keyword, args, kwargs)
        return call(*args, **kwargs)

    def make_cursor(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Replaces the library's ``cursor``; ``args`` include the connection."""
        base = self.connection_kind
        if self.tracer is None or not args or not is_a(args[0], base):
            return base.cursor(*args, **kwargs)
        keyword, at, most, optional = self.cursor_factory
        at += 1  # after the connection
        is_given = len(args) > at or keyword in kwargs
        factory = args[at] if len(args) > at else kwargs.get(keyword)
        if not is_given or (factory is None and optional):
            factory = self.cursor_class(args[0])
        if (is_given or len(args) + len(kwargs) <= most) and self._is_kind(factory, self.cursor_kind, "cursors"):
            args, kwargs = _with(self.traced_cursor(factory), at, keyword, args, kwargs)
        return base.cursor(*args, **kwargs)

    @of_connections("__exit__")
    def leaving(self, connection: Any, kind: Any = None, *rest: Any) -> Steps:
        """A ``with`` block commits unless an exception leaves it."""
        return self.ending(connection, "committed" if kind is None else "rolled back")

    def _is_kind(self, factory: Any, kind: type, what: str) -> bool:
        if is_a(factory, type) and issubclass(factory, kind):
            return True
        if callable(factory):
            self.tell(f"{what} made by a factory that is no class go untraced")
        return False

    # ---- composed classes -------------------------------------------------------------------------------------------

    def _composer(self, compose: Callable[[Any], type]) -> Callable[[Any], Any]:
        """``compose``, cached for each class. Returns the class itself if composing raises: it is final, or restricts
        subclasses."""

        def composed(base: type) -> type:
            known = self._composed.get(base) if member(base, "__flags__") & IMMUTABLE else own_member(base, _COMPOSED)
            if known is None or known[0] is not self:
                known = self, self._try(compose, base)
                self._keep(base, known)
            return known[1]

        return composed

    def _try(self, compose: Callable[[Any], type], base: type) -> type:
        try:
            return compose(base)
        except Exception as error:
            raise_unless_ours(error)
            self.trouble(error)
            return base

    def _keep(self, base: type, composed: tuple[Any, type]) -> None:
        """Caches the composed class in its base. A table of ours would keep the base alive, through the composed class,
        and with it all that the program put there. Classes written in C stay alive anyway."""
        if member(base, "__flags__") & IMMUTABLE:
            self._composed[base] = composed
            return
        if not self._marked:
            self.on_undo(self._forget)
        marked, address = self._marked, id(base)
        marked[address] = ref(base, lambda _: marked.pop(address, None))
        type.__setattr__(base, _COMPOSED, composed)

    def _forget(self) -> None:
        while self._marked:
            base = self._marked.popitem()[1]()
            if base is not None and (known := own_member(base, _COMPOSED)) is not None and known[0] is self:
                type.__delattr__(base, _COMPOSED)

    def _traced_cursor(self, base: type) -> type:
        """The traced subclass of a cursor class."""
        return base if is_composed(base) else self._compose(base, (base,), self._members(base, self.traced_cursors))

    def _traced_connection(self, base: type) -> type:
        """The traced subclass of a connection class."""
        if is_composed(base):
            return base
        members = self._members(base, self.traced_connections) | self.connection_members(base)
        makes = (self._makes_cursors,)
        return self._compose(base, makes if base is self.connection_kind else (base, *makes), members)

    def _members(self, base: type, traces: Mapping[str, Trace]) -> dict[str, Any]:
        methods = {name: traced(self, base, name, how, late=True) for name, how in traces.items() if has(base, name)}
        return {"__slots__": ("_memwatch",), **methods}

    def _compose(self, base: type, bases: tuple[type, ...], members: dict[str, Any]) -> type:
        members |= {name: member(base, name) for name in ("__module__", "__qualname__", "__doc__")}
        if is_a(base, ABCMeta):  # caches of isinstance() are per class, as if its metaclass had been called
            members["_abc_impl"] = vars(ABCMeta("", (), {}))["_abc_impl"]
        composed = type.__new__(type(base), member(base, "__name__"), (_Silent, *bases), members)
        disguise(composed, base)
        return composed


def is_composed(kind: type) -> bool:
    """Whether a class was composed by a driver."""
    return any(each is _Silent for each in mro(kind))


class _Silent:
    """First base of the composed classes."""

    __slots__ = ()

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Hides composed classes from the program's ``__init_subclass__``, but not subclasses that the program derives
        from them."""
        if type.__dict__["__bases__"].__get__(cls)[0] is not _Silent:
            super().__init_subclass__(**keywords)


del _Silent.__slots__
_COMPOSED = "_memwatch.composed"  # (driver, class), in the base class; no name of the program's


def _with(
    factory: Any, at: int, keyword: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A call's arguments, with another factory."""
    if len(args) > at:
        return (*args[:at], factory, *args[at + 1 :]), kwargs
    return args, {**kwargs, keyword: factory}
