"""What a write through a proxy costs, line and thread included, against the setter of a plain Python property."""

from __future__ import annotations

import contextlib
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from benchmarks.table import Row, in_turn
from memwatch_core import config, watch
from memwatch_core.adapter import process
from memwatch_core.journal.session import create_session

WRITES = 2_000
ROUNDS = 301
THREADS = 4
TURNS = 100


class Plain:
    """The rival: what a program would write to intercept assignments, without recording anything."""

    __slots__ = ("_value",)

    def __init__(self) -> None:
        self._value = 0

    @property
    def value(self) -> int:
        return self._value

    @value.setter
    def value(self, value: int) -> None:
        self._value = value


def empty(_: object) -> float:
    """ns for each turn of the loop that the others run in."""
    start = time.perf_counter_ns()
    for _i in range(WRITES):
        pass
    return (time.perf_counter_ns() - start) / WRITES


def assign_plain(p: Any) -> float:
    start = time.perf_counter_ns()
    for i in range(WRITES):
        p.value = i
    return (time.perf_counter_ns() - start) / WRITES


def assign(p: Any) -> float:
    start = time.perf_counter_ns()
    for i in range(WRITES):
        p.value = i
    return (time.perf_counter_ns() - start) / WRITES


def add(p: Any) -> float:
    start = time.perf_counter_ns()
    for _ in range(WRITES):
        p += 1
    return (time.perf_counter_ns() - start) / WRITES


def item(b: Any) -> float:
    start = time.perf_counter_ns()
    for i in range(WRITES):
        b[0] = i & 255
    return (time.perf_counter_ns() - start) / WRITES


def item_base(_: object) -> float:
    start = time.perf_counter_ns()
    for i in range(WRITES):
        i & 255
    return (time.perf_counter_ns() - start) / WRITES


def field(s: Any) -> float:
    start = time.perf_counter_ns()
    for i in range(WRITES):
        s.quantity = i
    return (time.perf_counter_ns() - start) / WRITES


def net(loop: Callable[[Any], float], target: Any, base: Callable[[Any], float] = empty) -> Callable[[], float]:
    """ns of a write alone: the loop's own cost is taken off, measured right before."""
    return lambda: loop(target) - base(None)


def together(p: Any, count: int) -> float:
    """ns for each write while `count` threads write through one proxy."""
    barrier = threading.Barrier(count + 1)

    def body() -> None:
        barrier.wait()
        for _ in range(TURNS):
            assign(p)

    threads = [threading.Thread(target=body) for _ in range(count)]
    for thread in threads:
        thread.start()
    barrier.wait()
    start = time.perf_counter_ns()
    for thread in threads:
        thread.join()
    return (time.perf_counter_ns() - start) / (count * TURNS * WRITES)


@contextlib.contextmanager
def writing_into(folder: str) -> Iterator[None]:
    """A journal without a reader in this process, as under `memwatch run`."""
    settings = config.load()
    process.open_journal(create_session(folder, []), settings)
    yield
    process.close_journal()


def spread(targets: list[Any]) -> Callable[[], float]:
    """ns for each write, one to each of many targets, in an order that no cache foresees."""
    order = random.sample(targets, len(targets))

    def measure() -> float:
        start = time.perf_counter_ns()
        for target in order:
            target.value = 7
        return (time.perf_counter_ns() - start) / len(order)

    return measure


def among_many() -> Iterator[Row]:
    """What more variables cost: caches and address translation, for proxies and plain objects alike."""
    kept: list[Any] = []
    for count in (1_000, 10_000, 100_000):
        kept += [watch(0, name="x") for _ in range(count - len(kept))]
        a, b, ratio = in_turn(spread(kept), spread([Plain() for _ in range(count)]))
        yield Row(f"p.value = i, {count:,} variables at random", a, "ns", "as many properties", b, 2.5, ratio)
    kept.clear()
    kept += [watch(0, name="x", share_page=True) for _ in range(100_000)]
    a, b, ratio = in_turn(spread(kept), spread([Plain() for _ in range(100_000)]))
    yield Row("the same, with share_page", a, "ns", "as many properties", b, 2.5, ratio)


def rows() -> list[Row]:
    """All figures of this file, in one process."""
    with tempfile.TemporaryDirectory() as folder, writing_into(folder):
        number, content = watch(0), watch(bytearray(64))
        record = watch((1, 2.0), format="<qd", fields=["quantity", "price"])
        rival = net(assign_plain, Plain())
        cases = [
            ("p.value = i", net(assign, number)),
            ("p += 1", net(add, number)),
            ("b[0] = i", net(item, content, item_base)),
            ("s.field = i", net(field, record)),
        ]
        found = []
        for name, ours in cases:
            a, b, ratio = in_turn(ours, rival, ROUNDS)
            found.append(Row(name, a, "ns", "a property's setter", b, 2.5, ratio))
        for name, target, bound in (("p.value = i", number, 1), ("a plain property", Plain(), None)):
            a, b, ratio = in_turn(partial(together, target, THREADS), partial(together, target, 1), 9)
            found.append(Row(f"{name}, {THREADS} threads, each write", a, "ns", "1 thread", b, bound, ratio))
        found += among_many()
    return found


if __name__ == "__main__":
    from benchmarks.table import markdown

    print(markdown(rows()))
