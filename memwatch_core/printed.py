"""The one way out for what people read: nothing that MemWatch prints can steer a terminal.

Values, names, files, settings and messages of others come from programs, folders and configurations that nobody vouches
for. So every line goes through here, whoever writes it: control characters (also those above 127), marks that turn the
direction of writing, separators of lines and halves of characters are shown as escapes. Colours are MemWatch's own:
they are put around text that was cleaned before (:func:`clean`), and left out where nobody sees them.
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
# compiled when they are first needed, which in most watched programs is never
_STEERING = f"[\x1b{_REST}]"
_STEERING_BUT_COLOURS = f"\x1b(?!\\[[0-9;]*m)|[{_REST}]"
_COLOUR = "\x1b\\[[0-9;]*m"
_IN_JSON = f"[{_MARKS}]"


NARROWEST = 40
"""Columns; narrower terminals break lines as they like."""


def clean(text: str) -> str:
    """One line that a terminal shows as it is: line breaks and tabs as blanks, what isn't printable as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c in "\n\r\t" else ascii(c)[1:-1] for c in text)


def clean_lines(text: str) -> str:
    """The same for several lines."""
    return "\n".join(map(clean, text.split("\n")))


def escape_json(text: str) -> str:
    """JSON of the same value in which nothing steers a terminal, but for what JSON escapes anyway."""
    return text if text.isascii() and "\x7f" not in text else re.sub(_IN_JSON, lambda c: f"\\u{ord(c[0]):04x}", text)


def write(stream: TextIO, text: str, *, coloured: bool = False) -> None:
    """Writes text whose parts were cleaned, as far as the stream's encoding goes. Raises what the stream raises."""
    if coloured and not shows_colours(stream):
        text = re.sub(_COLOUR, "", text)
    text = re.sub(_STEERING_BUT_COLOURS if coloured else _STEERING, lambda c: ascii(c[0])[1:-1], text)
    encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "")
    if encoding != "utf8":
        text = text.encode(encoding, "backslashreplace").decode(encoding)
    stream.write(text)


def shows_colours(stream: TextIO) -> bool:
    """Whether it is a terminal, and colours are wanted there."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def terminal_width(stream: TextIO) -> int | None:
    """Columns of the terminal that a stream writes to, as COLUMNS says or the terminal; None: it is none."""
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
    """Columns of a terminal that it takes: a Chinese character takes two, a combining one none."""
    return len(text) if text.isascii() else sum(map(character_width, text))


@lru_cache(maxsize=4096)
def character_width(character: str) -> int:
    """Of one character: marks, and the inner letters of a Korean syllable, stand on the one before."""
    import unicodedata

    if unicodedata.category(character)[0] == "M" or "\u1160" <= character <= "\u11ff":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def wrap(text: str, most: int) -> Iterator[str]:
    """A sentence as lines of at most ``most`` columns, broken between words. A word that is wider is left whole."""
    line = ""
    for number, word in enumerate(text.split(" ")):
        if line.strip() and width(line) + 1 + width(word) > most:
            yield line.rstrip()
            line = word
        else:
            line = f"{line} {word}" if number else word
    yield line


def put(text: str = "", *, err: bool = False) -> None:
    """A line of a command's output; it may have colours."""
    write(sys.stderr if err else sys.stdout, f"{text}\n", coloured=True)


def put_bytes(data: bytes) -> None:
    """Lines of JSON to standard output: they are clean already."""
    sys.stdout.buffer.write(data)


def _standard_error() -> os.stat_result | None:
    """What has its number, if it came by inheritance or ``dup2``, or is a terminal: what Python opens is closed by
    exec."""
    try:
        file = os.fstat(2)
        return file if os.get_inheritable(2) or stat.S_ISCHR(file.st_mode) else None
    except OSError:
        return None


_at_first = _standard_error()


def _is_covered(stream: TextIO) -> bool:
    """Whether it writes to a file that got the number of standard error after the program had closed that."""
    try:
        if stream.fileno() != 2:
            return False
        if _at_first and os.path.samestat(_at_first, os.fstat(2)):
            return False
    except (OSError, ValueError, AttributeError):
        return False  # of the program's own making, or closed
    now = _standard_error()
    return now is None or stat.S_ISREG(now.st_mode)


def say(*lines: str) -> None:
    """A message of our own, to standard error: standard output belongs to the program. Nothing is said where another
    file has the number of standard error.

    A line break within a line is a value's: it begins no line that would look like ours. A terminal's lines end between
    words, and a tab is a blank at which none ends.
    """
    with suppress(OSError, ValueError, AttributeError):  # nobody listens: closed, or there is none
        if _is_covered(sys.stderr):
            return
        columns = terminal_width(sys.stderr)
        write(sys.stderr, "".join(f"memwatch: {part}\n" for line in lines for part in _parts(line, columns)))
        sys.stderr.flush()


def _parts(line: str, columns: int | None) -> Iterator[str]:
    """A message as lines of a terminal, of which all but the first are indented."""
    if columns is None:
        yield clean(line)
        return
    line = "\t".join(map(clean, line.split("\t")))
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    for number, part in enumerate(wrap(line, max(columns, NARROWEST) - len("memwatch: ") - len(indent))):
        yield (indent + part if number else part).replace("\t", " ")


def settle(stream: TextIO) -> OSError | None:
    """Flushes a stream. If nothing more can be written to it, lets it go, and returns why."""
    try:
        stream.flush()
    except OSError as error:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None


def open_closed() -> None:
    """Standard streams that are closed go nowhere from now on; programs that this one starts find them closed."""
    for descriptor in range(3):
        with suppress(OSError):
            os.fstat(descriptor)
            continue
        os.open(os.devnull, os.O_RDWR)  # it gets the lowest number: this one
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
