"""What the callers of a write cost: with a call stack of 16 frames, against the line alone."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from benchmarks.table import Row, in_turn
from benchmarks.writing import writing_into
from memwatch_core import watch
from memwatch_core.native import proxy

WRITES = 2_000
ROUNDS = 201
FRAMES = 16
DEPTH = 40


def at_depth(depth: int, measure: Callable[[Any], float], target: Any) -> float:
    """Measures it, called from so many frames further in."""
    return at_depth(depth - 1, measure, target) if depth else measure(target)


def empty(_: object) -> float:
    """ns for each turn of the loop, as everything here of the thread's own time: stores take long, and others come."""
    start = time.thread_time_ns()
    for _i in range(WRITES):
        pass
    return (time.thread_time_ns() - start) / WRITES


def assign(p: Any) -> float:
    start = time.thread_time_ns()
    for i in range(WRITES):
        p.value = i
    return (time.thread_time_ns() - start) / WRITES


def write(p: Any, i: int) -> None:
    p.value = i


def store(view: Any, i: int) -> None:
    view[0] = i & 1


def nothing(_: Any, i: int) -> None:
    i & 1


def from_two_lines(target: Any, each: Callable[[Any, int], None]) -> float:
    """ns a call, by turns from two lines: the callers are another stack each time."""
    start = time.thread_time_ns()
    for i in range(WRITES // 2):
        each(target, i)
        each(target, i)
    return (time.thread_time_ns() - start) / WRITES


def descend(target: Any, depth: int, each: Callable[[Any, int], None]) -> None:
    each(target, depth)
    if depth:
        descend(target, depth - 1, each)
    each(target, depth)


def recursive(target: Any, each: Callable[[Any, int], None]) -> float:
    """ns a call, in a recursion: other frames each time."""
    start = time.thread_time_ns()
    for _ in range(WRITES // 2 // (DEPTH + 1)):
        descend(target, DEPTH, each)
    return (time.thread_time_ns() - start) / (WRITES // 2 // (DEPTH + 1) * 2 * (DEPTH + 1))


def store_in_a_loop(view: Any) -> float:
    start = time.thread_time_ns()
    for i in range(WRITES):
        view[0] = i & 1
    return (time.thread_time_ns() - start) / WRITES


def with_frames(limit: int, measure: Callable[[], float]) -> Callable[[], float]:
    def measured() -> float:
        proxy.keep_stacks(limit)
        measure()  # what is new to the caches isn't meant
        return measure()

    return measured


def rows() -> list[Row]:
    """All figures of this file, in one process."""
    with tempfile.TemporaryDirectory() as folder, writing_into(folder):
        number = watch(0)
        view = memoryview(watch(bytearray(64)))
        cases: list[tuple[str, Callable[[Any], float], Callable[[Any], float], Any, float, int]] = [
            ("p.value = i, the same callers", assign, empty, number, 1.2, ROUNDS),
            *_changing("p.value = i", write, number, 2, ROUNDS),
            ("a store, the same callers", store_in_a_loop, empty, view, 1.03, ROUNDS // 5),
            *_changing("a store", store, view, 1.03, ROUNDS // 5),
        ]
        found = []
        for name, loop, base, target, bound, rounds in cases:

            def net(loop: Any = loop, base: Any = base, target: Any = target) -> float:
                return at_depth(FRAMES, loop, target) - at_depth(FRAMES, base, None)

            a, b, ratio = in_turn(with_frames(FRAMES, net), with_frames(1, net), rounds)
            found.append(Row(name, a, "ns", "its line alone", b, bound, ratio))
        proxy.keep_stacks(1)
        return found


def _changing(
    name: str, each: Callable[[Any, int], None], target: Any, bound: float, rounds: int
) -> Iterator[tuple[str, Callable[[Any], float], Callable[[Any], float], Any, float, int]]:
    for what, loop in (("from two lines by turns", from_two_lines), ("in a recursion", recursive)):
        yield (
            f"{name}, {what}",
            partial(loop, each=each),
            partial(loop, each=nothing),
            target,
            bound,
            rounds,
        )


if __name__ == "__main__":
    from benchmarks.table import markdown

    print(markdown(rows()))
