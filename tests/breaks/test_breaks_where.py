"""Where a program may stand when a condition is met: ``raise`` comes out of that very place, and the interpreter goes
on as after any exception."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from memwatch_core import MutationError, watch

Store = Callable[[], object]


class Watched:
    """A number and a dict, which may not become negative."""

    def __init__(self) -> None:
        self.number = watch(1, name="number", when="new < 0", then="raise")
        self.view = memoryview(self.number)
        self.places = {"k": 1}
        watch(self.places, name="places", when="new < 0", then="raise")

    def announced(self) -> None:
        self.number.value = -1

    def faulted(self) -> int:
        self.view[()] = -1
        a = 1
        return a + 1

    def of_a_place(self) -> int:
        self.places["k"] = -1
        a = 1
        return a

    def last_of_a_function(self) -> None:
        self.places["k"] = -1

    def without_the_lock(self) -> int:
        there = (ctypes.c_char * 8).from_buffer(self.number)
        ctypes.memmove(there, struct.pack("<q", -5), 8)
        return 1


STORES = ("announced", "faulted", "of_a_place", "last_of_a_function", "without_the_lock")


def plain(store: Store) -> object:
    return store()


def thread(store: Store) -> object:
    raised: list[BaseException] = []

    def body() -> None:
        try:
            store()
        except BaseException as error:
            raised.append(error)

    one = threading.Thread(target=body)
    one.start()
    one.join()
    if raised:
        raise raised[0]
    return None


def generator(store: Store) -> object:
    def each() -> Any:
        yield 1
        store()
        yield 2

    return list(each())


def coroutine(store: Store) -> object:
    async def work() -> int:
        await asyncio.sleep(0)
        store()
        await asyncio.sleep(0)
        return 5

    return asyncio.run(work())


def in_except(store: Store) -> object:
    try:
        raise KeyError(1)
    except KeyError:
        store()
    return None


def in_finally(store: Store) -> object:
    try:
        pass
    finally:
        store()
    return None


def while_another_one_leaves(store: Store) -> object:
    with suppress(KeyError):
        try:
            raise KeyError(1)
        finally:
            store()
    return None


def key_of_sort(store: Store) -> object:
    return sorted([3, 1, 2], key=lambda value: (store(), value))


def comprehension(store: Store) -> object:
    return [store() for _ in range(3)]


def end_of_with(store: Store) -> object:
    class Manager:
        def __enter__(self) -> None:
            pass

        def __exit__(self, *error: object) -> None:
            store()

    with Manager():
        pass
    return None


def handler_of_a_signal(store: Store) -> object:
    before = signal.signal(signal.SIGUSR1, lambda *_: store())
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        for _ in range(1000):
            pass
    finally:
        signal.signal(signal.SIGUSR1, before)
    return None


def destructor(store: Store) -> object:
    """The interpreter tells of what a destructor raises, and goes on."""
    told: list[BaseException | None] = []
    before, sys.unraisablehook = sys.unraisablehook, lambda what: told.append(what.exc_value)
    try:

        class Last:
            def __del__(self) -> None:
                store()

        Last()
        gc.collect()
    finally:
        sys.unraisablehook = before
    if told and told[0]:
        raise told[0]
    return None


def attribute(store: Store) -> object:
    class Owner:
        @property
        def value(self) -> object:
            return store()

    return Owner().value


def executed(store: Store) -> object:
    exec("store()\na = 1\n", {"store": store})
    return None


def forked(store: Store) -> object:
    child = os.fork()
    if not child:
        try:
            store()
        except MutationError:
            os._exit(7)
        os._exit(3)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == 7:
        raise MutationError("in the child")
    return status


def traced(store: Store) -> object:
    seen: list[str] = []

    def trace(frame: Any, event: str, arg: object) -> Any:
        seen.append(event)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return store()
    finally:
        assert sys.gettrace() is trace
        sys.settrace(before)
        assert "line" in seen


def profiled(store: Store) -> object:
    sys.setprofile(lambda *_: None)
    try:
        return store()
    finally:
        sys.setprofile(None)


def deep(store: Store, depth: int = 200) -> object:
    return store() if not depth else deep(store, depth - 1)


PLACES = [
    *(plain, thread, generator, coroutine, in_except, in_finally, while_another_one_leaves, key_of_sort, comprehension),
    *(end_of_with, handler_of_a_signal, destructor, attribute, executed, forked, traced, profiled, deep),
]


@pytest.mark.usefixtures("journal")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_raise_comes_out_where_it_was_stored(place: Callable[[Store], object], store: str) -> None:
    watched = Watched()
    with pytest.raises(MutationError):
        place(getattr(watched, store))
    if place is not forked:
        assert -1 in (watched.number.value, watched.places["k"]) or watched.number.value == -5  # it has been written
    watched.number.value, watched.places["k"] = 1, 1
    assert place(lambda: None) is not MutationError  # nothing is left of it
    assert sys.exc_info() == (None, None, None)


@pytest.mark.usefixtures("journal")
def test_a_threads_hit_is_its_own() -> None:
    """Two threads store at the same time: each gets its own exceptions, all of them."""
    raised: dict[str, int] = {}

    def work(name: str, step: int) -> None:
        number = watch(0, name=name, when="new % 3 == 0", then="raise")
        view = memoryview(number)
        for i in range(1, 300):
            try:
                if i % 2:
                    number.value = i * step
                else:
                    view[()] = i * step
                    i += 0
            except MutationError as error:
                own = error.hit is not None and error.hit.variable == name
                raised[name] = raised.get(name, 0) + own

    threads = [threading.Thread(target=work, args=(f"n{i}", 1 + 3 * i)) for i in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert raised == {f"n{i}": 99 for i in range(4)}


def run(program: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **more,
    )


def test_at_exit_it_is_raised_as_anything_else(tmp_path: Any) -> None:
    program = (
        "import atexit\nfrom memwatch_core import watch\n"
        "x = watch(1, when='new < 0', then='raise')\n"
        "def last():\n    x.value = -1\n    print('not reached')\n"
        "atexit.register(last)\n"
    )
    done = run(program, cwd=tmp_path)
    assert "MutationError" in done.stderr
    assert "not reached" not in done.stdout


def test_a_destructor_at_the_end_of_the_interpreter_is_no_harm(tmp_path: Any) -> None:
    program = (
        "from memwatch_core import watch\n"
        "x = watch(1, when='new < 0', then=print)\nd = {'a': 1}\nwatch(d, when='new < 0', then=print)\n"
        "class Last:\n    def __del__(self, x=x, d=d):\n        x.value = -1\n        d['a'] = -1\n"
        "import sys\nsys.modules['keep'] = Last()\n"
    )
    done = run(program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
