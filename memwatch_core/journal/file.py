"""A journal's file: its header, counters and slots. None of it is trusted.

Read with ``pread``, not mapped: truncating a mapped file would kill the reader with SIGBUS.
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
"""Errors of a call when no descriptor is left."""
UNIT = 512
"""Unit of ``st_blocks``, in bytes."""
MOST = 2**64 - 1


class NotBegun(JournalError):
    """The file may still become a journal: its header isn't written yet, or it can't be opened now."""


class NoneFree(NotBegun):
    """No descriptor is left to open the file."""


class Header(NamedTuple):
    """The constant part of a journal's header."""

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
    """Limit of the file's size on disk; 0: none."""


class Counters(NamedTuple):
    """The part of the header that changes while the journal is written."""

    reserved: int
    """Slots that were handed out to writing threads."""
    lost: int
    """Stores that ran and couldn't be recorded."""
    closed: int
    """When the journal was closed, in ns since 1970; 0: it wasn't."""
    front: int
    """The first slot that wasn't freed."""
    stores_before: tuple[int, int]
    """STORE records before ``front``: for a segment with an even number, and for an odd one.

    Raises JournalError: the file doesn't exist, can't be read, isn't a journal, or has another major version.
    """


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
        """Closes the file. Idempotent."""
        self._own.close()
        if self._to_writer is not None:
            self._to_writer.close()
            self._to_writer = None

    def counters(self) -> Counters | None:
        """The present counters; None if the file was truncated before them."""
        raw = os.pread(self._own.number, layout.COUNTERS.size, layout.HEADER_RESERVED)
        if len(raw) < layout.COUNTERS.size:
            return None
        reserved, lost, closed, front, *stores_before = layout.COUNTERS.unpack(raw)
        return Counters(reserved, lost, closed, front, (stores_before[0], stores_before[1]))

    def status(self) -> os.stat_result:
        """The file's status. Raises OSError."""
        return os.fstat(self._own.number)

    def constants(self) -> bytes:
        """The part of the header that never changes, as it stands there."""
        limit = os.pread(self._own.number, layout.LIMIT.size, layout.HEADER_MAX_BYTES)
        return os.pread(self._own.number, layout.HEADER_RESERVED, 0) + limit

    def head(self) -> bytes:
        """The whole header."""
        return os.pread(self._own.number, layout.HEADER_SIZE, 0)

    def losses(self) -> dict[int, int]:
        """Stores that ran and couldn't be recorded, by variable; id 0 is for all that share a count."""
        raw = os.pread(self._own.number, layout.LOSSES * layout.LOSS.size, layout.HEADER_LOSSES)
        rows = layout.LOSS.iter_unpack(raw[: len(raw) // layout.LOSS.size * layout.LOSS.size])
        losses: Counter[int] = Counter()
        for variable, count in rows:
            losses[variable] += count
        return {variable: count for variable, count in losses.items() if count}

    def occupied(self) -> int:
        """Bytes on disk: what was really written, whatever the file claims."""
        found = os.fstat(self._own.number)
        return min(found.st_size, found.st_blocks * UNIT)

    def present(self) -> int:
        """Slots that the file's size has room for, holes included."""
        return max(0, (os.fstat(self._own.number).st_size - layout.HEADER_SIZE) // layout.SLOT_SIZE)

    def next_data(self, slot: int) -> int | None:
        """The next slot with data, from ``slot`` on; None if there is none. Skips holes of any size."""
        try:
            offset = os.lseek(self._own.number, _offset(slot), os.SEEK_DATA)
        except (OSError, OverflowError):
            return None
        return max(slot, (offset - layout.HEADER_SIZE) // layout.SLOT_SIZE)

    def read(self, slot: int, view: memoryview) -> int:
        """Fills the memory with slots from ``slot`` on; returns the number of whole ones."""
        try:
            return os.preadv(self._own.number, [view], _offset(slot)) // layout.SLOT_SIZE
        except (OSError, OverflowError):  # EIO of a bad disk, or an offset too large for the kernel
            return 0

    def acknowledge(self, position: int) -> None:
        """Tells the writer that it may free the slots before ``position``.

        Only for the reader that holds the session's :class:`~memwatch_core.journal.claim.Claim`. Does nothing if the
        journal has no limit.
        """
        if not self.header.max_bytes or position // layout.SEGMENT_SLOTS == self._acknowledged:
            return
        try:
            if self._to_writer is None:
                opened = self._open(os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK, None)
                if not self._own.is_of(opened):
                    os.close(opened)
                    return  # another file has replaced it
                self._to_writer = OwnFile(opened)
            os.pwrite(self._to_writer.number, layout.READ.pack(position, ~position & MOST), layout.HEADER_READ)
            self._acknowledged = position // layout.SEGMENT_SLOTS
        except OSError:
            pass  # not writable for us, or deleted: the writer drops events, and counts them

    def acknowledged(self) -> int:
        """Number of slots that a reader has acknowledged."""
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
