"""Why a watch ended, in words."""

from __future__ import annotations

from ..printed import clean
from ..records import Unwatched

ITEM = "[]"
"""The target of a store to an item, whose key isn't known."""
_DONE = {"rebound": "rebound", "replaced": "given another watched value", "deleted": "deleted"}

_RELEASED = {
    "free": "freed", "realloc": "resized", "reallocarray": "resized", "munmap": "unmapped", "mmap": "mapped anew",
    "mremap": "moved or resized", "madvise": "emptied", "mprotect": "protected", "pkey_mprotect": "protected",
    "brk": "given up", "sbrk": "given up",
}  # fmt: skip


def is_own(record: Unwatched) -> bool:
    """Whether what was rebound or deleted has the variable's name."""
    name, target = record.variable, record.target
    return bool(target) and (name == target or (target[0] == "." and name.endswith(target)))


def ending(record: Unwatched, place: str) -> str:
    """What to put behind ``watch of limit ended``: ``: rebound at orders.py:41 set_limit``. ``place`` is file and line
    of the site, empty if it isn't known."""
    if record.why in ("exit", "closed"):
        return " with the program" if record.why == "exit" else " with its session"
    site = record.site
    function = clean(site.function) if site is not None else ""
    if record.why == "left":
        return f": {function or 'a function'} ended{f' at {place}' if place else ''}"
    where = f" at {place}{f' {function}' if function else ''}" if place else ""
    if record.why in _DONE:
        return f": {_what(record)}{where}"
    if record.why == "collected":
        return f": dropped during a garbage collection{where}"
    if record.why == "released":
        return f": its memory was {_RELEASED.get(record.target, 'given up')} ({clean(record.target)}){where}"
    if record.why == "taken":
        return ": its memory is no longer there, or something else's; since when isn't known"
    if record.why == "moved":
        return f": it went on in other memory{where}"
    said = {"unwatched": "unwatch()", "dropped": "dropped"}.get(record.why, "")
    return f": {said}{where}" if said else ""


def _what(record: Unwatched) -> str:
    done = _DONE[record.why]
    if is_own(record):
        return done
    if record.target == ITEM:
        return f"an item was {'replaced' if record.why == 'rebound' else done}"
    return f"{clean(record.target) if record.target else 'a name'} was {done}"
