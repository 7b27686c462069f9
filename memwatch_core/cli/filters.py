"""Which records a reader wants to see: by variable, thread, SQL and its outcome, place and time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from fnmatch import fnmatchcase

import click

from ..config import suggest
from ..records import Event, Lost, Record, Unwatched, Watched

Test = Callable[[Event], bool]
_UNITS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9, "": 10**9}


class Filters:
    """Keeps an event that passes every kind of filter given; within a kind, one match is enough.

    A lifecycle record of a variable passes if the variable does and nothing else was asked for. Losses always pass:
    what is missing may be what was looked for.
    """

    def __init__(
        self,
        variables: Iterable[str] = (),
        threads: Iterable[str] = (),
        statements: Iterable[str] = (),
        places: Iterable[str] = (),
        since: int | None = None,
        outcomes: Iterable[str] = (),
    ) -> None:
        self._names = tuple(variables)
        self._since = since
        kinds = [
            [_thread(text) for text in threads],
            [_statement(text) for text in statements],
            [_place(text) for text in places],
            [_outcome(text) for text in outcomes],
        ]
        self._kinds = [kind for kind in kinds if kind]
        self.active = bool(self._kinds or self._names or since is not None)

    def __call__(self, record: Record) -> bool:
        if isinstance(record, Lost):
            return True
        if self._since is not None and record.time_ns < self._since:
            return False
        if isinstance(record, Event):
            return self._named(record.variable, record.path) and all(
                any(test(record) for test in kind) for kind in self._kinds
            )
        if self._kinds:
            return False
        if isinstance(record, Watched):
            return self._named(record.variable.name, None)
        if isinstance(record, Unwatched):
            return self._named(record.variable, None)
        return not self.active

    def _named(self, name: str, path: str | None) -> bool:
        if not self._names:
            return True
        full = name if not path else f"{name}{path}" if path.startswith("[") else f"{name}.{path}"
        return any(text in (name, full) or fnmatchcase(full, text) for text in self._names)


def _thread(text: str) -> Test:
    return lambda event: event.thread == text or str(event.tid) == text or fnmatchcase(event.thread, text)


def _statement(text: str) -> Test:
    """A part of the statement, any case; or the beginning of its hash; ``*`` for any statement at all."""
    words = " ".join(text.split()).casefold()

    def test(event: Event) -> bool:
        context = event.context
        if context is None:
            return False
        hashed = len(words) >= 4 and context.statement_hash.startswith(words)
        return words == "*" or hashed or words in " ".join(context.statement.split()).casefold()

    return test


_OUTCOMES = ("open", "committed", "rolled back", "failed")


def _outcome(text: str) -> Test:
    """``committed``, ``rolled back``, ``failed``, ``failed: IntegrityError``; ``open``: none of these, so far."""
    wanted = " ".join(text.replace("-", " ").split()).casefold()
    if not wanted.startswith(_OUTCOMES):
        hint = suggest(wanted, _OUTCOMES)
        raise click.BadParameter(
            f"{text!r}: write {', '.join(_OUTCOMES)} or 'failed: ERROR'{hint}", param_hint="--outcome"
        )
    return lambda event: event.context is not None and event.context.outcome.casefold().startswith(wanted)


def _place(text: str) -> Test:
    """``FILE:LINE``, ``FILE`` or ``:LINE``; FILE may be the end of a path."""
    match = re.fullmatch(r"(.*?)(?::(\d+)(?:-(\d+))?)?", text)
    assert match is not None
    file, first, last = match[1], int(match[2] or 0), int(match[3] or match[2] or 0)
    if not file and not first:
        raise click.BadParameter(f"{text!r}: write FILE:LINE, FILE:FIRST-LAST, FILE or :LINE", param_hint="--line")
    tail = "/" + file.removeprefix("./").lstrip("/")

    def test(event: Event) -> bool:
        site = event.site
        if site is None or (file and not f"/{site.file}".endswith(tail)):
            return False
        return not first or first <= site.line <= last

    return test


def moment(text: str) -> int:
    """``10s``, ``5m``, ``2h``, ``1d`` ago, or an ISO time (local, unless it says otherwise), as ns since 1970."""
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|)", text.strip()):
        return time.time_ns() - int(float(match[1]) * _UNITS[match[2]])
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1e6) * 1000
    except ValueError:
        raise click.BadParameter(
            f"{text!r}: write how long ago (30s, 5m, 2h, 1d) or a time (2026-11-23T15:04:05)", param_hint="--since"
        ) from None
