"""Bytes as people read them, with who wrote each: in colours, or with a letter below each byte."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from string import ascii_letters
from typing import NamedTuple

from .palette import AUTHORS, Role

LINE = 16
LINES_MOST = 64
"""Lines that are shown, unless all are asked for."""
NOBODY = -1
"""In place of an author's number: nobody wrote the bytes."""


class Span(NamedTuple):
    """Bytes [start, stop) and who wrote them."""

    start: int
    stop: int
    author: int


def letter(author: int) -> str:
    """The letter of an author: the first ones have one of their own."""
    return ascii_letters[author] if author < len(ascii_letters) else "*"


def role(author: int) -> Role:
    """The colour of an author."""
    return AUTHORS[author % len(AUTHORS)]


def hexview(
    read: Callable[[int, int], Iterable[tuple[int, bool]]],
    spans: Sequence[Span],
    paint: Callable[[Role, str], str] | None,
    origin: int = 0,
    most: int | None = LINES_MOST,
) -> Iterator[str]:
    """Lines of 16 bytes. ``read(start, stop)``: each byte, and whether it is known. ``spans`` lie side by side.
    ``paint``: None for letters. ``origin``: the byte that is called 0. Lines of bytes that nobody wrote are left out
    where some were written, and those beyond ``most``."""
    first, last = spans[0].start, spans[-1].stop
    starts = [span.start for span in spans]
    digits = max(4, len(f"{last - origin:x}"))
    written = any(span.author != NOBODY for span in spans)
    at, shown = first - (first - origin) % LINE, 0
    while at < last:
        start, stop = max(at, first), min(at + LINE, last)
        span = spans[bisect_right(starts, start) - 1]
        if written and span.author == NOBODY and span.stop >= stop:
            yield f"  {'*':>{digits}}"
            at = last if span.stop == last else max(at + LINE, span.stop - (span.stop - origin) % LINE)
            continue
        if shown >= (LINES_MOST if most is None and not written else most or shown + 1):
            yield f"  {last - start:,} bytes more: --each shows them"
            return
        shown += 1
        authors = [spans[bisect_right(starts, byte) - 1].author for byte in range(start, stop)]
        yield from _line([*read(start, stop)], authors, at - origin, start - at, digits, paint)
        at += LINE


def _line(
    data: Sequence[tuple[int, bool]],
    authors: Sequence[int],
    at: int,
    skip: int,
    digits: int,
    paint: Callable[[Role, str], str] | None,
) -> Iterator[str]:
    pairs = ["  "] * skip + [f"{byte:02x}" if known else "??" for byte, known in data]
    pairs += ["  "] * (LINE - len(pairs))
    texts = ["?" if not known else chr(byte) if 32 <= byte < 127 else "." for byte, known in data]
    marks = [f" {letter(author)}" if author >= 0 else "  " for author in authors]
    if paint is not None:
        for number, author in enumerate(authors):
            if author >= 0:
                pairs[skip + number] = paint(role(author), pairs[skip + number])
                texts[number] = paint(role(author), texts[number])
    yield f"  {at:0{digits}x}  {_halves(pairs)}  |{' ' * skip}{''.join(texts)}|"
    if paint is None and any(author >= 0 for author in authors):
        yield f"  {'':{digits}}  {_halves(['  '] * skip + marks + ['  '] * (LINE - skip - len(marks)))}".rstrip()


def _halves(pairs: Sequence[str]) -> str:
    return f"{' '.join(pairs[: LINE // 2])}  {' '.join(pairs[LINE // 2 :])}"
