"""``x = watch(x)``: puts a value into a page and returns a proxy that takes its place.

The assignment matters: any other reference is still to the plain value, whose writes are not seen.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from ..errors import SessionError, WatchError
from ..native import core, proxy
from ..records import NAME_MAX, Layout, Serializer
from . import breaks, elsewhere, join, places, process
from .names import UNNAMED, infer_argument, infer_name, quoted
from .refused import refusal
from .structs import fields_of
from .threads import name_here

if TYPE_CHECKING:
    from types import FrameType

    from ..records import Variable
    from ..settings import WatchSection
    from .breaks import Then

T = TypeVar("T")
R = TypeVar("R")
Depth = Literal["FULL"] | tuple[int, int] | Sequence[int]
_END = 2**64 - 1
_HEADER = {"bytes": 8, "bytearray": 8}
"""Bytes of the header before the content; a mutation depth counts from the content on."""
_FLAGS = {
    "track_threads": core.TRACK_THREADS,
    "track_sql": core.TRACK_SQL,
    "track_all_vars": core.TRACK_ALL_VARS,
    "track_locals": core.TRACK_LOCALS,
    "secret": core.SECRET,
}
_lying: list[Serializer] = []
"""Those whose values lie in watched memory themselves, as far as one was watched: also once the session is closed."""
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


class _Info(NamedTuple):
    """What a proxy remembers of its ``watch()`` call."""

    name: str
    serializer: str
    options: Mapping[str, Any]
    flags: int
    depth: tuple[int, int] | None
    site: tuple[str, int, str]
    """File, line, function."""
    thread_ident: int
    thread: str
    layout: Layout


class _How(NamedTuple):
    """What a ``watch()`` call asks for, of the value or of each of its parts."""

    journal: process.Journal
    frame: FrameType
    flags: int
    mutation_depth: Depth | None
    share_page: bool | None
    options: Mapping[str, Any]


def watch(
    value: T,
    *,
    track_threads: bool | None = None,
    track_sql: bool | None = None,
    mutation_depth: Depth | None = None,
    name: str | None = None,
    share_page: bool | None = None,
    secret: bool = False,
    when: str | None = None,
    then: Then | None = None,
    **options: Any,
) -> T:
    """Watches a value: ``x = watch(x)``. The returned proxy behaves as the value does, and every write to it is an
    event.

    Defaults come from the configuration's ``[watch]``: ``track_threads`` (events carry the thread), ``track_sql``
    (events carry the SQL statement in force), ``mutation_depth`` ("FULL", or the range of bytes whose changes are
    reported). ``name`` defaults to the target of the assignment. ``share_page`` packs small values onto one page.
    Of a ``secret``, no value is recorded, only a hash with which equal ones are known to be equal; so are those whose
    name the configuration has in ``[privacy] variables``.
    ``options`` go to the serializer: ``capacity=64`` for bytes, ``format="<qd"`` for a struct.

    ``when="new < 0"`` (docs/breaks.md has the language) is judged at every write; ``then`` is done at once where it is
    met: ``"break"`` stops in ``breakpoint()`` there, ``"raise"`` raises MutationError, ``"dump"`` prints all threads'
    stacks, a function is called with a :class:`~memwatch_core.records.Hit`. Either alone: ``when="changed"``,
    ``then="break"``.

    Raises ConditionError (a ValueError) for a condition or an action that isn't one, WatchError (a TypeError) for a
    value that can't be watched, OverflowError and ValueError for one that doesn't fit, SessionError if the session is
    closed, CoreError if the core refuses. Thread-safe.
    """
    frame = sys._getframe(1)
    given = name
    if name is None:
        name = infer_name(frame)
    _check_name(name)
    asked = breaks.asked(when, then)
    if proxy.is_proxy(value):
        raise WatchError(
            f"'{name}': the value is watched already; use it as it is, or watch a copy of it: watch(x.value)"
        )
    journal = join.current()
    settings = journal.config.watch
    flags = _flags_of(settings, track_threads, asked.sql or track_sql, secret)
    serializer = _choose(journal.serializers, value)
    how = _How(journal, frame, flags, mutation_depth, share_page, options)
    if serializer is not None and serializer.split is not None:
        parts = _told(name, serializer.split.parts, value, options)
        if parts is not None:
            if given is None and name == UNNAMED:  # it stays what it is, and nothing has to be assigned
                name = infer_argument(frame) or name
            _watch_parts(value, name, serializer, parts, how, lambda: breaks.asked(when, then))
            return value
    _check_memory(serializer, value, name)
    if serializer is None:
        why = places.why_not(value)
        if why is not None:
            raise WatchError(refusal(journal.serializers, value, name, why))
        if mutation_depth is not None:
            raise TypeError(
                f"'{name}': mutation_depth is a range of a value's bytes; of an object, choose fields=[...]"
            )
        number = places.open_places(value, name if name != UNNAMED else given, flags, frame, options, journal.formats)
        asked.begin(number, lambda: places.close_places(value))
        return value
    watched, result = _watch_one(value, name, serializer, how, asked)
    if serializer.lies is not None and serializer.lies.follow is not None:
        serializer.lies.follow(result, elsewhere.telling(watched, serializer))
    return result


def _watch_one(value: T, name: str, serializer: Serializer, how: _How, asked: breaks.Asked) -> tuple[Any, T]:
    """The proxy, or the memory that the value lies in, and what the program gets."""
    journal, frame, flags, mutation_depth, share_page, options = how
    layout = _told(name, serializer.layout, value, options)
    data = _told(name, serializer.encode, value, layout.options)
    over = None if serializer.lies is None else _told(name, serializer.lies.over, value)
    depth = _depth(journal.config.watch.mutation_depth if mutation_depth is None else mutation_depth, name)
    flags |= _masks(name, serializer, layout, flags, depth)
    start, stop = depth or (0, _END)
    before = _HEADER.get(layout.proxy, 0) if depth else 0
    watched = proxy.create(
        layout.proxy,
        name,
        data,
        flags,
        start + before,
        stop + before if depth else stop,
        layout.proxy != "memory" and (journal.config.core.share_pages if share_page is None else share_page),
        _codec(serializer, layout, value),
    )
    code = frame.f_code
    info = _Info(
        name,
        serializer.name,
        layout.options,
        flags,
        depth,
        (code.co_filename, frame.f_lineno or 0, code.co_name),
        threading.get_ident(),
        name_here(),
        layout,
    )
    proxy.describe(watched, _metadata(info, layout.size), info)
    breaks.by_configuration(watched, info)
    asked.begin(watched, lambda: proxy.end(watched))
    if over is not None and serializer not in _lying:
        _lying.append(serializer)
    result: T = watched if over is None else over(watched)
    return watched, result


def _watch_parts(
    value: object,
    name: str,
    serializer: Serializer,
    parts: Sequence[tuple[str, Any]],
    how: _How,
    asked: Callable[[], breaks.Asked],
) -> None:
    """Each is a variable of its own; the value gets them once all are."""
    assert serializer.split is not None
    for behind, part in parts:
        _check_name(f"{name}{behind}")
        _check_memory(serializer, part, f"{name}{behind}")
    each = how._replace(options={})
    watched = [_watch_one(part, f"{name}{behind}", serializer, each, asked()) for behind, part in parts]
    tells = [elsewhere.telling(memory, serializer) for memory, _ in watched]
    _told(name, serializer.split.join, value, [part for _, part in watched], tells)


def _told(name: str, ask: Callable[..., R], *arguments: Any) -> R:
    """What a serializer answers; a TypeError says that the value can't be watched."""
    try:
        return ask(*arguments)
    except WatchError:
        raise
    except TypeError as error:
        raise WatchError(f"'{name}' can't be watched: {error}") from error


def _check_memory(serializer: Serializer | None, value: object, name: str) -> None:
    for memory in _memories_of(serializer, value):
        number, _, _, info = proxy.get_info(memory)
        if number:  # its watch goes on
            raise WatchError(
                f"'{name}' lies in watched memory already, that of '{info.name}': use it as it is, or watch a copy of "
                "it"
            )


def watch_place(
    owner: object,
    key: object,
    *,
    name: str | None = None,
    depth: int = places.DEPTH,
    max_objects: int = places.MAX_OBJECTS,
    track_threads: bool | None = None,
    track_sql: bool | None = None,
    secret: bool = False,
    when: str | None = None,
    then: Then | None = None,
) -> None:
    """Watches one place alone: an attribute of an object, a class or a module, or a key of a dict.

    ``watch_place(order, "limit")`` watches ``order.limit``, ``watch_place(config, "debug")`` watches
    ``config["debug"]``: whatever is put there, by whomever, also if nothing is there yet or anymore. The owner stays
    what it is, and its other places aren't watched. Several places of an owner, and the owner itself, may be watched
    at the same time.

    ``name`` is what events call the place, otherwise as above. ``depth`` levels below it are followed, and at most
    ``max_objects`` objects: see ``watch()``, also for the other options.

    Raises WatchError (a TypeError) for what can't be watched, or is already, ValueError for a senseless option,
    SessionError if the session is closed, CoreError if the core refuses. Thread-safe.
    """
    frame = sys._getframe(1)
    _check_name(name)
    asked = breaks.asked(when, then)
    journal = join.current()
    flags = _flags_of(journal.config.watch, track_threads, asked.sql or track_sql, secret)
    number = places.open_place(owner, key, name, flags, frame, (depth, max_objects), journal.formats)
    asked.begin(number, lambda: proxy.close_places(owner, key))


def unwatch_place(owner: object, key: object) -> None:
    """Ends the watch that ``watch_place()`` with the same owner and key began. Raises WatchError if there is none."""
    if not places.close_place(owner, key):
        raise WatchError("no watch of this place is there: none was begun with this owner and key, or it has ended")


def unwatch(watched: T) -> T:
    """Ends a watch and returns the plain value: ``x = unwatch(x)``. Of an object, also ends the watches of its places.

    Exported buffers (memoryviews, arrays) stay valid; writes through them are no longer seen. Of an array, which lies
    in watched memory, or a view of it, returns a copy in memory of its own, and ends the watch of all of it. Raises
    TypeError for a plain value, SessionError if the watch has ended.
    """
    if places.close_places(watched):
        return watched
    plain: T
    serializer, memories = _lying_in(watched)
    if serializer is None or serializer.lies is None or not memories:
        plain = proxy.end(watched)
        return plain
    live = [memory for memory in memories if proxy.get_info(memory)[0]]
    if not live:
        name = proxy.get_info(memories[0])[3].name
        raise SessionError(f"the watch of '{name}' has ended; its value is unchanged, and is watched by nobody")
    for memory in live:
        proxy.end(memory)
    plain = serializer.lies.copy(watched)
    return plain


def variable(watched: object) -> Variable:
    """How a value is watched. Raises TypeError for a plain value. ``id`` is 0 once the watch has ended."""
    from ..records import Site, Variable

    found = proxy.find_places(watched)
    locals = sys.modules.get(f"{__package__}.locals")  # which reads code: only where names of functions are watched
    of_locals = locals.find(watched) if locals is not None and found is None else None
    if of_locals is not None:
        number, size, info = of_locals
    elif found is not None:
        number, size, info = found[:3]
    else:
        _, memories = _lying_in(watched)
        if len(memories) > 1:
            raise TypeError("it is watched by its parts, each a variable of its own: ask of one of them")
        number, size, _, info = proxy.get_info(memories[0] if memories else watched)
    return Variable(
        id=number,
        name=info.name,
        pid=os.getpid(),
        runtime=process.RUNTIME,
        size=size,
        serializer=info.serializer,
        options=info.options,
        flags=tuple(name for name, bit in _FLAGS.items() if info.flags & bit),
        depth=info.depth,
        watched_at=Site(*info.site),
        thread_ident=info.thread_ident,
        thread=info.thread,
    )


def _check_name(name: str | None) -> None:
    if isinstance(name, str) and len(name) > NAME_MAX:
        raise ValueError(f"name={name[:20]!r}...: {len(name)} characters; a name has at most {NAME_MAX}")


def _flags_of(settings: WatchSection, track_threads: bool | None, track_sql: bool | None, secret: bool) -> int:
    flags = core.TRACK_THREADS if (settings.track_threads if track_threads is None else track_threads) else 0
    if settings.track_sql if track_sql is None else track_sql:
        flags |= core.TRACK_SQL
        join.trace_sql()
    return flags | core.SECRET if secret else flags


def _masks(name: str, serializer: Serializer, layout: Layout, flags: int, depth: tuple[int, int] | None) -> int:
    """How a secret is masked; 0: it is none. One of its fields is enough to make it one."""
    parts = layout.names or [f".{field}" for field in layout.options.get("fields") or ()]
    if not flags & core.SECRET and not any(map(proxy.is_secret, (name, *(name + part for part in parts)))):
        return 0
    full = depth is None or (depth[0] == 0 and depth[1] >= layout.size)
    whole = serializer.part is None and layout.size == 8 and full
    return core.SECRET | (core.MASK_WHOLE if whole else core.MASK_BYTES)


def _choose(serializers: Sequence[Serializer], value: object) -> Serializer | None:
    return next((serializer for serializer in serializers if serializer.accepts(value)), None)


def _memories_of(serializer: Serializer | None, value: object) -> list[object]:
    """The watched memory that a value lies in; of one with several parts, that of each."""
    if serializer is None or serializer.lies is None:
        return []
    return [each for each in serializer.lies.memory(value) if proxy.is_proxy(each)]


def _lying_in(value: object) -> tuple[Serializer | None, list[object]]:
    """By which serializer a value lies in watched memory; some take others' values, to say why they can't."""
    for serializer in _lying:
        memories = _memories_of(serializer, value) if serializer.accepts(value) else []
        if memories:
            return serializer, memories
    return None, []


def _memory_of(serializer: Serializer | None, value: object) -> object | None:
    return next(iter(_memories_of(serializer, value)), None)


def _depth(depth: Depth, name: str) -> tuple[int, int] | None:
    if depth == "FULL":
        return None
    if not isinstance(depth, str) and len(depth) == 2 and all(isinstance(n, int) for n in depth):
        start, stop = depth
        if 0 <= start < stop < 2**63:
            return start, stop
    raise ValueError(f"'{name}': mutation_depth is \"FULL\" or a range of bytes such as (0, 8), not {depth!r}")


def _codec(serializer: Serializer, layout: Layout, value: object) -> Any:
    if layout.proxy == "struct":
        make = getattr(type(value), "_make", None)  # keep the program's own named tuple class
        if make is None:
            make = getattr(serializer.decode(bytes(layout.size), layout.options), "_make", None)
        return layout.options["format"], fields_of(layout.options["format"], layout.options.get("fields")), make
    if layout.proxy == "object":
        shown = layout.buffer and (layout.buffer.format, struct.calcsize(layout.buffer.format), layout.buffer.shape)
        return serializer.encode, serializer.decode, layout.options, shown
    return None


def _metadata(info: _Info, size: int) -> bytes:
    """The variable's metadata record, which memwatch_core/host/decoder.py reads."""
    file, line, function = info.site
    options = _encode(dict(info.options)) if info.options else "{}"
    return (
        f'{{"name":{quoted(info.name)},"serializer":{quoted(info.serializer)},"options":{options},"size":{size},'
        f'"site":{{"file":{quoted(file)},"line":{line},"function":{quoted(function)}}},'
        f'"thread_ident":{info.thread_ident},"thread":{quoted(info.thread)}}}'
    ).encode()
