"""Records as aligned lines of text, for outputs that people read: the console sink and ``memwatch log``.

Values, names and statements come from the watched program, so nothing of them reaches a terminal unescaped: control
characters are shown as escapes, and what is long is shortened around the place that changed.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, Literal

import msgspec

from memwatch_core.printed import clean as clean
from memwatch_core.records import Call, Event, Lost, Notice, Outcome, Record, Site, Unwatched, Watched

from .written import Writes, WrittenUnder

Role = Literal[
    "time", "variable", "old", "new", "same", "site", "function", "thread", "sql", "undone", "life", "lost", "notice"
]
"""What a piece of text is, for whoever paints it."""
VARIABLES, STATEMENTS = 4, 3
"""How many are named when a line says what became of statements."""
_CHUNK = 256


def brief(text: str, limit: int) -> str:
    """:func:`clean` text of at most ``limit`` characters, however long it was."""
    return shorten(clean(text if len(text) <= limit else text[: limit + 1]), limit)


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
    of several parts, each with its name; of bytes, ``[start:stop]``, the part that the store touched. Of a value that
    isn't known, the range of bytes and their hexadecimal digits.
    """
    part, old, new, first = _shown(event, limit)
    if old is None and new is None:
        part = event.part.name if event.part is not None else f"[{event.offset}:{event.offset + len(event.after)}]"
        return clean(part), *_around(event.before.hex(), event.after.hex(), limit)
    parts = _changed_parts(old, new, limit, first)
    if not parts:
        return clean(part), *_around(_value(old, limit), _value(new, limit), limit)
    if len(parts) == 1:
        part, before, after = parts[0]
        return clean(part), *_around(_value(before, limit), _value(after, limit), limit)
    olds, news = (
        ", ".join(f"{clean(part[0].lstrip('.'))}={_value(part[side], limit)}" for part in parts) for side in (1, 2)
    )
    return "", *_around(olds, news, limit)


def _shown(event: Event, limit: int) -> tuple[str, Any, Any, int]:
    """What of an event is shown: the part that was touched, or the whole value if that says more; and the number of the
    first of its items."""
    part, whole = event.part, ("", event.old, event.new, 0)
    if part is None or (part.old is None and part.new is None):
        return whole
    several = re.fullmatch(r"\[(\d+):\d+\]", part.name)
    if isinstance(event.new, tuple) and several is not None:
        return whole  # a struct's fields have names
    if isinstance(event.old, bytes | bytearray) and isinstance(event.new, bytes | bytearray):
        before, after = len(event.old), len(event.new)
        if part.name == f"[0:{before}]" and before == after:
            return whole
        if before != after and max(before, after) <= limit:
            return whole  # more than where it grew
    return part.name, part.old, part.new, int(several[1]) if several is not None else 0


def named(variable: str, part: str) -> str:
    """A variable with the part that :func:`change` gives: ``order.qty``, ``len(buffer)``."""
    return f"len({variable})" if part == "len()" else variable + part


def _around(before: str, after: str, limit: int) -> tuple[str, str]:
    """Both, shortened around the first place where they differ."""
    if len(before) <= limit and len(after) <= limit:
        return before, after
    differs = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
    return shorten(before, limit, differs), shorten(after, limit, differs)


def _changed_parts(old: Any, new: Any, most: int, first: int = 0) -> list[tuple[str, Any, Any]]:
    """The first parts of a compound value that differ, each with the text that names it: ``.qty``, ``[0]``; none, if
    the two haven't the same parts. ``first``: the number of the first one."""
    if isinstance(old, Mapping) and isinstance(new, Mapping) and old.keys() == new.keys():
        names = (name for name in new if _differ(old[name], new[name]))
        return [(f".{n}" if isinstance(n, str) else f"[{n!r}]", old[n], new[n]) for n in islice(names, most)]
    fields = getattr(new, "_fields", None) if isinstance(new, tuple) else None
    alike = isinstance(old, tuple | list) and isinstance(new, tuple | list) and len(old) == len(new)
    if not alike or getattr(old, "_fields", None) != fields:
        return []
    places = islice(_places(old, new), most)
    return [(f"[{first + i}]" if fields is None else f".{fields[i]}", old[i], new[i]) for i in places]


def _places(old: Sequence[Any], new: Sequence[Any]) -> Iterator[int]:
    """Where two sequences differ; what is the same is compared many at a time."""
    for start in range(0, len(new), _CHUNK):
        if old[start : start + _CHUNK] != new[start : start + _CHUNK]:
            yield from (i for i in range(start, min(start + _CHUNK, len(new))) if _differ(old[i], new[i]))


def _differ(old: Any, new: Any) -> bool:
    return old is not new and bool(old != new)


def _value(value: Any, limit: int = 1 << 16) -> str:
    """As Python writes it; of a long sequence, what there is to see of it."""
    try:
        if isinstance(value, list | tuple) and len(value) > limit and not hasattr(value, "_fields"):
            return clean(repr(value[:limit])[:-1] + ", …")
        return clean(repr(value))
    except Exception:  # too deep, an int of too many digits, a repr() of the program's own
        return f"<{clean(type(value).__name__)}>"


def _is_undone(outcome: str) -> bool:
    return outcome.startswith(("rolled back", "failed"))


def _call(call: Call) -> str:
    """As strace writes it, without what isn't recorded: ``read(5) = 100``."""
    return f"{clean(call.name)}({call.fd if call.fd >= 0 else ''}) = {call.bytes}"


def _process(event: Event) -> str:
    """``4711``; of a process that has several journals, ``4711.1`` for the second."""
    _, _, number = event.journal.partition(".")
    return f"{event.pid}.{number}" if number.isdecimal() and number.isascii() else str(event.pid)


def _end(record: Outcome) -> tuple[int, str, int, str]:
    return record.pid, record.journal, record.transaction, record.outcome


def _here() -> str:
    """The working folder, as the start of a path; of one that was removed, what no path begins with."""
    try:
        return os.getcwd()
    except OSError:
        return "(removed)"


@lru_cache(maxsize=4096)
def short_path(path: str, directory: str = "", full: bool = False) -> str:
    """A file as one would name it from ``directory``: relative if below it, else (unless ``full``) its last parts."""
    directory = directory or _here()
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
    wrote what was there already, the lifecycle of watches, and commits. Not thread-safe.
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
        self._processes: set[tuple[int, str]] = set()
        self._written = WrittenUnder()
        self._directory = _here()

    def format(self, records: Sequence[Record]) -> Iterator[str]:
        """One line each, without its end; two on a terminal that is too narrow for the SQL statement.

        What became of statements is a line of its own if they were rolled back or failed, and if their transaction was
        committed: with what was written under them, from the first value to the last.
        """
        rows: list[tuple[Event, list[str], tuple[str, str]] | Record] = []
        for record in records:
            if isinstance(record, Event):
                if record.context is not None:
                    self._written.add(record)
                if self._all or record.changed:
                    rows.append(self._row(record))
            elif isinstance(record, Outcome):
                self._take_outcome(record, rows)
            elif self._all or isinstance(record, Lost):
                rows.append(record)
        for row in rows:
            yield from self._event(*row) if isinstance(row, tuple) else self._other(row)

    def _take_outcome(self, record: Outcome, rows: list[Any]) -> None:
        """That a single statement committed itself is no news. One line for each transaction, though the statement that
        was in force at its end may have a record of its own."""
        if not (_is_undone(record.outcome) or (self._all and record.transaction)):
            self._written.take(record)
            return
        last = rows[-1] if rows else None
        if isinstance(last, Outcome) and record.transaction and _end(last) == _end(record):
            contexts = tuple(sorted({*last.contexts, *record.contexts}))
            rows[-1] = msgspec.structs.replace(record, contexts=contexts, events=last.events + record.events)
        else:
            rows.append(record)

    def _row(self, event: Event) -> tuple[Event, list[str], tuple[str, str]]:
        """The event's cells; widens the columns for them, so that a batch stands in line from its first line on."""
        part, before, after = change(event, self._max_value)
        what = f"{before} {self._arrow} {after}" if event.changed else f"{after} (unchanged)"
        place, thread = self._place(event.site, event.exact), self._thread(event)
        if event.call is not None:
            place += f"  {_call(event.call)}"
        cells = [named(self._name(event.variable, event.path), part), what, place, thread]
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
        outcome = event.context.outcome
        end = f"{clean(outcome)}: " if _is_undone(outcome) else ""
        statement = brief(f"{event.context.driver}: {event.context.statement}", max(1000, self._max_statement))
        used = 12 + 2 + sum(max(len(c), w) + 2 for c, w in zip(cells, self._columns, strict=True))
        yield from self._with_sql(f"{line}{padding[3]}", used, 28, end, statement, self._max_statement)

    def _with_sql(self, line: str, used: int, room: int, end: str, statement: str, most: int) -> Iterator[str]:
        """A line of ``used`` columns and a statement with what became of it: behind it, or below if there is less
        ``room`` than that."""
        below = self._width is not None and self._width - used < room
        if self._width is not None:
            most = self._width - (14 if below else used)
        statement = shorten(statement, max(20, most - len(end)))
        sql = (self._paint("undone", end) if end else "") + self._paint("sql", statement)
        if below:
            yield line.rstrip()
            yield f"{'':14}{sql}"
        else:
            yield f"{line}  {sql}"

    def _outcome(self, record: Outcome) -> Iterator[str]:
        written, undone = self._written.take(record), _is_undone(record.outcome)
        count = len(record.contexts)
        head = f"{clean(record.outcome)}: {'1 statement' if count == 1 else f'{count:,} statements'}"
        shown = [self._net(writes) for writes in islice(written.variables.values(), VARIABLES)]
        middle = ", under which were written: " if shown else f", under which {record.events:,} events were reported"
        used = 14 + len(head) + len(middle) + sum(len("".join(parts)) + 3 for parts in shown)
        while self._width is not None and used > self._width - 12 and len(shown) > 1:
            used -= len("".join(shown.pop())) + 3
        rest = len(written.variables) - len(shown)
        tail = f", and {rest:,} more" if rest else ""
        if shown and (known := sum(writes.count for writes in written.variables.values())) < record.events:
            tail += f" (of the last {known:,} of {record.events:,} events)"
        painted = ", ".join(
            f"{self._paint('variable', name)} {self._paint('old' if undone else 'same', values)}{times}"
            for name, values, times in shown
        )
        role: Role = "undone" if undone else "life"
        line = f"{self._paint('time', self._time(record.time_ns))}  {self._paint(role, head)}{middle}{painted}{tail}"
        if written.statements:
            listed = self._list(written.statements)
            yield from self._with_sql(line, used + len(tail), len(listed), "", listed, 2 * self._max_statement)
        else:
            yield line

    def _net(self, writes: Writes) -> tuple[str, str, str]:
        """(variable, from the first value to the last, how many writes if several)."""
        event = writes.net()
        part, before, after = change(event, self._max_value // 2)
        values = f"{before} {self._arrow} {after}" if event.changed else after
        times = f" ({writes.count:,} writes)" if writes.count > 1 else ""
        return named(self._name(event.variable, event.path), part), values, times

    def _list(self, statements: Counter[tuple[str, str]]) -> str:
        """``sqlite3: INSERT INTO orders VALUES (?) x2; DELETE FROM stock``."""
        texts, before = [], ""
        for (driver, statement), count in statements.most_common(STATEMENTS):
            text = brief(statement, self._max_statement // 2) + (f" x{count:,}" if count > 1 else "")
            texts.append(text if driver == before else f"{clean(driver)}: {text}")
            before = driver
        rest = len(statements) - len(texts)
        return "; ".join(texts) + (f"; and {rest:,} more" if rest else "")

    def _other(self, record: Record) -> Iterator[str]:
        time_ = self._paint("time", self._time(record.time_ns))
        if isinstance(record, Watched):
            variable = record.variable
            kind = clean(variable.serializer or "bytes")
            place = self._place(variable.watched_at, True)
            value, whose = record.value, self._name(variable.name)
            if value is None and record.part is not None:
                value, whose = record.part.new, named(whose, clean(record.part.name))
                kind += f", {variable.size:,} bytes"
            shown = shorten(_value(value, self._max_value), self._max_value)
            text = f"{self._paint('variable', whose)} is watched: {shown}  ({kind})"
            yield f"{time_}  {text}  {self._paint('site', place)}".rstrip()
        elif isinstance(record, Unwatched):
            text = f"watch of {self._name(record.variable)} ended"
            yield f"{time_}  {self._paint('life', text)}"
        elif isinstance(record, Lost):
            stores = "1 store" if record.count == 1 else f"{record.count:,} stores"
            whose = f" of {self._name(record.variable)}" if record.variable else ""
            yield f"{time_}  {self._paint('lost', f'LOST {stores}{whose}: {clean(record.reason)}')}"
        elif isinstance(record, Outcome):
            yield from self._outcome(record)
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
        self._processes.add((event.pid, event.journal))
        name = clean(event.thread) or (f"thread {event.tid}" if event.tid else "-")
        return f"{_process(event)}/{name}" if len(self._processes) > 1 else name
