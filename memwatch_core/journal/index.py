"""The index beside a journal: what each part of it holds, so that a reader can go past it (docs/decisions/index.md).

A part is some 16,384 slots, from the beginning of one record to that of another. Of each, a row of the directory has
numbers and times; a *summary* the records that are no plain STORE, and counts of those that are; *groups* of its
stores, from which follows who wrote what last and how often; and what the variables hold where the part begins, at some
of them. Many parts that follow each other are a *stretch*, which has groups of its own.

The index is a file that anything may have happened to: each piece is read with its checksum. One that isn't of this
version, of this journal as it is now, or of this user alone is as good as none.
"""

from __future__ import annotations

import os
import stat
import zlib
from array import array
from bisect import bisect_left
from enum import IntFlag
from hashlib import blake2b
from itertools import accumulate, pairwise
from pathlib import Path
from struct import Struct, error
from typing import Any, NamedTuple

from .. import __version__, trust
from ..folders import open_folder
from .file import JournalFile
from .layout import HEADER_SIZE, SLOT_SIZE

FORMAT = 2
SUFFIX, UNFINISHED = ".mwi", ".new"
"""``<journal>.mwi``, and what is added while it is being written."""
MAGIC = b"MWINDEX\n"
SUMMARY_MAX = 1 << 20
"""Bytes of a summary."""
GROUPS_MAX = 1 << 21
"""Bytes of groups."""
GAP_MAX = 2**16 - 1
"""Slots between two records of a summary."""
SAMPLES = 16
"""Parts that are compared with a journal that has grown."""
STRETCH = 64
"""Parts of a stretch: the first one is the 0th, the 64th, …"""
TOUCHED_MAX = 4096
"""Variables about which something is said in a stretch."""

DIGEST = 16
HEAD = Struct("<8sI16s16sQQqqQQQQ16s16s")
"""magic, format, version, journal's constants; its file's number, size, time of change, of status; reserved, closed;
directory: offset, number of parts, digest; and the digest of all this."""
ROW = Struct("<QQQQQQIQI16sQI16sQI16sQI16s16s")
"""start, stop, stores, earliest, latest, newest, flags; summary: offset, size, digest; held, groups, groups of the
stretch that ends here: the same; sample."""
_SUMMARY = Struct("<IIII")
"""Numbers of records, of those before the last store, of uses, and whether there are rows."""
_GROUPS = Struct("<II")
"""Numbers of variables, and of contexts."""
GROUP = Struct("<8I4Q2Iq5Q")
"""As struct group in reader_recorder.h."""


class Stale(Exception):
    """The index doesn't fit the journal: read without it."""


class Flags(IntFlag):
    """Of a part."""

    READ = 1
    """It can't be gone past: slots are damaged, or something in it depends on the bytes that stores left."""
    VALUED = 2
    """A watch begins in it with a value that stores left."""
    ROWS = 4
    """Its stores are counted by what a filter may ask for."""
    RECORDS = 8
    """It has records that are no plain STORE."""
    STATEMENTS = 16
    """Among them such of statements."""
    HELD = 32
    """What the variables hold is known where it begins."""
    USES = 64
    """Stores of it carry contexts."""
    GROUPED = 128
    """It has groups: no store of it is of other variables, threads or sites than the numbers mean at its end."""
    STRETCHED = 1 << 24
    """A stretch ends with it that has groups."""


_READ = int(Flags.READ)
DEFINES, FRESH = 8, 16
"""Shifts of :class:`~memwatch_core.journal.stores.By` in the flags: what is defined in the part, and what is both
defined and used."""


class Part(NamedTuple):
    """A row of the directory."""

    start: int
    stop: int
    """The slot of its first record, and that of the next part's."""
    stores: int
    earliest: int
    latest: int
    newest: int
    """Times of stores: the least, the greatest, that of the last."""
    flags: int
    summary: tuple[int, int, bytes]
    held: tuple[int, int, bytes]
    groups: tuple[int, int, bytes]
    stretch: tuple[int, int, bytes]
    """Offset, size, checksum."""
    sample: bytes
    """Checksum of its first and its last slot."""


def _part(row: tuple[Any, ...]) -> Part:
    return Part._make((*row[:7], row[7:10], row[10:13], row[13:16], row[16:19], row[19]))


class Summary(NamedTuple):
    """What a part holds."""

    slots: list[int]
    """Where records begin that are no plain STORE, or at which the store loop stops."""
    whys: bytes
    """For each, why: a :class:`~memwatch_core.journal.stores.Stop`."""
    highs: list[int]
    """For each, the latest time of the part's stores before it; 0: there are none."""
    counts: list[int]
    """For each, the number of the part's stores before it."""
    before: int
    """How many of them lie before the last store."""
    uses: list[tuple[int, int, int]]
    """(record before which, context, number of stores that carried it)."""
    rows: bytes | None
    """See :meth:`~memwatch_core.journal.stores.Recording.recorded`."""


def pack(summary: Summary, start: int) -> bytes:
    """The bytes of a summary. Raises ValueError, OverflowError if it can't be written: times may be any."""
    gaps = [slot - last for last, slot in zip([start, *summary.slots], summary.slots, strict=False)]
    if any(gap > GAP_MAX for gap in gaps):
        raise ValueError("records too far from each other")
    changes = [high - last for last, high in zip([0, *summary.highs], summary.highs, strict=False)]
    more = [count - last for last, count in zip([0, *summary.counts], summary.counts, strict=False)]
    uses = [number for use in summary.uses for number in use]
    parts = (
        _SUMMARY.pack(len(gaps), summary.before, len(summary.uses), summary.rows is not None),
        array("H", gaps).tobytes(), summary.whys, array("q", changes).tobytes(), array("H", more).tobytes(),
        array("I", uses).tobytes(),
        summary.rows or b"",
    )  # fmt: skip
    whole = b"".join(parts)
    if len(whole) > SUMMARY_MAX:
        raise ValueError("too much for a summary")
    return zlib.compress(whole, 1)


def unpack(data: bytes, start: int) -> Summary:
    """The inverse of :func:`pack`. Raises Stale."""
    try:
        inflate = zlib.decompressobj()
        whole = inflate.decompress(data, SUMMARY_MAX)
        records, before, uses, has_rows = _SUMMARY.unpack_from(whole)
    except (zlib.error, error) as problem:
        raise Stale from problem
    if not inflate.eof:
        raise Stale
    ends = [_SUMMARY.size]
    for size in (2 * records, records, 8 * records, 2 * records, 12 * uses):
        ends.append(ends[-1] + size)
    if ends[-1] > len(whole) or before > records:
        raise Stale
    gaps, whys, changes, more, numbers = (whole[at:end] for at, end in pairwise(ends))
    slots, highs, at, high = [], [], start, 0
    counts = list(accumulate(array("H", more)))
    for gap in array("H", gaps):
        at += gap
        slots.append(at)
    for change in array("q", changes):
        high += change
        highs.append(high)
    flat = array("I", numbers)
    triples = list(zip(flat[::3], flat[1::3], flat[2::3], strict=True))
    return Summary(slots, whys, highs, counts, before, triples, whole[ends[-1] :] if has_rows else None)


class Groups(NamedTuple):
    """The groups of a part, or of a stretch."""

    touched: frozenset[int]
    """The variables about which something is said there: that they begin, are described, hold something, end."""
    uses: list[tuple[int, int]]
    """Of a stretch without records: (context, number of stores that carried it)."""
    rows: bytes
    """Groups: see :meth:`~memwatch_core.journal.stores.Recording.grouped`."""


def pack_groups(groups: Groups) -> bytes:
    """The bytes of groups."""
    numbers = array("I", sorted(groups.touched)) + array("I", [number for use in groups.uses for number in use])
    return zlib.compress(_GROUPS.pack(len(groups.touched), len(groups.uses)) + numbers.tobytes() + groups.rows, 1)


def unpack_groups(data: bytes) -> Groups:
    """The inverse of :func:`pack_groups`. Raises Stale."""
    try:
        inflate = zlib.decompressobj()
        whole = inflate.decompress(data, GROUPS_MAX)
        count, uses = _GROUPS.unpack_from(whole)
    except (zlib.error, error) as problem:
        raise Stale from problem
    begin = _GROUPS.size + 4 * count + 8 * uses
    if not inflate.eof or begin > len(whole) or (len(whole) - begin) % GROUP.size:
        raise Stale
    numbers = array("I", whole[_GROUPS.size : begin])
    pairs = list(zip(numbers[count::2], numbers[count + 1 :: 2], strict=True))
    return Groups(frozenset(numbers[:count]), pairs, whole[begin:])


class Identity(NamedTuple):
    """Which journal an index is of, and how that was when it was read."""

    constants: bytes
    status: tuple[int, int, int, int]
    """Number of its file, size, time of the last change, and of the last change of the status."""
    reserved: int
    closed: int


def identity(file: JournalFile) -> Identity | None:
    """None: a journal without an index, because what is read of it depends on more than its records (a limit, losses),
    or because it can't be read now."""
    try:
        status, counters = file.status(), file.counters()
        constants = blake2b(file.constants(), digest_size=DIGEST).digest()
    except OSError:
        return None
    if counters is None or counters.lost or counters.front or file.header.max_bytes:
        return None
    numbers = status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    return Identity(constants, numbers, counters.reserved, counters.closed)


def sample(file: JournalFile, part: tuple[int, int]) -> bytes:
    """The checksum of the first and the last slot of a part."""
    slots = memoryview(bytearray(2 * SLOT_SIZE))
    file.read(part[0], slots[:SLOT_SIZE])
    file.read(part[1] - 1, slots[SLOT_SIZE:])
    return checksum(bytes(slots))


def name_of(journal: Path) -> str:
    """The file name of a journal's index."""
    return journal.with_suffix(SUFFIX).name


def checksum(data: bytes) -> bytes:
    """Of a piece of an index."""
    return blake2b(data, digest_size=DIGEST).digest()


def version_digest() -> bytes:
    """What stands for this version of MemWatch."""
    return checksum(__version__.encode())


class Index:
    """An index that fits a journal. Close it. :meth:`open` makes it."""

    def __init__(self, file: int, directory: bytes, end: int, identity: Identity) -> None:
        self._file, self._directory = file, directory
        self.end = end
        """Where the directory lies in the file."""
        self.count = len(directory) // ROW.size - 1
        """Number of parts. One more has no records: where the last one ends."""
        self.identity = identity
        self._parts = list(map(_part, ROW.iter_unpack(directory)))
        self._starts = array("Q", [part.start for part in self._parts])

    @classmethod
    def open(cls, journal: JournalFile) -> Index | None:
        """The index of a journal; None: there is none that fits, or others may have written it."""
        number = -1
        try:
            with open_folder(journal.path.parent, own=True) as opened:
                number = os.open(name_of(journal.path), trust.READ | os.O_NOFOLLOW, dir_fd=opened)
            found = cls._read(number, journal)
        except OSError:
            found = None
        if found is None and number >= 0:
            os.close(number)
        return found

    @classmethod
    def _read(cls, number: int, journal: JournalFile) -> Index | None:
        status, now = os.fstat(number), identity(journal)
        if now is None or not stat.S_ISREG(status.st_mode) or trust.owned(status) or trust.owned(journal.status()):
            return None
        head = os.pread(number, HEAD.size, 0)
        if len(head) < HEAD.size or head[-DIGEST:] != checksum(head[:-DIGEST]):
            return None
        magic, form, version, constants, *rest, offset, count, digest, _ = HEAD.unpack(head)
        ino, size, changed, touched, reserved, closed = rest
        then = Identity(constants, (ino, size, changed, touched), reserved, closed)
        if (magic, form, version, constants) != (MAGIC, FORMAT, version_digest(), now.constants):
            return None
        if offset > status.st_size or not 2 <= count <= min(
            (status.st_size - offset) // ROW.size, size // SLOT_SIZE + 2
        ):
            return None
        directory = os.pread(number, count * ROW.size, offset)
        if checksum(directory) != digest:
            return None
        index = cls(number, directory, offset, then)
        return index if index._fits(journal, now) else None

    def _fits(self, journal: JournalFile, now: Identity) -> bool:
        """Whether the journal is as it was, or has grown since."""
        rows = [self.part(number) for number in range(self.count + 1)]
        if any(one.stop != two.start or one.stop <= one.start for one, two in pairwise(rows)):
            return False
        if rows[0].start != 0 or rows[-1].stop != rows[-1].start:
            return False
        then = self.identity
        if now == then:
            return True
        grown = now.reserved > then.reserved or (now.reserved == then.reserved and now.closed and not then.closed)
        if not grown or HEADER_SIZE + rows[-1].stop * SLOT_SIZE > now.status[1]:
            return False
        step = max(1, self.count // SAMPLES)
        return all(sample(journal, row[:2]) == row.sample for row in (*rows[:-1:step], rows[-2]))

    def pays(self) -> bool:
        """Whether most slots are stores: other records are handled one by one, also where a part isn't read."""
        parts = (self.part(number) for number in range(self.count))
        used = [part for part in parts if part.stores or part.flags & Flags.RECORDS]
        return 2 * sum(part.stores for part in used) >= sum(part.stop - part.start for part in used)

    def is_of(self, journal: JournalFile) -> bool:
        """Whether this is the very file that the index was opened for."""
        return journal.status().st_ino == self.identity.status[0]

    def close(self) -> None:
        """Closes the file. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def part(self, number: int) -> Part:
        """A row of the directory."""
        return self._parts[number]

    def at(self, slot: int) -> int | None:
        """The part that begins at a slot; None if none does."""
        found = bisect_left(self._starts, slot)
        return found if found <= self.count and self._starts[found] == slot else None

    def behind(self, slot: int) -> int | None:
        """Where the part ends that a slot lies in; None if there is none, or it is always read: how damaged slots are
        read depends on those behind them."""
        found = bisect_left(self._starts, slot + 1)
        if found > self.count or self.part(found - 1).flags & _READ:
            return None
        return int(self._starts[found])

    def summary(self, part: Part) -> Summary:
        """Raises Stale."""
        return unpack(self._piece(*part.summary), part.start)

    def held(self, part: Part) -> bytes:
        """What the variables hold where a part begins. Raises Stale."""
        return self._piece(*part.held)

    def groups(self, part: Part) -> Groups:
        """The groups of a part that has some. Raises Stale."""
        return unpack_groups(self._piece(*part.groups))

    def stretch(self, part: Part) -> Groups:
        """The groups of the stretch that ends with a part. Raises Stale."""
        return unpack_groups(self._piece(*part.stretch))

    def pieces(self) -> tuple[int, bytes]:
        """The file's descriptor, and the directory."""
        return self._file, self._directory

    def _piece(self, offset: int, size: int, digest: bytes) -> bytes:
        try:
            data = os.pread(self._file, size, offset) if size <= os.fstat(self._file).st_size else b""
        except (OSError, OverflowError) as problem:
            raise Stale from problem
        if len(data) != size or checksum(data) != digest:
            raise Stale
        return data
