"""Goes past the parts of a journal in which nothing is wanted, by its index.

What other records say there is handled as if it had been read: an index knows where they are. What the stores did is
known from numbers; and what they left in the variables, where the index holds that. So one can only arrive there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Protocol

from ..journal.index import DEFINES, FRESH, STRETCH, Flags, Groups, Index, Part, Stale, Summary
from ..journal.reader import BLOCK_SLOTS, JournalReader
from ..journal.records import RawRecord
from ..journal.stores import Recording
from .digests import Digest, Digests, Known, Raw, wrote
from .kept import Kept
from .sieve import Sifter

_READ, _VALUED, _ROWS, _RECORDS = int(Flags.READ), int(Flags.VALUED), int(Flags.ROWS), int(Flags.RECORDS)
_USES, _HELD, _GROUPED, _STRETCHED = int(Flags.USES), int(Flags.HELD), int(Flags.GROUPED), int(Flags.STRETCHED)
MANY = 256
"""Records after which to give out what there is."""


class Clip:
    """Says how many slots to read: not beyond the end of a part, so as to stand where the next one begins."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._last = -1

    def __call__(self, position: int, slots: int | None = None) -> int:
        """At a position, of at most so many. Asked about it a second time, all: no record ends before its part does."""
        most = BLOCK_SLOTS if slots is None else slots
        again, self._last = position == self._last, position
        stop = None if again else self._index.behind(position)
        return most if stop is None else min(most, stop - position)


class _Decoder(Protocol):
    """Whoever reads the journal."""

    reader: JournalReader
    kept: Kept

    journal: str
    pid: int

    @property
    def pending(self) -> int:
        """How many records there are to give out."""

    def known(self, ident: int) -> Known | None:
        """A variable that was announced."""

    def tell(self, digest: Digest) -> None:
        """Gives out a digest."""

    def handle(self, record: RawRecord, why: int) -> None:
        """Handles a record at which the store loop stops."""


class Skipper:
    """For one journal that is read through a sieve, or (``sifter`` None) of which no event is wanted at all."""

    def __init__(
        self,
        index: Index,
        decoder: _Decoder,
        loop: Recording,
        sifter: Sifter | None,
        digests: Digests | None = None,
    ) -> None:
        self._index, self._decoder, self._loop, self._sifter = index, decoder, loop, sifter
        self._digests = digests
        self._blocked = 0
        """The first part worth looking at: those before can't be gone past."""
        self._clip = Clip(index)
        self._matches: dict[int, int] = {}
        """Of parts that can be gone past: how many stores are wanted nevertheless."""
        self._digested: dict[int, tuple[int, Digest, list[Raw], list[tuple[int, int]]]] = {}
        """And of which a digest is given out: the part behind, the digest, what it is made of, and contexts."""

    def clip(self, slots: int | None) -> int:
        """See :class:`Clip`."""
        return self._clip(self._decoder.reader.position, slots)

    def skip(self, stop: int | None = None) -> bool:
        """Goes past as many parts as possible, but not past slot ``stop``. Returns whether it did. Raises Stale."""
        begin = self._index.at(self._decoder.reader.position)
        if begin is None or begin < self._blocked or self._decoder.kept.short:
            return False
        end = self._reach(begin, stop)
        if end == begin:
            return False
        number = begin
        while number < end:
            number = self._pass(number)
            if self._decoder.pending > MANY and self._index.part(number).flags & _HELD:
                end = number
        if not self._loop.restore(self._index.held(self._index.part(end))) or self._decoder.kept.short:
            raise Stale
        return True

    def _reach(self, begin: int, stop: int | None) -> int:
        """The last part at which one can arrive."""
        index, end, number = self._index, begin, begin
        self._matches.clear()
        self._digested.clear()
        judged = 0 if self._sifter is None or self._sifter.sieve.wanted is None else int(self._sifter.sieve.by)
        seq = self._loop.seq
        while number < index.count:
            following = self._stretch(number, seq) if number % STRETCH == 0 else number
            part = index.part(number)
            if following == number:
                if (stop is not None and part.stop > stop) or not self._can_pass(number, part, seq):
                    break
                following += 1
            parts = [index.part(each) for each in range(number, following)]
            seq += sum(each.stores for each in parts)
            number = following
            if index.part(number).flags & _HELD:
                end = number
            if any(each.flags >> DEFINES & judged for each in parts):
                break  # the next parts mean others by the same numbers
        if end == begin:
            self._blocked = max(number, begin + 1)
        return end

    def _can_pass(self, number: int, part: Part, seq: int) -> bool:
        """Whether nothing is given out of a part but a digest. Notes how many stores of it are wanted nevertheless, or
        the digest."""
        sifter, wanted = self._sifter, 0
        if part.flags & _READ:
            return False
        if sifter is None:
            return True
        sieve = sifter.sieve
        if part.latest > sifter.now or (sieve.all and part.flags & _VALUED):
            return False
        if sieve.wanted is None:
            wanted = part.stores
        elif part.stores:
            if not part.flags & _ROWS or part.flags >> FRESH & sieve.by:
                return False
            wanted = self._loop.wanted(self._index.summary(part).rows or b"")
        if wanted and part.latest >= sifter.since:
            if self._digests is not None and part.flags & _GROUPED:
                known = wanted if wanted > 0 else None
                return self._digest(number, number + 1, seq, self._index.groups(part), known)
            if part.stop > sifter.until or part.earliest < sifter.since:
                return False
            self._matches[number] = wanted
        return wanted >= 0

    def _stretch(self, number: int, seq: int) -> int:
        """The part behind a stretch that can be gone past as a whole; the same if it can't."""
        index, sifter = self._index, self._sifter
        end = number + STRETCH
        if self._digests is None or sifter is None or end > index.count:
            return number
        if not index.part(end - 1).flags & _STRETCHED:
            return number
        parts = [index.part(each) for each in range(number, end)]
        if any(part.flags & (_READ | _VALUED) or part.latest > sifter.now for part in parts):
            return number
        return end if self._digest(number, end, seq, index.stretch(parts[-1]), None) else number

    def _digest(self, number: int, end: int, seq: int, groups: Groups, wanted: int | None) -> bool:
        """Whether a digest stands for the wanted stores of some parts."""
        assert self._digests is not None
        parts = [part for each in range(number, end) if (part := self._index.part(each)).stores]
        span = Digest(
            max((part.latest for part in parts), default=0), min((part.earliest for part in parts), default=0),
            self._decoder.journal, self._decoder.pid, self._index.part(number).start, self._index.part(end).start, seq,
            seq + sum(part.stores for part in parts), [],
        )  # fmt: skip
        found = self._digests.take(self._decoder, span, groups, wanted)
        if found is not None:
            self._digested[number] = end, span, found, groups.uses
        return found is not None

    def _pass(self, number: int) -> int:
        """Does what reading some parts would do. Returns the one behind them."""
        end, span, found, uses = self._digested.get(number, (number + 1, None, [], []))
        if end == number + STRETCH and not any(self._index.part(each).flags & _RECORDS for each in range(number, end)):
            self._pass_plain(number, end, uses)
        else:
            for each in range(number, end):
                self._pass_one(each)
        if span is not None and found:
            digest = replace(span, wrote=wrote(found, self._loop, span.journal))
            self._decoder.tell(digest)
        return end

    def _pass_plain(self, begin: int, end: int, uses: list[tuple[int, int]]) -> None:
        """Does what reading a stretch without records would do."""
        loop = self._loop
        parts = [self._index.part(number) for number in range(begin, end)]
        for use in uses:
            loop.use(*use)
        loop.time = next((part.newest for part in reversed(parts) if part.stores), loop.time)
        loop.high = max(loop.high, max(part.latest for part in parts))
        stores = sum(part.stores for part in parts)
        loop.seq += stores
        loop.skipped += stores
        self._decoder.reader.advance(parts[-1].stop)

    def _pass_one(self, number: int) -> None:
        part, loop = self._index.part(number), self._loop
        counts = self._sifter is not None and self._sifter.sieve.all  # events of statements: told by their outcomes
        begin = loop.seq
        if part.flags & _RECORDS or (part.flags & _USES and counts):
            self._handle(part, self._index.summary(part))
        elif part.stores:
            loop.time = part.newest
        loop.high = max(loop.high, part.latest)
        loop.seq = begin + part.stores
        loop.skipped += part.stores
        if matched := self._matches.get(number, 0):
            loop.matched += matched
            if self._sifter is not None:
                self._sifter.note(part.start, matched)
        self._decoder.reader.advance(part.stop)

    def _handle(self, part: Part, summary: Summary) -> None:
        """Handles the records of a part that are no plain STORE."""
        loop, uses, begin = self._loop, summary.uses[::-1], self._loop.seq
        for at, record in enumerate(chain(self._records(summary.slots), [None])):
            while uses and uses[-1][0] <= at:
                loop.use(*uses.pop()[1:])
            if at == summary.before and part.stores:
                loop.time = part.newest
            if record is not None:
                loop.high = max(loop.high, summary.highs[at])
                loop.seq = begin + summary.counts[at]
                self._decoder.handle(record, summary.whys[at])

    def _records(self, slots: list[int]) -> Iterator[RawRecord]:
        for record in self._decoder.reader.records_at(slots):
            if record is None:
                raise Stale
            yield record
