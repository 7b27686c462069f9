"""Makes the index beside a journal: reads the journal once, as anybody would, and notes what each part holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from struct import iter_unpack
from time import time_ns

from ..errors import JournalError, SessionError
from ..journal import session
from ..journal.file import JournalFile
from ..journal.index import (
    DEFINES,
    FRESH,
    STRETCH,
    TOUCHED_MAX,
    Flags,
    Groups,
    Identity,
    Index,
    Stale,
    Summary,
    identity,
    pack,
    pack_groups,
)
from ..journal.index_writer import IndexWriter
from ..journal.layout import Flag, Kind
from ..journal.records import RawRecord
from ..journal.stores import By, Recording, Stop, recording
from ..records import Lost, Notice, Record
from . import merge
from .decoder import JournalDecoder
from .sieve import NONE
from .skipping import Skipper

PART_SLOTS = 1 << 14
"""Slots of a part, or a block more."""
LEAST = 1 << 18
"""Slots that a journal must have for an index: fewer are read in no time."""
GROWN = 8
"""An index is continued once this part of a journal, one in so many slots, isn't in it."""
MISSING = 1 << 18
"""And where events would have to be made, once so many slots aren't in it."""
SHARE = 64
"""What variables hold takes at most one byte in so many of a journal."""
HELD_MAX = 1 << 25
"""Bytes; variables that hold more aren't kept."""
SIZE_MAX, SIZE_LEAST = 8, 1 << 20
"""An index isn't finished if it would take more than one byte in so many of its journal, and more bytes than that."""

Progress = Callable[[int, int], object]
"""Called now and then with the number of slots that are done, and of all."""
_SLOT = 64


def of_session(path: Path, progress: Progress | None = None, missing: int | None = None) -> dict[str, Index]:
    """The indexes of a session's large journals (or of one journal), by the name of the file: made or continued if that
    is due and possible; none if one of them doesn't pay. ``missing``: they are continued if they lack more slots. Close
    them."""
    try:
        journals = session.journals(path) if path.is_dir() else [path]
    except SessionError:
        return {}
    found: dict[str, Index] = {}
    for journal in journals:
        try:
            index = of_journal(journal, progress, missing)
        except JournalError:
            continue
        if index is not None:
            found[journal.name] = index
    is_room = len(journals) <= merge.room()  # or the order of events would depend on descriptors that indexes take
    if is_room and all(index.pays() for index in found.values()):
        return found
    with closing(found):
        return {}


def of_journal(path: Path, progress: Progress | None = None, missing: int | None = None) -> Index | None:
    """The index of a journal; None: there is none, and none can be made. ``missing``: see :func:`of_session`. Raises
    JournalError."""
    journal = JournalFile(path)
    try:
        now = identity(journal)
        if now is None or min(now.reserved, journal.present()) < LEAST:
            return None
        index = Index.open(journal)
        if index is None or _is_behind(index, now, journal, missing):
            try:
                made = _make(journal, now, index, progress)
            except (OSError, Stale):
                made = False  # a folder that we may only read, a full disk, somebody else is at it
            if made:
                if index is not None:
                    index.close()
                index = Index.open(journal)
        return index
    finally:
        journal.close()


@contextmanager
def closing(indexes: Mapping[str, Index]) -> Iterator[None]:
    """Closes them all in the end."""
    try:
        yield
    finally:
        for index in indexes.values():
            index.close()


def _is_behind(index: Index, now: Identity, journal: JournalFile, missing: int | None) -> bool:
    slots = min(now.reserved, journal.present())
    lacks = slots - index.part(index.count).start
    return lacks * GROWN > slots or (missing is not None and lacks > missing)


def _make(journal: JournalFile, now: Identity, before: Index | None, progress: Progress | None) -> bool:
    """Makes the index, or continues it. Returns whether there is one now. Raises OSError, Stale."""
    writer, slots = IndexWriter(journal, now), min(now.reserved, journal.present())
    try:
        decoder = JournalDecoder(journal.path, {}, final=True, judged=False)
        try:
            loop, opened = recording(decoder.stores), identity(decoder.reader.file)
            if loop is None or opened is None or opened.status[0] != now.status[0]:
                return False
            decoder.quiet = True
            loop.sieve(NONE, 0, time_ns(), None, [])
            if before is not None:
                _go_past(before, decoder, loop)
                writer.copy(before)
            done = _Builder(decoder, loop, writer, slots).build(progress)
        finally:
            decoder.close()
        if done:
            writer.finish()
        return done
    finally:
        writer.close()
        if progress is not None:
            progress(slots, slots)


def _go_past(index: Index, decoder: JournalDecoder, loop: Recording) -> None:
    """Brings a decoder to where an index ends. Raises Stale."""
    skipper, reader = Skipper(index, decoder, loop, None), decoder.reader
    end = index.part(index.count).start
    while reader.position < end:
        if not skipper.skip() and not decoder.advance(skipper.clip(None)):
            raise Stale
    if reader.position != end:
        raise Stale


class _Builder:
    """Reads a journal from where its decoder stands, part by part."""

    def __init__(self, decoder: JournalDecoder, loop: Recording, writer: IndexWriter, slots: int) -> None:
        self._decoder, self._reader, self._loop, self._writer = decoder, decoder.reader, loop, writer
        self._slots = slots
        self._hold_at = 0
        """The slot from which on to keep what the variables hold."""
        self._held = writer.size
        """Bytes that this has taken."""
        self._touched: set[int] | None = None
        """Of the stretch that is being recorded; None: it has no groups."""
        self._uses: Counter[int] | None = Counter()
        """Its contexts; None: there are records in it, which must be handled one by one."""

    def build(self, progress: Progress | None) -> bool:
        """Returns whether there are whole parts."""
        whole = False
        while True:
            start = self._reader.position
            held = self._hold(start)
            noted = _Noted(self._loop)
            self._decoder.noted = noted
            counters, ended = self._counters(), False
            size = PART_SLOTS if start else 1  # what a journal begins with is read always: no more than a block
            while self._reader.position < start + size and not ended:
                ended = not self._decoder.advance()
            if ended and self._reader.ended and self._reader.position > start:
                ended = False  # the last part
            if self._decoder.kept.short or self._writer.size > max(SIZE_LEAST, start * _SLOT // SIZE_MAX):
                return False
            if ended:
                self._writer.add(start, start, (0, 0, 0, 0), 0, held=held)
                return whole
            stop, whole = self._reader.position, True
            flags, numbers, summary = noted.finish(start)
            if self._counters() != counters:
                flags |= Flags.READ
            groups, stretch = self._group(None if flags & Flags.READ else noted.touched, noted.uses())
            self._writer.add(start, stop, numbers, flags, summary, held, groups, stretch)
            if progress is not None:
                progress(stop, self._slots)

    def _group(self, touched: set[int] | None, uses: Counter[int] | None) -> tuple[bytes, bytes]:
        """The groups of a part, and of the stretch that ends with it. ``touched``: None if it has none."""
        number, loop = self._writer.count, self._loop
        if number % STRETCH == 0:
            loop.widened()
            self._touched = set()
            self._uses = Counter()
        if self._uses is not None:
            self._uses = None if uses is None else self._uses + uses
        if self._uses is not None and len(self._uses) > TOUCHED_MAX:
            self._touched = None
        rows, stretch = loop.grouped(), b""
        if touched is None or rows is None:
            touched = rows = None
        if touched is None or self._touched is None or len(self._touched) > TOUCHED_MAX:
            self._touched = None
        else:
            self._touched |= touched
        if (number + 1) % STRETCH == 0 and self._touched is not None and (wide := loop.widened()) is not None:
            stretch = pack_groups(Groups(frozenset(self._touched), [*(self._uses or {}).items()], wide))
        packed = b"" if touched is None or rows is None else pack_groups(Groups(frozenset(touched), [], rows))
        return packed, stretch

    def _hold(self, start: int) -> bytes | None:
        """What the variables hold, if that is to be kept here: where the share allows it, and near the end."""
        share, is_end = start * _SLOT // SHARE, self._slots - start <= 2 * PART_SLOTS
        if start < self._hold_at and not is_end:
            return None
        held = self._loop.hold(min(HELD_MAX, max(0, share if is_end else share - self._held)))
        if held is None:
            self._hold_at = start + start // 4
        else:
            self._held += len(held)
            self._hold_at = start + len(held) * SHARE // _SLOT
        return held

    def _counters(self) -> tuple[int, int, int]:
        return self._reader.damaged, self._reader.skipped, sum(self._reader.unknown.values())


class _Noted:
    """What is noted of a part."""

    def __init__(self, loop: Recording) -> None:
        self._loop = loop
        self._slots: list[int] = []
        self._whys = bytearray()
        self._highs: list[int] = []
        self._counts: list[int] = []
        self._uses: list[tuple[int, int, int]] = []
        self._flags = Flags(0)
        self._defined: dict[By, set[int]] = {by: set() for by in By.ALL}
        self._begin = self._seq = loop.seq
        """Stores before the part, and so far."""
        self._before = 0
        """How many of the records lie before the last one."""
        self.touched: set[int] | None = set()
        """The variables about which something is said; None: what stores mean is told in their midst."""
        loop.uses()
        loop.record()

    def __call__(self, record: RawRecord, why: int) -> None:
        """A record at which the store loop has stopped."""
        kind = record.kind
        self._find_last_store()
        if kind in _DEFINED or why != Stop.OTHER:
            by = _DEFINED.get(kind, By.VARIABLE)
            self._defined[by].add(record.tid if by == By.THREAD else record.id)
            if by == By.CONTEXT:
                self._take_uses()
                self._flags |= Flags.STATEMENTS
        if record.flags & Flag.REPEATED:
            self._flags |= Flags.READ
        self._slots.append(record.slot)
        self._whys.append(why)
        self._highs.append(self._loop.latest)
        self._counts.append(self._loop.seq - self._begin)
        if why != Stop.OTHER or not self._is_plain(record):
            self.touched = None
        elif kind in _OF_VARIABLES and self.touched is not None:
            self.touched.add(record.id)

    def told(self, records: Sequence[Record]) -> None:
        """What a record was told as."""
        if any(isinstance(record, Lost | Notice) for record in records):
            self.touched = None

    def _is_plain(self, record: RawRecord) -> bool:
        """Whether it changes nothing that stores before it have named."""
        if record.kind in _PLAIN or record.kind in _OF_VARIABLES:
            return True
        thread, site, _, stack = self._loop.names(record.tid, record.id, record.id)
        known: dict[int, object] = {Kind.THREAD: thread, Kind.SITE: site, Kind.STACK: stack}
        return known.get(record.kind, self) is None

    def finish(self, start: int) -> tuple[int, tuple[int, int, int, int], bytes]:
        """Flags, numbers and summary of the part."""
        self._take_uses()
        self._find_last_store()
        stores, earliest, latest, newest, rows, slabs, valued, compared = self._loop.recorded()
        flags = int(self._flags)
        flags |= (Flags.RECORDS if self._slots else 0) | (Flags.USES if self._uses else 0)
        flags |= Flags.VALUED if valued else 0
        flags |= (Flags.ROWS if rows is not None else 0) | (Flags.READ if compared else 0)
        flags |= sum(by for by, defined in self._defined.items() if defined) << DEFINES
        flags |= self._fresh(rows or b"", slabs) << FRESH
        numbers = stores, earliest, latest, newest
        if flags & Flags.READ:
            return flags, numbers, b""
        try:
            summary = Summary(self._slots, bytes(self._whys), self._highs, self._counts, self._before, self._uses, rows)
            return flags, numbers, pack(summary, start) if self._slots or stores else b""
        except (ValueError, OverflowError):
            return flags | Flags.READ, numbers, b""

    def uses(self) -> Counter[int] | None:
        """The contexts that stores have carried, once it is finished; None: there are records in the midst."""
        if self._slots:
            return None
        found: Counter[int] = Counter()
        for _, context, count in self._uses:
            found[context] += count
        return found

    def _take_uses(self) -> None:
        uses: Counter[int] = Counter()
        for context, count in iter_unpack("<II", self._loop.uses()):
            uses[context] += count
        self._uses += [(len(self._slots), context, count) for context, count in uses.items()]

    def _find_last_store(self) -> None:
        if self._loop.seq > self._seq:
            self._seq, self._before = self._loop.seq, len(self._slots)

    def _fresh(self, rows: bytes, slabs: bool) -> int:
        """What is both defined in the part and used in it."""
        if not any(self._defined.values()):
            return 0
        columns = zip(*iter_unpack("<8I", rows), strict=True) if rows else [()] * 8
        used = dict(zip(_COLUMNS, map(set, columns), strict=False))
        fresh = {by for by, defined in self._defined.items() if defined & used[by]}
        if slabs and self._defined[By.VARIABLE]:
            fresh.add(By.VARIABLE)  # a later slab has the name of the first one
        if self._defined[By.CONTEXT] and used[By.CONTEXT] - {0}:
            fresh.add(By.CONTEXT)  # the end of a transaction says something of several
        return sum(fresh)


_COLUMNS = (By.VARIABLE, By(0), By.THREAD, By.SITE, By.STACK, By.CONTEXT, By.REQUEST)
_DEFINED: dict[int, By] = {
    **dict.fromkeys((Kind.VARIABLE, Kind.METADATA, Kind.UNREGISTERED, Kind.PLACE, Kind.ALIAS), By.VARIABLE),
    Kind.THREAD: By.THREAD, Kind.SITE: By.SITE, Kind.STACK: By.STACK, Kind.CONTEXT: By.CONTEXT,
    Kind.OUTCOME: By.CONTEXT, Kind.REQUEST: By.REQUEST,
}  # fmt: skip
"""What a record says something about."""
_OF_VARIABLES = frozenset((Kind.VARIABLE, Kind.METADATA, Kind.CONTENT, Kind.UNREGISTERED, Kind.NOT_FOLLOWED, Kind.PLACE,
                           Kind.ALIAS))  # fmt: skip
_PLAIN = frozenset((Kind.CONTEXT, Kind.OUTCOME, Kind.REQUEST, Kind.PAD))
"""Records that say nothing about bytes, threads and sites."""
