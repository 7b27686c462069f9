"""MemWatch: git blame for memory. CONTRIBUTING.md has a map of this package.

This module has the names that programs use. Each is imported on first access, so that ``import memwatch_core`` costs
next to nothing:

* ``watch(value, name="x")`` returns a watched proxy to use in place of the value; ``unwatch(x)`` ends the watch;
* ``watch_place(order, "limit")`` watches an attribute or a key alone; ``unwatch_place(order, "limit")`` ends it;
* ``watch_all(settings)`` watches all variables of a module or a class, ``unwatch(settings)`` ends it;
* ``@watch_locals`` watches the names that a function binds; ``unwatch_locals(function)`` ends it;
* ``with label("order 17"):`` names the unit of work that the writes within are done for;
* ``session(...)`` reports the writes of this process while its ``with`` block runs, without ``memwatch run``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

_kept: dict[str, Any] = vars(sys).setdefault("_memwatch_modules", {})
"""The modules of this package that were imported so far. A process has one core and one state: if a tool removes
modules from ``sys.modules`` (pytester, reloaders), the same module objects come back."""
sys.modules.update(_kept)

from .turns import turn  # noqa: E402

if TYPE_CHECKING:
    from .adapter.all_vars import watch_all as watch_all
    from .adapter.labels import label as label
    from .adapter.locals import unwatch_locals as unwatch_locals
    from .adapter.locals import watch_locals as watch_locals
    from .adapter.watch import unwatch as unwatch
    from .adapter.watch import unwatch_place as unwatch_place
    from .adapter.watch import watch as watch
    from .adapter.watch import watch_place as watch_place
    from .errors import MemWatchError as MemWatchError
    from .errors import MutationError as MutationError
    from .records import Event as Event
    from .running.session import session as session

__version__ = "0.1.0"

_HOMES = {
    "label": ".adapter.labels",
    "watch": ".adapter.watch",
    "unwatch": ".adapter.watch",
    "unwatch_place": ".adapter.watch",
    "watch_all": ".adapter.all_vars",
    "watch_place": ".adapter.watch",
    "watch_locals": ".adapter.locals",
    "unwatch_locals": ".adapter.locals",
    "session": ".running.session",
    "Event": ".records",
    "MemWatchError": ".errors",
    "MutationError": ".errors",
}

__all__ = [
    *("Event", "MemWatchError", "MutationError", "__version__", "label", "session"),
    *("unwatch", "unwatch_locals", "unwatch_place", "watch", "watch_all", "watch_locals", "watch_place"),
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with turn():
        value = getattr(import_module(_HOMES[name], __name__), name)
        keep_modules()
    globals()[name] = value
    return value


def keep_modules() -> None:
    """Remembers the modules of this package that are imported now."""
    _kept.update({name: module for name, module in [*sys.modules.items()] if name.startswith(f"{__name__}.")})


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
