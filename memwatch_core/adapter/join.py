"""Makes this process write into a session: opens its journal, loads the serializers, traces SQL drivers."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from .. import config as configuration
from ..config import Config
from ..errors import SessionError
from ..journal.session import create_session, read_session
from ..loading.discovery import Plugins, load
from ..turns import turn
from . import process

if TYPE_CHECKING:
    from .sql import Tracing  # imported only when SQL is traced


class Membership:
    """What :func:`join` set up, to be undone by :meth:`leave`."""

    def __init__(self, journal: process.Journal, key: bytes, plugins: Plugins) -> None:
        self.journal = journal
        self._key = key
        self._plugins = plugins
        self._tracing: Tracing | None = None

    def trace_sql(self) -> None:
        """Traces SQL drivers from now on. Idempotent."""
        if self._tracing is not None:
            return
        with turn():
            if self._tracing is not None or not process.is_open():
                return
            config = self.journal.config
            try:
                from . import sql

                drivers = self._plugins.sql if "sql" in self._plugins.kinds else sql.drivers(config)
            except (ImportError, AttributeError) as error:  # the program's own `fractions.py`, or an empty sys.path
                raise SessionError(
                    f"SQL can't be traced: its modules can't be imported any more ({error}); ask for it before the "
                    "program starts: memwatch run --track-sql, or track_sql = true in [watch]"
                ) from error
            self._tracing = sql.Tracing(self._key, config.sql, drivers)

    def leave(self) -> None:
        """Restores the drivers, ends all watches and closes the journal. Idempotent."""
        global _member
        if self._tracing is not None:
            self._tracing.leave()
        aimed = sys.modules.get(f"{__package__}.targets")
        if aimed is not None:
            aimed.forget()
        if _member is self:
            _member = None
        process.close_journal()


_member: Membership | None = None
"""The membership that holds the open journal."""


def join(folder: str | os.PathLike[str], config: Config | None = None, plugins: Plugins | None = None) -> Membership:
    """Opens this process's journal in a session's folder, and installs what the session's settings ask for.

    ``config`` defaults to the settings in the folder, ``plugins`` to the ones named there. Raises SessionError (a
    journal is already open, or the folder is no session), CoreError, ConfigError, PluginError.
    """
    global _member
    with turn():
        config = config or configuration.of_session(folder, own=True)
        asked = config.asks_for_sql
        plugins = plugins or load(config, ("serializers", "sql") if asked else ("serializers",), light=True)
        key = read_session(folder, own=True).key
        member = Membership(process.open_journal(folder, config, plugins.serializers, plugins.formats), key, plugins)
        try:
            if asked:
                member.trace_sql()
        finally:
            _member = member  # last: another thread's watch() waits for the drivers
        watch = config.watch
        watched = sys.modules.get(f"{__package__}.locals") if watch.when else None
        if watched is not None:
            watched.judged_by_configuration()
        if watch.targets or watch.breaks or watch.track_all_vars or watch.track_locals:
            from . import targets

            targets.aim(config.watch.targets)
            targets.aim(config.watch.breaks, stops=True)
            if watch.track_all_vars:
                targets.track_all(watch.modules)
            if watch.track_locals:
                targets.track_locals(watch.modules)
        return member


def trace_sql() -> None:
    """Traces SQL drivers from now on, because a value is watched with its SQL. Idempotent."""
    if _member is not None:
        _member.trace_sql()


def current() -> process.Journal:
    """The open journal. If none was opened yet, opens one in the session that ``MEMWATCH_SESSION`` names, or in a new
    one.

    Raises SessionError if the journal was closed or can't be opened.
    """
    journal = process.journal() if _member is not None else None
    return journal or _join_by_default()


def _join_by_default() -> process.Journal:
    with turn():
        journal = process.journal()
        if journal is not None:
            return journal
        closed = process.closed()
        if closed is not None:
            who = "has closed its journal"
            if process.closed_by() != os.getpid():
                who = f"was forked after process {process.closed_by()} had closed its journal"
            raise SessionError(
                f"closed session: this process {who} {closed}; watch inside `with memwatch_core.session():`, or before "
                "it ends"
            )
        folder = os.environ.get("MEMWATCH_SESSION")
        if folder:
            return join(folder).journal
        config = configuration.load()
        made = create_session(config.journal.folder, sys.orig_argv)
        configuration.save(config, made)
        return join(made, config).journal
