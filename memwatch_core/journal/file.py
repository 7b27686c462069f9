"""The file of a journal: its header, its counters, its slots. Nothing in it is trusted.

It is read with ``pread``, not mapped: a file that is cut short while it is mapped kills the reader with SIGBUS.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from .. import trust
from ..errors import JournalError
from ..files import OwnFile
from . import layout

NONE_FREE = (errno.EMFILE, errno.ENFILE)
"""What a call says when there is no descriptor left."""
UNIT = 512
"""Bytes that ``st_blocks`` counts in."""
MOST = 2**64 - 1


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


class Counters(NamedTuple):
    """What changes in it while the journal is written."""

    reserved: int
    """Slots that were handed out."""
    lost: int
    """Stores that ran and couldn't be recorded."""
    closed: int
    """When the journal was closed; 0: it wasn't."""
    front: int
    """The first slot that is still there."""
    stores_before: tuple[int, int]
    """STORE records before ``front``: of a segment with an even number, an odd one."""


class JournalFile:
    """One file. ``folder`` is the descriptor of the folder that it is in, to find it there whatever the path leads to.

    Raises JournalError: it isn't there, can't be read, is not a journal, or is of another major version.
    """

    def __init__(self, path: str | os.PathLike[str], folder: int | None = None) -> None:
        self.path = Path(path)
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
        self._to_writer: OwnFile | None = None
        self._acknowledged = 0

    def close(self) -> None:
        """Closes it. Idempotent."""
        self._own.close()
        if self._to_writer is not None:
            self._to_writer.close()
            self._to_writer = None

    def counters(self) -> Counters | None:
        """As they are now; None if the file hasn't that many bytes any more."""
        raw = os.pread(self._own.number, layout.COUNTERS.size, layout.HEADER_RESERVED)
        if len(raw) < layout.COUNTERS.size:
            return None
        reserved, lost, closed, front, *stores_before = layout.COUNTERS.unpack(raw)
        return Counters(reserved, lost, closed, front, (stores_before[0], stores_before[1]))

    def losses(self) -> dict[int, int]:
        """Stores that ran and couldn't be recorded, by variable; 0 stands for those that have no row of their own."""
        raw = os.pread(self._own.number, layout.LOSSES * layout.LOSS.size, layout.HEADER_LOSSES)
        rows = layout.LOSS.iter_unpack(raw[: len(raw) // layout.LOSS.size * layout.LOSS.size])
        losses: Counter[int] = Counter()
        for variable, count in rows:
            losses[variable] += count
        return {variable: count for variable, count in losses.items() if count}

    def occupied(self) -> int:
        """Bytes that it takes on disk: what somebody has really written, whatever it claims."""
        found = os.fstat(self._own.number)
        return min(found.st_size, found.st_blocks * UNIT)

    def present(self) -> int:
        """Slots that it has room for, holes included."""
        return max(0, (os.fstat(self._own.number).st_size - layout.HEADER_SIZE) // layout.SLOT_SIZE)

    def next_data(self, slot: int) -> int | None:
        """The slot from ``slot`` on where it has data, over a hole of any size; None if there is none."""
        try:
            offset = os.lseek(self._own.number, _offset(slot), os.SEEK_DATA)
        except (OSError, OverflowError):
            return None
        return max(slot, (offset - layout.HEADER_SIZE) // layout.SLOT_SIZE)

    def read(self, slot: int, view: memoryview) -> int:
        """Fills the memory with slots from ``slot`` on; how many whole ones there were."""
        try:
            return os.preadv(self._own.number, [view], _offset(slot)) // layout.SLOT_SIZE
        except (OSError, OverflowError):  # EIO of a bad disk, or a position beyond what the kernel can count
            return 0

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
            os.pwrite(self._to_writer.number, layout.READ.pack(position, ~position & MOST), layout.HEADER_READ)
            self._acknowledged = position // layout.SEGMENT_SLOTS
        except OSError:
            pass  # a journal that we may not write to, or that is gone: the writer drops, and counts

    def acknowledged(self) -> int:
        """The slots that a reader has acknowledged."""
        raw = os.pread(self._own.number, layout.READ.size, layout.HEADER_READ)
        read, check = layout.head_of(raw, layout.READ)
        return int(read) if read == ~check & MOST else 0

    def _open(self, flags: int, folder: int | None) -> int:
        return os.open(self.path if folder is None else self.path.name, flags | os.O_NOFOLLOW, dir_fd=folder)

    def _read_header(self) -> Header:
        regular = stat.S_ISREG(os.fstat(self._own.number).st_mode)
        raw = os.pread(self._own.number, layout.HEADER_SIZE, 0) if regular else b""
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
        max_bytes, _ = layout.LIMIT.unpack_from(raw, layout.HEADER_MAX_BYTES) if minor else (0, 0)
        return Header((major, minor), pid, started, _text(runtime), _text(tracker), session, page, abi, max_bytes)


def _text(name: bytes) -> str:
    return name.split(b"\0")[0].decode("utf-8", "replace")


def _offset(slot: int) -> int:
    return layout.HEADER_SIZE + slot * layout.SLOT_SIZE
