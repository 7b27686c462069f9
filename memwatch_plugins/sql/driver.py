"""The base of every SQL driver: installs and restores completely, and keeps errors from the program."""

from __future__ import annotations

import importlib.util
import inspect
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache, partial
from types import ModuleType
from typing import Any, ClassVar, Literal, final

from memwatch_core.errors import PluginError
from memwatch_core.hookspecs import hookimpl
from memwatch_core.native.tracing import raise_unless_ours
from memwatch_core.records import SqlDriver, SqlTracer

from .around import Shell, Trace, traced
from .plain import is_a, own_member
from .targets import Declared, declared, module_of, place, same

Wrapper = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
"""``wrapper(call, instance, args, kwargs)``, wrapt's signature."""
Outcome = Literal["committed", "rolled back", "closed"]

_ABSENT: Any = object()
_log = logging.getLogger("memwatch.sql")


_NOT_OVER_ONCE_CALLED = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)


class SqlDriverBase:
    """Base of SQL drivers. A subclass names itself and declares what it traces (``targets.py``); an object of it is the
    plugin that the entry point names.

    ``install`` and ``uninstall`` are thread-safe and may be called repeatedly. Connections made in between continue to
    work afterwards, untraced.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    target: ClassVar[str]
    """The module to trace. It is looked up but never imported: tracing begins when the program imports it."""
    dialect: ClassVar[str] = ""
    """``"sqlite"``, ``"postgresql"``, ``"mysql"``: how literals are quoted; ``""``: unknown, masked most cautiously."""

    def __init__(self) -> None:
        self.tracer: SqlTracer | None = None
        self.troubles = 0
        self._lock = threading.RLock()
        self._undo: list[Callable[[], None]] = []
        self._told: set[str] = set()

    @hookimpl
    def memwatch_sql(self) -> Iterator[SqlDriver]:
        """The plugin's hook."""
        yield self.record

    @property
    def record(self) -> SqlDriver:
        """The record that the hook yields."""
        return SqlDriver(self.name, self.summary, self.target, self.install, self.uninstall)

    @property
    def publish(self) -> SqlTracer:
        """The tracer to publish to; a dummy while there is none."""
        tracer = self.tracer
        return _NOBODY if tracer is None else tracer

    def patch(self) -> None:
        """Called once the target was imported: traces what the driver declares, each target when its module is
        imported.

        If it raises, whatever it replaced is restored.
        """
        modules: dict[str, list[Declared]] = {}
        for each in declared(type(self)):
            if each.kind == "replaces":
                modules.setdefault(module_of(each.names[0]), []).append(each)
            elif each.kind == "traces":
                for target in each.names:
                    modules.setdefault(module_of(target), []).append(each._replace(names=(target,)))
        for module, ours in modules.items():
            self.when_imported(module, partial(self._trace, ours))

    # ---- install, uninstall -----------------------------------------------------------------------------------------

    @final
    def install(self, tracer: SqlTracer) -> None:
        """Publishes to ``tracer`` from now on. Raises PluginError if the target library doesn't exist, and whatever
        ``patch`` raises if the target was already imported."""
        with self._lock:
            if self.tracer is None:
                if not _is_there(self.target):
                    raise PluginError(f"SQL driver {self.name!r}: there is no module {self.target!r}; install it first")
                self.tracer = tracer
                try:
                    self.when_imported(self.target, self.patch)
                except BaseException:
                    self.uninstall()
                    raise
            self.tracer = tracer

    @final
    def uninstall(self) -> None:
        """Restores everything."""
        with self._lock:
            self.tracer = None
            while self._undo:
                self._undo.pop()()

    def when_imported(self, module: str, patch: Callable[[], None]) -> None:
        """Calls ``patch`` now if the module was imported, otherwise when it is, unless uninstalled before.

        Errors in a later call are contained.
        """
        if module in sys.modules:
            patch()
            return
        waiting = True

        def forget() -> None:
            nonlocal waiting
            waiting = False

        def imported(_: Any) -> None:
            with self._lock:
                if not waiting or self.tracer is None:
                    return
                forget()
                kept = len(self._undo)
                try:
                    patch()
                except Exception as error:
                    while len(self._undo) > kept:
                        self._undo.pop()()
                    raise_unless_ours(error)
                    self.trouble(error)

        self._undo.append(forget)
        import wrapt

        wrapt.register_post_import_hook(imported, module)

    # ---- patching ---------------------------------------------------------------------------------------------------

    def _trace(self, ours: list[Declared]) -> None:
        traced: set[tuple[Any, str]] = set()  # several classes may share a method
        for each in ours:
            method = getattr(self, each.method)
            places = [found for found in map(place, each.names) if found is not None]
            if places and each.kind == "replaces":
                self.replace(method, *same(places))
            elif places and places[0] not in traced:
                traced.add(places[0])
                self.trace(*places[0], method)

    def trace(self, owner: Any, name: str, trace: Trace) -> None:
        """Traces a method of a class, or a function of a module, until uninstall."""
        if isinstance(owner, ModuleType):
            if any(is_kind(getattr(owner, name)) for is_kind in _NOT_OVER_ONCE_CALLED):
                raise PluginError(
                    f"SQL driver {self.name!r}: {name!r} isn't over when it returns: use replaces in place of traces"
                )
            run = Shell(self, trace).call_function
            self.replace(lambda call, instance, args, kwargs: run(call, args, kwargs), (owner, name))
        elif is_a(own_member(owner, name), staticmethod | classmethod):
            raise PluginError(
                f"SQL driver {self.name!r}: {name!r} is no method of objects: use replaces in place of traces"
            )
        else:
            self.put(owner, name, traced(self, owner, name, trace))

    def replace(self, wrapper: Wrapper, *places: tuple[Any, str]) -> None:
        """Wraps the callable that all these attributes, ``(module or class, name)``, refer to.

        Uninstall restores them. If somebody has wrapped our wrapper meanwhile, theirs stays, and ours just passes calls
        on.
        """
        owner, name = places[0]
        own = vars(owner).get(name)
        original = own if is_a(own, staticmethod | classmethod) else getattr(owner, name)
        ours = _replaced()(original, wrapper, enabled=lambda: self.tracer is not None)
        for owner, name in places:
            self.put(owner, name, ours)

    def put(self, owner: Any, name: str, ours: Any) -> None:
        """Sets an attribute of a module or class until uninstall, as :meth:`replace` does."""
        before = vars(owner).get(name, _ABSENT)
        setattr(owner, name, ours)
        self._undo.append(partial(_restore, owner, name, ours, before))

    def on_undo(self, call: Callable[[], None]) -> None:
        """Registers ``call`` for uninstall; calls are made in reverse order of registration."""
        self._undo.append(call)

    def listener(self, call: Callable[..., None]) -> Callable[..., None]:
        """``call`` as a callback for the library: does nothing once uninstalled, and its errors are contained."""

        def listen(*args: Any, **kwargs: Any) -> None:
            if self.tracer is not None:
                try:
                    call(*args, **kwargs)
                except Exception as error:
                    raise_unless_ours(error)
                    self.trouble(error)

        return listen

    # ---- containing -------------------------------------------------------------------------------------------------

    def trouble(self, error: Exception) -> None:
        """Counts an error of ours that the program must not see, and reports the first of each type."""
        self.troubles += 1  # without its message, which may hold the program's data
        self.tell(
            f"tracing failed ({type(error).__name__}); the program is unaffected, some events lack their statement"
        )

    def tell(self, text: str) -> None:
        """Logs a warning, once."""
        if text not in self._told:
            self._told.add(text)
            try:
                _log.warning("SQL driver %s: %s", self.name, text)
            except Exception as error:  # from the program's own logging handler
                raise_unless_ours(error)


class _Nobody:
    """A tracer that ignores everything."""

    def __getattr__(self, name: str) -> Any:
        return _nothing


def _nothing(*args: Any, **kwargs: Any) -> None: ...


_NOBODY: Any = _Nobody()


@cache
def _replaced() -> Any:
    """The class of replaced functions. Created on first use: a process that only lists drivers need not import wrapt,
    and with it asyncio."""
    import wrapt

    class _Replaced(wrapt.FunctionWrapper):  # type: ignore[type-arg]
        """Like functions, pickled by name and not copied."""

        def __reduce_ex__(self, protocol: object) -> str:
            return str(self.__wrapped__.__qualname__)

        def __copy__(self) -> _Replaced:
            return self

        def __deepcopy__(self, memo: object) -> _Replaced:
            return self

    return _Replaced


def _is_there(module: str) -> bool:
    try:
        return module in sys.modules or importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _restore(owner: Any, name: str, ours: Any, before: Any) -> None:
    if vars(owner).get(name) is not ours:
        return
    if before is _ABSENT:
        delattr(owner, name)
    else:
        setattr(owner, name, before)
