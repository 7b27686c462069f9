"""Random call trees whose leaves write to watched values, and what traceback.extract_stack says at each write.

    call_trees.py <limit> <trees> <seed> <threads> <tracker>

Prints as JSON what each write (by the number that it wrote) was expected to come from, and the journal's path.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import gc
import itertools
import json
import random
import struct
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from typing import Any

from memwatch_core import config, watch
from memwatch_core.adapter import process
from memwatch_core.journal.session import create_session

LIMIT, TREES, SEED, THREADS = map(int, sys.argv[1:5])
settings = config.load(overrides={"watch": {"stack": LIMIT}, "core": {"tracker": sys.argv[5]}})
opened = process.open_journal(create_session(tempfile.mkdtemp(dir="."), []), settings)

number = watch(0, name="number")
buffer = watch(bytearray(64), name="buffer")
view = memoryview(buffer)
address = ctypes.addressof(ctypes.c_char.from_buffer(view))
numbers = itertools.count(1)
expected: dict[int, Any] = {}
draw = random.Random(SEED)
lock = threading.RLock()


def here(n: int) -> int:
    """Notes the caller's stack for the write of n, which stands on the same line."""
    frames = traceback.extract_stack(sys._getframe(1), limit=LIMIT + 1)
    expected[n] = [[f.filename, f.lineno, f.name] for f in reversed(frames)]
    return n


def write() -> None:
    """With the collector off: a finalizer that writes between the two would be taken for this one."""
    with lock:  # several threads write to the same bytes
        gc.disable()
        kind = draw.randrange(6)
        n = next(numbers)
        data = n.to_bytes(8, "little")
        source = ctypes.create_string_buffer(data, 8)
        if kind == 0:
            number.value = here(n)
        elif kind == 1:
            here(n), setattr(number, "value", n)
        elif kind == 2:
            here(n), view.__setitem__(slice(0, 8), data)
        elif kind == 3:
            here(n), struct.pack_into("<q", view, 8, n)
        elif kind == 4:
            here(n), ctypes.memmove(address + 16, source, 8)
        else:
            here(n), buffer.__setitem__(slice(24, 32), data)
        gc.enable()


def go(depth: int) -> None:
    if depth <= 0:
        return write()
    if draw.random() < 0.25:
        write()
    draw.choice(KINDS)(depth - 1)
    if draw.random() < 0.25:
        write()
    return None


KINDS: list[Callable[[int], Any]] = []


def kind(function: Callable[[int], Any]) -> Callable[[int], Any]:
    KINDS.append(function)
    return function


@kind
def function(d: int) -> None:
    go(d)


@kind
def closure(d: int) -> None:
    def inner() -> None:
        go(d)

    inner()


class Methods:
    def __init__(self, d: int | None = None) -> None:
        if d is not None:
            go(d)

    def method(self, d: int) -> None:
        go(d)

    @classmethod
    def of_class(cls, d: int) -> None:
        go(d)

    @staticmethod
    def static(d: int) -> None:
        go(d)

    @property
    def attribute(self) -> None:
        return go(self.depth)

    def __call__(self, d: int) -> None:
        go(d)

    def __getattr__(self, name: str) -> int:
        if name.startswith("x"):
            go(int(name[1:]))
        return 1

    def __lt__(self, other: Any) -> bool:
        go(self.depth)
        return True


class Finalized:
    def __init__(self, d: int) -> None:
        self.left = d

    def __del__(self) -> None:
        go(self.left)


KINDS += [Methods, Methods().method, Methods.of_class, Methods.static, Methods()]


@kind
def attribute(d: int) -> None:
    methods = Methods()
    methods.depth = d
    getattr(methods, "attribute")  # noqa: B009


@kind
def missing_attribute(d: int) -> None:
    getattr(Methods(), f"x{d}")


@kind
def comparison(d: int) -> None:
    methods = Methods()
    methods.depth = d
    assert methods < Methods()


@kind
def finalizer(d: int) -> None:
    finalized = Finalized(d)
    del finalized


class Cycle:
    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        write()


@kind
def collected(d: int) -> None:
    for _ in range(3):
        Cycle()
    go(d)


def generates(d: int) -> Any:
    yield 1
    go(d)
    yield 2


@kind
def generator(d: int) -> None:
    for _ in generates(d):
        pass


@kind
def delegating(d: int) -> None:
    def outer() -> Any:
        yield from generates(d)

    list(outer())


@kind
def comprehensions(d: int) -> None:
    tuple(go(each) for each in [d])
    [go(each) for each in [0]]


@kind
def suspended(d: int) -> None:
    made = generates(d)
    next(made)

    def resume() -> None:
        next(made, None)

    resume()


@kind
def thrown_into(d: int) -> None:
    def catches() -> Any:
        try:
            yield
        except ValueError:
            go(d)

    made = catches()
    next(made)
    with contextlib.suppress(StopIteration):
        made.throw(ValueError())


@kind
def generator_finalized(d: int) -> None:
    def ends() -> Any:
        try:
            yield
        finally:
            go(d)

    made = ends()
    next(made)
    del made


@kind
def coroutine(d: int) -> None:
    async def inner() -> None:
        go(d)

    async def outer() -> None:
        await inner()

    with contextlib.suppress(StopIteration):
        outer().send(None)


@kind
def async_generator(d: int) -> None:
    async def generates() -> Any:
        yield 1
        go(d)

    async def loops() -> None:
        async for _ in generates():
            pass

    with contextlib.suppress(StopIteration):
        loops().send(None)


@kind
def tasks(d: int) -> None:
    async def inner() -> None:
        await asyncio.sleep(0)
        go(d)

    async def outer() -> None:
        await asyncio.gather(inner(), asyncio.sleep(0))

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(outer())
    else:
        go(d)


def decorator(wrapped: Any) -> Any:
    @functools.wraps(wrapped)
    def wrapper(*arguments: Any) -> Any:
        return wrapped(*arguments)

    return wrapper


@kind
@decorator
@decorator
def decorated(d: int) -> None:
    go(d)


@contextlib.contextmanager
def manager(d: int) -> Any:
    go(d)
    yield


@kind
def with_statement(d: int) -> None:
    with manager(d):
        pass


called_back = ctypes.CFUNCTYPE(None, ctypes.c_int)
KINDS += [
    lambda d: sorted([1], key=lambda _: go(d)),
    lambda d: list(map(go, [d])),
    lambda d: list(filter(go, [d])),
    lambda d: functools.reduce(lambda a, _: go(d), [1, 2]),
    lambda d: functools.partial(go, d)(),
    lambda d: functools.lru_cache(lambda: go(d))(),
    lambda d: called_back(go)(d),
    lambda d: exec("\n" * draw.randrange(3) + f"go({d})", globals()),
    lambda d: eval(f"go({d})", globals()),
]


@kind
def defined_by_exec(d: int) -> None:
    """Their code objects are freed at once, and the next ones lie where they lay."""
    names: dict[str, Any] = {"go": go}
    pad = "\n" * draw.randrange(3)
    exec(compile(f"{pad}def f{draw.randrange(3)}(d):\n  go(d)\ng = [v for v in globals().values() if callable(v)][-1]",
                 f"<exec {draw.randrange(3)}>", "exec"), names)  # fmt: skip
    names["g"](d)


@kind
def thread(d: int) -> None:
    started = threading.Thread(target=go, args=(min(d, 2),))
    started.start()
    started.join()


@kind
def exceptions(d: int) -> None:
    try:
        raise KeyError
    except KeyError:
        go(d)
    finally:
        write()


@kind
def class_body(d: int) -> None:
    type("Body", (), {})

    class Body:
        value = go(d)


@kind
def deep(d: int) -> None:
    deeper(draw.choice((3, 20)), d)


def deeper(n: int, d: int) -> None:
    if n:
        deeper(n - 1, d)
    else:
        go(d)


@kind
def inherited(d: int) -> None:
    class Base:
        def method(self) -> None:
            go(d)

    class Derived(Base):
        def method(self) -> None:
            super().method()

    Derived().method()


def watched_by(tool: Any, d: int) -> None:
    """A profiler, a tracer: what it is told of writes as well, now and then."""

    def told(frame: Any, event: str, argument: Any) -> Any:
        if event in ("call", "c_call") and draw.random() < 0.05:
            tool(None)
            write()
        return None

    tool(told)
    try:
        go(d)
    finally:
        tool(None)


KINDS += [lambda d: watched_by(sys.setprofile, d), lambda d: watched_by(sys.settrace, min(d, 2))]

try:
    import greenlet
except ImportError:
    pass
else:
    KINDS.append(lambda d: greenlet.greenlet(go).switch(d))


def some(count: int) -> None:
    for _ in range(count):
        go(draw.randrange(1, 9))


gc.set_threshold(5, 2, 2)
sys.setrecursionlimit(5000)
if THREADS == 1:
    some(TREES)
else:
    sys.setswitchinterval(1e-5)
    workers = [threading.Thread(target=some, args=(TREES // THREADS,)) for _ in range(THREADS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
gc.disable()
path = str(opened.path)
process.close_journal()
print(json.dumps([path, expected]))
