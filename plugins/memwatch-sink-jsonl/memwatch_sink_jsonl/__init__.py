"""``jsonl``: one record a line, in MemWatch's schema (docs/events.md)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import Record, Sink
from memwatch_plugins.files import OwnFile, open_output
from memwatch_plugins.jsonlines import parts
from memwatch_plugins.printed import put_bytes


def _path(value: str) -> str:
    """The path, with ``~`` and ``~user`` expanded. Raises ValueError if it can't be a path."""
    if "\0" in value:
        raise ValueError("can't be a path: it has a NUL character; leave it out")
    path = os.path.expanduser(value)
    if (user := path.partition("/")[0]).startswith("~"):
        raise ValueError(f"{user!r} is no user's home folder; write the path in full, or ./{user} for a name")
    return path


class Settings(BaseModel):
    """The table ``[sinks.jsonl]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[str, Field(min_length=1), AfterValidator(_path)] = "events.jsonl"
    """The file; ``-``: standard output. In a folder that others may write to, only a file of the user's own."""
    append: bool = True
    """Whether to append to the file, or to truncate it first."""
    each: bool = True
    """Whether each store to an array is a line, or all stores that one statement made."""


class _File:
    """A file, written without a buffer of our own. Raises OSError."""

    def __init__(self, path: str, append: bool) -> None:
        self.path = path
        self._file = OwnFile(open_output(self.path, append=append), lambda: open_output(self.path))
        if append and self._ends_within_line():
            self.write(b"\n")

    def _ends_within_line(self) -> bool:
        try:
            size = os.lseek(self._file.number, 0, os.SEEK_END)
            return size > 0 and os.pread(self._file.number, 1, size - 1) != b"\n"
        except OSError:
            return False  # a pipe, or a write-only file

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._file.number, view) :]

    def flush(self) -> None:
        """Does nothing: there is no buffer."""

    def close(self) -> None:
        self._file.close()


class JsonLines:
    """The open sink."""

    def __init__(self, settings: Settings) -> None:
        self._file = None if settings.path == "-" else _File(settings.path, settings.append)

    def write(self, records: Sequence[Record]) -> None:
        """Writes the records, in whole lines. Raises OSError."""
        write: Callable[[bytes], object] = put_bytes if self._file is None else self._file.write
        for part in parts(records):
            write(part)

    def flush(self) -> None:
        """Flushes standard output; a file has no buffer. Raises OSError."""
        if self._file is None:
            sys.stdout.flush()

    def close(self) -> None:
        """Closes the file; standard output stays open. Idempotent."""
        if self._file is not None:
            self._file.close()


@hookimpl
def memwatch_sinks() -> Iterator[Sink]:
    """The one sink of this distribution."""
    yield Sink(
        name="jsonl",
        summary="one line of JSON for each event, to a file or standard output",
        open=JsonLines,
        settings=Settings,
        merged=lambda settings: not settings.each,
    )
