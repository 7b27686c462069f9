"""The loop in C and the loop in Python agree on everything: events, where they stop, and why."""

from __future__ import annotations

import gc
import random
import struct
import sys
from typing import Any

import pytest
from decoding import SERIALIZERS, q
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_writer import JournalWriter, cell

from memwatch_core import structs
from memwatch_core.host import places
from memwatch_core.journal.layout import ORIGINS, call
from memwatch_core.journal.stores import Callers, PythonStores, Stop, Stores
from memwatch_core.records import Alias, Context, Event, Extent, Part, Request, Shown, Site, Variable

KINDS: list[tuple[int, str | None, Any]] = [
    (8, "<q", SERIALIZERS["int64"].decode),
    (8, "<d", SERIALIZERS["float64"].decode),
    (1, "<?", SERIALIZERS["bool"].decode),
    *[(struct.calcsize("<" + c), c, lambda data, options, c=c: struct.unpack("<" + c, data)[0]) for c in "bBhHiIQf"],
    (8, ">q", lambda data, options: struct.unpack(">q", data)[0]),
    (64, None, SERIALIZERS["bytearray"].decode),
    (100, None, lambda data, options: data),
    (12, None, lambda data, options: 1 // data[0]),
    (16, None, None),
    (70_000, None, None),
]


def tenth(start: int, stop: int, options: Any) -> Extent | None:
    """Of one byte in ten nothing, of some a lie, of some what raises, of the others a part with its neighbours."""
    if start % 10 < 4:
        lies: list[Any] = [None, Extent("[5]", start + 1, stop, bytes), ("name", 0), 1 // (start % 10 - 3)]
        return lies[start % 10]
    decode = bytes if start % 3 else lambda data: 1 // data[0]
    return Extent(f"[{start}:{stop}]", start - start % 4, stop, decode)


def headed(start: int, stop: int, options: Any, before: bytes, after: bytes) -> Extent | None:
    """Says what it was given, and decodes what was there in a way of its own; now and then it lies, or raises."""
    decode_old = [None, bytes.hex, lambda data: 1 // data[0], 5][sum(before) % 4]
    return Extent(f"{before!r} {after!r}", start, stop, bytes, decode_old)  # type: ignore[arg-type]


PARTS: list[Any] = [
    *[None] * (len(KINDS) - 6), None, SERIALIZERS["bytearray"].part, tenth,
    lambda start, stop, options: Extent("all", 0, 12, len), tenth, headed,
]  # fmt: skip
HEADS: dict[Any, int] = {SERIALIZERS["bytearray"].part: SERIALIZERS["bytearray"].head, headed: 70}


def both() -> tuple[PythonStores, PythonStores]:
    if Stores is PythonStores:
        pytest.fail("memwatch_core.journal._reader isn't built: run `python setup.py build_ext --inplace`")
    arguments = Event, Part, 9, "python", ORIGINS, call, Shown, places.value, "9-python"
    return PythonStores(*arguments), Stores(*arguments)


def run(stores: PythonStores, view: memoryview, slots: int, first: int, limit: int) -> tuple[list[Event], list[int]]:
    """Runs to the end, as the decoder does: stepping over what is no STORE, resynchronising at gaps."""
    out: list[Event] = []
    reasons: list[int] = []
    index, resync = 0, False
    while index < slots:
        index, why = stores.run(view, index, slots, first, out, limit, resync)
        reasons.append(why * 100_000 + index)
        resync = why == Stop.GAP
        index += why in (Stop.OTHER, Stop.UNKNOWN, Stop.UNANNOUNCED)
    return out, reasons


def some_cell(rng: random.Random) -> bytes:
    """Of any kind, whole; or cut off, of nonsense."""
    text = "aé😀\udc80"[: rng.randrange(5)]
    value: Any = rng.choice([..., None, True, False, 7, -1.5, text, b"\0\xff", (text,)])
    cut = (rng.getrandbits(64), 99) if isinstance(value, str | bytes | tuple) and rng.random() < 0.3 else None
    data = bytearray(cell(value, cut=cut))
    data[2] |= rng.choice([0, 0, 0, 2, 4, 8, 12])
    if rng.random() < 0.2:
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data[: rng.randrange(len(data) + 1)]) if rng.random() < 0.1 else bytes(data)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**64))
def test_both_loops_agree_on_places(seed: int) -> None:
    """Slabs of which some are later ones, paths that come, change and go, stores to cells, to none, to half of one."""
    rng, pair, writer = random.Random(seed), both(), JournalWriter()
    shadows = {ident: bytearray(rng.choice([64, 256, 4096, 70_000])) for ident in range(1, 6)}
    for _ in range(rng.randrange(1, 12)):
        ident = rng.randrange(1, 6)
        told, name = rng.choice([None, ident, 1, 2**32 - 1]), f"v{rng.randrange(3)}"
        variable = Variable(ident, name, 9, "python", len(shadows[ident]), "", {})
        follow, gone = rng.random() < 0.9, rng.random() < 0.1
        paths = [(64 * rng.randrange(6), rng.choice([None, ".a", "[0]"])) for _ in range(4)]
        for stores in pair:
            if gone:
                stores.forget(ident)
            stores.define(variable, None, None, "", None, follow, False, 0, told)
        said = [[stores.place(ident, *path) for path in paths] for stores in pair]
        assert said[0] == said[1]
        named = [(64 * rng.randrange(6), (Alias("b", 2, f".{n}"),) * rng.randrange(3), n % 2 > 0) for n in range(4)]
        said = [[stores.alias(ident, *names) for names in named] for stores in pair]
        assert said[0] == said[1]
        if gone or not follow:
            shadows[ident] = bytearray(len(shadows[ident]))
        writer.slots.clear()
        for _ in range(rng.randrange(20)):
            ident = rng.randrange(1, 6)
            shadow = shadows[ident]
            offset = rng.choice([0, 64, 64, 128, 192, 65, len(shadow) - 64, len(shadow), 2**32 - 64])
            after = rng.choice([some_cell(rng), some_cell(rng), b"", bytes(65)])
            before = bytes(shadow[offset : offset + len(after)]).ljust(len(after), b"\0")
            if rng.random() < 0.1:
                before = some_cell(rng)[: len(after)].ljust(len(after), b"\0")
            shadow[offset : offset + len(after)] = after[: max(0, len(shadow) - offset)]
            writer.store(ident, offset, before, after, origin=rng.choice([1, 5]), flags=rng.randrange(4))
        view, slots, limit = memoryview(bytes(writer.slots)), writer.position, rng.choice([1, 1 << 30])
        results = [run(stores, view, slots, 0, limit) for stores in pair]
        assert repr(results[0]) == repr(results[1])
    assert [stores.failures() for stores in pair] == [[], []]


def wanted(event: Event) -> bool:
    """By what the answer may depend on."""
    context = 0 if event.context is None else event.context.id
    number = event.variable_id + len(event.thread) + 3 * event.tid + 2 * (event.site is None) + context
    number += sum(alias.variable_id for alias in event.aliases)
    request = 0 if event.request is None else len(event.request.label)
    return (number + len(event.stack or ()) + (event.own is not None) + request) % 3 > 0


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**64))
def test_both_loops_agree_on_random_journals(seed: int) -> None:  # noqa: PLR0915 - one branch a kind of record
    rng, pair = random.Random(seed), both()
    variables: dict[int, tuple[int, bytearray]] = {}
    for ident, ((size, form, decode), part) in enumerate(zip(KINDS, PARTS, strict=True), 1):
        depth = (size // 4, size // 2 + 1) if rng.random() < 0.3 else None
        variable = Variable(ident, f"v{ident}", 9, "python", size, "", {}, depth=depth)
        content = rng.randbytes(size)
        follow, provisional = rng.random() < 0.9, rng.random() < 0.1
        variables[ident] = size, bytearray(content)
        head = HEADS.get(part, 0)
        for stores in pair:
            letter = structs.number(form, size)
            stores.define(variable, None if ident % 2 else "a.b", decode, letter, part, follow, provisional, head)
            stores.fill(ident, 0, content)
            stores.fill(ident, size, b"outside")
    for stores in pair:
        stores.site(3, Site("a.py", 1, "f"), True)
        stores.site(4, Site("b.py", 2, "g"), bool(seed % 2))
        stores.stack(2, Callers((Site("b.py", 3, "h"),), False, True, None))
        stores.stack(3, Callers((Site("a.py", 4, "f"),) * 2, True, False, Site("a.py", 4, "f")))
        stores.stack(2**32 - 1, Callers((), True, False, None))
        stores.request(1, Request("order 17"))
        stores.request(2**32 - 1, Request("", (), "task"))
        stores.request(3, Request("x"))
        stores.request(3, None)
        stores.context(4, Context(4, "sqlite3", "SELECT", "h"))
        stores.context(5, Context(5, "sqlite3", "SELECT", "h"))
        stores.context(5, None)
        stores.thread(7, "worker")
    for stores in pair:
        stores.define(Variable(50, "o", 9, "python", 4096, "", {}), None, None, "", None, True, False, 0, 50)
        stores.place(50, 64, ".a")
        stores.place(50, 128, ".b")
        stores.place(50, 192, ".c")
        stores.alias(50, 64, (Alias("p", 60, ".a"),), False)
        stores.alias(50, 128, (Alias("q", 61, ".b"), Alias("q", 62, ".c")), True)
    writer = JournalWriter()
    for _ in range(200):
        if rng.random() < 0.2:
            writer.change(50, 64 * rng.randrange(1, 4), cell(), cell(1), site=rng.randrange(5), tid=7)
            continue
        ident = rng.randrange(1, len(KINDS) + 3)
        size, shadow = variables.get(ident, (8, bytearray(8)))
        offset = rng.randrange(size + 3)
        length = rng.choice([1, 2, 8, min(size, 4096), rng.randrange(80)])
        room = max(0, min(length, size - offset))
        before = bytes(shadow[offset : offset + room]) + rng.randbytes(length - room)
        if rng.random() < 0.05:
            before = rng.randbytes(length)
        after = before if rng.random() < 0.1 else rng.randbytes(length)
        writer.store(ident, offset, before, after, site=rng.randrange(5), context=rng.randrange(7),
                     tid=rng.choice([0, 7, 8]), origin=rng.randrange(6), flags=rng.randrange(4),
                     stack=rng.choice([None, 0, 1, 2, 3, 2**32 - 1]), request=rng.choice([None, 0, 1, 3, 2**32 - 1]),
                     native=rng.choice([None, 0, 1, 2, 2**32 - 1]),
                     call=(rng.choice([1, 12]), rng.choice([-1, 2**31 - 1]), rng.getrandbits(32)))  # fmt: skip
        shadow[offset : offset + room] = after[:room]
    for _ in range(rng.randrange(6)):
        writer.slots[rng.randrange(len(writer.slots))] = rng.randrange(256)
    view, slots = memoryview(bytes(writer.slots)), writer.position
    limit = rng.choice([1, 500, 1 << 30])
    first = rng.choice([0, 16384 - rng.randrange(100)])
    floors: tuple[list[int], list[int]] = [], []
    if sieved := rng.random() < 0.5:
        limit, until = 1 << 30, first + rng.choice([0, rng.randrange(slots)])
        since, now = (writer.started + rng.choice([0, 100_000]) for _ in range(2))
        for stores, floor in zip(pair, floors, strict=True):
            stores.sieve(until, since, now, wanted if until % 5 else None, floor)
    results = [run(stores, view, slots, first, limit) for stores in pair]
    assert floors[0] == floors[1]
    assert len(floors[0]) == sieved * len(results[0][0])
    told = [(stores.skipped, stores.matched, stores.high) for stores in pair]
    assert told[0] == told[1]
    assert repr(results[0]) == repr(results[1])
    assert pair[0].seq == pair[1].seq
    failures = [set(stores.failures()) for stores in pair]
    assert failures[0] == failures[1] or (sieved and failures[0] > failures[1])  # what isn't shown isn't decoded
    assert pair[1].failures() == []
    for context in range(7):
        carried = {stores.context(context, None) for stores in pair}
        assert len(carried) == 1
        shown = sum(event.context is not None and event.context.id == context for event in results[0][0])
        assert carried == {shown} or sieved
        assert [stores.context(context, None) for stores in pair] == [0, 0]
    for ident in variables:
        assert repr(pair[0].value(ident)) == repr(pair[1].value(ident))
        for start in range(3):
            assert repr(pair[0].part(ident, start, 9)) == repr(pair[1].part(ident, start, 9))
        for stores in pair:
            stores.forget(ident)
            assert stores.value(ident) is None


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40) | st.integers(0, 2**32 - 1)), max_size=400))
def test_variables_come_and_go_without_being_mixed_up(steps: list[tuple[bool, int]]) -> None:
    """The table of the C loop: growth, collisions, removal."""
    pair = both()
    known: set[int] = set()
    for add, ident in steps:
        for stores in pair:
            if add:
                variable = Variable(ident, str(ident), 9, "python", 4, "", {})
                stores.define(variable, None, lambda data, options: data, "I", None, True, False)
                stores.fill(ident, 0, struct.pack("<I", ident))
            else:
                stores.forget(ident)
        known = known | {ident} if add else known - {ident}
    for _, ident in steps:
        expected = ident if ident in known else None
        assert [stores.value(ident) for stores in pair] == [expected, expected]


def test_bytes_of_a_variable_are_kept_when_more_becomes_known_of_it() -> None:
    for stores in both():
        stores.define(Variable(1, "variable 1", 9, "python", 4096, "", {}), None, None, "", None, True, True)
        stores.fill(1, 0, q(77) + b"rest")
        stores.define(Variable(1, "x", 9, "python", 8, "int64", {}), None, print, "q", None, True, False)
        assert stores.value(1) == 77


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from([1, 8, 9, 4096, 65_536, 65_537, 65_600, 70_000, 200_001]), min_size=2, max_size=6))
def test_what_was_beyond_a_smaller_size_is_zero_again(sizes: list[int]) -> None:
    """On both sides of the size from which on a shadow is mapped."""
    for stores in both():
        known = b""
        for size in sizes:
            variable = Variable(1, "x", 9, "python", size, "", {})
            stores.define(variable, None, None, "", lambda start, stop, _: Extent("", start, stop, bytes), True, False)
            known = known[:size].ljust(size, b"\0")
            part = stores.part(1, 0, size)
            assert part is not None
            assert part.new == known
            known = random.Random(size).randbytes(size)
            stores.fill(1, 0, known)


@pytest.mark.parametrize("which", [0, 1])
def test_interrupt_in_decode_is_passed_on_and_nothing_else(which: int) -> None:
    stores = both()[which]
    writer = JournalWriter()
    writer.store(1, 0, b"\0", b"\1")

    def interrupted(data: bytes, options: Any) -> Any:
        raise KeyboardInterrupt

    stores.define(Variable(1, "x", 9, "python", 1, "", {}), None, interrupted, "", None, True, False)
    with pytest.raises(KeyboardInterrupt):
        stores.run(memoryview(bytes(writer.slots)), 0, 1, 0, [], 1 << 20, False)
    stores.define(Variable(1, "x", 9, "python", 1, "", {}), None, lambda data, options: data[0], "", None, True, False)
    out: list[Any] = []
    assert stores.run(memoryview(bytes(writer.slots)), 0, 1, 0, out, 1 << 20, True) == (1, Stop.END)
    assert out[0].new == 1


def test_decode_that_calls_back_finds_the_loop_busy() -> None:
    stores = both()[1]
    said: list[str] = []

    def meddles(data: bytes, options: Any) -> Any:
        for use in (lambda: stores.forget(1), lambda: stores.fill(1, 0, b"x"), lambda: stores.value(1)):
            try:
                use()
            except RuntimeError as error:
                said.append(str(error))
        return data

    stores.define(Variable(1, "x", 9, "python", 100, "", {}), None, meddles, "", None, True, False)
    assert stores.value(1) == bytes(100)
    assert len(said) == 3
    assert "decode must not call it" in said[0]


def test_slots_outside_of_the_buffer_are_refused() -> None:
    stores = both()[1]
    for index, stop in ((0, 2), (-1, 1), (0, 2**40)):
        with pytest.raises(ValueError, match="outside"):
            stores.run(memoryview(bytes(64)), index, stop, 0, [], 1, False)


def test_nothing_leaks_over_many_runs() -> None:
    writer = JournalWriter()
    for number in range(1000):
        writer.store(1 + number % 3, 0, bytes(8), q(number), site=1, context=1, request=1)
        value: Any = (5, "text", b"\0", ("[1]",), None)[number % 5]
        writer.change(4, 64 * (number % 3), cell(), cell(value, cut=(1, 9) if number % 7 == 1 else None), origin=5)
    view = memoryview(bytes(writer.slots))

    def once() -> None:
        stores = both()[1]
        stores.site(1, Site("a.py", 1, "f"), True)
        stores.request(1, Request("order 17", ("batch 3",)))
        stores.sieve(0, 0, 0, lambda event: event.request is not None, [])
        number, broken = SERIALIZERS["int64"].decode, SERIALIZERS["struct"].decode
        decoders: list[tuple[str, Any]] = [("q", number), ("", lambda data, options: [data]), ("", broken)]
        for ident, (letter, decode) in enumerate(decoders, 1):
            variable = Variable(ident, "x" * 50, 9, "python", 8, "", {"a": 1})
            stores.define(variable, "p", decode, letter, tenth, True, False)
        stores.define(Variable(4, "o", 9, "python", 4096, "", {}), None, None, "", None, True, False, 0, 4)
        for path in (".a", ".b", None, ".c"):
            stores.place(4, 64, path)
            stores.place(4, 128, ".kept")
            stores.alias(4, 64, (Alias("b", 2, path or ""),), True)
            stores.alias(4, 128, (Alias("b", 2, path or ""),), False)
        run(stores, view, writer.position, 0, 1 << 30)
        stores.failures()

    once()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(20):
        once()
    gc.collect()
    assert sys.getallocatedblocks() - before < 200
