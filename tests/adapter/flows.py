"""Random trees of flows of control, which note at each write what is in force there: the labels, the task of asyncio,
OpenTelemetry's span, as these say it themselves.

``python flows.py SEED TREES THREADS TRACKER [loop]`` prints the session's folder, and what is expected of each number
that was written.
"""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import itertools
import json
import os
import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from memwatch_core import label, watch
from memwatch_core.adapter import process

SEED, TREES, THREADS = map(int, sys.argv[1:4])
os.environ.update(MEMWATCH_CORE_TRACKER=sys.argv[4], MEMWATCH_JOURNAL_FOLDER="sessions")
LOOP = sys.argv[5] if len(sys.argv) > 5 else "asyncio"

numbers = itertools.count(1)
expected: dict[int, list[Any]] = {}
tracer = TracerProvider().get_tracer("flows")
mirror: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar("mirror", default=())
memcpy = ctypes.CDLL(None).memcpy
memcpy.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]


class Values:
    """What one thread writes to: nobody else does."""

    def __init__(self) -> None:
        self.number = watch(0, name="number")
        self.view = memoryview(self.number).cast("B").cast("q")
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.view))
        self.pipe = os.pipe()


own = threading.local()


def values() -> Values:
    if not hasattr(own, "values"):
        own.values = Values()
    found: Values = own.values
    return found


def in_force() -> list[Any]:
    span = trace.get_current_span().get_span_context()
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    ids = [f"{span.trace_id:032x}", f"{span.span_id:016x}"] if span.is_valid else ["", ""]
    return [list(mirror.get()), task.get_name() if task else "", *ids]


def announced(v: Values, n: int) -> None:
    v.number.value = n


def faulted(v: Values, n: int) -> None:
    v.view[0] = n


def unheld(v: Values, n: int) -> None:
    memcpy(v.address, n.to_bytes(8, "little"), 8)


def syscall(v: Values, n: int) -> None:
    os.write(v.pipe[1], n.to_bytes(8, "little"))
    os.readv(v.pipe[0], [v.view])


def write(draw: random.Random) -> None:
    n, way = next(numbers), draw.choice([announced, faulted, unheld, syscall])
    expected[n] = [way.__name__, *in_force()]
    way(values(), n)


@contextmanager
def labelled(draw: random.Random) -> Iterator[None]:
    text = draw.choice(["order 17", "é", 'quoted "x"\\', "\x01\n", "😀" * 30, "x" * 200, "y" * 60])
    token = mirror.set((text, *mirror.get()))
    try:
        with label(text):
            yield
    finally:
        mirror.reset(token)


@contextmanager
def spanned(draw: random.Random) -> Iterator[None]:
    if draw.random() < 0.7:
        with tracer.start_as_current_span("span"):
            yield
        return
    context = trace.SpanContext(draw.getrandbits(128) or 1, draw.getrandbits(64) or 1, is_remote=True)
    with trace.use_span(trace.NonRecordingSpan(context)):
        yield


def calls(draw: random.Random, depth: int) -> None:
    write(draw)
    if depth and draw.random() < 0.8:
        ways = [deeper, under_label, under_span, failing, generating, decorated, in_context, in_thread]
        draw.choice(ways)(draw, depth - 1)
        write(draw)


def deeper(draw: random.Random, depth: int) -> None:
    calls(draw, depth)


def under_label(draw: random.Random, depth: int) -> None:
    with labelled(draw):
        calls(draw, depth)


def under_span(draw: random.Random, depth: int) -> None:
    with spanned(draw):
        calls(draw, depth)


def failing(draw: random.Random, depth: int) -> None:
    try:
        with labelled(draw), spanned(draw):
            calls(draw, depth)
            raise LookupError
    except LookupError:
        write(draw)


def decorated(draw: random.Random, depth: int) -> None:
    @label("decorated")
    def call() -> None:
        token = mirror.set(("decorated", *mirror.get()))
        try:
            calls(draw, depth)
        finally:
            mirror.reset(token)

    call()


def generating(draw: random.Random, depth: int) -> None:
    def generator() -> Iterator[int]:
        with labelled(draw):
            for i in range(3):
                write(draw)
                yield i
        calls(draw, depth)

    for _ in generator():
        write(draw)  # under the generator's label: a generator has no context of its own


def in_context(draw: random.Random, depth: int) -> None:
    draw.choice([contextvars.copy_context(), contextvars.Context()]).run(calls, draw, depth)


def in_thread(draw: random.Random, depth: int) -> None:
    thread = threading.Thread(target=calls, args=(random.Random(draw.getrandbits(64)), depth))
    thread.start()
    thread.join()


async def flows(draw: random.Random, depth: int) -> None:
    write(draw)
    if draw.random() < 0.5:
        await asyncio.sleep(0)
        write(draw)
    if depth and draw.random() < 0.9:
        await draw.choice([awaited, tasks, under_both, called_back, elsewhere, orphan, sync, streamed])(draw, depth - 1)
        write(draw)


async def awaited(draw: random.Random, depth: int) -> None:
    await flows(draw, depth)


async def sync(draw: random.Random, depth: int) -> None:
    calls(draw, depth)


async def under_both(draw: random.Random, depth: int) -> None:
    with draw.choice([labelled, spanned])(draw):
        await flows(draw, depth)
        calls(draw, depth)


def name(draw: random.Random) -> str | None:
    return draw.choice([None, None, "packer", 'n"é\n', "long " * 40])


async def tasks(draw: random.Random, depth: int) -> None:
    made = []
    for _ in range(draw.randrange(1, 4)):
        with draw.choice([labelled, spanned])(draw):
            made.append(asyncio.create_task(flows(draw, depth), name=name(draw)))
    if draw.random() < 0.3:
        made[0].set_name("renamed")
    await asyncio.gather(*made)


async def orphan(draw: random.Random, depth: int) -> None:
    """It goes on under its label when the block has ended."""
    with labelled(draw):
        task = asyncio.create_task(flows(draw, depth))
    write(draw)
    await task


async def called_back(draw: random.Random, depth: int) -> None:
    loop, done = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

    def callback(_: object = None) -> None:
        calls(draw, depth)
        if not done.done():
            done.set_result(None)

    with labelled(draw):
        if draw.random() < 0.5:
            loop.call_soon(callback)
        else:
            asyncio.create_task(flows(draw, 0)).add_done_callback(callback)
    await done


async def elsewhere(draw: random.Random, depth: int) -> None:
    apart = random.Random(draw.getrandbits(64))
    if draw.random() < 0.5:
        await asyncio.to_thread(calls, apart, depth)
    else:
        await asyncio.get_running_loop().run_in_executor(None, calls, apart, depth)


async def streamed(draw: random.Random, depth: int) -> None:
    async def generator() -> Any:
        with labelled(draw):
            for i in range(2):
                await asyncio.sleep(0)
                write(draw)
                yield i

    async for _ in generator():
        await flows(draw, depth)


def work(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(TREES):
        if draw.random() < 0.4:
            calls(draw, 6)
        elif LOOP == "eager":
            asyncio.run(eagerly(draw))
        else:
            asyncio.run(flows(draw, 6))


async def eagerly(draw: random.Random) -> None:
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
    await flows(draw, 6)


def main() -> None:
    threads = [threading.Thread(target=work, args=(SEED + i,)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal = process.journal()
    assert journal is not None
    print(json.dumps([str(journal.folder.resolve()), expected]))


main()
