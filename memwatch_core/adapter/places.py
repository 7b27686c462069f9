"""``watch(order)``: an object or a dict, watched in place.

The object stays what it is, and writes by everybody who already holds it are seen. CPython reports each change of a
dict, including the dicts in which instances keep their attributes (3.12 and later, by ``PyDict_Watch``; of 3.11, the
dict's table lies in guarded memory). Each place, a key or an attribute, has a cell in a watched page, to which the new
value is written. A change that CPython doesn't report is found when the same place is written to again, or when the
watch ends.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterable, Mapping
from types import FrameType, MappingProxyType
from typing import Any, NamedTuple

from ..errors import WatchError
from ..native import core, proxy
from ..records import NAME_MAX, TypeFormat
from ..type_formats import declared
from . import breaks
from .names import infer_argument, quoted, type_name
from .threads import name_here

_OPTIONS = ("depth", "fields", "skip", "max_objects")
DEPTH = 1
MAX_OBJECTS = 100_000


class PlacesInfo:
    """A call of ``watch()``, as remembered for ``variable()``."""

    __slots__ = ("beside", "flags", "name", "site", "thread", "thread_ident")
    serializer, depth = "", None
    options: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, name: str, flags: int, site: tuple[str, int, str], *, beside: bool = False) -> None:
        self.name, self.flags, self.site = name, flags, site
        self.beside = beside
        """Who runs the program asked for it: a call of the program's is no error because of it."""
        self.thread_ident, self.thread = threading.get_ident(), name_here()


def why_not(value: object) -> str | None:
    """Why a value can't be watched in place; None: it can."""
    return proxy.why_no_places(value)


def open_places(
    value: object,
    name: str | None,
    flags: int,
    frame: FrameType,
    options: Mapping[str, Any],
    formats: tuple[TypeFormat, ...] = (),
) -> int:
    """Watches an object, and returns its variable's id; values of some types are written by ``formats``. Raises
    WatchError: it is watched already; TypeError, ValueError: an option; CoreError."""
    if name is None:
        name = infer_argument(frame) or type_name(value)[1:-1]
    known = proxy.find_places(value)
    if known is not None and known[2].beside:
        return known[0]
    if known is not None:
        part = "" if known[3] else "a part of "
        raise WatchError(f"'{name}' is watched already, as {part}'{known[2].name}'")
    depth, most, fields, skip = _checked(name, **options)
    if issubclass(type(value), list) and (fields is not None or skip is not None):
        raise WatchError(f"'{name}': fields and skip choose attributes and keys; a list has neither")
    code = frame.f_code
    flags |= core.SECRET if proxy.is_secret(name) else 0
    info = PlacesInfo(name, flags, (code.co_filename, frame.f_lineno or 0, code.co_name))
    _declare(formats)
    try:
        shown = type_name(value)[1:-1]
        number = _open(value, _metadata(info, shown, whole=True), (depth, most), fields, skip, info)
    except TypeError as error:
        raise WatchError(f"'{name}' can't be watched: {error}") from None
    opened = proxy.find_places(value)
    if opened is not None and opened[4]:
        proxy.describe_places(value, _metadata(info, f"{shown}, {_left_out(opened[4], most)}", whole=True))
    _audit_at_exit()
    return number


def open_place(
    owner: object,
    key: object,
    name: str | None,
    flags: int,
    frame: FrameType,
    bounds: tuple[int, int],
    formats: tuple[TypeFormat, ...] = (),
) -> int:
    """Watches one attribute or key of an owner; ``bounds``: depth, and how many objects. Raises as
    :func:`open_places`."""
    whose = infer_argument(frame, "watch_place") or type_name(owner)[1:-1]
    if proxy.is_proxy(owner):
        raise WatchError(f"'{whose}' is a watched value: every write to it is an event already")
    _declare(formats)  # what is there is shown as any value of its type
    try:
        path, place, shown, why, whole, is_secret = proxy.place_of(owner, key)
    except TypeError as error:
        raise WatchError(f"no place of '{whose}' can be watched: {error}") from None
    name = (whose + path)[:NAME_MAX] if name is None else name
    if why is not None:
        raise WatchError(f"'{name}' can't be watched: {why}")
    known = proxy.find_places(owner, place)
    there = known if whole is None else proxy.find_places(owner)
    if there is not None and there[2].beside:
        return there[0]
    if whole is not None:
        raise WatchError(f"'{name}' is watched already, as a place of '{whole.name}'")
    if known is not None:
        raise WatchError(f"'{name}' is watched already, as '{known[2].name}'")
    depth, most = limits(name, *bounds)
    code = frame.f_code
    flags |= core.SECRET if is_secret or proxy.is_secret(name) else 0
    info = PlacesInfo(name, flags, (code.co_filename, frame.f_lineno or 0, code.co_name))
    shown = "a secret" if flags & core.SECRET else shown
    number = _open(owner, _metadata(info, shown), (depth, most), None, None, info, place)
    opened = proxy.find_places(owner, place)
    if opened is not None and opened[4]:
        proxy.describe_places(owner, _metadata(info, f"{shown}, {_left_out(opened[4], most)}"), place)
    _audit_at_exit()
    return number


def open_named(
    owner: object,
    key: object,
    name: str,
    flags: int,
    site: tuple[str, int, str],
    formats: tuple[TypeFormat, ...] = (),
    depth: int = DEPTH,
    most: int = MAX_OBJECTS,
    beside: bool = True,
) -> tuple[str, int]:
    """As :func:`open_place`, of a place that the configuration names; if it is watched already, that watch. Returns the
    variable's name and id."""
    _declare(formats)
    _, place, shown, why, whole, is_secret = proxy.place_of(owner, key)
    if why is not None:
        raise WatchError(f"'{name}' can't be watched: {why}")
    known = proxy.find_places(owner) if whole is not None else proxy.find_places(owner, place)
    if known is None:
        flags |= core.SECRET if is_secret or proxy.is_secret(name) else 0
        info = PlacesInfo(name, flags, site, beside=beside)
        shown = "a secret" if flags & core.SECRET else shown
        _open(owner, _metadata(info, shown), (depth, most), None, None, info, place)
        known = proxy.find_places(owner, place)
        if known is not None:
            return _begun(name, known[0], beside)
    if known is None:
        raise WatchError(f"'{name}' has ended")
    return known[2].name, known[0]


class Choice(NamedTuple):
    """Which names of a module or a class are meant."""

    skip: frozenset[str]
    pattern: str = "*"
    classes: str | None = None
    """Classes of the module of this name are followed."""
    quiet: bool = False
    """What defines a function, a class or a module isn't told."""


def open_names(
    owner: object,
    name: str,
    flags: int,
    site: tuple[str, int, str],
    choice: Choice,
    formats: tuple[TypeFormat, ...] = (),
    bounds: tuple[int, int] = (DEPTH, MAX_OBJECTS),
    beside: bool = True,
) -> tuple[str, int]:
    """Watches names of a module or a class, beside those that are watched. Returns the variable's name and id. Raises
    as :func:`open_places`."""
    pattern = None if choice.pattern == "*" else choice.pattern.encode("utf-8", "surrogatepass")
    known = proxy.find_places(owner)
    if known is not None and known[3]:
        if known[2].beside:
            proxy.widen_names(known[0], pattern, choice.classes)
        return known[2].name, known[0]
    _declare(formats)
    flags |= core.SECRET if proxy.is_secret(name) else 0
    info = PlacesInfo(name, flags, site, beside=beside)
    shown = type_name(owner)[1:-1]
    metadata = _metadata(info, shown, whole=True)
    skip, classes, quiet = choice.skip, choice.classes, choice.quiet
    try:
        opened = proxy.open_names(owner, name, metadata, flags, *bounds, skip, pattern, classes, quiet, info)
    except TypeError as error:
        raise WatchError(f"'{name}' can't be watched: {error}") from None
    breaks.by_configuration(opened, info)
    return _begun(name, opened, beside)


def open_route(
    owner: object,
    route: tuple[tuple[object, ...], int],
    name: str,
    flags: int,
    site: tuple[str, int, str],
    formats: tuple[TypeFormat, ...] = (),
    bounds: tuple[int, int] = (DEPTH, MAX_OBJECTS),
    beside: bool = True,
) -> tuple[str, int]:
    """Watches what names lead to from a module, by then: keys, and a bit for each that is in brackets. Returns the
    variable's name and id. Raises as :func:`open_places`."""
    _declare(formats)
    flags |= core.SECRET if proxy.is_secret(name) else 0
    info = PlacesInfo(name, flags, site, beside=beside)
    shown = "a secret" if flags & core.SECRET else proxy.route_end(owner, *route) if owner is not None else "absent"
    try:
        opened = proxy.open_route(owner, name, _metadata(info, shown), flags, *bounds, route[0], route[1], info)
    except TypeError as error:
        raise WatchError(f"'{name}' can't be watched: {error}") from None
    breaks.by_configuration(opened, info)
    return _begun(name, opened, beside)


def _begun(name: str, opened: int, beside: bool) -> tuple[str, int]:
    if beside:
        proxy.keep_places(opened)
    _audit_at_exit()
    return name, opened


def _open(
    owner: object,
    metadata: bytes,
    limits: tuple[int, int],
    fields: frozenset[str] | None,
    skip: frozenset[str] | None,
    info: PlacesInfo,
    *key: object,
) -> int:
    """Opens the places, and has them judged as the configuration says."""
    number = proxy.open_places(owner, info.name, metadata, info.flags, *limits, fields, skip, info, *key)
    breaks.by_configuration(number, info)
    return number


def close_place(owner: object, key: object) -> bool:
    """Ends the watch of one place. Returns False if there was none."""
    if proxy.close_places(owner, key):
        return True
    known = proxy.find_places(owner, key)
    return known is not None and known[2].beside


def close_places(value: object) -> bool:
    """Ends the watch of an object, and those of places of it. Returns False if there was none. Raises WatchError if it
    is watched as a part of another object only."""
    if proxy.close_places(value):
        return True
    known = proxy.find_places(value)
    if known is not None and known[2].beside:
        return True
    if known is not None:
        raise WatchError(f"the object is watched as a part of '{known[2].name}': unwatch that one")
    return False


def _checked(
    name: str,
    *,
    depth: int = DEPTH,
    fields: Iterable[str] | None = None,
    skip: Iterable[str] | None = None,
    max_objects: int = MAX_OBJECTS,
    **unknown: Any,
) -> tuple[int, int, frozenset[str] | None, frozenset[str] | None]:
    if unknown:
        raise TypeError(f"'{name}': watch() of an object takes {', '.join(_OPTIONS)}, not {', '.join(unknown)}")
    return *limits(name, depth, max_objects), names_of(name, "fields", fields), names_of(name, "skip", skip)


def limits(name: str, depth: int, max_objects: int) -> tuple[int, int]:
    """Checked: how many levels below an object are followed, and how many objects. Raises ValueError."""
    if type(depth) is not int or not 0 <= depth <= 100:
        raise ValueError(f"'{name}': depth is a number of levels from 0 to 100, not {depth!r}")
    if type(max_objects) is not int or max_objects < 1:
        raise ValueError(f"'{name}': max_objects is a positive number, not {max_objects!r}")
    return depth, max_objects


def _left_out(count: int, most: int) -> str:
    return f"{count:,} of the objects in it are not followed (max_objects={most})"


def names_of(name: str, option: str, names: Iterable[str] | None) -> frozenset[str] | None:
    """Checked: names of attributes, or None. Raises TypeError."""
    if names is None:
        return None
    if isinstance(names, str):
        raise TypeError(f"'{name}': {option} is a list of names: {option}=[{names!r}]")
    chosen = frozenset(names)
    for one in chosen:
        if type(one) is not str:
            raise TypeError(f"'{name}': {option} has names of attributes, or keys that are str, not {one!r}")
    return chosen


def _metadata(info: PlacesInfo, shown: str, *, whole: bool = False) -> bytes:
    """JSON without the last brace: each slab adds its own fields. ``whole``: what is shown is a type, not a value."""
    file, line, function = info.site
    says = ',"type":true' if whole else ""
    return (
        f'{{"name":{quoted(info.name)},"cells":{proxy.CELL},"shown":{quoted(shown)}{says},'
        f'"site":{{"file":{quoted(file)},"line":{line},"function":{quoted(function)}}},'
        f'"thread_ident":{info.thread_ident},"thread":{quoted(info.thread)}'
    ).encode()


_formats: tuple[TypeFormat, ...] = ()


def _declare(formats: tuple[TypeFormat, ...]) -> None:
    """Of a journal, once: what is known of types is forgotten."""
    global _formats
    if formats is not _formats:
        proxy.declare_types(declared(formats))
        _formats = formats


_registered = False


def _audit_at_exit() -> None:
    global _registered
    if not _registered:
        _registered = True
        atexit.register(proxy.audit_places)


def forget_exit() -> None:
    """Takes back what is done at exit, until something is watched again."""
    global _registered
    atexit.unregister(proxy.audit_places)
    _registered = False
