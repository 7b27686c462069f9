"""The reader gives back what was written, in slot order, and survives whatever else a file holds."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from decoding import decode_file, q
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journal_writer import CONTENT, CONTEXT, METADATA, OUTCOME, PAD, PLACE, SEGMENT, SITE, STORE, THREAD, JournalWriter

from memwatch_core.errors import JournalError
from memwatch_core.journal.file import NotBegun
from memwatch_core.journal.reader import BLOCK_SLOTS, JournalReader
from memwatch_core.journal.records import RawRecord
from memwatch_core.records import Event, Lost, Notice

QUICK = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
U32 = st.integers(0, 2**32 - 1)
RECORDS = st.lists(
    st.one_of(
        st.tuples(st.just("store"), U32, U32, st.integers(0, 700), U32, U32, st.integers(1, 4), st.integers(0, 3)),
        st.tuples(st.just("blob"), st.sampled_from([METADATA, CONTENT, SITE, CONTEXT, OUTCOME, THREAD, PLACE]), U32,
                  st.binary(max_size=400)),
        st.tuples(st.just("variable"), U32, st.integers(0, 2**64 - 1)),
        st.tuples(st.just("unregistered"), U32),
        st.tuples(st.just("far"), st.integers(1, 3)),
    ),
    max_size=30,
)  # fmt: skip


def read_all(path: Path) -> tuple[list[RawRecord], JournalReader]:
    reader = JournalReader(path)
    records = list(reader.records())
    assert reader.ended
    reader.close()
    return records, reader


@QUICK
@given(RECORDS, st.integers(0, 2**64), st.booleans())
def test_reader_gives_back_arbitrary_records(
    tmp_path: Path, plan: list[tuple[object, ...]], seed: int, whole: bool
) -> None:
    rng, writer = random.Random(seed), JournalWriter()
    expected: list[tuple[object, ...]] = []
    for step in plan:
        match step:
            case ("store", variable, offset, length, site, context, origin, flags):
                before, after = rng.randbytes(length), rng.randbytes(length)  # type: ignore[arg-type]
                call = rng.getrandbits(32), rng.randrange(-1, 2**31), rng.getrandbits(32)
                at = writer.store(variable, offset, before, after, site=site, context=context, origin=origin,  # type: ignore[arg-type]
                                  flags=flags, time=rng.getrandbits(64), call=call)  # type: ignore[arg-type]  # fmt: skip
                expected.append((at, STORE, variable, before + after, offset, site, context, origin, flags,
                                 call if origin in (3, 4) else None))  # fmt: skip
            case ("blob", kind, ident, payload):
                at = writer.blob(kind, ident, payload)  # type: ignore[arg-type]
                expected.append((at, kind, ident, payload, 0, 0, 0, 0, 0, None))
            case ("variable", ident, size):
                at = writer.variable(ident, size, start=1, stop=2)  # type: ignore[arg-type]
                payload = struct.pack("<IQQQQ8x", 1, size, 1, 2, 0x7F0000000000)
                expected.append((at, 4, ident, payload, 0, 0, 0, 0, 0, None))
            case ("unregistered", ident):
                at = writer.unregistered(ident)  # type: ignore[arg-type]
                expected.append((at, 7, ident, bytes(44), 0, 0, 0, 0, 0, None))
            case ("far", slots):  # to the end of the segment, so that records meet its border
                while SEGMENT - writer.position % SEGMENT > slots:  # type: ignore[operator]
                    left = min(SEGMENT - writer.position % SEGMENT - slots, 255)  # type: ignore[operator]
                    writer.slots += struct.pack("<BBBB60x", PAD, left, 0, 0) + bytes(64 * (left - 1))
    records, reader = read_all(writer.save(tmp_path, whole_segments=whole))
    got = [(r.slot, r.kind, r.id, r.payload, r.offset, r.site, r.context, r.origin, r.flags, r.call) for r in records]
    assert got == expected
    assert (reader.skipped, reader.damaged, reader.missing) == (0, 0, 0)


def sample() -> JournalWriter:
    """A journal with every kind of record, some of several slots."""
    writer = JournalWriter()
    writer.watch(1, q(5), "total", site={"file": "orders.py", "line": 3, "function": "main"})
    writer.site(1, "orders.py", 41, "add_order")
    writer.thread(7, "worker-1")
    writer.json(CONTEXT, 1, {"id": 1, "driver": "sqlite3", "statement": "SELECT ?" * 9, "statement_hash": "ab"})
    writer.store(1, 0, q(5), q(6), site=1, context=1)
    writer.watch(2, bytes(range(200)), "buffer", "")
    writer.store(2, 3, bytes(range(3, 180)), bytes(177), site=1, context=1)
    writer.json(OUTCOME, 1, {"outcome": "ended"})
    writer.store(1, 1, q(6)[1:3], b"\1\1", site=1, context=1)
    writer.unregistered(1)
    return writer


def test_reader_survives_file_truncated_at_every_byte(tmp_path: Path) -> None:
    writer = sample()
    whole = writer.bytes(whole_segments=False)
    path = tmp_path / "1-python.mwj"
    path.write_bytes(whole)
    complete = decode_file(path)
    for length in (*range(0, 4096, 63), *range(4096, len(whole))):
        path.write_bytes(whole[:length])
        if length < 4096:
            with pytest.raises(JournalError):
                JournalReader(path)
            continue
        records = decode_file(path)
        assert records[: len(records) - 2][: len(complete)][0] == complete[0]
        events = [record for record in records if isinstance(record, Event)]
        assert events == [record for record in complete if isinstance(record, Event)][: len(events)]
        lost = sum(record.count for record in records if isinstance(record, Lost))
        assert lost > 0, "cut short in silence"


@QUICK
@given(st.data())
def test_reader_survives_flipped_bytes(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(sample().bytes(whole_segments=data.draw(st.booleans())))
    slots = sample().position
    for _ in range(data.draw(st.integers(1, 12))):
        at = data.draw(st.integers(8, 96) | st.integers(4096, 4096 + slots * 64 - 1))
        whole[at] = data.draw(st.integers(0, 255))
    path = tmp_path / "1-python.mwj"
    path.write_bytes(whole)
    started = time.monotonic()
    try:
        records = decode_file(path)
    except JournalError:
        return
    assert time.monotonic() - started < 5
    assert isinstance(records[-1], Notice)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**64))
def test_reader_survives_slots_of_noise(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    slots = bytearray(rng.randbytes(64 * 2000))
    for at in range(0, len(slots), 64):  # mostly kinds that there are, small ids, lengths and offsets
        slots[at] = rng.choice(range(14))
        if rng.random() < 0.8:
            slots[at + 1] = rng.choice((1, 1, 1, 2, 3))
            struct.pack_into("<III", slots, at + 16, rng.randrange(4), rng.randrange(1 << 17), rng.randrange(30))
    path = tmp_path / "1-python.mwj"
    path.write_bytes(JournalWriter().header() + slots)
    assert isinstance(decode_file(path)[-1], Notice)


def test_hostile_sizes_cost_no_memory_and_no_time(tmp_path: Path) -> None:
    writer = JournalWriter()
    for ident in range(1, 3000):
        writer.variable(ident, 2**63)
        writer.blob(METADATA, ident, b'{"name":"x","size":65536}')
        writer.store(ident, 65000, b"", b"")
        writer.store(ident, 2**32 - 1, b"a", b"b")
    writer.blob(CONTEXT, 1, b"[" * 15000)
    writer.blob(METADATA, 1, b'{"options":' + b'{"a":' * 3000)
    writer.reserved = 2**64 - 1
    path = writer.save(tmp_path)
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"from decoding import decode_file; print(len(decode_file(__import__('pathlib').Path({str(path)!r}))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 5000


def test_sparse_file_of_a_terabyte_is_read_at_once(tmp_path: Path) -> None:
    writer = sample()
    path = writer.save(tmp_path)
    complete = decode_file(path)
    os.truncate(path, 1 << 40)
    started = time.monotonic()
    assert decode_file(path) == complete
    assert time.monotonic() - started < 2


def test_slot_that_was_never_committed_is_skipped_counted_and_followed_in_step(tmp_path: Path) -> None:
    writer = sample()
    torn = writer.store(1, 0, bytes(100), bytes(100))
    writer.store(2, 0, b"\0", b"\1")
    writer.slots[torn * 64 : torn * 64 + 4] = bytes(4)  # reserved, its CONTINUATION slots written, and then killed
    writer.closed = 0
    records, reader = read_all(writer.save(tmp_path))
    assert reader.skipped == 1
    assert records[-1].slot == torn + 4
    lost = [record for record in decode_file(reader.path) if isinstance(record, Lost)]
    assert [record.count for record in lost] == [1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: b"", "only just created"),
        (lambda raw: raw[:3000], "not a MemWatch journal"),
        (lambda raw: b"PK\3\4" + raw[4:], "not a MemWatch journal"),
        (lambda raw: raw[:8] + b"\2\0" + raw[10:], "journal format 2.0, and this MemWatch reads 1.x"),
        (lambda raw: raw[:16] + b"\x80\0\0\0" + raw[20:], "damaged header"),
    ],
)
def test_bad_header_is_one_clear_error(tmp_path: Path, change: object, message: str) -> None:
    path = tmp_path / "1-python.mwj"
    path.write_bytes(change(sample().bytes()))  # type: ignore[operator]
    with pytest.raises(JournalError, match=message) as caught:
        JournalReader(path)
    assert str(path) in str(caught.value)


def test_missing_file_folder_and_pipe_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "absent", tmp_path, tmp_path / "pipe"):
        with pytest.raises(JournalError, match=path.name):
            JournalReader(path)
    (tmp_path / "young").write_bytes(bytes(8192))
    with pytest.raises(NotBegun):
        JournalReader(tmp_path / "young")


# Writes a journal as the core does: maps it, commits slot after slot when told to on standard input.
PROGRAM = """
import mmap, os, struct, sys
path = sys.argv[1]
file = os.open(path, os.O_RDWR)
os.pwrite(file, struct.pack("<Q", os.getpid()), 24)
view = mmap.mmap(file, 0)
print("ready", flush=True)
for line in sys.stdin:
    what, at = line.split()
    at = int(at)
    slot = 4096 + 64 * at
    if what == "commit":
        view[slot + 1 : slot + 64] = bytes([1, 1, 0]) + struct.pack("<IQIIIIIqq12x", 7, 1, 1, 0, 8, 0, 0, at, at + 1)
        view[slot] = 1
    elif what == "reserve":
        view[128:136] = struct.pack("<Q", at)
    elif what == "grow":
        os.ftruncate(file, 4096 + 64 * at)
        view.resize(4096 + 64 * at)
    elif what == "close":
        view[200:208] = struct.pack("<Q", at)
    print("done", flush=True)
"""


class Process:
    """A live writer that does one step at a time."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-c", PROGRAM, str(path)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.say("")

    def say(self, text: str) -> None:
        assert self.process.stdin
        assert self.process.stdout
        if text:
            self.process.stdin.write(text + "\n")
            self.process.stdin.flush()
        assert self.process.stdout.readline()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def live(tmp_path: Path) -> tuple[Process, Path]:
    writer = JournalWriter(pid=1)
    writer.closed = writer.reserved = 0
    path = writer.save(tmp_path)
    return Process(path), path


def test_reader_waits_at_uncommitted_slot_while_its_process_lives_and_skips_it_afterwards(
    live: tuple[Process, Path],
) -> None:
    process, path = live
    reader = JournalReader(path)
    try:
        process.say("reserve 4")
        process.say("commit 0")
        process.say("commit 2")
        assert [record.slot for record in reader.records()] == [0]
        assert [record.slot for record in reader.records()] == []
        assert reader.live
        process.say("commit 1")
        assert [record.slot for record in reader.records()] == [1, 2]
        process.say("reserve 5")
        process.say("commit 4")
        assert [record.slot for record in reader.records()] == []
    finally:
        process.kill()
    assert [record.slot for record in reader.records()] == [4]
    assert (reader.skipped, reader.ended) == (1, True)
    reader.close()


def test_reader_follows_a_journal_that_grows_by_segments(live: tuple[Process, Path]) -> None:
    process, path = live
    reader = JournalReader(path)
    try:
        process.say(f"grow {2 * SEGMENT}")
        process.say(f"reserve {SEGMENT + 1}")
        for at in (0, SEGMENT):
            process.say(f"commit {at}")
        assert [record.slot for record in reader.records()] == [0]
        process.say("close 77")
        assert [record.slot for record in reader.records()] == []
        assert reader.live, "a record begun before the journal was closed may still come"
        time.sleep(0.15)
        assert [record.slot for record in reader.records()] == [SEGMENT]
        assert (reader.closed, reader.ended, reader.skipped) == (77, True, SEGMENT - 1)
    finally:
        process.kill()
        reader.close()


def test_process_that_has_the_number_of_the_writer_is_not_taken_for_it(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = sample()
    other.pid = os.getppid()  # alive, and has no journal
    other.closed = 0
    reader = JournalReader(other.save(tmp_path / "other"))
    assert len(list(reader.records())) > 10
    assert reader.ended
    reader.close()


def test_file_cut_short_while_it_is_read_does_no_harm(tmp_path: Path) -> None:
    writer = JournalWriter()
    for number in range(3 * BLOCK_SLOTS):
        writer.store(1, 0, q(number), q(number + 1))
    path = writer.save(tmp_path)
    reader = JournalReader(path)
    records = reader.records()
    next(records)
    os.truncate(path, 4096 + 64 * 100)
    assert sum(1 for _ in records) == BLOCK_SLOTS - 1
    assert reader.missing == 2 * BLOCK_SLOTS
    reader.close()
