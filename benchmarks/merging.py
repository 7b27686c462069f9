"""What merging costs: events that one statement made, read as one line each; and what it saves.

``python -m benchmarks.merging`` prints the table; of an event, in processor time. The rival is the same reading without
merging, in the same run: an event for each store.
"""

from __future__ import annotations

import random
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import memwatch_serializer_typedarray

from benchmarks.reading import CYCLE, SERIALIZERS, TIME, cycle, head, journal, timed
from benchmarks.table import Row, in_turn, markdown, median
from memwatch_core.host.merge import SessionDecoder
from memwatch_core.host.merging import Merging
from memwatch_core.records import Event, Merged

ALL = SERIALIZERS | {one.name: one for one in memwatch_serializer_typedarray.memwatch_serializers()}
EVENTS = 10**6
MANY = 10**7
ITEMS = 1 << 17
"""Of an array of 1 MiB."""


def stores(places: list[int], threads: int = 1) -> bytes:
    """``CYCLE`` stores of a number, to these items by turns, that leave each as they found it: each sweep has a site of
    its own. Several threads take turns, each in its own part of the array."""
    pack = struct.Struct("<BBBBIQIIIIIdd12x").pack
    parts = []
    for at in range(CYCLE):
        thread, turn = at % threads, at // threads
        place = places[turn % len(places)] // threads + thread * (ITEMS // threads)
        site = 1 + turn // len(places) % 8
        parts.append(pack(1, 1, 2, 0, 4001 + thread, TIME + at * 977, 1, place * 8, 8, site, 0, 0.0, 0.0))
    return b"".join(parts)


PATTERNS: dict[str, Callable[[], bytes]] = {
    "a whole array": lambda: stores(list(range(ITEMS))),
    "a column of 1,000": lambda: stores([at * 8 for at in range(1000)]),
    "a block of 100 x 10": lambda: stores([row * 64 + at for row in range(100) for at in range(10)]),
    "at random": lambda: stores([random.Random(at).randrange(ITEMS) for at in range(5000)]),
    "four threads in turn": lambda: stores(list(range(1000)), 4),
}


def drain(path: Path, merging: Merging | None) -> tuple[int, int]:
    """The numbers of events, and of lines."""
    events = lines = 0
    for batch in SessionDecoder(path, ALL, merging=merging).batches():
        lines += sum(isinstance(record, Event | Merged) for record in batch)
        events += sum(record.stores if isinstance(record, Merged) else isinstance(record, Event) for record in batch)
    return events, lines


def used(work: Callable[[], object]) -> float:
    """Seconds of processor time."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def peak(path: Path) -> float:
    """MiB of memory that a reader takes at most which merges all of a journal."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.merging", str(path)], capture_output=True, text=True, check=True
    )
    return int(done.stdout) / 1024


def log(path: Path) -> float:
    """Seconds of ``memwatch log``, in a process of its own."""
    command = [sys.executable, "-m", "memwatch_core.cli", "log", str(path)]
    return timed(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True))


def rows_in(folder: Path) -> Iterator[Row]:
    described = head(1, "typedarray", ITEMS * 8, {"class": "Float64Array"})
    slowest = 0.0
    for what, make in PATTERNS.items():
        path = journal(folder, 1, described, make(), EVENTS)
        events, lines = drain(path, Merging())
        assert events == EVENTS
        ours, theirs, ratio = in_turn(
            lambda: used(lambda: drain(path, Merging())),  # noqa: B023
            lambda: used(lambda: drain(path, None)),  # noqa: B023
            3,
        )
        scale = 1e6 / EVENTS
        yield Row(
            f"an event, {what}: 10^6 are {lines:,} lines",
            ours * scale,
            "µs",
            "each an event",
            theirs * scale,
            0.3,
            ratio,
        )
        slowest = max(slowest, ours * scale)
    yield Row("an event, merged: the slowest of these", slowest, "µs", target=0.5)
    numbers = journal(folder, 3, head(10), cycle(10), EVENTS)
    ours, theirs, ratio = in_turn(
        lambda: used(lambda: drain(numbers, Merging())), lambda: used(lambda: drain(numbers, None)), 5
    )
    scale = 1e6 / EVENTS
    yield Row(
        "an event of a number, which isn't merged", ours * scale, "µs", "without merging", theirs * scale, 1.2, ratio
    )
    path = journal(folder, 1, described, PATTERNS["a column of 1,000"](), EVENTS)
    yield Row("memwatch log, of 10^6 stores to an array", median(lambda: log(path), 3), "s", target=3)
    long = journal(folder, 2, described, PATTERNS["a whole array"](), MANY)
    yield Row("memory of a reader, 10^7 of them", peak(long), "MiB", "10^6", peak(path), 1.2)


def rows() -> list[Row]:
    """All figures of this file."""
    with tempfile.TemporaryDirectory() as folder:
        return list(rows_in(Path(folder)))


if __name__ == "__main__":
    if sys.argv[1:]:  # a process of its own: what it takes
        drain(Path(sys.argv[1]), Merging())
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    else:
        print(markdown(rows()))
