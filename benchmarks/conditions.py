"""What a condition that isn't met costs a write: the same write with it and without, in turn."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from benchmarks.locals import FIVE, made
from benchmarks.table import Row
from benchmarks.writing import assign, writing_into
from memwatch_core import watch, watch_locals

ROUNDS = 301
WRITES = 2_000
MOST = 30
"""ns that one may cost."""


def nothing(hit: object) -> None:
    """Is never called."""
    raise AssertionError(hit)


def more(with_it: Callable[[], float], without: Callable[[], float]) -> tuple[float, float]:
    """Medians: ns that the first takes more, and ns of the second."""
    pairs = [(with_it(), without()) for _ in range(ROUNDS)]
    return statistics.median(a - b for a, b in pairs), statistics.median(b for _, b in pairs)


def keep(places: dict[str, int]) -> float:
    """ns for each store to a key."""
    start = time.perf_counter_ns()
    for i in range(WRITES):
        places["k"] = i
    return (time.perf_counter_ns() - start) / WRITES


def rows() -> list[Row]:
    """All figures of this file, in one process."""
    found = []
    with tempfile.TemporaryDirectory() as folder, writing_into(folder):
        plain = watch(0)
        for when in (
            "new < 0",
            "new < 0 or new > 1_000_000",
            "abs(new - old) > 100_000",
            "new < 0 and site.function == 'refund'",
            "site like 'refunds.py:*'",
            "thread == 'worker'",
        ):
            judged = watch(0, when=when, then=nothing)
            ours, theirs = more(lambda judged=judged: assign(judged), lambda: assign(plain))  # type: ignore[misc]
            found.append(Row(f"p.value = i, when={when!r}: more", ours, "ns", target=MOST))
        found.append(Row("p.value = i without", theirs, "ns"))
        found += of_locals()
        if sys.version_info >= (3, 12):
            found += of_places()
    return found


def bind(function: Any) -> float:
    """ns for each of the bindings."""
    start = time.perf_counter_ns()
    function(WRITES, None)
    return (time.perf_counter_ns() - start) / (5 * WRITES)


def of_locals() -> list[Row]:
    """The same for the names of a function."""
    plain, when = watch_locals(made(FIVE)), "new < 0"
    judged = watch_locals(when=when, then=nothing)(made(FIVE))
    ours, theirs = more(lambda: bind(judged), lambda: bind(plain))
    return [
        Row(f"a = i, when={when!r}: more", ours, "ns", target=MOST),
        Row("a = i without", theirs, "ns"),
    ]


def of_places() -> list[Row]:
    """The same for a key of a watched dict."""
    plain: dict[str, Any] = {"k": 0}
    watch(plain, name="plain")
    found = []
    for when in ("new < 0", "path like '*.total' and new < 0", "abs(new - old) > 100_000", "thread == 'worker'"):
        judged: dict[str, Any] = {"k": 0}
        watch(judged, name="judged", when=when, then=nothing)
        ours, theirs = more(lambda judged=judged: keep(judged), lambda: keep(plain))  # type: ignore[misc]
        found.append(Row(f"d['k'] = i, when={when!r}: more", ours, "ns", target=MOST))
    return [*found, Row("d['k'] = i without", theirs, "ns")]


if __name__ == "__main__":
    from benchmarks.table import markdown

    print(markdown(rows()))
