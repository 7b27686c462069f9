"""The console sink: a line for each event, coloured on a terminal, plain and aligned in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Literal, TextIO

from pydantic import BaseModel, ConfigDict, Field

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import Record, Sink
from memwatch_plugins.layout import terminal_width
from memwatch_plugins.palette import paint, plain
from memwatch_plugins.printed import shows_colours, write
from memwatch_plugins.text import Lines


class Settings(BaseModel):
    """The table ``[sinks.console]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stream: Literal["stderr", "stdout"] = "stderr"
    """Standard error by default: standard output belongs to the program."""
    show: Literal["changes", "all"] = "all"
    max_value: int = Field(default=40, ge=8)
    max_statement: int = Field(default=4000, ge=20)
    stacks: bool = False
    """With the callers of each line that wrote."""
    each: bool = False
    """Whether each store to an array is a line, or all stores that one statement made."""


class ConsoleSink:
    """Writes each batch with one call, so that other writers' output to the terminal doesn't end up inside our lines.

    ``stream`` is looked up once. Raises what the stream raises (BrokenPipeError when its reader is gone).
    """

    def __init__(self, settings: Settings, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else getattr(sys, settings.stream)
        width = terminal_width(self._stream)
        self._coloured = width is not None and shows_colours(self._stream)
        self._lines = Lines(
            width=width,
            paint=paint if self._coloured else plain,
            arrow="→" if width is not None and _can("→", self._stream) else "->",
            max_value=settings.max_value,
            max_statement=settings.max_statement,
            show=settings.show,
            stacks=settings.stacks,
        )

    def write(self, records: Sequence[Record]) -> None:
        text = "".join(f"{line}\n" for line in self._lines.format(records))
        if not text:
            return
        write(self._stream, text, coloured=self._coloured)
        self._stream.flush()

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        """Does nothing: the stream belongs to the process and stays open."""


def _can(text: str, stream: TextIO) -> bool:
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


@hookimpl
def memwatch_sinks() -> Iterable[Sink]:
    yield Sink(
        name="console",
        summary="one line per event, for people; coloured on a terminal, plain in a pipe",
        open=ConsoleSink,
        settings=Settings,
        merged=lambda settings: not settings.each,
    )
