"""What every benchmark returns, and how it is shown: a figure, its rival in the same run, and the ratio that counts."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement. ``target`` is an upper bound: of the ratio if there is a rival, of ``ours`` if not."""

    figure: str
    ours: float
    unit: str
    rival: str = ""
    theirs: float | None = None
    target: float | None = None
    pairwise: float | None = None
    """Median of the ratios of measurements taken in turn: what counts where the machine changes its speed."""

    @property
    def ratio(self) -> float | None:
        if self.pairwise is not None:
            return self.pairwise
        return self.ours / self.theirs if self.theirs else None

    @property
    def held(self) -> bool | None:
        """Whether the target was reached in this run; None without one."""
        measured = self.ours if self.theirs is None else self.ratio
        return None if self.target is None or measured is None else measured <= self.target


def median(measure: Callable[[], float], times: int = 7) -> float:
    """The median of several runs of a measurement."""
    return statistics.median(measure() for _ in range(times))


def in_turn(ours: Callable[[], float], theirs: Callable[[], float], times: int = 9) -> tuple[float, float, float]:
    """Medians of two measurements taken in turn, and of their ratios: a change of the machine's speed meets both."""
    pairs = [(ours(), theirs()) for _ in range(times)]
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(a / b for a, b in pairs),
    )


def alternate(ours: Callable[[], float], theirs: Callable[[], float], times: int = 9) -> tuple[float, float]:
    """The two medians alone."""
    return in_turn(ours, theirs, times)[:2]


def number(value: float | None) -> str:
    """Three significant digits, two of very small ones, no exponent."""
    if value is None:
        return ""
    if 0 < value < 0.1:
        return f"{value:.2g}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a table that reads in a terminal and on a page."""
    head = ("figure", "ours", "rival", "theirs", "ratio", "target", "")
    cells = [
        (
            row.figure,
            f"{number(row.ours)} {row.unit}",
            row.rival,
            f"{number(row.theirs)} {row.unit}" if row.theirs is not None else "",
            f"{row.ratio:.2f} x" if row.ratio is not None else "",
            "" if row.target is None else f"≤ {row.target:g} " + ("x" if row.theirs is not None else row.unit),
            {True: "held", False: "**missed**", None: ""}[row.held],
        )
        for row in rows
    ]
    widths = [max(len(line[i]) for line in [head, *cells]) for i in range(len(head))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    title = "| " + " | ".join(text.ljust(width) for text, width in zip(head, widths, strict=True)) + " |"
    return "\n".join([title, "| " + " | ".join("-" * width for width in widths) + " |", *lines])
