"""With the index beside a journal every answer is what it is without one; and nothing can be done to the file that
changes that."""

from __future__ import annotations

import fcntl
import mmap
import os
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import test_last
from decoding import SERIALIZERS, q
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journal_writer import CONTEXT, OUTCOME, TIME, JournalWriter, cell
from test_last import EXAMPLES, PARTS, PATHS, filters, session

from memwatch_core.cli.filters import Filters
from memwatch_core.host import held as moment
from memwatch_core.host import history, indexing, merge
from memwatch_core.host.decoder import JournalDecoder
from memwatch_core.host.outcomes import final_outcomes
from memwatch_core.journal import index as index_file
from memwatch_core.journal import reader, stores
from memwatch_core.journal.file import JournalFile
from memwatch_core.journal.index_writer import IndexWriter
from memwatch_core.records import Event, Record

FEW = 60
NEVER = 1 << 62


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a few slots, and an index for journals of any size."""
    if stores.Stores is stores.PythonStores:
        pytest.fail("memwatch_core.journal._reader isn't built: run `python setup.py build_ext --inplace`")
    monkeypatch.setattr(indexing, "PART_SLOTS", FEW)
    monkeypatch.setattr(indexing, "LEAST", 1)
    monkeypatch.setattr(index_file.Index, "pays", lambda index: True)
    monkeypatch.setattr(indexing, "SHARE", 1)
    monkeypatch.setattr(reader, "BLOCK_SLOTS", 255)
    monkeypatch.setattr(merge, "BLOCK_SLOTS", 255)


PAYS = index_file.Index.pays


@pytest.mark.parametrize(("stores", "pays"), [(400, True), (100, False)])
def test_index_is_used_where_most_records_are_stores(tmp_path: Path, stores: int, pays: bool) -> None:
    writer = JournalWriter()
    writer.variable(1, 8)
    for number in range(200):
        writer.thread(number + 1, f"thread {number}")
    for number in range(stores):
        writer.store(1, 0, bytes([number % 256]), bytes([(number + 1) % 256]))
    index = indexing.of_journal(writer.save(tmp_path))
    assert index is not None
    assert PAYS(index) is pays
    index.close()


def answers(path: Path, asked: dict[str, Any], most: int, *, with_index: bool) -> list[Any]:
    """What passes a filter, and the last of it; how many events there are; and what is said of mistakes."""
    least, indexing.LEAST = indexing.LEAST, 1 if with_index else NEVER
    try:
        return [given_out(path, asked), last(path, asked, most)]
    finally:
        indexing.LEAST = least


def given_out(path: Path, asked: dict[str, Any]) -> Any:
    wanted, seen, shown = Filters(**asked), 0, []
    others: list[Record] = []

    def left_out(events: int) -> None:
        nonlocal seen
        seen += events

    def aside(record: Record) -> bool:
        others.append(record)
        return wanted(record)

    only = history.Only(wanted.possible, wanted.possible_since, aside, left_out, history.by(wanted.by))
    said: list[str] = []
    for batch in history.read(path, said.append, by_outcome="outcomes" in asked, only=only):
        left_out(sum(isinstance(record, Event) for record in batch))
        shown += [repr(each) for each in batch]
    return shown, seen, sorted(set(wanted.failed())), said, sorted(set(map(repr, others)))


def last(path: Path, asked: dict[str, Any], most: int) -> Any:
    wanted = Filters(**asked)
    by = history.by(wanted.by)
    tail = history.last(path, most, wanted.wanted, wanted.since, wanted, by_outcome="outcomes" in asked, by=by)
    if tail is None:
        return None
    return [*map(repr, tail.events)], tail.seen, tail.said, tail.damaged, bool(wanted.failed())


def asked_of(rng: random.Random) -> dict[str, Any]:
    asked = filters(rng)
    if rng.random() < 0.2:
        asked["variables"] = rng.sample(PARTS, rng.randrange(1, 3))
    if rng.random() < 0.2:
        asked["paths"] = rng.sample(PATHS, rng.randrange(1, 3))
    return asked


def same(with_index: list[Any], without: list[Any]) -> None:
    assert with_index[0] == without[0]
    if None not in (with_index[1], without[1]):
        assert with_index[1] == without[1]


class Calm(test_last.Program):
    """Thousands of stores, and now and then something else: there is much to go past."""

    def __init__(self, rng: random.Random, pid: int, steps: int) -> None:
        super().__init__(rng, pid, min(steps, 40))
        for _ in range(5 * steps):
            others = self.place, self.watch, self.unwatch, self.site, self.open, self.settle, self.rename, self.lose
            (self.store if rng.random() < 0.995 else rng.choice(others))()

    def time(self) -> int:
        """Hardly ever of the future: such a part is read."""
        return super().time() if self.rng.random() < 0.02 else self.writer.now(None)


@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**64))
def test_answers_are_the_same_with_and_without(tmp_path: Path, seed: int) -> None:
    """Several processes, damaged files, rotated ones, one whose process runs: whatever a session may be."""
    rng = random.Random(seed)
    indexing.PART_SLOTS = rng.choice((1, 20, FEW, 300))
    for path in tmp_path.glob("*.mwi"):
        path.unlink()
    with ExitStack() as held, pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_last, "Program", rng.choice((test_last.Program, Calm)))
        path = session(tmp_path, rng, held)
        for _ in range(2):
            asked, most = asked_of(rng), rng.choice((1, 2, 10, 100, 10**9))
            same(answers(path, asked, most, with_index=True), answers(path, asked, most, with_index=False))
        for journal in path.glob("*.mwj"):
            try:
                index = indexing.of_journal(journal)
            except Exception:
                continue
            if index is not None:
                assert dict(final_outcomes(journal, index=index)) == dict(final_outcomes(journal))
                index.close()


class Shop:
    """A journal of a quiet kind: a few variables, threads, sites and statements, and thousands of stores."""

    def __init__(self, seed: int = 1) -> None:
        self.rng, self.writer = random.Random(seed), JournalWriter()
        self.values = {1: q(0), 2: q(0), 3: bytes(24), 4: bytes(40)}
        for ident, name in ((1, "total"), (2, "count"), (3, "tag"), (4, "name")):
            self.writer.watch(ident, self.values[ident], name, "int64" if ident < 3 else "")
        for site in range(1, 5):
            self.writer.site(site, f"/srv/shop/{'ab'[site % 2]}.py", 10 * site, "f")
        self.writer.stack(1, [2, 3])
        self.writer.thread(7, "main")
        self.writer.slab(5, "order")
        self.writer.place(5, 64, ".qty")
        self.cell = cell()
        self.contexts = 0

    def stores(self, count: int, *idents: int) -> None:
        for _ in range(count):
            ident = self.rng.choice(idents or (1, 2, 3, 4))
            value = self.values[ident]
            start = self.rng.randrange(len(value)) if ident > 2 else 0
            after = self.rng.randbytes(self.rng.randrange(1, len(value) - start + 1) if start else len(value))
            self.writer.store(
                ident, start, value[start : start + len(after)], after, site=self.rng.randrange(1, 5), tid=7,
                context=self.contexts, stack=self.rng.choice((None, 1)),
            )  # fmt: skip
            self.values[ident] = value[:start] + after + value[start + len(after) :]

    def places(self, count: int) -> None:
        for _ in range(count):
            after = cell(self.rng.choice((None, 7, "text")))
            self.writer.change(5, 64, self.cell, after)
            self.cell = after

    def statement(self, stores_of: int) -> None:
        self.contexts += 1
        self.writer.json(CONTEXT, self.contexts, {"driver": "sqlite3", "statement": "SELECT", "transaction": 5})
        self.stores(stores_of)
        self.writer.json(OUTCOME, self.contexts, {"outcome": "ended"})
        context, self.contexts = self.contexts, 0
        self.stores(3)
        self.contexts = context

    def save(self, folder: Path) -> Path:
        return self.writer.save(folder, whole_segments=False)


def shop(folder: Path, seed: int = 1) -> Path:
    made = Shop(seed)
    made.stores(2000)
    made.places(300)
    for _ in range(20):
        made.statement(20)
    made.contexts = 0
    made.stores(500, 1, 2, 3)
    made.writer.watch(6, q(3), "late")
    made.values[6] = q(3)
    made.stores(200, 1, 6)
    made.stores(2000, 1, 2, 3)
    return made.save(folder)


ASKED: list[dict[str, Any]] = [
    {}, {"variables": ["name"]}, {"variables": ["late"]}, {"variables": ["order.qty"]}, {"variables": ["tag[3]"]},
    {"threads": ["main"]}, {"places": ["a.py:20"]}, {"statements": ["select"]}, {"outcomes": ["committed", "open"]},
    {"variables": ["nosuch"]}, {"since": TIME + 4_000_000}, {"since": TIME + 1_000_000, "variables": ["total"]},
    {"paths": ["order.*"]},
]  # fmt: skip


def every_answer(path: Path, *, with_index: bool) -> list[Any]:
    return [answers(path, asked, 20, with_index=with_index) for asked in ASKED]


def some_answers(path: Path, *, with_index: bool) -> list[Any]:
    return [answers(path, asked, 20, with_index=with_index) for asked in ASKED[::4]]


@pytest.fixture
def slots_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    counted, real = [0], JournalFile.read

    def read(self: JournalFile, slot: int, view: memoryview) -> int:
        count = real(self, slot, view)
        counted[0] += count
        return count

    monkeypatch.setattr(JournalFile, "read", read)
    return counted


def test_what_is_not_wanted_is_not_read(tmp_path: Path, slots_read: list[int]) -> None:
    path = shop(tmp_path)
    expected = every_answer(path, with_index=False)
    for asked in ASKED:
        answers(path, asked, 20, with_index=True)
    for asked, few in ({"variables": ["name"]}, False), ({"variables": ["late"]}, True), ({"variables": ["no"]}, True):
        slots_read[0] = 0
        given_out(path, asked)
        assert slots_read[0] < (4000 if few else 8000), asked
    slots_read[0] = 0
    last(path, {}, 20)
    assert slots_read[0] < 3000
    assert every_answer(path, with_index=True) == expected


def index_of(path: Path) -> Path:
    return path.with_suffix(".mwi")


def made(path: Path) -> bytes:
    index = indexing.of_journal(path)
    assert index is not None
    index.close()
    return index_of(path).read_bytes()


def test_index_belongs_to_its_user_alone_and_is_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "PART_SLOTS", 1 << 14)
    monkeypatch.setattr(indexing, "SHARE", 64)
    writer = Shop()
    writer.stores(60_000)
    path = writer.save(tmp_path)
    data = made(path)
    assert index_of(path).stat().st_mode & 0o777 == 0o600
    assert len(data) < path.stat().st_size / 100
    assert [each.name for each in tmp_path.iterdir()].count(path.with_suffix(".mwi").name) == 1
    assert len([*tmp_path.iterdir()]) == 2


def test_index_is_made_once(tmp_path: Path) -> None:
    path = shop(tmp_path)
    made(path)
    before = os.stat(index_of(path)).st_ino
    every_answer(path, with_index=True)
    assert os.stat(index_of(path)).st_ino == before


def cut(path: Path) -> None:
    os.truncate(index_of(path), os.stat(index_of(path)).st_size // 2)


def of_another_version(path: Path) -> None:
    data = bytearray(index_of(path).read_bytes())
    struct.pack_into("<I", data, 8, index_file.FORMAT + 1)
    index_of(path).write_bytes(data)


def of_another_release(path: Path) -> None:
    data = bytearray(index_of(path).read_bytes())
    data[12:28] = index_file.checksum(b"9.9")
    head = bytes(data[: index_file.HEAD.size - 16])
    data[len(head) : len(head) + 16] = index_file.checksum(head)
    index_of(path).write_bytes(data)


def of_another_journal(path: Path) -> None:
    other = path.parent / "other"
    other.mkdir(mode=0o700)
    there = shop(other, seed=2)
    made(there)
    os.replace(index_of(there), index_of(path))
    there.unlink()
    other.rmdir()


def writable_for_others(path: Path) -> None:
    index_of(path).chmod(0o666)


def a_link(path: Path) -> None:
    elsewhere = path.parent / "elsewhere"
    os.replace(index_of(path), elsewhere)
    index_of(path).symlink_to(elsewhere)


def a_pipe(path: Path) -> None:
    index_of(path).unlink()
    os.mkfifo(index_of(path))


def a_folder(path: Path) -> None:
    index_of(path).unlink()
    index_of(path).mkdir()


def empty(path: Path) -> None:
    index_of(path).write_bytes(b"")


def journal_changed(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096 + 64 * 1500)
        file.write(b"\xff" * 64)


def journal_cut(path: Path) -> None:
    os.truncate(path, 4096 + 64 * 2000)


def journal_replaced(path: Path) -> None:
    path.unlink()
    shop(path.parent, seed=3)


@pytest.mark.parametrize(
    "spoil",
    [
        cut, of_another_version, of_another_release, of_another_journal, writable_for_others, a_link, a_pipe, a_folder,
        empty, journal_changed, journal_cut, journal_replaced,
    ],
)  # fmt: skip
def test_index_that_does_not_fit_is_as_good_as_none(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = shop(tmp_path)
    made(path)
    spoil(path)
    expected = some_answers(path, with_index=False)
    assert some_answers(path, with_index=True) == expected
    if spoil is a_link:
        assert not index_of(path).is_symlink(), "replaced, not written through"
    if spoil is not a_folder:
        index = indexing.of_journal(path)
        assert index is not None, "made again"
        index.close()


@settings(deadline=None, max_examples=2 * EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_bytes_of_the_index_may_be_any(tmp_path: Path, data: st.DataObject) -> None:
    """Also behind a right checksum: then the answer may be refused, not wrong in silence, nor take for ever."""
    path = tmp_path / "4242-python.mwj"
    if not path.exists():
        shop(tmp_path)
    index_of(path).unlink(missing_ok=True)
    good = made(path)
    spoilt = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        spoilt[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    index_of(path).write_bytes(spoilt[: data.draw(st.sampled_from((len(good), len(good) // 2)))])
    asked = ASKED[data.draw(st.integers(0, len(ASKED) - 1))]
    same(answers(path, asked, 20, with_index=True), answers(path, asked, 20, with_index=False))


@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**64))
def test_hostile_summaries_and_contents_bring_nobody_down(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    raw = bytearray(rng.randbytes(rng.randrange(0, 200)))
    raw[:16] = struct.pack("<IIII", *(rng.choice((0, 1, 3, 2**32 - 1)) for _ in range(4)))
    for packed in (bytes(raw), zlib.compress(bytes(raw)), zlib.compress(bytes(1 << 24))):
        try:
            index_file.unpack(packed, 0)
        except index_file.Stale:
            continue
    decoder = JournalDecoder(shop(tmp_path), SERIALIZERS)
    decoder.poll()
    loop = stores.recording(decoder.stores)
    assert loop is not None
    ident, size = rng.choice((1, 3, 5, 77)), rng.choice((0, 8, 24, 2**63, 2**64 - 1))
    loop.restore(struct.pack("<IIQ", ident, rng.choice((0, 1, 2)), size) + rng.randbytes(rng.randrange(100)))
    loop.restore(
        struct.pack("<IIQII", 5, 1, size, rng.choice((64, 0)), rng.choice((0, 4, 64, 65, 2**32 - 1))) + bytes(70)
    )
    decoder.close()


def test_writer_that_was_killed_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    path = shop(tmp_path)
    left = tmp_path / f"{index_of(path).name}.new"
    left.write_bytes(b"unfinished")
    made(path)
    assert not left.exists()


def test_one_index_is_written_at_a_time(tmp_path: Path) -> None:
    path = shop(tmp_path)
    left = tmp_path / f"{index_of(path).name}.new"
    with left.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert indexing.of_journal(path) is None
        assert some_answers(path, with_index=True) == some_answers(path, with_index=False)
        assert left.exists()


def test_indexes_take_no_descriptor_that_a_journal_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop(tmp_path)
    for room, count in ((1, 1), (0, 0)):
        monkeypatch.setattr(merge, "room", lambda room=room: room)
        indexes = indexing.of_session(tmp_path)
        with indexing.closing(indexes):
            assert len(indexes) == count


def test_journals_of_others_have_no_index(tmp_path: Path) -> None:
    path = shop(tmp_path)
    expected = some_answers(path, with_index=False)
    for where in (path, tmp_path):
        before = os.stat(where)
        os.chmod(where, before.st_mode | 0o022)
        assert indexing.of_journal(path) is None
        assert some_answers(path, with_index=True) == expected
        os.chmod(where, before.st_mode)
        if os.geteuid() == 0:
            os.chown(where, 4321, 4321)
            assert indexing.of_journal(path) is None
            os.chown(where, 0, 0)
    assert not index_of(path).exists()


def test_full_disk_leaves_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shop(tmp_path)

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(IndexWriter, "finish", full)
    assert some_answers(path, with_index=True) == some_answers(path, with_index=False)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("how", ["lost", "limit"])
def test_journal_that_lacks_events_has_none(tmp_path: Path, how: str) -> None:
    path = shop(tmp_path)
    with path.open("r+b") as file:
        file.seek(192 if how == "lost" else 232)
        file.write(q(3 if how == "lost" else 1 << 30))
        file.seek(10)
        file.write(struct.pack("<H", 4))
    assert indexing.of_journal(path) is None
    assert some_answers(path, with_index=True) == some_answers(path, with_index=False)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Callable[[Shop], Path]]:
    """Saves a journal as that of a process that runs: this one, which has it mapped."""
    with ExitStack() as stack:

        def save(program: Shop) -> Path:
            program.writer.pid, program.writer.closed = os.getpid(), 0
            path = tmp_path / f"{os.getpid()}-python.mwj"
            data = program.writer.bytes(whole_segments=False).ljust(1 << 21, b"\0")
            if not path.exists():
                path.write_bytes(bytes(1 << 21))
                stack.enter_context(mmap.mmap(os.open(path, os.O_RDWR), 1 << 21))
            with path.open("r+b") as file:
                file.write(data)
            return path

        yield save


def test_journal_that_grows_has_an_index_of_what_it_had(running: Callable[[Shop], Path]) -> None:
    """It is used as far as it goes, and continued once much is missing."""
    program = Shop()
    program.stores(2000)
    first = made(running(program))
    program.stores(30, 1, 2)
    path = running(program)
    assert some_answers(path, with_index=True) == some_answers(path, with_index=False)
    assert made(path) == first, "little has come"
    for _ in range(3):
        program.statement(300)
        program.stores(500, 1, 3)
        path = running(program)
        before = made(path)
        assert some_answers(path, with_index=True) == some_answers(path, with_index=False)
        assert before[index_file.HEAD.size :].startswith(first[index_file.HEAD.size :][:2000])
    program.writer.closed = TIME + 10**10
    assert some_answers(running(program), with_index=True) == some_answers(path, with_index=False)


def test_slot_that_is_not_committed_yet_is_not_indexed(running: Callable[[Shop], Path]) -> None:
    program = Shop()
    program.stores(2000)
    path = running(program)
    with path.open("r+b") as file:
        file.seek(4096 + 64 * 1000)
        slot = file.read(64)
        file.seek(-64, 1)
        file.write(bytes(64))
    made(path)
    index = indexing.of_journal(path)
    assert index is not None
    assert index.part(index.count).start <= 1000
    index.close()
    with path.open("r+b") as file:
        file.seek(4096 + 64 * 1000)
        file.write(slot)
    assert every_answer(path, with_index=True) == every_answer(path, with_index=False)
    assert last(path, {}, 10**9)[1] == 2000


def naive(path: Path, slot: int) -> dict[int, bytes]:
    """What the variables hold, by reading everything before a slot."""
    held: dict[int, bytearray] = {}
    journal = reader.JournalReader(path)
    for record in journal.records():
        if record.slot >= slot:
            break
        if record.kind == 4:
            held[record.id] = bytearray(struct.unpack_from("<Q", record.payload, 4)[0])
        elif record.kind == 6:
            at = struct.unpack_from("<Q", record.payload)[0]
            held[record.id][at : at + len(record.payload) - 8] = record.payload[8:]
        elif record.kind == 1:
            half = len(record.payload) // 2
            held[record.id][record.offset : record.offset + half] = record.payload[half:]
        elif record.kind == 7:
            held.pop(record.id, None)
    journal.close()
    return {ident: bytes(data) for ident, data in held.items()}


@pytest.mark.parametrize("least", [1, NEVER], ids=["with an index", "without"])
def test_contents_at_a_slot_are_what_the_records_before_it_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int, slots_read: list[int]
) -> None:
    path = shop(tmp_path)
    slots = [record.slot for record in reader.JournalReader(path).records()]
    monkeypatch.setattr(indexing, "LEAST", least)
    moment.contents_at(path, 0, SERIALIZERS)
    rng = random.Random(5)
    for slot in [0, 1, slots[-1], slots[-1] + 5000, *rng.sample(slots, 40)]:
        slots_read[0] = 0
        held = moment.contents_at(path, slot, SERIALIZERS)
        if least == 1:
            assert slots_read[0] < 2500
        expected = naive(path, slot)
        assert held.keys() == expected.keys()
        for ident, one in held.items():
            if ident != 5:
                assert one.contents == expected[ident]
                if ident in (1, 2, 6) and one.variable.name != f"variable {ident}":
                    assert one.value == struct.unpack("<q", expected[ident])[0]
            elif ".qty" in one.places:
                assert one.places[".qty"] in (None, 7, "text")


@pytest.mark.parametrize("least", [1, NEVER], ids=["with an index", "without"])
def test_slot_of_an_event_and_of_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int) -> None:
    path = shop(tmp_path)
    monkeypatch.setattr(indexing, "LEAST", least)
    events = [record for record in reader.JournalReader(path).records() if record.kind == 1]
    for seq in (1, 2, 777, len(events)):
        assert moment.slot_of(path, seq=seq) == events[seq - 1].slot + events[seq - 1].slots
    end = moment.slot_of(path, seq=10**9)
    assert end >= events[-1].slot + events[-1].slots
    for number in (0, 1, 900, len(events) - 2):
        assert moment.slot_of(path, time=events[number].time) == events[number + 1].slot
    assert moment.slot_of(path, time=TIME - 1) == events[0].slot
    assert moment.slot_of(path, time=2**62) == end
