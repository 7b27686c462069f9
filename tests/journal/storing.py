"""Writes journals in which several threads store to arrays, as loops of machine code do: in vectors and single items,
forth and back, in columns, blocks and at random, interleaved by chance."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from typing import NamedTuple

from journal_writer import JournalWriter

ARRAYS = {1: ("bytearray", {"capacity": 504}, 8, "B"), 2: ("typedarray", {"class": "Float64Array"}, 0, "d"),
          3: ("typedarray", {"class": "Int32Array"}, 0, "i"), 4: ("bytearray", {"capacity": 4088}, 8, "B")}  # fmt: skip
"""Serializer, options, first byte of the items, their letter."""
SIZE = {1: 512, 2: 4096, 3: 1024, 4: 4096}
NUMBER = 5
"""A variable that is a single number."""


class Loop(NamedTuple):
    """What one statement stores: ranges of bytes of a variable, one after the other."""

    variable: int
    ranges: list[tuple[int, int]]
    site: int
    uniform: bool


def swept(rng: random.Random, low: int, high: int, item: int) -> list[tuple[int, int]]:
    """A sweep over [low, high), in vectors and then items."""
    vector = item * rng.choice((1, 1, 2, 4))
    ranges, at = [], low
    while at < high:
        width = vector if at + vector <= high else item
        ranges.append((at, min(at + width, high)))
        at += width
    return ranges if rng.random() < 0.7 else ranges[::-1]


def loop(rng: random.Random, sites: int) -> Loop:
    variable = rng.choice([*ARRAYS, *ARRAYS, NUMBER])
    site, uniform = rng.randrange(1, sites + 1), rng.random() < 0.5
    if variable == NUMBER:
        return Loop(variable, [(0, 8)] * rng.randrange(1, 4), site, uniform)
    base, item = ARRAYS[variable][2], struct.calcsize(ARRAYS[variable][3])
    items = (SIZE[variable] - base) // item
    first, count = rng.randrange(items), rng.randrange(1, 60)
    low, high = base + first * item, base + min(items, first + count) * item
    kind = rng.randrange(8)
    if kind == 0:
        ranges = swept(rng, low, high, item)
    elif kind == 1:  # a column
        step = rng.randrange(1, 9) * item
        ranges = [(at, at + item) for at in range(low, min(SIZE[variable], low + count * step) - item + 1, step)]
    elif kind == 2:  # a block
        width, step = rng.randrange(1, 5) * item, rng.randrange(1, 12) * item
        rows = range(low, min(SIZE[variable], low + count * step) - width + 1, step)
        ranges = [each for row in rows for each in swept(random.Random(1), row, row + width, item)]
    elif kind == 3:  # the same, column after column
        step, columns = rng.randrange(4, 12) * item, rng.randrange(1, 4)
        rows = range(low, min(SIZE[variable], low + count * step) - columns * item + 1, step)
        ranges = [(row + at * item, row + (at + 1) * item) for at in range(columns) for row in rows]
    elif kind == 4:  # at random
        places = [base + rng.randrange(items) * item for _ in range(count)]
        ranges = [(at, at + item) for at in (places if rng.random() < 0.5 else sorted(places))]
    elif kind == 5:  # again and again
        ranges = swept(rng, low, high, item) * rng.randrange(2, 4)
    elif kind == 6:  # one place
        ranges = [(low, low + item)] * count
    else:  # items in part
        ranges = [(at, min(at + 3, SIZE[variable])) for at in range(low, high, 3)]
    return Loop(variable, ranges or [(low, low + item)], site, uniform)


def steps(rng: random.Random, sites: int) -> Iterator[tuple[Loop, tuple[int, int]]]:
    while True:
        made = loop(rng, sites)
        for each in made.ranges:
            yield made, each


class Storing:
    """Random loops of several threads, as a journal."""

    def __init__(self, rng: random.Random, pid: int = 4242, stores: int = 600, whole: bool = False) -> None:
        """``whole``: no slot is left out, so nothing is told at the end of a batch."""
        self.whole, self.rng, self.writer = whole, rng, JournalWriter(pid)
        writer = self.writer
        self.memory = {ident: bytearray(SIZE[ident]) for ident in ARRAYS} | {NUMBER: bytearray(8)}
        for ident in ARRAYS:
            if ARRAYS[ident][2]:
                self.memory[ident][:8] = (SIZE[ident] - 8).to_bytes(8, "little")
            serializer, options = ARRAYS[ident][:2]
            writer.watch(ident, bytes(self.memory[ident]), f"array{ident}", serializer, options=options)
        writer.watch(NUMBER, bytes(8), "number")
        for site in range(1, 4):
            writer.site(site, "/srv/a.py", site, "main")
        for context in (1, 2):
            writer.json(9, context, {"id": context, "driver": "x", "statement": "SELECT ?", "statement_hash": "1"})
        threads = {tid: steps(rng, rng.choice((1, 3))) for tid in range(7, 7 + rng.randrange(1, 5))}
        self.watched = NUMBER
        tid = 7
        for _ in range(stores):
            if rng.random() < rng.choice((0.02, 0.3)):
                tid = rng.choice([*threads])
            self.store(tid, *next(threads[tid]))
            self.sometimes()

    def store(self, tid: int, made: Loop, where: tuple[int, int]) -> None:
        rng, (start, stop) = self.rng, where
        before = bytes(self.memory[made.variable][start:stop])
        after = bytes([made.site]) * len(before) if made.uniform else rng.randbytes(len(before))
        self.memory[made.variable][start:stop] = after
        late = rng.choice((10**3, 10**6)) if rng.random() > 0.01 else 300 * 10**6
        self.writer.store(
            made.variable, start, before, after, site=made.site, tid=tid, time=self.writer.clock + late,
            origin=1 if rng.random() < 0.02 else 2, context=rng.choice((1, 2)) if rng.random() < 0.01 else 0,
            flags=rng.random() < 0.01, native=rng.randrange(1, 4) if rng.random() < 0.5 else None,
        )  # fmt: skip

    def sometimes(self) -> None:
        """Something else than a store."""
        chance = self.rng.random()
        if chance < 0.003:
            self.watched += 1
            self.writer.watch(self.watched, bytes(8), "later")
        elif chance < 0.006:
            self.writer.thread(7, "main")
        elif chance < 0.008:
            ident = self.rng.choice([*ARRAYS])
            self.memory[ident][20:24] = b"lost"  # a change that nobody recorded
        elif chance < 0.009 and self.watched > NUMBER:
            self.writer.unregistered(self.watched)
        elif chance < 0.011 and not self.whole:
            self.writer.slots += bytes(64)  # never committed
