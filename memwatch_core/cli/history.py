"""``memwatch history``: the values of a variable over time."""

from __future__ import annotations

import heapq
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import click

from ..answers.asked import Asked, Pattern, Several, asked
from ..answers.moments import END, Cut, Until, cuts_of, moment, process_of, since
from ..answers.runs import Run, Runs
from ..answers.states import States, Value
from ..answers.trails import Trail, Trails, is_item
from ..errors import SessionError
from ..host.moment import Moment
from ..printed import put, say, terminal_width
from ..records import Event, Lost, Record, Unwatched, Watched
from ..rendering.aliases import under_all_names
from ..rendering.endings import ending
from ..rendering.layout import last_part
from ..rendering.sparkline import ASCII, BLOCKS, WIDTH, Series
from .asking import PROGRESS, Session, configured, of_session, session_of
from .blame import about, check_parts, note_indices
from .columns import columns
from .showing import (
    arrow,
    by,
    clock,
    colour,
    file_line,
    headline,
    in_json,
    line_of,
    name_of,
    note,
    put_json,
    statement_of,
    thread_of,
    utf8,
    value_of,
)  # fmt: skip

ROWS = 500
"""Rows that are laid out together."""
HELD = 20 * ROWS
"""Limit of rows that wait for a run that began earlier and hasn't ended."""
VALUE = 24
"""Columns of a value."""
HEADING = ("event", "written", "by", "thread", "change")
_Row = dict[str, Any] | tuple[str, ...]


@click.command("history")
@click.argument("variable", metavar="VARIABLE|PATH")
@click.option("--since", "after", metavar="MOMENT", help="Only what was written from then on.")
@click.option("--until", metavar="MOMENT", default="end", help="Only what was written up to then.")
@click.option("--each", is_flag=True, help="Each write apart, none folded.")
@click.option("--position", is_flag=True, help="Of a list: whatever was at this index, not one item wherever it was.")
@click.option("--json", "as_json", is_flag=True, help="Lines of JSON.")
@of_session
def command(
    variable: str,
    after: str | None,
    until: str,
    each: bool,
    position: bool,
    as_json: bool,
    session: str | None,
    folder: str | None,
    file: str | None,
) -> None:
    """The values of a variable, or of a part of it, over time.

    Writes that follow each other and came from the same line, thread and statement are one row, with their number, the
    value before the first and the value after the last of them. Below, of a number, the whole course as a picture.

    An item of a list is the one that has this index in the end; it is followed to where it was before others came and
    went. --position shows what was at this index, whichever item it was.

    A moment is start, end, a time (15:04:05.123), a date and time, how long ago (5m), or an event's number (120, and
    4711:120 if the session has several processes).

    \b
    memwatch history total                  how did it get there?
    memwatch history order.customer.age     of an attribute
    memwatch history 'grid[3]'              of an element
    memwatch history 'orders:add()#3.total' a function's name, in its third call
    memwatch history total --each --since 5m
    memwatch history total --json | jq -c '[.first.seq, .count, .new]'
    """
    config = configured(folder, file)
    opened = session_of(config, session)
    last = END if until == "end" else moment(until, opened.path, say, what="--until ", progress=PROGRESS)
    from_then = None if after is None else since(after, opened.path, say, PROGRESS)
    words = asked(variable)
    found = _look(opened, words, cuts := cuts_of(opened.path, say))
    states = States(opened.settings.serializers, words.may_be, last, from_then, cuts, asks=words.asks)
    trails = {} if position else _trails(opened, words, last, found, cuts)
    page = _Page(states, words, each, as_json, [value for value, _ in found], trails)
    opened.read(Several([words]), page.take, states.content, prints=True)
    states.end()
    found = opened.found(words, states.values.values())
    if not page.touched:
        check_parts(variable, [(value, part) for value, part in found if value.began is not None])
    if not as_json:
        opened.remark(last)
    page.end(found)
    opened.conclude()


def _look(opened: Session, words: Asked | Pattern, cuts: Mapping[str, Cut]) -> list[tuple[Value, str]]:
    """The variables that are meant. Raises SessionError if these are none, or several: before anything is printed."""
    for several in (None, Several([words])):  # then what is only known of events: a variable, an instance's number
        states = States(opened.settings.serializers, words.may_be, cuts=cuts)
        opened.read(several, states.add)
        if _is_found(words, states):
            break
    return opened.found(words, states.values.values())


def _is_found(words: Asked | Pattern, states: States) -> bool:
    try:
        return bool(words.found(states.values.values()))
    except SessionError:
        return False


def _trails(
    opened: Session, words: Asked | Pattern, last: Moment, found: list[tuple[Value, str]], cuts: Mapping[str, Cut]
) -> dict[tuple[str, int], Trail]:
    """Where the items that are meant were before, of those that have moved; where nothing was written to one that is
    there in the end, it is a position."""
    parts = {(value.journal, value.ident): part for value, part in found if is_item(part)}
    if not parts or isinstance(words, Pattern):
        return {}
    states = States(opened.settings.serializers, words.may_be, last, cuts=cuts)
    collected, until = {key: Trails(part) for key, part in parts.items()}, Until(last)

    def take(record: Record) -> None:
        for event in under_all_names(record) if isinstance(record, Event) else ():
            value = states.known(event)
            if (
                value is not None
                and until(event)
                and (trail := collected.get((event.journal, event.variable_id))) is not None
            ):
                trail.add(value.placed, event)
        states.add(record)

    opened.read(Several([words]), take, states.content)
    there = {
        key
        for key, value in states.values.items()
        if value.placed is not None and value.placed.below(parts.get(key, ""))
    }
    return {key: trail.followed() for key, trail in collected.items() if key in there}


class _Page:
    """Prints the runs of each variable, by when they began. ``values``: the variables, as far as they are known."""

    def __init__(
        self,
        states: States,
        words: Asked | Pattern,
        each: bool,
        as_json: bool,
        values: list[Value],
        trails: Mapping[tuple[str, int], Trail],
    ) -> None:
        self._trails = trails
        self._states, self._words, self._each, self._as_json = states, words, each, as_json
        self._runs: dict[tuple[str, int], Runs] = {}
        self._series: dict[tuple[str, int], Series | None] = {}
        self._rows: list[tuple[int, int, _Row]] = []
        """A heap: when, in records; the number of the row; the row."""
        self._begun: list[tuple[int, tuple[str, int]]] = []
        """A heap: when, in records, a run began, and of which variable; those that have ended may still be in it."""
        self._enough = ROWS
        """How many rows are held before some are printed."""
        self._count = self._tick = 0
        self._headed = False
        self._journals = {value.journal for value in values}
        self._known = {(value.journal, value.ident) for value in values} if isinstance(words, Asked) else set()
        names = Counter((value.journal, value.name) for value in values)
        self._several = {name for (_, name), count in names.items() if count > 1}
        self.touched = False
        """Whether any event wrote to what is asked for."""

    def take(self, record: Record) -> None:
        self._tick += 1
        if not isinstance(record, Event):
            self._states.add(record)
            self._other(record)
            return
        touched = []
        for event in under_all_names(record):
            key = event.journal, event.variable_id
            runs = self._runs.get(key)
            if runs is None and (runs := self._begin(event)) is not None:
                self._runs[key] = runs
            if runs is not None and runs.before(event):
                self.touched = True
                touched.append((key, runs, event))
        if not self._states.add(record):
            return
        for key, runs, event in touched:
            if (run := runs.after(event, self._tick)) is not None:
                self._put(run)
            if runs.began() == self._tick:
                heapq.heappush(self._begun, (self._tick, key))
            self._draw(key, runs)

    def _begin(self, event: Event) -> Runs | None:
        value = self._states.known(event)
        if value is None or (self._known and (value.journal, value.ident) not in self._known):
            return None
        part = next((part for _, part in self._words.found([value])), None)
        self._journals.add(value.journal)
        return None if part is None else Runs(value, part, self._each, self._trails.get((value.journal, value.ident)))

    def _draw(self, key: tuple[str, int], runs: Runs) -> None:
        number, one = runs.number(), runs.is_of_one_part()
        series = self._series.setdefault(key, Series())
        if number is None or not one:
            self._series[key] = None
        elif series is not None:
            series.add(number)

    def _other(self, record: Record) -> None:
        if self._as_json:
            return
        if isinstance(record, Watched):
            value = self._states.values.get((record.variable.journal, record.variable.id))
            if value is not None:
                what = f"watched {self._name(value)}" if isinstance(self._words, Pattern) else "watched"
                text = value_of(record.value, VALUE) if record.value is not None else "(large)"
                self._row("", record.time_ns, line_of(record.variable.watched_at), "", f"{what}: {text}", value)
        elif isinstance(record, Unwatched):
            value = self._states.values.get((record.journal, record.variable_id))
            if value is not None:
                for run in self._ended(value):
                    self._put(run)
                where = "" if record.site is None else file_line(record.site)
                what = f"watch of {self._name(value)}" if isinstance(self._words, Pattern) else "watch"
                self._row("", record.time_ns, "", "", f"{what} ended{ending(record, where)}", value)
        elif isinstance(record, Lost) and (record.variable is None or self._words.may_be(record.variable, -1)):
            self._row("", record.time_ns, "", "", f"LOST {record.count:,}: {record.reason}", record.pid)

    def _ended(self, value: Value) -> list[Run]:
        runs = self._runs.get((value.journal, value.ident))
        return [] if runs is None else [*runs.end()]

    def _put(self, run: Run) -> None:
        if self._as_json:
            self._hold(
                run.tick,
                {"answer": "run"} | about(run.value) | in_json(run.part, run.first)
                | {"parts": run.others + 1 if run.others else 1, "count": run.count,
                   "old": run.old, "new": run.new, "first": run.first, "last": run.last},
            )  # fmt: skip
            return
        first, last = run.first, run.last
        seq = str(first.seq) if run.count == 1 else f"{first.seq}-{last.seq}"
        times = f" ({run.count:,} times)" if run.count > 1 else ""
        what = f"{value_of(run.old, VALUE)} {arrow()} {value_of(run.new, VALUE)}"
        if run.count == 1 and not first.changed:
            what = f"{value_of(run.new, VALUE)} (unchanged)"
        name = self._name(run.value, run.part, first)
        if run.others:
            what = f"{name} … {self._name(run.value, last.part.name if last.part else '', last)}"
        elif run.part or isinstance(self._words, Asked) is False:
            what = f"{name} {what}"
        if text := statement_of(last):
            what += f"  {text}"
        self._row(seq, first.time_ns, last_part(by(last), 40) + times, thread_of(last), what, run.value, run.tick)

    def _name(self, value: Value, part: str = "", last: Event | None = None) -> str:
        return name_of(value, part, several=self._several, last=last)

    def _row(
        self, seq: str, time_ns: int, by: str, thread: str, what: str, whose: Value | int, tick: int | None = None
    ) -> None:
        process = str(whose) if isinstance(whose, int) else process_of(whose.journal)
        self._hold(self._tick if tick is None else tick, (process, seq, clock(time_ns), by, thread, what))

    def _hold(self, tick: int, row: _Row) -> None:
        """Keeps a row until those that began earlier are there, if these aren't too many."""
        self._count += 1
        heapq.heappush(self._rows, (tick, self._count, row))
        if len(self._rows) < self._enough:
            return
        while self._begun and self._runs[self._begun[0][1]].began() != self._begun[0][0]:
            heapq.heappop(self._begun)
        first = self._begun[0][0] if self._begun else self._tick + 1
        self._flush(lambda tick: tick < first)
        if len(self._rows) >= HELD:
            left = len(self._rows) - ROWS
            self._flush(lambda _: len(self._rows) > left)
        self._enough = len(self._rows) + ROWS

    def _flush(self, may: Callable[[int], bool] = lambda _: True) -> None:
        """Prints the rows that may be, the earliest first."""
        rows: list[tuple[str, ...]] = []
        while self._rows and may(self._rows[0][0]):
            row = heapq.heappop(self._rows)[-1]
            if isinstance(row, dict):
                put_json(row)
                continue
            process, seq, *rest = row
            if len(self._journals) > 1:
                seq = f"{process}:{seq}" if seq else process
            rows.append((seq, *rest))
            if len(rows) >= ROWS:
                self._lay_out(rows)
                rows = []
        self._lay_out(rows)

    def _lay_out(self, rows: list[tuple[str, ...]]) -> None:
        if rows:
            heading = () if self._headed else HEADING
            self._headed = True
            for line in columns(rows, heading, (None, "time", "site", "thread"), short=True):
                put(line)

    def end(self, found: list[tuple[Value, str]]) -> None:
        """Prints the last runs, and pictures of numbers."""
        values = [value for value, _ in found]
        for value in values:
            for run in self._ended(value):
                self._put(run)
        self._flush()
        if self._as_json:
            return
        if not self._headed:
            for value in values:
                note(headline(value, processes=True), "note")
                put(colour("note", "nothing was written to it"))
        for value in values:
            series = self._series.get((value.journal, value.ident))
            if series is not None and series.count > 2:
                width = min(WIDTH, max(20, (terminal_width(sys.stdout) or 80) - 30))
                line = series.line(width, BLOCKS if utf8() else ASCII)
                whose = f"{process_of(value.journal)}: " if len(values) > 1 else ""
                put(f"{whose}{series.least:g} {colour('new', line)} {series.greatest:g}  ({series.count:,} writes)")
        for value, part in found:
            trail = self._trails.get((value.journal, value.ident))
            if trail is None:
                note_indices(value, part)
            elif len(trail) > 1:
                _note_followed(value, part, trail)


def _note_followed(value: Value, part: str, trail: Trail) -> None:
    """Says what an item was called, if that was something else, and how far back it is known."""
    names = [name for _, name in trail if name is not None]
    if len({*names}) > 1:
        note(f"{name_of(value, part)} is one item, called by its index at that time; --position shows this index")
    elif trail[0][1] is None:
        note(f"what was at {name_of(value, part)} before event {trail[1][0]:,} was another item; --position shows it")
