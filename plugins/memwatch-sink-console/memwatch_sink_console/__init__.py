"""The console sink: one line per event, coloured on a terminal, plain and aligned in a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Literal, TextIO

from pydantic import BaseModel, ConfigDict, Field

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import Record, Sink
from memwatch_plugins.layout import terminal_width
from memwatch_plugins.printed import write
from memwatch_plugins.text import Lines, Role

STYLES: dict[Role, str] = {
    "time": "dim",
    "variable": "bold cyan",
    "old": "red",
    "new": "bold green",
    "same": "dim",
    "site": "yellow",
    "function": "default",
    "thread": "magenta",
    "sql": "blue",
    "undone": "bold red",
    "life": "dim",
    "lost": "bold white on red",
    "notice": "dim italic",
}


class Settings(BaseModel):
    """The table ``[sinks.console]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stream: Literal["stderr", "stdout"] = "stderr"
    """Standard error by default: standard output belongs to the program."""
    show: Literal["changes", "all"] = "all"
    max_value: int = Field(default=40, ge=8)
    max_statement: int = Field(default=4000, ge=20)


class ConsoleSink:
    """Writes a batch with one call, so that lines of other writers to the terminal fall between ours, not into them.

    ``stream`` is looked up once. Raises what the stream raises (BrokenPipeError when the reader has gone).
    """

    def __init__(self, settings: Settings, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else getattr(sys, settings.stream)
        is_terminal, prefixes = _terminal(self._stream) if _may_be_terminal(self._stream) else (False, {})

        def paint(role: Role, text: str) -> str:
            start, end = prefixes[role]
            return f"{start}{text}{end}"

        options = {"paint": paint} if prefixes else {}
        self._lines = Lines(
            width=terminal_width(self._stream),
            arrow="→" if is_terminal and _can("→", self._stream) else "->",
            max_value=settings.max_value,
            max_statement=settings.max_statement,
            show=settings.show,
            **options,
        )
        self._coloured = bool(prefixes)

    def write(self, records: Sequence[Record]) -> None:
        text = "".join(f"{line}\n" for line in self._lines.format(records))
        if not text:
            return
        write(self._stream, text, coloured=self._coloured)
        self._stream.flush()

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        """The stream belongs to the process and stays open."""


def _may_be_terminal(stream: TextIO) -> bool:
    """False only if rich takes it for none: rich costs more than all else that the first lines of a run do."""
    return stream.isatty() or bool(os.environ.get("FORCE_COLOR") or os.environ.get("TTY_COMPATIBLE"))


def _terminal(stream: TextIO) -> tuple[bool, dict[Role, tuple[str, str]]]:
    """Whether it is a terminal, and what is written before and after a text of each role; {}: nothing."""
    from rich.console import COLOR_SYSTEMS, Console
    from rich.style import Style

    console = Console(file=stream)
    if not console.is_terminal:
        return False, {}
    prefixes: dict[Role, tuple[str, str]] = {}
    system = None if console.no_color or os.environ.get("NO_COLOR") else console.color_system
    for role, style in STYLES.items() if system else ():
        start, _, end = Style.parse(style).render("\0", color_system=COLOR_SYSTEMS[system or ""]).partition("\0")
        prefixes[role] = (start, end)
    return True, prefixes


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
    )
