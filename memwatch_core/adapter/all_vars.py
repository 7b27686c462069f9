"""``watch_all()``, and all variables of the program's own modules: ``--track-all-vars``."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from ..errors import CoreError, WatchError
from ..native import core, proxy
from ..printed import say
from ..records import NAME_MAX
from . import aimed, breaks, join, places, process
from .breaks import Then
from .names import type_name
from .own_modules import OwnModules, file_of

_names_of_class: Any = vars(type)["__dict__"].__get__
_qualname_of: Any = vars(type)["__qualname__"].__get__
"""Read without asking the class's metaclass."""


def watch_all(
    owner: ModuleType | type,
    *,
    pattern: str = "*",
    skip: Iterable[str] = (),
    name: str | None = None,
    depth: int = places.DEPTH,
    max_objects: int = places.MAX_OBJECTS,
    track_threads: bool | None = None,
    track_sql: bool | None = None,
    secret: bool = False,
    when: str | None = None,
    then: Then | None = None,
) -> None:
    """Watches all variables of a module or a class, those that come later too; of a module, also those of the classes
    that it defines.

    ``pattern`` has ``*`` and ``?``: only names that it is of. ``skip`` are names to leave out, beside those that the
    interpreter itself writes (``__spec__``). That a function, a class or a module is bound to a new name isn't told;
    that it is replaced is. ``name`` is what events call the owner, by default its own name. ``depth`` levels below its
    variables are followed, and at most ``max_objects`` objects: see ``watch()``, also for the other options. It ends
    with ``unwatch(owner)``.

    Raises ConditionError (a ValueError) for a condition or an action that isn't one, WatchError (a TypeError) for
    another kind of owner, or what is watched already, ValueError for a senseless option, SessionError if the session is
    closed, CoreError if the core refuses. Thread-safe.
    """
    if not aimed.is_module(owner) and not issubclass(type(owner), type):
        raise WatchError(f"watch_all() takes a module or a class, not {type_name(owner)}: of an object, use watch()")
    if not isinstance(pattern, str) or not pattern:
        raise ValueError(f'pattern is text such as "*" or "MAX_*", not {pattern!r}')
    called = name if name is not None else _name_of(owner)
    if len(called) > NAME_MAX:
        raise ValueError(f"name={called[:20]!r}...: {len(called)} characters; a name has at most {NAME_MAX}")
    asked = breaks.asked(when, then)
    journal = join.current()
    settings = journal.config.watch
    flags = core.TRACK_THREADS if (settings.track_threads if track_threads is None else track_threads) else 0
    track_sql = asked.sql or track_sql
    if settings.track_sql if track_sql is None else track_sql:
        flags |= core.TRACK_SQL
        join.trace_sql()
    known = proxy.find_places(owner)
    if known is not None and not known[2].beside:
        raise WatchError(f"'{called}' is watched already, as '{known[2].name}'")
    if known is not None:
        asked.begin(known[0], lambda: None)
        return
    frame = sys._getframe(1)
    site = (frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_name)
    limits = places.limits(called, depth, max_objects)
    left_out = aimed.IMPORT_NAMES | (places.names_of(called, "skip", skip) or frozenset())
    flags |= core.SECRET if secret else 0
    number = open_all(owner, called, flags, site, journal, pattern, left_out, limits, beside=False)
    asked.begin(number, lambda: places.close_places(owner))


def open_all(
    owner: ModuleType | type,
    called: str,
    flags: int,
    site: tuple[str, int, str],
    journal: process.Journal,
    pattern: str = "*",
    skip: frozenset[str] = aimed.IMPORT_NAMES,
    limits: tuple[int, int] = (places.DEPTH, places.MAX_OBJECTS),
    *,
    beside: bool = True,
) -> int:
    """Opens such a watch. Returns the variable's id."""
    names = aimed.vars_of(owner) if aimed.is_module(owner) else _names_of_class(owner)
    module = names.get("__name__" if aimed.is_module(owner) else "__module__")
    choice = places.Choice(skip, pattern, module if type(module) is str else None, quiet=True)
    return places.open_names(owner, called, flags | core.TRACK_ALL_VARS, site, choice, journal.formats, limits, beside)[
        1
    ]


def _name_of(owner: ModuleType | type) -> str:
    if aimed.is_module(owner):
        names = aimed.vars_of(owner)
        name = names.get("__name__")
        if name == "__main__":
            name = next(aimed.main_names(names), name)
        return name if type(name) is str else "module"
    return str(_qualname_of(owner))


class Tracked:
    """Watches all variables of the program's own modules, each from before its body runs."""

    def __init__(self, own: OwnModules) -> None:
        self._own = own

    def begins(self, name: str, module: object, spec: object = None) -> None:
        """A module is there. Never raises."""
        if self._own.leaves_out(name):
            return
        if aimed.is_module(module) and self._own.has((name,), file_of(aimed.vars_of(module), spec)):
            self._open(name, module)

    def begins_as_main(self, names: tuple[str, ...]) -> None:
        """``__main__`` is about to run, as the file or module of these names."""
        main = sys.modules["__main__"]
        file = aimed.vars_of(main).get("__file__")
        self._own.place_of_main(file)
        if self._own.has(("__main__", *names), file):
            self._open(names[0] if names else "__main__", main)

    def there_already(self) -> None:
        """Those that were imported before."""
        for name, module in [*sys.modules.items()]:
            if name != "__main__":
                self.begins(name, module)
            elif aimed.is_module(module) and (names := tuple(aimed.main_names(aimed.vars_of(module)))):
                self.begins_as_main(names)

    def _open(self, name: str, module: ModuleType) -> None:
        try:
            journal = join.current()
            flags = aimed.flags_of(journal)
            open_all(module, name[:NAME_MAX], flags, aimed.site_of(module), journal)
        except (WatchError, CoreError, TypeError) as error:
            say(f"{name}: its variables are not watched: {error}")
