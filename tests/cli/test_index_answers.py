"""``memwatch blame``, ``history``, ``at`` and ``diff`` say with the index beside a journal what they say without."""

from __future__ import annotations

import random
import struct
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "journal"))
import test_last
from journal_writer import CONTEXT, OUTCOME, JournalWriter, cell
from test_index import NEVER, Calm
from test_last import EXAMPLES, NAMES, session

from memwatch_core.cli.group import group
from memwatch_core.host import indexing, merge, skipping
from memwatch_core.journal import index as index_file
from memwatch_core.journal import reader
from memwatch_core.journal.file import JournalFile

BY = ("site", "thread", "statement", "function", "stack", "label", "task", "trace")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a few slots, stretches of a few parts, and an index for journals of any size."""
    monkeypatch.setattr(indexing, "LEAST", 1)
    monkeypatch.setattr(index_file.Index, "pays", lambda index: True)
    monkeypatch.setattr(indexing, "SHARE", 1)
    monkeypatch.setattr(reader, "BLOCK_SLOTS", 255)
    monkeypatch.setattr(merge, "BLOCK_SLOTS", 255)
    sized(monkeypatch, 20, 4)


def sized(monkeypatch: pytest.MonkeyPatch, slots: int, parts: int) -> None:
    monkeypatch.setattr(indexing, "PART_SLOTS", slots)
    for module in (indexing, skipping, index_file):
        monkeypatch.setattr(module, "STRETCH", parts)


def said(path: Path, *arguments: str, with_index: bool) -> tuple[int, str, str, str]:
    """What a command prints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexing, "LEAST", 1 if with_index else NEVER)
        done = CliRunner().invoke(group, [*arguments, "--session", str(path)], terminal_width=100)
    told = done.exception
    if told is not None and not isinstance(told, SystemExit):
        assert type(told).__name__ in ("SessionError", "JournalError"), repr(told)
        return 2, done.stdout, done.stderr, str(told)
    return done.exit_code, done.stdout, done.stderr, ""


def moment(rng: random.Random, times: list[str], events: int, pid: int) -> str:
    return rng.choice((rng.choice(times), f"{pid}:{rng.randrange(1, events + 2)}", "start", "end", rng.choice(times)))


def question(rng: random.Random, names: list[str], when: Any) -> list[str]:
    """Any of the questions."""
    name, json = rng.choice(names), ["--json"] if rng.random() < 0.4 else []
    kind = rng.choice(("blame", "blame", "blame", "history", "at", "diff"))
    if kind == "blame":
        asked = ["blame", name]
        asked += ["--at", when()] if rng.random() < 0.4 else []
        asked += ["--since", when()] if rng.random() < 0.4 else []
        asked += ["--by", rng.choice(BY)] if rng.random() < 0.4 else []
        return asked + json + (["--each"] if rng.random() < 0.2 else [])
    if kind == "history":
        asked = ["history", name, *(["--until", when()] if rng.random() < 0.4 else [])]
        return asked + json + (["--since", when()] if rng.random() < 0.4 else [])
    some = [] if rng.random() < 0.5 else rng.sample(names, rng.randrange(1, 3))
    return [kind, when(), *([when()] if kind == "diff" else []), *some, *json]


def check(path: Path, rng: random.Random, names: list[str], when: Any, count: int) -> None:
    for _ in range(count):
        asked = question(rng, names, when)
        expected = said(path, *asked, with_index=False)
        assert said(path, *asked, with_index=True) == expected, asked


@settings(deadline=None, max_examples=EXAMPLES // 3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**64))
def test_answers_are_the_same_with_and_without(tmp_path: Path, seed: int) -> None:
    """Several processes, damaged files, rotated ones, one whose process runs: whatever a session may be."""
    rng = random.Random(seed)
    for path in tmp_path.glob("*.mwi"):
        path.unlink()
    with ExitStack() as held, pytest.MonkeyPatch.context() as patch:
        sized(patch, rng.choice((1, 20, 60, 300)), rng.choice((2, 4)))
        patch.setattr(test_last, "Program", rng.choice((test_last.Program, Calm)))
        path = session(tmp_path, rng, held)
        pid = int(next(path.glob("*.mwj")).name.partition("-")[0])

        def when() -> str:
            second = f"2023-11-14T22:13:20.{rng.choice((0, 10, 100, 300, 1000, 5000)):06}"
            return moment(rng, [second, "2023-11-14T22:13:20+00:00"], 400, pid)

        check(path, rng, [*NAMES, "tag[3:7]", "len(tag)", "order.qty.a", "tot*", "total#1", "variable 77"], when, 4)


def q(number: int) -> bytes:
    return struct.pack("<q", number)


OTHERS = 10


class Service:
    """A program of the usual kind: counters, an array, a buffer, an object; threads, statements, lines; and losses."""

    def __init__(self, rng: random.Random, pid: int) -> None:
        self.rng, self.writer = rng, JournalWriter(pid)
        writer = self.writer
        self.values: dict[int, bytes] = {}
        for ident, (name, data, serializer, options) in enumerate(
            (
                ("total", q(0), "int64", {}), ("hits", q(5), "int64", {}),
                ("price", struct.pack("<d", 1.5), "float64", {}), ("grid", bytes(24), "struct", {"format": "<6i"}),
                ("order", bytes(20), "struct", {"format": "<qd4s", "fields": ["qty", "price", "tag"]}),
                ("data", q(20) + bytes(40), "bytearray", {"capacity": 40}), ("raw", bytes(32), "", {}),
                ("ok", b"\1", "bool", {}),
            ), 1,
        ):  # fmt: skip
            self.values[ident] = data
            writer.watch(ident, data, name, serializer, options=options)
        for site in range(1, 5):
            writer.site(site, f"/srv/shop/{'ab'[site % 2]}.py", 10 * site, "f")
        writer.stack(1, [2, 3])
        writer.thread(7, "MainThread")
        writer.thread(8, "worker-1")
        writer.request(1, label="order 17", task="t", trace_id="ab" * 16)
        writer.slab(20, "cart")
        for at, path in enumerate((".a", ".b", ".items[0]", ".items[1]")):
            writer.place(20, 64 * at, path)
        self.cells = [cell()] * 4
        self.context = self.next = 0
        self.threads = rng.choice(((7,), (7, 8), (7, 8, 8, 8)))
        self.stale: dict[int, int] = {}

    def store(self, ident: int, offset: int, after: bytes, *, site: int = 0, tid: int = 0, origin: int = 1) -> None:
        rng, value = self.rng, self.values[ident]
        self.writer.store(
            ident, offset, value[offset : offset + len(after)], after, site=site or rng.randrange(5),
            tid=tid or rng.choice(self.threads),
            context=self.context, stack=rng.choice((None, None, 1)), request=rng.choice((None, 1)), origin=origin,
        )  # fmt: skip
        self.values[ident] = value[:offset] + after + value[offset + len(after) :]

    def count(self) -> None:
        """Adds to a counter, now and then from a value that it had read before."""
        tid, ident = self.rng.choice(self.threads), self.rng.choice((1, 2))
        now = struct.unpack("<q", self.values[ident])[0]
        base = self.stale.pop(tid, now) if ident == 1 and self.rng.random() < self.lossy else now
        self.stale[tid] = now
        self.store(ident, 0, q(base + 3), site=ident, tid=tid)

    def write(self) -> None:
        rng = self.rng
        ident = rng.choice((3, 4, 5, 6, 7, 8))
        if ident == 3:
            self.store(3, 0, struct.pack("<d", rng.choice((rng.random(), float("nan"), 2.5))))
        elif ident == 4:
            self.store(4, 4 * rng.randrange(6), struct.pack("<i", rng.randrange(-9, 9)))
        elif ident == 5:
            offset, data = rng.choice(
                ((0, q(rng.randrange(9))), (8, struct.pack("<d", 0.5)), (16, b"abcd"), (16, b"xyzw"))
            )
            self.store(5, offset, data)
        elif ident == 6 and rng.random() < 0.1:
            self.store(6, 0, q(rng.randrange(41)))
        elif ident == 8:
            self.store(8, 0, rng.choice((b"\0", b"\1")), origin=2)
        else:
            start = rng.randrange(8 if ident == 6 else 0, 30)
            self.store(ident, start, rng.randbytes(rng.randrange(1, 3)), origin=rng.choice((1, 2)))

    def place(self) -> None:
        at, after = self.rng.randrange(4), cell(self.rng.choice((..., None, 7, 8, "text", ("[1]",))))
        self.writer.change(20, 64 * at, self.cells[at], after, site=self.rng.randrange(5))
        self.cells[at] = after

    def statement(self) -> None:
        if self.context:
            self.writer.json(OUTCOME, self.context, {"outcome": self.rng.choice(("ended", "committed", "rolled back"))})
            self.context = 0
        else:
            self.next += 1
            self.context = self.next
            self.writer.json(
                CONTEXT,
                self.next,
                {"id": self.next, "statement_hash": "0a", "driver": "sqlite3", "statement": f"SELECT {self.next % 3}"},
            )

    def other(self, kind: int | None = None) -> None:
        """Something that is said in the midst."""
        rng, writer, ident = self.rng, self.writer, len(self.values) + 30
        kind = rng.randrange(OTHERS) if kind is None else kind
        if kind == 0:
            self.values[ident] = q(1)
            writer.watch(ident, q(1), rng.choice(("late", "total")), "int64")
            self.store(ident, 0, q(2))
        elif kind == 1:
            writer.thread(8, f"worker-{rng.randrange(1000)}")
        elif kind == 2:
            writer.site(rng.randrange(1, 5), "/srv/shop/c.py", rng.randrange(90), "g")
        elif kind == 3:
            self.values[1] = q(rng.randrange(99))  # nobody told
        elif kind == 4:
            writer.unregistered(rng.choice([ident for ident in self.values if ident > 30] or [99]))
        elif kind == 5:
            writer.place(20, 64 * rng.randrange(4), rng.choice((".c", ".items[2]")))
        elif kind == 6:
            writer.content(7, self.values[7][:4])
        elif kind == 7:
            writer.metadata(2, name=rng.choice(("hits", "strikes")), serializer="int64")
        elif kind == 8:  # another variable of the same number
            writer.unregistered(4)
            self.values[4] = bytes(24)
            writer.watch(4, bytes(24), "grid", rng.choice(("", "struct")), options={"format": "<3q"})
        else:
            writer.alias(20, 64 * rng.randrange(2), rng.choice(([], [(20, ".z")])))

    def run(self, steps: int, odd: float) -> None:
        rng = self.rng
        self.lossy = rng.choice((0, 0, 0.05))
        kinds = (
            [self.count] * rng.choice((0, 1, 20))
            + [self.write] * rng.choice((1, 10))
            + [self.place] * rng.choice((0, 0, 1))
        )
        kinds += [self.statement] * rng.choice((0, 0, 1))
        for _ in range(steps):
            (self.other if rng.random() < odd else rng.choice(kinds))()


QUESTIONS = [
    ["blame", "raw", "--by", "thread"], ["blame", "raw", "--by", "site", "--json"], ["blame", "grid"],
    ["at", "4242:700", "--json", "raw"], ["diff", "4242:350", "end"],
]  # fmt: skip


@pytest.mark.parametrize("kind", range(OTHERS))
def test_what_is_said_in_the_midst_changes_no_answer(tmp_path: Path, kind: int) -> None:
    service = Service(random.Random(kind), 4242)
    service.threads = 7, 8
    for _ in range(2):
        service.run(300, 0)
        service.other(kind)
    service.run(300, 0)
    path = service.writer.save(tmp_path, whole_segments=False)
    for asked in QUESTIONS:
        assert said(path, *asked, with_index=True) == said(path, *asked, with_index=False), asked


@pytest.mark.parametrize("lost", [0, 1, 5])
def test_lost_updates_are_found_in_the_midst_of_others(tmp_path: Path, lost: int) -> None:
    """Two threads add to a number; some of what they add is lost."""
    writer, now, stale = JournalWriter(), 0, 0
    writer.site(1, "/srv/shop/a.py", 7, "add")
    writer.watch(1, q(0), "total")
    for turn in range(900):
        base = stale if turn in range(450, 450 + 7 * lost, 7) else now
        writer.store(1, 0, q(now), q(base + 3), site=1, tid=7 + turn // 5 % 2 if base == now else 9)
        stale, now = now, base + 3
    path = writer.save(tmp_path, whole_segments=False)
    found = said(path, "blame", "total", with_index=True)
    assert found == said(path, "blame", "total", with_index=False)
    assert ("lost update" in found[1]) == bool(lost)


def test_questions_are_answered_by_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by reading everything."""
    writer = JournalWriter()
    writer.site(1, "/srv/shop/a.py", 7, "add")
    writer.thread(7, "MainThread")
    for ident, name in ((1, "total"), (2, "hits")):
        writer.watch(ident, q(0), name)
    for turn in range(6000):
        writer.store(1 + turn % 2, 0, q(turn // 2), q(turn // 2 + 1), site=1)
    path = writer.save(tmp_path, whole_segments=False)
    said(path, "at", "end", with_index=True)
    slots, real = [0], JournalFile.read

    def read(self: JournalFile, slot: int, view: memoryview) -> int:
        slots[0] += (count := real(self, slot, view))
        return count

    monkeypatch.setattr(JournalFile, "read", read)
    for asked in (["blame", "total"], ["blame", "hits", "--by", "site"], ["at", "4242:3000"], ["diff", "start", "end"]):
        slots[0] = 0
        assert said(path, *asked, with_index=True)[0] == 0
        assert slots[0] < 3000, asked


def test_damaged_index_changes_no_answer(tmp_path: Path) -> None:
    rng = random.Random(7)
    service = Service(rng, 4242)
    service.run(600, 0.002)
    path = service.writer.save(tmp_path, whole_segments=False)
    for asked in (
        ["blame", "data"],
        ["blame", "total", "--by", "site"],
        ["at", "4242:400"],
        ["diff", "4242:300", "end"],
    ):
        expected = said(path, *asked, with_index=False)
        for _ in range(3):
            index = path.with_suffix(".mwi")
            index.unlink(missing_ok=True)
            assert said(path, *asked, with_index=True) == expected
            data = bytearray(index.read_bytes())
            for at in rng.sample(range(len(data)), 2):
                data[at] ^= 1 << rng.randrange(8)
            index.write_bytes(data[: rng.choice((len(data), len(data) // 2))])
            assert said(path, *asked, with_index=True) == expected


@settings(deadline=None, max_examples=EXAMPLES // 2, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**64))
def test_answers_about_a_service_are_the_same(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    for old in (*tmp_path.glob("*.mwi"), *tmp_path.glob("*.mwj")):
        old.unlink()
    with pytest.MonkeyPatch.context() as patch:
        sized(patch, rng.choice((20, 60, 200)), rng.choice((2, 4)))
        for pid in range(4242, 4242 + rng.choice((1, 1, 2))):
            service = Service(rng, pid)
            service.run(rng.choice((300, 1500)), rng.choice((0, 0.002, 0.02)))
            path = service.writer.save(tmp_path, whole_segments=False)
            if rng.random() < 0.2:  # killed: some slots were never committed
                service.writer.closed = 0
                data = bytearray(service.writer.bytes(whole_segments=rng.random() < 0.5))
                for _ in range(2):
                    at = 4096 + 64 * (service.writer.position - rng.randrange(1, 9))
                    data[at : at + 4] = bytes(4)
                path.write_bytes(data)

        def when() -> str:
            return moment(rng, [f"2023-11-14T22:13:20.{rng.randrange(2000):06}"], 1500, 4242)

        names = ["total", "hits", "price", "grid", "order", "data", "raw", "ok", "cart", "late", "nosuch"]
        names += [
            "grid[2]",
            "order.qty",
            "data[0:9]",
            "len(data)",
            "raw[3:9]",
            "cart.items",
            "cart.items[0]",
            "*",
            "o*",
        ]
        check(tmp_path, rng, names, when, 5)
