"""Whether the process that writes a journal still runs.

The journal's header has its process id, but ids are reused. So a process counts as the writer only if it has the
journal mapped (``/proc/<pid>/maps``); unlike a start time, that doesn't depend on a clock. It is checked once;
afterwards a pidfd refers to this very process. A lock on the file would need no /proc, but a forked child would inherit
it.
"""

from __future__ import annotations

import os
import select
from pathlib import Path

from ..files import OwnFile


class Writer:
    """The process that writes one journal.

    A process that can't be seen (another pid namespace, a hidden /proc entry) counts as gone. If we may not read a
    process's maps, it counts as the writer if its user owns the journal.
    """

    def __init__(self, pid: int, journal: Path) -> None:
        self.pid = pid
        self._journal = journal
        self._pidfd: OwnFile | None = None
        self._gone = False

    def alive(self) -> bool:
        """Whether the process runs and has the journal mapped. Once False, always False."""
        if self._gone:
            return False
        self._gone = not self._find() if self._pidfd is None else self._ended()
        if self._gone:
            self.close()
        return not self._gone

    def close(self) -> None:
        """Closes the pidfd. Don't call :meth:`alive` afterwards."""
        if self._pidfd is not None:
            self._pidfd.close()
            self._pidfd = None

    def _ended(self) -> bool:
        poll = select.poll()
        try:
            poll.register(self._pidfd.number if self._pidfd is not None else -1, select.POLLIN)
        except OSError:  # a reader within the program, which closed the descriptor
            self._pidfd = None
            return not self._find()
        return bool(poll.poll(0))

    def _find(self) -> bool:
        if not 0 < self.pid < 2**31:
            return False
        try:
            self._pidfd = OwnFile(os.pidfd_open(self.pid))
        except ProcessLookupError:
            return False
        except OSError:
            self._pidfd = None  # a sandbox without pidfd_open: look up the process each time
        return self._maps_journal()

    def _maps_journal(self) -> bool:
        try:
            found = os.stat(self._journal)
            inode, owner = found.st_ino, found.st_uid
        except OSError:
            inode, owner = 0, -1  # deleted meanwhile: the path in the maps says so
        path = os.fsencode(self._journal.resolve())
        try:
            with open(f"/proc/{self.pid}/maps", "rb") as maps:
                for line in maps:
                    fields = line.split(maxsplit=5)
                    if len(fields) < 6:
                        continue
                    mapped = fields[5].rstrip(b"\n").removesuffix(b" (deleted)")
                    # overlay file systems show another inode, moved folders another path: one match is enough
                    named = os.path.basename(mapped) == os.path.basename(path)
                    if mapped == path or (named and int(fields[4]) == inode):
                        return True
        except (FileNotFoundError, ProcessLookupError):
            return False
        except PermissionError:
            return owner in self._users()  # better wait than skip what it may be writing
        except OSError:
            return True  # no free descriptor: try again
        return False

    def _users(self) -> list[int]:
        """Real, effective, saved and file system user of the process; readable for everybody."""
        try:
            with open(f"/proc/{self.pid}/status", "rb") as status:
                return [int(user) for line in status if line.startswith(b"Uid:") for user in line.split()[1:]]
        except (OSError, ValueError):
            return []
