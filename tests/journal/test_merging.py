"""Events that one statement made become one line: which ones, where the line stands, and what it says."""

from __future__ import annotations

import gc
import random
import struct
import subprocess
import sys
import tempfile
import tracemalloc
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from decoding import SERIALIZERS, decode_file
from journal_writer import TIME, JournalWriter
from storing import ARRAYS, Storing

from memwatch_core.host.decoder import JournalDecoder
from memwatch_core.host.merge import SessionDecoder
from memwatch_core.host.merging import GAP_NS, Merging, Told
from memwatch_core.records import Event, Lost, Merged, Range, Record, Span

Line = Event | Merged


def lines_of(path: Path, merging: Merging | None = None, slots: int | None = None) -> list[Record]:
    records: list[Record] = []
    journal = JournalDecoder(path, SERIALIZERS, merging=merging or Merging())
    while not journal.ended:
        records += journal.poll(None, slots)
    return records


def author(event: Event) -> tuple[Any, ...]:
    return (
        event.journal, event.variable_id, event.tid, event.origin, event.exact, event.site, event.stack, event.context,
        event.request,
    )  # fmt: skip


def expanded(line: Line, events: list[Event]) -> list[Event]:
    """The events of a line, by what its record says."""
    if isinstance(line, Event):
        return [event for event in events if (event.journal, event.seq) == (line.journal, line.seq)]
    first, last = line.first.seq, line.last_seq
    return [event for event in events if first <= event.seq <= last and author(event) == author(line.first)]


def bytes_of(spans: tuple[Span, ...]) -> list[int]:
    """All bytes of spans, one after the other."""
    found = []
    for span in spans:
        starts = [span.start]
        for stride, count in span.strides:
            starts = [start + at * stride for start in starts for at in range(count)]
        found += [byte for start in starts for byte in range(start, start + span.length)]
    return found


def touched(events: list[Event]) -> set[int]:
    return {byte for event in events for byte in range(event.offset, event.offset + len(event.after))}


def items_of(events: list[Event]) -> tuple[dict[int, bytes], dict[int, bytes], list[bytes], list[bytes]]:
    """Of each item, the bytes that the first store found there, and those that the last one left; and all of both."""
    _, _, base, letter = ARRAYS[events[0].variable_id]
    size = struct.calcsize(letter)
    found: dict[int, bytes] = {}
    left: dict[int, bytes] = {}
    olds, news = [], []
    for event in events:
        for at in range(0, len(event.after), size):
            item = event.offset + at
            assert (item - base) % size == 0
            olds.append(event.before[at : at + size])
            news.append(event.after[at : at + size])
            found.setdefault(item, olds[-1])
            left[item] = news[-1]
    return found, left, olds, news


def check_range(values: Range, letter: str, counts: list[bytes], may_count: list[bytes]) -> None:
    """A range is that of the items which count, and of none that may not."""
    one = struct.Struct(f"<{letter}").unpack
    if values.same:
        assert len(set(counts)) == 1
        assert struct.pack(f"<{letter}", values.low) == counts[0] or one(counts[0])[0] != one(counts[0])[0]
        return
    assert len(set(may_count)) > 1
    numbers = [number for item in counts if (number := one(item)[0]) == number]
    may = [number for item in may_count if (number := one(item)[0]) == number]
    if numbers:
        assert min(may) <= values.low <= min(numbers)
        assert max(numbers) <= values.high <= max(may)
    assert values.nan <= (len(may) < len(may_count))
    assert values.nan >= (len(numbers) < len(counts))


def check(line: Merged, events: list[Event]) -> None:
    """What a line says is true of its events."""
    mine, written = touched(events), bytes_of(line.spans)
    assert line.stores == len(events) >= 2
    assert (line.first.seq, line.last_seq, line.time_ns) == (events[0].seq, events[-1].seq, events[-1].time_ns)
    assert repr(line.first) == repr(events[0])  # NaN isn't equal to itself
    assert line.changed == sum(event.changed for event in events)
    assert line.bytes == sum(len(event.after) for event in events)
    assert (line.start, line.stop) == (min(mine), max(mine) + 1)
    if line.spans:
        assert len(written) == len(set(written))
        assert set(written) == mine
    _, _, _, letter = ARRAYS[line.first.variable_id]
    size = struct.calcsize(letter)
    if line.elements is not None:
        assert line.elements * size == len(mine)
    if line.new is None or line.old is None:
        assert any(event.offset % size or len(event.after) % size for event in events)
        return
    found, left, olds, news = items_of(events)
    if len(mine) == line.bytes:  # nothing was written twice
        olds, news = [*found.values()], [*left.values()]
    check_range(line.old, letter, [*found.values()], olds)
    check_range(line.new, letter, [*left.values()], news)


def told_besides(records: list[Record]) -> tuple[list[Record], int]:
    """What is told besides events; of losses, which are told at the end of a batch, how many there were."""
    others = [record for record in records if not isinstance(record, Event | Merged | Lost)]
    return others, sum(record.count for record in records if isinstance(record, Lost))


def lines_and_events(path: Path, slots: int | None = None) -> tuple[list[Line], list[Event], list[Record]]:
    each = decode_file(path)
    records = lines_of(path, slots=slots)
    lines = [record for record in records if isinstance(record, Event | Merged)]
    return lines, [record for record in each if isinstance(record, Event)], records


@pytest.mark.parametrize("seed", range(80))
def test_each_event_is_in_one_line_and_lines_say_what_their_events_did(seed: int, tmp_path: Path) -> None:
    path = Storing(random.Random(seed)).writer.save(tmp_path)
    lines, events, records = lines_and_events(path, slots=random.Random(seed).choice((None, 255, 300)))
    parts = [expanded(line, events) for line in lines]
    assert sorted(event.seq for part in parts for event in part) == [event.seq for event in events]
    assert [part[-1].seq for part in parts] == sorted(part[-1].seq for part in parts), "by their last events"
    for line, part in zip(lines, parts, strict=True):
        if isinstance(line, Merged):
            check(line, part)
        else:
            assert repr(part) == repr([line])
    for tid in {event.tid for event in events}:
        in_order = [event.seq for part in parts for event in part if event.tid == tid]
        assert in_order == sorted(in_order), "a thread's events stay in order"
    of_byte: dict[tuple[int, int], list[int]] = defaultdict(list)
    for event in (event for part in parts for event in part):
        for byte in range(event.offset, event.offset + len(event.after)):
            of_byte[event.variable_id, byte].append(event.seq)
    assert all(seqs == sorted(seqs) for seqs in of_byte.values()), "each byte's events stay in order"
    others = [record for record in records if not isinstance(record, Line)]
    assert told_besides(others) == told_besides(decode_file(path))


@pytest.mark.parametrize("seed", range(80))
def test_a_run_ends_only_for_a_reason(seed: int, tmp_path: Path) -> None:
    path = Storing(random.Random(seed)).writer.save(tmp_path)
    lines, events, records = lines_and_events(path)
    others = {id(line): at for at, line in enumerate(records)}
    for tid in {event.tid for event in events}:
        mine = [line for line in lines if (line.first if isinstance(line, Merged) else line).tid == tid]
        for one, next_one in pairwise(mine):
            ended, begun = expanded(one, events), expanded(next_one, events)
            if author(ended[0]) != author(begun[0]) or ended[0].origin != "store":
                continue
            if ended[0].variable_id not in ARRAYS:
                assert len(ended) == 1, "a single number's stores are told one by one"
                continue
            between = [event for event in events if ended[0].seq < event.seq < begun[0].seq]
            touches = [
                event for event in between
                if event.tid != tid and event.variable_id == ended[0].variable_id
                and event.offset < max(touched(ended)) + 1
                and min(touched(ended)) < event.offset + len(event.after)
            ]  # fmt: skip
            there = touched(ended) if getattr(one, "spans", True) else range(one.start, one.stop)
            again = touched(begun[:1]) & set(there)
            told = any(not isinstance(records[at], Line) for at in range(others[id(one)], others[id(next_one)]))
            late = begun[0].time_ns - ended[-1].time_ns > GAP_NS
            assert touches or again or told or late


@pytest.mark.parametrize("seed", range(20))
def test_lines_beside_events_are_the_same_lines(seed: int, tmp_path: Path) -> None:
    path = Storing(random.Random(seed), whole=True).writer.save(tmp_path)
    each, alone = lines_of(path, Merging(each=True)), lines_of(path)
    assert repr([record for record in each if type(record) is not Told]) == repr(decode_file(path))
    told = [record.record for record in each if isinstance(record, Told)]
    assert repr(told) == repr([record for record in alone if isinstance(record, Line)])


@pytest.mark.parametrize("seed", range(20))
def test_what_is_not_kept_is_as_if_it_had_not_been(seed: int, tmp_path: Path) -> None:
    path = Storing(random.Random(seed)).writer.save(tmp_path)
    asked: list[Event] = []

    def keep(event: Event) -> bool:
        asked.append(event)
        return event.offset % 16 < 8

    lines = [record for record in lines_of(path, Merging(keep=keep)) if isinstance(record, Line)]
    events = [record for record in decode_file(path) if isinstance(record, Event)]
    assert repr(asked) == repr(events)
    kept = [event for event in events if event.offset % 16 < 8]
    parts = [expanded(line, kept) for line in lines]
    assert sorted(event.seq for part in parts for event in part) == [event.seq for event in kept]
    for line, part in zip(lines, parts, strict=True):
        if isinstance(line, Merged):
            check(line, part)


@pytest.mark.parametrize("seed", range(10))
def test_lines_of_a_forked_child_are_merged_with_its_parents_by_their_last_events(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    for pid in (4242, 4243):
        Storing(rng, pid, 300).writer.save(tmp_path)
    records = [r for batch in SessionDecoder(tmp_path, SERIALIZERS, merging=Merging()).batches() for r in batch]
    lines = [record for record in records if isinstance(record, Line)]
    assert [line.time_ns for line in lines] == sorted(line.time_ns for line in lines)
    each = [r for batch in SessionDecoder(tmp_path, SERIALIZERS).batches() for r in batch if isinstance(r, Event)]
    parts = [expanded(line, each) for line in lines]
    assert sorted((e.journal, e.seq) for part in parts for e in part) == sorted((e.journal, e.seq) for e in each)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("cut", [200, 333])
def test_a_killed_process_leaves_whole_lines(seed: int, cut: int, tmp_path: Path) -> None:
    writer = Storing(random.Random(seed)).writer
    del writer.slots[cut * 64 :]
    writer.closed = 0
    path = writer.save(tmp_path)
    lines, events, _ = lines_and_events(path)
    assert sum(line.stores if isinstance(line, Merged) else 1 for line in lines) == len(events)


@pytest.mark.parametrize("seed", range(30))
def test_a_damaged_journal_gives_lines_of_the_events_that_can_be_read(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    path = Storing(rng, stores=300).writer.save(tmp_path)
    raw = bytearray(path.read_bytes())
    for _ in range(rng.randrange(1, 40)):
        raw[rng.randrange(4096, min(len(raw), 4096 + 64 * 500))] = rng.randrange(256)
    path.write_bytes(raw)
    lines, events, _ = lines_and_events(path)
    assert sum(line.stores if isinstance(line, Merged) else 1 for line in lines) == len(events)


def test_nothing_leaks_over_many_runs(tmp_path: Path) -> None:
    path = Storing(random.Random(1), stores=300).writer.save(tmp_path)

    def once() -> None:
        for merging in (Merging(), Merging(each=True), Merging(keep=lambda event: event.seq % 2 == 0)):
            lines_of(path, merging)
        cut = JournalDecoder(path, SERIALIZERS, merging=Merging())  # with runs that aren't complete
        cut.poll(None, 300)
        cut.close()

    for _ in range(3):
        once()
    gc.collect()
    tracemalloc.start()
    try:
        once()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(10):
            once()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
    finally:
        tracemalloc.stop()


def swept(places: list[tuple[int, int]], variable: int = 4) -> tuple[list[Line], JournalWriter]:
    """The lines of stores to these ranges of bytes, which one statement makes."""
    writer = JournalWriter()
    serializer, options = ARRAYS[variable][:2]
    memory = bytearray(4096)
    memory[:8] = (4088).to_bytes(8, "little")
    writer.watch(variable, bytes(memory), "a", serializer, options=options)
    for number, (start, stop) in enumerate(places):
        after = bytes([number % 251 + 1]) * (stop - start)
        writer.store(variable, start, bytes(memory[start:stop]), after, origin=2, site=1)
        memory[start:stop] = after
    with tempfile.TemporaryDirectory() as folder:
        records = lines_of(writer.save(Path(folder)))
    return [record for record in records if isinstance(record, Event | Merged)], writer


SHAPES = {
    "a slice": ([(at, at + 16) for at in range(8, 264, 16)], ["[0:256]"]),
    "a slice, backwards": ([(at, at + 16) for at in range(248, 7, -16)], ["[0:256]"]),
    "a slice, its end with an overlap": ([(8, 40), (40, 72), (49, 81)], ["[0:73]"]),
    "as memset writes: both ends first": ([(8, 40), (968, 1000), *((at, at + 32) for at in range(40, 968, 32))],
                                          ["[0:992]"]),
    "a step": ([(at, at + 1) for at in range(8, 1000, 8)], ["[0:985:8]"]),
    "a step, backwards": ([(at, at + 1) for at in range(992, 7, -8)], ["[0:985:8]"]),
    "columns of a matrix": ([(at, at + 8) for at in range(8, 4000, 64)], ["[0:8], [64:72], …, [3968:3976]"]),
    "a block, row by row": ([(row + at, row + at + 4) for row in range(8, 4000, 64) for at in (0, 4, 8)],
                            ["[0:12], [64:76], …, [3968:3980]"]),
    "a block, column by column": ([(row + at, row + at + 4) for at in (0, 8, 16) for row in range(8, 4000, 64)],
                                  ["[0:4], [8:12], …, [3984:3988]"]),
    "three places": ([(500, 504), (20, 24), (900, 904)], ["[12:16], [492:496], [892:896]"]),
    "a sweep, twice": (2 * [(at, at + 16) for at in range(8, 1032, 16)], ["[0:1024]", "[0:1024]"]),
    "sweeps that shrink": ([(at, at + 8) for first in (8, 808, 1608) for at in range(first, 4000, 8)],
                           ["[0:3992]", "[800:3992]", "[1600:3992]"]),
    "one place, again and again": (5 * [(8, 9)], ["[0:1]"]),
    "at random": ([(at, at + 1) for at in random.Random(3).sample(range(8, 4000), 100)], ["[53:3955]"]),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_has_a_name(shape: str) -> None:
    places, names = SHAPES[shape]
    lines, _ = swept(places)
    assert all(isinstance(line, Merged) for line in lines)
    assert [line.name for line in lines if isinstance(line, Merged)] == names


def test_one_place_tells_the_first_value_and_the_last() -> None:
    ((line,), _) = swept(5 * [(8, 9)])
    assert isinstance(line, Merged)
    assert (line.old, line.new, line.elements) == (Range(0, 0, True), Range(5, 5, True), 1)


def test_a_long_run_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    """Nor do events of another thread that wait for it: the run ends."""
    peaks = []
    for count in (10_000, 400_000):
        writer = JournalWriter(count)
        writer.watch(4, (4088).to_bytes(8, "little") + bytes(4088), "a", "bytearray", options={"capacity": 4088})
        writer.watch(5, bytes(8), "number")
        writer.store(4, 8, b"\0", b"\0", origin=2, tid=8)
        head = len(writer.slots)
        writer.store(4, 8, b"\0", b"\0", origin=2, time=TIME + 10**6)
        one = bytes(writer.slots[head:])
        writer.slots += one * count
        path = writer.save(tmp_path)
        code = (
            "import sys; sys.path[:0] = sys.argv[2:]; from test_merging import *; lines = lines_of(Path(sys.argv[1]));"
            "print(max(getattr(line, 'stores', 0) for line in lines))"
        )
        result = tmp_path / "peak"
        here = Path(__file__).parent
        command = [sys.executable, "-c", code, str(path), *sys.path]
        done = subprocess.run(
            [sys.executable, str(here / "peak.py"), str(result), *command], capture_output=True, text=True, check=True
        )
        assert int(done.stdout) == count + 1, done.stderr
        peaks.append(int(result.read_text().split()[1]))
    assert peaks[1] < peaks[0] + 8192


def test_lines_that_wait_are_so_many_at_most(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.watch(4, (4088).to_bytes(8, "little") + bytes(4088), "a", "bytearray", options={"capacity": 4088})
    writer.watch(5, bytes(8), "number")
    for offset in (8, 9):
        writer.store(4, offset, b"\0", b"\0", origin=2, tid=8, time=TIME)
    for _ in range(5000):
        writer.store(5, 0, bytes(8), bytes(8), time=TIME)
    writer.store(4, 10, b"\0", b"\0", origin=2, tid=8, time=TIME)
    lines = [line for line in lines_of(writer.save(tmp_path)) if isinstance(line, Line)]
    assert [(at, line.stores) for at, line in enumerate(lines) if isinstance(line, Merged)] == [(0, 2)]
    assert len(lines) == 5002


def test_a_run_goes_on_while_other_threads_write_the_column_beside(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.watch(2, bytes(4096), "a", "typedarray", options={"class": "Float64Array"})
    for row in range(0, 4096, 64):
        for tid in (7, 8, 9):
            writer.store(2, row + 8 * tid - 56, bytes(8), struct.pack("<d", tid), origin=2, tid=tid, site=1)
    lines = [line for line in lines_of(writer.save(tmp_path)) if isinstance(line, Line)]
    assert [(line.first.tid, line.name, line.stores, line.new) for line in lines if isinstance(line, Merged)] == [
        (7, "[0:505:8]", 64, Range(7.0, 7.0, True)),
        (8, "[1:506:8]", 64, Range(8.0, 8.0, True)),
        (9, "[2:507:8]", 64, Range(9.0, 9.0, True)),
    ]


def test_secrets_and_structs_are_told_one_by_one(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.variable(1, 64, flags=1 | 16 | 32)  # a secret, whose bytes are masked
    writer.metadata(1, name="secret", serializer="bytearray", options={"capacity": 56})
    writer.watch(2, bytes(16), "point", "struct", options={"format": "<qd", "fields": ["x", "y"]})
    for ident, first in ((1, 8), (2, 0)):
        for at in range(first, first + 16, 8):
            writer.store(ident, at, bytes(8), b"\1" * 8, origin=2)
    lines = [line for line in lines_of(writer.save(tmp_path)) if isinstance(line, Line)]
    assert [type(line) for line in lines] == 4 * [Event]


def test_a_serializers_region_names_what_was_written(tmp_path: Path) -> None:
    asked = []

    def region(spans: Any, options: Any) -> tuple[str, int] | None:
        asked.append(spans)
        return "[:, 3]", 64

    serializers = dict(SERIALIZERS)
    serializers["typedarray"] = SERIALIZERS["typedarray"]._replace(region=region, items=None)
    writer = JournalWriter()
    writer.watch(2, bytes(4096), "a", "typedarray", options={"class": "Float64Array"})
    for row in range(24, 4096, 64):
        writer.store(2, row, bytes(8), struct.pack("<d", 1), origin=2)
    path = writer.save(tmp_path)
    journal = JournalDecoder(path, serializers, merging=Merging())
    records: list[Record] = []
    while not journal.ended:
        records += journal.poll()
    (line,) = [record for record in records if isinstance(record, Merged)]
    assert asked == [(Span(24, 8, ((64, 64),)),)]
    assert (line.name, line.elements, line.old, line.new) == (
        "[:, 3]", 64, Range(0.0, 0.0, True), Range(1.0, 1.0, True),
    )  # fmt: skip
