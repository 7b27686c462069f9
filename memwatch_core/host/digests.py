"""Parts of a journal that are known by their index alone: who wrote what last there, and how often.

A question about the last writers and about numbers of writes needs no event but those that it shows. So instead of the
events of a part, a *digest* is given out, which has groups of them; and of the events that matter in the end only the
slots are known at first (:class:`Later`). They are made when all is read: see :mod:`.later`.

A digest is given out only where it stands for all wanted events of its part: their variables lie in bytes, are known,
and nothing is said of them in the midst. Everything else is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from ..journal.index import GROUP, Groups
from ..journal.layout import ORIGINS, call
from ..journal.stores import How, Recording
from ..records import Event, Site
from .moment import Moment

_INEXACT, _SITE, _STACK, _THREAD = int(How.INEXACT), int(How.SITE), int(How.STACK), int(How.THREAD)
_HAVE_CALLS = (3, 4)
"""Origins of stores that name a libc or system call."""


class Undecided(Exception):
    """What the index says isn't enough for an answer: read the events."""


@dataclass(frozen=True, slots=True)
class Later:
    """An event of which only the slot is known so far."""

    journal: str
    slot: int


class Wrote(NamedTuple):
    """Stores to the same bytes of a variable, by one thread, from one place."""

    variable: int
    offset: int
    length: int
    tid: int
    exact: bool
    thread: str
    site: Site | None
    own: Site | None
    callers: tuple[Site, ...]
    found: str
    """Of stores without a line: the call that made them, or their origin."""
    writes: int
    changed: int
    first: Later
    last: Later
    sees: int
    """How many of them, at most, found there what the thread itself had left."""
    flags: int
    """:class:`~memwatch_core.journal.stores.Steps`."""
    step: int
    """What the first one added, if the bytes are an int's."""
    seen: tuple[tuple[Later, Later], ...]
    """Of those that saw what their thread had left, up to two that added something else; and the stores before."""

    @property
    def place(self) -> tuple[str, int, str]:
        """See :func:`~memwatch_core.answers.states.site_key`."""
        site = self.own or self.site
        return (site.file, site.line, site.function) if site is not None else ("", 0, self.found)


@dataclass(frozen=True, slots=True)
class Digest:
    """The wanted stores of a part of a journal, in place of their events."""

    time_ns: int
    """The latest of them."""
    earliest: int
    journal: str
    pid: int
    start: int
    stop: int
    """Slots."""
    seq: int
    """Number of the last event before it."""
    last_seq: int
    wrote: list[Wrote]
    """In order of their first stores."""

    def is_up_to(self, moment: Moment) -> bool | None:
        """Whether all of it happened up to a moment; None: some of it did."""
        if moment.journal == self.journal:
            return True if self.last_seq <= moment.seq else False if self.seq >= moment.seq else None
        return True if self.time_ns <= moment.time else False if self.earliest > moment.time else None


class Known(NamedTuple):
    """A variable as its decoder knows it."""

    name: str
    ident: int
    """As events name it."""
    is_flat: bool
    """It lies in bytes, and has no path."""
    has_aliases: bool


class _Decoder(Protocol):
    journal: str
    pid: int

    def known(self, ident: int) -> Known | None:
        """A variable that was announced."""


@dataclass
class Digests:
    """What may be told by digests. ``wanted`` mustn't remember what it is asked; ``moments``: those at which answers
    change."""

    wanted: Callable[[str, int], bool]
    moments: Sequence[Moment]
    _over: set[tuple[str, Moment]] = field(default_factory=set)
    """Of which journals later events were wanted already: all that follow are later, whatever their clocks say."""

    def see(self, journal: str, events: Iterable[Event]) -> None:
        """Takes note of wanted events that are read."""
        ahead = [moment for moment in self.moments if (journal, moment) not in self._over]
        for event in events if ahead else ():
            for moment in ahead:
                if event.seq > moment.seq if journal == moment.journal else event.time_ns > moment.time:
                    self._over.add((journal, moment))

    def take(self, decoder: _Decoder, span: Digest, groups: Groups, wanted_stores: int | None) -> list[Raw] | None:
        """The groups that are wanted; None if the part must be read. ``wanted_stores``: how many stores are, if that is
        known."""
        sides = {moment: span.is_up_to(moment) for moment in self.moments if (span.journal, moment) not in self._over}
        if None in sides.values():
            return None
        found: list[Raw] = []
        verdicts: dict[int, bool | None] = {}
        count = 0
        for raw in _raw(groups.rows):
            ident = raw.variable
            if ident not in verdicts:
                verdicts[ident] = self._verdict(decoder, ident, groups.touched, wanted_stores is not None)
            verdict = verdicts[ident]
            if verdict is None:
                return None
            if verdict:
                found.append(raw)
                count += raw.writes
        if wanted_stores is not None and count != wanted_stores:
            return None
        if found:
            self._over |= {(span.journal, moment) for moment, side in sides.items() if not side}
        return found

    def _verdict(self, decoder: _Decoder, ident: int, touched: frozenset[int], is_counted: bool) -> bool | None:
        """Whether the stores to a variable are wanted; None: something is said of it meanwhile, or it isn't flat."""
        known = decoder.known(ident)
        if known is None or (ident in touched and known.is_flat):
            return None
        wanted = self.wanted(known.name, known.ident)
        if known.is_flat:
            return wanted
        if is_counted:  # then it would be noticed if one of its places were
            return False
        return None if wanted or known.has_aliases or ident in touched else False


class Raw(NamedTuple):
    """As struct group in reader_recorder.h."""

    variable: int
    offset: int
    length: int
    tid: int
    site: int
    stack: int
    call: int
    how: int
    writes: int
    changed: int
    first: int
    last: int
    sees: int
    flags: int
    step: int
    see_step: int
    see: int
    other_see: int
    before_see: int
    before_other: int


def _raw(rows: bytes) -> Iterator[Raw]:
    return map(Raw._make, GROUP.iter_unpack(rows))


def wrote(raws: Iterable[Raw], loop: Recording, journal: str) -> list[Wrote]:
    """What groups say, by the names that are known now."""
    found = []
    for raw in sorted(raws, key=lambda raw: raw.first):
        thread, site, own, callers = loop.names(raw.tid, raw.site, raw.stack)
        how = raw.how
        site = site if how & _SITE else None
        callers = callers if how & _STACK else None
        origin = how & 255
        name = call(raw.call, 0, 0).name if origin in _HAVE_CALLS else ORIGINS.get(origin, "store")
        pairs = ((raw.see, raw.before_see), (raw.other_see, raw.before_other))
        seen = [(Later(journal, slot - 1), Later(journal, before - 1)) for slot, before in pairs if slot and before]
        found.append(
            Wrote(
                raw.variable, raw.offset, raw.length, raw.tid, not how & _INEXACT,
                thread or "" if how & _THREAD and raw.tid else "", site,
                site if own and site is not None else None if callers is None else callers.own,
                () if callers is None else callers.frames, name, raw.writes, raw.changed,
                Later(journal, raw.first), Later(journal, raw.last), raw.sees, raw.flags, raw.step,
                tuple(seen),
            )
        )  # fmt: skip
    return found
