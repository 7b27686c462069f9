"""Records as aligned lines of text, for outputs that people read: the console sink and ``memwatch log``.

Values, names and statements come from the watched program, so nothing of them reaches a terminal unescaped: control
characters are shown as escapes, and what is long is shortened around the place that changed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from memwatch_core.records import Event, Lost, Notice, Record, Site, Unwatched, Watched

Role = Literal["time", "variable", "old", "new", "same", "site", "function", "thread", "sql", "life", "lost", "notice"]
"""What a piece of text is, for whoever paints it."""


def clean(text: str) -> str:
    """One line that a terminal shows as it is: line breaks and tabs as blanks, what isn't printable as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c in "\n\r\t" else ascii(c)[1:-1] for c in text)


def shorten(text: str, limit: int, around: int = 0) -> str:
    """At most ``limit`` characters of the text, the one at ``around`` among them; ``…`` stands for the rest."""
    if len(text) <= limit:
        return text
    start = max(0, min(around - limit // 3, len(text) - limit + 1))
    head = "…" if start else ""
    stop = start + limit - len(head)
    return head + (text[start:stop] if stop >= len(text) else text[start : stop - 1] + "…")


def change(event: Event, limit: int) -> tuple[str, str, str]:
    """What changed: (part, before, after), the last two of at most ``limit`` characters each.

    ``part`` is ``.field`` or ``[index]`` if a single part of a compound value changed, and its values are then given;
    of several parts, each with its name. Of a value that has none, the range of bytes and their hexadecimal digits.
    """
    old, new = event.old, event.new
    if old is None and new is None:
        part = f"[{event.offset}:{event.offset + len(event.after)}]"
        return part, shorten(event.before.hex(), limit), shorten(event.after.hex(), limit)
    olds, news = _parts(old), _parts(new)
    part = ""
    before, after = _value(old), _value(new)
    if olds and news and olds.keys() == news.keys():
        names = [name for name in news if olds[name] is not news[name] and olds[name] != news[name]]
        if len(names) == 1:
            part, before, after = clean(names[0]), _value(olds[names[0]]), _value(news[names[0]])
        elif names:
            before, after = (
                ", ".join(f"{clean(name.lstrip('.'))}={_value(side[name])}" for name in names) for side in (olds, news)
            )
    if len(before) <= limit and len(after) <= limit:
        return part, before, after
    differs = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
    return part, shorten(before, limit, differs), shorten(after, limit, differs)


def _parts(value: Any) -> dict[str, Any] | None:
    """The parts of a compound value by the text that names them: ``.qty``, ``[0]``; None for any other."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {f".{name}": part for name, part in zip(value._fields, value, strict=False)}
    if isinstance(value, Mapping):
        return {f".{name}" if isinstance(name, str) else f"[{name!r}]": part for name, part in value.items()}
    if isinstance(value, tuple | list):
        return {f"[{i}]": part for i, part in enumerate(value)}
    return None


def _value(value: Any) -> str:
    return clean(repr(value))


@lru_cache(maxsize=4096)
def short_path(path: str, directory: str = "", full: bool = False) -> str:
    """A file as one would name it from ``directory``: relative if below it, else (unless ``full``) its last parts."""
    directory = directory or os.getcwd()
    if path.startswith(directory.rstrip("/") + "/"):
        return clean(path[len(directory.rstrip("/")) + 1 :])
    parts = path.split("/")
    return clean(path if full or len(parts) <= 3 else "…/" + "/".join(parts[-2:]))


@lru_cache(maxsize=64)
def _clock(second: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(second))


def _plain(role: Role, text: str) -> str:
    return text


class Lines:
    """Turns records into lines. Columns keep their places from line to line, and widen when they must.

    ``width``: columns of the terminal, None for a pipe (then nothing is cut but long values and statements).
    ``paint``: wraps a piece of text into what makes it bold or coloured. ``show``: ``"changes"`` leaves out stores that
    wrote what was there already, and the lifecycle of watches. Not thread-safe.
    """

    def __init__(
        self,
        *,
        width: int | None = None,
        paint: Callable[[Role, str], str] = _plain,
        arrow: str = "->",
        max_value: int = 40,
        max_statement: int = 160,
        show: Literal["changes", "all"] = "all",
    ) -> None:
        self._width = width
        self._paint = paint
        self._arrow = arrow
        self._max_value = max_value
        self._max_statement = max_statement
        self._all = show == "all"
        self._columns = [0, 0, 0, 0]  # variable, change, site, thread
        self._limits = [24, 26, 36, 20]
        self._pids: set[int] = set()
        self._directory = os.getcwd()

    def format(self, records: Sequence[Record]) -> Iterator[str]:
        """One line each, without its end; two on a terminal that is too narrow for the SQL statement."""
        rows: list[tuple[Event, list[str], tuple[str, str]] | Record] = []
        for record in records:
            if isinstance(record, Event):
                if self._all or record.changed:
                    rows.append(self._row(record))
            elif self._all or isinstance(record, Lost):
                rows.append(record)
        for row in rows:
            yield from self._event(*row) if isinstance(row, tuple) else self._other(row)

    def _row(self, event: Event) -> tuple[Event, list[str], tuple[str, str]]:
        """The event's cells; widens the columns for them, so that a batch stands in line from its first line on."""
        part, before, after = change(event, self._max_value)
        what = f"{before} {self._arrow} {after}" if event.changed else f"{after} (unchanged)"
        place, thread = self._place(event.site, event.exact), self._thread(event)
        cells = [self._name(event.variable, event.path) + part, what, place, thread]
        for i, cell in enumerate(cells):
            self._columns[i] = max(self._columns[i], min(len(cell), self._limits[i]))
        return event, cells, (before, after)

    def _event(self, event: Event, cells: list[str], sides: tuple[str, str]) -> Iterator[str]:
        variable, what, place, thread = cells
        padding = [" " * max(0, width - len(cell)) for width, cell in zip(self._columns, cells, strict=True)]
        if event.changed:
            what = f"{self._paint('old', sides[0])} {self._arrow} {self._paint('new', sides[1])}"
        else:
            what = self._paint("same", what)
        where, _, function = place.partition("  ")
        place = self._paint("site", where) + (f"  {self._paint('function', function)}" if function else "")
        line = (
            f"{self._paint('time', self._time(event.time_ns))}  {self._paint('variable', variable)}{padding[0]}  "
            f"{what}{padding[1]}  {place}{padding[2]}  {self._paint('thread', thread)}"
        )
        if event.context is None:
            yield line
            return
        statement = clean(f"{event.context.driver}: {event.context.statement}")
        used = 12 + 2 + sum(max(len(c), w) + 2 for c, w in zip(cells, self._columns, strict=True))
        if self._width is None:
            yield f"{line}{padding[3]}  {self._paint('sql', shorten(statement, self._max_statement))}"
        elif self._width - used >= 28:
            yield f"{line}{padding[3]}  {self._paint('sql', shorten(statement, self._width - used))}"
        else:
            yield line
            yield f"{'':14}{self._paint('sql', shorten(statement, max(20, self._width - 14)))}"

    def _other(self, record: Record) -> Iterator[str]:
        time_ = self._paint("time", self._time(record.time_ns))
        if isinstance(record, Watched):
            variable = record.variable
            kind = clean(variable.serializer or "bytes")
            place = self._place(variable.watched_at, True)
            value = shorten(_value(record.value), self._max_value)
            text = f"{self._paint('variable', self._name(variable.name))} is watched: {value}  ({kind})"
            yield f"{time_}  {text}  {self._paint('site', place)}".rstrip()
        elif isinstance(record, Unwatched):
            text = f"watch of {self._name(record.variable)} ended"
            yield f"{time_}  {self._paint('life', text)}"
        elif isinstance(record, Lost):
            stores = "1 store" if record.count == 1 else f"{record.count:,} stores"
            whose = f" of {self._name(record.variable)}" if record.variable else ""
            yield f"{time_}  {self._paint('lost', f'LOST {stores}{whose}: {clean(record.reason)}')}"
        elif isinstance(record, Notice):
            yield f"{time_}  {self._paint('notice', clean(record.text))}"

    def _time(self, time_ns: int) -> str:
        return f"{_clock(time_ns // 1_000_000_000)}.{time_ns // 1_000_000 % 1000:03d}"

    def _name(self, variable: str, path: str | None = None) -> str:
        joint = "" if not path or path.startswith("[") else "."
        return clean(f"{variable}{joint}{path or ''}")

    def _place(self, site: Site | None, exact: bool) -> str:
        if site is None or not site.file:
            return "(unknown place)"
        path = short_path(site.file, self._directory, self._width is None)
        line = f":{site.line}" if site.line else ""
        return f"{path}{line}{'' if exact else '?'}  {clean(site.function)}".rstrip()

    def _thread(self, event: Event) -> str:
        self._pids.add(event.pid)
        name = clean(event.thread) or (f"thread {event.tid}" if event.tid else "-")
        return f"{event.pid}/{name}" if len(self._pids) > 1 else name
