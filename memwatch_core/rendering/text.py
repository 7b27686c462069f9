"""Records as lines of text for people: for the console sink and ``memwatch log``.

Values, names and statements come from the watched program, so they are escaped before they reach a terminal. Long ones
are shortened around the change. On a terminal, no line is wider than the terminal: lines wrap, between words.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, Literal, NamedTuple

import msgspec

from ..printed import NARROWEST, clean, width, wrap
from ..records import (
    Call,
    Context,
    Event,
    Lost,
    Merged,
    Notice,
    Origin,
    Outcome,
    Record,
    Request,
    Shown,
    Site,
    Unfollowed,
    Unwatched,
    Watched,
)
from .changes import change, named, named_in, value_text
from .endings import ending
from .labels import Labels
from .layout import Cell, both_ends, flow, last_part, shorten
from .merged import as_event, counts
from .palette import Role, plain
from .unfollowed import reason
from .written import Writes, WrittenUnder

VARIABLES, STATEMENTS = 4, 3
"""Limit of variables, and of statements, named in a line about an outcome."""
INDENT = 14
"""Indentation of continuation lines: they begin below the variable's name."""
ENDLESS = 1 << 30
"""Width of a pipe, in columns."""
FOUND = "found: changed unseen"
"""Shown as the source of a change that nobody saw."""
REQUEST_PART, TRACE = 32, 8
"""Limits of columns for a label or a task, and of digits of a trace's id."""
SQL_LEAST = 48
"""Least columns for a statement; with fewer, it goes onto a line of its own."""


def brief(text: str, limit: int) -> str:
    """:func:`clean` text of at most ``limit`` columns. Fast for very long texts."""
    return shorten(clean(text if len(text) <= limit else text[: limit + 1]), limit)


def _is_undone(outcome: str) -> bool:
    return outcome.startswith(("rolled back", "failed"))


def _call(call: Call) -> str:
    """A call as strace writes it, without what isn't recorded: ``read(5) = 100``."""
    return f"{clean(call.name)}({call.fd if call.fd >= 0 else ''}) = {call.bytes}"


def request_text(request: Request) -> str:
    """``order 17, task Task-3, trace 4bf92f35``: the innermost label, and the beginning of the trace's id."""
    parts = [both_ends(clean(request.label), REQUEST_PART)] if request.label else []
    if request.task:
        parts.append(f"task {both_ends(clean(request.task), REQUEST_PART)}")
    if request.trace_id:
        parts.append(f"trace {clean(request.trace_id[:TRACE])}")
    return ", ".join(parts)


def _process(event: Event) -> str:
    """``4711``; for the second journal of a process, ``4711.1``."""
    _, _, number = event.journal.partition(".")
    return f"{event.pid}.{number}" if number.isdecimal() and number.isascii() else str(event.pid)


def _end(record: Outcome) -> tuple[int, str, int, str]:
    return record.pid, record.journal, record.transaction, record.outcome


def _here() -> str:
    """The working folder, as the start of a path; if it was removed, a text that no path starts with."""
    try:
        return os.getcwd()
    except OSError:
        return "(removed)"


@lru_cache(maxsize=4096)
def short_path(path: str, directory: str = "", full: bool = False) -> str:
    """A path relative to ``directory`` if it is below it, otherwise (unless ``full``) its last parts."""
    directory = directory or _here()
    if path.startswith(directory.rstrip("/") + "/"):
        return clean(path[len(directory.rstrip("/")) + 1 :])
    parts = path.split("/")
    return clean(path if full or len(parts) <= 3 else "…/" + "/".join(parts[-2:]))


@lru_cache(maxsize=64)
def _clock(second: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(second))


class _Row(NamedTuple):
    """The texts of an event's line."""

    event: Event
    before: str
    after: str
    variable: str
    what: str
    place: str
    thread: str
    counts: str = ""
    """Of several events: how many elements and stores; empty, or with a blank behind it."""


class Lines:
    """Turns records into lines. Columns stay aligned from line to line, and widen when needed.

    ``width``: columns of the terminal, None for a pipe (then only long values and statements are shortened). ``paint``
    colours a piece of text, as :func:`~memwatch_core.rendering.palette.paint` does. ``show="changes"`` leaves out
    stores of equal values, the beginnings and ends of watches, and commits. ``stacks`` adds a line for each caller. Not
    thread-safe.
    """

    def __init__(
        self,
        *,
        width: int | None = None,
        paint: Callable[[Role, str], str] = plain,
        arrow: str = "->",
        max_value: int = 40,
        max_statement: int = 4000,
        show: Literal["changes", "all"] = "all",
        stacks: bool = False,
    ) -> None:
        self._terminal = width is not None
        self._width = max(width, NARROWEST) if width is not None else ENDLESS
        self._room = self._width - INDENT
        self._paint = paint
        self._arrow = arrow
        self._max_value = max_value
        self._max_side = min(max_value, (self._room - 2 - len(arrow)) // 2)
        self._max_same = min(max_value, self._room - len(" (unchanged)"))
        self._max_statement = max_statement
        self._all = show == "all"
        self._stacks = stacks
        self._columns = [0, 0, 0, 0]  # variable, change, site, thread
        self._fitted = [0, 0, 0, 0]
        self._limits = [24, 26, 36, 20]
        self._processes: set[tuple[int, str]] = set()
        self._labels = Labels()
        self._written = WrittenUnder()
        self._directory = _here()

    def format(self, records: Sequence[Record]) -> Iterator[str]:
        """One line for each record, without a line end; several on a terminal that is too narrow.

        The outcome of statements gets a line of its own if they were rolled back or failed, or if their transaction was
        committed. It has the writes under those statements, each with first and last value.
        """
        rows: list[_Row | Record] = []
        self._labels.note(records)
        for record in records:
            if isinstance(record, Event | Merged):
                event = as_event(record) if isinstance(record, Merged) else record
                stores, counted = 1, ""
                if isinstance(record, Merged):
                    stores, counted = record.stores, f"{counts(record)} "
                if event.context is not None:
                    self._written.add(event, stores)
                if self._all or event.changed:
                    rows.append(self._row(event, counted))
            elif isinstance(record, Outcome):
                self._take_outcome(record, rows)
            elif self._all or isinstance(record, Lost | Unfollowed):
                rows.append(record)
        for row in rows:
            if not isinstance(row, _Row):
                yield from self._other(row)
                continue
            yield from self._event(row)
            if self._stacks:
                yield from self._callers(row.event)

    def _take_outcome(self, record: Outcome, rows: list[Any]) -> None:
        """Adds a line for an outcome, but not for a single statement that committed itself.

        A transaction gets one line, though the last statement may have a record of its own.
        """
        if not (_is_undone(record.outcome) or (self._all and record.transaction)):
            self._written.take(record)
            return
        last = rows[-1] if rows else None
        if isinstance(last, Outcome) and record.transaction and _end(last) == _end(record):
            contexts = tuple(sorted({*last.contexts, *record.contexts}))
            rows[-1] = msgspec.structs.replace(record, contexts=contexts, events=last.events + record.events)
        else:
            rows.append(record)

    # ---- events -----------------------------------------------------------------------------------------------------

    def _row(self, event: Event, counted: str = "") -> _Row:
        """The event's texts. Widens the columns first, so that a whole batch is aligned."""
        part, before, after = change(event, self._max_side if event.changed else self._max_same)
        row = _Row(
            event, before, after, named_in(event, self._name(self._labels.of(event), event.path), part),
            counted + (f"{before} {self._arrow} {after}" if event.changed else f"{after} (unchanged)"),
            "  ".join(text for _, text in self._place_of(event)), self._thread(event), counted,
        )  # fmt: skip
        columns = self._columns
        for i, text in enumerate(row[3:7]):
            if len(text) > columns[i] < self._limits[i]:
                columns[i] = min(width(text), self._limits[i])
                self._fit_columns()
        return row

    def _fit_columns(self) -> None:
        """Narrows the columns to the line's width: first the change, then name and place."""
        fitted = list(self._columns)
        more = INDENT + sum(fitted) + 6 - self._width
        for i in (1, 0, 2):
            less = max(0, min(more, fitted[i] - 10))
            fitted[i] -= less
            more -= less
        self._fitted = fitted

    def _event(self, row: _Row) -> Iterator[str]:
        """One line if it fits: variable, change, place, thread, and the statement or its beginning."""
        event, _, _, variable, what, place, thread, _ = row
        sizes = [width(text) for text in (variable, what, place, thread)]
        left = self._width - INDENT - 6 - sum(sizes)
        if left < 0:
            yield from self._flow(event.time_ns, self._cells(row, sizes))
            return
        pads = []
        for size, column in zip(sizes, self._fitted, strict=True):
            pad = column - size if 0 < column - size <= left else 0
            left -= pad
            pads.append(" " * pad)
        where, _, function = place.partition("  ")
        said = f"  {self._paint('function', function)}" if function else ""
        line = (
            f"{self._paint('time', self._time(event.time_ns))}  {self._paint('variable', variable)}{pads[0]}  "
            f"{self._changed(row)}{pads[1]}  {self._paint('site', where)}{said}{pads[2]}  "
            f"{self._paint('thread', thread)}"
        )
        if event.context is None:
            yield line
            return
        end, statement = self._statement(event.context, max(left - 2, self._room))
        if left - 2 >= min(SQL_LEAST, width(end + statement)):
            yield f"{line}{pads[3]}  {self._sql(end, statement).fitted(left - 2)}"
        else:
            yield line
            yield " " * INDENT + self._sql(end, statement).fitted(self._room)

    def _cells(self, row: _Row, sizes: list[int]) -> list[Cell]:
        """The cells of an event that takes several lines."""
        event, left = row.event, self._width - INDENT - 4 - sum(sizes[:3])
        aligned = []
        for size, column in zip(sizes, self._fitted, strict=True):
            pad = column - size if 0 < column - size <= left else 0
            left -= pad
            aligned.append(size + pad)
        cells = [
            Cell(row.variable, self._painter("variable"), both_ends, aligned[0]),
            *([Cell(row.counts.rstrip())] if row.counts else []),
            Cell(
                self._values(row, plain),
                lambda text: self._values(row, self._paint),
                gap=1 if row.counts else 2,
                column=0 if row.counts else aligned[1],
            ),
            *self._places(self._place_of(event), aligned[2]),
            Cell(row.thread, self._painter("thread"), both_ends),
        ]
        if event.context is not None:
            cells.append(self._sql(*self._statement(event.context, self._room)))
        return cells

    def _changed(self, row: _Row) -> str:
        return row.counts + self._values(row, self._paint)

    def _values(self, row: _Row, paint: Callable[[Role, str], str]) -> str:
        if not row.event.changed:
            return paint("same", row.what[len(row.counts) :])
        return f"{paint('old', row.before)} {self._arrow} {paint('new', row.after)}"

    def _statement(self, context: Context, limit: int) -> tuple[str, str]:
        """A statement's outcome, if it must be shown, and its text."""
        end = f"{clean(context.outcome)}: " if _is_undone(context.outcome) else ""
        return end, brief(f"{context.driver}: {context.statement}", min(self._max_statement, limit))

    def _sql(self, end: str, statement: str) -> Cell:
        """A statement with its outcome."""

        def paint(text: str) -> str:
            undone = self._paint("undone", text[: len(end)]) if end else ""
            return undone + self._paint("sql", text[len(end) :])

        return Cell(end + statement, paint, least=SQL_LEAST)

    def _flow(self, time_ns: int, cells: Sequence[Cell]) -> Iterator[str]:
        return flow([Cell(self._time(time_ns), self._painter("time")), *cells], self._width, INDENT)

    def _painter(self, role: Role) -> Callable[[str], str]:
        return lambda text: self._paint(role, text)

    # ---- what became of statements ----------------------------------------------------------------------------------

    def _outcome(self, record: Outcome) -> Iterator[str]:
        written, undone = self._written.take(record), _is_undone(record.outcome)
        count = len(record.contexts)
        head = f"{clean(record.outcome)}: {'1 statement' if count == 1 else f'{count:,} statements'}"
        shown = [self._net(writes, undone) for writes in islice(written.variables.values(), VARIABLES)]
        middle = "under which were written:" if shown else f"under which {record.events:,} events were reported"
        role: Role = "undone" if undone else "life"
        cells = [Cell(head + ",", lambda text: self._paint(role, text[:-1]) + text[-1:], both_ends)]
        cells += [Cell(middle, gap=1), *shown]
        rest = len(written.variables) - VARIABLES
        if rest > 0:
            cells.append(Cell(f"and {rest:,} more", gap=1))
        if shown and (known := sum(writes.count for writes in written.variables.values())) < record.events:
            cells.append(Cell(f"(of the last {known:,} of {record.events:,} events)", gap=1))
        cells[2 : 2 + len(shown)] = [
            cell._replace(text=f"{cell.text},") if number + 1 < len(shown) or rest > 0 else cell
            for number, cell in enumerate(shown)
        ]
        if written.statements:
            listed = self._list(written.statements)
            cells.append(Cell(listed, self._painter("sql"), least=min(width(listed), self._room)))
        yield from self._flow(record.time_ns, cells)

    def _net(self, writes: Writes, undone: bool) -> Cell:
        """A variable, its first and last value, and the number of writes if several."""
        event = writes.net()
        part, before, after = change(event, self._max_side // 2)
        name = named_in(event, self._name(self._labels.of(event), event.path), part)
        values = f"{before} {self._arrow} {after}" if event.changed else after
        times = f" ({writes.count:,} writes)" if writes.count > 1 else ""
        name = both_ends(name, max(8, self._room - width(values) - len(times) - 2))

        def paint(text: str) -> str:
            rest = text[len(name) + 1 + len(values) :]
            return f"{self._paint('variable', name)} {self._paint('old' if undone else 'same', values)}{rest}"

        return Cell(f"{name} {values}{times}", paint, gap=1)

    def _list(self, statements: Counter[tuple[str, str]]) -> str:
        """``sqlite3: INSERT INTO orders VALUES (?) x2; DELETE FROM stock``."""
        texts, before = [], ""
        limit = (
            self._max_statement if not self._terminal else self._room // 2 if len(statements) > 1 else self._room - 16
        )
        for (driver, statement), count in statements.most_common(STATEMENTS):
            text = brief(statement, limit) + (f" x{count:,}" if count > 1 else "")
            texts.append(text if driver == before else f"{clean(driver)}: {text}")
            before = driver
        rest = len(statements) - len(texts)
        return "; ".join(texts) + (f"; and {rest:,} more" if rest else "")

    # ---- everything else --------------------------------------------------------------------------------------------

    def _other(self, record: Record) -> Iterator[str]:
        if isinstance(record, Watched):
            yield from self._watched(record)
        elif isinstance(record, Unwatched):
            place = self._file_line(record.site) if record.site is not None and record.site.file else ""
            text = f"watch of {self._short_name(self._labels.of(record))} ended{ending(record, place)}"
            yield from self._sentence(record.time_ns, "life", text)
        elif isinstance(record, Unfollowed):
            if record.count == 1:  # what comes later is counted
                what = both_ends(named(self._name(self._labels.of(record)), clean(record.name)), self._room)
                which = "was not met" if record.why == "unmet" else "is not followed"
                yield from self._sentence(record.time_ns, "life", f"{what} {which}: {reason(record)}")
        elif isinstance(record, Lost):
            stores = "1 store" if record.count == 1 else f"{record.count:,} stores"
            whose = f" of {self._short_name(record.variable)}" if record.variable else ""
            yield from self._sentence(record.time_ns, "lost", f"LOST {stores}{whose}: {clean(record.reason)}")
        elif isinstance(record, Outcome):
            yield from self._outcome(record)
        elif isinstance(record, Notice):
            yield from self._sentence(record.time_ns, "notice", clean(record.text))

    def _watched(self, record: Watched) -> Iterator[str]:
        variable, value = record.variable, record.value
        kind = clean(variable.serializer or "bytes")
        whose = self._name(self._labels.of(record))
        if value is None and record.part is not None:
            value, whose = record.part.new, named(whose, clean(record.part.name))
            kind += f", {variable.size:,} bytes"
        said = " is watched:"
        whose = both_ends(whose, self._room - len(said))
        name = Cell(whose + said, lambda text: self._paint("variable", whose) + said)
        shown = shorten(value_text(value, self._max_value), self._max_value)
        cells = [name, Cell(shown, gap=1)]
        if not isinstance(value, Shown):  # a Shown already names the type
            cells.append(Cell(f"({kind})", shorten=both_ends))
        yield from self._flow(record.time_ns, [*cells, *self._places(self._place(variable.watched_at, True))])

    def _sentence(self, time_ns: int, role: Role, text: str) -> Iterator[str]:
        head = f"{self._paint('time', self._time(time_ns))}  "
        for line in wrap(text, self._room):
            yield head + self._paint(role, line)
            head = " " * INDENT

    def _time(self, time_ns: int) -> str:
        return f"{_clock(time_ns // 1_000_000_000)}.{time_ns // 1_000_000 % 1000:03d}"

    def _name(self, variable: str, path: str | None = None) -> str:
        joint = "" if not path or path.startswith("[") else "."
        return clean(f"{variable}{joint}{path or ''}")

    def _short_name(self, variable: str) -> str:
        return both_ends(self._name(variable), self._room)

    def _file_line(self, site: Site) -> str:
        return short_path(site.file, self._directory, not self._terminal) + (f":{site.line}" if site.line else "")

    def _place(
        self, site: Site | None, exact: bool, call: Call | None = None, origin: Origin = "announced"
    ) -> list[tuple[Role, str]]:
        """File and line, function, and call, if known."""
        found: list[tuple[Role, str]] = []
        if origin == "found":
            found.append(("site", FOUND))
        elif site is None or not site.file:
            found.append(("site", "(unknown place)"))
        else:
            found.append(("site", self._file_line(site) + ("" if exact else "?")))
            if site.function:
                found.append(("function", clean(site.function)))
        if call is not None:
            found.append(("function", _call(call)))
        return found

    def _place_of(self, event: Event) -> list[tuple[Role, str]]:
        """The place in the program's own code; then the innermost one, if that is another."""
        own, site = event.own, event.site
        if own is None or site is None or own == site:
            return self._place(site, event.exact, event.call, event.origin)
        inside = "  ".join(text for _, text in self._place(site, True))
        exact = event.exact and not event.stack_inexact
        return [*self._place(own, exact, event.call, event.origin), ("function", f"in {inside}")]

    def _callers(self, event: Event) -> Iterator[str]:
        margin = Cell(" " * (INDENT - 2))
        if event.native is not None:
            by = Cell("by", self._painter("notice"))
            yield from flow([margin, by, *self._places(self._place(event.native, True))], self._width, INDENT)
        for frame in event.stack or ():
            cells = [
                margin,
                Cell("from", self._painter("notice")),
                *self._places(self._place(frame, not event.stack_inexact)),
            ]
            yield from flow(cells, self._width, INDENT)
        if event.stack_cut:
            more = Cell("and more, not recorded", self._painter("notice"))
            yield from flow([margin, more], self._width, INDENT)

    def _places(self, pieces: list[tuple[Role, str]], column: int = 0) -> list[Cell]:
        """One cell, or several if together they are wider than a line."""
        together = "  ".join(text for _, text in pieces)
        if width(together) <= self._room:
            painted = "  ".join(self._paint(role, text) for role, text in pieces)
            return [Cell(together, lambda text: painted, column=column)]
        return [Cell(text, self._painter(role), last_part if role == "site" else both_ends) for role, text in pieces]

    def _thread(self, event: Event) -> str:
        self._processes.add((event.pid, event.journal))
        name = "-" if event.origin == "found" else clean(event.thread) or (f"thread {event.tid}" if event.tid else "-")
        name = f"{_process(event)}/{name}" if len(self._processes) > 1 else name
        about = "" if event.request is None else request_text(event.request)
        return f"{name} [{about}]" if about else name
