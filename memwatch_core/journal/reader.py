"""Reads one journal file: raw records in slot order, from a process that runs, has ended or was killed.

Nothing in the file is trusted. A file that isn't a journal is a JournalError; anything wrong behind a good header is
counted and stepped over. The file is read with ``pread``, not mapped: a file that is cut short while it is mapped kills
the reader with SIGBUS. What the counters mean is decided by :mod:`memwatch_core.host.decoder`.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .. import trust
from ..errors import JournalError
from ..files import OwnFile
from . import layout
from .layout import BLOB_KINDS, Flag, Kind
from .liveness import Writer

BLOCK_SLOTS = 1024
"""Slots read at once: few enough for a block's records to stay in the processor's cache until they are freed."""
BLOCK_SIZE = BLOCK_SLOTS * layout.SLOT_SIZE
GRACE = 0.1
"""Seconds that a process which has closed its journal, and still runs, has to commit what it had begun."""
COPIES_SEGMENTS = 1 << 20
"""Segments that are searched for copies, at most: a hostile file may claim any number."""
TRIES = 1000
"""How often what changes while it is read is read again: whoever changes it for ever is no writer of ours."""
TAIL_BLOCKS = 1 << 16
"""Blocks that are looked through backwards, at most: a hostile file may have any number of empty ones."""
_ZEROS = bytes(BLOCK_SIZE)


NONE_FREE = (errno.EMFILE, errno.ENFILE)
"""What a call says when there is no descriptor left."""


class NotBegun(JournalError):
    """The file may become a journal: its header isn't written yet, or it can't be opened now."""


class NoneFree(NotBegun):
    """There is no descriptor left to open the file with."""


class Header(NamedTuple):
    """What doesn't change in a journal's header."""

    version: tuple[int, int]
    pid: int
    started: int
    """ns since 1970, UTC."""
    runtime: str
    tracker: str
    session: bytes
    page_size: int
    abi_version: int
    max_bytes: int
    """What the file may take on disk; 0 for no limit."""


class RawRecord(NamedTuple):
    """One record of a journal, taken apart and not interpreted."""

    slot: int
    kind: int
    slots: int
    origin: int
    flags: int
    tid: int
    time: int
    id: int
    payload: bytes
    """STORE: bytes before, bytes after. VARIABLE: its 44 bytes. Otherwise ``length`` bytes."""
    offset: int = 0
    site: int = 0
    context: int = 0
    call: tuple[int, int, int] | None = None
    """Of a STORE whose origin is ``syscall`` or ``kernel``: :data:`~memwatch_core.journal.layout.CALL`."""


class Block(NamedTuple):
    """Slots that are committed, from the start of a record on."""

    view: memoryview
    first: int
    """Number of its first slot in the journal."""
    slots: int
    last: bool
    """Nothing comes after it, ever."""


class Payloads:
    """Puts payloads together that take several records (Flag.MORE)."""

    def __init__(self) -> None:
        self._begun: dict[tuple[int, int], bytearray] = {}

    def __len__(self) -> int:
        """How many wait for their second half."""
        return len(self._begun)

    def whole(self, record: RawRecord) -> bytes | None:
        """The payload that ends with this record; None: more is to come. Raises ValueError if it is longer than any
        writer makes it."""
        payload, more, kind = record.payload, record.flags & Flag.MORE, record.kind
        if kind in (Kind.VARIABLE, Kind.UNREGISTERED):
            return payload
        most = layout.PAYLOAD_MAX.get(kind, 1 << 14)
        begun = self._begun.get((kind, record.id)) if self._begun else None
        if begun is None and more:
            begun = self._begun[kind, record.id] = bytearray()
        if begun is not None:
            if len(begun) <= most:
                begun += payload  # in place: many small parts must not cost the square of their number
            if more:
                return None
            del self._begun[kind, record.id]
            payload = bytes(begun)
        if len(payload) > most:
            raise ValueError(f"longer than {most:,} bytes")
        return payload


class JournalReader:
    """One journal. ``position`` is the next slot to read; whoever takes a block advances it.

    Raises JournalError: the file isn't there, can't be read, is not a journal, or is of another major version.
    ``buffer`` (``BLOCK_SIZE`` bytes) may be shared by readers of which one at a time is in use; ``folder`` is the
    descriptor of the folder that the file is in, to find it there whatever the path leads to. Not thread-safe.
    """

    def __init__(
        self, path: str | os.PathLike[str], buffer: bytearray | None = None, folder: int | None = None
    ) -> None:
        self.path = Path(path)
        self.position = 0
        self.skipped = 0
        """Slots that were reserved and never committed."""
        self.damaged = 0
        """Slots that make no sense: wrong counts, lengths longer than their record, stray continuations."""
        self.missing = 0
        """Slots that were handed out and that the file, cut short, doesn't have."""
        self.unknown: Counter[int] = Counter()
        """Kind -> records of kinds that this version doesn't know."""
        self.reserved = self.lost = self.closed = self.front = 0
        self.jumped: int | None = None
        """Set when ``position`` had to jump to ``front``, the first slot that is still there: the STORE records before
        it. To be taken (and set to None) by whoever counts them."""
        self.ended = False
        """Everything was read, and nothing will be added."""
        self.block_slots = BLOCK_SLOTS
        """How many slots :meth:`read` gives at most: at least those of the longest record."""
        self._until = 2**63
        try:
            self._own = OwnFile(self._open(trust.READ, folder), lambda: self._open(trust.READ, None))
        except OSError as error:
            kind = NoneFree if error.errno in NONE_FREE else JournalError
            raise kind(f"{self.path}: can't be read ({error.strerror}); check the path and its mode") from error
        try:
            self.header = self._read_header()
        except BaseException:
            self._own.close()
            raise
        self._writer = Writer(self.header.pid, self.path)
        self._stores_before = 0
        self._to_writer: OwnFile | None = None
        self._acknowledged = 0
        self._buffer = bytearray(BLOCK_SIZE) if buffer is None else buffer
        self._view = memoryview(self._buffer)
        self._final = False
        self._closed_at = 0.0
        self._given = (-1, 0)

    def close(self) -> None:
        """Closes the file. Idempotent."""
        self._own.close()
        self._writer.close()
        if self._to_writer is not None:
            self._to_writer.close()
            self._to_writer = None

    def _open(self, flags: int, folder: int | None) -> int:
        return os.open(self.path if folder is None else self.path.name, flags | os.O_NOFOLLOW, dir_fd=folder)

    @property
    def _file(self) -> int:
        return self._own.number

    @property
    def live(self) -> bool:
        """Whether the writer may still add to the journal."""
        return not self._final

    def freeze(self) -> None:
        """From now on, what the file doesn't hold yet isn't read: a writer may be faster than whoever reads it."""
        self._until = self._present()

    def begin_of_last(self, stores: int) -> int:
        """A slot from which on there are so many STORE slots: found from the end of the file backwards, 0 if it isn't
        found soon. Blocks become invalid."""
        self._read_counters()
        stop = min(self.reserved, self._present())
        for _ in range(TAIL_BLOCKS):
            self.position, before = max(0, stop - BLOCK_SLOTS), self.position
            count = self._pread(stop - self.position)
            found, self.position = self.position, before
            stores -= bytes(self._view[: count * layout.SLOT_SIZE : layout.SLOT_SIZE]).count(Kind.STORE)
            if stores <= 0 or found == 0:
                return found
            stop = found
        return 0

    def occupied(self) -> int:
        """Bytes that the file takes on disk: what somebody has really written, whatever it claims."""
        found = os.fstat(self._file)
        return min(found.st_size, found.st_blocks * 512)

    def read(self) -> Block | None:
        """The committed slots from ``position`` on, a block at most; None if there are no more of them now, or none
        will come (``ended``). The block's memory is used again by the next call."""
        if self.ended:
            return None
        if not self._final:
            self._read_counters()
            block = self._read_live()
            for _ in range(TRIES):
                if not (self.header.max_bytes and self._overtaken()):
                    break
                block = self._read_live()
            if block is not None and (block.first, block.slots) != self._given:
                self._given = block.first, block.slots
                return block  # but not one that holds no whole record a second time: is its writer still there?
            # The order counts: once the writer is gone or done, whatever it committed is there to be read.
            if self._writer.alive() and not (self.closed and self._settled()):
                return None
            self._final = True
            self._read_counters()
        return self._read_final()

    def copies(self) -> Iterator[RawRecord]:
        """The records at the beginnings of segments that stand for some before ``front``. Blocks become invalid."""
        position = self.position
        # Not only up to `reserved`: `front` moves when they are there, before the first slot behind them is handed out.
        self._given = (-1, 0)
        for segment in self._segments(position - position % layout.SEGMENT_SLOTS, self._present()):
            self.position = segment
            index = int(self._pread(1) and self._view[0] and self._view[3] & Flag.REPEATED)  # as a rule there is none
            while index and (count := self._pread(BLOCK_SLOTS)):
                block, index = Block(self._view, self.position, count, last=False), 0
                while index < count and self._view[index * 64] and self._view[index * 64 + 3] & Flag.REPEATED:
                    record, following = self.parse(block, index)
                    if following <= index:
                        break
                    index = following
                    if record is not None:
                        yield record
                self.position += index
        self.position = position

    def _segments(self, segment: int, stop: int) -> Iterator[int]:
        """The first slots of those from ``segment`` to ``stop`` that begin with data: holes are stepped over."""
        for _ in range(COPIES_SEGMENTS):
            data = self._next_data(segment) if segment < stop else None
            if data is None:
                return
            if data == segment:
                yield segment
            segment = max(data, segment + 1)
            segment += -segment % layout.SEGMENT_SLOTS

    def acknowledge(self, position: int) -> None:
        """Tells the writer that the slots before ``position`` may be given back to the disk. Only for the reader that
        holds the session's :class:`~memwatch_core.journal.claim.Claim`; without a limit, nothing is done."""
        if not self.header.max_bytes or position // layout.SEGMENT_SLOTS == self._acknowledged:
            return
        try:
            if self._to_writer is None:
                opened = self._open(os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK, None)
                if not self._own.is_of(opened):
                    os.close(opened)
                    return  # another file has taken its place
                self._to_writer = OwnFile(opened)
            os.pwrite(self._to_writer.number, layout.READ.pack(position, ~position & 2**64 - 1), layout.HEADER_READ)
            self._acknowledged = position // layout.SEGMENT_SLOTS
        except OSError:
            pass  # a journal that we may not write to, or that is gone: the writer drops, and counts

    def acknowledged(self) -> int:
        """The slots that a reader has acknowledged."""
        raw = os.pread(self._file, layout.READ.size, layout.HEADER_READ)
        read, check = layout.READ.unpack(raw.ljust(layout.READ.size, b"\0"))
        return int(read) if read == ~check & 2**64 - 1 else 0

    def losses(self) -> dict[int, int]:
        """Stores that ran and couldn't be recorded, by variable; 0 stands for those that have no row of their own."""
        raw = os.pread(self._file, layout.LOSSES * layout.LOSS.size, layout.HEADER_LOSSES)
        rows = layout.LOSS.iter_unpack(raw[: len(raw) // layout.LOSS.size * layout.LOSS.size])
        losses: Counter[int] = Counter()
        for variable, count in rows:
            losses[variable] += count
        return {variable: count for variable, count in losses.items() if count}

    def parse(self, block: Block, index: int) -> tuple[RawRecord | None, int]:
        """The record at slot ``index`` of a block and the index behind it.

        None for what isn't a record (a PAD, slots never committed, damage, unknown kinds: counted). An index that is
        not greater than the one given: the record isn't whole in this block, read on from here.
        """
        view, word = block.view, layout.WORD.unpack_from(block.view, index * 64)[0]
        kind, slots = word & 255, word >> 8 & 255
        if kind in (Kind.FREE, Kind.CONTINUATION):
            return None, self._skip(block, index, kind)
        first = block.first + index
        room = layout.SEGMENT_SLOTS - first % layout.SEGMENT_SLOTS
        if kind == Kind.PAD:
            return None, index + min(max(slots, 1), room)  # its other slots need not be written
        stop = index + slots
        if slots == 0 or slots > room or (stop > block.slots and block.last):
            return None, self._damage(block, index)
        if stop > block.slots:
            return None, index
        if slots > 1 and any(view[at] != Kind.CONTINUATION for at in range((index + 1) * 64, stop * 64, 64)):
            return None, self._damage(block, index)
        record = self._take(view[index * 64 : stop * 64], first, word)
        if record is None and (kind == Kind.STORE or kind in BLOB_KINDS):
            return None, self._damage(block, index)
        return record, stop

    def records(self) -> Iterator[RawRecord]:
        """Every record that is there now, in slot order; call it again to go on. Advances ``position``."""
        while (block := self.read()) is not None:
            index = 0
            while index < block.slots:
                record, following = self.parse(block, index)
                if following <= index:
                    if index == 0:
                        return  # a record that is not whole yet, though it says so
                    break
                self.position = block.first + following
                index = following
                if record is not None:
                    yield record

    def _read_header(self) -> Header:
        regular = stat.S_ISREG(os.fstat(self._file).st_mode)
        raw = os.pread(self._file, layout.HEADER_SIZE, 0) if regular else b""
        if regular and not any(raw[: len(layout.MAGIC)]):  # the magic is written last
            raise NotBegun(f"{self.path}: not a MemWatch journal, or one that was only just created")
        if not regular:
            raise JournalError(f"{self.path}: not a regular file, so no MemWatch journal")
        if len(raw) < layout.HEADER_SIZE or not raw.startswith(layout.MAGIC):
            raise JournalError(f"{self.path}: not a MemWatch journal; give a .mwj file of a session folder")
        _, major, minor, header_size, slot_size, segment, pid, started, runtime, tracker, session, page, abi = (
            layout.HEADER.unpack_from(raw)
        )
        if major != layout.VERSION_MAJOR:
            raise JournalError(
                f"{self.path}: journal format {major}.{minor}, and this MemWatch reads {layout.VERSION_MAJOR}.x; "
                "read it with the version of MemWatch that wrote it"
            )
        if (header_size, slot_size, segment) != (layout.HEADER_SIZE, layout.SLOT_SIZE, layout.SEGMENT_SLOTS):
            raise JournalError(f"{self.path}: damaged header (sizes {header_size}, {slot_size}, {segment})")

        def text(name: bytes) -> str:
            return name.split(b"\0")[0].decode("utf-8", "replace")

        max_bytes, _ = layout.LIMIT.unpack_from(raw, layout.HEADER_MAX_BYTES) if minor else (0, 0)
        return Header((major, minor), pid, started, text(runtime), text(tracker), session, page, abi, max_bytes)

    def _read_counters(self) -> None:
        raw = os.pread(self._file, layout.COUNTERS.size, layout.HEADER_RESERVED)
        if len(raw) == layout.COUNTERS.size:
            self.reserved, self.lost, self.closed, front, *_ = layout.COUNTERS.unpack(raw)
            if front > self.front and self.header.max_bytes:
                self._move_front()

    def _move_front(self) -> None:
        """Reads ``front`` and the count that belongs to it. The writer stores the count first, in the place where that
        of the segment before last was: it is the right one if ``front`` is the same before and after."""
        for _ in range(TRIES):
            _, _, _, front, *_ = self._counters()
            _, _, _, _, *before = self._counters()
            _, _, _, again, *_ = self._counters()
            if front == again:
                break
        if front % layout.SEGMENT_SLOTS or front > self.reserved:
            self.damaged += 1  # nobody's number
            self.front = 2**64
            return
        stores = before[front // layout.SEGMENT_SLOTS & 1]
        self.damaged += stores > front  # each of them took a slot
        self.front, self._stores_before = front, min(stores, front, 2**63)
        if self.position < front:
            self.position, self.jumped = front, self._stores_before

    def _counters(self) -> tuple[int, ...]:
        raw = os.pread(self._file, layout.COUNTERS.size, layout.HEADER_RESERVED)
        return layout.COUNTERS.unpack(raw.ljust(layout.COUNTERS.size, b"\0"))

    def _overtaken(self) -> bool:
        """Whether the writer has given up what was being read: the position has jumped over it."""
        before = self.position
        self._read_counters()
        return self.position != before

    def _pread(self, slots: int) -> int:
        """Fills the buffer with ``slots`` slots from ``position`` on; how many whole ones the file had."""
        offset = layout.HEADER_SIZE + self.position * layout.SLOT_SIZE
        try:
            return os.preadv(self._file, [self._view[: slots * layout.SLOT_SIZE]], offset) // layout.SLOT_SIZE
        except (OSError, OverflowError):  # EIO of a bad disk, or a position beyond what the kernel can count
            return 0

    def _settled(self) -> bool:
        """Whether the threads that were writing when the journal was closed must have come to an end."""
        if self.position >= self.reserved:
            return True
        now = time.monotonic()
        self._closed_at = self._closed_at or now
        return now - self._closed_at > GRACE

    def _read_live(self) -> Block | None:
        count = self._pread(max(0, min(self.block_slots, min(self.reserved, self._until) - self.position)))
        if count == 0:
            return None
        used = self._view[: count * layout.SLOT_SIZE]
        if 0 in bytes(used[:: layout.SLOT_SIZE]):  # as a rule none is, and the bytes are looked through faster
            words = used.cast("I")[::16].tolist()
            count = words.index(0) if 0 in words else count
        # The first reading may have copied a slot's payload before it was written and its word after: read again.
        count = min(count, self._pread(count)) if count else 0
        return Block(self._view, self.position, count, last=False) if count else None

    def _read_final(self) -> Block | None:
        while not self.ended:
            count = self._pread(max(0, min(self.block_slots, self._until - self.position)))
            size = count * layout.SLOT_SIZE
            if count and self._buffer[:size] != _ZEROS[:size]:
                return Block(self._view, self.position, count, last=count < self.block_slots)
            following = self._next_data(self.position + count) if count else None
            present = self._present()
            self._count_skipped(self.position, present if following is None else following)
            if following is None:
                self.missing = max(0, min(self.reserved, self._until) - max(present, self.position))
                self.ended = True
            else:
                self.position = following
        return None

    def _present(self) -> int:
        """Slots that the file has room for, holes included."""
        slots = (os.fstat(self._file).st_size - layout.HEADER_SIZE) // layout.SLOT_SIZE
        return min(max(0, slots), self._until)

    def _next_data(self, slot: int) -> int | None:
        """The slot from ``slot`` on where the file has data, over a hole of any size; None if there is none."""
        try:
            offset = os.lseek(self._file, layout.HEADER_SIZE + slot * layout.SLOT_SIZE, os.SEEK_DATA)
        except (OSError, OverflowError):
            return None
        return max(slot, (offset - layout.HEADER_SIZE) // layout.SLOT_SIZE)

    def _count_skipped(self, first: int, stop: int) -> None:
        self.skipped += max(0, min(stop, self.reserved) - first)

    def _skip(self, block: Block, index: int, kind: int) -> int:
        """Steps over one slot that was not committed, and the CONTINUATION slots behind it."""
        if kind == Kind.FREE:
            self._count_skipped(block.first + index, block.first + index + 1)
        else:
            self.damaged += 1
        index += 1
        while index < block.slots and block.view[index * 64] == Kind.CONTINUATION:
            index += 1
        return index

    def _damage(self, block: Block, index: int) -> int:
        self.damaged += 1
        index += 1
        while index < block.slots and block.view[index * 64] == Kind.CONTINUATION:
            index += 1
        return index

    def _take(self, raw: memoryview, first: int, word: int) -> RawRecord | None:
        """A whole record; None if its length doesn't fit, or its kind isn't known (counted)."""
        kind, slots = word & 255, word >> 8 & 255
        head = (first, kind, slots, word >> 16 & 255, word >> 24)
        if kind == Kind.STORE:
            _, tid, time, variable, offset, length, site, context, _ = layout.STORE.unpack_from(raw)
            skip = layout.CALL.size if head[3] in layout.WITH_CALL else 0
            if skip + 2 * length > 28 + 60 * (slots - 1):
                return None
            payload = _payload(raw, layout.STORE_PAYLOAD, skip + 2 * length)
            call = layout.CALL.unpack_from(payload) if skip else None
            return RawRecord(*head, tid, time, variable, payload[skip:], offset, site, context, call)
        if kind in BLOB_KINDS:
            _, tid, time, ident, length, _ = layout.BLOB.unpack_from(raw)
            if length > 40 + 60 * (slots - 1):
                return None
            return RawRecord(*head, tid, time, ident, _payload(raw, layout.BLOB_PAYLOAD, length))
        if kind in (Kind.VARIABLE, Kind.UNREGISTERED):
            _, tid, time, ident = layout.BLOB.unpack_from(raw)[:4]
            return RawRecord(*head, tid, time, ident, bytes(raw[20:64]))
        self.unknown[kind] += 1
        return None


def _payload(raw: memoryview, start: int, length: int) -> bytes:
    """The payload of a record: from ``start`` in its first slot, then 60 bytes of each CONTINUATION."""
    if start + length <= layout.SLOT_SIZE:
        return bytes(raw[start : start + length])
    parts = [raw[start : layout.SLOT_SIZE]]
    parts += [raw[at + layout.CONTINUATION_PAYLOAD : at + 64] for at in range(64, len(raw), 64)]
    return b"".join(parts)[:length]
