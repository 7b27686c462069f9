"""Makes this process write into a session: its journal, the serializers of ``watch()``, the traced SQL drivers."""

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
    from .sql import Tracing  # and what it needs: only when SQL is traced


class Membership:
    """What :func:`join` set up, to be undone by :meth:`leave`."""

    def __init__(self, journal: process.Journal, key: bytes, plugins: Plugins) -> None:
        self.journal = journal
        self._key = key
        self._plugins = plugins
        self._tracing: Tracing | None = None

    def trace_sql(self) -> None:
        """Has SQL drivers traced from now on, if they aren't yet."""
        if self._tracing is not None:
            return
        with turn():
            if self._tracing is not None or not process.is_open():
                return
            config = self.journal.config
            try:
                from . import sql

                drivers = self._plugins.sql if "sql" in self._plugins.kinds else sql.drivers(config)
            except (ImportError, AttributeError) as error:  # the program has a `fractions.py` of its own, or no path
                raise SessionError(
                    f"SQL can't be traced: what that needs can't be imported any more ({error}); ask for it before the "
                    "program starts: memwatch run --track-sql, or track_sql = true in [watch]"
                ) from error
            self._tracing = sql.Tracing(self._key, config.sql, drivers)

    def leave(self) -> None:
        """Undoes it all: drivers are as they were, every watch has ended, the journal is complete. Idempotent."""
        global _member
        if self._tracing is not None:
            self._tracing.leave()
        if _member is self:
            _member = None
        process.close_journal()


_member: Membership | None = None
"""Of the open journal."""


def join(folder: str | os.PathLike[str], config: Config | None = None, plugins: Plugins | None = None) -> Membership:
    """Opens this process's journal in a session's folder, and installs what the session's settings ask for.

    ``config`` defaults to the settings in the folder, ``plugins`` to what they name. Raises SessionError (a journal is
    open already, or the folder is no session), CoreError, ConfigError, PluginError.
    """
    global _member
    with turn():
        config = config or configuration.of_session(folder, own=True)
        asked = config.asks_for_sql
        plugins = plugins or load(config, ("serializers", "sql") if asked else ("serializers",), light=True)
        key = read_session(folder, own=True).key
        member = _member = Membership(
            process.open_journal(folder, config, plugins.serializers, plugins.formats), key, plugins
        )
        if asked:
            member.trace_sql()
        return member


def trace_sql() -> None:
    """Has SQL drivers traced from now on, if they aren't yet: a value is watched with its SQL."""
    if _member is not None:
        _member.trace_sql()


def current() -> process.Journal:
    """The open journal; opens one if there was none yet, in the session that ``MEMWATCH_SESSION`` names or a new one.

    Raises SessionError if it was closed, or can't be opened.
    """
    return process.journal() or _join_by_default()


def _join_by_default() -> process.Journal:
    with turn():
        journal = process.journal()
        if journal is not None:
            return journal
        closed = process.closed()
        if closed is not None:
            who = "has closed its journal"
            if process.closed_by() != os.getpid():
                who = f"was forked when process {process.closed_by()} had closed its journal"
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
