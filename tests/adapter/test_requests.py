"""Each event names the unit of work in force (label, task, trace and span), or leaves out what isn't known; it never
names another one."""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from journals import Opened
from test_stacks import HANDLER
from trackers import need

import memwatch_core
from memwatch_core import label, watch
from memwatch_core.host.merge import SessionDecoder
from memwatch_core.journal.layout import SEGMENT_SLOTS, Kind
from memwatch_core.journal.reader import JournalReader
from memwatch_core.records import Event, Request

PROGRAMS = Path(__file__).parent
SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
NAME_MOST = 120
EAGER = pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks begin eagerly from CPython 3.12 on")


def events_of(path: Path) -> list[Event]:
    decoder = SessionDecoder(path, {}, final=True)
    return [record for batch in decoder.batches() for record in batch if isinstance(record, Event)]


def told(journal: Opened) -> list[Request | None]:
    return [event.request for event in events_of(journal.path)]


def run(folder: Path, *command: object, **settings: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MEMWATCH_")} | settings
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def written(program: str, folder: Path, **settings: str) -> list[Event]:
    """Runs a program that watches by itself, and reads what it has left; of several processes, in order of time."""
    (folder / "program.py").write_text(program)
    run(folder, "program.py", MEMWATCH_JOURNAL_FOLDER="sessions", **settings)
    (session,) = (folder / "sessions").iterdir()
    return events_of(session)


# ---- all ways to write, in all flows --------------------------------------------------------------------------------


def is_told(labels: list[str], expected: list[str]) -> bool:
    """Those around the innermost one may be left out for want of room, and the last one that is there be cut off."""
    whole = labels[:-1] if labels and labels[-1].endswith("…") else labels
    rest = expected[len(whole) :]
    cut = labels[len(whole) :]
    return (
        bool(labels) == bool(expected)
        and whole == expected[: len(whole)]
        and all(rest and rest[0].startswith(each[:-1]) for each in cut)
    )


@pytest.mark.parametrize(
    ("tracker", "threads", "trees", "loop"),
    [
        ("uffd-sigbus", 1, 60, "asyncio"), ("readonly", 1, 60, "asyncio"), ("uffd-queue", 1, 20, "asyncio"),
        ("uffd-sigbus", 5, 40, "asyncio"), ("readonly", 5, 40, "asyncio"),
        pytest.param("uffd-sigbus", 1, 40, "eager", marks=EAGER),
    ],
)  # fmt: skip
def test_event_names_what_is_in_force(tmp_path: Path, tracker: str, threads: int, trees: int, loop: str) -> None:
    """Random trees of flows; announced writes, stores with the lock and without it, system calls."""
    times = 20 if SOAK else 1
    out = run(tmp_path, PROGRAMS / "flows.py", 7 * threads, trees * times, threads, need(tracker), loop)
    session, expected = json.loads(out.splitlines()[-1])
    seen, left_out = set(), 0
    for event in events_of(Path(session)):
        number = int.from_bytes(event.after, "little")
        if not number:  # struct.pack_into clears the bytes first
            continue
        way, labels, task, *span = expected[str(number)]
        request = event.request or Request()
        assert is_told([request.label, *request.outer] if request.label else [], labels), (number, request, labels)
        task = task if len(task) <= NAME_MOST else f"{task[:NAME_MOST]}…"
        found = [request.task, [request.trace_id, request.span_id]]
        if found != [task, span]:  # of another thread's loop, a moment may be seen at which there is nothing
            assert threads > 1
            assert way in ("unheld", "syscall"), (way, number, request, task, span)
            assert request.task in (task, "")
            assert [request.trace_id, request.span_id] in (span, ["", ""])
            left_out += 1
        seen.add(number)
    assert len(seen) == len(expected) > trees
    assert left_out <= len(seen) / 50


# ---- labels ---------------------------------------------------------------------------------------------------------


def texts(journal: Opened) -> list[tuple[str, ...]]:
    """The labels of each event, the innermost first."""
    return [() if (r := request) is None or not r.label else (r.label, *r.outer) for request in told(journal)]


def test_labels_nest_and_end_however_their_block_ends(journal: Opened) -> None:
    number = watch(0)
    number += 1
    with label("order 17") as entered:
        number += 1
        with suppress(ZeroDivisionError), label("line 3"):
            number += 1
            1 / 0  # noqa: B018
        number += 1
        with entered, entered:
            number += 1
        number += 1
    number += 1
    a, b = "order 17", "line 3"
    assert texts(journal) == [(), (a,), (b, a), (a,), (a, a, a), (a,), ()]


def test_same_label_object_serves_threads_and_tasks_at_once(journal: Opened) -> None:
    number, shared, together = watch(0), label("shared"), threading.Barrier(4)

    def work() -> None:
        for _ in range(50):
            with shared:
                together.wait()
                number.value = number.value + 1
                together.wait()
            number.value = number.value + 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def step() -> None:
        with shared:
            await asyncio.sleep(0)
            number.value = 0
        await asyncio.sleep(0)
        number.value = 1

    async def main() -> None:
        await asyncio.gather(*[step() for _ in range(5)])

    asyncio.run(main())
    found = texts(journal)
    assert [found.count(("shared",)), found.count(())] == [205, 205]


def test_label_decorates_functions_and_coroutine_functions(journal: Opened) -> None:
    number = watch(0)

    @label("plain")
    def plain(left: int) -> int:
        """Says."""
        number.value = left
        return plain(left - 1) if left else 5

    @label("async")
    async def awaited() -> str:
        await asyncio.sleep(0)
        number.value = 9
        return "done"

    assert plain(1) == 5
    assert plain.__doc__ == "Says."
    assert asyncio.run(awaited()) == "done"
    number += 1
    assert texts(journal) == [("plain",), ("plain", "plain"), ("async",), ()]

    def generator() -> Iterator[int]:
        yield 1

    async def asynchronous() -> Any:
        yield 1

    for function in (generator, asynchronous):
        with pytest.raises(TypeError, match="write a with statement in it"):
            label("x")(function)


def test_label_that_was_left_out_of_order_is_in_force_no_more(journal: Opened) -> None:
    """A generator has no context of its own: its block may end within others, or after them."""
    number = watch(0)

    def generator(text: str) -> Iterator[None]:
        with label(text):
            number.value = number.value + 1
            yield
            number.value = number.value + 1

    one, two = generator("one"), generator("two")
    next(one)
    next(two)
    with label("mine"):
        number.value = number.value + 1
        one.close()
        number.value = number.value + 1
        two.close()
        number.value = number.value + 1
    number.value = number.value + 1
    assert texts(journal) == [
        ("one",), ("two", "one"), ("mine", "two", "one"), ("mine", "two"), ("mine",), ()
    ]  # fmt: skip


def test_label_is_left_in_another_context_than_it_was_entered(journal: Opened) -> None:
    number, entered = watch(0), label("elsewhere")
    context = contextvars.copy_context()
    context.run(entered.__enter__)
    entered.__exit__(None, None, None)  # a generator that is closed by the collector, in whichever context that runs
    number += 1
    context.run(lambda: setattr(number, "value", 5))
    assert texts(journal) == [(), ()]


def test_tasks_go_on_under_the_label_that_they_were_started_under(journal: Opened) -> None:
    number = watch(0)

    async def later() -> None:
        await asyncio.sleep(0)
        number.value = number.value + 1
        with label("inner"):
            number.value = number.value + 1
        number.value = number.value + 1

    async def main() -> None:
        with label("order 17"):
            task = asyncio.create_task(later())
            thread = threading.Thread(target=lambda: setattr(number, "value", 50))
            thread.start()
            thread.join()
        number.value = number.value + 1
        await task

    asyncio.run(main())
    o = "order 17"
    assert texts(journal) == [(), (), (o,), ("inner", o), (o,)]


def test_chain_of_tasks_that_start_each_other_keeps_few_labels(journal: Opened) -> None:
    number = watch(0)

    async def link(left: int) -> None:
        with label(f"link {left}"):
            number.value = left
            if left:
                asyncio.get_running_loop().create_task(link(left - 1)).add_done_callback(lambda _: None)
            else:
                done.set_result(None)

    async def main() -> None:
        global done
        done = asyncio.get_running_loop().create_future()
        await link(60)
        await done

    asyncio.run(main())
    found = texts(journal)
    assert [each[0] for each in found] == [f"link {n}" for n in range(60, -1, -1)]
    assert max(map(len, found)) == 9
    for each in found:
        first = int(each[0].split()[1])
        assert each == tuple(f"link {first + i}" for i in range(len(each)))


done: asyncio.Future[None]


class Evil(str):
    def __str__(self) -> str:
        raise AssertionError("called")

    __repr__ = __hash__ = __len__ = __str__  # type: ignore[assignment]
    __eq__ = __str__  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('a "quote" \\ and \x00\x1f\n', 'a "quote" \\ and \x00\x1f\n'), ("é\u20ac😀", "é\u20ac😀"), ("\udc80", "?"),
        ("x" * 200, "x" * 200), ("x" * 201, "x" * 199 + "…"),
    ],
)  # fmt: skip
def test_label_s_text_is_told_as_it_is_up_to_a_length(journal: Opened, text: str, shown: str) -> None:
    number = watch(0)
    for each in (text, Evil(text)):
        with label(each):
            number += 1
    assert texts(journal) == [(shown,)] * 2


def test_labels_that_take_more_room_than_there_is_are_cut_off(journal: Opened) -> None:
    number = watch(0)
    with label("😀" * 200), label("\x01" * 200), label("é" * 200), label("y"):
        number += 1
    ((innermost, *around),) = texts(journal)
    assert innermost == "y"
    assert around[0] == "é" * 200
    assert all(text.endswith("…") for text in around[1:])


def test_label_takes_a_text() -> None:
    for wrong in (17, b"x", None):
        with pytest.raises(TypeError, match=r"label\(str\(value\)\)"):
            label(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="empty"):
        label("")
    assert memwatch_core.label is label


def test_more_labels_in_turn_than_a_thread_keeps(journal: Opened) -> None:
    number = watch(0)
    for _ in range(3):
        for i in range(200):
            with label(f"order {i}"):
                number.value = number.value + 1
    assert texts(journal) == [(f"order {i}",) for i in range(200)] * 3


def test_label_object_of_several_generators_is_never_told_where_it_is_not_in_force(journal: Opened) -> None:
    places, shared = watch(0), label("shared")
    open_at: list[list[str]] = []

    def rows() -> Iterator[int]:
        with shared:
            yield 1
            yield 2

    async def job(name: str, opened: list[Iterator[int]]) -> None:
        with label(name):
            generator = rows()
            next(generator)
            opened.append(generator)
            await asyncio.sleep(0.01)
            places.value = places.value + 1
            open_at.append([name, "" if generator.gi_frame is None else "shared"])  # type: ignore[attr-defined]

    async def main() -> None:
        opened: list[Iterator[int]] = []
        jobs = [asyncio.create_task(job(name, opened)) for name in "AB"]
        await asyncio.sleep(0)
        opened[0].close()  # type: ignore[attr-defined]
        places.value = 0
        await asyncio.gather(*jobs)

    asyncio.run(main())
    first, *rest = told(journal)
    assert first is not None
    assert first.label == ""
    for request, (name, is_open) in zip(rest, open_at, strict=True):
        assert request is not None
        assert {request.label, *request.outer} - {""} in ({name}, {name, is_open} - {""})


def test_program_s_context_has_one_variable_of_ours(journal: Opened) -> None:
    def labelled() -> list[str]:
        with label("x"):
            pass
        return [variable.name for variable in contextvars.copy_context()]

    assert contextvars.Context().run(labelled) == ["memwatch.label"]


def test_task_that_is_called_otherwise_between_writes_is_told_by_its_name_of_then(journal: Opened) -> None:
    """The name of before is freed, and its memory used again; nothing else has changed."""
    number = watch(0)

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        for i in range(100):
            task.set_name(f"item {i}")
            if i % 3 == 2:
                number.value = i

    asyncio.run(main())
    assert [request and request.task for request in told(journal)] == [f"item {i}" for i in range(2, 100, 3)]


# ---- tasks ----------------------------------------------------------------------------------------------------------


class Renamed(asyncio.Task[None]):
    def get_name(self) -> str:
        raise AssertionError("called")


def test_task_is_named_whatever_its_class_and_name(journal: Opened) -> None:
    number = watch(0)

    async def step() -> None:
        number.value = number.value + 1

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for make in (asyncio.Task, Renamed, asyncio.tasks._PyTask):  # type: ignore[attr-defined]
            for name in ("a", "é😀", "x" * 500):
                await make(step(), loop=loop, name=name)
        asyncio.current_task().set_name(7)  # type: ignore[union-attr,arg-type]
        await step()

    asyncio.run(main())
    names = ["a", "é😀", "x" * NAME_MOST + "…"]
    found = ["" if request is None else request.task for request in told(journal)]
    assert found == [*names, *names, *[""] * 3, "7"]


def test_loop_s_callbacks_run_in_no_task(journal: Opened) -> None:
    number = watch(0)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        with label("order 17"):
            loop.call_later(0, lambda: (setattr(number, "value", 1), over.set_result(None)))
        await over
        number.value = 2

    asyncio.run(main())
    assert told(journal) == [Request("order 17"), Request(task="Task-1")] or told(journal)[0] == Request("order 17")
    assert [request and request.task.startswith("Task-") for request in told(journal)] == [False, True]


# ---- OpenTelemetry --------------------------------------------------------------------------------------------------


def test_nothing_is_imported_for_it_and_what_is_imported_late_is_found(tmp_path: Path) -> None:
    program = """
import sys
from memwatch_core import watch
number, view = watch(0), None
number += 1
assert not {"opentelemetry", "opentelemetry.context", "asyncio"} & set(sys.modules)
view = memoryview(number).cast("B").cast("q")
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
with TracerProvider().get_tracer("x").start_as_current_span("a") as span:
    view[0] = 5
    number += 1
    with trace.use_span(trace.INVALID_SPAN):
        number += 1
    context = span.get_span_context()
    print(f"{context.trace_id:032x} {context.span_id:016x}", file=open("ids", "w"))
number += 1
"""
    events = written(program, tmp_path)
    ids = (tmp_path / "ids").read_text().split()
    requests = [event.request for event in events if event.changed]
    expected = Request(trace_id=ids[0], span_id=ids[1])
    assert [request for request in requests if request is not None] == [expected] * (len(requests) - 3)
    assert [requests[0], requests[-1], requests[-2]] == [None, None, None]


ODD = """
import sys, types
from contextvars import ContextVar
from memwatch_core import watch
class Runtime: pass
class Slots: __slots__ = ("_current_context",)
class Span:
    def __getattribute__(self, name): raise AssertionError("called")
class Context(dict):
    def __getitem__(self, key): raise AssertionError("called")
    get = __contains__ = __iter__ = __getitem__
variable = ContextVar("current_context")
runtime = Runtime()
runtime._current_context = variable
context = types.ModuleType("opentelemetry.context")
propagation = types.ModuleType("opentelemetry.trace.propagation")
context._RUNTIME_CONTEXT, propagation._SPAN_KEY = runtime, "key"
sys.modules |= {"opentelemetry.context": context, "opentelemetry.trace.propagation": propagation}
number = watch(0)
def span(ids):
    made = object.__new__(Span)
    object.__getattribute__(made, "__dict__")["_context"] = ids
    return made
odd = [None, (), (1,), (0, 1), (1, 0), (-1, 1), (2 ** 128, 1), (1, 2 ** 64), ("a", "b"), (True, 1), [1, 2]]
for value in (None, {}, 5, Context(), Context(other=1), Context(key=None), *[Context(key=span(ids)) for ids in odd]):
    variable.set(value)
    number += 1
variable.set(Context({i: i for i in range(500)} | {"key": span((0xabc, 0xdef, False))}))
number += 1
"""


def test_what_only_looks_like_opentelemetry_is_looked_at_and_not_called(tmp_path: Path) -> None:
    *odd, last = [event.request for event in written(ODD, tmp_path)]
    assert odd == [None] * 17
    assert last == Request(trace_id=f"{0xABC:032x}", span_id=f"{0xDEF:016x}")


# ---- in the journal -------------------------------------------------------------------------------------------------


def records_of(session: Path) -> Iterator[tuple[int, int, int]]:
    """Segment, kind and request of each record."""
    (journal,) = session.glob("*.mwj")
    reader = JournalReader(journal)
    for record in reader.records():
        yield record.slot // SEGMENT_SLOTS, record.kind, record.id if record.kind == Kind.REQUEST else record.request
    reader.close()


LABELS = """
from memwatch_core import label, watch
number = watch(0)
view = memoryview(number).cast("B").cast("q")
for i in range(120_000):
    with label(f"order {i % 7}"):
        if i % 50: number.value = i
        else: view[0] = i
"""


def check_labels(events: list[Event]) -> None:
    for event in events:
        if event.changed and (number := int.from_bytes(event.after, "little")):
            assert event.request == Request(f"order {number % 7}"), event.seq


def test_each_segment_says_the_requests_that_its_stores_name(tmp_path: Path) -> None:
    events = written(LABELS, tmp_path)
    assert len(events) >= 119_999
    check_labels(events)
    (session,) = (tmp_path / "sessions").iterdir()
    said: dict[int, set[int]] = {}
    for segment, kind, request in records_of(session):
        if kind == Kind.REQUEST:
            said.setdefault(segment, set()).add(request)
        elif kind == Kind.STORE:
            assert request in said[segment]
    assert len(said) >= 7
    assert all(len(each) == 7 for each in said.values())
    assert len(set().union(*said.values())) == 7, "the same request keeps its id"


@pytest.mark.parametrize("policy", ["rotate", "drop"])
def test_journal_at_its_limit_has_the_request_of_each_event(tmp_path: Path, policy: str) -> None:
    limit = {"MEMWATCH_JOURNAL_MAX_BYTES": str(4 << 20), "MEMWATCH_JOURNAL_POLICY": policy}
    events = written(LABELS, tmp_path, MEMWATCH_WATCH_STACK="4", **limit)
    assert 10_000 < len(events) < 120_000
    assert (events[0].seq > 1) == (policy == "rotate")
    check_labels(events)
    assert all(event.stack == () for event in events)


def test_large_writes_of_several_records_have_their_request(tmp_path: Path) -> None:
    program = """
from memwatch_core import label, watch
buffer = watch(bytearray(20_000))
for i in range(40):
    with label(f"order {i}"):
        buffer[:] = bytes([i + 1]) * 20_000
"""
    events = written(program, tmp_path, MEMWATCH_WATCH_STACK="16")
    assert len(events) > 160
    assert all(event.request == Request(f"order {event.after[-1] - 1}") and event.stack == () for event in events)


def test_forked_children_say_the_requests_that_they_use(tmp_path: Path) -> None:
    program = """
import asyncio, os
from memwatch_core import label, watch
number = watch(0)
def children(n):
    for i in range(n):
        pid = os.fork()
        if not pid:
            number.value = 100 + i
            with label("in the child"): number.value = 200 + i
            os._exit(0)
        os.waitpid(pid, 0)
async def main():
    number.value = 2
    children(2)
    number.value = 3
with label("order 17"):
    number.value = 1
    children(2)
    asyncio.run(main())
"""
    events = written(program, tmp_path)
    assert len({event.pid for event in events}) == 5
    requests = {}
    for event in events:
        requests.setdefault(int.from_bytes(event.after, "little"), []).append(event.request)
    o = "order 17"
    assert requests[1] == [Request(o)]
    assert requests[2] == requests[3] == [Request(o, task="Task-1")]
    # the child of a task runs no loop: asyncio.current_task() says so, too
    assert requests[100] == requests[101] == [Request(o)] * 2
    assert requests[200] == requests[201] == [Request("in the child", (o,))] * 2


def test_event_has_statement_callers_and_request_at_once(tmp_path: Path) -> None:
    program = """
import sqlite3
from memwatch_core import label, watch
number = watch(0, track_sql=True)
view = memoryview(number).cast("B").cast("q")
def write():
    number.value = 7
    view[0] = 9
db = sqlite3.connect(":memory:")
with label("order 17"):
    db.execute("SELECT 1")
    write()
"""
    events = [event for event in written(program, tmp_path, MEMWATCH_WATCH_STACK="16") if any(event.after)]
    for event in events:
        assert event.context is not None
        assert event.context.statement == "SELECT ?"
        assert event.request == Request("order 17")
        assert event.stack is not None
        assert [frame.function for frame in event.stack] == ["<module>"]
    assert events[0].origin == "announced"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="objects are watched in place from CPython 3.12 on")
def test_places_have_their_request_and_what_is_found_has_none(tmp_path: Path) -> None:
    program = """
from memwatch_core import label, watch
class Order: pass
order = Order()
order.qty, order.lines, order.tags = 1, [1], {1}
order.raw = bytearray(b"abc")
watch(order)
with label("order 17"):
    order.qty = 2
    order.lines.append(3)
    order.tags.add(4)
    order.raw[0] = 7
order.qty = 5
"""
    events = written(program, tmp_path)
    by_name = {}
    for event in events:
        assert event.part is not None
        by_name.setdefault(event.part.name, []).append((event.origin, event.request))
    assert by_name[".qty"] == [("announced", Request("order 17")), ("announced", None)]
    assert by_name[".lines[1]"] == [("announced", Request("order 17"))]
    assert all(request == Request("order 17") for origin, request in by_name[".tags{4}"] if origin == "announced")
    assert all(request is None for each in by_name.values() for origin, request in each if origin == "found")


def test_handler_in_c_that_stores_in_the_midst_of_ours_changes_no_event_s_request(tmp_path: Path) -> None:
    """Whenever it comes, its own events and those that it has interrupted are of the label in force, or of none."""
    (tmp_path / "handler.c").write_text(HANDLER)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", "handler.so", "handler.c"], cwd=tmp_path, check=True)
    program = """
import ctypes, time
from memwatch_core import label, watch
number, ticks = watch(0, name="number"), watch(0, name="ticks")
library = ctypes.CDLL("./handler.so")
maps = [line.split() for line in open("/proc/self/maps") if "/_core." in line and "r-xp" in line]
first, end = (int(number, 16) for number in maps[0][0].split("-"))
where = ctypes.addressof(ctypes.c_long.from_buffer(memoryview(ticks).cast("B")))
library.start(*map(ctypes.c_size_t, (where, first, end)))
stop, i = time.monotonic() + 0.5, 0
while time.monotonic() < stop:
    i += 1
    with label(f"order {i % 100}"):
        number.value = i
library.stop()
"""
    events = written(program, tmp_path)
    named = [event for event in events if event.variable == "number"]
    assert len(named) > 1000
    assert len(events) - len(named) > 20
    for event in named:
        assert event.request in (None, Request(f"order {int.from_bytes(event.after, 'little') % 100}"))
    assert sum(event.request is None for event in named) < len(named) / 20
    assert all(event.request is None or event.request.label.startswith("order ") for event in events)
