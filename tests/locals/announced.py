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

    def entry(self, entry: bindings.Entry, code: CodeType, number: int, /) -> Any:
        return _Entry(self, entry.name)

    def site(self, site: bindings.Site, entry: Any, own: bool, number: int, /) -> Any:
        return _Site(self, site)


class _Entry:
    def __init__(self, taker: Taker, name: str) -> None:
        self.taker, self.name = taker, name

    def __bool__(self) -> bool:
        self.taker.begun.append(self.name)
        return True


class _Site:
    def __init__(self, taker: Taker, site: bindings.Site) -> None:
        self.taker, self.site = taker, site

    def __bool__(self) -> bool:
        if self.site.does != "add":
            frame = sys._getframe(1)
            deleted = self.site.does == "delete"
            self.taker.bound.append(Bound(frame.f_code.co_name, self.site.name, deleted, frame.f_lineno))
        return True


def announced(code: CodeType, module: str = "m") -> tuple[CodeType, Taker]:
    """The code, and what takes its announcements."""
    taker = Taker()
    return bindings.bind(bindings.instrument(code, module), taker), taker
