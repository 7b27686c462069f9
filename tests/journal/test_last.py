"""The last events of a session, found without making the others, are the tail of what reading all of it gives."""

from __future__ import annotations

import mmap
import os
import random
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from decoding import q
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journal_writer import CONTEXT, METADATA, OUTCOME, PAD, SEGMENT, STORE, THREAD, TIME, VARIABLE, JournalWriter, cell

from memwatch_core.cli.filters import Filters
from memwatch_core.host import history, kept, merge
from memwatch_core.journal import reader
from memwatch_core.journal.file import JournalFile
from memwatch_core.records import Event

pytestmark = pytest.mark.usefixtures("loop")
EXAMPLES = 150 if os.environ.get("MEMWATCH_SOAK") else 15
NAMES = ("total", "total 2", "price", "order.qty", "tag")
PARTS = ("tag[3]", "tag[0:40]", "len(tag)", "order.qty", "nosuch[1]")
PATHS = ("order*", "order.*", "*.a", "total.?", "total 2[0]", "nosuch*")
STATEMENTS = ("SELECT a FROM orders", "UPDATE orders SET a = ?", "DELETE FROM x")


class Program:
    """One process's journal: whatever a writer may do, in any order, and times that go back now and then."""

    def __init__(self, rng: random.Random, pid: int, steps: int) -> None:
        self.rng, self.writer = rng, JournalWriter(pid=pid)
        self.values: dict[int, bytes] = {}
        self.slabs: set[int] = set()
        self.contexts: list[int] = []
        others = self.place, self.watch, self.unwatch, self.site, self.open, self.settle, self.rename, self.lose
        self.watch()
        for _ in range(steps):
            rng.choice((self.store,) * 30 + others)()

    def time(self) -> int:
        """Few different ones: many records of several processes have the same. One in a hundred is of the future."""
        writer, rng = self.writer, self.rng
        if rng.random() < 0.01:
            return 2**63 - rng.randrange(3)
        writer.clock += rng.choice((0, 0, 1000, 1000, -3000, 20_000))
        return writer.clock

    def watch(self) -> None:
        ident = len(self.values) + 1
        size, serializer = self.rng.choice(
            ((8, "int64"), (8, "float64"), (24, "bytearray"), (40, ""), (8, "nobody's"), (128, ""))
        )
        options = {"capacity": 16} if serializer == "bytearray" else {}
        self.values[ident] = bytes(size)
        self.writer.variable(ident, size, time=self.time())
        if self.rng.random() < 0.9:  # otherwise it is never described
            slab = {"cells": 64, "first": self.rng.choice((None, None, ident - 1, ident))} if size == 128 else {}
            self.slabs.update([ident] if slab else [])
            self.writer.metadata(ident, name=self.rng.choice(NAMES), serializer=serializer, options=options, **slab)

    def place(self) -> None:
        if self.slabs:
            path = self.rng.choice((".a", ".b.a", "[0]"))
            self.writer.place(self.rng.choice([*self.slabs]), 64 * self.rng.randrange(2), path, time=self.time())

    def unwatch(self) -> None:
        if self.values and self.rng.random() < 0.3:
            self.writer.unregistered(self.rng.choice([*self.values]))

    def site(self) -> None:
        self.writer.site(self.rng.randrange(1, 5), f"/srv/{self.rng.choice('abc')}.py", self.rng.randrange(1, 40), "f")

    def rename(self) -> None:
        self.writer.thread(self.rng.randrange(1, 4), f"worker-{self.rng.randrange(3)}")

    def lose(self) -> None:
        """A store that isn't recorded: what is known of the variable is wrong from now on."""
        ident = self.rng.choice([*self.values])
        if self.rng.random() < 0.5:
            self.values[ident] = self.rng.randbytes(len(self.values[ident]))

    def open(self) -> None:
        ident = self.rng.randrange(1, 60)
        self.contexts.append(ident)
        self.writer.json(CONTEXT, ident, {
            "driver": "sqlite3", "statement": self.rng.choice(STATEMENTS), "statement_hash": f"{ident:04x}",
            "transaction": self.rng.choice((0, 1, ident)),
        })  # fmt: skip

    def settle(self) -> None:
        if self.contexts:
            scope = self.rng.choice(("", "", "transaction", "savepoint"))
            outcome = self.rng.choice(("ended", "open", "committed", "rolled back", "failed: IntegrityError"))
            self.writer.json(OUTCOME, self.rng.choice(self.contexts), {"outcome": outcome, "scope": scope})

    def store(self) -> None:
        rng, ident = self.rng, self.rng.choice([*self.values])
        value = self.values[ident]
        start = rng.randrange(len(value)) if rng.random() < 0.3 else 0
        stop = rng.randrange(start, len(value)) + 1 if rng.random() < 0.3 else len(value)
        after = rng.randbytes(stop - start) if rng.random() < 0.8 else value[start:stop]
        if ident in self.slabs and rng.random() < 0.9:
            start, after = 64 * rng.randrange(2), cell(rng.choice((..., None, 7, "text", ("[1]",)))).ljust(16, b"\0")
            stop = start + 16
        origin = rng.choice((1, 2, 2, 3, 4, 5, 9))
        context = rng.choice(self.contexts[-3:]) if self.contexts and rng.random() < 0.6 else 0
        self.writer.store(
            ident if rng.random() < 0.98 else 77, start, value[start:stop], after, site=rng.randrange(5),
            context=context, tid=rng.randrange(4), origin=origin, flags=rng.choice((0, 0, 1, 2)), time=self.time(),
        )  # fmt: skip
        self.values[ident] = value[:start] + after + value[stop:]

    def rotated(self) -> bytes:
        """Its first segment was given back to the disk; some of what stood there is copied behind it."""
        writer, rng = self.writer, self.rng
        gone = sum(writer.slots[at] == STORE for at in range(0, len(writer.slots), 64))
        while room := SEGMENT - writer.position:
            writer.slots += struct.pack("<BBBB60x", PAD, min(room, 255), 0, 0) + bytes(64 * (min(room, 255) - 1))
        for ident, value in self.values.items():
            if rng.random() < 0.7:
                head = struct.pack("<IQIIQQQQ", 7, TIME, ident, 1, len(value), 0, 2**64 - 1, 0)
                writer.record(VARIABLE, head, 64, flags=64)
                about = f'{{"name": "{rng.choice(NAMES)}", "serializer": ""}}'.encode()
                writer.blob(METADATA, ident, about, flags=64, time=TIME)
        writer.blob(THREAD, 0, b"worker-7", tid=2, flags=64, time=TIME)
        for _ in range(40):
            self.store()
        data = bytearray(writer.bytes())
        data[10:12] = struct.pack("<H", 2)
        data[208:248] = struct.pack("<QQQQI4x", SEGMENT, gone, gone, 4 << 20, 2)
        data[4096 : 4096 + SEGMENT * 64] = bytes(SEGMENT * 64)
        return bytes(data)

    def damaged(self, data: bytes) -> bytes:
        """Some bytes of its slots are others, and perhaps the file is cut short."""
        spoilt, end = bytearray(data), 4096 + len(self.writer.slots)
        for _ in range(self.rng.randrange(1, 12)):
            at = self.rng.randrange(4096, end)
            spoilt[at if self.rng.random() < 0.3 else at - at % 64 + self.rng.randrange(4)] = self.rng.randrange(256)
        return bytes(spoilt[: self.rng.randrange(4096, end)] if self.rng.random() < 0.3 else spoilt)


def session(folder: Path, rng: random.Random, held: ExitStack) -> Path:
    """A session of some processes, of which one may still run: this one."""
    for path in folder.glob("*.mwj"):
        path.unlink()
    for number in range(rng.randrange(1, 4)):
        runs = number == 0 and rng.random() < 0.3
        program = Program(rng, os.getpid() if runs else 3_999_990 + number, rng.choice((0, 3, 40, 400)))
        if runs or rng.random() < 0.3:
            program.writer.closed = 0
        data = program.rotated() if rng.random() < 0.1 else program.writer.bytes(whole_segments=rng.random() < 0.5)
        if rng.random() < 0.4:
            data = program.damaged(data)
        path = folder / f"{program.writer.pid}-python.mwj"
        path.write_bytes(data)
        if runs:
            with path.open("r+b") as file:
                held.enter_context(mmap.mmap(file.fileno(), 4096))
    return folder


def filters(rng: random.Random) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if rng.random() < 0.4:
        found["variables"] = rng.sample([*NAMES, "tot*", "variable 77", "nosuch"], rng.randrange(1, 3))
    if rng.random() < 0.2:
        found["threads"] = rng.sample(["worker-1", "worker*", "2", "nosuch"], 1)
    if rng.random() < 0.2:
        found["statements"] = rng.sample(["*", "orders", "0007", "nosuch"], 1)
    if rng.random() < 0.2:
        found["places"] = rng.sample(["a.py", "b.py:10-30", ":7", "nosuch.py"], 1)
    if rng.random() < 0.2:
        found["outcomes"] = rng.sample(["committed", "rolled-back", "open", "failed"], 1)
    if rng.random() < 0.2:
        found["since"] = rng.choice((0, TIME + 30_000, TIME + 10**9, 2**63 - 1))
    return found


def whole(path: Path, most: int, wanted: Filters) -> tuple[list[Event], int]:
    """The tail of everything, and how many events there are."""
    records = [(each, wanted(each)) for batch in history.read(path, lambda _: None) for each in batch]
    events = [(record, passes) for record, passes in records if isinstance(record, Event)]
    return [event for event, passes in events if passes][-most:], len(events)


@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**64))
def test_last_events_are_the_tail_of_all(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    with ExitStack() as held, pytest.MonkeyPatch.context() as patch:
        slots = rng.choice((255, 300, reader.BLOCK_SLOTS))
        patch.setattr(merge, "BLOCK_SLOTS", slots)  # several blocks though there are few records
        patch.setattr(reader, "BLOCK_SLOTS", slots)
        path = session(tmp_path, rng, held)
        for _ in range(4):
            most, asked = rng.choice((1, 2, 10, 100, 10**9)), filters(rng)
            wanted = Filters(**asked)
            patch.setattr(history, "MANY", rng.choice((0, 5, 20_000)))
            judged = "outcomes" in asked
            tail = history.last(path, most, wanted.wanted, wanted.since, wanted, by_outcome=judged)
            everything = Filters(**asked)
            expected = whole(path, most, everything)
            if tail is None:
                continue
            assert bool(wanted.failed()) == bool(everything.failed())
            assert [*map(repr, tail.events)] == [*map(repr, expected[0])], (most, asked)  # nan isn't itself
            assert tail.seen == expected[1]


def given_out(path: Path, asked: dict[str, Any], only: bool) -> tuple[list[str], int, list[str]]:
    """What passes, how many events there are, and what is said of filters that were mistakes."""
    wanted, seen, shown = Filters(**asked), 0, []

    def left_out(events: int) -> None:
        nonlocal seen
        seen += events

    chosen = history.Only(wanted.possible, wanted.possible_since, wanted, left_out) if only else None
    for batch in history.read(path, lambda _: None, only=chosen):
        left_out(sum(isinstance(record, Event) for record in batch))
        again = wanted.by_part or not only
        shown += [repr(each) for each in batch if (only and not isinstance(each, Event)) or not again or wanted(each)]
    return shown, seen, wanted.failed()


@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**64))
def test_what_passes_a_filter_is_what_passes_it_of_everything(tmp_path: Path, seed: int) -> None:
    """Events, losses, beginnings and ends of watches, in one order, though the others were never made."""
    rng = random.Random(seed)
    with ExitStack() as held, pytest.MonkeyPatch.context() as patch:
        slots = rng.choice((255, 300, reader.BLOCK_SLOTS))
        patch.setattr(merge, "BLOCK_SLOTS", slots)
        patch.setattr(reader, "BLOCK_SLOTS", slots)
        path = session(tmp_path, rng, held)
        for _ in range(4):
            asked = filters(rng)
            if rng.random() < 0.3:
                asked["variables"] = rng.sample(PARTS, rng.randrange(1, 3))
            if rng.random() < 0.3:
                asked["paths"] = rng.sample(PATHS, rng.randrange(1, 3))
            fast, slow = given_out(path, asked, only=True), given_out(path, asked, only=False)
            assert fast[0] == slow[0], asked
            assert fast[1] == slow[1]
            assert bool(fast[2]) == bool(slow[2])


@pytest.mark.parametrize("asked", [{}, {"variables": ["n1"]}], ids=["all", "one variable"])
def test_events_of_one_moment_are_in_the_order_of_their_journals(tmp_path: Path, asked: dict[str, Any]) -> None:
    for pid in (1, 2, 3):
        writer = JournalWriter(pid=pid)
        writer.watch(1, q(0), f"n{pid}")
        for number in range(5000):
            writer.store(1, 0, q(number), q(number + 1), time=TIME + 10**6 + number // 2500)
        writer.save(tmp_path)
    order = [event.pid for event in whole(tmp_path, 10**9, Filters())[0]]
    assert order == [1] * 2500 + [2] * 2500 + [3] * 2500 + [1] * 2500 + [2] * 2500 + [3] * 2500
    wanted = Filters(**asked)
    tail = history.last(tmp_path, 6000, wanted.wanted, wanted.since, wanted)
    assert tail is not None
    assert tail.events == whole(tmp_path, 6000, Filters(**asked))[0]


def test_what_depends_on_how_much_is_read_at_once_is_not_relied_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pid in (1, 2):
        writer = JournalWriter(pid=pid)
        writer.watch(1, bytes(64), "a", serializer="")
        writer.watch(2, bytes(64), "b", serializer="")
        for number in range(30):
            writer.store(1 + number % 2, 0, q(number // 2), q(number // 2 + 1))
        writer.save(tmp_path)
    assert history.last(tmp_path, 3, None, 0, lambda _: None) is not None
    with monkeypatch.context() as patch:
        patch.setattr(kept, "KEPT_LIMIT", 0)
        patch.setattr(JournalFile, "occupied", lambda self: 0)
        assert history.last(tmp_path, 3, None, 0, lambda _: None) is None
    monkeypatch.setattr(merge, "room", lambda: 1)
    assert history.last(tmp_path, 3, None, 0, lambda _: None) is None


def test_few_events_are_made_where_few_are_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = JournalWriter()
    for ident in (1, 2):
        writer.watch(ident, q(0), f"n{ident}")
    for number in range(20_000):
        writer.store(1 + number % 2, 0, q(number // 2), q(number // 2 + 1), site=number % 3, tid=number % 5)
    path = writer.save(tmp_path)
    made = 0

    class Counted(Event, frozen=True):
        def __post_init__(self) -> None:
            nonlocal made
            made += 1

    from memwatch_core.host import decoder

    monkeypatch.setattr(decoder, "Event", Counted)
    monkeypatch.setattr(history, "MANY", 100)
    wanted = Filters(variables=["n2"])
    for asked in ({"places": ["nosuch"]}, {"variables": ["n3[3]"]}, {"since": 2**62}):
        made = 0
        assert given_out(path, asked, only=True)[:2] == ([], 20_000)
        if decoder.Stores.__module__.endswith("_reader"):
            assert made < 100, "one for each combination"
    for passes in (None, wanted.wanted):
        made = 0
        tail = history.last(path, 20, passes, 0, wanted)
        assert tail is not None
        assert [event.seq for event in tail.events][-1] == 20_000
        assert len(tail.events) == 20
        if decoder.Stores.__module__.endswith("_reader"):
            assert made < 3000, "a block or two, and one for each combination"
