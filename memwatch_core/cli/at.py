"""``memwatch at``: every watched value as it was at a moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import click

from ..answers.asked import Asked, Pattern, Several, asked
from ..answers.blamed import Row, doubts, is_there, rows
from ..answers.moments import cuts_of, moment, process_of
from ..answers.parts import UNKNOWN
from ..answers.placed import is_opened
from ..answers.states import WITH_THE_PROGRAM, States, Value
from ..host.moment import Moment
from ..printed import put, say
from ..records import Event
from ..rendering.layout import last_part
from .asking import PROGRESS, Question, Session, configured, of_session, session_of
from .blame import about
from .columns import columns
from .showing import by, clock, colour, in_json, name_of, note, note_calls, put_json, shown

HEADING = ("event", "written", "by", "value")


@click.command("at")
@click.argument("at", metavar="MOMENT")
@click.argument("variables", metavar="[VARIABLE|PATH]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Lines of JSON.")
@of_session
def command(
    at: str, variables: tuple[str, ...], as_json: bool, session: str | None, folder: str | None, file: str | None
) -> None:
    """Every watched value as it was at a moment, in each process, with who had written it.

    A moment is start, end, a time as memwatch log shows it (15:04:05.123), a date and time, how long ago (5m), or the
    number of an event, after which it is: 120, and 4711:120 if the session has several processes. The other processes
    are shown as they were at that event's time. What is written at the moment itself is included.

    Of a function, each name is that of the call that bound it last; whether that call still ran isn't recorded.

    Nothing is guessed: what a journal doesn't say any more is "unknown", and what may have changed unseen has a "?".

    \b
    memwatch at 15:04:05.123                  all values
    memwatch at 15:04:05.123 total order      these two
    memwatch at 4711:120 'order.customer.*'   after event 120 of process 4711
    memwatch at 120 'orders:add()#3'          what a function's third call held
    memwatch at end --json | jq -c '{variable, part, value}'
    """
    config = configured(folder, file)
    opened = session_of(config, session)
    until = moment(at, opened.path, say, progress=PROGRESS)
    words = [asked(text) for text in variables]

    several, cuts = Several(words), cuts_of(opened.path, say)

    def begin(digests: bool) -> _At:
        states = States(
            opened.settings.serializers, several.may_be, until, cuts=cuts, forget=not words, asks=several.asks
        )
        return _At(states, [until] if digests else None)

    states = opened.ask(several, begin).states
    states.end()
    found = _found(opened, states, words)
    if as_json:
        for value, part in found:
            _put_json(value, part)
    else:
        opened.remark(until)
        _put(found, states, at)
    opened.conclude()


class _At(Question):
    """``moments``: see :class:`Question`."""

    def __init__(self, states: States, moments: list[Moment] | None) -> None:
        super().__init__(states)
        self.states, self.moments = states, moments


def _found(opened: Session, states: States, words: list[Asked | Pattern]) -> list[tuple[Value, str]]:
    """The variables that were watched at the moment, in order of process and of beginning."""
    if words:
        asked_for = dict.fromkeys(each for one in words for each in opened.found(one, states.values.values()))
        return [(value, part) for value, part in asked_for if value.began is not None]
    watched = [
        value
        for value in states.values.values()
        if value.began is not None and (value.ended is None or value.ended.why in WITH_THE_PROGRAM)
    ]
    return [(value, "") for value in sorted(watched, key=lambda value: (value.pid, value.journal, value.ident))]


def _put(found: list[tuple[Value, str]], states: States, at: str) -> None:
    journals = dict.fromkeys(value.journal for value, _ in found)
    for number, journal in enumerate(journals):
        mine = [(value, part) for value, part in found if value.journal == journal]
        if len(journals) > 1:
            put(("\n" if number else "") + colour("heading", f"process {process_of(journal)}"))
        names = Counter(value.name for value, _ in mine)
        several = {name for name, count in names.items() if count > 1}
        table = [
            _cells(value, row, several)
            for value, part in mine
            for row in shown_rows(value, part)
            if not is_opened(row.value)
        ]
        for line in columns(table, HEADING if table else (), (None, "time", "site"), short=True):
            put(line)
        for text in _notes(mine):
            note(text)
        note_calls(mine)
    if not found:
        ended = sum(value.began is not None for value in states.values.values())
        put(colour("note", f"nothing was watched at {at}" + (" any more" if ended else "")))


def shown_rows(value: Value, part: str) -> list[Row]:
    """One row for a value that is known; or one for each of its places, or parts."""
    if part or value.placed is not None or value.parts is None or value.memory is None:
        return [row for row in rows(value, part) if is_there(row)]
    found = list(rows(value))
    if len(found) == 1:
        return found
    whole = value.parts.whole(value.memory)
    if whole is UNKNOWN or any(row.doubt for row in found):
        return found
    last = max((row.last for row in found if row.last is not None), key=lambda event: event.seq, default=None)
    size = 0 if value.variable is None else value.variable.size
    return [Row("", whole, last, max(row.writes for row in found), frozenset(), start=0, stop=size)]


def _cells(value: Value, row: Row, several: set[str]) -> tuple[str, ...]:
    name = name_of(value, row.part, several=several, last=row.last)
    if row.last is None:
        return "-", "-", "changed unseen" if row.unseen else "as watched", f"{name} = {shown(row)}"
    last: Event = row.last
    return str(last.seq), clock(last.time_ns), last_part(by(last), 36), f"{name} = {shown(row)}"


def _notes(found: Iterable[tuple[Value, str]]) -> Iterable[str]:
    """Each once."""
    said: dict[str, None] = {}
    for value, part in found:
        if value.cut is not None:
            gone = f"events before {value.cut.seq:,} are no longer there (journal.max_bytes)"
            said[f"{gone}: what they wrote is unknown"] = None
        for doubt in doubts(value, part):
            said[f"what has a ? may have changed unseen: {doubt}"] = None
    return said


def _put_json(value: Value, part: str) -> None:
    for row in shown_rows(value, part):
        put_json(
            {"answer": "value"} | about(value)
            | in_json(row.part, row.last)
            | {"value": row.value, "known": row.value is not UNKNOWN, "doubt": row.doubt,
               "ended": value.ended is not None, "last": row.last}
        )  # fmt: skip
