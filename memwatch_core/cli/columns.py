"""Aligned columns, as plain in a pipe as on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from ..printed import clean


def columns(
    rows: Sequence[Sequence[str]], heading: Sequence[str] = (), colors: Sequence[str | None] = ()
) -> Iterator[str]:
    """Lines in which each column is as wide as its widest cell; the last is not padded. ``colors`` go by column."""
    every = [[clean(cell) for cell in row] for row in ([heading, *rows] if heading else rows)]
    widths = [max(map(len, cells)) for cells in zip(*every, strict=True)]
    for number, row in enumerate(every):
        cells = []
        for i, (cell, width) in enumerate(zip(row, widths, strict=True)):
            text = cell if i == len(row) - 1 else cell.ljust(width)
            if heading and number == 0:
                text = click.style(text, bold=True)
            elif i < len(colors) and colors[i]:
                text = click.style(text, fg=colors[i])
            cells.append(text)
        yield "  ".join(cells).rstrip()
