"""What an object holds at a moment, as far as a watch of it reaches: two snapshots tell whether it is still the same.

None of the program's code runs, and nothing is kept alive: of a value, its text as events show it is kept, or its
address where the text doesn't tell one from another.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import lru_cache
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType, ModuleType, SimpleNamespace
from typing import Any, NamedTuple

from ..native import proxy

Snapshot = dict[str, Hashable]
"""Path, as events write it behind the variable's name -> what was there. An absent path: nothing was."""

_PLAIN = (int, float, str, bytes, bool, type(None), complex)
_BY_ADDRESS = (type, ModuleType, FunctionType)
_NO_SLOTS = ("__dict__", "__weakref__")
_OWNER = SimpleNamespace()
_slots_of_class = type.__dict__["__dict__"].__get__
_bases_of_class = type.__dict__["__mro__"].__get__
MISSING: Any = object()
"""Stands for what isn't there."""


class Place(NamedTuple):
    """What is looked at: an object, or one attribute or key of it."""

    owner: Any
    key: Any = MISSING
    depth: int = 1
    """As that of ``watch()``."""
    skip: frozenset[str] = frozenset()
    """Attributes of the object itself that aren't looked at."""

    @property
    def whole(self) -> bool:
        """Whether it is all of the object."""
        return self.key is MISSING


def snapshot(place: Place) -> Snapshot:
    """What is at a place now. Interpreter lock held: another thread may change the object only between two steps."""
    found: Snapshot = {}
    if place.whole:
        _take(place.owner, "", place.depth + 1, found, [], place.skip)
        return found
    value = value_at(place.owner, place.key)
    if value is not MISSING:
        _take(value, "", place.depth, found, [])
    return found


def value_at(owner: Any, key: Any) -> Any:
    """What an attribute or a key holds, without a descriptor's doing; an object that is nothing else's: nothing."""
    if issubclass(type(owner), dict):
        return dict.get(owner, key, MISSING)
    for name, value in _attributes(owner):
        if name == key:
            return value
    return MISSING


def step_to(owner: Any, key: Any) -> str:
    """How events write an attribute or a key behind the name of what has it."""
    return str(proxy.place_of(owner, key)[0])


def path_to(place: Place, wanted: object) -> str | None:
    """The path at which an object is found below a place; None: it isn't."""
    pending = [("", place.owner if place.whole else value_at(place.owner, place.key), place.depth)]
    seen: set[int] = set()
    while pending:
        path, value, levels = pending.pop(0)
        if value is wanted:
            return path
        if id(value) not in seen and levels >= 0:
            seen.add(id(value))
            pending += ((path + step, held, levels - 1) for step, held in _steps(value))
    return None


def _take(
    value: Any, path: str, levels: int, found: Snapshot, above: list[int], skip: frozenset[str] = frozenset()
) -> None:
    """``levels``: how many of them are left, this one included; objects take two, so that the last one's attributes
    aren't looked at. ``above``: what it lies in, so that a circle ends."""
    kind = type(value)
    if kind in _PLAIN:
        found[path] = (kind, value)
        return
    if proxy.is_proxy(value):
        found[path] = _told(value.value, type(value.value))
        return
    container = issubclass(kind, dict | list | set)
    if levels < 1 or id(value) in above or not (container or _is_followed(value, levels, top=not path)):
        found[path] = _told(value, kind)
        return
    found[path] = _head(value, kind)
    above.append(id(value))
    for step, held in _steps(value):
        if step.removeprefix(".") not in skip:
            _take(held, path + step, levels - 1, found, above)
    above.pop()


def _is_followed(value: Any, levels: int, *, top: bool) -> bool:
    if issubclass(type(value), type | ModuleType):
        return top
    return levels > 1 and proxy.why_no_places(value) is None and _told(value, type(value))[1] == id(value)


def _head(value: Any, kind: type) -> Hashable:
    """What is said of something whose parts are looked at one by one: containers are the same if these are."""
    if issubclass(kind, list):
        return ("list", tuple(_told(item, type(item)) for item in list.__iter__(value)))
    if issubclass(kind, set):
        return ("set", frozenset(_told(item, type(item)) for item in set.__iter__(value)))
    return (kind.__name__, 0) if issubclass(kind, dict) else (kind.__name__, id(value))


def _told(value: Any, kind: type) -> tuple[Any, Hashable]:
    """A value that isn't looked into."""
    if kind in _PLAIN:
        return kind, value
    if issubclass(kind, dict | list | set):
        return "container", kind.__name__
    if issubclass(kind, _BY_ADDRESS):
        return kind, id(value)
    text = proxy.written(value)
    return (kind, id(value)) if f"0x{id(value):x}" in text else (kind, text)


def _steps(value: Any) -> Iterator[tuple[str, Any]]:
    kind = type(value)
    if issubclass(kind, list):
        yield from ((f"[{number}]", item) for number, item in enumerate(list.__iter__(value)))
    elif issubclass(kind, dict):
        yield from ((_key_text(key), held) for key, held in list(dict.items(value)))
    elif not issubclass(kind, set):
        yield from ((f".{name}", held) for name, held in _attributes(value))


def _key_text(key: Any) -> str:
    return _plain_key_text(key) if type(key) in _PLAIN else str(proxy.place_of({}, key)[0])


@lru_cache(maxsize=4096, typed=True)
def _plain_key_text(key: Any) -> str:
    return str(proxy.place_of({}, key)[0])


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """The attributes that an object has of its own: those of its dict, and its slots."""
    held = _dict_of(value)
    if held is not None:
        yield from [(name, each) for name, each in held.items() if type(name) is str]
    if issubclass(type(value), type):
        return
    for base in _bases_of_class(type(value)):
        for name, descriptor in _slots_of_class(base).items():
            if type(descriptor) is MemberDescriptorType and name not in _NO_SLOTS:
                try:
                    yield name, descriptor.__get__(value)
                except AttributeError:
                    continue


def _dict_of(value: Any) -> Any:
    kind = type(value)
    if issubclass(kind, type):
        return _slots_of_class(value)
    if issubclass(kind, ModuleType):
        return _of_module(value)
    for base in _bases_of_class(kind):
        descriptor = _slots_of_class(base).get("__dict__")
        if type(descriptor) in (GetSetDescriptorType, MemberDescriptorType):
            return descriptor.__get__(value)
    return None


_of_module = vars(ModuleType)["__dict__"].__get__
