"""The core's calls (``memwatch.h``) as Python functions: checked, with exceptions for error codes.

Every call releases the GIL and is thread-safe. The functions called for each write aren't here but in C
(``memwatch_core/python/``).
"""

from __future__ import annotations

import os
from typing import Any, Literal, NamedTuple

from ..errors import CoreError, JournalFullError
from . import _core

lib: Any = _core.lib
ffi: Any = _core.ffi

TrackerName = Literal["auto", "uffd-sigbus", "readonly", "uffd-queue"]
TRACKERS: dict[str, int] = {
    "auto": lib.MW_TRACKER_AUTO,
    "uffd-sigbus": lib.MW_TRACKER_UFFD_SIGBUS,
    "readonly": lib.MW_TRACKER_READONLY,
    "uffd-queue": lib.MW_TRACKER_UFFD_QUEUE,
}
PolicyName = Literal["block", "drop", "rotate"]
POLICIES: dict[str, int] = {
    "block": lib.MW_POLICY_BLOCK,
    "drop": lib.MW_POLICY_DROP,
    "rotate": lib.MW_POLICY_ROTATE,
}
TRACK_THREADS: int = lib.MW_TRACK_THREADS
TRACK_SQL: int = lib.MW_TRACK_SQL
TRACK_ALL_VARS: int = lib.MW_TRACK_ALL_VARS
TRACK_LOCALS: int = lib.MW_TRACK_LOCALS
SECRET: int = lib.MW_SECRET
MASK_BYTES: int = lib.MW_MASK_BYTES
MASK_WHOLE: int = lib.MW_MASK_WHOLE
_WITH_ERRNO = frozenset(
    {
        lib.MW_ERR_JOURNAL_OPEN,
        lib.MW_ERR_NO_TRACKER,
        lib.MW_ERR_NO_MEMORY,
        lib.MW_ERR_EXECUTABLE,
        lib.MW_ERR_FILE_SIZE,
        lib.MW_ERR_THREAD,
    }
)


class Stats(NamedTuple):
    """The core's counters, as ``mw_stats`` in memwatch.h explains them."""

    stores: int
    slots: int
    lost: int
    forms: int
    chained: int
    variables: int
    pages: int


def explain(code: int) -> str:
    """The core's sentence for an error code."""
    return _text(lib.mw_strerror(code))


def _text(pointer: Any) -> str:
    text: str = ffi.string(pointer).decode()
    return text


def _check(result: int, what: str) -> int:
    if result >= 0:
        return result
    number = ffi.errno
    message = f"{what}: {explain(result)}"
    if result in _WITH_ERRNO and number:
        message += f" ({os.strerror(number)})"
    raise (JournalFullError if result == lib.MW_ERR_JOURNAL_FULL else CoreError)(result, message)


def start(tracker: TrackerName = "auto") -> str:
    """Starts the core, once per process, and returns the tracker in use. Raises CoreError if it doesn't work here."""
    if tracker not in TRACKERS:
        raise ValueError(f"no tracker is called {tracker!r}; there are {', '.join(TRACKERS)}")
    _check(lib.mw_start(TRACKERS[tracker]), f"the core can't start with tracker {tracker!r}")
    return tracker_name()


def tracker_name() -> str:
    """The tracker in use; ``none`` before :func:`start`."""
    return _text(lib.mw_tracker_name())


def tracker_reason() -> str:
    """Why earlier trackers weren't used; empty if the first was."""
    return _text(lib.mw_tracker_reason())


def probe_tracker(tracker: TrackerName) -> str | None:
    """Tries a tracker on a page of its own: None if it works, otherwise why it doesn't."""
    result: int = lib.mw_tracker_probe(TRACKERS[tracker])
    number = ffi.errno
    if result >= 0:
        return None
    return os.strerror(number).lower() if number else explain(result)


def limit_journal(max_bytes: int, policy: PolicyName) -> None:
    """Limits the size on disk of journals opened from now on, 0 for no limit. Raises CoreError: less than 4 MiB."""
    _check(lib.mw_journal_limit(max_bytes, POLICIES[policy]), "journal.max_bytes")


def open_journal(path: os.PathLike[str] | str, session: bytes, runtime: str = "python") -> None:
    """Starts recording; the file is created at the first record. Raises CoreError."""
    if len(session) != 16:
        raise ValueError(f"a session is 16 bytes, not {len(session)}")
    _check(lib.mw_journal_open(os.fsencode(path), runtime.encode(), session), f"journal {os.fspath(path)}")


def journal_path() -> str:
    """The path of this process's journal, which exists once something was recorded. Raises CoreError: none was
    opened."""
    out = ffi.new("char[2048]")
    _check(lib.mw_journal_path(out, len(out)), "the journal")
    return os.fsdecode(ffi.string(out))


def close_journal() -> None:
    """Ends all watches and marks the journal as complete. Raises CoreError if none is open."""
    _check(lib.mw_journal_close(), "closing the journal")


def rest() -> bool:
    """Lets go of a closed journal's files, and of the signals. False: pages are in use still, so the signals are kept.
    Raises CoreError: a journal is open."""
    result: int = lib.mw_rest()
    if result == lib.MW_ERR_PAGE:
        return False
    _check(result, "resting")
    return True


def keep_descriptor(number: int) -> int:
    """Moves a descriptor out of reach of the program's calls. Returns its new number, or the old one if no more fit."""
    kept: int = lib.mw_descriptor_keep(number)
    return kept if kept >= 0 else number


def close_descriptor(number: int) -> bool:
    """Closes a descriptor moved by :func:`keep_descriptor`; False if the number isn't one."""
    return bool(lib.mw_descriptor_close(number) >= 0)


def name_thread(native_id: int, name: str) -> None:
    """Names a thread in the journal (cut at 255 bytes). Raises CoreError if no journal is open."""
    data = name.encode("utf-8", "replace")[:255].decode("utf-8", "ignore").encode()
    _check(lib.mw_thread_name(native_id, data, len(data)), f"naming thread {native_id}")


def stats() -> Stats:
    """The present counters."""
    out = ffi.new("mw_stats *")
    lib.mw_get_stats(out)
    return Stats(*(int(getattr(out, name)) for name in Stats._fields))
