"""All output for people goes through here, so that no printed text can control the terminal.

Values, names, settings and messages come from untrusted programs, folders and files. So each line is escaped here:
control characters (also those above 127), marks that change the writing direction, line separators and lone surrogates.
Colours are MemWatch's own: they are added to text that is already clean (:func:`clean`), and omitted where unwanted.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import TextIO

_MARKS = "\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
_REST = f"\x00-\x08\x0b-\x1a\x1c-\x1f{_MARKS}\ud800-\udfff\U000e0000-\U000e007f"
# compiled on first use, which most watched programs never reach
_STEERING = f"[\x1b{_REST}]"
_STEERING_BUT_COLOURS = f"\x1b(?!\\[[0-9;]*m)|[{_REST}]"
_COLOUR = "\x1b\\[[0-9;]*m"
_IN_JSON = f"[{_MARKS}]"


NARROWEST = 40
"""Columns; narrower terminals wrap lines themselves."""


def clean(text: str) -> str:
    """The text as one line that is safe for a terminal: line breaks and tabs as blanks, other unprintable characters
    escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c in "\n\r\t" else ascii(c)[1:-1] for c in text)


def clean_lines(text: str) -> str:
    """As :func:`clean`, but keeps line breaks."""
    return "\n".join(map(clean, text.split("\n")))


def escape_json(text: str) -> str:
    """JSON of the same value that is safe for a terminal: escapes what JSON itself need not escape."""
    return text if text.isascii() and "\x7f" not in text else re.sub(_IN_JSON, lambda c: f"\\u{ord(c[0]):04x}", text)


def write(stream: TextIO, text: str, *, coloured: bool = False) -> None:
    """Writes text whose parts were cleaned, with escapes for what the encoding lacks. Raises what the stream raises."""
    if coloured and not shows_colours(stream):
        text = re.sub(_COLOUR, "", text)
    text = re.sub(_STEERING_BUT_COLOURS if coloured else _STEERING, lambda c: ascii(c[0])[1:-1], text)
    encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "")
    if encoding != "utf8":
        text = text.encode(encoding, "backslashreplace").decode(encoding)
    stream.write(text)


def shows_colours(stream: TextIO) -> bool:
    """Whether a stream is a terminal on which colours are wanted."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def terminal_width(stream: TextIO) -> int | None:
    """Columns of a stream's terminal (COLUMNS takes precedence); None if it isn't a terminal."""
    try:
        if not stream.isatty():
            return None
    except ValueError:  # closed
        return None
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and 0 < int(columns) < 1 << 16:
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def width(text: str) -> int:
    """Columns that a text takes on a terminal: a wide character takes two, a combining one none."""
    return len(text) if text.isascii() else sum(map(character_width, text))


@lru_cache(maxsize=4096)
def character_width(character: str) -> int:
    """Of one character: marks, and the inner letters of a Korean syllable, stand on the one before."""
    import unicodedata

    if unicodedata.category(character)[0] == "M" or "\u1160" <= character <= "\u11ff":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def wrap(text: str, most: int) -> Iterator[str]:
    """Wraps a sentence between words, to lines of at most ``most`` columns. A wider word isn't broken."""
    line = ""
    for number, word in enumerate(text.split(" ")):
        if line.strip() and width(line) + 1 + width(word) > most:
            yield line.rstrip()
            line = word
        else:
            line = f"{line} {word}" if number else word
    yield line


def put(text: str = "", *, err: bool = False) -> None:
    """Prints a line of a command's output; it may have colours."""
    write(sys.stderr if err else sys.stdout, f"{text}\n", coloured=True)


def put_bytes(data: bytes) -> None:
    """Writes lines of JSON to standard output: they are clean already."""
    sys.stdout.buffer.write(data)


def _standard_error() -> os.stat_result | None:
    """The status of descriptor 2, if it was inherited, duplicated or is a terminal. Files that Python opens are not
    inheritable."""
    try:
        file = os.fstat(2)
        return file if os.get_inheritable(2) or stat.S_ISCHR(file.st_mode) else None
    except OSError:
        return None


_at_first = _standard_error()


def _is_covered(stream: TextIO) -> bool:
    """Whether a stream writes to a file that got descriptor 2 after the program closed standard error."""
    try:
        if stream.fileno() != 2:
            return False
        if _at_first and os.path.samestat(_at_first, os.fstat(2)):
            return False
    except (OSError, ValueError, AttributeError):
        return False  # the program's own stream object, or closed
    now = _standard_error()
    return now is None or stat.S_ISREG(now.st_mode)


def say(*lines: str) -> None:
    """Prints messages of ours to standard error: standard output belongs to the program.

    Prints nothing if another file has taken the descriptor of standard error. A line break within a message comes from
    quoted data, so it doesn't start a line that would look like ours. On a terminal, lines wrap between words; a tab is
    a blank at which they don't break.
    """
    with suppress(OSError, ValueError, AttributeError):  # closed, or missing
        if _is_covered(sys.stderr):
            return
        columns = terminal_width(sys.stderr)
        write(sys.stderr, "".join(f"memwatch: {part}\n" for line in lines for part in _parts(line, columns)))
        sys.stderr.flush()


def progress(text: str) -> None:
    """Shows what long work is at, in a line of its own that the next one replaces; empty: takes it away. Only if
    standard error is a terminal."""
    with suppress(OSError, ValueError, AttributeError):
        if terminal_width(sys.stderr) is None or os.environ.get("TERM") == "dumb" or _is_covered(sys.stderr):
            return
        sys.stderr.write(f"\r\x1b[K{clean(text)}")
        sys.stderr.flush()


def _parts(line: str, columns: int | None) -> Iterator[str]:
    """A message as terminal lines; all but the first are indented."""
    if columns is None:
        yield clean(line)
        return
    line = "\t".join(map(clean, line.split("\t")))
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    for number, part in enumerate(wrap(line, max(columns, NARROWEST) - len("memwatch: ") - len(indent))):
        yield (indent + part if number else part).replace("\t", " ")


def settle(stream: TextIO) -> OSError | None:
    """Flushes a stream. If that fails, redirects it to /dev/null and returns the error."""
    try:
        stream.flush()
    except OSError as error:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None


def open_closed() -> None:
    """Opens closed standard streams on /dev/null for this process; its children inherit them closed."""
    for descriptor in range(3):
        with suppress(OSError):
            os.fstat(descriptor)
            continue
        os.open(os.devnull, os.O_RDWR)  # it gets the lowest free number: this one
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
