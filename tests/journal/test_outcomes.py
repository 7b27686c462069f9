"""What became of statements: told once for each event, in the order of the journal, live as afterwards."""

from __future__ import annotations

import mmap
import os
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from decoding import SERIALIZERS, decode, decode_file, q
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journal_writer import CONTEXT, OUTCOME, TIME, JournalWriter

from memwatch_core.host import statements
from memwatch_core.host.decoder import JournalDecoder
from memwatch_core.host.outcomes import Outcomes, final_outcomes
from memwatch_core.records import Event, Outcome, Record

pytestmark = pytest.mark.usefixtures("loop")
JSON = {"driver": "sqlite3", "statement": "INSERT", "statement_hash": "ab"}


class Program:
    """A journal of statements and of writes to one variable."""

    def __init__(self, pid: int = 4242) -> None:
        self.writer = JournalWriter(pid=pid)
        self.writer.watch(1, q(0), "n")
        self.value = 0

    def begin(self, *idents: int, **fields: Any) -> None:
        for ident in idents:
            self.writer.json(CONTEXT, ident, JSON | {"id": ident} | fields)

    def write(self, *contexts: int) -> None:
        for context in contexts:
            self.writer.store(1, 0, q(self.value), q(self.value + 1), context=context)
            self.value += 1

    def end(self, ident: int, outcome: str = "ended", **fields: Any) -> None:
        self.writer.json(OUTCOME, ident, {"outcome": outcome, **fields})

    def over(self, transaction: int, outcome: str, **fields: Any) -> None:
        self.end(transaction, outcome, **({"scope": "transaction"} | fields))

    def outcomes(self, folder: Path) -> list[tuple[str, tuple[int, ...], int, int]]:
        return told(decode(self.writer, folder))


def told(records: list[Record]) -> list[tuple[str, tuple[int, ...], int, int]]:
    return [(one.outcome, one.contexts, one.transaction, one.events) for one in records if isinstance(one, Outcome)]


def test_transaction_is_one_record_with_those_statements_that_events_carried(tmp_path: Path) -> None:
    program = Program()
    program.begin(5, 3, 4)
    program.write(5, 3, 5)
    for ident in (3, 4, 5):
        program.end(ident, transaction=3)
    program.writer.clock = TIME + 5 * 10**6
    program.over(3, "rolled back")
    program.over(3, "rolled back")
    program.begin(6)
    program.end(6, transaction=6)
    program.over(6, "committed")
    records = decode(program.writer, tmp_path)
    assert told(records) == [("rolled back", (3, 5), 3, 3)]
    (outcome,) = [record for record in records if isinstance(record, Outcome)]
    assert (outcome.time_ns, outcome.pid) == (TIME + 5 * 10**6 + 1000, 4242)


def test_statement_that_ends_with_its_transaction_is_told_once(tmp_path: Path) -> None:
    program = Program()
    program.begin(1, 2)
    program.write(1, 2)
    program.end(1, transaction=1)
    program.end(2, "committed", transaction=1)
    program.over(1, "committed")
    assert program.outcomes(tmp_path) == [("committed", (2,), 1, 1), ("committed", (1,), 1, 1)]


def test_failure_is_the_statements_own_and_stays(tmp_path: Path) -> None:
    program = Program()
    program.begin(1, 2)
    program.write(1, 2)
    program.end(1, transaction=1)
    program.end(2, "failed: IntegrityError", transaction=1)
    program.over(1, "rolled back")
    assert program.outcomes(tmp_path) == [("failed: IntegrityError", (2,), 0, 1), ("rolled back", (1,), 1, 1)]


def test_statement_outside_of_a_transaction_committed_itself(tmp_path: Path) -> None:
    program = Program()
    program.begin(1, 2)
    program.write(1, 2)
    program.end(1, autocommit=True)
    program.end(2, "closed")
    assert program.outcomes(tmp_path) == [("committed", (1,), 0, 1)]


def test_savepoint_takes_back_what_came_after_it_for_good(tmp_path: Path) -> None:
    program = Program()
    program.begin(1, 2, 3, 4, server="db:5432", database="shop")
    program.write(1, 2, 3)
    for ident in (1, 2, 3):
        program.end(ident, transaction=1)
    program.over(1, "rolled back", scope="savepoint", since=2)
    program.write(4)
    program.end(4, transaction=1)
    program.over(1, "committed")
    assert program.outcomes(tmp_path) == [("rolled back", (2, 3), 1, 2), ("committed", (1, 4), 1, 2)]
    assert dict(final_outcomes(tmp_path / "4242-python.mwj")) == {
        1: "committed", 2: "rolled back", 3: "rolled back", 4: "committed",
    }  # fmt: skip


def test_open_context_whose_transaction_ended_is_carried_no_more(tmp_path: Path) -> None:
    program = Program()
    program.begin(1, transaction=1)
    program.write(1)
    program.over(1, "rolled back")
    program.write(1)
    records = decode(program.writer, tmp_path)
    assert told(records) == [("rolled back", (1,), 1, 1)]
    assert [event.context is None for event in records if isinstance(event, Event)] == [False, True]


def test_rows_fetched_after_commit_are_told_of_again(tmp_path: Path) -> None:
    """The context comes back, and its later events have an outcome as well: that of its transaction."""
    program = Program()
    program.begin(1)
    program.write(1)
    program.end(1, transaction=1)
    program.over(1, "committed")
    program.end(1, "open")
    program.write(1, 1)
    program.end(1, "closed")
    program.end(1, "closed")
    assert program.outcomes(tmp_path) == [("committed", (1,), 1, 1), ("committed", (1,), 1, 2)]


def test_transaction_longer_than_what_is_remembered_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "KEPT", 10)
    program = Program()
    program.begin(*range(1, 201))
    for ident in range(1, 201):
        program.write(*[ident] * (ident % 3))
        program.end(ident, transaction=1)
        if ident == 150:
            program.over(1, "rolled back", scope="savepoint", since=100)
    program.over(1, "committed")
    program.begin(*range(201, 231))
    for ident in range(201, 231):
        program.end(ident)
    path = program.writer.save(tmp_path)
    journal, records = JournalDecoder(path, SERIALIZERS), []
    while not journal.ended:
        records += journal.poll()
    back = [ident for ident in range(100, 151) if ident % 3]
    kept = [ident for ident in range(1, 201) if ident % 3 and ident not in back]
    assert told(records) == [
        ("rolled back", tuple(back), 1, sum(ident % 3 for ident in back)),
        ("committed", tuple(kept), 1, sum(ident % 3 for ident in kept)),
    ]
    contexts = journal.contexts
    assert list(contexts.known) == list(range(221, 231))
    assert not contexts._transactions
    assert not contexts._carried
    assert final_outcomes(path)[120] == "rolled back"


def test_live_journal_gives_the_same_records_as_afterwards(tmp_path: Path) -> None:
    program = Program(pid=os.getpid())
    steps = [program.writer.position]
    for action in (
        lambda: program.begin(1, 2), lambda: program.write(1, 2, 1), lambda: program.end(1, transaction=1),
        lambda: program.end(2, "rolled back", transaction=1), lambda: program.over(1, "rolled back"),
        lambda: program.begin(3), lambda: program.write(3), lambda: program.end(3, autocommit=True),
    ):  # fmt: skip
        action()
        steps.append(program.writer.position)
    program.writer.closed = 0
    path = program.writer.save(tmp_path)
    live: list[Record] = []
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        view[128:136] = struct.pack("<Q", 0)
        journal = JournalDecoder(path, SERIALIZERS)
        for reserved in steps:
            view[128:136] = struct.pack("<Q", reserved)
            while some := journal.poll():
                live += some
            assert journal.live
        assert dict(final_outcomes(path)) == {1: "rolled back", 2: "rolled back", 3: "committed"}
        journal.close()
    assert told(live) == [("rolled back", (2,), 1, 1), ("rolled back", (1,), 1, 2), ("committed", (3,), 0, 1)]
    assert live == decode_file(path)[: len(live)]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "write", "end", "failed", "open", "auto", "commit", "rollback", "savepoint"]),
        st.integers(1, 6), st.integers(0, 3),
    ), max_size=60,
)  # fmt: skip


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_every_event_is_told_of_at_most_once_and_never_before_it_happened(
    tmp_path: Path, steps: list[tuple[str, int, int]]
) -> None:
    program = Program()
    for what, ident, number in steps:
        if what == "begin":
            program.begin(ident)
        elif what == "write":
            program.write(ident)
        elif what == "commit" or what == "rollback":
            program.over(ident, "committed" if what == "commit" else "rolled back")
        elif what == "savepoint":
            program.over(ident, "rolled back", scope="savepoint", since=number)
        elif what == "auto":
            program.end(ident, autocommit=True)
        else:
            program.end(ident, {"end": "ended", "failed": "failed: E"}.get(what, what), transaction=number)
    path = program.writer.save(tmp_path)
    records = decode_file(path)
    untold: Counter[int] = Counter()
    last: dict[int, str] = {}
    for record in records:
        if isinstance(record, Event) and record.context is not None:
            untold[record.context.id] += 1
        elif isinstance(record, Outcome):
            assert record.outcome in ("committed", "rolled back", "failed: E")
            assert list(record.contexts) == sorted(set(record.contexts))
            assert record.events == sum(untold.pop(ident) for ident in record.contexts)
            last |= dict.fromkeys(record.contexts, record.outcome)
    final = final_outcomes(path)
    assert last.keys() <= final.keys()
    again = JournalDecoder(path, SERIALIZERS, final=True)
    while not again.ended:
        for record in again.poll():
            if isinstance(record, Event) and record.context is not None:
                assert record.context.outcome == final.get(record.context.id, "open")


def test_journal_is_looked_through_whatever_its_records_are_cut_into(tmp_path: Path) -> None:
    """Several segments and blocks, payloads of many slots and of several records, and something that isn't JSON."""
    program = Program()
    for ident in range(1, 3001):
        program.begin(ident, parameters=["x" * (ident % 700)])
        program.write(*[ident] * 10)
        program.end(ident, f"failed: E{ident % 300}" if ident % 2 else "ended", transaction=ident // 10 + 1)
        if ident % 10 == 9:
            program.over(ident // 10 + 1, "rolled back" if ident % 20 == 9 else "committed")
    program.writer.blob(OUTCOME, 2, b"not JSON")
    text = b'{"outcome":"failed: late"}'
    program.writer.blob(OUTCOME, 2998, text[:9], flags=128)
    program.writer.blob(OUTCOME, 2998, text[9:])
    assert program.writer.position > 40_000
    found = final_outcomes(program.writer.save(tmp_path))
    assert found[2] == "rolled back"
    assert found[14] == "committed"
    assert found[2998] == "failed: late"
    assert found[1] == "failed: E1"
    assert 3000 not in found
    assert found[2999].startswith("failed"), "of 150 ways to fail"


@given(st.dictionaries(st.integers(0, 2**32 - 1), st.integers(0, 400), max_size=600))
def test_outcomes_by_id_are_those_of_a_dictionary(plan: dict[int, int]) -> None:
    kept, plain = Outcomes(), {ident: f"failed: {number}" for ident, number in plan.items()}
    for ident, outcome in plain.items():
        kept.put(ident, outcome)
    assert list(kept) == sorted(plain)
    assert len(kept) == len(plain)
    few = len(set(plain.values())) <= 254
    assert {ident: kept[ident] if few else kept[ident].partition(":")[0] for ident in kept} == (
        plain if few else dict.fromkeys(plain, "failed")
    )
    assert kept.get(2**33) is None
