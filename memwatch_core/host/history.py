"""Sessions on disk: finds, lists and reads them."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_
from pathlib import Path
from typing import NamedTuple

import msgspec

from .. import config as configuration
from .. import trust
from ..config import Config, suggest
from ..errors import SessionError
from ..journal import session as folders
from ..journal.index import Index, Stale
from ..journal.stores import By
from ..loading.discovery import load
from ..printed import clean
from ..records import Event, Record, Serializer
from ..settings import path_of
from . import indexing
from .contents import Content, Told
from .digests import Digests, Undecided
from .merge import SessionDecoder
from .merging import Merging
from .outcomes import final_outcomes
from .own import is_own_by
from .sieve import Sieve


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of ``memwatch log --list``."""

    name: str
    started: str
    """Local time."""
    processes: str
    command: str


def sessions(base: Path) -> Iterator[Listed]:
    """The sessions in a folder, oldest first. For one that can't be read, the error takes the place of its command."""
    for path in _by_age(base):
        try:
            found = folders.read_session(path)
            started = _local(found.started)
            yield Listed(path.name, started, str(len(folders.journals(path))), clean(shlex.join(found.command)))
        except SessionError as error:
            yield Listed(path.name, "?", "?", str(error))


def find(base: Path, name: str | None) -> Path:
    """The folder of the latest session in ``base``, or of the session called ``name``.

    ``name`` is the name of a folder in ``base`` or a part of it, or the path of a session's folder or of a journal.
    Raises SessionError.
    """
    known = _by_age(base)
    if name is None:
        if not known:
            raise SessionError(f"{base}: no session there yet; make one with: memwatch run script.py")
        return known[-1]
    if not name:
        raise SessionError("the session's name is empty: leave it out for the latest one")
    try:
        path = path_of(name)
    except ValueError as error:
        raise SessionError(f"the session {name!r}: {error}") from None
    try:
        if path.is_file() or (path / folders.DESCRIPTION).is_file() or (path.is_dir() and folders.journals(path)):
            return Path(os.path.realpath(path)) if path.is_symlink() else path  # a symbolic link stands for its target
    except OSError as error:
        raise SessionError(f"{path}: can't be read ({error.strerror}); check its owner and mode") from error
    matching = [folder for folder in known if folder.name == name] or [f for f in known if name in f.name]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise SessionError(f"{name!r} may be {', '.join(folder.name for folder in matching)}: say which")
    hint = suggest(name, (folder.name for folder in known)) or "; memwatch log --list shows those that there are"
    raise SessionError(f"{name!r} is neither a session in {base}, nor a session's folder, nor a journal{hint}")


def _by_age(base: Path) -> list[Path]:
    """Sessions in the order in which their descriptions were written."""
    return sorted(folders.sessions(base), key=lambda path: os.stat(path / folders.DESCRIPTION).st_mtime_ns)


def _local(moment: datetime) -> str:
    with suppress(OverflowError, ValueError):  # a year that no time zone covers
        moment = moment.astimezone()
    return f"{moment:%Y-%m-%d %H:%M:%S}"


class Only(NamedTuple):
    """Which records of a session to give out, if not all."""

    wanted: Callable[[Event], bool] | None
    """Which events; None: all. May depend only on variable, path, thread, site, callers, context and request."""
    since: int
    """Oldest event to give out, in ns since 1970."""
    others: Callable[[Record], bool]
    """Which other records; called for each of them, in the order in which they are found."""
    left_out: Callable[[int], object]
    """Called at the end with the number of events that were left out."""
    by: By = By.ALL
    """What ``wanted`` depends on, if not on all of that: fewer events are looked at then."""


def read(
    path: Path,
    say: Callable[[str], None],
    damaged: Callable[[str], object] | None = None,
    *,
    by_outcome: bool = False,
    only: Only | None = None,
    own: Sequence[Path] | None = None,
    settings: Settings | None = None,
    contents: Told | None = None,
    begins: Callable[[SessionDecoder], object] | None = None,
    progress: indexing.Progress | None = None,
    digested: Digested | None = None,
    merging: Merging | None = None,
) -> Iterator[list[Record]]:
    """The records of a session's folder, or of one journal, up to now: batches in order of time.

    The contexts of events carry the final outcome of their statements. Values are decoded by the serializers that the
    session's settings name. ``say`` gets a sentence about each serializer that can't be loaded (its values are None),
    about files that aren't journals yet, about a session of another user and, with ``by_outcome``, about a process that
    still runs (outcomes aren't final then). ``damaged`` (or ``say``) gets a sentence about each file that isn't a
    journal. With ``only``, other events aren't even created. ``own``: in place of what the session's settings say of
    ``[sites] own``. ``settings``: those of the session, if they were read already. ``contents`` is told of bytes that
    are there without an event; ``begins`` gets the decoder, perhaps another one later. ``progress``: called while an
    index is made, which ``only`` uses. ``digested``: give out digests in place of some events, by these indexes; then
    this may raise Undecided. ``merging``: give out lines in place of events. Raises SessionError, JournalError.
    """
    sieve = None if only is None else Sieve(only.wanted, only.since, sys.maxsize, {}, only.others, True, only.by)
    serializers, is_own = settings or settings_of(path, say, own)
    given, told = 0, None if contents is None else _Once(contents)
    if digested is not None:
        tries: Iterable[Mapping[str, Index]] = (digested.indexes,)
    else:
        tries = _with_and_without(path, progress, wanted=only is not None)
    for indexes in tries:
        again, given = given, 0
        with nullcontext() if digested else indexing.closing(indexes), suppress(Stale):
            decoder = SessionDecoder(
                path, serializers, final=True, sieve=sieve, is_own=is_own, contents=told, indexes=indexes,
                digests=None if digested is None else digested.digests, merging=merging,
            )  # fmt: skip
            if told is not None:
                told.again()
            try:
                if begins is not None:
                    begins(decoder)
                for batch in decoder.batches():
                    if given + len(batch) > again:
                        yield batch[max(0, again - given) :]
                    given += len(batch)
                if only is not None:
                    only.left_out(sum(one.skipped for one in decoder.decoders))
                _conclude(decoder, say, damaged or say, by_outcome)
            finally:
                decoder.close()
            return
    raise Undecided


class Digested(NamedTuple):
    """How to give out digests."""

    digests: Digests
    indexes: Mapping[str, Index]


class _Once:
    """Tells each content once, though reading may begin again."""

    def __init__(self, tell: Told) -> None:
        self._tell = tell
        self._told: Counter[str] = Counter()
        self._before: Counter[str] = Counter()

    def again(self) -> None:
        """Reading begins."""
        self._before, self._told = self._before | self._told, Counter()

    def __call__(self, content: Content) -> None:
        self._told[content.journal] += 1
        if self._told[content.journal] > self._before[content.journal]:
            self._tell(content)


def _with_and_without(
    path: Path, progress: indexing.Progress | None, wanted: bool = True
) -> Iterator[Mapping[str, Index]]:
    """The indexes of a session; then none, to begin again if they turn out not to fit."""
    if wanted and (indexes := indexing.of_session(path, progress)):
        yield indexes
    yield {}


def by(names: Iterable[str]) -> By:
    """What a function depends on: ``VARIABLE``, ``THREAD``, ``SITE``, ``STACK``, ``CONTEXT``."""
    return reduce(or_, (By[name] for name in names), By(0))


class Tail(NamedTuple):
    """The last wanted events of a session, and what else to report."""

    events: list[Event]
    seen: int
    """Number of all events in the session."""
    said: list[str]
    damaged: list[str]


def last(
    path: Path,
    most: int,
    wanted: Callable[[Event], bool] | None,
    since: int,
    aside: Callable[[Record], object],
    *,
    by_outcome: bool = False,
    own: Sequence[Path] | None = None,
    by: By = By.ALL,
    progress: indexing.Progress | None = None,
) -> Tail | None:
    """The last ``most`` events that are ``wanted`` (None: all) and not older than ``since``, as :func:`read` would give
    them.

    Cheaper than :func:`read`: other events are followed but not created. ``aside`` gets all other records, perhaps
    twice; of outcomes not all, and values as of any time. ``wanted`` may depend only on variable, path, thread, site,
    callers, context and request, of these on what ``by`` says. ``progress``: see :func:`read`. Returns None if the
    result isn't reliable: then use :func:`read`.
    """
    for indexes in _with_and_without(path, progress):
        with indexing.closing(indexes), suppress(Stale):
            return _last(path, most, Sieve(wanted, since, most, {}, aside, False, by), by_outcome, own, indexes)
    return None


def _last(
    path: Path,
    most: int,
    sieve: Sieve,
    by_outcome: bool,
    own: Sequence[Path] | None,
    indexes: Mapping[str, Index],
) -> Tail | None:
    said: list[str] = []
    damaged: list[str] = []
    serializers, is_own = settings_of(path, said.append, own)

    def sieved(begin: Mapping[str, int] | None) -> SessionDecoder:
        return SessionDecoder(
            path,
            serializers,
            final=True,
            sieve=sieve._replace(begin=begin),
            judged=by_outcome,
            is_own=is_own,
            indexes=indexes,
        )

    drained = None
    if not indexes or sieve.wanted is None:
        decoder = sieved({})  # usually a filter lets few events pass
        drained = _drain(decoder, most, MANY + 4 * most)
    if drained is None:
        looking = sieved(None)
        _drain(looking, 0)
        decoder = sieved(
            {one.journal: one.matches[0][0] if one.matches else one.reader.position for one in looking.decoders}
        )
        drained = _drain(decoder, most)
    assert drained is not None
    found, events = drained
    _conclude(decoder, said.append, damaged.append, by_outcome)
    early = sum(one.matched for one in decoder.decoders)
    if decoder.uncertain or (early and len(events) < most):
        return None
    seen = found + sum(one.skipped for one in decoder.decoders)
    return Tail(events if by_outcome else _judge(events, decoder, indexes), seen, said, damaged)


MANY = 200_000
"""Limit of wanted events created in the first pass; beyond it, a pass without events locates the last ones first."""


def _drain(decoder: SessionDecoder, most: int, limit: int = sys.maxsize) -> tuple[int, list[Event]] | None:
    """The number of events given out, and the last of them; None if there were more than ``limit``."""
    found, kept = 0, deque[Event](maxlen=most)
    try:
        for batch in decoder.batches():
            found += len(batch)
            kept.extend(record for record in batch if isinstance(record, Event))
            if found > limit:
                return None
    finally:
        decoder.close()
    return found, list(kept)


def _judge(events: list[Event], decoder: SessionDecoder, indexes: Mapping[str, Index]) -> list[Event]:
    """The events, with the final outcomes of their statements. Reads only the journals of events that have a
    context."""
    outcomes: dict[str, Mapping[int, str]] = {}
    paths = {one.journal: one.reader.path for one in decoder.decoders}
    for at, event in enumerate(events):
        if event.context is None:
            continue
        if event.journal not in outcomes:
            file = paths[event.journal]
            outcomes[event.journal] = final_outcomes(file, index=indexes.get(file.name))
        final = outcomes[event.journal].get(event.context.id)
        if final is not None:
            events[at] = msgspec.structs.replace(event, context=msgspec.structs.replace(event.context, outcome=final))
    return events


def _conclude(
    decoder: SessionDecoder, say: Callable[[str], None], damaged: Callable[[str], object], by_outcome: bool
) -> None:
    if by_outcome and not decoder.ended:
        say("a process of the session still runs: what becomes of statements from now on isn't known yet")
    for text in decoder.unreadable.values():
        say(text)
    for text in decoder.damaged:
        damaged(text)


class Settings(NamedTuple):
    """What a session's settings say about reading it."""

    serializers: Mapping[str, Serializer]
    """By name."""
    is_own: Callable[[str], bool]
    """Whether a file is the program's own code."""


def check_description(path: Path, say: Callable[[str], None]) -> None:
    """Says what is wrong with the description of a session: its journals can be read nevertheless."""
    if os.path.isfile(path / folders.DESCRIPTION):
        try:
            folders.read_session(path)
        except SessionError as error:
            say(f"{error}: its journals are read nevertheless")


def settings_of(path: Path, say: Callable[[str], None], own: Sequence[Path] | None = None) -> Settings:
    """The settings for reading a session. First warns if it belongs to another user."""
    folder = path if path.is_dir() else path.parent
    if whose := trust.stranger(path):
        say(f"{clean(str(path))} belongs to {whose}, who may have put anything there")
    config = configuration.of_session(folder) if os.path.lexists(folder / configuration.SETTINGS_FILE) else Config()
    plugins = load(config, ("serializers",), strict=False)
    for problem in plugins.report.problems:
        say(f"{problem}: {problem.reason}; values that it would decode are left out")
    is_own = is_own_by(config.sites.own if own is None else own)
    return Settings({one.name: one for one in plugins.serializers}, is_own)
