"""Watches places by their names, ``orders:config``, as soon as the module that they name is there.

:func:`aim` takes targets that the configuration or the command line names. The module's names are watched before its
body runs, so that each assignment in it is seen. What a target names needn't be there: it may come later.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import CoreError, WatchError
from ..native import proxy
from ..printed import say
from ..targets import Target as Target
from ..targets import is_pattern, matches
from ..targets import parse as parse
from ..turns import turn
from . import aimed, importing, join, process
from .all_vars import Tracked
from .names import type_name
from .own_modules import OwnModules

if TYPE_CHECKING:
    from .own_code import OwnCode  # imported when locals are asked for


class Taken(NamedTuple):
    """What a target has become in this process."""

    target: Target
    module: str
    """The module's name as the variable has it."""
    name: str
    """The variable's name."""
    variable_id: int


class Pending(NamedTuple):
    """A target that hasn't met what it names."""

    target: Target
    why: str
    """A sentence without its end."""
    nearest: str
    """A target that was probably meant; empty: none is near."""


class _Aim:
    __slots__ = ("concluded", "met", "refused", "stops", "target")

    def __init__(self, target: Target, stops: bool) -> None:
        self.target, self.stops = target, stops
        self.met: list[Taken] = []
        self.refused: list[str] = []
        self.concluded = False


_aims: list[_Aim] = []
_aimed_by: int | None = None
"""The process."""
_tracked: Tracked | None = None
_code: OwnCode | None = None
"""Made when locals are asked for."""


def aim(targets: Iterable[Target | str], *, stops: bool = False) -> None:
    """Takes each target as soon as a module of its name is there; now, if it is. ``stops``: each change of it stops the
    program in ``breakpoint()``, unless the configuration has a condition for it. Thread-safe.

    Raises ConfigError: no target; SessionError. What can't be watched is said on standard error.
    """
    global _aimed_by
    with turn():
        if _aimed_by != os.getpid():
            _aimed_by = os.getpid()
            atexit.register(conclude)
        for target in targets:
            one = _Aim(parse(target) if isinstance(target, str) else target, stops)
            _aims.append(one)
            if one.target.local is not None:
                _own_code().targets.append(one.target)
                if stops:
                    _own_code().stops.add(one.target.text)
            importing.listen(begins)
            for name, module in list(_modules(one.target.module)):
                _take(one, name, module)


def track_all(patterns: Iterable[str]) -> None:
    """Watches all variables of the program's own modules, which patterns of names may say; see ``OwnModules``.
    Thread-safe. Raises SessionError."""
    global _tracked
    with turn():
        _tracked = Tracked(OwnModules(patterns))
        importing.listen(begins)
        _tracked.there_already()


def track_locals(patterns: Iterable[str]) -> None:
    """Watches the locals of all functions of the program's own modules, as :func:`track_all` its variables; of those
    that are imported from now on. Thread-safe."""
    with turn():
        _own_code().own = OwnModules(patterns)


def prepare(code: CodeType, names: dict[str, Any]) -> CodeType:
    """What to execute as ``__main__`` in place of its code."""
    if _code is None:
        return code
    if _code.own is not None:
        _code.own.place_of_main(names.get("__file__"))
    return _code.prepare(code, names)


def _own_code() -> OwnCode:
    global _code
    if _code is None:
        from .own_code import OwnCode

        _code = OwnCode()
        importing.exchange_code(_code.prepare)
    return _code


def take(target: Target | str) -> tuple[Taken, ...]:
    """Watches what a target names now, in the modules that are imported. Thread-safe.

    Raises WatchError: no such module is imported, there is nothing of this name, or it can't be watched.
    """
    chosen = parse(target) if isinstance(target, str) else target
    with turn():
        found = [(name, module) for name, module in _modules(chosen.module)]
        if not found:
            raise WatchError(f"'{chosen.text}': no module {chosen.module} is imported{_near_module(chosen)}")
        return tuple(taken for name, module in found for taken in _open(chosen, name, module))


def forget() -> None:
    """Ends the aims, and says what they haven't met. What they have taken stays watched. Idempotent."""
    global _code, _tracked
    conclude()
    importing.leave(begins)
    importing.leave_code()
    _code = None
    _aims.clear()
    _tracked = None


def conclude() -> None:
    """Records what was never met, once. Does nothing in a process that was forked since, or without a journal."""
    if os.getpid() != _aimed_by or process.journal() is None:
        return
    with turn():
        missed = [(one, found) for one in _aims if not one.concluded and (found := _pending(one)) is not None]
        for one, found in missed:
            one.concluded = True
            ids = [] if _is_of_names(one.target) else [taken.variable_id for taken in one.met]
            ids = ids or [aimed.open_unmet(one.target, join.current())]
            near = found.nearest.encode("utf-8", "replace")
            for variable in ids:
                proxy.tell_unmet(variable, near)


def begins(name: str, module: object, spec: object = None) -> None:
    """A module is there, and its body hasn't run yet. ``name`` is the one that it is imported by."""
    for one in _aims:
        if is_pattern(one.target.module) and not _may_be_meant(name, module):
            continue
        if matches(one.target.module, name):
            _take(one, name, module)
    if _tracked is not None:
        _tracked.begins(name, module, spec)


def begins_as_main() -> None:
    """``__main__`` is about to run: the file or module that its names say."""
    main = sys.modules["__main__"]
    names = tuple(aimed.main_names(aimed.vars_of(main)))
    for one in _aims:
        if any(taken.module == "__main__" for taken in one.met):
            continue  # as it was before: its dict is the same
        for name in dict.fromkeys(("__main__", *names)):
            if matches(one.target.module, name):
                _take(one, name, main)
                break
    if _tracked is not None:
        _tracked.begins_as_main(names)


def pending() -> tuple[Pending, ...]:
    """The targets that haven't met what they name. Thread-safe."""
    with turn():
        return tuple(found for one in _aims if (found := _pending(one)) is not None)


def _take(one: _Aim, name: str, module: object) -> None:
    """Never raises: it is called in the midst of an import."""
    try:
        met = _open(one.target, name, module)
        if one.stops and one.target.local is None:
            _stop_at(taken for taken in met if taken.variable_id not in {each.variable_id for each in one.met})
        one.met += met
    except (WatchError, CoreError, TypeError) as error:
        text = str(error)
        if text not in one.refused:
            one.refused.append(text)
            say(f"{one.target.text} is not watched: {error}")


def _stop_at(taken: Iterable[Taken]) -> None:
    from . import breaks

    for each in taken:
        if not breaks.chosen(join.current().config.watch.when, each.name):
            breaks.arm(each.variable_id, None, "break")


def _modules(pattern: str) -> Iterator[tuple[str, object]]:
    """The imported modules of a name, each once; ``__main__`` also by the stem of its file."""
    seen = set()
    for name, module in [*sys.modules.items()]:
        if is_pattern(pattern) and not _may_be_meant(name, module):
            continue
        for each in _names(name, module):
            if matches(pattern, each) and id(module) not in seen:
                seen.add(id(module))
                yield each, module


def _may_be_meant(name: str, module: object) -> bool:
    """By a pattern: neither what is no module nor a module of ours is."""
    return aimed.is_module(module) and name.partition(".")[0] != "memwatch_core"


def _names(name: str, module: object) -> Iterator[str]:
    yield name
    if name == "__main__" and aimed.is_module(module):
        yield from aimed.main_names(aimed.vars_of(module))


def _open(target: Target, name: str, module: object) -> list[Taken]:
    if target.local is not None:
        return _open_local(target, name, module)
    if not aimed.is_module(module):
        raise WatchError(f"'{target.text}': {name} in sys.modules is no module but {type_name(module)}")
    journal = join.current()
    return [
        Taken(target, name, called, variable) for called, variable in aimed.open_target(target, name, module, journal)
    ]


def _open_local(target: Target, name: str, module: object) -> list[Taken]:
    """Of a function that is there; one that comes is met as the code that is about to be executed."""
    from . import locals

    function = aimed.find(target, module)
    wanted = frozenset(aimed.locals_of(function, target.local or ""))
    if function is None or not wanted:
        return []
    locals.watch(function, wanted, _own_code().asked(target, name, wanted))
    _own_code().met.add(target.text)
    return [Taken(target, name, f"{name}:{target.place}()", (locals.find(function) or (0,))[0])]


# ---- what wasn't met ------------------------------------------------------------------------------------------------


def _pending(one: _Aim) -> Pending | None:
    target = one.target
    found = [*_modules(target.module)]
    if not found:
        return Pending(target, f"no module {target.module} was imported", _near_module(target, bare=True))
    if one.target.local is not None:
        return _pending_local(one.target)
    if one.refused or (not _is_of_names(target) and any(proxy.has_held(taken.variable_id) for taken in one.met)):
        return None  # what can't be watched was said
    if not target.steps:
        return None
    misses = [aimed.missing(target, aimed.vars_of(module)) for _, module in found if aimed.is_module(module)]
    if not misses or any(miss is None for miss in misses):
        return None
    why, nearest = next(miss for miss in misses if miss is not None)
    return Pending(target, f"{found[0][0]} has {why}", f"{target.module}:{nearest}" if nearest else "")


def _pending_local(target: Target) -> Pending | None:
    if _code is not None and target.text in _code.met:
        return None
    return Pending(target, f"no function {target.place} with such a local was there", "")


def _is_of_names(target: Target) -> bool:
    """Whether its variable is one of all names that are watched of a module."""
    return not target.steps or (target.is_pattern and len(target.steps) == 1)


def _near_module(target: Target, *, bare: bool = False) -> str:
    if is_pattern(target.module):
        return ""
    known = [each for name, module in [*sys.modules.items()] for each in _names(name, module)]
    near = aimed.nearest(target.module, known)
    if not near:
        return ""
    meant = near + target.text[len(target.module) :]
    return meant if bare else f"; did you mean {meant}?"
