"""Filters of ``memwatch log``: by variable, path, thread, SQL statement, outcome, source line, request and time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from fnmatch import fnmatchcase

import click

from ..config import suggest
from ..records import Event, Lost, Part, Record, Site, Unfollowed, Unwatched, Variable, Watched
from ..rendering.aliases import under_all_names
from ..rendering.changes import LENGTH, named, named_in
from ..rendering.subscripts import STRUCT, meets, opened
from .called import Called

Test = Callable[[Event], bool]
_UNITS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9, "": 10**9}


_BY = (("VARIABLE",), ("VARIABLE",), ("THREAD",), ("CONTEXT",), ("SITE", "STACK"), ("CONTEXT",), *[("REQUEST",)] * 3)
"""For each kind of filter, what it goes by."""


class Filters:
    """Passes an event that matches at least one filter of every kind given.

    A lifecycle record of a variable passes if its name matches and no other kind was given. Losses always pass: the
    missing event may be the one looked for.
    """

    def __init__(
        self,
        variables: Iterable[str] = (),
        threads: Iterable[str] = (),
        statements: Iterable[str] = (),
        places: Iterable[str] = (),
        since: int | None = None,
        outcomes: Iterable[str] = (),
        paths: Iterable[str] = (),
        labels: Iterable[str] = (),
        tasks: Iterable[str] = (),
        traces: Iterable[str] = (),
    ) -> None:
        variables, paths = tuple(variables), tuple(paths)
        self._variables = [_Wanted("--variable", text, _variable, _full_name) for text in variables]
        self._paths = [_Wanted("--path", text, _path, _with_part) for text in paths]
        self._since = since
        self.by_part = bool(paths) or any(character in text for text in variables for character in ".[(#")
        """Whether a filter may name a part of a value. If so, :attr:`wanted` depends on the part that a store touched,
        too."""
        kinds = [
            self._variables,
            self._paths,
            [_Wanted("--thread", text, _thread, lambda event: event.thread or str(event.tid)) for text in threads],
            [_Wanted("--sql", text, _statement, _statement_of) for text in statements],
            [_Wanted("--line", text, _place, _place_of) for text in places],
            [_Wanted("--outcome", text, _outcome, _statement_of) for text in outcomes],
            [_Wanted("--label", text, _label, _labels_of) for text in labels],
            [_Wanted("--task", text, _task, _task_of) for text in tasks],
            [_Wanted("--trace", text, _trace, _trace_of) for text in traces],
        ]
        self._kinds = [kind for kind in kinds if kind]
        self.by = {name for names, kind in zip(_BY, kinds, strict=True) if kind for name in names}
        """What :attr:`wanted` and :attr:`possible` depend on: names for :func:`memwatch_core.host.history.by`."""
        self._names = [kind for kind in (self._variables, self._paths) if kind]
        self.since = since or 0
        self.wanted = self.passes if self._kinds else None
        """Whether an event passes, its time aside; None: all do. The result depends only on the event's variable, path,
        aliases, thread, site, callers, context and request (:mod:`memwatch_core.host.history` relies on that), unless
        :attr:`by_part`."""
        self.possible = self._may_pass if self.by_part else self.wanted
        """As :attr:`wanted`, but also usable with filters by part: whether an event like this one may pass."""
        self.possible_since = 0 if self.by_part else self.since
        """Older events need not be read. 0 with filters by part: :meth:`failed` must know whether the part was ever
        written."""

    def __call__(self, record: Record) -> bool:
        if isinstance(record, Lost):
            return True
        recent = self._since is None or record.time_ns >= self._since
        if isinstance(record, Event):
            return self.passes(record) and recent
        if isinstance(record, Watched | Unwatched | Unfollowed):
            named = sum([wanted.names(record) for wanted in [*self._variables, *self._paths]]) > 0
            return recent and (not self._kinds or (named and len(self._kinds) == 1))
        return recent and not self._kinds

    def passes(self, event: Event) -> bool:
        """Whether an event passes. A filter without a match so far is always evaluated, for :meth:`failed`."""
        passes = True
        for kind in self._kinds:
            found = False
            for wanted in kind:
                if (passes and not found) or not wanted.hit:
                    found |= wanted(event)
            passes &= found
        return passes

    def called(self, record: Record) -> Record:
        """An event of which only another name passes, under that one; any other record as it is."""
        if not isinstance(record, Event) or not record.aliases or not self._names:
            return record
        names = under_all_names(record)
        fits = (name for name in names if all(any(wanted.fits(name) for wanted in kind) for kind in self._names))
        return next(fits, record)

    def _may_pass(self, event: Event) -> bool:
        return any(self._may_pass_as(each) for each in under_all_names(event))

    def _may_pass_as(self, event: Event) -> bool:
        if any(_may_be_of(text, event) for wanted in self._variables for text in (wanted.text, wanted.called.name)):
            return True
        texts = [text for wanted in self._paths for text in (wanted.text, wanted.called.name)]
        return any(_may_begin(text, _full_name(event)) for text in texts) or self.passes(event)

    @property
    def by_number(self) -> bool:
        """Whether a number may mean a call of a function or, of several functions of a name, one: see :meth:`learn`."""
        return any(each.called.number is not None and ":" in each.text for each in [*self._variables, *self._paths])

    def learn(self, records: Iterable[Record]) -> None:
        """Takes note of all variables, before the first event is judged."""
        for record in records:
            if isinstance(record, Watched):
                for wanted in [*self._variables, *self._paths]:
                    wanted.called.see(record.variable)

    def ambiguous(self) -> list[str]:
        """A sentence for each filter whose name is that of several variables of a process."""
        return [said for wanted in [*self._variables, *self._paths] if (said := wanted.ambiguity())]

    def unsure(self) -> list[str]:
        """A sentence for each filter that didn't match events of which not all names are known."""
        return [said for wanted in [*self._variables, *self._paths] if (said := wanted.doubt())]

    def failed(self) -> list[str]:
        """A sentence for each filter that matched no event at all: probably a mistake."""
        return [said for kind in self._kinds for wanted in kind if not wanted.hit and (said := wanted.failure())]


class _Wanted:
    """One filter, and the values it was compared with, to suggest one if nothing matches."""

    MOST = 1000

    def __init__(
        self, option: str, text: str, make: Callable[[str], Test], seen: Callable[[Event], str | tuple[str, ...]]
    ) -> None:
        self._option, self.text, self._seen_of = option, text, seen
        self.called = Called(text if option in ("--variable", "--path") else "")
        self._test = make(text)
        self._by_name = option in ("--variable", "--path")
        self._unsure = 0
        if self.called.number is not None:
            self._test = _either(self._test, self.called.means, make(self.called.name))
        self.hit = False
        self._seen: dict[str, None] = {}
        self._shapes: dict[str, list[int]] = {}

    def __call__(self, event: Event) -> bool:
        names = under_all_names(event) if event.aliases and self._by_name else (event,)
        passes = any(map(self._test, names))
        if passes:
            self.hit = True
        elif not self.hit and len(self._seen) < self.MOST:
            for name in names:
                seen = self._seen_of(name)
                self._seen.update(dict.fromkeys((seen,) if isinstance(seen, str) else seen))
        if event.aliases_cut and not passes:
            self._unsure += 1
        return passes

    def fits(self, event: Event) -> bool:
        """Whether an event passes by its first name, without remembering it."""
        return self._test(event)

    def doubt(self) -> str:
        """A sentence that says that events may be missing, because more names lead to them than are recorded."""
        if not self._by_name or not self._unsure:
            return ""
        return (
            f"{self._option} {self.text!r}: events may be at such a place, too: more names lead to them than "
            "are recorded; look without this filter"
        )

    def names(self, record: Watched | Unwatched | Unfollowed) -> bool:
        """Whether the filter matches a variable's name, whether or not the variable was written."""
        if isinstance(record, Watched):
            self.called.see(record.variable)
            self._note_shape(record.variable)
            name, ident = record.variable.name, record.variable.id
        else:
            name, ident = record.variable, record.variable_id
        passes = name == self.text or _matches(name, self.text)
        if self.called.number is not None:
            if name.endswith("()") and name == self.called.name:
                return True  # it may have no such call
            passes |= ident == self.called.number and (name == self.called.name or _matches(name, self.called.name))
        self.hit |= passes
        if not passes and len(self._seen) < self.MOST:
            self._seen[name] = None
        return passes

    def ambiguity(self) -> str:
        """A sentence that says which variables of a process have the filter's name, if there are several."""
        several = self.called.several()
        return f"{self._option} {self.text!r}: {several}" if several else ""

    def failure(self) -> str:
        seen = [name for name in self._seen if name]
        listed = suggest(self.text, seen) or _there(seen)
        start = f"{self._option} {self.text!r}: "
        if self.called.number is not None and ":" in self.text:
            return (
                f"{start}nothing was written there; behind the name of a function, a number says which call, behind "
                "an attribute of a class, which instance"
            )
        if others := self.called.others():
            return f"{start}nothing was written to this variable; there are {others}"
        if self._option == "--variable":
            of = max((name for name in self._seen if self.text.startswith((f"{name}.", f"{name}["))), default="")
            if of:
                numbers = re.findall(r"\[[-+\d:,\s]*(?:\]|$)", self.text[len(of) :])
                if shape := self._beyond(of, numbers):
                    return f"{start}{of} has no such part: its shape is {shape}"
                if odd := next((each for each in numbers if not _is_index(each)), ""):
                    return f"{start}{odd} is no part: elements and bytes count from 0; write {of}[3] or {of}[0:16], say"
                return f"{start}nothing was written to this part of {of}"
            if of := next((name for name in seen if self.text == named(name, LENGTH)), ""):
                return f"{start}nothing changed the length of {of}"
            return f"{start}no variable has this name{listed}"
        if self._option == "--path":
            return f"{start}nothing was written to such a place{listed}"
        if self._option == "--thread":
            return f"{start}no thread of this name, or id, wrote anything{listed}"
        if self._option == "--line":
            return f"{start}nothing was written from there{_places(self.text, seen)}"
        if self._option in _UNDER:
            what, how = _UNDER[self._option]
            return f"{start}{what}{listed if seen else how}"
        # Finding no such statement or outcome is an answer, not a mistake.
        return "" if seen else f"{start}no event carries a statement: was SQL tracked? (memwatch run --track-sql)"

    def _note_shape(self, variable: Variable) -> None:
        shape = variable.options.get("shape")
        if isinstance(shape, list) and all(type(n) is int for n in shape) and len(self._shapes) < self.MOST:
            self._shapes[variable.name] = shape

    def _beyond(self, name: str, indices: list[str]) -> str:
        """The shape of an array that has no element of these indices; empty: it may have one, or is no array."""
        shape = self._shapes.get(name)
        if shape is None or len(indices) != 1:
            return ""
        numbers = [int(each) if re.fullmatch(r"\s*-?\d{1,18}\s*", each) else 0 for each in indices[0][1:-1].split(",")]
        fits = len(numbers) <= len(shape) and all(-n <= i < n for i, n in zip(numbers, shape, strict=False))
        return "" if fits else f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _either(literal: Test, means: Test, plain: Test) -> Test:
    """A test for a name that ends with a number: one that is called so, or the variable, or call, of this number."""
    return lambda event: literal(event) or (means(event) and plain(event))


def _there(names: list[str]) -> str:
    """``; there are a, b``, or nothing."""
    listed = f"{', '.join(names[:8])}{', …' if names[8:] else ''}"
    return f"; there {'is' if len(names) == 1 else 'are'} {listed}" if names else ""


def _places(text: str, seen: list[str]) -> str:
    """Suggestions for a FILE:LINE without a match: lines of this file that wrote, or files."""
    file, _, line = text.partition(":")
    name = file.rpartition("/")[2]
    of = [place for place in seen if (not name or place.rpartition(":")[0] == name) and not place.endswith(":0")]
    of.sort(key=lambda place: int(place.rpartition(":")[2]))
    if of and line:
        return f", but from {', '.join(of[:8])}{', …' if of[8:] else ''}"
    files = list(dict.fromkeys(place.rpartition(":")[0] for place in seen))
    return f"; write FILE:LINE, FILE or :LINE{suggest(name, files) or _there(files)}"


def _full_name(event: Event) -> str:
    name, path = event.variable, event.path
    return name if not path else f"{name}{path}" if path.startswith("[") else f"{name}.{path}"


def _with_part(event: Event) -> str:
    """The variable's name with the part that was written."""
    return _full_name(event) if event.part is None else named(_full_name(event), event.part.name)


def _statement_of(event: Event) -> str:
    return "" if event.context is None else event.context.statement_hash or "?"


def _place_of(event: Event) -> str:
    site = event.own or event.site
    return "" if site is None else f"{site.file.rpartition('/')[2]}:{site.line}"


def _matches(name: str, pattern: str) -> bool:
    """Matches ``*`` and ``?`` as wildcards; brackets are literal, because they name a part."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))


_RANGE = re.compile(r"(.+)\[(\d{1,18})(?::(\d{1,18}))?\]")
"""``grid[3]``, ``buffer[0:16]``, ``order.tag[0:4]``."""


_INDICES = re.compile(r"\[\s*(?:-?\d+|\d*:[\d:]*)(?:\s*,\s*(?:-?\d+|\d*:[\d:]*))+\s*\]")
_SUBSCRIPT = re.compile(r"\[[-\d:*?,\s]*\]?")


def _spaced(pattern: str) -> str:
    """A pattern with a space behind each comma of its indices, as names of elements have it: ``[*,2]``, ``[*, 2]``."""
    return _SUBSCRIPT.sub(lambda found: re.sub(r"\s*,\s*", ", ", found[0]), pattern)


def _is_index(text: str) -> bool:
    """Whether a text is an index or a range, or one of each axis: ``[3]``, ``[0:16]``, ``[0:4, 3]``, ``[:, ::2]``."""
    if _INDICES.fullmatch(text):
        return True
    known = opened(text)
    return known is not None and all(first < last for first, last, _ in known[1])


def _variable(text: str) -> Test:
    """Matches a variable's name, a pattern, or a part as events show it (any write that overlaps the part)."""
    wanted = _span(text)
    pattern = _spaced(text) if re.search(r"\[[^]]*[*?]", text) else None

    def test(event: Event) -> bool:
        full = _full_name(event)
        if text in (event.variable, full) or _matches(full, text):
            return True
        part = event.part
        if part is not None and named(full, part.name) == text:
            return True
        if part is not None and event.operation is not None and _matches(named(full, part.name), text):
            return True
        if part is not None and pattern is not None and _matches(named(full, part.name), pattern):
            return True
        if part is not None and part.activation is not None and _matches(named_in(event, full, part.name), text):
            return True
        if part is not None and text == named(full, LENGTH):  # a change of length is shown with the bytes that moved
            return part.name.startswith("[0:") and _length(part.old) != _length(part.new)
        if not text.startswith(full + ".") and not text.startswith(full + "["):
            return False
        if part is None:  # the whole value was written
            return hasattr(event.new, "__len__")
        fields = [_touched(part)]
        if isinstance(part.new, Mapping):
            record = "" if STRUCT.fullmatch(part.name) else part.name  # a record of an array; or all of a struct
            fields = [f"{record}.{name}" for name in part.new]
        return any(_overlap(full + name, text, wanted) for name in fields)

    return test


def _may_be_of(text: str, event: Event) -> bool:
    """Whether the text may name the variable or a part of it."""
    full = _full_name(event)
    return _may_begin(text, full) or text in (event.variable, named(full, LENGTH)) or _matches(full, text)


def _may_begin(pattern: str, full: str) -> bool:
    """Whether a name that matches the pattern may begin with ``full``."""
    literal = re.split(r"[*?]", pattern, maxsplit=1)[0]
    return literal.startswith(full) or (literal != pattern and full.startswith(literal))


def _length(value: object) -> int | None:
    return len(value) if isinstance(value, bytes) else None


def _touched(part: Part) -> str:
    """The part that a store touched; if the value became shorter, the range that was cut off."""
    if part.name == LENGTH and isinstance(part.old, int) and isinstance(part.new, int) and part.new < part.old:
        return f"[{part.new}:{part.old}]"
    return part.name


def _overlap(touched: str, text: str, wanted: tuple[str, int, int]) -> bool:
    if (
        touched == text
        or touched.startswith((text + "[", text + "."))
        or text.startswith((touched + "[", touched + "."))
    ):
        return True  # one contains the other
    if meets(touched, text):
        return True
    name, first, last = _span(touched)
    return any(
        name == of and start < stop and first < stop and start < last for of, start, stop in (wanted, _span(wanted[0]))
    )


def _span(text: str) -> tuple[str, int, int]:
    """``grid[3]`` is ("grid", 3, 4); the range of a text without an index is empty."""
    place = _RANGE.fullmatch(text)
    if place is None:
        return text, 0, 0
    return place[1], int(place[2]), int(place[3] or int(place[2]) + 1)


def _path(text: str) -> Test:
    """``order.*.age``: a pattern of a variable's name and a path, as events show them."""
    if not text.strip() or text[0] in ".[]" or text[-1] in ".[":
        raise click.BadParameter(
            f"{text!r}: write a variable's name and a path, as events show them; * and ? stand for anything: "
            "order.customer.age, 'order.*.age', 'config[\"db\"]*'",
            param_hint="--path",
        )
    text = _spaced(text)
    return lambda event: (
        _matches(_with_part(event), text)
        or (
            "#" in text
            and _matches(named_in(event, _full_name(event), "" if event.part is None else event.part.name), text)
        )
    )


def _thread(text: str) -> Test:
    return lambda event: event.thread == text or str(event.tid) == text or _matches(event.thread, text)


def _statement(text: str) -> Test:
    """Matches a substring of the statement (any case), the beginning of its hash, or, with ``*``, any statement."""
    words = " ".join(text.split()).casefold()

    def test(event: Event) -> bool:
        context = event.context
        if context is None:
            return False
        hashed = len(words) >= 4 and context.statement_hash.startswith(words)
        return words == "*" or hashed or words in " ".join(context.statement.split()).casefold()

    return test


def _label(text: str) -> Test:
    """Matches the label in force, or one around it: its text, or a pattern."""
    return lambda event: any(label == text or _matches(label, text) for label in _labels_of(event))


def _task(text: str) -> Test:
    return lambda event: (task := _task_of(event)) != "" and (task == text or _matches(task, text))


def _trace(text: str) -> Test:
    """Matches the beginning of a trace's or span's id, or a pattern; ``*``: any."""
    wanted = text.strip().removeprefix("0x").replace("-", "").casefold()
    if not re.fullmatch(r"[0-9a-f*?]+", wanted):
        raise click.BadParameter(
            f"{text!r}: write the beginning of a trace's or span's id, hexadecimal digits, or '*' for any",
            param_hint="--trace",
        )

    def test(event: Event) -> bool:
        if (request := event.request) is None:
            return False
        return any(one and _matches(one, f"{wanted}*") for one in (request.trace_id, request.span_id))

    return test


def _labels_of(event: Event) -> tuple[str, ...]:
    request = event.request
    return () if request is None or not request.label else (request.label, *request.outer)


def _task_of(event: Event) -> str:
    return "" if event.request is None else event.request.task


def _trace_of(event: Event) -> str:
    return "" if event.request is None else event.request.trace_id


_UNDER = {
    "--label": (
        "nothing was written under such a label",
        '; no event has one: the program says `with memwatch_core.label("order 17"):`',
    ),
    "--task": ("no task of asyncio of this name wrote anything", "; no event came from a task"),
    "--trace": (
        "nothing was written in this trace, or span",
        "; no event has one: the program must use OpenTelemetry, and a span be current",
    ),
}
"""What it means that nothing matches, and that there is nothing of the kind."""

_OUTCOMES = ("open", "committed", "rolled back", "failed")


def _outcome(text: str) -> Test:
    """Matches ``committed``, ``rolled back``, ``failed``, ``failed: IntegrityError`` or ``open`` (no outcome so
    far)."""
    wanted = " ".join(text.replace("-", " ").split()).casefold()
    if not wanted.startswith(_OUTCOMES):
        hint = suggest(wanted, _OUTCOMES)
        raise click.BadParameter(
            f"{text!r}: write {', '.join(_OUTCOMES)} or 'failed: ERROR'{hint}", param_hint="--outcome"
        )
    return lambda event: event.context is not None and event.context.outcome.casefold().startswith(wanted)


def _place(text: str) -> Test:
    """Matches ``FILE:LINE``, ``FILE`` or ``:LINE``; FILE may be the end of a path. Of an event, the place in the
    program's own code and the innermost one."""
    match = re.fullmatch(r"([^:]*)(?::(\d{1,9})(?:-(\d{1,9}))?)?", text)
    file, first, last = (match[1], int(match[2] or 0), int(match[3] or match[2] or 0)) if match else ("", 0, 0)
    if (not file and not first) or last < first or (match and match[2] and not first):
        raise click.BadParameter(f"{text!r}: write FILE:LINE, FILE:FIRST-LAST, FILE or :LINE", param_hint="--line")
    tail = "/" + file.removeprefix("./").lstrip("/")

    def fits(site: Site | None) -> bool:
        if site is None or (file and not f"/{site.file}".endswith(tail)):
            return False
        return not first or first <= site.line <= last

    return lambda event: fits(event.site) or (event.own is not event.site and fits(event.own))


def moment(text: str) -> int:
    """ns since 1970 of ``10s``, ``5m``, ``2h``, ``1d`` ago, or of an ISO time (local unless it has an offset)."""
    if match := re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)(ms|s|m|h|d|)", text.strip()):
        return time.time_ns() - int(float(match[1]) * _UNITS[match[2]])
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1e6) * 1000
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r}: write how long ago (30s, 5m, 2h, 1d) or a time (2026-11-23T15:04:05)", param_hint="--since"
        ) from None
