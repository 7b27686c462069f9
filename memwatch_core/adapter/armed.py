"""One data breakpoint of a debugger's client: what it watches, and which writes it stops at."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any

from ..errors import WatchError
from ..native import proxy
from ..records import Hit
from ..turns import turn
from . import awaited, breaks, suspending
from .spots import WHOLE, Found, Spot, find_in, is_own, spot_of
from .watch import unwatch, unwatch_place, watch, watch_place

_ROOT = re.compile(r"[^\W\d]\w*")
_DEBUGPY = os.path.join("debugpy", "__main__.py")
_COUNTS = re.compile(r"\s*(==|>=|>|<=|<|%)?\s*(\d+)\s*")


class NotThere(WatchError):
    """What is to be watched isn't there yet. ``module`` has no ``name`` so far; None: it isn't there itself."""

    def __init__(self, message: str, module: ModuleType | None, name: str) -> None:
        super().__init__(message)
        self.module, self.name = module, name


class Armed:
    """A breakpoint that the client has asked for. ``begin`` and ``end`` under the process's turn."""

    def __init__(self, wanted: dict[str, Any], found: Found | None, stop: Callable[[Armed, Hit], None]) -> None:
        """``found``: what its id means, if only this process knows. Raises WatchError: it can't be."""
        if wanted.get("accessType") not in (None, "write"):
            raise WatchError(f"{wanted['accessType']}: only writes are seen, no reads")
        self.wanted = wanted
        self.number = int(wanted["number"])
        self.remark = ""
        self._counts = _counted(wanted.get("hitCondition"))
        self._found = found
        self._stop = stop
        self._handles: list[int] = []
        self._waiting: list[int] = []
        """Handles of the watch of a name that isn't there yet."""
        self._opened: list[Callable[[], object]] = []
        self._module: ModuleType | None = None
        self._hits = 0

    def begin(self) -> None:
        """Watches it, unless it is watched by now. Raises NotThere: it is tried again as soon as it may be there;
        WatchError, ConditionError: never; CoreError, SessionError."""
        if self._handles:
            return
        try:
            found = self._found or _resolved(str(self.wanted.get("dataId")), self._module)
        except NotThere as missing:
            self._wait(missing)
            raise
        try:
            for spot in found.spots:
                self._arm(spot, found.spots[0] if spot is not found.spots[0] else None)
        except BaseException:
            self.end()
            raise
        self.remark = "" if len(found.spots) == 1 else "it is the class's as well, until the object has one of its own"

    def end(self) -> None:
        """Ends what ``begin`` has begun. Idempotent."""
        awaited.leave(self)
        while self._waiting:
            breaks.disarm(self._waiting.pop())
        while self._handles:
            breaks.disarm(self._handles.pop())
        while self._opened:
            self._opened.pop()()

    def _wait(self, missing: NotThere) -> None:
        self.end()
        if missing.module is None:
            awaited.wait(self, missing.name, self._again)
        elif proxy.place_of(missing.module, missing.name)[4] is None:
            spot = spot_of(missing.module, missing.name, f"{missing.module.__name__}:{missing.name}")
            self._waiting.append(breaks.arm(self._watch(spot), None, lambda hit: self._again(None)))

    def _again(self, module: ModuleType | None) -> None:
        """The module, or its name, is there."""
        with turn():
            if self._handles:
                return
            self._module = module or self._module
            self.end()
            with suppress(Exception):  # the client is told when the program stops
                self.begin()

    def _arm(self, spot: Spot, hidden_by: Spot | None) -> None:
        when = str(self.wanted.get("condition") or "").strip() or None
        breaks.check(when, None)
        watched = self._watch(spot)

        def met(hit: Hit) -> None:
            if (spot.part and not _is_at(hit, spot.part)) or suspending.is_evaluated(hit.time_ns):
                return
            if hidden_by is not None and is_own(hidden_by.owner(), hidden_by.key):
                return
            self._hits += 1
            if self._counts(self._hits):
                self._stop(self, hit)

        self._handles.append(breaks.arm(watched, when, met))

    def _watch(self, spot: Spot) -> object:
        """What :func:`breaks.arm` takes."""
        owner, key = spot.owner(), spot.key
        if owner is None:
            raise WatchError("the object is gone")
        if proxy.is_proxy(owner):
            return owner
        if key is WHOLE:
            known = proxy.find_places(owner)
            if known is None:
                watch(owner, name=spot.name)
                self._ends(unwatch, spot.owner)
            elif not known[3]:
                raise WatchError(f"it is watched already, as a part of '{known[2].name}'")
            return owner
        _, place, _, _, whole, _ = proxy.place_of(owner, key)
        if whole is not None:
            raise WatchError(f"it is watched already, as a place of '{whole.name}'")
        if proxy.find_places(owner, place) is None:
            watch_place(owner, key, name=spot.name)
            self._ends(unwatch_place, spot.owner, key)
        found = proxy.find_places(owner, place)
        if found is None:
            raise WatchError("its watch has ended")
        return found[0]

    def _ends(self, how: Callable[..., object], there: Callable[[], Any], *key: object) -> None:
        """What has been opened for this is closed with it."""

        def close() -> None:
            found = there()
            if found is not None and proxy.find_places(found, *(proxy.place_of(found, one)[1] for one in key)):
                how(found, *key)

        self._opened.append(close)


def _is_at(hit: Hit, part: str) -> bool:
    """Whether a write was to one place of a whole, or below it."""
    path = hit.path.removeprefix(hit.variable)
    return not path or path == part or path.startswith((f"{part}.", f"{part}["))


def _counted(text: object) -> Callable[[int], bool]:
    """Which hits count, as debugpy reads ``hitCondition``: ``3`` is ``== 3``; ``> 3``, ``% 3``. Raises WatchError."""
    if text is None or not str(text).strip():
        return lambda hits: True
    found = _COUNTS.fullmatch(str(text))
    if found is None:
        raise WatchError(f"hit count {text!r}: a number, or one behind ==, >, >=, <, <= or %")
    number = int(found[2])
    if found[1] == "%":
        return lambda hits: number > 0 and hits % number == 0
    compare = {">": "__gt__", ">=": "__ge__", "<": "__lt__", "<=": "__le__"}.get(found[1] or "", "__eq__")
    return lambda hits: bool(getattr(hits, compare)(number))


def _resolved(target: str, module: ModuleType | None) -> Found:
    """What ``orders:config['debug']`` means now. ``module``: if it is so new that nobody knows it."""
    name, _, expression = target.partition(":")
    if target.startswith("#") or not expression:
        raise WatchError("this was the place of an object of another run, or of one that is gone: point at it again")
    module = sys.modules.get(name, module)
    if module is None or (name == "__main__" and _is_debuggers(module)):
        raise NotThere(f"{name} isn't imported yet", None, name)
    names = ModuleType.__getattribute__(module, "__dict__")
    root = _ROOT.match(expression)
    if root is not None and root[0] not in names:
        if root[0] == expression:
            return Found((spot_of(module, expression, expression),), expression, target)
        raise NotThere(f"{name} has no {root[0]} yet", module, root[0])
    try:
        return find_in(expression, module)
    except WatchError:
        raise
    except Exception as error:
        why = f"{expression} isn't there yet ({type(error).__name__}: {error})"
        raise NotThere(why, module, root[0] if root is not None else expression) from None


def _is_debuggers(main: ModuleType) -> bool:
    """debugpy is ``__main__`` until it runs the program."""
    spec = getattr(main, "__spec__", None)
    file = getattr(main, "__file__", None) or ""
    return (spec is not None and str(spec.name).startswith("debugpy")) or file.endswith(_DEBUGPY)
