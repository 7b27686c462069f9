"""What reading costs: journal bytes to decoded events, and on to lines of JSON; and how that grows.

``python -m benchmarks.reading`` prints the table. The journals are written here, byte by byte as
docs/journal-format.md says, so that nothing but the reading side is measured. The first rival is the least that a
reader of the slots in Python could do, the second the fastest encoder there is, given finished dictionaries.
"""

from __future__ import annotations

import json
import random
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import memwatch_serializer_bytes
import memwatch_serializer_scalars
import memwatch_serializer_struct
import memwatch_sink_jsonl
import orjson
from click.testing import CliRunner

from benchmarks.table import Row, alternate, markdown, median
from memwatch_core.cli.filters import Filters
from memwatch_core.cli.group import group
from memwatch_core.host import decoder, held, history, indexing
from memwatch_core.host.merge import SessionDecoder
from memwatch_core.journal import stores
from memwatch_core.journal.layout import STORE
from memwatch_core.records import Event, Record, Site

PLUGINS = (memwatch_serializer_scalars, memwatch_serializer_bytes, memwatch_serializer_struct)
SERIALIZERS = {one.name: one for plugin in PLUGINS for one in plugin.memwatch_serializers()}
EVENTS = 200_000
CYCLE = 65_536
INDEXED = 10**7
TIME = 1_795_446_245_000_000_000
CONTEXT = {
    "driver": "sqlite3",
    "statement": "SELECT qty, price FROM orders WHERE day = ? AND item = ?",
    "statement_hash": "9f86d081884c7d65",
    "parameters": ["2c26b46b68ffc68f", "fcde2b2edba56bf4"],
}


def blob(kind: int, ident: int, payload: bytes, tid: int = 0) -> bytes:
    """A record with a payload."""
    slots = 1 + max(0, -(-(len(payload) - 40) // 60))
    raw = struct.pack("<BBBBIQII", kind, slots, 0, 0, tid, TIME, ident, len(payload)) + payload[:40]
    parts = [raw.ljust(64, b"\0")]
    parts += [(b"\2\0\0\0" + payload[at : at + 60]).ljust(64, b"\0") for at in range(40, len(payload), 60)]
    return b"".join(parts)


def head(variables: int, serializer: str = "int64", size: int = 8, options: Any = None) -> bytes:
    """Variables, threads, sites and contexts."""
    parts = [blob(11, 0, f"worker-{tid}".encode(), tid) for tid in range(4001, 4005)]
    for site in range(1, 9):
        names = b"/srv/shop/orders.py", b"add_order"
        parts.append(blob(8, site, struct.pack("<IIHH", 40 + site, 4, *map(len, names)) + b"".join(names)))
    parts += [blob(9, context, json.dumps(CONTEXT | {"id": context}).encode()) for context in range(1, 5)]
    used = sum(map(len, parts)) // 64
    for ident in range(1, variables + 1):
        about = {"name": f"total {ident}", "serializer": serializer, "options": options or {}}
        for part in (
            struct.pack("<BBBBIQIIQQQQ8x", 4, 1, 0, 0, 4001, TIME, ident, 3, size, 0, 2**64 - 1, 0),
            blob(5, ident, json.dumps(about).encode()),
        ):
            room = -used % 16384
            if room < len(part) // 64:
                parts.append(struct.pack("<BBBB60x", 3, 1, 0, 0) * room)
                used += room
            parts.append(part)
            used += len(part) // 64
    return b"".join(parts)


def cycle(variables: int, form: str = "<q", shuffled: bool = False) -> bytes:
    """``CYCLE`` stores of 8 bytes that leave each variable as they found it: to be repeated as often as one likes."""
    rng, parts = random.Random(1), []
    last = [0] * (variables + 1)
    order = [rng.randrange(variables) + 1 if shuffled else at % variables + 1 for at in range(CYCLE)]
    final = {ident: at for at, ident in enumerate(order)}
    pack = struct.Struct("<BBBBIQIIIII" + form[1:] * 2 + "12x").pack
    for at, ident in enumerate(order):
        value = 0 if final[ident] == at else rng.randrange(1, 1 << 40)
        context = (0, 1, 1, 2)[at % 4]
        parts.append(
            pack(1, 1, 1, 0, 4001 + at % 4, TIME + at * 977, ident, 0, 8, 1 + at % 8, context, last[ident], value)
        )
        last[ident] = value
    return b"".join(parts)


def journal(folder: Path, pid: int, records: bytes, stores_of: bytes, events: int) -> Path:
    """A journal of a process that has closed it."""
    slots = len(records) // 64 + events
    raw = b"MEMWATCH" + struct.pack("<HHIIIQQ", 1, 0, 4096, 64, 16384, pid, TIME)
    raw += b"python".ljust(16, b"\0") + b"uffd-sigbus".ljust(16, b"\0") + bytes(16) + struct.pack("<II", 4096, 1)
    raw = raw.ljust(128, b"\0") + struct.pack("<Q56xQQ", slots, 0, TIME + 10**12)
    path = folder / f"{pid}-python.mwj"
    with path.open("wb") as file:
        file.write(raw.ljust(4096, b"\0") + records)
        for _ in range(events // CYCLE):
            file.write(stores_of)
        file.write(stores_of[: events % CYCLE * 64])
        file.truncate(4096 + -(-slots // 16384) * 16384 * 64)
    return path


def records_of(path: Path) -> Iterator[list[Record]]:
    return SessionDecoder(path, SERIALIZERS).batches()


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def read(path: Path) -> int:
    """Decodes a journal; how many events it had."""
    return sum(type(record) is Event for record in [record for batch in records_of(path) for record in batch])


def drain(path: Path) -> None:
    """Decodes a journal, batch after batch, as a host does."""
    for _ in records_of(path):
        pass


def unpack(data: bytes) -> None:
    """The rival: the fields of each slot, and nothing done with them."""
    for _ in STORE.iter_unpack(data):
        pass


def place_of(site: Site | None) -> dict[str, Any] | None:
    if site is None:
        return None
    return {"file": site.file, "line": site.line, "column": site.column, "function": site.function}


def plain(event: Event) -> dict[str, Any]:
    """An event as a dictionary of the schema."""
    site, context = event.site, event.context
    names = ("pid", "runtime", "tid", "thread", "variable", "variable_id", "path", "origin", "offset")
    return {
        "seq": event.seq,
        "time": event.time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        **{name: getattr(event, name) for name in names},
        "before": event.before.hex(),
        "after": event.after.hex(),
        "old": event.old,
        "new": event.new,
        "changed": event.changed,
        "exact": event.exact,
        "journal": event.journal,
        "site": place_of(site),
        "operation": event.operation,
        "own": place_of(event.own),
        "stack": None if event.stack is None else [place_of(caller) for caller in event.stack],
        "stack_cut": event.stack_cut,
        "stack_inexact": event.stack_inexact,
        "aliases": list(event.aliases),
        "aliases_cut": event.aliases_cut,
        "request": event.request,
        "part": event.part and {"name": event.part.name, "old": event.part.old, "new": event.part.new},
        "call": event.call and {"name": event.call.name, "fd": event.call.fd, "bytes": event.call.bytes},
        "context": context
        and {
            "id": context.id,
            "driver": context.driver,
            "database": context.database,
            "server": context.server,
            "statement": context.statement,
            "statement_hash": context.statement_hash,
            "parameters": context.parameters,
            "transaction": context.transaction,
            "outcome": context.outcome,
        },
        "native": None,
    }


def dump(dictionaries: list[dict[str, Any]]) -> None:
    """The other rival: dictionaries that exist already become JSON, and nothing is done with it."""
    for dictionary in dictionaries:
        orjson.dumps(dictionary)


def to_sink(path: Path, out: Path) -> None:
    """Journal to file, through the sink."""
    sink = memwatch_sink_jsonl.JsonLines(memwatch_sink_jsonl.Settings(path=str(out), append=False))
    for batch in records_of(path):
        sink.write(batch)
    sink.close()


def whole(path: Path, events: int, times: int) -> float:
    """µs an event, opening the journal and what it registers included."""
    return median(lambda: timed(lambda: drain(path)), times) / events * 1e6


def per_event(path: Path, times: int = 5) -> float:
    """µs an event, from the batch on that has the first one: what was registered before is not counted."""

    def once() -> float:
        events, begin = 0, 0.0
        for batch in records_of(path):
            end = time.perf_counter()
            if begin:
                events += len(batch)
            elif type(batch[-1]) is Event:
                begin = end
        return (end - begin) / events * 1e6

    return median(once, times)


def against_rivals(folder: Path) -> Iterator[Row]:
    records, repeated = head(10), cycle(10)
    path = journal(folder, 1, records, repeated, EVENTS)
    slots = repeated * (EVENTS // CYCLE) + repeated[: EVENTS % CYCLE * 64]
    assert read(path) == EVENTS
    scale = 1e6 / EVENTS
    ours, theirs = alternate(lambda: timed(lambda: drain(path)), lambda: timed(lambda: unpack(slots)))
    yield Row("journal to decoded events", ours * scale, "µs", "struct.iter_unpack", theirs * scale, 3)

    dictionaries = [plain(record) for batch in records_of(path) for record in batch if isinstance(record, Event)]
    out = folder / "events.jsonl"
    to_sink(path, out)
    lines = [line for line in out.read_bytes().splitlines() if b'"seq"' in line]
    assert list(map(orjson.loads, lines)) == list(map(orjson.loads, map(orjson.dumps, dictionaries)))
    ours, theirs = alternate(lambda: timed(lambda: to_sink(path, out)), lambda: timed(lambda: dump(dictionaries)), 7)
    yield Row("journal to file, through the sink jsonl", ours * scale, "µs", "orjson.dumps alone", theirs * scale, 2.5)

    four = folder / "four"
    four.mkdir()
    for pid in range(2, 6):
        journal(four, pid, records, repeated, EVENTS // 4)
    merged = median(lambda: timed(lambda: drain(four)))
    yield Row("to decoded events, four processes merged", merged * scale, "µs")


def growth(folder: Path) -> Iterator[Row]:
    records, repeated = head(1), cycle(1)
    costs = {}
    for power in range(3, 8):
        path = journal(folder, 2, records, repeated, 10**power)
        costs[power] = whole(path, 10**power, 200 if power == 3 else 50 if power == 4 else 5)
        if power == 7:
            last = median(lambda: timed(lambda: history.last(path, 20, None, 0, lambda _: None)), 3)  # noqa: B023
            yield Row("the last 20 of 10^7 events", last, "s", "decoding all", costs[power] * 10, 0.25)
        path.unlink()
        path.with_suffix(".mwi").unlink(missing_ok=True)
    for power in range(4, 8):
        yield Row(f"an event of 10^{power}", costs[power], "µs", "of 10^3", costs[3], 1.25)
    one = 0.0
    for variables, order in ((1, "random"), (100, "random"), (10_000, "random"), (100_000, "random"), (60_000, "turn")):
        records, repeated = head(variables), cycle(variables, shuffled=order == "random")
        without = journal(folder, 1, records, repeated, 0)
        path = journal(folder, 2, records, repeated, 10**6)
        cost = per_event(path, 3)
        one = one or cost
        if variables > 1:
            yield Row(
                f"an event of {variables:,} variables, {'at' if order == 'random' else 'in'} {order}",
                cost,
                "µs",
                "of 1 variable",
                one,
                2,
            )
        if variables == 100_000:
            registering = median(lambda: timed(lambda: drain(without)), 3)  # noqa: B023
            yield Row("registering one, with its metadata", registering / variables * 1e6, "µs")


def indexed(folder: Path) -> Iterator[Row]:
    """CPU time of what the index of 10^7 events costs, and of what it saves."""

    def used(work: Callable[[], object]) -> float:
        begin = time.process_time()
        work()
        return time.process_time() - begin

    def make() -> None:
        path.with_suffix(".mwi").unlink(missing_ok=True)
        with indexing.closing(indexing.of_session(path)) as _:
            pass

    def last() -> object:
        return history.last(path, 20, None, 0, lambda _: None)

    def filtered() -> None:
        wanted = Filters(places=["nosuch.py:7"])
        only = history.Only(wanted.wanted, 0, wanted, lambda _: None, history.by(wanted.by))
        for _ in history.read(path, lambda _: None, only=only):
            pass

    def moment() -> None:
        held.contents_at(path, held.slot_of(path, seq=INDEXED // 2 + 77), SERIALIZERS)

    path = journal(folder, 2, head(10), cycle(10), INDEXED)
    works: list[tuple[str, Callable[[], object]]] = [
        ("the last 20", last), ("a line that isn't there", filtered), ("what variables held in the middle", moment),
    ]  # fmt: skip
    yield Row("making the index, an event", median(lambda: used(make), 3) / INDEXED * 1e6, "µs", target=0.2)
    yield Row("bytes of it, to those of the journal", path.with_suffix(".mwi").stat().st_size / path.stat().st_size, "")
    with_it = [median(lambda: used(work), 5) for _, work in works]  # noqa: B023
    path.with_suffix(".mwi").unlink()
    least, indexing.LEAST = indexing.LEAST, 1 << 60
    without = [median(lambda: used(work), 3) for _, work in works[:2]]  # noqa: B023
    indexing.LEAST = least
    for (what, _), ours, theirs in zip(works, with_it, [*without, None], strict=True):
        rival = "" if theirs is None else "without one"
        yield Row(f"{what}, of 10^7 events, with it", ours, "s", rival, theirs, 0.5 if theirs is None else 0.1)


def asked(folder: Path) -> Iterator[Row]:
    """CPU time of questions to 10^7 events of ten variables, a tenth of which are of the one that is asked about."""
    path = journal(folder, 2, head(11), cycle(10), INDEXED)
    middle = f"2:{INDEXED // 2 + 77}"
    questions = [
        ["blame", "total 3"], ["blame", "total 3", "--by", "thread"], ["at", middle, "total 3"],
        ["diff", f"2:{INDEXED // 3}", middle, "total 3"], ["history", "total 11"],
    ]  # fmt: skip

    def used(question: list[str]) -> tuple[float, str]:
        begin = time.process_time()
        answer = CliRunner().invoke(group, [*question, "--session", str(path)])
        assert answer.exit_code == 0, answer.output
        return time.process_time() - begin, answer.stdout

    used(questions[0])
    for question in questions:
        ours, answer = min(used(question) for _ in range(3))
        least, indexing.LEAST = indexing.LEAST, 1 << 60
        theirs, expected = used(question)
        indexing.LEAST = least
        assert answer == expected
        yield Row(f"memwatch {' '.join(question)}, of 10^7 events", ours, "s", "without index", theirs, 0.1)


def kinds(folder: Path) -> Iterator[Row]:
    for serializer, size, options, form in (
        ("float64", 8, None, "<d"),
        ("struct", 16, {"format": "<qd", "fields": ["qty", "price"]}, "<q"),
        ("bytearray", 64, {"capacity": 56}, "<q"),
    ):
        records, repeated = head(10, serializer, size, options), cycle(10, form)
        path = journal(folder, 2, records, repeated, EVENTS)
        yield Row(f"an event of a {serializer}", per_event(path), "µs")
    fast = stores.Stores
    setattr(decoder, "Stores", stores.PythonStores)  # noqa: B010
    try:
        records, repeated = head(10), cycle(10)
        path = journal(folder, 1, records, repeated, 20_000)
        yield Row(
            "an event, with the loop in Python", median(lambda: timed(lambda: drain(path)), 3) / 20_000 * 1e6, "µs"
        )
    finally:
        setattr(decoder, "Stores", fast)  # noqa: B010


def rows() -> list[Row]:
    """All figures of this file, in one process."""
    found = []
    for measure in (against_rivals, growth, indexed, asked, kinds):
        with tempfile.TemporaryDirectory() as folder:
            found += list(measure(Path(folder)))
    return found


if __name__ == "__main__":
    print(markdown(rows()))
