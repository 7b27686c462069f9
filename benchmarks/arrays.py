"""What an array of numpy costs that is watched: to begin with, to read, and a store, beside what a program would use
instead: a subclass with ``__setitem__``, or a hash that is compared from time to time.

A store that goes through numpy is compared with one to a watched ``bytearray``, by the same line: what an array adds to
a store of any other value.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.table import Row, in_turn
from benchmarks.writing import writing_into
from memwatch_core import watch

TURNS = 3_000
ROUNDS = 31
LARGE = 10**8
"""Doubles: 800 MB."""


class Told(np.ndarray[Any, Any]):
    """The rival: it sees ``a[i] = x``, but no ``+=``, no ``out=``, no ``sort()``, nothing from C."""

    seen: list[tuple[Any, Any, Any]]

    def __setitem__(self, key: Any, value: Any, /) -> None:
        before = super().__getitem__(key)
        super().__setitem__(key, value)
        self.seen.append((key, before, value))


def each(function: Callable[[], object], turns: int = TURNS) -> Callable[[], float]:
    """Measures microseconds for each turn."""

    def measure() -> float:
        start = time.perf_counter()
        for _ in range(turns):
            function()
        return (time.perf_counter() - start) / turns * 1e6

    return measure


def begins() -> float:
    """Seconds to watch 800 MB of zeros."""
    value = np.zeros(LARGE)
    start = time.perf_counter()
    a = watch(value, name="a")
    taken = time.perf_counter() - start
    del a
    return taken


def row(figure: str, ours: Callable[[], float], rival: str, theirs: Callable[[], float], target: float | None) -> Row:
    a, b, pairwise = in_turn(ours, theirs, ROUNDS)
    return Row(figure, a, "µs", rival, b, target, pairwise)


def stores() -> Iterator[Row]:
    a: Any = watch(np.zeros(256), name="a")
    held = watch(bytearray(2048), name="held")
    items: Any = memoryview(a)
    other: Any = memoryview(held).cast("d")
    rival: Any = np.zeros(256).view(Told)
    rival.seen = []
    plain = np.zeros(256)

    def ours() -> None:
        a[7] = 1.5

    def told() -> None:
        rival[7] = 1.5

    def by_view() -> None:
        items[7] = 1.5

    def elsewhere() -> None:
        other[7] = 1.5

    def polled() -> None:
        plain[7] = 1.5
        hashlib.blake2b(plain.tobytes()).digest()

    yield row("`m[7] = x`, m a memoryview of the array", each(by_view), "of a watched bytearray", each(elsewhere), 1.05)
    yield row("`a[7] = x`", each(ours), "a subclass with `__setitem__`", each(told), None)
    yield row("`a[7] = x`", each(ours), "a hash of 2 KiB after each", each(polled), None)


def reads() -> Iterator[Row]:
    values = np.random.default_rng(1).random(100_000)
    a, plain = watch(values.copy(), name="a"), values.copy()
    yield row("`a.sum()` of 800 kB", each(lambda: a.sum(), 200), "a plain array", each(lambda: plain.sum(), 200), 1.02)
    yield row("`a[7]`", each(lambda: a[7]), "a plain array", each(lambda: plain[7]), 1.02)
    yield row("`a + 1`", each(lambda: a + 1, 100), "a plain array", each(lambda: plain + 1, 100), None)


def rows() -> list[Row]:
    """The table."""
    with tempfile.TemporaryDirectory() as folder, writing_into(folder):
        begun = sorted(begins() for _ in range(5))[2]
        return [
            Row("`watch(np.zeros(10**8))`, 800 MB", begun, "s", target=0.1),
            *stores(),
            *reads(),
        ]
