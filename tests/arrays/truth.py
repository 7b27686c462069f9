"""Runs operations on watched arrays and on plain ones, in a process with one tracker, and replays the journal.

python truth.py all TRACKER FOLDER FIRST STEP [COUNT]: prints what was run, and what isn't true, as JSON
python truth.py threads TRACKER FOLDER SECONDS: four threads on one array
python truth.py killed TRACKER FOLDER: writes until it is killed
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import memwatch_serializer_numpy
import numpy as np
from array_operations import OPERATIONS, Operation, sample

from memwatch_core import watch
from memwatch_core.adapter.watch import variable
from memwatch_core.host.contents import Content
from memwatch_core.host.decoder import JournalDecoder
from memwatch_core.native import core
from memwatch_core.records import Event, Lost, Record, Watched
from memwatch_plugins.testing.sessions import real_session

SERIALIZERS = memwatch_serializer_numpy.memwatch_serializers()


class Replay:
    """A journal's variables: what they held at first, and after each event."""

    def __init__(self, journal: Path) -> None:
        contents: list[Content] = []
        decoder = JournalDecoder(journal, {each.name: each for each in SERIALIZERS}, contents=contents.append)
        records: list[Record] = []
        while not decoder.ended:
            found = decoder.poll()
            records += found
            if not found and not decoder.live:
                break
        self.events = [record for record in records if isinstance(record, Event)]
        self.sizes = {record.variable.id: record.variable.size for record in records if isinstance(record, Watched)}
        self.wrong = [str(record) for record in records if isinstance(record, Lost)]
        self.state = {ident: bytearray(size) for ident, size in self.sizes.items()}
        self.told: dict[int, list[tuple[int, int]]] = {}
        """Of a large variable, the bytes that are known: those of pages that were stored to."""
        first = {}
        for event in reversed(self.events):
            first[event.variable_id] = event.seq
        for content in contents:
            if not content.begins and not content.always and content.seq >= first.get(content.variable_id, 1 << 62):
                self.wrong.append(f"contents that no event explains: {content}")
            if content.always:
                told = self.told.setdefault(content.variable_id, [])
                told.append((content.offset, content.offset + len(content.data)))
            self._put(content.variable_id, content.offset, content.data)
        for event in self.events:
            before = self.state[event.variable_id][event.offset : event.offset + len(event.before)]
            if before != event.before:
                self.wrong.append(f"before event {event.seq}: {before.hex()}, and it says {event.before.hex()}")
            self._put(event.variable_id, event.offset, event.after)

    def agrees(self, ident: int, data: bytes) -> bool:
        """Whether a variable ends with these bytes, as far as is known."""
        state = self.state[ident]
        pieces = self.told.get(ident, [(0, len(data))])
        return all(
            state[start:stop][: len(data) - start] == data[start:stop] for start, stop in pieces if start < len(data)
        )

    def _put(self, ident: int, offset: int, data: bytes) -> None:
        state = self.state[ident]
        data = data[: max(0, len(state) - offset)]
        state[offset : offset + len(data)] = data


def same(one: Any, other: Any) -> bool:
    """Of results: equal, or not numbers both."""
    if isinstance(one, np.ndarray | np.generic) and isinstance(other, np.ndarray | np.generic):
        if one.dtype.kind in "fc":
            return one.dtype == other.dtype and np.allclose(one, other, rtol=1e-3, equal_nan=True)
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other)


def in_memory(a: Any) -> bytes:
    """Its bytes as they lie, gaps left out."""
    order = sorted(range(a.ndim), key=lambda axis: (-abs(a.strides[axis]), axis))
    return a.transpose(order).tobytes()


def meant(a: Any) -> bytes:
    """The same without the six bytes of a ``longdouble`` that mean nothing."""
    data = in_memory(a)
    return np.frombuffer(data, "u1").reshape(-1, 16)[:, :10].tobytes() if a.dtype.char in "gG" else data


def perform(operation: Operation, finals: dict[int, bytes], names: dict[int, str]) -> list[str]:
    wrong = []
    plain = operation.make(np.random.default_rng(7))
    watched = tuple(watch(a, name=operation.name) for a in operation.make(np.random.default_rng(7)))
    for a, b in zip(plain, watched, strict=True):
        if (type(a), a.dtype, a.shape) != (type(b), b.dtype, b.shape) or (a.size and a.strides != b.strides):
            wrong.append(f"{operation.name}: {a.dtype, a.shape, a.strides} is watched as {b.dtype, b.shape, b.strides}")
    one, other = operation.run(*plain), operation.run(*watched)
    if not same(one, other):
        wrong.append(f"{operation.name}: gives {str(other)[:200]}, and of plain arrays {str(one)[:200]}")
    for a, b in zip(plain, watched, strict=True):
        if meant(a) != meant(b):
            wrong.append(f"{operation.name}: leaves {str(b)[:200]}, and of plain arrays {str(a)[:200]}")
        number = variable(b).id
        finals[number], names[number] = in_memory(b), operation.name
    return wrong


def run(operations: Iterable[Operation], tracker: Any, folder: Path) -> dict[str, Any]:
    core.start(tracker)
    wrong: list[str] = []
    finals: dict[int, bytes] = {}
    names: dict[int, str] = {}
    with real_session(folder, serializers=SERIALIZERS) as session:
        for operation in operations:
            wrong += perform(operation, finals, names)
        session.leave()
        (journal,) = session.folder.glob("*.mwj")
        replay = Replay(journal)
    wrong += replay.wrong[:20]
    for number, data in finals.items():
        if not replay.agrees(number, data):
            wrong.append(f"{names[number]}: the journal ends with other bytes than the array")
    written = {event.variable_id for event in replay.events}
    silent = {names[n] for n in finals} - {names[n] for n in written}
    return {"ran": len({*names.values()}), "events": len(replay.events), "silent": sorted(silent), "wrong": wrong[:40]}


def threads(tracker: Any, folder: Path, seconds: float) -> dict[str, Any]:
    """Four threads add to, sort and copy parts of one array that overlap."""
    core.start(tracker)
    with real_session(folder, serializers=SERIALIZERS) as session:
        a = watch(np.arange(4096.0))
        until = time.monotonic() + seconds

        def write(seed: int) -> None:
            chance = random.Random(seed)
            while time.monotonic() < until:
                at = chance.randrange(4000)
                part = a[at : at + chance.randrange(1, 90)]
                way = chance.randrange(4)
                if way == 0:
                    part.sort()
                elif way == 1:
                    part += 1
                elif way == 2:
                    part.fill(seed)
                else:
                    np.sqrt(abs(part), out=part)

        workers = [threading.Thread(target=write, args=(seed,)) for seed in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        final, number = a.tobytes(), variable(a).id
        session.leave()
        (journal,) = session.folder.glob("*.mwj")
        replay = Replay(journal)
    wrong = replay.wrong[:20]
    if not replay.agrees(number, final):
        wrong.append("the journal ends with other bytes than the array")
    writers = len({event.tid for event in replay.events})
    return {"events": len(replay.events), "writers": writers, "wrong": wrong}


def killed(tracker: Any, folder: Path) -> None:
    """Turn after turn, a piece of the first array and a row of the second; the folder is told when it begins."""
    core.start(tracker)
    with real_session(folder, serializers=SERIALIZERS) as session:
        a, b = watch(np.zeros(40_000, "u4")), watch(np.zeros((64, 64), "u4", order="F"))
        print(json.dumps({"folder": str(session.folder)}), flush=True)
        turn = 0
        while True:
            turn += 1
            a[(turn * 37) % 39_000 :][:100] += 1
            b[turn % 64] = turn
            np.add.at(a, [1, 2, 2], 1)


def main(mode: str, tracker: str, folder: str, *rest: str) -> None:
    warnings.simplefilter("ignore")
    if mode == "killed":
        killed(tracker, Path(folder))
    elif mode == "threads":
        print(json.dumps(threads(tracker, Path(folder), float(rest[0]))))
    else:
        first, step = int(rest[0]), int(rest[1])
        every: Sequence[Operation] = sample(int(rest[2])) if len(rest) > 2 else list(OPERATIONS.values())
        print(json.dumps(run(every[first::step], tracker, Path(folder))))


if __name__ == "__main__":
    main(*sys.argv[1:])
