"""Where text goes on a terminal: nothing is wider than it, and nothing is broken within a word."""

from __future__ import annotations

import re
import unicodedata  # noqa: F401 - width() needs it, perhaps when nothing can be imported any more
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ..printed import NARROWEST, character_width, width

_ENDS = re.compile(r"\s|(?<=[,;/])|(?=\\)")
"""Where text may be cut: at a blank, behind a comma or slash, before an escape."""


def _within(text: str, most: int) -> int:
    """How many of its first characters take at most so many columns."""
    if text.isascii():
        return min(len(text), most)
    taken = 0
    for i, character in enumerate(text):
        taken += character_width(character)
        if taken > most:
            return i
    return len(text)


def shorten(text: str, limit: int, around: int = 0) -> str:
    """At most ``limit`` columns of the text, the character at ``around`` among them; ``…`` stands for the rest. It is
    cut where a word ends, if there is such a place near."""
    if width(text) <= limit:
        return text
    start = max(0, min(around - limit // 3, len(text) - limit + 1)) if around >= limit - limit // 3 else 0
    if start:
        start = next((m.end() for m in _ENDS.finditer(text, start, min(around, start + limit // 3))), start)
    while start < around and width(text[start : around + 1]) > limit - 2:  # wide characters
        start += 1
    head = "…" if start else ""
    rest = text[start:]
    stop = start + _within(rest, limit - len(head))
    if stop >= len(text):
        return head + rest
    stop = start + max(1, _within(rest, limit - len(head) - 1))
    least = max(around + 1, start + (stop - start) // 2)
    ends = [m.start() for m in _ENDS.finditer(text, least, stop + 1) if least <= m.start() <= stop]
    return head + text[start : ends[-1] if ends else stop] + "…"


def last_part(text: str, limit: int) -> str:
    """The end of a path, at most ``limit`` columns: its file stays."""
    if width(text) <= limit:
        return text
    kept = text[::-1][: _within(text[::-1], limit - 1)][::-1]
    _, slash, after = kept.partition("/")
    return "…" + (slash + after if slash and after else kept)


def both_ends(text: str, limit: int) -> str:
    """A name of at most ``limit`` columns: its beginning, and its end, which tells it from its like."""
    if width(text) <= limit:
        return text
    tail = (limit - 1) // 2
    end = text[::-1][: _within(text[::-1], tail)][::-1]
    return text[: _within(text, limit - 1 - tail)] + "…" + end


class Cell(NamedTuple):
    """A piece of a line that stays together."""

    text: str
    paint: Callable[[str], str] = str
    shorten: Callable[[str, int], str] = shorten
    """What becomes of it where it is wider than a whole line."""
    column: int = 0
    """Columns that it takes if there is room for them."""
    least: int = 0
    """If so many columns are left, it is shortened to them rather than put on the next line; 0: never."""
    gap: int = 2
    """Blanks before it."""

    def fitted(self, most: int) -> str:
        """Painted, in at most ``most`` columns."""
        return self.paint(self.text if width(self.text) <= most else self.shorten(self.text, most))


def flow(cells: Sequence[Cell], most: int, indent: int) -> Iterator[str]:
    """Lines of at most ``most`` columns: cells one behind the other, what doesn't fit on the next line, indented."""
    most = max(most, NARROWEST)
    line, used, padding = "", 0, 0
    for number, cell in enumerate(cells):
        text, taken = cell.text, width(cell.text)
        gap = cell.gap if number else 0
        if number and used + padding + gap + taken > most:
            padding = max(0, most - used - gap - taken)  # what is too much of it goes first
        left = most - used - padding - gap
        if number and taken > left and not 0 < cell.least <= left:
            yield line.rstrip()
            line, used, padding, gap, left = " " * indent, indent, 0, 0, most - indent
        if taken > left:
            text = cell.shorten(text, left)
            taken = width(text)
        line += " " * (padding + gap) + cell.paint(text)
        used += padding + gap + taken
        padding = max(0, cell.column - taken)
    yield line.rstrip()
