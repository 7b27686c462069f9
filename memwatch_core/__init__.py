"""MemWatch: git blame for memory. The map of this package is in CONTRIBUTING.md.

The names that programs use are here, and are imported when they are first asked for, so that ``import memwatch_core``
costs next to nothing:

* ``watch(value, name="x")`` makes a value watched and returns what to use in its place; ``unwatch(x)`` ends that;
* ``session(...)`` reports the writes of this process while its ``with`` block runs, without ``memwatch run``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

_kept: dict[str, Any] = vars(sys).setdefault("_memwatch_modules", {})
"""What was imported of this package. A process has one core, and one state: if somebody takes modules out of
``sys.modules`` (pytester, reloaders), these come back as they were."""
sys.modules.update(_kept)

from .turns import turn  # noqa: E402

if TYPE_CHECKING:
    from .adapter.watch import unwatch as unwatch
    from .adapter.watch import watch as watch
    from .errors import MemWatchError as MemWatchError
    from .records import Event as Event
    from .running.session import session as session

__version__ = "0.1.0"

_HOMES = {
    "watch": ".adapter.watch",
    "unwatch": ".adapter.watch",
    "session": ".running.session",
    "Event": ".records",
    "MemWatchError": ".errors",
}

__all__ = ["Event", "MemWatchError", "__version__", "session", "unwatch", "watch"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with turn():
        value = getattr(import_module(_HOMES[name], __name__), name)
        keep_modules()
    globals()[name] = value
    return value


def keep_modules() -> None:
    """Remembers what is imported of this package now."""
    _kept.update({name: module for name, module in [*sys.modules.items()] if name.startswith(f"{__name__}.")})


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
