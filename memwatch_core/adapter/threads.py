"""Records the names of Python threads: of those already running, of new ones, and after each renaming.

``threading`` has no hook for this, so two members of ``Thread`` are wrapped while a journal is open:
``_set_native_id``, which every thread runs first (including the dummy threads of ``current_thread()``), and the setter
of ``name``. ``uninstall`` restores both, unless somebody has wrapped ours meanwhile: ours then only passes the call on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..errors import CoreError
from ..native import core

_Thread: Any = threading.Thread
_by_ident: dict[int, Any] = threading._active  # type: ignore[attr-defined]
_active = False
_originals: tuple[Callable[[Any], None], property] | None = None
_wrappers: tuple[Callable[[Any], None], property] | None = None


def install() -> None:
    """Records the names of running threads, and of those to come."""
    global _active, _originals, _wrappers
    _active = True
    if _wrappers is None or _Thread._set_native_id is not _wrappers[0]:
        set_id, name = _originals = (_Thread._set_native_id, _Thread.name)

        def set_native_id(thread: Any) -> None:
            set_id(thread)
            _record(thread)

        def set_name(thread: Any, value: str) -> None:
            assert name.fset is not None
            name.fset(thread, value)
            _record(thread)

        _wrappers = (set_native_id, property(name.fget, set_name, name.fdel, name.__doc__))
        _Thread._set_native_id, _Thread.name = _wrappers
    for thread in threading.enumerate():
        _record(thread)


def uninstall() -> None:
    """Stops recording names and restores ``threading``."""
    global _active
    _active = False
    if _originals and _wrappers and (_Thread._set_native_id, vars(_Thread)["name"]) == _wrappers:
        _Thread._set_native_id, _Thread.name = _originals


def name_here() -> str:
    """The name of the calling thread. Unlike ``current_thread()``, makes no dummy thread for a foreign one."""
    thread = _by_ident.get(threading.get_ident())
    name = None if thread is None else _own(thread, "_name")
    return str.__str__(name) if name is not None else f"Thread-{threading.get_native_id()}"


def _own(thread: Any, name: str) -> Any:
    """An attribute that ``threading`` keeps in a thread, read past any property of the program's subclass."""
    return object.__getattribute__(thread, "__dict__").get(name)


def _record(thread: Any) -> None:
    native_id, name = _own(thread, "_native_id"), _own(thread, "_name")
    if not _active or not native_id or name is None:
        return
    with suppress(CoreError):  # the journal was closed meanwhile, or the disk is full: writes will report it
        # In a forked child, threading still has the parent's native id; 0 means the calling thread.
        here = _own(thread, "_ident") == threading.get_ident()
        core.name_thread(0 if here else native_id, str.__str__(name))
