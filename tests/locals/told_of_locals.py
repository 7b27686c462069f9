"""What the journal of this process tells of locals, by the product's own reader."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from memwatch_core import config
from memwatch_core.adapter import process
from memwatch_core.host.decoder import JournalDecoder
from memwatch_core.journal.session import create_session
from memwatch_core.records import Event, Lost, Record
from memwatch_core.rendering.changes import value_text


class Told(NamedTuple):
    """An event of a name."""

    name: str
    """``f().total``: without its module."""
    activation: int | None
    old: str
    new: str
    line: int | None


@contextmanager
def journal(folder: Path, **sections: dict[str, Any]) -> Iterator[Path]:
    """A journal of this process, which is closed at the end."""
    opened = process.open_journal(create_session(folder, ["pytest"]), config.load(overrides=sections))
    try:
        yield opened.path
    finally:
        process.close_journal()


def records(path: Path) -> list[Record]:
    decoder = JournalDecoder(path, {}, final=True)
    found: list[Record] = []
    try:
        while not decoder.ended:
            found += decoder.poll()
        return found
    finally:
        decoder.close()


def told(path: Path) -> list[Told]:
    """All events; nothing may be lost."""
    found = records(path)
    assert not [each for each in found if isinstance(each, Lost)]
    return [_told(each) for each in found if isinstance(each, Event)]


def _told(event: Event) -> Told:
    assert event.part is not None
    name = event.variable.partition(":")[2] + event.part.name
    line = None if event.site is None or not event.site.line else event.site.line
    return Told(name, event.part.activation, text(event.part.old), text(event.part.new), line)


def text(value: object) -> str:
    """A value in words, without addresses, as far as a cell says it."""
    return re.sub(r"0x[0-9a-f]+", "", value_text(value))
