"""Aligned columns. A row is one line in a pipe; on a terminal it wraps between words."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from ..printed import NARROWEST, clean, terminal_width, width, wrap
from ..rendering.layout import both_ends
from ..rendering.palette import Role, paint

INDENT = 4
"""Columns by which a continuation line is indented."""
LEAST = 24
"""Least width for a wrapped cell beside the others; in less room, the cell goes onto a line of its own."""


def columns(
    rows: Sequence[Sequence[str]],
    heading: Sequence[str] = (),
    roles: Sequence[Role | None] = (),
    *,
    short: bool = False,
) -> Iterator[str]:
    """Lines in which each column is as wide as its widest cell; the last isn't padded. ``roles`` are per column.
    ``short``: a word that is wider than a terminal is shortened."""
    every = [[clean(cell) for cell in row] for row in ([heading, *rows] if heading else rows)]
    widths = [max(map(width, cells)) for cells in zip(*every, strict=True)]
    most = terminal_width(sys.stdout)
    if most is not None:
        ends = sorted(width(row[-1]) for row in every)
        widths = _fitted(widths, max(most, NARROWEST), ends[len(ends) // 2])
    for number, row in enumerate(every):
        painted: list[Role | None] = [*roles, *[None] * (len(row) - len(roles))]
        if heading and number == 0:
            painted = ["heading"] * len(row)
        yield from _row(row, widths, painted, None if most is None else max(most, NARROWEST), short)


def _fitted(widths: list[int], most: int, usual: int) -> list[int]:
    """The column widths, narrowed (widest column first) until a row fits the line.

    The first column keeps its width. The last gets its median width; if that is :data:`LEAST` or more, it will wrap.
    """
    widths, last = list(widths), usual + 2 if usual < LEAST else 0
    while len(widths) > 2 and sum(widths[:-1]) + 2 * (len(widths) - 2) + last > most:
        widest = max(range(1, len(widths) - 1), key=lambda i: widths[i])
        if widths[widest] <= 8:
            break
        widths[widest] -= 1
    return widths


def _row(
    row: Sequence[str], widths: Sequence[int], roles: Sequence[Role | None], most: int | None, short: bool
) -> Iterator[str]:
    line, used, at = "", 0, 0
    for i, (cell, role) in enumerate(zip(row, roles, strict=True)):
        start = max(at, used + 2) if i else 0
        at += widths[i] + 2
        pieces = [cell]
        if most is not None and cell and start + width(cell) > most:
            least = max(LEAST, *map(width, cell.split(" ")))
            if i and INDENT + width(cell) <= most and (i < len(row) - 1 or most - start < least):
                yield line.rstrip()
                line, used, start = "", 0, INDENT
            elif i and most - start < least:
                yield line.rstrip()
                line, used, start = "", 0, INDENT
                pieces = list(wrap(cell, most - INDENT))
            else:
                pieces = list(wrap(cell, most - start))
            if short:
                pieces = [both_ends(piece, most - start) for piece in pieces]
        for number, piece in enumerate(pieces):
            if number:
                yield line.rstrip()
                line, used = "", 0
            line += " " * (start - used) + (piece if role is None else paint(role, piece))
            used = start + width(piece)
    yield line.rstrip()


def hanging(head: str, text: str, indent: int) -> Iterator[str]:
    """A text behind ``head``, which is ``indent`` columns wide; continuation lines are aligned with the text's
    start."""
    most = terminal_width(sys.stdout)
    parts = [text] if most is None else wrap(text, max(most, NARROWEST, indent + LEAST) - indent)
    for number, part in enumerate(parts):
        yield (" " * indent if number else head) + part
