"""This process's part in a session: its journal, opened once, and the hooks that are installed while it is open.

Whoever holds a session (``memwatch run`` in the child, ``memwatch_core.session()``) calls :func:`open_journal`.
Otherwise the first ``watch()`` does: in the session that ``MEMWATCH_SESSION`` names, or in a new one in the configured
folder. The core closes the journal at process exit, after the last line of Python.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..config import Config
from ..errors import SessionError
from ..native import core, proxy
from ..records import Serializer, TypeFormat
from ..turns import turn
from . import threads

RUNTIME = "python"


class Journal(NamedTuple):
    """The journal that this process writes to."""

    folder: Path
    config: Config
    serializers: tuple[Serializer, ...]
    """In configured order."""
    tracker: str
    formats: tuple[TypeFormat, ...]

    @property
    def path(self) -> Path:
        """The journal's file; it exists once something was recorded."""
        return Path(core.journal_path())


_journal: Journal | None = None
_closed: Path | None = None
_closed_by: int | None = None
_at_close: list[Callable[[], None]] = []


def journal() -> Journal | None:
    """The open journal, if any."""
    return _journal


def closed() -> Path | None:
    """The journal that this process, or its parent before the fork, has closed; None if one is open now."""
    return _closed


def closed_by() -> int | None:
    """The process that closed it."""
    return _closed_by


def is_open() -> bool:
    """Whether this process has an open journal."""
    return _journal is not None


def open_journal(
    folder: str | os.PathLike[str],
    config: Config,
    serializers: Sequence[Serializer] | None = None,
    formats: Sequence[TypeFormat] = (),
) -> Journal:
    """Starts the core and opens ``<folder>/<pid>-python.mwj`` in an existing session folder.

    ``serializers`` default, with their ``formats``, to those that ``config`` names. Raises SessionError: one is open,
    or the folder is no session; CoreError: the core can't start or the folder can't be written to; ConfigError,
    PluginError: a serializer.
    """
    global _journal, _closed
    from ..journal.session import read_session

    with turn():
        if _journal is not None:
            raise SessionError(
                f"this process already writes to {_journal.path}; a process takes part in one session at a time: "
                "end that one first, or start the program without memwatch run"
            )
        if serializers is None:
            from ..loading.discovery import load

            plugins = load(config, ("serializers",), light=True)
            serializers, formats = plugins.serializers, plugins.formats
        where = Path(folder)
        session = read_session(where, own=True).id
        tracker = core.start(config.core.wanted)
        core.limit_journal(config.journal.max_bytes, config.journal.policy)
        core.open_journal(where / f"{os.getpid()}-{RUNTIME}.mwj", session, RUNTIME)
        proxy.keep_stacks(config.watch.frames)
        proxy.set_secrets(tuple(pattern.encode("utf-8", "surrogatepass") for pattern in config.privacy.variables))
        proxy.provide_origins(True)
        proxy.record_locals(True, _flags(config))
        _journal = Journal(where, config, tuple(serializers), tracker, tuple(formats))
        _closed = None
        threads.install()
        return _journal


def _flags(config: Config) -> int:
    """Those of the variables that locals are."""
    watch = config.watch
    return core.TRACK_THREADS * watch.track_threads | core.TRACK_SQL * watch.track_sql


def at_close(function: Callable[[], None]) -> None:
    """Has a function called behind each end of a journal, outside of all locks."""
    _at_close.append(function)


def close_journal() -> None:
    """Ends all watches and closes the journal. Idempotent.

    Watched values can still be read and unwatched; writing to one raises SessionError.
    """
    _close_journal()
    for function in _at_close:
        function()


def _close_journal() -> None:
    global _journal, _closed, _closed_by
    with turn():
        if _journal is None:
            return
        threads.uninstall()
        proxy.audit_places()
        proxy.close_all_places()
        proxy.record_locals(False)
        core.close_journal()
        proxy.provide_origins(False)
        proxy.forget_sites()
        _closed, _closed_by, _journal = _journal.path, os.getpid(), None


def forget(closed: Path | None = None, by: int | None = None) -> None:
    """As if the journal that was closed last had never been: an earlier one may be ``closed``. The next ``watch()``
    does what it would have done."""
    global _closed, _closed_by
    if _journal is None:
        _closed, _closed_by = closed, by


def _after_fork() -> None:
    """The core gives the child its own pages and journal; the thread hooks follow here."""
    if _journal is not None:
        threads.install()


os.register_at_fork(after_in_child=_after_fork)
