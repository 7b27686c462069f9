"""What instrumented code announces, taken by sites written in Python: without the recorder."""

from __future__ import annotations

import sys
from types import CodeType
from typing import Any

from oracle import Bound

from memwatch_core.adapter import bindings


class Taker:
    """What placeholders stand for."""

    def __init__(self) -> None:
        self.bound: list[Bound] = []
        self.begun: list[str] = []

    def entry(self, entry: bindings.Entry, code: CodeType, /) -> Any:
        return _Entry(self, entry.name)

    def site(self, site: bindings.Site, entry: Any, own: bool, /) -> Any:
        return _Site(self, site)


class _Entry:
    def __init__(self, taker: Taker, name: str) -> None:
        self.taker, self.name = taker, name

    def __invert__(self) -> None:
        self.taker.begun.append(self.name)


class _Site:
    def __init__(self, taker: Taker, site: bindings.Site) -> None:
        self.taker, self.name, self.is_sum = taker, site.name, site.kind == "sum"

    def __invert__(self) -> None:
        assert self.is_sum

    def __getitem__(self, value: Any) -> Any:
        self._take(False)
        return value

    def __neg__(self) -> None:
        self._take(not self.is_sum)

    def _take(self, deleted: bool) -> None:
        frame = sys._getframe(2)
        self.taker.bound.append(Bound(frame.f_code.co_name, self.name, deleted, frame.f_lineno))


def announced(code: CodeType, module: str = "m") -> tuple[CodeType, Taker]:
    """The code, and what takes its announcements."""
    taker = Taker()
    return bindings.bind(bindings.instrument(code, module), taker), taker
