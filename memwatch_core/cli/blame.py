"""``memwatch blame``: who wrote each part of a value last."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, get_args

import click

from ..answers.asked import Several, asked
from ..answers.authors import DIGESTED, Author, Authors, By, Count
from ..answers.blamed import Row, by_event, by_place, doubts, is_there, rows
from ..answers.calls import NUMBER, in_call, without_call
from ..answers.lost_updates import LostUpdate, LostUpdates
from ..answers.moments import cuts_of, moment, since
from ..answers.parts import LENGTH
from ..answers.placed import covers
from ..answers.states import States, Value
from ..answers.suspects import Suspects
from ..config import suggest
from ..errors import SessionError
from ..host.digests import Digest, Undecided, Wrote
from ..host.moment import Moment
from ..printed import clean, put, say, shows_colours
from ..records import Event, Record
from ..rendering.aliases import under_all_names
from ..rendering.hexview import LINES_MOST, NOBODY, Span, hexview, letter, role
from ..rendering.layout import both_ends, last_part
from ..rendering.unfollowed import reason
from .asking import PROGRESS, Make, Question, configured, of_session, session_of
from .columns import columns
from .showing import (
    by,
    clock,
    colour,
    file_line,
    fitting,
    headline,
    in_json,
    line_of,
    name_of,
    note,
    note_calls,
    put_json,
    shown,
    statement_of,
    thread_of,
    value_of,
)  # fmt: skip

HEADING = ("event", "written", "by", "thread", "writes", "value")
PLACE = 40
"""Columns of a line that wrote."""
SHOWN = 3
"""Ranges of bytes that are named."""


@click.command("blame")
@click.argument("variable", metavar="VARIABLE|PATH")
@click.option("--at", "at", metavar="MOMENT", default="end", help="As it was then: a time, PID:NUMBER of an event.")
@click.option("--since", "after", metavar="MOMENT", help="Count only writes from then on; ^ marks older ones.")
@click.option("--by", "author", type=click.Choice(get_args(By)), help="Count who wrote how often, instead.")
@click.option("--each", is_flag=True, help="Each element that was written apart; all lines of bytes.")
@click.option("--json", "as_json", is_flag=True, help="Lines of JSON.")
@of_session
def command(
    variable: str,
    at: str,
    after: str | None,
    author: By | None,
    each: bool,
    as_json: bool,
    session: str | None,
    folder: str | None,
    file: str | None,
) -> None:
    """Who wrote each part of a value last, as git blame says it of lines.

    For each field, element, attribute, key or item, or range of bytes: its value, the event that wrote it last (line in
    the program's own code, thread, statement), how often it was written, and, if from several lines, from how many.
    Elements side by side that one line wrote are one row. Of bytes, letters or colours say which row wrote them.

    A moment is start, end, a time as memwatch log shows it (15:04:05.123), a date and time, how long ago (5m), or the
    number of an event: 120, and 4711:120 if the session has several processes.

    Says so if two threads added to a number and both began with the same old value.

    \b
    memwatch blame total                      who changed total last?
    memwatch blame 'total#57'                 of several, this one
    memwatch blame order                      each of its attributes
    memwatch blame 'order.*.age'              some of them
    memwatch blame 'buffer[0:64]'             who wrote these bytes?
    memwatch blame total --at 15:04:05.123    and who until then?
    memwatch blame total --by thread          who wrote how often?
    memwatch blame order --json | jq -c '{part, value, line: .last.own.line}'
    """
    config = configured(folder, file)
    opened = session_of(config, session)
    until = moment(at, opened.path, say, what="--at ", progress=PROGRESS)
    from_then = None if after is None else since(after, opened.path, say, PROGRESS)
    words = asked(variable)
    cuts = cuts_of(opened.path, say)

    def begin(digests: bool) -> _Blame:
        states = States(opened.settings.serializers, words.may_be, until, from_then, cuts, asks=words.asks)
        moments = [until] if from_then is None else [until, from_then]
        return _Blame(states, words, author, None if not digests else moments)

    asked_for = opened.ask(Several([words]), begin)
    states, lost, written = asked_for.states, asked_for.lost, asked_for.written
    states.end()
    found = [(value, part) for value, part in opened.found(words, states.values.values()) if value.began is not None]
    if not found:
        raise SessionError(f"{variable!r} wasn't watched yet at {at!r}")
    check_parts(variable, found)
    if not as_json:
        opened.remark(until)
    for number, (value, part) in enumerate(found):
        if not as_json:
            if number:
                put()
            note(headline(value, processes=len(found) > 1), "heading")
        key = value.journal, value.ident
        if author is not None:
            _put_authors(value, written.get(key) or Authors(author), author, as_json)
            if not as_json:
                note_indices(value, part)
        elif as_json:
            _put_rows_as_json(value, part, lost)
        else:
            _put_rows(value, part, each)
        if not as_json:
            _put_notes(value, part, lost)
            if author is None:
                note_calls([(value, part)])
    opened.conclude()


class _Blame(Question):
    """``moments``: see :class:`Question`."""

    def __init__(self, states: States, words: Any, author: By | None, moments: list[Moment] | None) -> None:
        super().__init__(states)
        self.states, self._author = states, author
        self.lost, self._suspects = LostUpdates(), None if moments is None else Suspects()
        self.written: dict[tuple[str, int], Authors] = {}
        self._touched = _Touched(states, words)
        if author is None or author in DIGESTED:
            self.moments = moments

    def take(self, record: Record) -> None:
        if not self.states.add(record) or not isinstance(record, Event):
            return
        for event in under_all_names(record):
            if (value := self.states.values.get((event.journal, event.variable_id))) is not None:
                if self._suspects is not None and value.placed is None:
                    self._suspects.add(event)
                else:
                    self.lost.add(event)
                if self._author is not None and self._touched.by(event):
                    self._written(event.journal, event.variable_id, self._author).add(event)

    def digest(self, digest: Digest) -> None:
        counted = self.states.digest(digest)
        assert self._suspects is not None
        self._suspects.digest(digest, counted)
        for wrote in counted if self._author is not None else ():
            assert self._author is not None
            if self._touched.by_any(digest.journal, wrote):
                self._written(digest.journal, wrote.variable, self._author).digest(wrote, digest.pid)

    def _written(self, journal: str, ident: int, author: By) -> Authors:
        return self.written.setdefault((journal, ident), Authors(author))

    def settle(self, make: Make) -> None:
        assert self._suspects is not None
        self._suspects.clear(self.states.values, self.states.serializers, self.lost.followed, make)
        events = make(self.states.unsettled().union(*(authors.unsettled() for authors in self.written.values())))
        self.states.settle(events)
        for authors in self.written.values():
            authors.settle(events)


def check_parts(variable: str, found: list[tuple[Value, str]]) -> None:
    """Raises SessionError if variables have no such part."""
    there = [next(rows(value, part), None) for value, part in found]
    if found and not any(there) and all(part and value.placed is not None for value, part in found):
        called = max(found, key=lambda each: each[0].calls)[0]
        if called.calls and NUMBER in variable:
            times = "once" if called.calls == 1 else f"{called.calls:,} times, counted from 1"
            gone = "" if called.cut is None else f", and events before {called.cut.seq:,} are no longer there"
            raise SessionError(f"{variable!r}: nothing was bound there; {clean(called.name)} was called {times}{gone}")
        names = [
            name_of(value, name) for value, _ in found if value.placed is not None for name in value.placed.below("")
        ]
        raise SessionError(
            f"{variable!r}: nothing was written to such a place{suggest(variable, names) or _there(names)}"
        )


def note_indices(value: Value, part: str) -> None:
    """Says so if events are told by the index of an item that had another one before."""
    if value.placed is not None and value.placed.renumbers(part):
        note(f"items of {clean(value.name)} were added, deleted or moved: an item is called by its index at that time")


def _there(names: list[str]) -> str:
    return f"; there are {', '.join(names[:8])}{', …' if names[8:] else ''}" if names else ""


class _Touched:
    """Whether events touched the part that was asked for."""

    def __init__(self, states: States, words: Any) -> None:
        self._states, self._words = states, words
        self._known: dict[tuple[str, int], Callable[[int, int, str | None], bool]] = {}

    def by(self, event: Event) -> bool:
        """Whether an event did."""
        touches = self._of(event.journal, event.variable_id)
        names = (None if event.part is None else event.part.name, in_call(event))
        return any(touches(event.offset, len(event.after), name) for name in names)

    def by_any(self, journal: str, wrote: Wrote) -> bool:
        """Whether all of these did. Raises Undecided."""
        value = self._states.values[journal, wrote.variable]
        if value.parts is not None and value.parts.start() and (journal, wrote.variable) not in self._known:
            raise Undecided  # where its parts are depends on the first event
        return self._of(journal, wrote.variable)(wrote.offset, wrote.length, None)

    def _of(self, *key: Any) -> Callable[[int, int, str | None], bool]:
        if key not in self._known:
            self._known[key] = _touches(self._states.values[key], self._words)
        return self._known[key]


def _touches(value: Value, words: Any) -> Callable[[int, int, str | None], bool]:
    """Whether a write to so many bytes at an offset, or to a place, touches the part."""
    part = next((part for _, part in words.found([value])), "")
    if not part:
        return lambda offset, length, name: True
    if value.placed is not None:
        is_covered = covers(part)
        return lambda offset, length, name: name is not None and is_covered(name)
    unit = None if value.parts is None or value.memory is None else value.parts.locate(part, value.memory)
    if unit is None:
        return lambda offset, length, name: False
    return lambda offset, length, name: offset < unit.stop and unit.start < offset + length


# ---- rows -----------------------------------------------------------------------------------------------------------


def _put_rows(value: Value, part: str, each: bool) -> None:
    found = [row for row in rows(value, part, by_event if each else by_place) if row.last is not None or is_there(row)]
    if value.parts is not None and value.parts.is_bytes and value.memory is not None:
        begin = value.parts.start()
        _put_table(value, [row for row in found if row.stop <= begin and (part or row.last is not None or row.doubt)])
        _put_bytes(value, [row for row in found if row.stop > begin], each)
    else:
        _put_table(value, found)
    if not found:
        put(colour("note", "nothing was written to it: its places are known from their first change on"))
    elif value.parts is not None and all(row.start == row.stop and row.part != LENGTH for row in found):
        put(colour("note", "it is empty"))


def _cells(value: Value, row: Row) -> tuple[str, ...]:
    event, sites = row.last, len(row.sites)
    writes = f"{row.writes:,}" + (f" from {sites}" if sites > 1 else "")
    seq = "-" if event is None else f"{event.seq}" if row.writes else f"^{event.seq}"  # as git blame does
    text = f"{name_of(value, row.part, last=event)} = {shown(row)}"
    if event is None:
        return (
            "-",
            "-",
            "changed unseen" if row.unseen else "not known" if value.cut else "as watched",
            "-",
            writes if row.writes else "-",
            text,
        )
    return seq, clock(event.time_ns), last_part(by(event), PLACE), thread_of(event), writes, text


def _put_table(value: Value, found: list[Row]) -> None:
    if not found:
        return
    lines = columns([_cells(value, row) for row in found], HEADING, (None, "time", "site", "thread"), short=True)
    _put_with_statements(lines, [(str(row.last.seq), statement_of(row.last)) for row in found if row.last is not None])


def _put_with_statements(lines: Iterator[str], statements: list[tuple[str, str]]) -> None:
    """Lines of a table, and what was in force at each of them below."""
    for line in lines:
        put(line)
    seen: dict[str, list[str]] = {}
    for number, text in statements:
        if text:
            seen.setdefault(text, []).append(number)
    for text, numbers in seen.items():
        more = f" and {len(numbers) - 4:,} more" if len(numbers) > 4 else ""
        head = f"  {', '.join(numbers[:4])}{more}: "
        for at, line in enumerate(fitting(text, len(head))):
            put(f"{' ' * len(head) if at else head}{colour('sql', line)}")


def _put_bytes(value: Value, found: list[Row], each: bool) -> None:
    """A table of who wrote bytes, and the bytes."""
    memory, parts = value.memory, value.parts
    assert memory is not None
    assert parts is not None
    if not found:
        return
    keys: dict[object, int] = {}
    written: list[_Written] = []
    spans = []
    for row in found:
        number = NOBODY
        if row.last is not None:
            number = keys.setdefault(by_event(row.last) if each else by_place(row.last), len(keys))
            if number == len(written):
                written.append(_Written(row.last))
            written[number].add(row)
        spans.append(Span(row.start, row.stop, number))
    if written:
        table = []
        for number, mine in enumerate(written):
            last = mine.last
            where = ", ".join(row.part + "?" * bool(row.doubt) for row in mine.first) + ", …" * (mine.count > SHOWN)
            table.append(
                (letter(number), str(last.seq), clock(last.time_ns), last_part(by(last), PLACE), thread_of(last),
                 f"{mine.writes:,}", where, statement_of(last))
            )  # fmt: skip
        lines = [
            *columns(
                [row[:-1] for row in table],
                ("", *HEADING[:-1], "bytes"),
                (None, None, "time", "site", "thread"),
                short=True,
            )
        ]
        numbers = iter(range(len(written)))
        lines[1:] = [line if line[:1] in ("", " ") else _lettered(line, next(numbers)) for line in lines[1:]]
        _put_with_statements(iter(lines), [(row[0], row[-1]) for row in table])
    paint = colour if shows_colours(sys.stdout) else None

    def read(start: int, stop: int) -> Iterator[tuple[int, bool]]:
        return zip(memory.peek(start, stop), memory.known(start, stop), strict=True)

    if value.variable is not None and "secret" in value.variable.flags:
        put("  each byte stands for another one: the value is a secret")
    for line in hexview(read, spans, paint, parts.start(), None if each else LINES_MOST):
        put(line)


class _Written:
    """What one author wrote."""

    __slots__ = ("count", "first", "last", "writes")

    def __init__(self, last: Event) -> None:
        self.last, self.first, self.count, self.writes = last, list[Row](), 0, 0

    def add(self, row: Row) -> None:
        assert row.last is not None
        if row.last.seq > self.last.seq:
            self.last = row.last
        self.count += 1
        self.writes = max(self.writes, row.writes)
        if self.count <= SHOWN:
            self.first.append(row)


def _lettered(line: str, author: int) -> str:
    """A row of the table, its letter in the author's colour."""
    return colour(role(author), line[0]) + line[1:]


def _put_rows_as_json(value: Value, part: str, lost: LostUpdates) -> None:
    for row in rows(value, part, by_event):
        if row.last is None and not is_there(row):
            continue
        put_json(
            {"answer": "part"}
            | about(value)
            | in_json(row.part, row.last)
            | {"bytes": [row.start, row.stop] if row.stop else None, "value": row.value,
               "doubt": row.doubt, "unseen": row.unseen, "writes": row.writes, "sites": len(row.sites),
               "last": row.last}
        )  # fmt: skip
    for each in lost.found(value.journal, value.ident):
        if not _is_of(each, part):
            continue
        put_json(
            {"answer": "lost update"} | about(value)
            | in_json(each.part, each.event)
            | {"step": each.step, "count": each.count, "from": each.base, "event": each.event,
               "over": each.over, "reads": each.reads}
        )  # fmt: skip


def _is_of(lost: LostUpdate, part: str) -> bool:
    """Whether updates of a part, or of one below it, were lost."""
    return not part or covers(part)(lost.part) or covers(part)(without_call(lost.part))


def about(value: Value) -> dict[str, Any]:
    """Which variable, for a line of JSON."""
    return {"variable": value.name, "variable_id": value.ident, "pid": value.pid, "journal": value.journal}


# ---- who wrote how often --------------------------------------------------------------------------------------------


def _put_authors(value: Value, authors: Authors, kind: By, as_json: bool) -> None:
    found = authors.most()
    if as_json:
        for who, count in found:
            put_json(
                {"answer": "author"} | about(value)
                | {"by": kind, "site": who.site, "stack": list(map(line_of, who.stack)) or None,
                   "thread": who.thread or None, "tid": who.tid or None, "driver": who.driver or None,
                   "statement": who.statement or None, "request": who.request or None,
                   "writes": count.writes, "changed": count.changed,
                   "first": count.first, "last": count.last}
            )  # fmt: skip
        return
    if not found:
        put(colour("note", "nothing was written to it"))
        return
    table = [_author_cells(who, count, kind) for who, count in found]
    for line in columns(
        table, ("writes", "changed", "first", "last", kind), (None, None, "time", "time", "site"), short=True
    ):
        put(line)


def _author_cells(who: Author, count: Count, kind: By) -> tuple[str, ...]:
    times = clock(count.first.time_ns), clock(count.last.time_ns)
    return f"{count.writes:,}", f"{count.changed:,}", *times, _name(who, count, kind)


def _name(who: Author, count: Count, kind: By) -> str:
    if who.others:
        return "(others)"
    if kind == "thread":
        return who.thread or (f"thread {who.tid}" if who.tid else "(threads aren't tracked)")
    if kind == "statement":
        return f"{who.driver}: {who.statement}" if who.statement else "(none)"
    if kind in ("label", "task", "trace"):
        return who.request or "(none)"
    if who.site is None:
        return f"({who.found})"
    if kind == "function":
        return f"{who.site.function or '?'} in {file_line(who.site)}"
    return " < ".join([line_of(who.site), *map(line_of, who.stack)])


# ---- remarks --------------------------------------------------------------------------------------------------------


def _put_notes(value: Value, part: str, lost: LostUpdates) -> None:
    if value.cut is not None:
        note(f"events before {value.cut.seq:,} are no longer there (journal.max_bytes): only later writes are counted")
    for doubt in doubts(value, part):
        note(f"what has a ? may have changed unseen: {doubt}")
    if value.placed is not None and value.placed.unnamed:
        note(f"{value.placed.unnamed:,} writes were to places whose path isn't known")
    for left_out in value.unfollowed.values():
        name = clean(both_ends(name_of(value, left_out.name), PLACE))
        note(
            f"{name} is not followed: {reason(left_out)}"
            + (f" ({left_out.count:,} such)" if left_out.count > 1 else "")
        )
    for each in lost.found(value.journal, value.ident):
        if _is_of(each, part):
            note(_lost(value, each))
    if not lost.complete:
        note("lost updates were looked for in the first 10,000 places only")


def _lost(value: Value, each: LostUpdate) -> str:
    times = "once" if each.count == 1 else f"{each.count:,} times"
    step, event, over = each.step, each.event, each.over
    new = event.part.new if event.part is not None else event.new
    base, line = value_of(each.base), line_of(event.own or event.site)
    kind = "lost update" if each.reads else "looks like a lost update"
    does = "writes what it makes of it" if step is None else f"adds {value_of(step)}"
    doubt = (
        "" if each.reads else "; or this line counts by itself: it was never seen to add to what another thread left"
    )
    return (
        f"{kind} of {name_of(value, each.part)}, {times}: {line} {does}, but {thread_of(event)} "
        f"stored {value_of(new)} (event {event.seq}), as if it were still {base}, over what {thread_of(over)} stored "
        f"from {base} (event {over.seq}){doubt}"
    )
