"""``--track-locals``, and targets that are locals: the code of a module is exchanged when it is about to be executed.

What announces its locals is made of whatever code there is by then, so that it composes with what others have made of
the source: pytest's assertions, a type checker's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable
from types import CodeType
from typing import Any

from ..printed import say
from ..targets import Target, matches
from . import aimed, breaks, join, kept_code, locals
from .own_modules import OwnModules

_TAG = sys.implementation.cache_tag
"""Without one, the interpreter keeps no compiled files either."""


class OwnCode:
    """Which code announces its locals. :meth:`prepare` never raises, and runs nothing of the program's."""

    def __init__(self) -> None:
        self.own: OwnModules | None = None
        """Of these modules, all functions."""
        self.targets: list[Target] = []
        self.stops: set[str] = set()
        """Texts of the targets at which the program stops."""
        self.met: set[str] = set()
        """Texts of the targets whose function was there."""

    def prepare(self, code: CodeType, names: dict[str, Any]) -> CodeType:
        """The code to execute as a module's body instead of this one."""
        try:
            return self._prepared(code, names)
        except Exception as error:  # of a code that we don't understand
            said = f"{type(error).__name__}: {error}"
            say(f"{code.co_filename}: its locals are not watched: {said}")
            return code

    def _prepared(self, code: CodeType, names: dict[str, Any]) -> CodeType:
        name = names.get("__name__")
        if code.co_name != "<module>" or type(name) is not str:
            return code
        if not self.targets and self.own is not None and name != "__main__" and self.own.leaves_out(name):
            return code
        called = _names_of(names)
        targets = [one for one in self.targets if any(matches(one.module, name) for name in called)]
        if self.own is not None and self.own.has(called, names.get("__file__")):
            made = _whole(code, called[-1], names)
            self.met.update(one.text for one in targets if _local_names(code, one))
            return locals.bind(made, [asked for one in targets for asked in self.asked(one, called[-1])])
        for one in targets:
            wanted = _local_names(code, one)
            if wanted:
                self.met.add(one.text)
                path = ".".join(map(str, _path(one)))
                code = _with_function(code, path, called[-1], wanted, self.asked(one, called[-1], wanted))
        return code

    def asked(self, target: Target, module: str, names: Iterable[str] | None = None) -> tuple[locals.Asked, ...]:
        """What is done where these names of the target's function are bound, the target's own by default, unless the
        configuration has a condition for the function."""
        function = f"{module}:{'.'.join(map(str, _path(target)))}"
        if target.text not in self.stops or breaks.chosen(join.current().config.watch.when, f"{function}()"):
            return ()
        chosen = [target.local or ""] if names is None else names
        return (locals.Asked(breaks.Asked(None, "break"), frozenset(chosen), function),)


def _names_of(names: dict[str, Any]) -> tuple[str, ...]:
    name = str(names["__name__"])
    return (name, *aimed.main_names(names)) if name == "__main__" else (name,)


def _whole(code: CodeType, module: str, names: dict[str, Any]) -> CodeType:
    """All functions of a module. Kept, if it has a source file."""
    source = names.get("__file__")
    if type(source) is not str or source.endswith(".pyc") or not os.path.isfile(source) or not _TAG:
        return locals.instrument(code, module)
    kept = kept_code.Kept(code, source, module)
    made = kept.read()
    if made is None:
        made = locals.instrument(code, module)
        kept.write(made)
    return made


def _path(target: Target) -> tuple[object, ...]:
    return tuple(step.key for step in target.steps)


def _find(code: CodeType, path: tuple[object, ...]) -> CodeType | None:
    for name in path:
        inner = [one for one in code.co_consts if isinstance(one, CodeType) and one.co_name == name]
        if not inner:
            return None
        code = inner[-1]
    return code


def _local_names(code: CodeType, target: Target) -> frozenset[str]:
    """The locals of a target's function that it means."""
    found = _find(code, _path(target))
    if found is None or target.local is None:
        return frozenset()
    return frozenset(name for name in locals.names_in(found) if matches(target.local, name))


def _with_function(
    code: CodeType, path: str, module: str, names: Collection[str], asked: tuple[locals.Asked, ...]
) -> CodeType:
    """The code in which one function, by its qualified name, announces some of its locals."""
    inner = []
    for one in code.co_consts:
        if isinstance(one, CodeType):
            if one.co_qualname == path:
                one = locals.bind(locals.instrument(one, module, names), asked)
            elif path.startswith(f"{one.co_qualname}."):
                one = _with_function(one, path, module, names, asked)
        inner.append(one)
    return code.replace(co_consts=tuple(inner))
