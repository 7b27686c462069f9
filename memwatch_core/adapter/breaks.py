"""``watch(x, when="new < 0", then="break")``: what is done at once when a watched value is written to.

A condition is judged by the core, at every event of its variable. When one is met, the thread that wrote calls
:func:`_react`, as soon as code of the program's may run in it: after an announced write at once, otherwise before its
next instruction. A callable, ``breakpoint()`` and exceptions then come from the line of the program's that runs.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from itertools import count
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..errors import ConditionError, MutationError
from ..native import core, proxy
from ..printed import say
from ..records import Hit
from .met import Decode, decode_cell, met, sentence

if TYPE_CHECKING:
    from ..conditions import Shape
    from ..records import Layout, Serializer
    from ..settings import WatchSection

Then = Literal["break", "raise", "dump"] | Callable[[Hit], object]
ACTIONS = ("break", "raise", "dump")
_FIRST = {"dump": 0, "call": 1, "break": 2, "raise": 3}
"""The order in which they are done, of what one thread has met by one store."""
_PREFIX = re.compile(r"((?:[\w.*?<>()-]|\[[^\]]*\])+)\s*:\s*(.+)", re.DOTALL)


class Break(NamedTuple):
    """One condition of one variable."""

    handle: int
    variable: str
    when: str | None
    then: Then
    shape: Shape
    decode: Decode


_breaks: dict[int, Break] = {}
_handles = count(1)
_ready = False
_told: set[str] = set()


def check(when: str | None, then: Then | None) -> None:
    """Raises ConditionError (a ValueError): a condition that can't be read, or an unknown action; TypeError."""
    if when is not None:
        from ..conditions import check as read

        read(when)
    if then is not None and not callable(then) and then not in ACTIONS:
        raise ConditionError(
            f"then={then!r}: there is no such action; it is one of {', '.join(map(repr, ACTIONS))}, or a function "
            "that is called with what was written"
        )


def arm(
    identifiers: Iterable[int], when: str | None, then: Then | None, shape: Shape, decode: Decode | None = None
) -> int:
    """Has each event of variables judged; returns a handle for :func:`disarm`. ``when`` None: whether the value has
    changed. ``then`` None: ``"break"``. Raises ConditionError, CoreError; nothing is armed then."""
    handle, program = _new(when, then, shape, decode)
    try:
        for number in identifiers:
            proxy.set_condition(number, program, shape.unit, handle)
    except BaseException:
        del _breaks[handle]
        raise
    return handle


def arm_places(owner: object, when: str | None, then: Then | None, shape: Shape, *key: object) -> int:
    """The same of an object that is watched in place; with a key, of this place of it."""
    handle, program = _new(when, then, shape, decode_cell)
    try:
        proxy.judge_places(owner, program, handle, *key)
    except BaseException:
        del _breaks[handle]
        raise
    return handle


def disarm(handle: int, identifiers: Iterable[int] = (), owner: object = None, *key: object) -> None:
    """Ends what :func:`arm`, of these variables, or :func:`arm_places` has begun. Idempotent."""
    if _breaks.pop(handle, None) is None:
        return
    for number in identifiers:
        proxy.drop_condition(number, handle)
    if owner is not None:
        proxy.judge_places(owner, None, handle, *key)


def _new(when: str | None, then: Then | None, shape: Shape, decode: Decode | None) -> tuple[int, bytes]:
    from ..conditions import compile_condition

    check(when, then)
    program = compile_condition("changed" if when is None else when, shape)
    _prepare()
    handle = next(_handles)
    _breaks[handle] = Break(handle, shape.variable, when, "break" if then is None else then, shape, decode or _unknown)
    return handle, program


def _unknown(data: bytes) -> object:
    return data


def _prepare() -> None:
    global _ready
    if not _ready:
        proxy.react_by(_react)
        os.register_at_fork(after_in_child=proxy.hits_forked)
        _ready = True


# ---- of a call of watch() --------------------------------------------------------------------------------------------


class Asked:
    """What a call of ``watch()`` wants; checked before anything is watched."""

    __slots__ = ("any", "then", "when")

    def __init__(self, when: str | None, then: Then | None) -> None:
        self.any = when is not None or then is not None
        self.when, self.then = when, then
        if self.any:
            check(when, then)

    def arm(self, settings: WatchSection, variable: str, begin: Callable[[str | None, Then | None], object]) -> None:
        """Has a variable judged by what was asked for, and by what the configuration has for all."""
        if self.any:
            begin(self.when, self.then)
        if settings.when:
            arm_chosen(settings.when, variable, lambda when: begin(when, settings.then))


def begin(
    asked: Asked, settings: WatchSection, watched: object, serializer: Serializer, layout: Layout, info: Any
) -> None:
    """Of a proxy. If it can't be judged, its watch ends with the error."""
    from ..conditions import Shape
    from .shapes import of_value

    shape: Shape = of_value(info.name, serializer, layout, secret=bool(info.flags & core.SECRET))
    number = proxy.get_info(watched)[0]
    options = layout.options

    def decode(data: bytes) -> object:
        return serializer.decode(data, options)

    try:
        asked.arm(settings, info.name, lambda when, then: arm([number], when, then, shape, decode))
    except BaseException:
        proxy.end(watched)
        raise


def begin_places(asked: Asked, settings: WatchSection, info: Any, owner: object, *key: object) -> None:
    """Of an object that is watched in place, or one place of it."""
    if not asked.any and not settings.when:
        return
    from .shapes import of_places

    shape = of_places(info.name, secret=bool(info.flags & core.SECRET))
    try:
        asked.arm(settings, info.name, lambda when, then: arm_places(owner, when, then, shape, *key))
    except BaseException:
        proxy.close_places(owner, *key)
        raise


# ---- for all variables: --when, [watch] when -------------------------------------------------------------------------


def chosen(conditions: Iterable[str], variable: str) -> list[str]:
    """Of conditions for all variables, or, as ``order.*: new < 0``, for some: those for this one."""
    found = []
    for text in conditions:
        name, condition = parted(text)
        if name is None or fnmatchcase(variable, name.replace("[", "[[]")):
            found.append(condition)
    return found


def parted(text: str) -> tuple[str | None, str]:
    """``total: new < 0`` as name and condition; without a name, None."""
    match = _PREFIX.fullmatch(text.strip())
    return (match[1], match[2]) if match else (None, text)


def arm_chosen(conditions: Iterable[str], variable: str, begin: Callable[[str], object]) -> None:
    """Arms those for a variable. One that doesn't fit it isn't judged of it, which is said."""
    for condition in chosen(conditions, variable):
        try:
            begin(condition)
        except ConditionError as error:
            why = error.lines[-1].strip(" ^")
            if (line := f"when={condition!r} isn't judged of {variable}: {why}") not in _told:
                _told.add(line)
                say(line)


# ---- when one is met -------------------------------------------------------------------------------------------------


def _react(hits: list[proxy.Hit]) -> list[BaseException | Callable[[], object]]:
    """What the thread has to do, in this order. C calls each of them, so that what is called finds the program's frame
    as its caller."""
    frame = sys._getframe(0).f_back  # the program's: C has called us
    todo: list[tuple[int, BaseException | Callable[[], object]]] = []
    for raw in hits:
        which = _breaks.get(raw[0])
        if which is None:
            continue
        if raw[4]:
            _say_unknown(which)
            continue
        kind = which.then if isinstance(which.then, str) else "call"
        todo.append((_FIRST[kind], _action(which, met(raw, which), frame)))
    stops = [one for one in todo if one[0] == _FIRST["break"]]
    todo = [one for one in todo if one not in stops[1:]]  # a thread stops once
    return [action for _, action in sorted(todo, key=lambda one: one[0])]


def _say_unknown(which: Break) -> None:
    say(
        f"when={which.when!r} can't be judged of {which.variable}: at this event, what it compares isn't known or of "
        "different kinds. That counts as not met, and isn't said again (docs/breaks.md)"
    )


def _action(which: Break, hit: Hit, frame: FrameType | None) -> BaseException | Callable[[], object]:
    then = which.then
    line = sentence(hit, which.when, frame)
    if callable(then):
        return lambda: then(hit)
    if then == "raise":
        return MutationError(f"{line}; it has been written", hit)
    if then == "dump":
        from .stopping import dump

        return lambda: dump(line)
    from .stopping import stopper

    return stopper(line)
