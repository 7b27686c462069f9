"""Targets: from their text to the places that they name, in the modules that are imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from types import ModuleType
from typing import Any, NamedTuple

from memwatch_core.errors import ConfigError, MemWatchError
from memwatch_core.running.recording import IMPORT_NAMES, MISSING, Place, value_at, why_no_places
from memwatch_core.targets import Step, Target, is_pattern, matches
from memwatch_core.targets import parse as parse_target

from .guards import Guard, Within
from .run import Run


class Named(NamedTuple):
    """One place that a target names. ``within``: the part of it that is meant, if not all is."""

    name: str
    place: Place
    within: Within | None = None


def parse(text: object) -> Target:
    """Raises ConfigError: it is no target of this plugin's; it says why."""
    if not isinstance(text, str):
        raise ConfigError(f'a target is a text such as "orders:config", not a {type(text).__name__}')
    target = parse_target(text)
    if target.local is not None:
        raise ConfigError(f"{text}: a local variable is gone when its test has ended: name a global")
    return target


class Aim:
    """A target, and the guards of what it names."""

    def __init__(self, text: str) -> None:
        self.target = parse(text)
        self.guards: list[Guard] = []
        self.refused = ""
        """Why what it names isn't watched."""
        self.anew = ""
        """A module of it that was imported a second time."""
        self._known: dict[str, object] = {}
        """The modules that were taken."""
        self._by_module: dict[str, list[Guard]] = {}
        self._loaded = -1

    def take(self, run: Run) -> list[Guard]:
        """Its guards; watches what has come since the last call."""
        for name in self._modules():
            module = sys.modules.get(name)
            if module is None or (module is self._known.get(name) and self._by_module[name]):
                continue
            if self._known.setdefault(name, module) is not module:
                self.anew = name
            self._known[name] = module
            for guard in self._by_module.pop(name, ()):
                run.release(guard)
            self._by_module[name] = [*self._open(run, name, module)]
            self.guards = [guard for guards in self._by_module.values() for guard in guards]
        return self.guards

    def _modules(self) -> list[str]:
        """Names of its modules."""
        if not is_pattern(self.target.module):
            return [self.target.module]
        if self._loaded == len(sys.modules):
            return [*self._known]
        self._loaded = len(sys.modules)
        return [name for name in [*sys.modules] if matches(self.target.module, name)]

    def _open(self, run: Run, name: str, module: object) -> Iterator[Guard]:
        if not isinstance(module, ModuleType):
            self.refused = f"{name} in sys.modules is a {type(module).__name__}, and no module"
            return
        for named in places(self.target, name, module, run.depth):
            try:
                yield run.guard(*named)
            except (MemWatchError, TypeError) as error:
                self.refused = str(error)

    def doubt(self) -> str:
        """What is to be said of it at the end; empty: nothing."""
        text = self.target.text
        if self.anew:
            return f"{text}: {self.anew} was imported anew, and watched again from there on"
        if self.refused and not self.guards:
            return f"{text} was not watched: {self.refused}"
        if not self._known:
            return f"{text}: {self.target.module} was not imported{_meant(self.target.module, sys.modules)}"
        if not any(guard.seen for guard in self.guards):
            modules = [vars(module) for module in self._known.values() if isinstance(module, ModuleType)]
            first = str(self.target.steps[0].key) if self.target.steps else ""
            near = "" if any(first in names for names in modules) else _meant(first, modules[0], self.target.module)
            return f"{text}: there was nothing of this name{near}"
        return ""


def places(target: Target, name: str, module: ModuleType, depth: int) -> Iterator[Named]:
    """What a target names in a module of this name. A class is looked at as a whole, beside the place where it lies.

    What lies below a name of a module or a class is a part of what that name has: it may be given another value.
    """
    pattern = str(target.steps[-1].key) if target.is_pattern else "*"
    steps = target.steps[:-1] if target.is_pattern else target.steps
    owner: Any = module
    value: Any = module
    root = 0
    for number, step in enumerate(steps, 1):
        value = _below(value, step.key)
        if isinstance(value, type | ModuleType) and (number < len(steps) or target.is_pattern):
            owner, root = value, number
    called = f"{name}:{_path(steps[:root])}" if root else name
    if root == len(steps):
        within = Within("", pattern) if pattern != "*" else None
        yield Named(called, Place(owner, depth=depth, skip=IMPORT_NAMES), within)
        return
    first, below = steps[root], steps[root + 1 :]
    within = Within("".join(step.text for step in below), pattern) if below or target.is_pattern else None
    yield Named(f"{name}:{_path(steps[: root + 1])}", Place(owner, first.key, depth + len(below)), within)
    if isinstance(value, type) and why_no_places(value) is None:
        yield Named(f"{name}:{_path(steps)}", Place(value, depth=depth, skip=IMPORT_NAMES))


def _path(steps: tuple[Step, ...]) -> str:
    return "".join(step.text for step in steps).removeprefix(".")


def _below(owner: Any, key: Any) -> Any:
    if issubclass(type(owner), list) and isinstance(key, int):
        return list.__getitem__(owner, key) if -len(owner) <= key < len(owner) else MISSING
    found = value_at(owner, key)
    if found is MISSING and not isinstance(owner, type | ModuleType | dict):
        return value_at(type(owner), key)
    return found


def _meant(wanted: str, known: Mapping[str, Any], module: str = "") -> str:
    near = get_close_matches(wanted, [name for name in known if isinstance(name, str)], 1)
    return f"; did you mean {f'{module}:' if module else ''}{near[0]}?" if near else ""
