"""The import hook: tells of each module when it is there and its body hasn't run yet.

``importlib._bootstrap`` gives every module that it makes its ``__spec__`` and its other names by one function of its
own. While somebody listens, ours stands in its place: it calls the interpreter's, then the listeners. It is on the
stack for as long as that takes, never while a module's body runs; so tracebacks, ``sys.meta_path``, ``__spec__`` and
``__loader__`` are what they are without us, whatever the loader is.

Not told: modules that a program makes by itself (``types.ModuleType``, ``runpy.run_path``), and those of loaders
without ``exec_module``, until they are asked for again.
"""

from __future__ import annotations

import importlib._bootstrap as bootstrap
import sys
from collections.abc import Callable
from types import CodeType, FunctionType, ModuleType
from typing import Any

from ..errors import SessionError
from ..native import proxy
from ..turns import turn

Exchange = Callable[[CodeType, dict[str, Any]], CodeType]
"""``exchange(code, names)``: what to execute as the body of a module that has these names, in place of its code; in the
importing thread. It must not raise, nor run code of the program's."""
Listener = Callable[[str, ModuleType, Any], None]
"""``listener(name, module, spec)``, in the importing thread. It must not raise, nor run code of the program's."""

_STEP = "_init_module_attrs"
_CALL = "_call_with_frames_removed"
_PYTEST = "_pytest.assertion.rewrite"
"""Executes tests by itself: its own ``exec`` is ours meanwhile."""
_listeners: tuple[Listener, ...] = ()
_leads = False
_plain: Any = None
"""importlib's own, also when ours has left its place: a thread that imports may still be in ours."""


def listen(listener: Listener) -> None:
    """Tells a listener of every module from now on. Idempotent. Raises SessionError if this interpreter imports in
    another way."""
    global _listeners
    with turn():
        if listener not in _listeners:
            _install()
            _listeners = (*_listeners, listener)


def leave(listener: Listener) -> None:
    """Undoes :func:`listen`. When nobody listens any more, importlib is as it was."""
    global _listeners, _leads
    with turn():
        _listeners = tuple(one for one in _listeners if one != listener)
        if not _listeners and _leads and vars(bootstrap).get(_STEP) is _step:
            setattr(bootstrap, _STEP, _plain)
            _leads = False


def _install() -> None:
    global _leads, _plain
    if _leads:
        return
    plain = vars(bootstrap).get(_STEP)
    if not isinstance(plain, FunctionType):
        version = ".".join(map(str, sys.version_info[:3]))
        raise SessionError(f"modules can't be watched from their beginning: Python {version} makes them in another way")
    _plain, _leads = plain, True
    setattr(bootstrap, _STEP, _step)


def _init_module_attrs(spec: Any, module: Any, *, override: bool = False) -> Any:
    result = _plain(spec, module, override=override)
    if not override:  # otherwise it is executed anew, and known
        for listener in _listeners:
            listener(spec.name, module, spec)
    return result


def exchange_code(exchange: Exchange) -> None:
    """Executes other code as the bodies of modules from now on."""
    global _executor, _plain_call
    with turn():
        if _plain_call is None:
            _plain_call = vars(bootstrap)[_CALL]
            setattr(bootstrap, _CALL, _call)
        _executor = proxy.executor(exchange)
        listen(_lead_pytest)
        if _PYTEST in sys.modules:
            _lead_pytest(_PYTEST, sys.modules[_PYTEST], None)


def leave_code() -> None:
    """Undoes :func:`exchange_code`. Idempotent."""
    global _executor, _plain_call
    with turn():
        if _plain_call is None:
            return
        leave(_lead_pytest)
        if vars(bootstrap).get(_CALL) is _call:
            setattr(bootstrap, _CALL, _plain_call)
        names = vars(sys.modules[_PYTEST]) if _PYTEST in sys.modules else {}
        if names.get("exec") is _executor:
            del names["exec"]
        _executor = _plain_call = None


def _lead_pytest(name: str, module: ModuleType, spec: Any) -> None:
    if name == _PYTEST:
        vars(module)["exec"] = _executor


def _call_with_frames_removed(f: Any, *args: Any, **kwds: Any) -> Any:
    executor = _executor
    if f is exec and executor is not None:
        f = executor
    return f(*args, **kwds)


_executor: Any = None
_plain_call: Any = None
_call = _call_with_frames_removed


def _last_line(code: CodeType) -> int:
    return max(line for _, _, line in code.co_lines() if line is not None)


def _look_like(ours: Any, plain: CodeType) -> None:
    """Of its file, and with its last line at the same number: in tracebacks it is the interpreter's own."""
    code = ours.__code__
    first = code.co_firstlineno + _last_line(plain) - _last_line(code)
    ours.__code__ = code.replace(co_filename=plain.co_filename, co_firstlineno=max(first, 1))


_look_like(_call, vars(bootstrap)[_CALL].__code__)
_step = _init_module_attrs
"""Its frame is left out of tracebacks as those of importlib are."""
_step.__code__ = _step.__code__.replace(co_filename=bootstrap._init_module_attrs.__code__.co_filename)
