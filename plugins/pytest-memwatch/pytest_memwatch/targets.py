"""Targets: from their text to the places that they name, in the modules that are imported."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from types import ModuleType
from typing import Any, NamedTuple

from memwatch_core.errors import ConfigError, MemWatchError
from memwatch_core.running.recording import MISSING, Place, value_at, why_no_places

from .guards import Guard
from .run import Run

_NAME = r"[^\W\d]\w*"
_TARGET = re.compile(rf"({_NAME}(?:\.{_NAME})*)(?::({_NAME}))?")
_NOT_THE_PROGRAMS = frozenset({"__warningregistry__", "__annotations__", "__annotate__", "__annotate_func__"})


class Step(NamedTuple):
    """From an object to what lies below it."""

    kind: str
    key: object


class Parsed(NamedTuple):
    """What a target's text says."""

    text: str
    module: str
    steps: tuple[Step, ...]


def parse(text: object) -> Parsed:
    """Raises ConfigError: it is no target of this plugin's; it says why."""
    found = _TARGET.fullmatch(text) if isinstance(text, str) else None
    if found is None or not isinstance(text, str):
        raise ConfigError(f"{text!r} is no target; for instance: pkg.mod:STATE, os:environ, or pkg.mod for all of it")
    return Parsed(text, found[1], (Step("name", found[2]),) if found[2] else ())


class Aim:
    """A target, and the guards of what it names."""

    def __init__(self, text: str) -> None:
        self.target = parse(text)
        self.guards: list[Guard] = []
        self.refused = ""
        """Why what it names isn't watched."""
        self.anew = False
        """Whether a module of it was imported a second time."""
        self._module: object = None
        self._names = -1

    def take(self, run: Run) -> list[Guard]:
        """Its guards; watches what has come since the last call."""
        module = sys.modules.get(self.target.module)
        if module is not None and (module is not self._module or not self.guards):
            self.anew |= self._module is not None and module is not self._module
            self._module = module
            self._forget(run)
            self._open(run, module)
        return self.guards

    def _open(self, run: Run, module: object) -> None:
        if not isinstance(module, ModuleType):
            self.refused = f"{self.target.module} in sys.modules is a {type(module).__name__}, and no module"
            return
        for name, place in places(self.target, module, run.depth):
            try:
                self.guards.append(run.guard(name, place))
            except (MemWatchError, TypeError) as error:
                self.refused = str(error)

    def _forget(self, run: Run) -> None:
        for guard in self.guards:
            run.release(guard)
        self.guards = []

    def doubt(self) -> str:
        """What is to be said of it at the end; empty: nothing."""
        text = self.target.text
        if self.anew:
            return f"{text}: {self.target.module} was imported anew, and watched again from there on"
        if self.refused and not self.guards:
            return f"{text} was not watched: {self.refused}"
        if not self.guards and self._module is None:
            return f"{text}: {self.target.module} was not imported{_meant(self.target.module, sys.modules)}"
        if not any(guard.state for guard in self.guards):
            names = vars(self._module) if isinstance(self._module, ModuleType) else {}
            wanted = str(self.target.steps[0].key) if self.target.steps else ""
            return f"{text}: there was nothing of this name{_meant(wanted, names, f'{self.target.module}:')}"
        return ""


def places(target: Parsed, module: ModuleType, depth: int) -> Iterator[tuple[str, Place]]:
    """What a target names in a module: names and places. A class is looked at as a whole, beside the place where it
    lies."""
    if not target.steps:
        yield target.text, Place(module, depth=depth, skip=_dunders(module))
        return
    owner: Any = module
    for step in target.steps[:-1]:
        owner = value_at(owner, step.key)
        if owner is MISSING:
            return
    key = target.steps[-1].key
    yield target.text, Place(owner, key, depth)
    value = value_at(owner, key)
    if isinstance(value, type) and why_no_places(value) is None:
        yield target.text, Place(value, depth=depth, skip=_NOT_THE_PROGRAMS)


def _dunders(module: ModuleType) -> frozenset[str]:
    """Names that import and the interpreter give to a module."""
    return frozenset(name for name in vars(module) if name.startswith("__")) | _NOT_THE_PROGRAMS


def _meant(wanted: str, known: Any, before: str = "") -> str:
    near = get_close_matches(wanted, [name for name in known if isinstance(name, str)], 1)
    return f"; did you mean {before}{near[0]}?" if near else ""
