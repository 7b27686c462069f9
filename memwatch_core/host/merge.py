"""Merges the journals of a session into one stream: by time between processes, in journal order within each."""

from __future__ import annotations

import os
import resource
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from operator import attrgetter
from pathlib import Path
from time import monotonic, sleep, time_ns

from ..errors import JournalError, SessionError
from ..folders import open_folder
from ..journal.file import NONE_FREE, JournalFile, NoneFree, NotBegun
from ..journal.index import Index
from ..journal.layout import RECORD_SLOTS_MAX
from ..journal.reader import BLOCK_SIZE, BLOCK_SLOTS
from ..journal.session import listed
from ..records import Notice, Record, Serializer
from .contents import Told
from .decoder import BATCH_BYTES, JournalDecoder
from .digests import Digests
from .kept import Kept
from .merging import GAP_NS, Merging
from .own import is_own_by_default
from .sieve import Sieve

DELAY_NS = 50_000_000
"""How long a record waits for earlier ones of other running processes."""
SOURCES = 256
"""Limit of journals open at once."""
SLOTS = 32 * BLOCK_SLOTS
"""Limit of slots decoded ahead, of all journals together."""
SETTLED = 1.0
"""Seconds after which a folder that seems unchanged is listed again."""

_time = attrgetter("time_ns")


class _Source:
    """One journal, and its decoded records that weren't given out yet."""

    __slots__ = ("begun", "decoder", "delay", "keys", "last", "read_at", "records")

    def __init__(self, decoder: JournalDecoder, delay: int) -> None:
        self.decoder, self.delay = decoder, delay
        self.records: list[Record] = []
        self.keys: list[int] = []
        self.last = 0
        self.read_at = 0
        self.begun = 0
        """Slot of the first record that wasn't given out yet."""

    def refill(self, sources: int) -> None:
        """Decodes the next batch if the last one was given out. Its size is this journal's part of the common
        limits."""
        if not self.records and not self.decoder.ended:
            self.read_at = time_ns()
            self.begun = self.decoder.reader.position
            slots = max(RECORD_SLOTS_MAX, min(BLOCK_SLOTS, SLOTS // sources))
            self.records = self.decoder.poll(BATCH_BYTES // sources, slots)

    def sort(self) -> None:
        """Computes the key of each record."""
        if len(self.keys) == len(self.records):
            return
        self.keys = list(map(_time, self.records))
        if max(self.keys) > (now := time_ns()):
            # A time after the moment of reading comes from a wrong clock. Waiting for that moment could take forever.
            self.keys = [key if key <= now else 0 for key in self.keys]
        if self.decoder.floors:
            self.keys = list(map(max, self.keys, self.decoder.floors))
        if self.keys[0] < self.last or self.keys != sorted(self.keys):
            # A clock that was set back must not reorder a process, whose order is the journal's.
            self.keys = list(accumulate(self.keys, max, initial=self.last))[1:]
        self.last = self.keys[-1]

    def take_all(self) -> list[Record]:
        """Gives out all records."""
        records, self.records, self.keys = self.records, [], []
        if records and records[-1].time_ns <= time_ns():
            self.last = max(self.last, records[-1].time_ns)
        return records

    def frontier(self) -> int | None:
        """The time up to which all records of this process are known; None: all are."""
        if self.decoder.ended:
            return None
        return self.last if self.records else self.read_at - self.delay

    def take(self, until: int | None, inclusive: bool) -> tuple[list[Record], list[int]]:
        """Gives out the records before ``until`` (``inclusive``: and those at it); None: all."""
        bisect = bisect_right if inclusive else bisect_left
        cut = len(self.keys) if until is None else bisect(self.keys, until)
        taken = self.records[:cut], self.keys[:cut]
        self.records, self.keys = self.records[cut:], self.keys[cut:]
        return taken


class SessionDecoder:
    """The records of all journals in a session's folder (or of one journal): call :meth:`poll` repeatedly.

    Journals of processes that start later are found as they appear. Not thread-safe. Raises SessionError if the folder
    can't be listed, JournalError if ``path`` is a file but not a journal. ``final``, ``judged``, ``is_own``,
    ``contents``: see :class:`JournalDecoder`. ``own``: read only from a folder that belongs to this user, see
    :func:`open_folder`. ``sieve``: give out only some events, see :class:`~memwatch_core.host.sieve.Sieve`; then check
    :attr:`uncertain`. ``indexes``: of journals, by the name of the file; then :meth:`poll` may raise
    Stale. ``digests``, ``merging``: see :class:`JournalDecoder`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        serializers: Mapping[str, Serializer],
        *,
        final: bool = False,
        own: bool = False,
        sieve: Sieve | None = None,
        judged: bool = True,
        is_own: Callable[[str], bool] = is_own_by_default,
        contents: Told | None = None,
        indexes: Mapping[str, Index] | None = None,
        digests: Digests | None = None,
        merging: Merging | None = None,
    ) -> None:
        self.path = Path(path)
        self._digests = digests
        self._merging = merging
        self.delay = DELAY_NS if merging is None else max(DELAY_NS, GAP_NS)
        """How long a record waits for earlier ones of other running processes, in ns. A line may be as old as the gap
        that ends a run."""
        self._contents = contents
        self._indexes = indexes or {}
        self._judged = judged
        self._is_own = is_own
        self._final = final
        self._sieve = sieve
        self.decoders: list[JournalDecoder] = []
        """With a sieve: the decoders of all journals."""
        self._own = own
        self._taken_away = False
        self._serializers = serializers
        self._known: set[Path] = set()
        self._sources: list[_Source] = []
        self._over: list[tuple[JournalFile, int]] = []
        """Journals with a size limit that were read to their end (a slot), until that is acknowledged."""
        self._notices: list[Record] = []
        self._room = room()
        self._kept = Kept()
        self._found: deque[Path] = deque()
        """Files that were found but not opened yet."""
        self._looked: tuple[int | None, float] = (None, 0.0)
        """When the folder was last listed: its modification time, and the clock."""
        self.gone = False
        """The folder was removed: its open journals are still read, no new ones will appear."""
        self._buffer = bytearray(BLOCK_SIZE)
        self.unreadable: dict[Path, str] = {}
        """Files that aren't journals yet, and why. Their process is about to begin, or died before it did."""
        self.damaged: list[str] = []
        """A sentence about each file that isn't a journal and never will be."""
        self._waited = False
        self._is_folder = self.path.is_dir()
        if self._is_folder:
            try:
                self._discover()
            except OSError as error:
                raise SessionError(
                    f"{self.path}: can't be read ({error.strerror}); check its owner and mode"
                ) from error
            self._waited = bool(self._found)
        else:
            self._known.add(self.path)
            self._sources.append(_Source(self._decoder(self.path), self.delay))

    @property
    def ended(self) -> bool:
        """Whether every journal found so far was read to its end, and its process has ended or closed it."""
        return not self._sources and not self._notices and not self._found

    @property
    def uncertain(self) -> bool:
        """Whether the order or values of events may depend on the size of batches: because some journals waited for
        others to end, or memory for values was short."""
        return self._waited or self._kept.short

    @property
    def several(self) -> bool:
        """Whether more than one journal was found."""
        return len(self._known) + len(self.unreadable) > 1

    def poll(self) -> list[Record]:
        """The records that can be given out now, at most some thousands; empty if there are none."""
        if self._is_folder and not self.gone:
            self._look_again()
        out, self._notices = self._notices, []
        for source in self._sources:
            source.refill(len(self._sources))
        if len(self._sources) == 1:
            out += self._sources[0].take_all()
        elif self._sources:
            for source in self._sources:
                source.sort()
            fronts = (source.frontier() for source in self._sources)
            bounds = [(bound, at) for at, bound in enumerate(fronts) if bound is not None]
            # Of records with equal times, the earlier journal's come first, whatever the batches. So journals after the
            # one that limits the frontier wait at that time.
            until, last = min(bounds, default=(None, 0))
            out += _merge([source.take(until, at <= last) for at, source in enumerate(self._sources)])
        over = [source for source in self._sources if source.decoder.ended and not source.records]
        if over:
            self._sources = [source for source in self._sources if source not in over]
            readers = (source.decoder.reader for source in over)
            self._over += [(reader.file, reader.position) for reader in readers if reader.header.max_bytes]
        return out

    def batches(self) -> Iterator[list[Record]]:
        """Everything that the session holds now, in non-empty batches; doesn't wait for more."""
        while not self.ended:
            batch = self.poll()
            if batch:
                yield batch
            elif any(source.records for source in self._sources):
                sleep(DELAY_NS / 1e9 / 10)  # held back for earlier records of other processes
            else:
                break

    def end_lines(self) -> None:
        """Ends the runs that aren't complete yet: the next :meth:`poll` gives out their lines."""
        for source in self._sources:
            if not source.decoder.ended:
                source.decoder.end_lines()

    def acknowledge(self) -> None:
        """Allows the writers to free what was given out (``journal.max_bytes``)."""
        for source in self._sources:
            reader = source.decoder.reader
            reader.file.acknowledge(source.begun if source.records else reader.position)
        for file, end in self._over:  # no writer waits, but later readers see that this was read
            file.acknowledge(end)
            file.close()
        self._over = []

    def close(self) -> None:
        """Closes all files. Idempotent."""
        for source in self._sources:
            source.decoder.close()
        self._sources = []

    def _look_again(self) -> None:
        try:
            self._discover()
        except FileNotFoundError:
            self.gone = True  # removed by the program
        except OSError as error:
            if error.errno in NONE_FREE and self._sources:
                self._looked = None, 0.0  # try again once a journal has ended
            elif not self._taken_away:
                self._notices.append(Notice(time_ns(), 0, f"{self.path}: isn't read any more ({error.strerror})"))
                self._taken_away = True

    def _discover(self) -> None:
        due = self._is_due()
        if not due and not self._found:
            return
        with open_folder(self.path, own=self._own) as folder:
            if due:
                self._found = deque(path for path in listed(self.path, folder) if path not in self._known)
            while self._found and len(self._sources) < self._room:
                self._open(self._found.popleft(), folder)

    def _is_due(self) -> bool:
        """Whether there may be unknown journals.

        Modification times are coarse: a folder that changed a moment ago may have changed again. With ``final``, one
        look is enough.
        """
        try:
            changed = os.stat(self.path).st_mtime_ns
        except FileNotFoundError:
            if self._looked[0] is None:
                raise SessionError(f"{self.path}: the session's folder is gone") from None
            self.gone = True
            return False
        now = monotonic()
        before, then = self._looked
        if self._final and before is not None:
            return False
        if changed == before and abs(time_ns() - changed) > SETTLED * 1e9 and now - then < SETTLED:
            return False
        self._looked = changed, now
        return True

    def _decoder(self, path: Path, folder: int | None = None) -> JournalDecoder:
        decoder = JournalDecoder(
            path,
            self._serializers,
            self._buffer,
            final=self._final,
            folder=folder,
            kept=self._kept,
            judged=self._judged,
            is_own=self._is_own,
            contents=self._contents,
            index=self._indexes.get(path.name),
            digests=self._digests,
            merging=self._merging,
        )
        if self._sieve is not None:
            decoder.sieve(self._sieve)
            self.decoders.append(decoder)
        return decoder

    def _open(self, path: Path, folder: int) -> None:
        try:
            decoder = self._decoder(path, folder)
        except NoneFree as error:
            if self._sources:  # a descriptor will become free
                self._found.appendleft(path)
                self._room = len(self._sources)
            else:
                self.unreadable[path] = str(error)
        except NotBegun as error:
            self.unreadable[path] = str(error)
        except JournalError as error:
            self._known.add(path)
            self.unreadable.pop(path, None)
            self.damaged.append(str(error))
            self._notices.append(Notice(time_ns(), 0, str(error)))
        else:
            self._known.add(path)
            self.unreadable.pop(path, None)
            self._sources.append(_Source(decoder, self.delay))


def room() -> int:
    """How many journals may be open at once. Each takes up to three descriptors; leave some for others."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        taken = sum(int(number) < limit for number in os.listdir("/proc/self/fd"))
    except OSError:
        taken = limit // 2
    return max(1, min(SOURCES, (limit - taken) // 4))


def _merge(parts: list[tuple[list[Record], list[int]]]) -> list[Record]:
    parts = [part for part in parts if part[0]]
    if len(parts) == 1:
        return parts[0][0]
    records = [record for part in parts for record in part[0]]
    keys = [key for part in parts for key in part[1]]
    # the sort is stable: records with equal times stay in journal order
    return [records[at] for at in sorted(range(len(keys)), key=keys.__getitem__)]
