"""What ``memwatch blame``, ``history``, ``at`` and ``diff`` have in common: options, and reading a session."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from .. import config as configuration
from ..config import Config
from ..errors import SessionError
from ..host import history
from ..host.asked import Asked, Pattern
from ..host.contents import Content
from ..host.merge import SessionDecoder
from ..host.moments import NEVER, Moment
from ..host.states import Value
from ..printed import progress, say, terminal_width
from ..records import Event, Lost, Notice, Record, Unfollowed, Unwatched, Watched

Command = Callable[..., Any]
SELDOM = 100_000, 20, 100
"""When garbage is collected: what is read of a session is kept, and there is much of it."""
PATIENCE = 1.0
"""Seconds after which progress is shown."""


def of_session(function: Command) -> Command:
    """The options that say which session."""
    for option in (
        click.option("--config", "file", type=click.Path(dir_okay=False), metavar="FILE", help="Settings: only FILE."),
        click.option("--folder", metavar="DIR", help="Where sessions are kept.  [default: .memwatch]"),
        click.option(
            "--session", "-s", metavar="SESSION", help="Name from log --list, folder or .mwj file.  [default: latest]"
        ),
    ):  # fmt: skip
        function = option(function)
    return function


def configured(folder: str | None, file: str | None) -> Config:
    """The settings, with what was said on the command line."""
    overrides = {"journal": {"folder": folder}} if folder is not None else None
    return configuration.load(file, overrides=overrides, labels={"journal.folder": "--folder"})


@dataclass
class Session:
    """A session that is asked something."""

    path: Path
    own: Sequence[Path] | None
    settings: history.Settings
    damaged: list[str] = field(default_factory=list)
    last: int = 0
    """The time of the last record that was read."""
    several: bool = False
    """Whether it has more than one journal."""
    live: bool = False
    """Whether a process of it still ran."""
    events: int = 0
    """How many events it has."""
    _said: set[str] = field(default_factory=set)

    def read(
        self,
        wanted: Callable[[Event], bool] | None,
        take: Callable[[Record], object],
        contents: Callable[[Content], object] | None = None,
        *,
        prints: bool = False,
    ) -> None:
        """Gives ``take`` the wanted events and all other records, in order. ``prints``: it prints meanwhile."""
        decoders: list[SessionDecoder] = []
        passed = 0

        def left_out(count: int) -> None:
            nonlocal passed
            passed += count

        only = history.Only(wanted, 0, self._is_told, left_out)
        with nullcontext() if prints and sys.stdout.isatty() else _shown(decoders):
            for batch in history.read(
                self.path, self.say, self.damaged.append, only=only, own=self.own, settings=self.settings,
                contents=contents, begins=decoders.append,
            ):  # fmt: skip
                for record in batch:
                    passed += isinstance(record, Event)
                    take(record)
                self.last = max(self.last, batch[-1].time_ns)
        self.several = any(decoder.several for decoder in decoders)
        self.live = any(one.live for decoder in decoders for one in decoder.decoders)
        self.events = passed

    def _is_told(self, record: Record) -> bool:
        self.last = max(self.last, record.time_ns)
        return isinstance(record, Watched | Unwatched | Unfollowed | Lost | Notice)

    def remark(self, moment: Moment) -> None:
        """Says so if a moment is later than all that is known."""
        if self.last < moment.time < NEVER and not self.live and self.last:
            say(f"{moment.text!r} is later than the session's end: shown is what it ended with")

    def say(self, text: str) -> None:
        """Says something once, however often the session is read."""
        if text not in self._said:
            self._said.add(text)
            say(text)

    def found(self, words: Asked | Pattern, values: Iterable[Value]) -> list[tuple[Value, str]]:
        """The variables that are meant. Raises SessionError, after it has said what couldn't be read."""
        try:
            return words.found(values)
        except SessionError:
            for text in self.damaged:
                self.say(text)
            raise

    def conclude(self, *, found: bool = True) -> None:
        """Says what couldn't be read, and ends the command."""
        for text in self.damaged:
            self.say(text)
        if self.damaged or not found:
            raise SystemExit(1)


def session_of(config: Config, name: str | None) -> Session:
    """The session of this name, or the latest. Raises SessionError."""
    gc.set_threshold(*SELDOM)
    path = history.find(config.journal.folder, name)
    history.check_description(path, say)
    own = config.sites.own if config.chosen("sites.own") else None
    return Session(path, own, history.settings_of(path, say, own))


@contextmanager
def _shown(decoders: list[SessionDecoder]) -> Iterator[None]:
    """Shows how far reading is, on a terminal, if it takes long."""
    if terminal_width(sys.stderr) is None:
        yield
        return
    over = threading.Event()

    def show() -> None:
        begun, shown = time.monotonic(), False
        while not over.wait(PATIENCE if not shown else 0.2):
            shown = True
            readers = [one.reader for decoder in decoders for one in decoder.decoders]
            done, all_of = sum(r.position for r in readers), sum(r.reserved for r in readers)
            part = f", {min(99, 100 * done // all_of)} %" if all_of else ""
            progress(f"memwatch: reading, {time.monotonic() - begun:.0f} s{part}")
        if shown:
            progress("")

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
