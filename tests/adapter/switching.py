"""Calls of all kinds, interrupted by a handler in C which stores: at each instruction of the interpreter that they run.

``python switching.py LIBRARY short|long`` prints the session's folder, how many instructions there were, and how many
of them were met.
"""

from __future__ import annotations

import ctypes
import functools
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from memwatch_core import watch
from memwatch_core.adapter import process

library = ctypes.CDLL(sys.argv[1])
step, stop, arm, disarm = library.step, library.stop, library.arm, library.disarm
ticks = watch(0, name="ticks")


def leaf(n: int, *, more: int = 0) -> int:
    return n + more


def generator(n: int) -> Iterator[int]:
    yield leaf(n)
    yield n


async def coroutine(n: int) -> int:
    return leaf(n)


def failing(n: int) -> None:
    raise ValueError(n)


class Called:
    def __init__(self, n: int) -> None:
        self.n = n

    def __lt__(self, other: Called) -> bool:
        return leaf(self.n) < other.n

    def __del__(self) -> None:
        leaf(0)


def from_c(n: int) -> int:
    return functools.reduce(lambda a, b: leaf(a) + b, [n, 1])


def scenario() -> None:
    leaf(1, more=1)
    next(generator(1))  # closed in the midst of it
    from_c(1)
    deep(20)
    if sys.argv[2] == "short":
        return
    list(generator(1))
    with suppress(StopIteration):
        coroutine(1).send(None)
    with suppress(ValueError):
        failing(1)
    sorted([Called(2), Called(1)])
    exec("def made(n): return leaf(n)\nmade(1)", {"leaf": leaf})


def deep(n: int) -> None:
    if n:
        deep(n - 1)


def main() -> None:
    for _ in range(20):
        scenario()
    step()
    scenario()
    stop()
    count, met = library.stepped(), 0
    for which in range(count):
        arm(which, 0)
        scenario()
        met += disarm()
    journal = process.journal()
    assert journal is not None
    print(json.dumps([str(journal.folder.resolve()), count, met]))


NAMES = (f"/libpython3.{sys.version_info.minor}.so", f"/python3.{sys.version_info.minor}\n")
maps = Path("/proc/self/maps").read_text().splitlines(keepends=True)
texts = [line for line in maps if " r-xp " in line and any(name in line for name in NAMES)]
bounds = max(([int(number, 16) for number in line.split()[0].split("-")] for line in texts), key=lambda b: b[1] - b[0])
address = ctypes.addressof(ctypes.c_long.from_buffer(memoryview(cast(Any, ticks)).cast("B")))
library.prepare(*map(ctypes.c_size_t, (address, *bounds)))
main()
