"""Each event carries the callers of the line that wrote, as traceback.extract_stack says them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from trackers import need

from memwatch_core.host.merge import SessionDecoder
from memwatch_core.records import Event, Serializer, Site

PROGRAMS = Path(__file__).parent


def events_of(path: Path, serializers: dict[str, Serializer] | None = None) -> list[Event]:
    decoder = SessionDecoder(path, serializers or {}, final=True)
    return [record for batch in decoder.batches() for record in batch if isinstance(record, Event)]


CREATED = Site("<asyncio>", 0, "task created at")


def callers_of(event: Event) -> list[Site]:
    """Those on the stack: behind them come those who created the task."""
    stack = list(event.stack or ())
    return stack[: stack.index(CREATED)] if CREATED in stack else stack


def stack_of(event: Event) -> list[list[Any]]:
    """The whole stack, the innermost frame first, as the programs note what they expect."""
    assert event.site is not None, event
    assert event.stack is not None, event
    return [[site.file, site.line, site.function] for site in (event.site, *callers_of(event))]


def run(folder: Path, *arguments: object, program: str = "call_trees.py") -> Any:
    command = [sys.executable, PROGRAMS / program, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


SOAK = bool(os.environ.get("MEMWATCH_SOAK"))


@pytest.mark.parametrize("tracker", ["uffd-sigbus", "readonly"])
@pytest.mark.parametrize(("limit", "threads", "trees"), [(16, 1, 200), (16, 4, 100), (3, 1, 100), (128, 1, 60)])
def test_stack_is_what_traceback_says(tmp_path: Path, limit: int, threads: int, trees: int, tracker: str) -> None:
    """Random trees of some forty kinds of calls; announced writes, stores with the lock and without it."""
    path, expected = run(tmp_path, limit, trees * (20 if SOAK else 1), 7 * limit + threads, threads, need(tracker))
    checked = set()
    for event in events_of(tmp_path / path):
        number = int.from_bytes(event.after, "little")
        if not number:  # struct.pack_into clears the bytes first
            continue
        stack, told = stack_of(event), expected[str(number)]
        is_cut = event.stack_cut and CREATED not in (event.stack or ())
        assert [stack, is_cut] == [told[:limit], len(told) > limit], number
        checked.add(number)
    assert len(checked) == len(expected) > trees


def written(program: str, folder: Path, *, stack: int | None = 16, **settings: str) -> list[Event]:
    """Runs a program that watches by itself, and reads what it has left; of several processes, in order of time."""
    script = folder / "program.py"
    script.write_text(program)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MEMWATCH_")}
    environment |= {"MEMWATCH_JOURNAL_FOLDER": str(folder / "sessions"), **settings}
    if stack is not None:
        environment["MEMWATCH_WATCH_STACK"] = str(stack)
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (folder / "stderr").write_text(done.stderr)
    (session,) = (folder / "sessions").iterdir()
    return events_of(session)


def lines_of(event: Event) -> list[tuple[str, int]]:
    assert event.site is not None
    assert event.stack is not None
    return [(site.function, site.line) for site in (event.site, *callers_of(event))]


CALLS = """
import os
from memwatch_core import watch
number = watch(0)
view = memoryview(number).cast("B").cast("q")
def inner(n):
    number.value = n
    view[0] = n
def outer(n):
    inner(n)
outer(1)
"""


def test_without_being_asked_a_program_records_its_line_alone(tmp_path: Path) -> None:
    events = written(CALLS, tmp_path, stack=None)
    assert [(event.site and event.site.line, event.stack, event.stack_cut) for event in events] == [
        (7, None, False),
        (8, None, False),
    ]


def test_both_paths_have_the_callers_up_to_the_limit(tmp_path: Path) -> None:
    for limit, whole in ((2, False), (3, True), (128, True)):
        folder = tmp_path / str(limit)
        folder.mkdir()
        events = written(CALLS, folder, stack=limit)
        wanted = [("inner", 7), ("outer", 10), ("<module>", 11)][:limit]
        assert lines_of(events[0]) == wanted
        assert lines_of(events[1]) == [("inner", 8), *wanted[1:]]
        assert [event.stack_cut for event in events] == [not whole, not whole]


def test_store_of_a_thread_that_blocks_signals_has_its_callers(tmp_path: Path) -> None:
    """As a signal handler's does: its frames are looked at with more care."""
    program = """
import signal
from memwatch_core import watch
number = watch(0)
view = memoryview(number).cast("B").cast("q")
def generator(n):
    view[0] = n
    yield
def inner(n):
    view[0] = n
    next(generator(n + 100))
    return n
def deeper(n, left):
    if left: deeper(n, left - 1)
    else: list(map(inner, [n]))
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
for n in range(1, 30):
    deeper(n, n % 10)
"""
    for limit in (128, 5, 1):
        folder = tmp_path / str(limit)
        folder.mkdir()
        events = written(program, folder, stack=limit)
        assert len(events) == 58
        for event in events:
            assert event.site
            assert event.exact
            n = int.from_bytes(event.after, "little")
            above = [("inner", 10), ("deeper", 15), *[("deeper", 14)] * (n % 100 % 10), ("<module>", 18)]
            whole = above if n < 100 else [("generator", 7), ("inner", 11), *above[1:]]
            told = [(site.function, site.line) for site in (event.site, *(event.stack or ()))]
            assert told == whole[:limit]
            assert not event.stack_inexact
            assert event.stack_cut == (1 < limit < len(whole))


def test_forked_children_say_the_stacks_that_they_use(tmp_path: Path) -> None:
    """Each journal is complete in itself, and ids go on from the parent's."""
    program = (
        CALLS
        + """
for generation in range(3):
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        break
    (lambda: outer(10 + generation))()
outer(2)
"""
    )
    events = written(program, tmp_path)
    assert len({event.pid for event in events}) == 4
    seen: dict[int, list[list[tuple[str, int]]]] = {}
    for event in events:
        seen.setdefault(event.pid, []).append(lines_of(event))
    for number, stacks in enumerate(seen.values()):
        wanted = [[("inner", line), ("outer", 10), ("<module>", 11)] for line in (7, 8)] if number == 0 else [
            [("inner", line), ("outer", 10), ("<lambda>", 18), ("<module>", 18)] for line in (7, 8)
        ]  # fmt: skip
        assert stacks[:2] == wanted
        assert [stack[2] for stack in stacks[-2:]] == [("<module>", 19)] * 2


@pytest.mark.parametrize("policy", ["rotate", "drop"])
def test_journal_at_its_limit_has_the_stack_of_each_event(tmp_path: Path, policy: str) -> None:
    """Segments come and go; what a stack is was said in one that is gone."""
    program = """
from memwatch_core import watch
depth = watch(0)
view = memoryview(depth).cast("B").cast("q")
def deeper(n, left, by_store):
    if left: deeper(n, left - 1, by_store)
    elif by_store: view[0] = n
    else: depth.value = n
for i in range(120_000):
    deeper(i % 23, i % 23, i % 50 == 0)
"""
    events = written(
        program, tmp_path, stack=12, MEMWATCH_JOURNAL_MAX_BYTES=str(4 << 20), MEMWATCH_JOURNAL_POLICY=policy
    )
    assert 10_000 < len(events) < 120_000
    assert (events[0].seq > 1) == (policy == "rotate")
    for event in events:
        n = int.from_bytes(event.after, "little")
        line = 7 if (event.seq - 1) % 50 == 0 else 8
        wanted = [("deeper", line), *[("deeper", 6)] * n, ("<module>", 10)]
        assert lines_of(event) == wanted[:12], event.seq
        assert event.stack_cut == (len(wanted) > 12)


def test_when_there_is_no_room_for_more_stacks_it_is_said(tmp_path: Path) -> None:
    program = """
import sys
from memwatch_core import watch
last = watch(0)
def write(n): last.value = n
def both(n, left):
    if not left: return write(n)
    both(2 * n, left - 1)
    both(2 * n + 1, left - 1)
both(0, 18)
write(7)
"""
    events = written(
        program, tmp_path, stack=30, MEMWATCH_JOURNAL_MAX_BYTES=str(4 << 20), MEMWATCH_JOURNAL_POLICY="rotate"
    )
    *known, last_leaf, after = events
    for event in known:
        n = int.from_bytes(event.after, "little")
        turns = [("both", 8 + (n >> bit & 1)) for bit in range(18)]
        assert lines_of(event) == [("write", 5), ("both", 7), *turns, ("<module>", 10)]
        assert not event.stack_cut
    assert [(event.site and event.site.line, event.stack, event.stack_cut) for event in (last_leaf, after)] == [
        (5, (), True),
        (5, (), True),
    ]
    assert (tmp_path / "stderr").read_text().count("there is no room for more call stacks") == 1


def test_more_threads_than_there_are_caches(tmp_path: Path) -> None:
    program = """
import threading
from memwatch_core import watch
numbers = [watch(0, name=str(i)) for i in range(150)]
together = threading.Barrier(150)
def write(i):
    for n in range(1, 4): numbers[i].value = n
def even(i): write(i)
def odd(i): write(i)
def work(i):
    together.wait()
    for _ in range(3): (odd if i % 2 else even)(i)
threads = [threading.Thread(target=work, args=(i,)) for i in range(150)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    events = written(program, tmp_path)
    assert len(events) == 150 * 9
    for event in events:
        by = ("odd", 9) if int(event.variable) % 2 else ("even", 8)
        assert lines_of(event)[:3] == [("write", 7), by, ("work", 12)]
        assert not event.stack_cut
        assert event.stack
        assert event.stack[-1].function == "_bootstrap"


def test_awaiting_coroutines_are_callers(tmp_path: Path) -> None:
    program = """
import asyncio
from memwatch_core import watch
number = watch(0)
async def leaf():
    await asyncio.sleep(0)
    number.value = 1
async def middle(): await leaf()
async def generates():
    await middle()
    yield 1
async def main():
    async for _ in generates(): pass
    async with asyncio.timeout(1): await middle()
    await asyncio.gather(middle())
asyncio.run(main())
"""
    first, second, third = written(program, tmp_path, stack=40)
    assert lines_of(first)[:4] == [("leaf", 7), ("middle", 8), ("generates", 10), ("main", 13)]
    assert lines_of(second)[:3] == [("leaf", 7), ("middle", 8), ("main", 14)]
    assert lines_of(third)[:2] == [("leaf", 7), ("middle", 8)]
    assert all(event.stack and event.stack[-1].function == "<module>" for event in (first, second, third))
    assert "main" not in {function for function, _ in lines_of(third)}, "who awaits a task isn't on its stack"


def test_system_calls_have_callers(tmp_path: Path) -> None:
    program = """
import os
from memwatch_core import watch
buffer = watch(bytearray(8))
def fill(file): file.readinto(buffer)
with open(__file__, "rb", buffering=0) as file: fill(file)
"""
    (event,) = written(program, tmp_path)
    assert event.origin == "syscall"
    assert lines_of(event) == [("fill", 5), ("<module>", 6)]


def test_places_have_callers_and_what_is_found_has_none(tmp_path: Path) -> None:
    program = """
from memwatch_core import watch
class Order: pass
order = Order()
order.qty, order.tags = 1, [1]
watch(order)
def change(n): order.qty = n
def outer(): change(5)
outer()
order.tags.append(2)
"""
    events = written(program, tmp_path)
    announced = next(event for event in events if event.origin == "announced")
    assert lines_of(announced) == [("change", 7), ("outer", 8), ("<module>", 9)]
    assert {event.stack for event in events if event.origin == "found"} <= {None}
    assert all(event.own is None for event in events if event.origin == "found")


HANDLER = """
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <sys/time.h>
#include <ucontext.h>
static volatile long *target;
static uintptr_t first, end;
/* Stores only if it has interrupted our own code: within the interpreter's, its frames may be half changed. */
static void handle(int signal, siginfo_t *info, void *context) {
    uintptr_t at = (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    (void)signal, (void)info;
    if (at >= first && at < end) ++*target;
}
void start(long *where, uintptr_t from, uintptr_t to) {
    struct itimerval often = {{0, 100}, {0, 100}};
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_RESTART};
    target = where, first = from, end = to;
    sigaction(SIGALRM, &action, 0);
    setitimer(ITIMER_REAL, &often, 0);
}
void stop(void) { signal(SIGALRM, SIG_IGN); }
"""


def test_handler_in_c_that_stores_in_the_midst_of_a_capture_gets_whole_stacks(tmp_path: Path) -> None:
    """Whenever it comes, and whatever it interrupts: its own events and those that it has interrupted."""
    (tmp_path / "handler.c").write_text(HANDLER)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", "handler.so", "handler.c"], cwd=tmp_path, check=True)
    functions = "\n".join(f"def f{i}(n):\n    number.value = n\n    if n: (f{i + 1} if n % 3 else g{i + 1})(n - 1)\n"
                          f"def g{i}(n):\n    number.value = n\n    if n: (g{i + 1} if n % 2 else f{i + 1})(n - 1)"
                          for i in range(20))  # fmt: skip
    program = f"""
import ctypes, random, time
from memwatch_core import watch
number, ticks = watch(0, name="number"), watch(0, name="ticks")
{functions}
f20 = g20 = lambda n: None
library = ctypes.CDLL({str(tmp_path / "handler.so")!r})
maps = [line.split() for line in open("/proc/self/maps") if "/_core." in line and "r-xp" in line]
first, end = (int(number, 16) for number in maps[0][0].split("-"))
where = ctypes.addressof(ctypes.c_long.from_buffer(memoryview(ticks).cast("B")))
library.start(*map(ctypes.c_size_t, (where, first, end)))
draw, stop = random.Random(5), time.monotonic() + 0.5
while time.monotonic() < stop:
    (f0 if draw.random() < .5 else g0)(draw.randrange(20))
library.stop()
"""
    events = written(program, tmp_path, stack=30)
    ticks = [event for event in events if event.variable == "ticks"]
    assert len(ticks) > 10
    for event in {(event.site, event.stack, event.stack_cut): event for event in events}.values():
        names = [function for function, _ in lines_of(event)]
        assert names[-1] == "<module>"
        assert not event.stack_cut
        levels = [int(name[1:]) for name in names if name[0] in "fg" and name[1:].isdecimal()]
        assert levels == list(range(len(levels) - 1, -1, -1)), names
