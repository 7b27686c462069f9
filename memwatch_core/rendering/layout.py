"""Lays text out on a terminal: no line is wider, and no word is broken."""

from __future__ import annotations

import re
import unicodedata  # noqa: F401 - width() needs it, perhaps when nothing can be imported any more
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ..printed import NARROWEST, character_width, width

_ENDS = re.compile(r"\s|(?<=[,;/])|(?=\\)")
"""Where text may be cut: at a blank, after a comma or slash, before an escape."""


def _within(text: str, most: int) -> int:
    """How many of the first characters fit into so many columns."""
    if text.isascii():
        return min(len(text), most)
    taken = 0
    for i, character in enumerate(text):
        taken += character_width(character)
        if taken > most:
            return i
    return len(text)


def shorten(text: str, limit: int, around: int = 0) -> str:
    """At most ``limit`` columns of a text, including the character at ``around``; ``…`` stands for the rest.

    Cuts at the end of a word if there is one nearby.
    """
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
    """The end of a path, of at most ``limit`` columns; keeps the file's name."""
    if width(text) <= limit:
        return text
    kept = text[::-1][: _within(text[::-1], limit - 1)][::-1]
    _, slash, after = kept.partition("/")
    return "…" + (slash + after if slash and after else kept)


def both_ends(text: str, limit: int) -> str:
    """The beginning and end of a name, of at most ``limit`` columns: similar names often differ at the end."""
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
    """Shortens the text if it is wider than a whole line."""
    column: int = 0
    """Columns to take if there is room for them."""
    least: int = 0
    """If at least this many columns are left, shorten the text rather than move it to the next line; 0: never."""
    gap: int = 2
    """Blanks before it."""

    def fitted(self, most: int) -> str:
        """The painted text, in at most ``most`` columns."""
        return self.paint(self.text if width(self.text) <= most else self.shorten(self.text, most))


def flow(cells: Sequence[Cell], most: int, indent: int) -> Iterator[str]:
    """Lays cells out in lines of at most ``most`` columns; continuation lines are indented."""
    most = max(most, NARROWEST)
    line, used, padding = "", 0, 0
    for number, cell in enumerate(cells):
        text, taken = cell.text, width(cell.text)
        gap = cell.gap if number else 0
        if number and used + padding + gap + taken > most:
            padding = max(0, most - used - gap - taken)  # first drop padding
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
