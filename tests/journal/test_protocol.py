"""The commit protocol: every order of two writers' steps, a kill after each of them, and a reader at any time.

``protocol.c`` runs the core's own code and prints each state that can be reached, as a kill would leave it; here the
reader is let loose on all of them. Nothing is read that wasn't written, nothing missing whose effect was visible."""

from __future__ import annotations

import os
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from memwatch_core.journal import layout
from memwatch_core.journal.layout import Kind
from memwatch_core.journal.reader import JournalReader
from memwatch_core.journal.records import RawRecord

HERE = Path(__file__).parent
CORE = HERE.parents[1] / "memwatch_core" / "core"
FLAGS = ("-std=gnu11", "-O1", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-fno-strict-aliasing")
LIBRARIES = ("-lZydis", "-lpthread", "-ldl")
STATE = struct.Struct("<6Q2I40s40s2048s")
DEAD = 2**31 - 1


@dataclass(frozen=True)
class State:
    """One state that a kill would leave."""

    reserved: int
    size: int
    """Of the file."""
    front: int
    stores_before: tuple[int, int]
    done: tuple[bool, bool]
    values: tuple[bytes, bytes]
    slots: bytes


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``protocol.c`` with the core's own sources."""
    out = tmp_path_factory.mktemp("protocol") / "protocol"
    sources = sorted(map(str, CORE.rglob("*.c")))
    command = ["gcc", *FLAGS, "-DMW_STEPS", f"-I{CORE}", "-o", str(out), str(HERE / "protocol.c"), *sources]
    done = subprocess.run([*command, *LIBRARIES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def states(program: Path, journal: Path, *arguments: str) -> tuple[int, list[State]]:
    """Where the two writes begin in the journal, and the states."""
    done = subprocess.run([program, *arguments, journal], capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    (base,) = struct.unpack_from("<Q", done.stdout)
    found = []
    for reserved, size, _, front, even, odd, a, b, value_a, value_b, slots in STATE.iter_unpack(done.stdout[8:]):
        found.append(State(reserved, size, front, (even, odd), (bool(a), bool(b)), (value_a, value_b), slots))
    assert len(found) > 20
    return base, found


def put(journal: Path, base: int, state: State) -> None:
    """Makes the file what it was in a state; its writer is gone."""
    file = os.open(journal, os.O_RDWR)
    try:
        os.ftruncate(file, state.size)
        os.pwrite(file, struct.pack("<Q", DEAD), 24)
        os.pwrite(file, struct.pack("<Q", state.reserved), layout.HEADER_RESERVED)
        os.pwrite(file, struct.pack("<3Q", state.front, *state.stores_before), layout.HEADER_FRONT)
        at = layout.HEADER_SIZE + base * layout.SLOT_SIZE
        os.pwrite(file, state.slots[: state.size - at], at)
    finally:
        os.close(file)


def read(journal: Path, position: int, *, live: bool = False) -> tuple[list[RawRecord], JournalReader]:
    reader = JournalReader(journal)
    reader.advance(position)
    if live:
        reader._writer.alive = lambda: True  # type: ignore[method-assign]
    records = list(reader.records())
    reader.close()
    return records, reader


def halves(record: RawRecord) -> tuple[bytes, bytes]:
    half = len(record.payload) // 2
    return record.payload[:half], record.payload[half:]


def check(state: State, stores: list[RawRecord], scenario: str) -> None:
    """What was read against what was written and what was visible."""
    same = scenario == "same"
    lengths = (8, 8) if same else (12 if "call" in scenario else 8, 40)
    afters = [bytes([0x80 + writer]) * lengths[writer] for writer in range(2)]
    seen = dict.fromkeys(range(2), False)
    value = {1: b"\x10" * lengths[0], 2: b"\x10" * 40}  # by variable
    for record in stores:
        before, after = halves(record)
        assert after in afters, "read, and never written"
        writer = afters.index(after)
        assert not seen[writer], "read twice"
        seen[writer] = True
        assert record.id == (1 if same else writer + 1)
        assert record.offset == 0
        assert record.tid > 0
        assert record.activation == (7 if "call" in scenario else 0)
        assert record.origin == (2 if scenario == "store" and writer == 0 else 1)
        assert before == value[record.id], "a change without an event"
        value[record.id] = after
    for writer in range(2):
        visible = state.values[writer][: lengths[writer]]
        if visible.strip(b"\x10"):  # some of it is published: whoever wrote it must be in the journal
            assert {0x80 + n for n in range(2) if seen[n]} >= set(visible) - {0x10}, "visible, and not in the journal"
        if state.done[writer]:
            assert seen[writer], "written, and not in the journal"
            assert visible == afters[writer] or (same and visible == value[1])


@pytest.mark.parametrize("arguments", [
    ("apart",), ("same",), ("store",), ("piece",), ("border",), ("rotate",), ("stack",), ("stack-border",),
    ("request",), ("request-border",), ("stack-request",), ("-i", "apart"), ("-i", "stack"), ("-i", "request"),
    ("call",), ("call-stack",), ("-i", "call"), ("-i", "call-stack"),
], ids=" ".join)  # fmt: skip
def test_in_every_order_a_kill_loses_nothing_visible_and_adds_nothing(
    program: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    journal = tmp_path / "1-python.mwj"
    base, found = states(program, journal, *arguments)
    scenario = arguments[-1]
    before = count_stores(journal, base)
    ends = 0
    for state in found:
        put(journal, base, state)
        records, reader = read(journal, base)
        stores = [record for record in records if record.kind == Kind.STORE]
        check(state, stores, scenario)
        check_stacks(records, scenario)
        check_requests(records, scenario, base)
        assert reader.damaged == reader.missing == 0
        assert reader.skipped <= state.reserved - base
        so_far, _ = read(journal, base, live=True)
        assert so_far == records[: len(so_far)], "a live reader has read what isn't there"
        ends += all(state.done)
        if all(state.done):
            assert so_far == records
            assert len(stores) == 2
        if state.front:
            check_front(journal, state, before)
    assert ends or "-i" in arguments
    assert any(state.front for state in found) == (scenario == "rotate")


def check_stacks(records: list[RawRecord], scenario: str) -> None:
    """Each STORE names a stack that was recorded before it; in a journal with a limit, in the same segment."""
    before = scenario in ("stack-border", "call-stack")
    known = {(1, 0)} if before else set()  # before the two writes; of a border, in the segment that ends there
    for record in records:
        segment = record.slot // layout.SEGMENT_SLOTS if scenario == "stack-border" else 0
        if record.kind == Kind.STACK:
            known.add((record.id, segment))
        elif record.kind == Kind.STORE:
            assert (record.stack == 1) == ("stack" in scenario)
            assert not record.stack or (record.stack, segment) in known


def check_requests(records: list[RawRecord], scenario: str, base: int) -> None:
    """Each STORE names a request that was recorded before it in the same segment, by the same thread."""
    known = {}
    segment = base // layout.SEGMENT_SLOTS
    for record in records:
        if record.slot // layout.SEGMENT_SLOTS != segment:
            segment, known = record.slot // layout.SEGMENT_SLOTS, {}
        if record.kind == Kind.REQUEST:
            assert record.payload == b'{"label":"ab"}'
            known[record.id] = record.tid
        elif record.kind == Kind.STORE:
            assert bool(record.request) == ("request" in scenario)
            before = scenario == "request-border" and record.slot < layout.SEGMENT_SLOTS  # said before the two writes
            assert not record.request or before or known[record.request] == record.tid


def count_stores(journal: Path, base: int) -> int:
    """STORE records of the first segment, which ``rotate`` gives back."""
    records, _ = read(journal, 0)
    return sum(record.kind == Kind.STORE and record.slot < layout.SEGMENT_SLOTS for record in records)


def check_front(journal: Path, state: State, stores: int) -> None:
    """A late reader knows how many events are gone, and who the variables are."""
    reader = JournalReader(journal)
    reader.read()
    assert (reader.position, reader.jumped) == (state.front, stores)
    copied = list(reader.copies())
    assert {record.id for record in copied if record.kind == Kind.VARIABLE} == {1, 2}
    reader.close()
