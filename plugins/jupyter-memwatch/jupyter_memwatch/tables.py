"""What a cell has changed, as text and as HTML."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

from memwatch_core.records import Event, Site
from memwatch_plugins.text import change, clean, named, short_path

SHOWN = 50
"""Rows of a table."""
_LONGEST = 60
_HEADS = ("variable", "before", "after", "where", "function", "thread")
Where = Callable[[Site], str]


def row(event: Event, where: Where) -> tuple[str, ...]:
    """Variable, value before and after, place, function, thread."""
    part, before, after = change(event, _LONGEST)
    site = event.own or event.site
    function = "" if site is None or site.function == "<module>" else site.function
    thread = "" if event.thread == "MainThread" else event.thread
    return (
        named(clean(event.variable), part),
        before,
        after,
        where(site) if site else "",
        clean(function),
        clean(thread),
    )


def tables(title: str, events: Sequence[Event], where: Where) -> dict[str, str]:
    """What a display shows: by MIME type."""
    rows = [row(event, where) for event in events[:SHOWN]]
    columns = [i for i, _ in enumerate(_HEADS) if i < 4 or any(one[i] for one in rows)]
    more = f"and {len(events) - SHOWN:,} more: memwatch log shows them all" if len(events) > SHOWN else ""
    return {
        "text/plain": "\n".join(filter(None, (title, *_lines(rows, columns), more))),
        "text/html": _html(title, rows, columns, more),
    }


def _lines(rows: Sequence[tuple[str, ...]], columns: Sequence[int]) -> list[str]:
    if not rows:
        return []
    cells = [[one[i] for i in columns] for one in (_HEADS, *rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _html(title: str, rows: Sequence[tuple[str, ...]], columns: Sequence[int], more: str) -> str:
    head = "".join(f"<th>{_HEADS[i]}</th>" for i in columns)
    body = "".join(
        "<tr>" + "".join(f"<td><code>{html.escape(one[i])}</code></td>" for i in columns) + "</tr>" for one in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if rows else ""
    return f"<div><small>{html.escape(title)}</small>{table}<small>{html.escape(more)}</small></div>"


def where_in(names: dict[str, int]) -> Where:
    """Names a line by its cell, ``In [3]:2``; ``names``: the number of each cell by the name of its code's file."""
    return lambda site: (
        f"In [{names[site.file]}]:{site.line}" if site.file in names else f"{short_path(site.file)}:{site.line}"
    )
