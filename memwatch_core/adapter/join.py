"""Makes this process write into a session: its journal, the serializers of ``watch()``, the traced SQL drivers."""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path

from .. import config as configuration
from ..config import Config
from ..errors import SessionError
from ..journal.session import create_session, read_session
from ..loading.discovery import Plugins, load
from ..native import proxy
from ..printed import say
from ..records import SqlDriver
from . import process
from .contexts import SqlContexts


class Membership:
    """What :func:`join` set up, to be undone by :meth:`leave`."""

    def __init__(self, journal: process.Journal, tracer: SqlContexts, drivers: list[SqlDriver]) -> None:
        self.journal = journal
        self._tracer = tracer
        self._drivers = drivers
        atexit.register(tracer.close)

    def leave(self) -> None:
        """Undoes it all: drivers are as they were, every watch has ended, the journal is complete. Idempotent."""
        while self._drivers:
            driver = self._drivers.pop()
            try:
                driver.uninstall()
            except Exception as error:
                say(f"SQL driver {driver.name!r} couldn't be uninstalled: {type(error).__name__}: {error}")
        atexit.unregister(self._tracer.close)
        self._tracer.close()
        proxy.set_context_variable(None)
        process.close_journal()


def join(folder: str | os.PathLike[str], config: Config | None = None, plugins: Plugins | None = None) -> Membership:
    """Opens this process's journal in a session's folder and installs what the session's settings name.

    ``config`` defaults to the settings in the folder, ``plugins`` to what they name. A SQL driver that can't be
    installed is reported on standard error and left out: the program must not suffer. Raises SessionError (a journal is
    open already, or the folder is no session), CoreError, ConfigError, PluginError.
    """
    config = config or configuration.of_session(folder)
    plugins = plugins or load(config, ("serializers", "sql"))
    key = read_session(Path(folder)).key
    journal = process.open_journal(folder, config, plugins.serializers)
    tracer = SqlContexts(None, key, window=config.sql.window, parameters=config.sql.parameters)
    proxy.set_context_variable(tracer.variable)
    installed = []
    for driver in plugins.sql:
        if driver.runtime != "python":
            continue
        try:
            driver.install(tracer)
        except Exception as error:
            say(f"SQL driver {driver.name!r} can't be traced: {type(error).__name__}: {error}")
        else:
            installed.append(driver)
    return Membership(journal, tracer, installed)


def current() -> process.Journal:
    """The open journal; opens one if there was none yet, in the session that ``MEMWATCH_SESSION`` names or a new one.

    Raises SessionError if it was closed, or can't be opened.
    """
    return process.journal() or _join_by_default()


def _join_by_default() -> process.Journal:
    with process.opening():
        journal = process.journal()
        if journal is not None:
            return journal
        closed = process.closed()
        if closed is not None:
            raise SessionError(
                f"closed session: this process has closed its journal {closed}; watch inside `with "
                "memwatch_core.session():`, or before it ends"
            )
        folder = os.environ.get("MEMWATCH_SESSION")
        if folder:
            return join(folder).journal
        config = configuration.load()
        made = create_session(config.journal.folder, sys.orig_argv)
        configuration.save(config, made)
        return join(made, config).journal
