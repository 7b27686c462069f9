"""``@watch_locals``: the names that a function binds, watched while it runs.

The function stays the same object; its code is replaced by one that announces each binding (:mod:`.bindings`). Its
names make one variable, ``orders:add_order()``, with a cell for each name. A function that never runs takes no memory
for it, and where no journal is open, an announcement does nothing.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Collection, Iterable, Iterator
from pathlib import PurePath
from types import CodeType, FunctionType, MethodType
from typing import Any, NamedTuple, TypeVar, overload

from ..errors import WatchError
from ..native import core, proxy
from . import bindings, breaks
from .breaks import Then
from .names import quoted
from .places import PlacesInfo

T = TypeVar("T")
_KINDS = {"fast": 0, "cell": 1, "name": 2, "global": 3}
_DOES = {"store": 0, "delete": 1, "add": 2, "sum": 3}


class _Watched:
    """A function whose locals are watched."""

    def __init__(
        self, before: CodeType, code: CodeType, names: frozenset[str] | None, asked: tuple[Asked, ...]
    ) -> None:
        self.before, self.code, self.names, self.asked = before, code, names, asked


_watched: weakref.WeakKeyDictionary[FunctionType, _Watched] = weakref.WeakKeyDictionary()


# ---- code ------------------------------------------------------------------------------------------------------------


def instrument(code: CodeType, module: str, names: Collection[str] | None = None) -> CodeType:
    """The code of a module, whose functions and classes announce what they bind; the module's own level doesn't.

    What it returns has placeholders: it can be marshalled and kept in a file, and must be given to :func:`bind` before
    it runs. ``module`` is what the names of its variables begin with. Runs nothing of the program's."""
    return bindings.instrument(code, module, names)


def bind(code: CodeType, asked: Iterable[Asked] = ()) -> CodeType:
    """Code that :func:`instrument` has returned, also in another process, ready to run."""
    return bindings.bind(code, _Maker(asked))


class Asked(NamedTuple):
    """What is to be done when a name is bound."""

    asked: breaks.Asked
    names: frozenset[str] | None = None
    """Only of these names."""
    function: str = ""
    """Only in this function, as its variable is called without ``()``, and in those inside; empty: in all."""

    def begin(self, function: proxy.Function) -> None:
        """Raises ConditionError, RuntimeError."""
        called = proxy.find_function(function)[2].name.removesuffix("()")
        if not self.function or called == self.function or called.startswith(f"{self.function}."):
            breaks.arm(function, self.asked.when, self.asked.then, self.names)


class _Maker:
    """What placeholders stand for, in this process."""

    def __init__(self, asked: Iterable[Asked]) -> None:
        self._asked = tuple(asked)
        self._module: Any = None
        self._name = ""

    def entry(self, entry: bindings.Entry, code: CodeType, number: int, /) -> proxy.Function:
        self._name = entry.name.partition(":")[0]
        kind = "locals" if entry.name.endswith("()") else "class body"
        site = code.co_filename, entry.line, code.co_name
        made = _open(entry.name, kind, site, entry.parameters, entry.shared, number)
        for one in self._asked:
            one.begin(made)
        return made

    def site(self, site: bindings.Site, entry: proxy.Function | None, own: bool, number: int, /) -> proxy.LocalSite:
        if entry is None:
            self._module = self._module or _open(self._name, "names bound by functions", None)
            entry = self._module
        kind, does = _KINDS[site.kind], _DOES[site.does]
        return proxy.local_site(entry, kind, does, site.slot, site.name, own, number, site.depth)


def _open(
    name: str,
    shown: str,
    site: tuple[str, int, str] | None,
    parameters: tuple[tuple[str, int, bool], ...] = (),
    shared: tuple[int, ...] = (),
    number: int = 0,
) -> proxy.Function:
    info = PlacesInfo(name, core.TRACK_LOCALS, site or ("", 0, ""))
    metadata = f'{{"name":{quoted(name)},"cells":{proxy.CELL},"shown":{quoted(shown)},"type":true,'
    if site is not None:
        file, line, function = site
        metadata += f'"site":{{"file":{quoted(file)},"line":{line},"function":{quoted(function)}}},'
    metadata += f'"thread_ident":{info.thread_ident},"thread":{quoted(info.thread)}'
    made = proxy.open_function(name, metadata.encode(), info.flags, info, parameters, shared, number)
    breaks.by_configuration(made, info)
    return made


# ---- functions -------------------------------------------------------------------------------------------------------


@overload
def watch_locals(function: T, /) -> T: ...
@overload
def watch_locals(*, names: Collection[str] | None = None, when: str | None = None, then: Then | None = None) -> Any: ...
def watch_locals(
    function: Any = None,
    /,
    *,
    names: Collection[str] | None = None,
    when: str | None = None,
    then: Then | None = None,
) -> Any:
    """Watches the names that a function binds: its parameters and whatever it assigns, deletes or imports.

    As a decorator, or called with a function: plain ones, generators, coroutines, methods, and what ``staticmethod``,
    ``classmethod`` and ``property`` make of them; of a class, all functions in it. ``names``: only these names. What is
    given is returned: the same object, of which only ``__code__`` is another one. Calls that run already aren't
    watched. A second call changes nothing, unless it has other ``names``.

    It opens no journal: what is bound while none is open isn't recorded.

    ``when`` is judged where a name is bound, and ``then`` is done there, as of ``watch()``: the name is bound by then.

    Raises ConditionError (a ValueError) for a condition or an action that isn't one; WatchError (a TypeError): there is
    no code in Python to watch; or it has no such name. Thread-safe.
    """
    if isinstance(names, str):
        raise TypeError(f"names is a list of names: names=[{names!r}]")
    if function is None:
        return functools.partial(watch_locals, names=names, when=when, then=then)
    chosen = None if names is None else frozenset(names)
    return _watch_given(function, chosen, _checked(when, then, chosen))


def _checked(when: str | None, then: Then | None, names: frozenset[str] | None) -> tuple[Asked, ...]:
    """Before any function is changed."""
    if when is None and then is None:
        return ()
    asked = breaks.asked(when, then)
    if when is not None:
        from ..conditions import Shape, compile_condition

        compile_condition(when, Shape("cells", "locals"))
    breaks.prepare()
    return (Asked(asked, names),)


def _watch_given(given: T, names: frozenset[str] | None, asked: tuple[Asked, ...] = ()) -> T:
    functions = list(_functions_of(given))
    if not functions:
        raise WatchError(_refusal(given))
    known = {name for function in functions for name in names_in(function.__code__)}
    if names is not None and names - known:
        missing = ", ".join(sorted(names - known))
        raise WatchError(f"{_called(given)} binds no {missing}; it binds {', '.join(sorted(known)) or 'nothing'}")
    for function in functions:
        _watch_function(function, names, asked)
    return given


def unwatch_locals(function: T) -> T:
    """Ends what :func:`watch_locals` of the same function or class has begun, and returns it. Calls that run already
    announce nothing more. Raises WatchError if it isn't watched."""
    watched = [one for one in _functions_of(function) if one in _watched]
    if not watched:
        raise WatchError(f"the locals of {_called(function)} aren't watched")
    for one in watched:
        _unwatch(one)
    return function


def watch(function: object, names: Collection[str], asked: tuple[Asked, ...] = ()) -> None:
    """As ``watch_locals(names=names)``, in addition to names of the same function that are watched already."""
    wanted = frozenset(names)
    for one in _functions_of(function):
        before = _watched.get(one)
        if before is not None and before.names is not None:
            wanted |= before.names
    _watch_given(function, wanted, asked)


def _watch_function(function: FunctionType, names: frozenset[str] | None, asked: tuple[Asked, ...]) -> None:
    before = _watched.get(function)
    if before is not None and function.__code__ is before.code:
        if before.names == names:
            before.asked += asked
            _begin(function.__code__, asked)
            return
        asked = (*before.asked, *asked)
        _unwatch(function)
    elif any(isinstance(one, proxy.Function) for one in function.__code__.co_consts):
        _begin(function.__code__, asked)
        return  # all of the module's functions are watched
    code = function.__code__
    made = bind(instrument(code, _module_of(function), names), asked)
    if made is not code:
        function.__code__ = made
        _watched[function] = _Watched(code, made, names, asked)


def _begin(code: CodeType, asked: tuple[Asked, ...]) -> None:
    """Of names that are watched already."""
    for function in _constants(code):
        if isinstance(function, proxy.Function):
            for one in asked:
                one.begin(function)


def judged_by_configuration() -> None:
    """A journal was opened: functions that were watched before are judged as its configuration says."""
    for one in [*_watched.values()]:
        for function in _constants(one.code):
            if isinstance(function, proxy.Function):
                breaks.by_configuration(function, proxy.find_function(function)[2])


def _unwatch(function: FunctionType) -> None:
    watched = _watched.pop(function)
    if function.__code__ is watched.code:
        function.__code__ = watched.before
    for one in _constants(watched.code):
        if isinstance(one, proxy.Function):
            proxy.end_function(one)


def _constants(code: CodeType) -> Iterator[Any]:
    for one in code.co_consts:
        yield one
        if isinstance(one, CodeType):
            yield from _constants(one)


def _functions_of(given: object) -> Iterator[FunctionType]:
    """The functions whose code is meant, without asking the object."""
    if isinstance(given, FunctionType):
        if not given.__code__.co_name.startswith("<"):
            yield given
    elif isinstance(given, staticmethod | classmethod | MethodType):
        yield from _functions_of(given.__func__)
    elif isinstance(given, property):
        for one in (given.fget, given.fset, given.fdel):
            yield from _functions_of(one)
    elif isinstance(given, functools.cached_property):
        yield from _functions_of(given.func)
    elif isinstance(given, type):
        begin = f"{given.__qualname__}."
        for value in tuple(type.__getattribute__(given, "__dict__").values()):
            if isinstance(value, type):
                if value.__qualname__.startswith(begin) and value is not given:
                    yield from _functions_of(value)
            else:
                # what a decorator has generated is called otherwise, and what others have put there
                yield from (one for one in _functions_of(value) if one.__code__.co_qualname.startswith(begin))


def names_in(code: CodeType) -> set[str]:
    """The names that a function may bind, and that those in it may."""
    own = {name for name in (*code.co_varnames, *code.co_cellvars, *code.co_freevars) if not name.startswith(".")}
    own |= set(code.co_names)
    return own.union(*(names_in(one) for one in code.co_consts if isinstance(one, CodeType)))


def _called(given: object) -> str:
    name = getattr(given, "__qualname__", None)
    return f"{name}()" if isinstance(given, FunctionType) else str(name or type(given).__name__)


def _refusal(given: object) -> str:
    kind = type(given)
    if isinstance(given, FunctionType):
        return "a lambda binds nothing but its parameters: its locals aren't watched"
    if isinstance(given, type):
        return f"class {given.__qualname__} has no functions written in Python in its body"
    wrapped = getattr(given, "__wrapped__", None)
    if isinstance(wrapped, FunctionType):
        return f"a {kind.__module__}.{kind.__qualname__} runs no code in Python: put @watch_locals below it"
    return (
        f"locals of a {kind.__module__}.{kind.__qualname__} can't be watched: only those of functions, methods and "
        "classes that are written in Python"
    )


def _module_of(function: FunctionType) -> str:
    module = function.__module__ or "?"
    if module != "__main__":
        return module
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return PurePath(file).stem if isinstance(file, str) else module


def find(given: object) -> tuple[int, int, PlacesInfo] | None:
    """Variable id (0: nothing was recorded yet), size and info of a function whose locals are watched; None: they
    aren't."""
    function = next(_functions_of(given), None)
    if function is None:
        return None
    entry = next((one for one in function.__code__.co_consts if isinstance(one, proxy.Function)), None)
    return None if entry is None else proxy.find_function(entry)
