"""Writes that are interrupted by a handler in C which stores: at each instruction of ours that a write runs.

``python interrupted.py LIBRARY SEED TRIES`` prints the session's folder, and what is expected of each event: by the
way it was written and its number the task, the label, the span, the statement, and the frames.
"""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import itertools
import json
import os
import random
import sqlite3
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from memwatch_core import label, watch
from memwatch_core.adapter import process

library = ctypes.CDLL(sys.argv[1])
step, stop, arm, disarm = library.step, library.stop, library.arm, library.disarm
draw = random.Random(int(sys.argv[2]))
tracer = TracerProvider().get_tracer("interrupted")
number, ticks = watch(0, name="number", track_sql=True), watch(0, name="ticks", track_sql=True)
db = sqlite3.connect(":memory:")
db.execute("CREATE TABLE numbers (n)")
view = memoryview(cast(Any, number)).cast("B")
reader, writer = os.pipe()
numbers = itertools.count(1)
expected: dict[str, dict[int, Any]] = {"announced": {}, "read": {}, "placed": {}, "ticks": {}}


class Order: ...


order = Order()
order.qty = 0  # type: ignore[attr-defined]


def announced(n: int) -> None:
    number.value = n  # type: ignore[attr-defined]


def read(n: int) -> None:
    os.write(writer, n.to_bytes(8, "little"))
    os.readv(reader, [view])


def placed(n: int) -> None:
    order.qty = n  # type: ignore[attr-defined]


WAYS: list[Callable[[int], None]] = [announced, read]
if sys.version_info >= (3, 12):
    watch(order, name="order", track_sql=True)
    WAYS.append(placed)


def in_force(way: Callable[[int], None]) -> list[Any]:
    span = trace.get_current_span().get_span_context()
    task = asyncio.current_task()
    frames = [(way.__name__, LINES[way]), ("write", LINES[write])]
    frame = sys._getframe(2)
    while frame:
        frames.append((frame.f_code.co_name, frame.f_lineno))
        frame = frame.f_back  # type: ignore[assignment]
    return [
        task.get_name() if task else "",
        current,
        f"{span.span_id:016x}" if span.is_valid else "",
        statement.get(),
        frames,
    ]


def write(way: Callable[[int], None], which: int) -> None:
    global fired
    n = next(numbers)
    expected[way.__name__][n] = here = in_force(way)
    begin(which)
    way(n)
    if end(which):
        fired += 1
        expected["ticks"][fired] = here


def begin(which: int) -> None:
    if which == STEP:
        step()
    elif which >= 0:
        arm(which, draw.choice([0, draw.randrange(library.visited(which))]))


def end(which: int) -> bool:
    """Whether it was interrupted."""
    if which == STEP:
        stop()
    return which >= 0 and bool(disarm())


LINES: dict[Callable[..., None], int] = {
    f: f.__code__.co_firstlineno + line for f, line in ((announced, 1), (read, 2), (placed, 1), (write, 5))
}
PLAIN, STEP = -2, -1
fired, current = 0, ""
statement: contextvars.ContextVar[str] = contextvars.ContextVar("statement", default="CREATE TABLE numbers (n)")


def down(path: tuple[int, ...], way: Callable[[int], None], which: int) -> None:
    if not path:
        write(way, which)
    elif path[0]:
        down(path[1:], way, which)
    else:
        down(path[1:], way, which)


PATHS = [tuple(draw.randrange(2) for _ in range(length)) for length in (0, 1, 5, 5, 12, 12, 30, 30)]
path = PATHS[0]


async def turn(way: Callable[[int], None], which: int) -> None:
    """Another request, other callers, another statement than the last time, or not."""
    global path, current
    current = f"order {draw.randrange(60)}"
    if draw.random() < 0.3:
        statement.set(f"SELECT n AS a{draw.randrange(60)} FROM numbers")
        db.execute(statement.get())
    if draw.random() < 0.5:
        path = draw.choice(PATHS)
    with label(current), tracer.start_as_current_span("span") if draw.random() < 0.3 else nullcontext():
        for _ in range(draw.randrange(1, 3)):
            down(path, way, which)
            which = PLAIN
    current = ""


async def main() -> None:
    count = 0
    for way in WAYS:
        for each in PATHS * 4:
            down(each, way, PLAIN)
            down(each, way, PLAIN)
        for _ in range(50):
            await turn(way, PLAIN)
        library.forget()
        for _ in range(4):
            await turn(way, STEP)
        addresses = library.stepped()
        count += addresses
        for which in range(addresses):
            before = fired
            for _ in range(TRIES):
                await asyncio.create_task(turn(way, which), name=f"task {draw.randrange(60)}")
                if fired > before:
                    break
    journal = process.journal()
    assert journal is not None
    print(json.dumps([str(journal.folder.resolve()), count, fired, expected]))


TRIES = int(sys.argv[3])
maps = [
    line.split() for line in Path("/proc/self/maps").read_text().splitlines() if "/_core." in line and "r-xp" in line
]
bounds = (int(number, 16) for number in maps[0][0].split("-"))
address = ctypes.addressof(ctypes.c_long.from_buffer(memoryview(cast(Any, ticks)).cast("B")))
library.prepare(*map(ctypes.c_size_t, (address, *bounds)))
asyncio.run(main())
