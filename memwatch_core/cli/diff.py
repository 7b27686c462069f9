"""``memwatch diff``: what changed between two moments of a session, or between two sessions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping

import click

from ..answers.asked import Asked, Pattern, Several, asked
from ..answers.compared import Difference, calls_of, differences
from ..answers.moments import END, Cut, cuts_of, is_moment, moment, process_of
from ..answers.parts import UNKNOWN
from ..answers.placed import covers, is_opened
from ..answers.states import Key, States, Value
from ..config import Config
from ..errors import SessionError
from ..host.moment import Moment
from ..printed import put, say
from ..records import Record, Unwatched
from ..rendering.layout import last_part
from .asking import PROGRESS, Question, Session, configured, of_session, session_of
from .blame import about
from .columns import columns
from .showing import arrow, by, clock, colour, in_json, name_of, note, note_calls, put_json, thread_of, value_of

HEADING = ("event", "written", "by", "thread", "writes", "change")
VALUE = 30
"""Columns of a value."""


@click.command("diff")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.argument("variables", metavar="[VARIABLE|PATH]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Lines of JSON.")
@of_session
def command(
    a: str,
    b: str,
    variables: tuple[str, ...],
    as_json: bool,
    session: str | None,
    folder: str | None,
    file: str | None,
) -> None:
    """What changed between two moments of a session, A and B, and by whom; or between the ends of two sessions.

    A moment is start, end, a time as memwatch log shows it (15:04:05.123), a date and time, how long ago (5m), or the
    number of an event, after which it is: 120, and 4711:120 if the session has several processes. Anything else is the
    name of a session, as memwatch log --list shows it.

    Of a function, each name is that of the call that bound it last up to B, and compared with what that call held at A.

    What was written and is the same again isn't shown. A variable that was watched later than A is compared with what
    it was then. Of two sessions, variables of the same name are compared, process by process.

    \b
    memwatch diff start end                       what is different in the end?
    memwatch diff 15:04:05 15:04:06 order         of order, within this second
    memwatch diff 4711:120 4711:180               what did these 60 events do?
    memwatch diff 20261123-150405-0a1b2c 20261123-151122-77aa01
    """
    config = configured(folder, file)
    words = [asked(text) for text in variables]
    if not is_moment(a) and not is_moment(b):
        _sessions(config, a, b, words, as_json)
        return
    opened = session_of(config, session)
    one, other = (moment(each, opened.path, say, progress=PROGRESS) for each in (a, b))
    cuts = cuts_of(opened.path, say)
    if _is_later(one, other):
        raise SessionError(f"{a!r} is later than {b!r}: write the earlier moment first")

    def begin(digests: bool) -> _Between:
        before = States(opened.settings.serializers, several.may_be, one, cuts=cuts, forget=not words)
        after = States(opened.settings.serializers, several.may_be, other, one, cuts, asks=several.asks)
        return _Between(before, after, [one, other] if digests else None)

    asked_for = opened.ask(several := Several(words), begin)
    before, after = asked_for.before, asked_for.after
    before.end()
    after.end()
    _check(opened, words, after)
    if not as_json:
        opened.remark(other)
    earlier = before.values | _of_functions(opened, after, one, cuts)
    pairs = [(earlier[key], value) for key, value in after.values.items() if value.began is not None]
    pairs.sort(key=lambda pair: (pair[1].pid, pair[1].journal, pair[1].ident))
    _put(pairs, words, as_json, f"between {a} and {b}", by_call=True)
    opened.conclude()


def _of_functions(opened: Session, after: States, one: Moment, cuts: Mapping[str, Cut]) -> dict[Key, Value]:
    """Of functions, what the calls of which something is told held at the first moment. Which these are is known when
    all has been read."""
    names = dict.fromkeys(value.name for value in after.values.values() if value.calls)
    if not names:
        return {}
    several = Several([Asked(name) for name in names])
    states = States(opened.settings.serializers, several.fits, one, cuts=cuts, asks=calls_of(after))
    opened.read(several, states.add)
    states.end()
    return {key: value for key, value in states.values.items() if key in after.values}


class _Between(Question):
    """``moments``: see :class:`Question`."""

    def __init__(self, before: States, after: States, moments: list[Moment] | None) -> None:
        super().__init__(before, after)
        self.before, self.after, self.moments = before, after, moments

    def take(self, record: Record) -> None:
        super().take(record)
        if isinstance(record, Unwatched) and (key := (record.journal, record.variable_id)) not in self.before.values:
            self.after.values.pop(key, None)


class _AtEnd(Question):
    """``moments``: see :class:`Question`."""

    def __init__(self, states: States, moments: list[Moment] | None) -> None:
        super().__init__(states)
        self.states, self.moments = states, moments


def _is_later(one: Moment, other: Moment) -> bool:
    if one.journal and one.journal == other.journal:
        return one.seq > other.seq
    return one.time > other.time


def _check(opened: Session, words: list[Asked | Pattern], states: States) -> None:
    for each in words:
        opened.found(each, states.values.values())


# ---- two sessions ---------------------------------------------------------------------------------------------------


def _sessions(config: Config, a: str, b: str, words: list[Asked | Pattern], as_json: bool) -> None:
    ends, several = [], Several(words)
    for name in (a, b):
        opened = session_of(config, name)
        states = opened.ask(several, _begin(opened, several)).states
        states.end()
        ends.append((opened, states))
    (first, one), (second, other) = ends
    for each in words:
        second.found(each, [*one.values.values(), *other.values.values()][: len(other.values) or None])
    before, after = _named(one), _named(other)
    pairs = [(before[key], value) for key, value in after.items() if key in before]
    _put(pairs, words, as_json, f"between the ends of {first.path.name} and {second.path.name}")
    if not as_json:
        _put_missing(before, after, first, second)
    first.conclude()
    second.conclude()


def _begin(opened: Session, several: Several) -> Callable[[bool], _AtEnd]:
    cuts = cuts_of(opened.path, say)

    def begin(digests: bool) -> _AtEnd:
        return _AtEnd(States(opened.settings.serializers, several.may_be, END, cuts=cuts), [END] if digests else None)

    return begin


def _named(states: States) -> dict[tuple[int, str, int], Value]:
    """Variables by process (the first one to watch something is 0), name, and number among those of this name."""
    processes: dict[str, int] = {}
    counts: Counter[tuple[int, str]] = Counter()
    found = {}
    for value in sorted(states.values.values(), key=lambda value: (value.began or 0, value.ident)):
        process = processes.setdefault(value.journal, len(processes))
        found[process, value.name, counts[process, value.name]] = value
        counts[process, value.name] += 1
    return found


def _put_missing(
    before: dict[tuple[int, str, int], Value], after: dict[tuple[int, str, int], Value], one: Session, other: Session
) -> None:
    for have, lack, session in ((before, after, one), (after, before, other)):
        names = [*dict.fromkeys(value.name for key, value in have.items() if key not in lack)]
        if names:
            more = ", …" if len(names) > 8 else ""
            note(f"only in {session.path.name}: {', '.join(names[:8])}{more}")


# ---- output ---------------------------------------------------------------------------------------------------------


def _put(
    pairs: list[tuple[Value, Value]],
    words: list[Asked | Pattern],
    as_json: bool,
    when: str,
    *,
    by_call: bool = False,
) -> None:
    by_journal: dict[str, list[tuple[Value, Value, Difference]]] = defaultdict(list)
    for one, other in pairs:
        fitting = [each for each in words if each.may_be(other.name, other.ident)]
        asked_for = [_is_asked(other, part) for each in fitting for _, part in each.found([other])]
        for found in differences(one, other, by_call=by_call):
            if not words or any(is_asked(found) for is_asked in asked_for):
                by_journal[other.journal].append((one, other, found))
    if as_json:
        for rows in by_journal.values():
            for one, other, found in rows:
                _put_json(one, other, found)
        return
    for number, (journal, rows) in enumerate(by_journal.items()):
        if len({other.journal for _, other in pairs}) > 1:
            put(("\n" if number else "") + colour("heading", f"process {process_of(journal)}"))
        names = Counter(
            value.name for value in {id(other): other for _, other in pairs if other.journal == journal}.values()
        )
        several = {name for name, count in names.items() if count > 1}
        table = [_cells(other, found, several) for _, other, found in rows]
        for line in columns(table, HEADING, (None, "time", "site", "thread"), short=True):
            put(line)
    shown = {id(other): other for rows in by_journal.values() for _, other, found in rows if "#" not in found.part[:1]}
    note_calls([(value, "") for value in shown.values()])
    if not by_journal:
        put(colour("note", f"no difference {when}"))
    doubts = dict.fromkeys(found.doubt for rows in by_journal.values() for _, _, found in rows if found.doubt)
    for doubt in doubts:
        note(f"what has a ? may have changed unseen: {doubt}")


def _is_asked(value: Value, part: str) -> Callable[[Difference], bool]:
    """Whether a difference is of a part."""
    if not part:
        return lambda found: True
    if value.placed is not None:
        is_covered = covers(part)
        return lambda found: is_covered(found.part)
    unit = None if value.parts is None or value.memory is None else value.parts.locate(part, value.memory)
    if unit is None:
        return lambda found: False
    start, stop = unit.start, unit.stop
    return lambda found: found.start < stop and start < found.stop


def _cells(value: Value, found: Difference, several: set[str]) -> tuple[str, ...]:
    name = name_of(value, found.part, several=several, last=found.last)
    change = f"{name} {value_of(found.old, VALUE)} {arrow()} {value_of(found.new, VALUE)}{'?' if found.doubt else ''}"
    if is_opened(found.new):
        change = f"{name}: items were added or deleted"
    elif found.moved and (is_opened(found.old) or value_of(found.old, VALUE) == value_of(found.new, VALUE)):
        change = f"{name}: its items were put in another order"
    last = found.last
    if last is None:
        return "-", "-", "(not known)", "-", f"{found.writes:,}", change
    return str(last.seq), clock(last.time_ns), last_part(by(last), 32), thread_of(last), f"{found.writes:,}", change


def _put_json(one: Value, other: Value, found: Difference) -> None:
    put_json(
        {"answer": "difference"} | about(other)
        | in_json(found.part, found.last)
        | {"old": found.old, "new": found.new, "known": found.old is not UNKNOWN and
           found.new is not UNKNOWN, "doubt": found.doubt, "writes": found.writes, "last": found.last}
    )  # fmt: skip
