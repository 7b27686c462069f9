"""MemWatch: git blame for memory. The map of this package is in docs/maintaining.md.

The names that programs use are here, and are imported when they are first asked for, so that ``import memwatch_core``
costs next to nothing:

* ``watch(value, name="x")`` makes a value watched and returns what to use in its place; ``unwatch(x)`` ends that;
* ``session(...)`` reports the writes of this process while its ``with`` block runs, without ``memwatch run``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .turns import turn

if TYPE_CHECKING:
    from .adapter.watch import unwatch as unwatch
    from .adapter.watch import watch as watch
    from .errors import MemWatchError as MemWatchError
    from .host.session import session as session
    from .records import Event as Event

__version__ = "0.1.0"

_HOMES = {
    "watch": ".adapter.watch",
    "unwatch": ".adapter.watch",
    "session": ".host.session",
    "Event": ".records",
    "MemWatchError": ".errors",
}

__all__ = ["Event", "MemWatchError", "__version__", "session", "unwatch", "watch"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with turn():
        value = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
