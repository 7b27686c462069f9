"""Who may write: ``orders.py:*``, ``orders.py:add_order``, ``orders.py:41``, ``app/*.py``."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import NamedTuple

from memwatch_core.records import Event, Site

_LINES = re.compile(r"(\d+)(?:-(\d+))?")
EXAMPLES = "orders.py, orders.py:*, orders.py:add_order, orders.py:41, orders.py:41-48, app/*.py:add_*"


class Writer(NamedTuple):
    """Some lines of some files."""

    text: str
    file: str
    """Pattern of a path, or of its last parts."""
    function: str
    """Pattern of a function's name; ``*``: any."""
    lines: tuple[int, int] | None
    """First and last one; None: all of these functions."""

    def wrote(self, event: Event) -> bool:
        """Whether it made a store: the line that wrote, or the first one of the program's own code on the way to it."""
        return any(site is not None and self.has(site) for site in (event.site, event.own))

    def has(self, site: Site) -> bool:
        """Whether a place is one of these."""
        if not (fnmatchcase(site.file, self.file) or fnmatchcase(site.file, f"*/{self.file}")):
            return False
        if self.lines is not None:
            return self.lines[0] <= site.line <= self.lines[1]
        return any(fnmatchcase(name, self.function) for name in (site.function, site.function.rpartition(".")[2]))


def parse(text: str) -> Writer:
    """Raises ValueError: that is no such pattern; it says how one is written."""
    if not isinstance(text, str):
        raise TypeError(f"who may write is a text such as 'orders.py:*', not a {type(text).__name__}")
    file, colon, what = text.rpartition(":")
    if not colon:
        file, what = text, "*"
    file, what = file.strip(), what.strip()
    if not file or not what:
        missing = "a file before the colon" if not file else "a function or a line behind the colon"
        raise ValueError(f"{text!r} lacks {missing}; for instance: {EXAMPLES}")
    lines = _LINES.fullmatch(what)
    if lines is None:
        if not re.fullmatch(r"[\w.*?<>\[\]!]+", what):
            raise ValueError(f"{text!r}: {what!r} is neither a function nor a line; for instance: {EXAMPLES}")
        return Writer(text, file.removeprefix("./"), what, None)
    first, last = int(lines[1]), int(lines[2] or lines[1])
    if not 0 < first <= last:
        raise ValueError(f"{text!r}: lines are counted from 1, the first one before the last; for instance: {EXAMPLES}")
    return Writer(text, file.removeprefix("./"), "*", (first, last))
