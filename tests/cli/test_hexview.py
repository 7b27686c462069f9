"""Bytes and who wrote them, as lines; numbers as a line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from memwatch_core.rendering.hexview import LINES_MOST, NOBODY, Span, hexview
from memwatch_core.rendering.palette import AUTHORS, paint
from memwatch_core.rendering.sparkline import ASCII, BLOCKS, Series

DATA = bytes(range(200)) * 20


def read(start: int, stop: int) -> Iterator[tuple[int, bool]]:
    return ((byte, at != 3) for at, byte in enumerate(DATA[start:stop], start))


def test_letters_stand_below_their_bytes() -> None:
    spans = [Span(2, 5, 0), Span(5, 9, NOBODY), Span(9, 11, 1)]
    assert [*hexview(read, spans, None)] == [
        "  0000        02 ?? 04 05 06 07  08 09 0a                 |  .?.......|",
        "               a  a  a               b  b",
    ]


def test_first_byte_has_the_number_that_the_program_gives_it() -> None:
    (line, letters) = hexview(read, [Span(8, 24, 30)], None, origin=8)
    assert line.startswith("  0000  08 09 0a")
    assert letters.split() == ["E"] * 16


def test_colours_of_authors_come_again_after_six() -> None:
    (line,) = hexview(read, [Span(0, 1, 1), Span(1, 2, 7)], paint)
    assert line.count(paint(AUTHORS[1], "00")) == 1
    assert line.count(paint(AUTHORS[1], "01")) == 1


def test_lines_that_nobody_wrote_are_one_star_where_some_were_written() -> None:
    spans = [Span(0, 40, NOBODY), Span(40, 41, 0), Span(41, 3000, NOBODY)]
    shown = [line.split()[0] for line in hexview(read, spans, None)]
    assert shown == ["*", "0020", "a", "*"]


def test_no_more_lines_than_asked_for() -> None:
    shown = [*hexview(read, [Span(0, 3000, NOBODY)], None)]
    assert len(shown) == LINES_MOST + 1
    assert shown[-1] == f"  {3000 - 16 * LINES_MOST:,} bytes more: --each shows them"
    assert len([*hexview(read, [Span(0, 3000, 0)], paint, most=None)]) == -(-3000 // 16)


@pytest.mark.parametrize("levels", [BLOCKS, ASCII])
def test_line_of_numbers_goes_from_the_least_to_the_greatest_of_them(levels: str) -> None:
    series = Series()
    for number in range(100_000):
        series.add(number)
    line = series.line(60, levels)
    assert len(line) <= 60
    assert list(line) == sorted(line, key=levels.index)
    assert (line[0], line[-1]) == (levels[0], levels[-1])
    assert (series.least, series.greatest, series.first, series.last, series.count) == (0, 99_999, 0, 99_999, 100_000)


@pytest.mark.parametrize("numbers", [[], [5.0], [3.0, 3.0, 3.0], [float("inf"), 1.0], [1.0, float("-inf"), 2.0]])
def test_line_of_few_or_equal_numbers(numbers: list[float]) -> None:
    series = Series()
    for number in numbers:
        series.add(number)
    assert len(series.line(60, BLOCKS)) == len(numbers)
