"""Bytes and their marks are as a list with one entry for each byte has them."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from memwatch_core.answers import memory
from memwatch_core.answers.memory import Memory, Sites
from memwatch_core.records import Event


def event(offset: int, data: bytes, seq: int) -> Event:
    empty = Event(*[None] * 19)  # type: ignore[arg-type]
    return msgspec.structs.replace(empty, offset=offset, before=data, after=data, seq=seq)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("seed", range(8))
def test_bytes_and_who_wrote_them_are_those_of_a_list_of_bytes(
    monkeypatch: pytest.MonkeyPatch, seed: int, known: bool
) -> None:
    monkeypatch.setattr(memory, "PAGE", 16)
    monkeypatch.setattr(memory, "_WHOLE", bytes([1]) * 16)
    draw, sites = random.Random(seed), Sites()
    size = draw.randrange(1, 70)
    found = Memory(size, known, 0)
    model: list[int | None] = [0 if known else None] * size
    marks: list[tuple[int | None, int, frozenset[int]]] = [(None, 0, frozenset())] * size
    for number in range(1, 120):
        offset, data, site = draw.randrange(size), draw.randbytes(draw.randrange(24)), draw.choice([1, 2])
        stop = min(size, offset + len(data))
        match draw.choice(["write"] * 5 + ["fill", "find", "grow"]):
            case "write":
                found.write(event(offset, data, number), number, site, sites)
                model[offset:stop] = data[: stop - offset]
                marks[offset:stop] = [(number, writes + 1, by | {site}) for _, writes, by in marks[offset:stop]]
            case "fill":
                found.fill(offset, data)
                model[offset:stop] = data[: stop - offset]
            case "find":
                found.find(event(offset, data, number))
                model[offset:stop] = [
                    now if now is not None else then for now, then in zip(model[offset:stop], data, strict=False)
                ]
            case "grow" if size < 90:
                found.resize(size + 5)
                size += 5
                model += [0 if known else None] * 5
                marks += [(None, 0, frozenset[int]())] * 5
        start = draw.randrange(size)
        stop = draw.randrange(start, size) + 1
        assert [*found.known(start, stop)] == [each is not None for each in model[start:stop]]
        assert found.peek(start, stop) == bytes(each or 0 for each in model[start:stop])
        assert (found.read(start, stop) is None) == (None in model[start:stop])
        told = [
            (mark.last and mark.last.seq, mark.writes, mark.sites)
            for first, last, mark in found.stretches(start, stop)
            for _ in range(first, last)
        ]
        assert told == marks[start:stop]


def test_look_at_a_few_bytes_does_not_go_through_all_pages() -> None:
    gone_through = 0

    class Pages(dict[int, Any]):
        def __iter__(self) -> Iterator[int]:
            nonlocal gone_through
            for number in super().__iter__():
                gone_through += 1
                yield number

    buffer, sites = Memory(64 * memory.PAGE, True, 0), Sites()
    for number in range(64):
        buffer.write(event(number * memory.PAGE + 7, b"x", number + 1), number + 1, 1, sites)
    buffer._pages = Pages(buffer._pages)
    for at in range(0, 64 * memory.PAGE, memory.PAGE // 2):
        assert [*buffer.stretches(at, at + 8)]
        assert buffer.is_same(buffer, at, at + 8)
    assert gone_through == 0
    assert len([*buffer.stretches(0, 1 << 40)]) > 64
    assert gone_through == 64


def test_small_values_take_little_memory() -> None:
    before = sys.getsizeof(bytearray(4096))
    small = Memory(8, False, 0)
    small.write(event(0, bytes(8), 1), 1, 1, Sites())
    (page,) = small._pages.values()
    assert sys.getsizeof(page.data) < before // 10
