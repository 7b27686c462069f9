"""Reads one journal in slot order, from a process that runs, has ended or was killed.

A file that isn't a journal raises JournalError. Damage behind a good header is counted and skipped;
:mod:`memwatch_core.host.decoder` interprets the counters.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator

from . import layout
from .file import Header, JournalFile
from .layout import FLAGS_AT, KIND_AT, SLOT_SIZE, Flag, Kind
from .liveness import Writer
from .records import Block, Parser, RawRecord

BLOCK_SLOTS = 1024
"""Slots read at once: few enough for a block's records to stay in the CPU's cache until they are freed."""
BLOCK_SIZE = BLOCK_SLOTS * SLOT_SIZE
GRACE = 0.1
"""Seconds given to a process that closed its journal but still runs, to commit the records that it began."""
COPIES_SEGMENTS = 1 << 20
"""Limit of segments searched for copies: a hostile file may claim any number."""
TRIES = 1000
"""Limit of retries if data changes while it is read: no writer of ours changes it forever."""
TAIL_BLOCKS = 1 << 16
"""Limit of blocks searched backwards: a hostile file may have any number of empty ones."""
NOWHERE = 2**64
"""``front`` of a journal whose header has an impossible value."""
FARTHEST = 2**63
"""More slots, or STORE records, than any journal has."""
_WORDS = SLOT_SIZE // layout.WORD.size
_ZEROS = bytes(BLOCK_SIZE)


class JournalReader:
    """Reads one journal from its beginning. After taking a block, call :meth:`advance`.

    Raises JournalError: the file doesn't exist, can't be read, isn't a journal, or has another major version. Readers
    that aren't used at the same time may share a ``buffer`` of ``BLOCK_SIZE`` bytes. ``folder``: see
    :class:`~memwatch_core.journal.file.JournalFile`. Not thread-safe.
    """

    def __init__(
        self, path: str | os.PathLike[str], buffer: bytearray | None = None, folder: int | None = None
    ) -> None:
        self.file = JournalFile(path, folder)
        self.path = self.file.path
        self.missing = 0
        """Slots that were handed out, but lie behind the end of a truncated file."""
        self.reserved = self.lost = self.closed = self.front = 0
        self.ended = False
        """Whether everything was read and nothing will be added."""
        self._parser = Parser()
        self._never_written = self._impossible = 0  # slots in no block; numbers in the header
        self._position = 0
        self._jumped: int | None = None
        self._until = FARTHEST
        self._writer = Writer(self.header.pid, self.path)
        self._stores_before = 0
        self._buffer = bytearray(BLOCK_SIZE) if buffer is None else buffer
        self._view = memoryview(self._buffer)
        self._final = False
        self._closed_at = 0.0
        self._given = (-1, 0)

    def close(self) -> None:
        """Closes the file. Idempotent."""
        self.file.close()
        self._writer.close()

    @property
    def header(self) -> Header:
        """The constant part of the journal's header."""
        return self.file.header

    @property
    def position(self) -> int:
        """The next slot to read."""
        return self._position

    @property
    def jumped(self) -> int | None:
        """Number of STORE records before ``front``, if ``position`` had to jump there because earlier slots were freed;
        otherwise None."""
        return self._jumped

    @property
    def live(self) -> bool:
        """Whether the writer may still add to the journal."""
        return not self._final

    @property
    def skipped(self) -> int:
        """Slots that were reserved and never committed."""
        return self._never_written + self._parser.uncommitted

    @property
    def damaged(self) -> int:
        """Invalid slots: wrong counts, lengths longer than their record, stray continuations."""
        return self._parser.damaged + self._impossible

    @property
    def unknown(self) -> Counter[int]:
        """Kind -> number of records of unknown kinds."""
        return self._parser.unknown

    def advance(self, slot: int) -> None:
        """Sets the next slot to read: those before it were taken."""
        self._position = slot

    def take_jump(self) -> int | None:
        """Returns and resets :attr:`jumped`, for the caller that counts what was lost."""
        jumped, self._jumped = self._jumped, None
        return jumped

    def freeze(self) -> None:
        """Doesn't read beyond the present end of the file from now on: a writer may be faster than the reader."""
        self._until = self._present()

    def look_for_front(self) -> int:
        """The first slot that is still there: those before it were given back to the disk."""
        self._read_counters()
        return self.front

    def begin_of_last(self, stores: int) -> int:
        """A slot behind which at least this many STORE slots follow; 0 if not found within a limit. Searches backwards
        from the end. Invalidates blocks."""
        self._read_counters()
        stop = min(self.reserved, self._present())
        for _ in range(TAIL_BLOCKS):
            begin = max(0, stop - BLOCK_SLOTS)
            count = self._fill(begin, stop - begin)
            stores -= bytes(self._view[: count * SLOT_SIZE : SLOT_SIZE]).count(Kind.STORE)
            if stores <= 0 or begin == 0:
                return begin
            stop = begin
        return 0

    def read(self, slots: int | None = None) -> Block | None:
        """The committed slots from ``position`` on; None if there are none now, or (``ended``) ever.

        At most ``slots`` (default: ``BLOCK_SLOTS``), which must be no fewer than the longest record has. The next call
        reuses the block's memory.
        """
        most = BLOCK_SLOTS if slots is None else slots
        if self.ended:
            return None
        if not self._final:
            self._read_counters()
            block = self._read_live(most)
            for _ in range(TRIES):
                if not (self.header.max_bytes and self._overtaken()):
                    break
                block = self._read_live(most)
            if block is not None and (block.first, block.slots) != self._given:
                self._given = block.first, block.slots
                return block  # a block without a whole record isn't returned twice: check the writer first
            # The order matters: once the writer is gone or done, everything that it committed can be read.
            if self._writer.alive() and not (self.closed and self._settled()):
                return None
            self._final = True
            self._read_counters()
        return self._read_final(most)

    def parse(self, block: Block, index: int) -> tuple[RawRecord | None, int]:
        """The record at slot ``index`` of a block, and the index behind it: see :meth:`Parser.parse`."""
        return self._parser.parse(block, index, self.reserved)

    def records(self) -> Iterator[RawRecord]:
        """All records so far, in slot order; call it again for later ones. Advances ``position``."""
        while (block := self.read()) is not None:
            index = 0
            while index < block.slots:
                record, following = self.parse(block, index)
                if following <= index:
                    if index == 0:
                        return  # a record that claims to be whole but isn't yet
                    break
                self._position = block.first + following
                index = following
                if record is not None:
                    yield record

    def records_at(self, slots: Iterable[int]) -> Iterator[RawRecord | None]:
        """The records that begin at these slots, in ascending order; None where there is none. Invalidates blocks."""
        parser, first, count = Parser(), 0, 0
        for slot in slots:
            record = None
            for _ in range(2):  # it may be cut off by the end of what was read
                if first <= slot < first + count:
                    record, _ = parser.parse(Block(self._view, first, count, last=False), slot - first, slot)
                if record is not None:
                    break
                first, count = slot, self._fill(slot, BLOCK_SLOTS)
            yield record

    def copies(self) -> Iterator[RawRecord]:
        """The copies of freed records that segments begin with. Invalidates blocks."""
        # Looks beyond `reserved`: `front` moves once the copies exist, before the first slot behind them is handed out.
        self._given = (-1, 0)
        for segment in self._segments(self._position - self._position % layout.SEGMENT_SLOTS, self._present()):
            slot, more = segment, bool(self._fill(segment, 1)) and self._is_copy(0)  # usually there is none
            while more and (count := self._fill(slot, BLOCK_SLOTS)):
                block, index = Block(self._view, slot, count, last=False), 0
                while index < count and self._is_copy(index):
                    record, following = self.parse(block, index)
                    if following <= index:
                        break
                    index = following
                    if record is not None:
                        yield record
                slot += index
                more = index > 0

    def _is_copy(self, index: int) -> bool:
        at = index * SLOT_SIZE
        return bool(self._view[at + KIND_AT] and self._view[at + FLAGS_AT] & Flag.REPEATED)

    def _segments(self, segment: int, stop: int) -> Iterator[int]:
        """The first slots of segments from ``segment`` to ``stop`` that begin with data. Skips holes."""
        for _ in range(COPIES_SEGMENTS):
            data = self.file.next_data(segment) if segment < stop else None
            if data is None:
                return
            if data == segment:
                yield segment
            segment = max(data, segment + 1)
            segment += -segment % layout.SEGMENT_SLOTS

    def _read_counters(self) -> None:
        counters = self.file.counters()
        if counters is not None:
            self.reserved, self.lost, self.closed, front, _ = counters
            if front > self.front and self.header.max_bytes:
                self._move_front()

    def _move_front(self) -> None:
        """Reads ``front`` and the count of STORE records before it.

        The writer stores the count first, in the place of the segment before last. So the count is right if ``front``
        is the same before and after.
        """
        for _ in range(TRIES):
            first, second, third = self.file.counters(), self.file.counters(), self.file.counters()
            front = first.front if first is not None else 0
            before = second.stores_before if second is not None else (0, 0)
            if front == (third.front if third is not None else 0):
                break
        if front % layout.SEGMENT_SLOTS or front > self.reserved:
            self._impossible += 1  # an impossible number
            self.front = NOWHERE
            return
        stores = before[front // layout.SEGMENT_SLOTS & 1]
        self._impossible += stores > front  # each took at least a slot
        self.front, self._stores_before = front, min(stores, front, FARTHEST)
        if self._position < front:
            self._position, self._jumped = front, self._stores_before

    def _overtaken(self) -> bool:
        """Whether the writer freed the slots being read, so that the position jumped."""
        before = self._position
        self._read_counters()
        return self._position != before

    def _fill(self, slot: int, slots: int) -> int:
        """Fills the buffer with ``slots`` slots from ``slot`` on; returns the number of whole ones in the file."""
        return self.file.read(slot, self._view[: slots * SLOT_SIZE])

    def _settled(self) -> bool:
        """Whether threads that were writing when the journal was closed must be done by now."""
        if self._position >= self.reserved:
            return True
        now = time.monotonic()
        self._closed_at = self._closed_at or now
        return now - self._closed_at > GRACE

    def _read_live(self, most: int) -> Block | None:
        position = self._position
        count = self._fill(position, max(0, min(most, min(self.reserved, self._until) - position)))
        if count == 0:
            return None
        used = self._view[: count * SLOT_SIZE]
        if 0 in bytes(used[::SLOT_SIZE]):  # usually none is 0, and searching the bytes is faster
            words = used.cast("I")[::_WORDS].tolist()
            count = words.index(0) if 0 in words else count
        # A slot's payload may have been copied before it was written, and its word after. So read again.
        count = min(count, self._fill(position, count)) if count else 0
        return Block(self._view, position, count, last=False) if count else None

    def _read_final(self, most: int) -> Block | None:
        while not self.ended:
            count = self._fill(self._position, max(0, min(most, self._until - self._position)))
            size = count * SLOT_SIZE
            if count and self._buffer[:size] != _ZEROS[:size]:
                return Block(self._view, self._position, count, last=count < most)
            following = self.file.next_data(self._position + count) if count else None
            present = self._present()
            stop = min(present if following is None else following, self.reserved)
            self._never_written += max(0, stop - self._position)
            if following is None:
                self.missing = max(0, min(self.reserved, self._until) - max(present, self._position))
                self.ended = True
            else:
                self._position = following
        return None

    def _present(self) -> int:
        """Slots that the file's size has room for, holes included, up to the end set by :meth:`freeze`."""
        return min(self.file.present(), self._until)
