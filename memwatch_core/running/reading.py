"""A new session, and this process as its reader: what ``memwatch run`` and ``memwatch attach`` have in common."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress

from .. import config as configuration
from ..config import Config
from ..errors import ConfigError
from ..host.follow import Follow
from ..host.own import is_own_by
from ..host.pipeline import Pipeline, merged_sinks, open_sinks
from ..host.summary import Summary
from ..journal.claim import Claim
from ..journal.session import create_session, save_drivers
from ..loading.discovery import Plugins
from ..printed import say

STACK = 16
"""``watch.stack`` of programs that are run, or attached to."""


def with_stacks(config: Config) -> Config:
    """The settings of a program that is read by another process: its stores are recorded with their callers, unless it
    was said otherwise."""
    return config if config.watch.stack != "auto" else config.but(watch=config.watch.but(stack=STACK))


class Reading:
    """A session that was created, with the reader's claim to it. Its writers are started next."""

    def __init__(self, config: Config, plugins: Plugins, command: Sequence[str]) -> None:
        """``command``: of the program, as the session remembers it. Raises SessionError, ConfigError."""
        self._config = config
        self._plugins = plugins
        self.summary = Summary()
        self._pipeline = Pipeline(open_sinks(plugins.sinks, config), say, merged_sinks(plugins.sinks, config))
        self._started = time.monotonic()
        self._follow: Follow | None = None
        with ExitStack() as undo:
            undo.callback(self._pipeline.close)
            self.folder = create_session(config.journal.folder, command)
            configuration.save(with_stacks(config), self.folder)
            save_drivers(self.folder, plugins.sql)
            self._claim = Claim(self.folder)  # before any writer could wait for a reader
            undo.pop_all()

    def cancel(self) -> None:
        """Closes the sinks: there will be no writer."""
        self._claim.close()
        self._pipeline.close()

    def start(self) -> None:
        """Reads, in a thread of its own, until :meth:`end`."""
        config = self._config
        self._follow = Follow(
            self.folder,
            self._plugins.serializers,
            self.summary,
            self._pipeline,
            say,
            self._claim,
            is_own_by(config.sites.own),
        )
        self._follow.start()

    def end(self, patience: Callable[[Callable[[], bool]], bool]) -> None:
        """Reads what there is. ``patience(done)`` waits until ``done()``; False: the rest is left unread."""
        follow = self._follow
        assert follow is not None
        follow.finish()
        if not patience(lambda: not follow.is_alive()):
            follow.abandon()
            say("interrupted: what the journal holds beyond this was not shown; memwatch log shows it all")

    def conclude(self, end: str, quiet: bool) -> None:
        """Says what was seen, unless ``quiet``. ``end``: how the program ended."""
        follow = self._follow
        assert follow is not None
        self.summary.unread = follow.gone
        if follow.gone and quiet:
            say(f"{self.folder}: the session's folder was removed while it was in use: events may be missing")
        if not (quiet or follow.failed):
            self._tell(f"{time.monotonic() - self._started:.2f} s, {end}")

    def _tell(self, end: str) -> None:
        together = f"({end})".replace(" ", "\t")
        say(f"{self.summary.sentence()} {together}")
        for line in self.summary.lines():
            say(f"  {line}")
        if self.summary.empty:
            return
        if self.summary.unread:
            say(f"session {self.folder} is gone: it can't be read again")
            return
        shown = str(self.folder)
        with suppress(OSError):  # the working folder may be gone
            relative = os.path.relpath(self.folder)
            shown = shown if relative.startswith("..") else relative
        again = "" if _is_found(self._config) else f" {shown}"
        say(f"session {shown}; read it again with: memwatch\tlog{again}")


def _is_found(config: Config) -> bool:
    """Whether ``memwatch log`` finds this session without options."""
    try:
        return configuration.load().journal.folder == config.journal.folder
    except ConfigError:
        return False
