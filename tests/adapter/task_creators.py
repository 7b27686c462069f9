"""Random trees of asyncio tasks: what each writes, with the callers of whoever created its task.

``task_creators.py SEED WAY``: prints the journal's folder and, by the number that is written, the stack of the creator.
"""

import asyncio
import json
import os
import random
import sys
import traceback
from collections.abc import Coroutine
from typing import Any

from memwatch_core import watch

seed, way = int(sys.argv[1]), sys.argv[2]
rng = random.Random(seed)
number = watch(0, name="number")
view = memoryview(number).cast("B").cast("q")
expected: dict[int, list[list[Any]] | None] = {}
last = 0


class Plain(asyncio.Task):  # type: ignore[type-arg]
    pass


class Inited(asyncio.Task):  # type: ignore[type-arg]
    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)


def here(up: int) -> list[list[Any]]:
    """The stack of the caller that is so many levels up, the innermost first."""
    frames = traceback.extract_stack(sys._getframe(up))
    return [[frame.filename, frame.lineno, frame.name] for frame in reversed(frames)]


def write(creator: list[list[Any]] | None) -> None:
    global last
    for announced in (True, False):
        last += 1
        expected[last] = creator
        if announced:
            number.value = last
        else:
            view[0] = last


async def step(depth: int, creator: list[list[Any]] | None, *, eager: bool = way == "eager") -> None:
    write(None if eager else creator)  # an eager task has its creator on its stack
    await asyncio.sleep(0)
    write(creator)
    for _ in range(rng.randrange(3) if depth else 0):
        await rng.choice(WAYS)(depth - 1)
    write(creator)


async def by_create_task(depth: int) -> None:
    await asyncio.create_task(step(depth, here(1)))


async def by_loop(depth: int) -> None:
    loop = asyncio.get_running_loop()
    await (lambda: loop.create_task(step(depth, here(1)), name="one"))()


async def by_group(depth: int) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(step(depth, here(1)))
        group.create_task(step(0, here(1)))


async def by_gather(depth: int) -> None:
    await asyncio.gather(step(depth, here(1)))


async def by_itself(depth: int) -> None:
    await Plain(step(depth, here(1), eager=False))


async def by_callback(depth: int) -> None:
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    async def told(creator: list[list[Any]] | None) -> None:
        await step(depth, creator)
        done.set()

    def call() -> None:
        kept.append(loop.create_task(told(here(1))))

    kept: list[Any] = []
    loop.call_soon(call)
    await done.wait()


async def in_between(depth: int) -> None:
    await by_create_task(depth)


WAYS = [by_create_task, by_loop, by_group, by_gather, by_itself, by_callback, in_between]


async def main() -> None:
    loop = asyncio.get_running_loop()
    if way == "factory":
        loop.set_task_factory(lambda loop, coroutine, **keywords: Plain(coroutine, loop=loop, **keywords))
    elif way == "inited":
        loop.set_task_factory(lambda loop, coroutine, **keywords: Inited(coroutine, loop=loop, **keywords))
    elif way == "eager":
        loop.set_task_factory(asyncio.eager_task_factory)
    factory = loop.get_task_factory()
    for _ in range(8):
        await rng.choice(WAYS)(3)
    assert loop.get_task_factory() is factory


run: Any = asyncio.run
if way == "uvloop":
    import uvloop

    run = uvloop.run
coroutine: Coroutine[Any, Any, None] = main()
run(coroutine)
if way == "fork":
    child = os.fork()
    if not child:
        asyncio.run(main())
        os._exit(0)
    os.waitpid(child, 0)
print(json.dumps(expected))
