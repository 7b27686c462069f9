"""Modules that a data breakpoint waits for: tells of each when it is there and its body hasn't run yet."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from . import importing

_waiting: dict[object, tuple[str, Callable[[ModuleType], None]]] = {}
_enter: Any = None


def wait(who: object, name: str, begins: Callable[[ModuleType], None]) -> None:
    """Calls ``begins`` with the module of a name, as soon as it is there, in the thread that imports it. It mustn't
    raise, nor run code of the program's. Under the process's turn."""
    _waiting[who] = name, begins
    importing.listen(_imported)
    _listen_to_runpy()


def leave(who: object) -> None:
    """Waits no more. Idempotent. Under the process's turn."""
    _waiting.pop(who, None)
    if not _waiting:
        importing.leave(_imported)


def _imported(name: str, module: ModuleType, spec: Any) -> None:
    for awaited, begins in list(_waiting.values()):
        if awaited == name:
            begins(module)


def _listen_to_runpy() -> None:
    """debugpy runs a script in a module that it makes by itself."""
    global _enter
    runpy = sys.modules.get("_pydevd_bundle.pydevd_runpy")
    maker = getattr(runpy, "_TempModule", None)
    if maker is None or _enter is not None:
        return
    _enter = maker.__enter__

    def enter(self: Any) -> Any:
        entered = _enter(self)
        _imported(self.mod_name, self.module, None)
        return entered

    maker.__enter__ = enter
