"""Reads one journal: its records in slot order, from a process that runs, has ended or was killed.

A file that isn't a journal is a JournalError; anything wrong behind a good header is counted and stepped over. What the
counters mean is decided by :mod:`memwatch_core.host.decoder`.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator

from . import layout
from .file import Header, JournalFile
from .layout import FLAGS_AT, KIND_AT, SLOT_SIZE, Flag, Kind
from .liveness import Writer
from .records import Block, Parser, RawRecord

BLOCK_SLOTS = 1024
"""Slots read at once: few enough for a block's records to stay in the processor's cache until they are freed."""
BLOCK_SIZE = BLOCK_SLOTS * SLOT_SIZE
GRACE = 0.1
"""Seconds that a process which has closed its journal, and still runs, has to commit what it had begun."""
COPIES_SEGMENTS = 1 << 20
"""Segments that are searched for copies, at most: a hostile file may claim any number."""
TRIES = 1000
"""How often what changes while it is read is read again: whoever changes it for ever is no writer of ours."""
TAIL_BLOCKS = 1 << 16
"""Blocks that are looked through backwards, at most: a hostile file may have any number of empty ones."""
NOWHERE = 2**64
"""``front`` of a journal that says something impossible."""
FARTHEST = 2**63
"""Slots, and STORE records, that no journal has."""
_WORDS = SLOT_SIZE // layout.WORD.size
_ZEROS = bytes(BLOCK_SIZE)


class JournalReader:
    """One journal, read from its beginning on: whoever takes a block says so by :meth:`advance`.

    Raises JournalError: the file isn't there, can't be read, is not a journal, or is of another major version.
    ``buffer`` (``BLOCK_SIZE`` bytes) may be shared by readers of which one at a time is in use; ``folder``: see
    :class:`~memwatch_core.journal.file.JournalFile`. Not thread-safe.
    """

    def __init__(
        self, path: str | os.PathLike[str], buffer: bytearray | None = None, folder: int | None = None
    ) -> None:
        self.file = JournalFile(path, folder)
        self.path = self.file.path
        self.missing = 0
        """Slots that were handed out and that the file, cut short, doesn't have."""
        self.reserved = self.lost = self.closed = self.front = 0
        self.ended = False
        """Everything was read, and nothing will be added."""
        self._parser = Parser()
        self._never_written = self._impossible = 0  # slots that no block shows; numbers of the header's
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
        """What doesn't change in the journal's header."""
        return self.file.header

    @property
    def position(self) -> int:
        """The next slot to read."""
        return self._position

    @property
    def jumped(self) -> int | None:
        """Not None if ``position`` had to jump to ``front``, the first slot that is still there: the STORE records
        before it."""
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
        """Slots that make no sense: wrong counts, lengths longer than their record, stray continuations."""
        return self._parser.damaged + self._impossible

    @property
    def unknown(self) -> Counter[int]:
        """Kind -> records of kinds that this version doesn't know."""
        return self._parser.unknown

    def advance(self, slot: int) -> None:
        """What is before this slot was taken: it is the next one to read."""
        self._position = slot

    def take_jump(self) -> int | None:
        """:attr:`jumped`, for whoever counts what was lost by it: None from then on."""
        jumped, self._jumped = self._jumped, None
        return jumped

    def freeze(self) -> None:
        """From now on, what the file doesn't hold yet isn't read: a writer may be faster than whoever reads it."""
        self._until = self._present()

    def begin_of_last(self, stores: int) -> int:
        """A slot from which on there are so many STORE slots: found from the end of the file backwards, 0 if it isn't
        found soon. Blocks become invalid."""
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
        """The committed slots from ``position`` on, at most ``slots`` of them (``BLOCK_SLOTS``; no fewer than the
        longest record has); None if there are no more of them now, or none will come (``ended``). The block's memory is
        used again by the next call."""
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
                return block  # but not one that holds no whole record a second time: is its writer still there?
            # The order counts: once the writer is gone or done, whatever it committed is there to be read.
            if self._writer.alive() and not (self.closed and self._settled()):
                return None
            self._final = True
            self._read_counters()
        return self._read_final(most)

    def parse(self, block: Block, index: int) -> tuple[RawRecord | None, int]:
        """The record at slot ``index`` of a block, and the index behind it: see :meth:`Parser.parse`."""
        return self._parser.parse(block, index, self.reserved)

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
                self._position = block.first + following
                index = following
                if record is not None:
                    yield record

    def copies(self) -> Iterator[RawRecord]:
        """The records at the beginnings of segments that stand for some before ``front``. Blocks become invalid."""
        # Not only up to `reserved`: `front` moves when they are there, before the first slot behind them is handed out.
        self._given = (-1, 0)
        for segment in self._segments(self._position - self._position % layout.SEGMENT_SLOTS, self._present()):
            slot, more = segment, bool(self._fill(segment, 1)) and self._is_copy(0)  # as a rule there is none
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
        """The first slots of those from ``segment`` to ``stop`` that begin with data: holes are stepped over."""
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
        """Reads ``front`` and the count that belongs to it. The writer stores the count first, in the place where that
        of the segment before last was: it is the right one if ``front`` is the same before and after."""
        for _ in range(TRIES):
            first, second, third = self.file.counters(), self.file.counters(), self.file.counters()
            front = first.front if first is not None else 0
            before = second.stores_before if second is not None else (0, 0)
            if front == (third.front if third is not None else 0):
                break
        if front % layout.SEGMENT_SLOTS or front > self.reserved:
            self._impossible += 1  # nobody's number
            self.front = NOWHERE
            return
        stores = before[front // layout.SEGMENT_SLOTS & 1]
        self._impossible += stores > front  # each of them took a slot
        self.front, self._stores_before = front, min(stores, front, FARTHEST)
        if self._position < front:
            self._position, self._jumped = front, self._stores_before

    def _overtaken(self) -> bool:
        """Whether the writer has given up what was being read: the position has jumped over it."""
        before = self._position
        self._read_counters()
        return self._position != before

    def _fill(self, slot: int, slots: int) -> int:
        """Fills the buffer with ``slots`` slots from ``slot`` on; how many whole ones the file had."""
        return self.file.read(slot, self._view[: slots * SLOT_SIZE])

    def _settled(self) -> bool:
        """Whether the threads that were writing when the journal was closed must have come to an end."""
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
        if 0 in bytes(used[::SLOT_SIZE]):  # as a rule none is, and the bytes are looked through faster
            words = used.cast("I")[::_WORDS].tolist()
            count = words.index(0) if 0 in words else count
        # The first reading may have copied a slot's payload before it was written and its word after: read again.
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
        """Slots that the file has room for, holes included, as far as they are to be read."""
        return min(self.file.present(), self._until)
