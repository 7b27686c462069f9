"""What a run came to, in a few lines that a person understands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from operator import attrgetter

from memwatch_plugins.text import change, clean, short_path

from ..records import Event, Lost, Outcome, Record, Watched

_variable = attrgetter("pid", "variable_id")
_thread = attrgetter("pid", "tid")
_context = attrgetter("context")

MOST = 12
"""Variables that are listed one by one."""


class Summary:
    """Counts records. Takes about half a microsecond an event; one thread at a time."""

    def __init__(self) -> None:
        self.events = 0
        self.lost = 0
        self.writes: Counter[tuple[int, int]] = Counter()
        self.threads: set[tuple[int, int]] = set()
        self.statements: set[tuple[int, int]] = set()
        self.undone: set[tuple[int, int]] = set()
        """Statements that were rolled back, of those that events carried; and how many events did."""
        self.events_undone = 0
        self._names: dict[tuple[int, int], str] = {}
        self._last: dict[tuple[int, int], Event] = {}

    def write(self, records: Sequence[Record]) -> None:
        """Takes a batch into account."""
        events = [record for record in records if type(record) is Event]
        self.events += len(events)
        self.writes.update(map(_variable, events))
        self.threads.update(map(_thread, events))
        self._last.update(zip(map(_variable, events), events, strict=True))
        contexts = {id(context): event for event, context in zip(events, map(_context, events), strict=True) if context}
        self.statements.update((event.pid, event.context.id) for event in contexts.values() if event.context)
        if len(events) == len(records):
            return
        for record in records:
            if isinstance(record, Watched):
                self._names[record.variable.pid, record.variable.id] = record.variable.name
            elif isinstance(record, Lost):
                self.lost += record.count
            elif isinstance(record, Outcome) and record.outcome == "rolled back":
                self.undone.update((record.pid, context) for context in record.contexts)
                self.events_undone += record.events

    def sentence(self) -> str:
        """``1,204 events on 3 variables by 2 threads, under 17 SQL statements; 5 events under 2 that were rolled back;
        nothing lost``."""
        if not self._names and not self.events:
            return "no variable was watched: the program must call memwatch_core.watch()" + self._loss()
        written, watched = len(self.writes), len(self._names | dict.fromkeys(self.writes, ""))
        variables = _count(watched, "variable") if written == watched else f"{written:,} of {watched:,} variables"
        text = f"{_count(self.events, 'event')} on {variables}"
        known = {thread for thread in self.threads if thread[1]}
        text += f" by {_count(len(known), 'thread')}" if known else ""
        text += f", under {_count(len(self.statements), 'SQL statement')}" if self.statements else ""
        if self.undone:
            text += f"; {_count(self.events_undone, 'event')} under {len(self.undone):,} that "
            text += f"{'was' if len(self.undone) == 1 else 'were'} rolled back"
        return text + (self._loss() or "; nothing lost")

    def _loss(self) -> str:
        return f"; {_count(self.lost, 'store')} LOST" if self.lost else ""

    def lines(self) -> Iterator[str]:
        """One for each of the variables that were written most: how often, and by whom last."""
        rows: list[tuple[str, str, str]] = []
        for key, count in self.writes.most_common(MOST):
            event = self._last[key]
            part, before, after = change(event, 32)
            what = f"{part.removeprefix('.')} {before} -> {after}".lstrip() if event.changed else f"{after} (unchanged)"
            site, thread = event.site, clean(event.thread)
            place = f" at {short_path(site.file)}:{site.line} {clean(site.function)}" if site else ""
            who = f" in {thread}" if thread else ""
            rows.append((clean(event.variable), _count(count, "write"), f"last {what}{place}{who}"))
        widths = [max((len(row[i]) for row in rows), default=0) for i in (0, 1)]
        for name, writes, last in rows:
            yield f"{name:<{widths[0]}}  {writes:>{widths[1]}}, {last}"
        if len(self.writes) > MOST:
            yield f"and {_count(len(self.writes) - MOST, 'more variable')}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
