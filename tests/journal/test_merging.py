"""Events that one statement made become one line: which ones, where the line stands, and what it says."""

from __future__ import annotations

import random
import struct
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from decoding import SERIALIZERS, decode_file
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
    befores, afters = [], []
    for event in events:
        for at in range(0, len(event.after), size):
            item = event.offset + at
            assert (item - base) % size == 0
            befores.append(event.before[at : at + size])
            afters.append(event.after[at : at + size])
            found.setdefault(item, befores[-1])
            left[item] = afters[-1]
    return found, left, befores, afters


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
    found, left, befores, afters = items_of(events)
    if len(mine) == line.bytes:  # nothing was written twice
        befores, afters = [*found.values()], [*left.values()]
    check_range(line.old, letter, [*found.values()], befores)
    check_range(line.new, letter, [*left.values()], afters)


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
