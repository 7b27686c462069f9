"""Bytes as people read them, with who wrote each: in colours, or with a letter below each byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from string import ascii_letters

from .palette import AUTHORS, Role

LINE = 16
LINES_MOST = 64
"""Lines that are shown, unless all are asked for."""
NOBODY, UNKNOWN = -1, -2
"""In place of an author's number: nobody wrote the byte; it isn't known."""


def letter(author: int) -> str:
    """The letter of an author: the first ones have one of their own."""
    return ascii_letters[author] if author < len(ascii_letters) else "*"


def role(author: int) -> Role:
    """The colour of an author."""
    return AUTHORS[author % len(AUTHORS)]


def hexview(
    data: bytes,
    authors: Sequence[int],
    paint: Callable[[Role, str], str] | None,
    first: int = 0,
    most: int | None = LINES_MOST,
) -> Iterator[str]:
    """Lines of 16 bytes. ``first``: number of the first byte. ``paint``: None for letters. Lines of bytes that nobody
    wrote are left out, where some were written; so are those beyond ``most``."""
    digits = max(4, len(f"{first + len(data):x}"))
    shown, skipped, written = 0, False, any(author >= 0 for author in authors)
    begin = first - first % LINE
    for at in range(begin, first + len(data), LINE):
        start, stop = max(at, first), min(at + LINE, first + len(data))
        mine = authors[start - first : stop - first]
        if written and all(author == NOBODY for author in mine):
            if not skipped:
                yield f"  {'*':>{digits}}"
            skipped = True
            continue
        skipped = False
        if most is not None and shown >= most:
            yield f"  {first + len(data) - start:,} bytes more"
            return
        shown += 1
        yield from _line(data[start - first : stop - first], mine, at, start - at, digits, paint)


def _line(
    data: bytes, authors: Sequence[int], at: int, skip: int, digits: int, paint: Callable[[Role, str], str] | None
) -> Iterator[str]:
    pairs = ["  "] * skip + [
        "??" if author == UNKNOWN else f"{byte:02x}" for byte, author in zip(data, authors, strict=True)
    ]
    pairs += ["  "] * (LINE - len(pairs))
    texts = [
        "?" if author == UNKNOWN else chr(byte) if 32 <= byte < 127 else "."
        for byte, author in zip(data, authors, strict=True)
    ]
    if paint is None:
        marks = ["  "] * skip + [f" {letter(author)}" if author >= 0 else "  " for author in authors]
        yield f"  {at:0{digits}x}  {_halves(pairs)}  |{' ' * skip}{''.join(texts)}|"
        if any(author >= 0 for author in authors):
            yield f"  {'':{digits}}  {_halves(marks + ['  '] * (LINE - len(marks)))}".rstrip()
        return
    for number, author in enumerate(authors):
        if author >= 0:
            pairs[skip + number] = paint(role(author), pairs[skip + number])
            texts[number] = paint(role(author), texts[number])
    yield f"  {at:0{digits}x}  {_halves(pairs)}  |{' ' * skip}{''.join(texts)}|"


def _halves(pairs: Sequence[str]) -> str:
    return f"{' '.join(pairs[: LINE // 2])}  {' '.join(pairs[LINE // 2 :])}"
