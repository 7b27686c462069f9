"""Moments of a session: ``start``, ``end``, a time, or a number of an event in its journal."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from ..errors import JournalError, SessionError
from ..host.digests import Digest, Undecided
from ..host.held import event_of
from ..host.history import read
from ..host.indexing import Progress
from ..host.moment import Moment
from ..journal import session as folders
from ..journal.reader import JournalReader
from ..records import Event

NEVER = 1 << 63
_AGO = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(ms|s|m|h|d)")
_UNITS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
_NUMBER = re.compile(r"(?:(\d{1,10}(?:\.\d{1,5})?):)?(\d{1,19})")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})(?:[.,](\d{1,9}))?")


class Cut(NamedTuple):
    """The first event of a journal that is still there."""

    seq: int
    time: int


END = Moment("end", NEVER)
START = Moment("start", -1)


class Until:
    """Tells whether records happened up to a moment. Ask once for each record, in the order of a session.

    A process's order is that of its journal: once one of its events is later than the moment, all that follow are,
    whatever its clock did.
    """

    def __init__(self, moment: Moment) -> None:
        self.moment = moment
        self._over: set[str] = set()

    def __call__(self, event: Event) -> bool:
        if event.journal in self._over:
            return False
        moment = self.moment
        happened = event.seq <= moment.seq if event.journal == moment.journal else event.time_ns <= moment.time
        if not happened:
            self._over.add(event.journal)
        return happened

    def takes(self, digest: Digest) -> bool:
        """The same of all events of a digest."""
        if digest.journal in self._over:
            return False
        happened = digest.is_up_to(self.moment)
        if happened is None:
            raise Undecided
        if not happened:
            self._over.add(digest.journal)
        return happened

    def covers(self, journal: str, time_ns: int) -> bool:
        """Whether something that is no event happened up to the moment."""
        return journal not in self._over and time_ns <= self.moment.time


def is_moment(text: str) -> bool:
    """Whether a text is written as a moment is."""
    text = text.strip()
    if text in ("start", "end") or any(form.fullmatch(text) for form in (_NUMBER, _AGO, _CLOCK)):
        return True
    try:
        return bool(_date(text))
    except ValueError:
        return False


def moment(
    text: str, path: Path, say: Callable[[str], None], *, what: str = "", progress: Progress | None = None
) -> Moment:
    """The moment that a text names in a session. ``what``: the option or argument; ``progress``: called while an index
    is made. Raises SessionError.

    A time stands for all of what it names: ``15:04:05`` for that second to its end. With a number, the session's
    journals are read as far as to that event.
    """
    text = text.strip()
    if text in ("start", "end"):
        return START if text == "start" else END
    if number := _NUMBER.fullmatch(text):
        return _numbered(text, number[1], int(number[2]), path, say, what, progress)
    return _timed(text, path, what)


def since(text: str, path: Path, say: Callable[[str], None], progress: Progress | None = None) -> Moment:
    """The moment before the one that a text names: what happens at that one counts as later."""
    if is_moment(text) and text.strip() not in ("start", "end") and not _NUMBER.fullmatch(text.strip()):
        found = _timed(text.strip(), path, "--since ", early=True)
    else:
        found = moment(text, path, say, what="--since ", progress=progress)
    if found.seq:
        return found._replace(seq=found.seq - 1, time=found.time - 1)
    if found.text in ("start", "end"):
        return found
    return found._replace(time=_beginning(text.strip(), found.time) - 1)


def journals_of(path: Path) -> list[Path]:
    """The journals of a session's folder, or the one that ``path`` is."""
    return [path] if path.is_file() else list(folders.journals(path))


def process_of(journal: str) -> str:
    """``4711`` of a process's journal, ``4711.1`` of its second one."""
    pid, _, rest = journal.partition("-")
    _, _, number = rest.partition(".")
    return f"{pid}.{number}" if number.isdecimal() else pid


def cuts_of(path: Path, say: Callable[[str], None]) -> dict[str, Cut]:
    """The journals of which the beginning is gone (journal.max_bytes), and where they begin now."""
    found = {}
    for file in journals_of(path):
        with suppress(JournalError):
            reader = JournalReader(file)
            front, name = reader.look_for_front(), file.name.removesuffix(folders.JOURNAL_SUFFIX)
            reader.close()
            if front:
                event = next((e for batch in read(file, say) for e in batch if isinstance(e, Event)), None)
                found[name] = Cut(NEVER, NEVER) if event is None else Cut(event.seq, event.time_ns)
    return found


def _numbered(
    text: str,
    process: str | None,
    seq: int,
    path: Path,
    say: Callable[[str], None],
    what: str,
    progress: Progress | None,
) -> Moment:
    names = {file.name.removesuffix(folders.JOURNAL_SUFFIX): file for file in journals_of(path)}
    fitting = [name for name in names if process in (None, process_of(name))]
    if len(fitting) != 1:
        if process is None:
            several = ", ".join(f"{process_of(name)}:{seq}" for name in [*names][:4])
            several += ", …" if len(names) > 4 else ""
            raise SessionError(
                f"{what}{text!r}: each of the session's {len(names)} processes counts its events; write {several}"
                if names else f"{what}{text!r}: the session has no events"
            )  # fmt: skip
        known = ", ".join([process_of(name) for name in names][:8])
        raise SessionError(f"{what}{text!r}: the session has no process {process}; it has {known or 'none'}")
    journal = names[fitting[0]]
    event, last, first = _find(journal, seq, say) if _is_limited(journal) else (*event_of(journal, seq, progress), 1)
    if event is None:
        whose = f"process {process_of(fitting[0])}"
        if first > 1 and seq < first:
            raise SessionError(f"{what}{text!r}: the first event of {whose} that is still there is {first}")
        there = f"has events 1 to {last}" if last else "has no events"
        raise SessionError(f"{what}{text!r}: {whose} {there}")
    return Moment(text, event.time_ns, event.journal, seq)


def _is_limited(journal: Path) -> bool:
    """Whether a journal may lack its first events."""
    reader = JournalReader(journal)
    try:
        return bool(reader.look_for_front() or reader.header.max_bytes)
    finally:
        reader.close()


def _find(journal: Path, seq: int, say: Callable[[str], None]) -> tuple[Event | None, int, int]:
    """The event of this number, and the numbers of the last and first one that were seen."""
    last = first = 0
    for batch in read(journal, lambda text: None, say):
        for record in batch:
            if isinstance(record, Event):
                first, last = first or record.seq, record.seq
                if record.seq == seq:
                    return record, last, first
    return None, last, first


def _timed(text: str, path: Path, what: str, *, early: bool = False) -> Moment:
    begun = _begun(path)
    if ago := _AGO.fullmatch(text):
        found = time.time_ns() - int(float(ago[1]) * _UNITS[ago[2]])
    elif clock := _CLOCK.fullmatch(text):
        found = _on_the_day(clock, begun, text, what) + _unit(text) - 1
    else:
        try:
            given = _date(text)
            found = int(given.timestamp()) * 10**9 + given.microsecond * 1000 + _unit(text) - 1
        except (ValueError, OverflowError):
            raise SessionError(
                f"{what}{text!r} is no moment: write start, end, a time as events show it (15:04:05.123), a date and "
                "time (2026-11-23T15:04:05), how long ago (30s, 5m, 2h, 1d), or an event's number (120, or PID:120)"
            ) from None
    if found < begun and not early:
        raise SessionError(f"{what}{text!r}: the session began later, at {_local(begun)}")
    return Moment(text, found)


def _date(text: str) -> datetime:
    """Raises ValueError."""
    if text.isdecimal():
        raise ValueError("a number")
    return datetime.fromisoformat(text)


def _on_the_day(clock: re.Match[str], begun: int, text: str, what: str) -> int:
    """A time of day: the first one since the session began."""
    day = datetime.fromtimestamp(begun // 10**9)
    fraction = int((clock[4] or "").ljust(9, "0"))
    try:
        found = day.replace(hour=int(clock[1]), minute=int(clock[2]), second=int(clock[3]), microsecond=0)
    except ValueError as error:
        raise SessionError(f"{what}{text!r}: {error}") from None
    at = int(found.timestamp()) * 10**9 + fraction
    if at + _unit(text) <= begun:
        later = int((found + timedelta(days=1)).timestamp()) * 10**9 + fraction
        if later <= time.time_ns():
            return later
    return at


def _unit(text: str) -> int:
    """ns of what a time names: a second, or a part of it; of an ISO time without seconds, the minute or day."""
    if fraction := re.search(r"[:T]\d*[.,](\d+)", text):
        digits = len(fraction[1])
        return int(10 ** (9 - (digits if _CLOCK.fullmatch(text) else min(digits, 6))))  # a datetime has microseconds
    rest = re.sub(r"[+-]\d\d:?\d\d$|Z$", "", text.partition("T")[2] or text.partition(" ")[2] or text)
    if "T" not in text and " " not in text and ":" not in text:
        return _UNITS["d"]
    return {2: 3600, 4: 60}.get(len(rest.replace(":", "")), 1) * 10**9


def _beginning(text: str, end: int) -> int:
    """The first ns of what a time names, of which ``end`` is the last; of how long ago, that very moment."""
    return end if _AGO.fullmatch(text) else end - _unit(text) + 1


def _begun(path: Path) -> int:
    """When the session began."""
    if not path.is_file():
        with suppress(SessionError):
            started = folders.read_session(path).started
            return int(started.timestamp()) * 10**9 + started.microsecond * 1000
    times = []
    for journal in journals_of(path):
        with suppress(JournalError):
            reader = JournalReader(journal)
            times.append(reader.header.started)
            reader.close()
    return min(times, default=0)


def _local(time_ns: int) -> str:
    with suppress(OverflowError, ValueError, OSError):
        return f"{datetime.fromtimestamp(time_ns // 10**9):%Y-%m-%d %H:%M:%S}"
    return f"{datetime.fromtimestamp(0, UTC):%Y}"
