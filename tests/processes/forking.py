"""A program that brings the core into a state, and then starts children by each of several methods.

    RESULTS=FILE python forking.py STATE METHOD...

Each child watches a value of its own and writes to it, and to the value that it has inherited, if there is one. Who
wrote what, and what it holds then, is appended to RESULTS as lines of JSON; test_forks.py compares them with the
journals.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NEW, KEPT, CHILDREN = 20, 5, 2
"""Writes of each kind to a value of one's own, to an inherited one; children that a method starts at once."""
SYS_CLONE, SYS_FORK = 56, 57

kept: Any = None
method_now = ""
together: Any = None
libc = ctypes.PyDLL(None, use_errno=True)


def say(**what: Any) -> None:
    with open(os.environ["RESULTS"], "a") as file:  # one write each: lines of several processes don't mix
        file.write(json.dumps({"method": method_now, "pid": os.getpid(), **what}) + "\n")


def add(value: Any, times: int) -> None:
    view = memoryview(value).cast("B").cast("q")
    for _ in range(times):
        value += 1  # announced
        view[0] = view[0] + 1  # a store
    view.release()


def work(number: int, inherits: bool = True) -> None:
    """What a child does. Where it has to be quick, other children do it at the same time."""
    from memwatch_core import watch

    mine: Any = watch(0, name="mine")
    time.sleep(0.01)
    add(mine, NEW)
    have = inherits and kept is not None
    if have:
        before = int(kept)
        add(kept, KEPT)
    say(child=number, mine=int(mine), kept=[before, int(kept)] if have else None)


def work_and_end(number: int, inherits: bool = True) -> None:
    try:
        work(number, inherits)
    except BaseException as error:
        say(child=number, error=repr(error))
        os._exit(1)
    os._exit(0)


def work_of(task: tuple[int, str]) -> None:
    global method_now
    number, method_now = task
    if together is not None:
        together.wait()  # one each
    work(number)


def set_together(barrier: Any) -> None:
    global together
    together = barrier


# ---- methods -------------------------------------------------------------------------------------------------------


def forks(fork: Callable[[], int], inherits: bool = True) -> None:
    children = []
    for number in range(CHILDREN):
        child = fork()
        if not child:
            work_and_end(number, inherits)
        children.append(child)
    for child in children:
        assert child > 0
        assert os.waitpid(child, 0)[1] == 0, "a child has failed"


def processes(context: str) -> None:
    starts = multiprocessing.get_context(context)
    children: list[Any] = [starts.Process(target=work_of, args=((n, method_now),)) for n in range(CHILDREN)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0, child.exitcode


def pool() -> None:
    with multiprocessing.get_context("fork").Pool(CHILDREN, maxtasksperchild=1) as workers:
        workers.map(work_of, [(n, method_now) for n in range(CHILDREN)], chunksize=1)


def executor() -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(CHILDREN)
    with ProcessPoolExecutor(CHILDREN, context, initializer=set_together, initargs=(barrier,)) as workers:
        list(workers.map(work_of, [(n, method_now) for n in range(CHILDREN)]))


def clone() -> int:
    stack = ctypes.create_string_buffer(1 << 20)
    top = ctypes.addressof(stack) + len(stack) & ~15
    function = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(lambda _: work_and_end(0))
    libc.clone.argtypes = [type(function), ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    child: int = libc.clone(function, top, signal.SIGCHLD, None)
    return child


def system_call(number: int, *arguments: int) -> int:
    child: int = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(n) for n in (*arguments, 0, 0, 0, 0)))
    return child


def instruction() -> int:
    """mov $57, %eax; syscall; ret: nobody is told of this fork."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x39\x00\x00\x00\x0f\x05\xc3")
    child: int = ctypes.PYFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
    return child


def command(number: int) -> list[str]:
    return [sys.executable, __file__, "child", method_now, str(number)]


def spawned() -> None:
    children = [os.posix_spawn(sys.executable, command(n), os.environ) for n in range(CHILDREN)]
    assert not any(os.waitpid(child, 0)[1] for child in children)


def vforked() -> None:
    children = [subprocess.Popen(command(n), close_fds=True) for n in range(CHILDREN)]
    assert not any(child.wait() for child in children)


METHODS: dict[str, Callable[[], None]] = {
    "os.fork": lambda: forks(os.fork),
    "libc fork": lambda: forks(libc.fork),
    "_Fork": lambda: forks(libc._Fork),
    "SYS_fork": lambda: forks(lambda: system_call(SYS_FORK)),
    "SYS_clone": lambda: forks(lambda: system_call(SYS_CLONE, signal.SIGCHLD)),
    "clone": lambda: forks(clone),
    "instruction": lambda: forks(instruction, inherits=False),
    "mp fork": lambda: processes("fork"),
    "Pool": pool,
    "Executor": executor,
    "mp forkserver": lambda: processes("forkserver"),
    "mp spawn": lambda: processes("spawn"),
    "posix_spawn": spawned,
    "vfork": vforked,
}
BY_PYTHON = ("os.fork", "mp fork", "Pool", "Executor")
"""Forks that CPython prepares for: others must not be made while several threads run Python code."""
ALONE = ("mp forkserver", "mp spawn", "posix_spawn", "vfork")
"""Methods whose children are programs of their own."""
QUICK = tuple(name for name in METHODS if name not in ALONE)


def start(methods: list[str]) -> None:
    """Every method in turn; between them, this process writes to its own value."""
    global method_now
    for method_now in methods:
        try:
            before = None if kept is None else int(kept)
            METHODS[method_now]()
            if kept is not None and not writing:
                assert int(kept) == before, f"a child wrote to its parent's value: {before} became {int(kept)}"
                add(kept, 1)
        except BaseException as error:
            say(error=repr(error))
    method_now = ""
    say(parent=True, kept=None if kept is None or writing else int(kept))


# ---- states --------------------------------------------------------------------------------------------------------

writing: list[threading.Thread] = []


def keep() -> None:
    global kept
    from memwatch_core import watch

    kept = watch(0, name="kept")
    add(kept, 3)


def not_started(methods: list[str]) -> None:
    start(methods)


def started(methods: list[str]) -> None:
    from memwatch_core.native import core

    core.start(os.environ["TRACKER"])  # type: ignore[arg-type]
    start(methods)


def journal_open(methods: list[str]) -> None:
    start(methods)  # under memwatch run


def watch_ended(methods: list[str]) -> None:
    from memwatch_core import unwatch, watch

    ended: Any = watch(7, name="ended")
    ended += 1
    unwatch(ended)
    start(methods)


def watches_live(methods: list[str]) -> None:
    keep()
    start(methods)


def in_thread(function: Callable[[], None]) -> None:
    thread = threading.Thread(target=function, name="another")
    thread.start()
    thread.join()


def started_in_a_thread(methods: list[str]) -> None:
    in_thread(keep)
    start(methods)


def forked_in_a_thread(methods: list[str]) -> None:
    keep()
    in_thread(lambda: start(methods))


def in_child(function: Callable[[], None]) -> None:
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0, "the first child has failed"
        return
    try:
        function()
    except BaseException as error:
        say(error=repr(error))
    os._exit(0)


def forked_twice(methods: list[str]) -> None:
    keep()
    in_child(lambda: start(methods))


def forked_twice_empty(methods: list[str]) -> None:
    in_child(lambda: start(methods))


def in_a_hook(methods: list[str]) -> None:
    keep()
    once = []

    def hook() -> None:
        if not once:
            once.append(True)
            start(methods)

    os.register_at_fork(before=lambda: add(kept, 0), after_in_child=hook)
    in_child(lambda: None)


def daemonised(methods: list[str]) -> None:
    done = os.environ["RESULTS"] + ".done"

    def daemon() -> None:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.chdir("/")
        os.closerange(3, 256)
        keep()
        start(methods)
        Path(done).touch()

    in_child(daemon)
    while not os.path.exists(done):
        time.sleep(0.01)


def after_exec(methods: list[str]) -> None:
    keep()
    os.execv(sys.executable, [sys.executable, __file__, "watches live", *methods])


def in_session(methods: list[str]) -> None:
    import memwatch_core

    with memwatch_core.session(core={"tracker": os.environ["TRACKER"]}, sinks=[], folder=os.environ["SESSIONS"]):
        keep()
        start(methods)


@contextmanager
def writers() -> Iterator[None]:
    go = True

    def write() -> None:
        while go:
            add(kept, 1)
            time.sleep(0)

    writing.extend(threading.Thread(target=write) for _ in range(2))
    for thread in writing:
        thread.start()
    try:
        yield
    finally:
        go = False
        for thread in writing:
            thread.join()


def while_threads_write(methods: list[str]) -> None:
    keep()
    with writers():
        start(methods)


STATES: dict[str, Callable[[list[str]], None]] = {
    "core not started": not_started,
    "core started": started,
    "journal open": journal_open,
    "watch ended": watch_ended,
    "watches live": watches_live,
    "started in a thread": started_in_a_thread,
    "forked in a thread": forked_in_a_thread,
    "forked twice": forked_twice,
    "forked twice, empty": forked_twice_empty,
    "in an atfork hook": in_a_hook,
    "daemonised": daemonised,
    "after exec": after_exec,
    "in session()": in_session,
    "while threads write": while_threads_write,
}
WITHOUT_RUN = ("core not started", "core started", "started in a thread", "in session()")
"""States of programs that ``memwatch run`` doesn't start."""


if __name__ == "__main__":
    if sys.argv[1] == "child":
        method_now = sys.argv[2]
        work_and_end(int(sys.argv[3]))
    STATES[sys.argv[1]](sys.argv[2:])
