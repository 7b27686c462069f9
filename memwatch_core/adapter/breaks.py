"""``watch(x, when="new < 0", then="break")``: what is done at once when a watched value is written to.

A condition is judged by the core, at every event of its variable. When one is met, the thread that wrote calls
:func:`_react`, as soon as code of the program's may run in it: after an announced write at once, otherwise before its
next instruction. A callable, ``breakpoint()`` and exceptions then come from the line of the program's that runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable
from fnmatch import fnmatchcase
from functools import partial
from itertools import count
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..errors import ConditionError, MutationError, WatchError
from ..native import proxy
from ..printed import say
from ..records import Hit
from . import process
from .met import Decode, decode_cell, met, sentence
from .names import quoted

if TYPE_CHECKING:
    from ..conditions import Shape

Then = Literal["break", "raise", "dump"] | Callable[[Hit], object]
ACTIONS = ("break", "raise", "dump")
_ORDER = {"dump": 0, "call": 1, "break": 2, "raise": 3}
"""In which actions are done, of what one thread has met."""


class Break(NamedTuple):
    """One condition of one variable."""

    variable_id: int
    """0: names of a function, whose conditions end with their watch."""
    variable: str
    when: str | None
    then: Then
    decode: Decode


_breaks: dict[int, Break] = {}
_handles = count(1)
_ready = False
_told: set[str] = set()


def check(when: str | None, then: Then | None) -> frozenset[str]:
    """The names that a condition uses. Raises ConditionError (a ValueError): it can't be read, or there is no such
    action; TypeError."""
    used: frozenset[str] = frozenset()
    if when is not None:
        from ..condition_text import names, read

        used = names(read(when))
    if then is not None and not callable(then) and then not in ACTIONS:
        raise ConditionError(
            f"then={then!r}: there is no such action; it is one of {', '.join(map(repr, ACTIONS))}, or a function "
            "that is called with what was written"
        )
    return used


def arm(
    watched: object, when: str | None = None, then: Then | None = None, names: Collection[str] | None = None
) -> int:
    """Has each event of a variable judged, at once; returns a handle for :func:`disarm`. Thread-safe.

    ``watched``: what ``watch()`` returned, an object that is watched in place, the variable id of one or of a place, or
    a function whose names are watched, as ``open_function()`` has made it.
    ``when``: None for ``"changed"``. ``then``: None for ``"break"``. ``names``: of a
    function, only these.

    Raises ConditionError: not a condition, or not of this variable; WatchError: it isn't watched; CoreError.
    """
    used = check(when, then)
    number, name, shape, decode = _variable(watched)
    if "statement" in used and not shape.sql:
        raise ConditionError(
            f"'{name}' is watched without SQL, so statement is never known: track_sql=True, --track-sql"
        )
    if "statement" in used:
        proxy.ask_statements()
    from ..conditions import compile_condition

    text = "changed" if when is None else when
    program = compile_condition(text, shape)
    if names is not None:
        paths = " or ".join(f"path == {quoted(f'{name}.{one}')}" for one in sorted(names))
        program = compile_condition(f"({paths}) and ({text})", shape)
    prepare()
    handle = next(_handles)
    _breaks[handle] = Break(number, name, when, "break" if then is None else then, decode)
    try:
        if isinstance(watched, proxy.Function):
            proxy.judge_function(watched, program, handle)
        elif not proxy.judge_places(number, program, handle):
            proxy.set_condition(number, program, shape.unit, handle)
    except BaseException:
        del _breaks[handle]
        raise
    return handle


def disarm(handle: int) -> None:
    """Ends what :func:`arm` has begun. Idempotent; a watch that has ended has ended its conditions."""
    gone = _breaks.pop(handle, None)
    if gone is not None and gone.variable_id and not proxy.judge_places(gone.variable_id, None, handle):
        proxy.drop_condition(gone.variable_id, handle)


def _variable(watched: object) -> tuple[int, str, Shape, Decode]:
    from .shapes import of_locals, of_places, of_value

    if proxy.is_proxy(watched):
        number, _, _, info = proxy.get_info(watched)
        if not number:
            raise WatchError(f"the watch of '{info.name}' has ended")
        return number, info.name, *of_value(info)
    if isinstance(watched, proxy.Function):
        info = proxy.find_function(watched)[2]
        return 0, info.name, of_locals(info), decode_cell
    if type(watched) is int:
        number, info = watched, proxy.info_of_places(watched)
    else:
        found = proxy.find_places(watched)
        number, info = (found[0], found[2]) if found is not None else (0, None)
    if info is None:
        raise WatchError("this isn't watched: only what watch() and watch_place() have begun to watch can be judged")
    return number, info.name, of_places(info), decode_cell


def prepare() -> None:
    """Raises RuntimeError: other tools have taken what is needed to act at the next instruction."""
    global _ready
    if not _ready:
        proxy.react_by(_react)
        os.register_at_fork(after_in_child=proxy.hits_forked)
        process.at_close(_forget)
        _ready = True


def _forget() -> None:
    """The variables of a journal that was closed have ended: what their actions hold is let go of."""
    for handle, one in [*_breaks.items()]:
        if one.variable_id:
            _breaks.pop(handle, None)


# ---- of a call of watch() --------------------------------------------------------------------------------------------


class Asked(NamedTuple):
    """What a call of ``watch()`` asks for."""

    when: str | None
    then: Then | None
    sql: bool | None = None
    """Whether the condition asks for the statement in force: True or None."""

    def begin(self, watched: object, end: Callable[[], object]) -> None:
        """Arms it. Where that is refused, ``end`` ends the watch."""
        if self.when is None and self.then is None:
            return
        try:
            arm(watched, self.when, self.then)
        except BaseException:
            end()
            raise


def asked(when: str | None, then: Then | None) -> Asked:
    """Before anything is watched. Raises as :func:`check`."""
    used = check(when, then) if when is not None or then is not None else frozenset()
    return Asked(when, then, True if "statement" in used else None)


# ---- for all variables: --when, [watch] when -------------------------------------------------------------------------


def by_configuration(watched: object, info: Any) -> None:
    """Has a variable judged by the conditions that the configuration has for all, or for it. One that doesn't fit isn't
    judged of it, which is said once."""
    journal = process.journal()
    if journal is None or not journal.config.watch.when:
        return
    settings = journal.config.watch
    for condition in chosen(settings.when, info.name):
        try:
            arm(watched, condition, settings.then)
        except ConditionError as error:
            line = f"when={condition!r} isn't judged of {info.name}: {error.why}"
            if line not in _told:
                _told.add(line)
                say(line)


def chosen(conditions: Iterable[str], variable: str) -> list[str]:
    """Of conditions for all variables, or, as ``order.*: new < 0``, for some: those for this one."""
    from ..condition_text import parted

    found = []
    for text in conditions:
        name, condition = parted(text)
        if name is None or fnmatchcase(variable, name.replace("[", "[[]")):
            found.append(condition)
    return found


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
        order = _ORDER[which.then if isinstance(which.then, str) else "call"]
        if order == _ORDER["break"] and any(one[0] == order for one in todo):
            continue  # a thread stops once
        todo.append((order, _action(which, met(raw, which.variable, which.when, which.decode), frame)))
    return [action for _, action in sorted(todo, key=lambda one: one[0])]


def _say_unknown(which: Break) -> None:
    say(
        f"when={which.when!r} can't be judged of {which.variable}: at this event, what it compares isn't known or of "
        "different kinds. That counts as not met, and isn't said again (docs/breaks.md)"
    )


def _action(which: Break, hit: Hit, frame: FrameType | None) -> BaseException | Callable[[], object]:
    then = which.then
    line = sentence(hit, frame)
    if callable(then):
        return partial(then, hit)
    if then == "raise":
        return MutationError(f"{line}; it has been written", hit)
    from . import stopping

    return partial(stopping.dump, line) if then == "dump" else stopping.stopper(line)
