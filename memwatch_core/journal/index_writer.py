"""Writes the index beside a journal: see :mod:`.index`."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

from .. import trust
from ..folders import open_folder
from .file import JournalFile
from .index import (
    DIGEST,
    FORMAT,
    HEAD,
    MAGIC,
    ROW,
    UNFINISHED,
    Flags,
    Identity,
    Index,
    checksum,
    name_of,
    sample,
    version_digest,
)


class IndexWriter:
    """Writes an index aside, and puts it in its place at the end. Raises OSError: it can't be written here.

    Only into a folder, and for a journal, that belong to this user alone. One writer at a time: the file that isn't
    finished is locked; one that nobody holds is of a writer that was killed.
    """

    def __init__(self, journal: JournalFile, now: Identity) -> None:
        self._journal, self._identity = journal, now
        self._name = name_of(journal.path)
        self._rows: list[bytes] = []
        self._end = HEAD.size
        if why := trust.owned(journal.status()):
            raise PermissionError(f"{journal.path} {why}")
        with open_folder(journal.path.parent, own=True) as folder:
            self._folder = os.dup(folder)
        try:
            self._file = open(self._create(), "wb", buffering=1 << 20)  # noqa: SIM115 - closed by finish or close
        except BaseException:
            os.close(self._folder)
            raise
        self._file.write(bytes(HEAD.size))

    def _create(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        with suppress(FileNotFoundError):
            left = os.open(self._unfinished, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK,
                           dir_fd=self._folder)  # fmt: skip
            try:
                fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(self._unfinished, dir_fd=self._folder)
            finally:
                os.close(left)
        number = os.open(self._unfinished, flags | os.O_EXCL, 0o600, dir_fd=self._folder)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(number)
            raise
        return number

    @property
    def _unfinished(self) -> str:
        return self._name + UNFINISHED

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._end

    def copy(self, index: Index) -> None:
        """Begins with all parts of another index of the journal."""
        number, directory = index.pieces()
        while self._end < index.end:
            data = os.pread(number, min(1 << 20, index.end - self._end), self._end)
            if not data:
                raise OSError("the index is cut short")
            self._file.write(data)
            self._end += len(data)
        self._rows = [directory[at : at + ROW.size] for at in range(0, len(directory) - ROW.size, ROW.size)]

    @property
    def count(self) -> int:
        """Number of parts so far."""
        return len(self._rows)

    def add(self, start: int, stop: int, numbers: tuple[int, int, int, int], flags: int, summary: bytes = b"",
            held: bytes | None = None, groups: bytes = b"", stretch: bytes = b"") -> None:  # fmt: skip
        """A part. ``numbers``: stores, the earliest time, the latest, the last."""
        pieces: list[int | bytes] = []
        for piece in (summary, held or b"", groups, stretch):
            pieces += [self._end, len(piece), checksum(piece)]
            self._file.write(piece)
            self._end += len(piece)
        flags |= Flags.HELD if held is not None else 0
        flags |= (Flags.GROUPED if groups else 0) | (Flags.STRETCHED if stretch else 0)
        taken = sample(self._journal, (start, stop)) if stop > start else bytes(DIGEST)
        self._rows.append(ROW.pack(start, stop, *numbers, flags, *pieces, taken))

    def finish(self) -> None:
        """Puts the index in its place. Raises OSError; then close it."""
        directory, now = b"".join(self._rows), self._identity
        self._file.write(directory)
        head = HEAD.pack(
            MAGIC, FORMAT, version_digest(), now.constants, *now.status, now.reserved, now.closed, self._end,
            len(self._rows), checksum(directory), bytes(DIGEST),
        )[:-DIGEST]  # fmt: skip
        self._file.seek(0)
        self._file.write(head + checksum(head))
        self._file.flush()
        os.rename(self._unfinished, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._rows.clear()
        self._close()

    def close(self) -> None:
        """Removes what isn't finished. Idempotent."""
        if not self._file.closed:
            with suppress(OSError):
                os.unlink(self._unfinished, dir_fd=self._folder)
            self._close()

    def _close(self) -> None:
        with suppress(OSError):
            self._file.close()
        os.close(self._folder)
