"""The value of a bytearray can be told from the parts of its events alone, by the recipe in docs/events.md."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import memwatch_serializer_bytes
import memwatch_serializer_scalars
import pytest

from memwatch_core import watch
from memwatch_core.cli.filters import Filters
from memwatch_core.records import Event, Lost, Part, Watched
from memwatch_core.rendering.text import Lines
from memwatch_plugins.testing.sessions import real_session

SERIALIZERS = [
    *memwatch_serializer_bytes.memwatch_serializers(),
    *memwatch_serializer_scalars.memwatch_serializers(),
]
CAPACITIES = (64, 4_000, 9_000, 65_528, 65_529, 200_000)
"""In one record and in several; told as a whole and not."""


def replay(value: bytearray, part: Part) -> None:
    """The recipe."""
    if part.name == "len()":
        del value[part.new :]
    else:
        start, stop = (int(number) for number in part.name.strip("[]").split(":"))
        value[start:stop] = part.new


def check_old(value: bytearray, part: Part) -> None:
    """``old`` is what was there, and no more than that."""
    if part.name != "len()":
        start, stop = (int(number) for number in part.name.strip("[]").split(":"))
        assert bytes(value[start:stop]) == part.old


def mutate(x: Any, draw: random.Random, capacity: int) -> None:
    """One of all that a program can do to a bytearray; its length is anything, rather often at a limit."""
    n, some = len(x), draw.choice((0, 1, 3, 100, 4_080, 4_088, 4_089, 5_000, 30_000))
    room = capacity - n
    start = draw.randrange(n + 1)
    stop = draw.choice((n, min(n, start + some), draw.randrange(start, n + 1)))
    alike = bytes([draw.randrange(3)]) * some
    fresh = draw.choice((alike, draw.randbytes(some)))
    match draw.randrange(12):
        case 0 if room:
            x.append(draw.randrange(256))
        case 1:
            x.extend(fresh[:room])
        case 2 if room:
            x.insert(start, draw.randrange(3))
        case 3 if n:
            x.pop(draw.randrange(n))
        case 4 if n:
            x.remove(x[draw.randrange(n)])
        case 5:
            x.clear()
        case 6:
            del x[start:stop]
        case 7:
            x[start:stop] = fresh[: room + stop - start]
        case 8:
            x[:] = fresh[:capacity]
        case 9:
            x.reverse()
        case 10 if n:
            x[draw.randrange(n)] = draw.randrange(256)
        case 11 if n:
            view = memoryview(x)
            view[start:stop] = bytes(stop - start)
            view.release()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("capacity", CAPACITIES)
def test_a_bytearray_is_told_by_the_parts_of_its_events(capacity: int, seed: int, tmp_path: Path) -> None:
    draw = random.Random(f"{capacity} {seed}")
    first = draw.randbytes(draw.choice((0, 10, min(capacity, 6_000))))
    values: list[tuple[int, bytes]] = []
    with real_session(tmp_path, serializers=SERIALIZERS) as session:
        x = watch(bytearray(first), name="x", capacity=capacity)
        marks = watch(0, name="marks")
        for turn in range(120):
            mutate(x, draw, capacity)
            values.append((turn, bytes(x)))
            marks.value = turn
        records = session.records()
    assert not [record for record in records if isinstance(record, Lost)]
    told, turns = bytearray(first), iter(values)
    for event in (record for record in records if isinstance(record, Event)):
        if event.variable == "marks":
            turn, value = next(turns)
            assert (event.new, bytes(told)) == (turn, value)
            continue
        assert event.part is not None
        check_old(told, event.part)
        replay(told, event.part)
        if event.new is not None and event.part.name.startswith("[0:") and event.offset < 8:
            assert bytes(event.new) == told
        if capacity > 1 << 16:
            assert event.part.name == "len()" or len(event.part.new) <= 4096
    assert next(turns, None) is None


def test_a_bytearray_in_a_large_room_that_shrinks_tells_its_lengths(tmp_path: Path) -> None:
    with real_session(tmp_path, serializers=SERIALIZERS) as session:
        n = watch(bytearray(b"abc"), name="n", capacity=100_000)
        n.remove(98)
        n[:] = b"xyzxyz"
        del n[1:5]
        n += b"12"
        n.pop()
        records = session.records()
    (watched,) = (record for record in records if isinstance(record, Watched))
    events = [record for record in records if isinstance(record, Event)]
    assert watched.part == Part("[0:3]", None, b"abc")
    assert "n[0:3] is watched: b'abc'" in next(iter(Lines().format([watched])))
    assert [event.part for event in events] == [
        Part("[0:3]", b"abc", b"ac"),
        Part("[0:6]", b"ac", b"xyzxyz"),
        Part("[0:6]", b"xyzxyz", b"xz"),
        Part("[0:4]", b"xz", b"xz12"),
        Part("len()", 4, 3),
    ]
    for text, found in {"n[4]": [2, 3], "n[3]": [2, 3, 4, 5], "n[2]": [1, 2, 3, 4], "len(n)": [1, 2, 3, 4, 5]}.items():
        wanted = Filters([text])
        assert [event.seq for event in events if wanted(event)] == found, text


@pytest.mark.parametrize("capacity", [60_000, 100_000])
def test_bytes_behind_the_value_are_not_shown_as_its_old_ones(capacity: int, tmp_path: Path) -> None:
    with real_session(tmp_path, serializers=SERIALIZERS) as session:
        x = watch(bytearray(b"x") * 20_000, name="x", capacity=capacity)
        del x[203:]
        x += b"Q" * 10_000
        events = [record for record in session.records() if isinstance(record, Event)]
    assert [event.part and (event.part.name, event.part.old, event.part.new) for event in events] == [
        ("len()", 20_000, 203),
        ("[203:4299]", b"", b"Q" * 4096),
        ("[4299:8395]", b"", b"Q" * 4096),
        ("[8395:10203]", b"", b"Q" * 1808),
        ("len()", 203, 10_203),
    ]
