"""What ``memwatch blame``, ``history``, ``at`` and ``diff`` have in common: options, and reading a session."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from .. import config as configuration
from ..answers.asked import Asked, Pattern, Several
from ..answers.moments import NEVER
from ..answers.states import States, Value, wanted_events
from ..config import Config
from ..errors import SessionError
from ..host import history, indexing
from ..host.contents import Content
from ..host.digests import Digest, Digests, Later, Undecided
from ..host.later import made
from ..host.merge import SessionDecoder
from ..host.moment import Moment
from ..printed import progress, say, terminal_width
from ..records import Event, Lost, Notice, Record, Unfollowed, Unwatched, Watched
from .progress import Progress

Command = Callable[..., Any]
SELDOM = 100_000, 20, 100
"""When garbage is collected: what is read of a session is kept, and there is much of it."""
PATIENCE = 1.0
"""Seconds after which progress is shown."""
PROGRESS = Progress("indexing, once")
Make = Callable[[Iterable[Later]], Mapping[Later, Event]]


class Question:
    """What is asked of the records of a session. ``states`` are those that it asks for."""

    moments: Sequence[Moment] | None = None
    """At which the answer changes; None: digests aren't enough for it."""

    def __init__(self, *states: States) -> None:
        self._states = states

    def take(self, record: Record) -> None:
        """Takes a record, in order."""
        for states in self._states:
            states.add(record)

    def content(self, content: Content) -> None:
        """Takes bytes that are there without an event."""
        for states in self._states:
            states.content(content)

    def digest(self, digest: Digest) -> None:
        """Takes a digest in place of events. Raises Undecided."""
        for states in self._states:
            states.digest(digest)

    def settle(self, make: Make) -> None:
        """Has the events made that are known from digests alone. Raises Undecided."""
        events = make(set().union(*(states.unsettled() for states in self._states)))
        for states in self._states:
            states.settle(events)


Asking = TypeVar("Asking", bound=Question)


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
    _said: set[str] = field(default_factory=set)

    def ask(self, words: Several, begin: Callable[[bool], Asking]) -> Asking:
        """Asks something of the variables that are meant, and returns it: of digests, if these are enough, otherwise of
        all their events. ``begin`` makes it, and is told whether there are digests."""
        question, settings = begin(True), self.settings
        indexes = indexing.of_session(self.path, PROGRESS, indexing.MISSING) if question.moments is not None else {}
        with indexing.closing(indexes):
            said: list[str] = []
            try:
                if question.moments is None or not indexes:
                    raise Undecided
                digested = history.Digested(Digests(words.fits, question.moments), indexes)
                self._read(words, question.take, question.content, said.append, digested, question.digest)
                question.settle(lambda wanted: made(wanted, self.path, *settings, indexes))
            except Undecided:
                self.damaged.clear()
            else:
                for text in said:
                    self.say(text)
                return question
        question = begin(False)
        self.read(words, question.take, question.content)
        return question

    def read(
        self,
        words: Several | None,
        take: Callable[[Record], object],
        contents: Callable[[Content], object] | None = None,
        *,
        prints: bool = False,
    ) -> None:
        """Gives ``take`` the events of the variables that are meant (None: of none) and all other records, in order.
        ``prints``: it prints meanwhile."""
        self._read(words, take, contents, self.say, prints=prints)

    def _read(
        self,
        words: Several | None,
        take: Callable[[Record], object],
        contents: Callable[[Content], object] | None,
        tell: Callable[[str], None],
        digested: history.Digested | None = None,
        digest: Callable[[Digest], object] | None = None,
        *,
        prints: bool = False,
    ) -> None:
        decoders: list[SessionDecoder] = []
        self.last = 0

        def begins(decoder: SessionDecoder) -> None:
            decoders[:] = [decoder]

        wanted = (lambda event: False) if words is None else wanted_events(words.sift)
        only = history.Only(wanted, 0, self._is_told, lambda count: None, history.by(["VARIABLE"]))
        with nullcontext() if prints and sys.stdout.isatty() else _shown(decoders):
            for batch in history.read(
                self.path, tell, self.damaged.append, only=only, own=self.own, settings=self.settings,
                contents=contents, begins=begins, progress=PROGRESS, digested=digested,
            ):  # fmt: skip
                for record in batch:
                    if isinstance(record, Digest):
                        assert digest is not None
                        digest(record)
                    else:
                        take(record)
        self.several = any(decoder.several for decoder in decoders)
        self.live = any(one.live for decoder in decoders for one in decoder.decoders)

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
