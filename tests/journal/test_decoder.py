"""What the records of a journal mean: old and new values, gaps, names, contexts, losses. With both loops."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from decoding import SERIALIZERS, decode, decode_file, q
from hostile_journals import long_blob
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journal_writer import CONTENT, CONTEXT, LOST, METADATA, OUTCOME, REQUEST, SEGMENT, STACK, STORE, JournalWriter

from memwatch_core.host import decoder as module
from memwatch_core.host import kept, statements
from memwatch_core.host.decoder import JournalDecoder
from memwatch_core.journal.file import JournalFile
from memwatch_core.journal.layout import Kind
from memwatch_core.records import Call, Event, Lost, Notice, Record, Request, Serializer, Site, Unwatched, Watched

pytestmark = pytest.mark.usefixtures("loop")
CONTEXT_JSON = {"id": 1, "driver": "sqlite3", "statement": "SELECT ?", "statement_hash": "ab"}


def events(records: list[Record]) -> list[Event]:
    return [record for record in records if isinstance(record, Event)]


def losses(records: list[Record]) -> list[Lost]:
    return [record for record in records if isinstance(record, Lost)]


def test_event_has_every_field(tmp_path: Path) -> None:
    writer = JournalWriter(pid=812)
    writer.watch(3, q(5), "total", path="a.b")
    writer.site(1, "orders.py", 41, "add_order", 7)
    writer.thread(815, "worker-1")
    writer.json(CONTEXT, 9, CONTEXT_JSON | {"parameters": ["cd"], "rows": 3})
    writer.store(3, 0, q(5), q(7), site=1, context=9, tid=815, time=123, origin=3, flags=1, call=(6, 5, 100))
    (event,) = events(decode(writer, tmp_path))
    assert event.context is not None
    assert (event.seq, event.time_ns, event.pid, event.runtime) == (1, 123, 812, "python")
    assert (event.tid, event.thread, event.variable, event.variable_id) == (815, "worker-1", "total", 3)
    assert (event.path, event.origin, event.offset) == ("a.b", "syscall", 0)
    assert event.call == Call("recv", 5, 100)
    assert (event.before, event.after, event.old, event.new) == (q(5), q(7), 5, 7)
    assert (event.changed, event.exact, event.site) == (True, False, Site("orders.py", 41, "add_order", 7))
    assert (event.context.id, event.context.parameters, event.context.rows) == (9, ("cd",), 3)


def test_event_has_the_callers_of_its_site(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.watch(1, q(0), "n")
    writer.site(1, "/srv/app/orders.py", 41, "add_order")
    writer.site(2, "/usr/lib/python3.11/site-packages/orm/state.py", 812, "_expire")
    writer.site(3, "/srv/app/main.py", 3, "<module>")
    writer.stack(1, [1, 3])
    writer.stack(2, [2] * 255, 1)
    writer.stack(3, [])
    writer.stack(4, [9, 3])
    writer.stack(5, [3], 2)
    writer.stack(6, [3], 3)
    writer.store(1, 0, q(0), q(1), site=2)
    for stack in (1, 2, 3, 4, 5, 6, 2**32 - 1, 77):
        writer.store(1, 0, q(1), q(1), site=2, stack=stack)
    writer.store(1, 0, q(1), q(1), site=1, stack=2)
    writer.stack(1, [3])  # said again, in a journal with a limit; here it says something else
    writer.store(1, 0, q(1), bytes(8), stack=1, origin=3, call=(6, 5, 8))
    add, expire, main = (
        Site("/srv/app/orders.py", 41, "add_order"),
        Site("/usr/lib/python3.11/site-packages/orm/state.py", 812, "_expire"),
        Site("/srv/app/main.py", 3, "<module>"),
    )
    found = [
        (event.stack, event.stack_cut, event.stack_inexact, event.own) for event in events(decode(writer, tmp_path))
    ]
    assert found == [
        (None, False, False, None),
        ((add, main), False, False, add),
        ((expire,) * 255, True, False, None),
        ((), False, False, None),
        ((Site("", 0, ""), main), False, False, main),
        ((main,), False, True, main),
        ((main,), True, True, main),
        ((), True, False, None),
        (None, False, False, None),
        ((expire,) * 255, True, False, add),
        ((main,), False, False, main),
    ]


def test_stack_that_is_none_is_told_and_does_no_harm(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.watch(1, q(0), "n")
    for payload in (b"", b"\0\0\0", bytes(5), bytes(4 + 4 * 256)):
        writer.blob(STACK, 5, payload)
    writer.stack(0, [1])
    writer.stack(2**32 - 1, [1])
    writer.store(1, 0, q(0), q(1), stack=5)
    records = decode(writer, tmp_path)
    assert len(losses(records)) == 6
    assert [(event.stack, event.new) for event in events(records)] == [(None, 1)]


def test_event_has_the_request_that_its_segment_says(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.watch(1, q(0), "n")
    writer.request(1, label="order 17", outer=["batch"], task="Task-1", trace_id="a" * 32, span_id="b" * 16, new="x")
    writer.request(2**32 - 1, task="é")
    writer.stack(1, [])
    for request in (None, 1, 2**32 - 1, 5, 0):
        writer.store(1, 0, q(0), q(0), request=request)
    writer.store(1, 0, q(0), q(0), request=1, stack=1, origin=3)
    writer.request(1, label="order 18")  # ids begin again
    writer.store(1, 0, q(0), q(0), request=1)
    while writer.position < SEGMENT:
        writer.record(3, b"", 64)
    writer.request(2)
    for request in (1, 2, 2**32 - 1):
        writer.store(1, 0, q(0), q(0), request=request)
    full = Request("order 17", ("batch",), "Task-1", "a" * 32, "b" * 16)
    found = events(decode(writer, tmp_path))
    assert [event.request for event in found] == [
        None, full, Request(task="é"), None, None, full, Request("order 18"), None, Request(), None
    ]  # fmt: skip
    assert [event.stack for event in found if event.origin == "syscall"] == [()]


def test_request_that_is_said_again_is_the_same_object(tmp_path: Path) -> None:
    """Filters and encoders go by the object."""
    writer = JournalWriter()
    writer.watch(1, q(0), "n")
    for _ in range(3):
        writer.request(1, label="order 17")
        writer.store(1, 0, q(0), q(0), request=1)
        while writer.position % SEGMENT:
            writer.record(3, b"", 64)
    requests = [event.request for event in events(decode(writer, tmp_path))]
    assert len(requests) == 3
    assert len({id(request) for request in requests}) == 1


def test_request_that_is_none_is_told_and_does_no_harm(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.watch(1, q(0), "n")
    writer.request(5, label="order 17")
    odd = (b"", b"{", b"[]", b'{"label":1}', b'{"outer":"x"}', b'{"task":null}', b"\xff", b" " * 4097, b"[" * 4000)
    for payload in odd:
        writer.blob(REQUEST, 5, payload)
        writer.store(1, 0, q(0), q(0), request=5)
    writer.blob(REQUEST, 6, b'{"label":"in ', flags=128)
    writer.blob(REQUEST, 6, b'two"}')
    writer.store(1, 0, q(0), q(0), request=6)
    records = decode(writer, tmp_path)
    assert len(losses(records)) == len(odd)
    assert [event.request for event in events(records)] == [*[None] * len(odd), Request("in two")]


def test_values_are_whole_though_a_store_touches_one_byte(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.watch(1, q(0x0102), "n")
    writer.store(1, 1, b"\1", b"\7")
    writer.store(1, 7, b"\0", b"\x80", flags=2)
    first, second = events(decode(writer, tmp_path))
    assert (first.old, first.new) == (0x0102, 0x0702)
    assert (second.old, second.new) == (0x0702, 0x0702 - 2**63)
    assert (second.seq, second.offset, second.exact) == (2, 7, False)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=9000), st.lists(st.tuples(st.integers(0, 9100), st.binary(max_size=300))))
def test_old_and_new_are_those_of_a_plain_replay(tmp_path: Path, start: bytes, writes: list[tuple[int, bytes]]) -> None:
    """Variables of several pages too: CONTENT in pieces, stores past the value's end."""
    writer, memory = JournalWriter(), bytearray(start.ljust(9500, b"\0"))
    writer.variable(1, len(start))
    for at in range(0, len(start), 4096):
        writer.content(1, start[at : at + 4096].rstrip(b"\0"), at)
    writer.metadata(1, name="buffer")
    expected = []
    for offset, data in writes:
        before = bytes(memory)
        memory[offset : offset + len(data)] = data
        writer.store(1, offset, before[offset : offset + len(data)], data)
        expected.append((before[: len(start)], bytes(memory[: len(start)])))
    records = decode(writer, tmp_path)
    assert [(event.old, event.new) for event in events(records)] == expected
    assert not losses(records)


def test_bytes_changed_without_an_event_are_reported_and_followed(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.watch(1, q(5), "n")
    writer.store(1, 0, q(5), q(6))
    writer.store(1, 0, q(8), q(9))
    writer.store(1, 0, q(9), q(10))
    records = decode(writer, tmp_path)
    (lost,) = losses(records)
    assert (lost.variable, lost.count) == ("n", 1)
    assert "bytes 0 to 7" in lost.reason
    assert [(event.old, event.new) for event in events(records)] == [(5, 6), (8, 9), (9, 10)]
    assert records.index(lost) == records.index(events(records)[1]) - 1


def test_depth_limited_variable_is_no_gap_where_stores_make_no_events(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.variable(1, 16, start=4, stop=8)
    writer.metadata(1, name="n", serializer="")
    writer.store(1, 2, b"\7\7\0\0", b"\1\1\1\1")  # bytes 2 and 3 changed in silence before, as they may
    writer.store(1, 4, b"\1\1", b"\2\2")
    writer.store(1, 4, b"\3\3", b"\4\4")
    records = decode(writer, tmp_path)
    assert len(losses(records)) == 1
    (watched,) = [record for record in records if isinstance(record, Watched)]
    assert watched.variable.depth == (4, 8)
    assert [event.new[:8].hex() for event in events(records)] == [
        "0000010101010000",
        "0000010102020000",
        "0000010104040000",
    ]


def test_value_smaller_than_what_was_registered(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.variable(1, 4096)
    writer.content(1, q(5) + b"padding")
    writer.metadata(1, name="n", serializer="int64", size=8)
    writer.store(1, 4000, b"\0", b"\1")
    writer.store(1, 4, bytes(8), b"\1" * 8)
    records = decode(writer, tmp_path)
    past, across = events(records)
    assert (past.old, past.new, past.changed) == (5, 5, True)
    assert across.new == 5 + (0x01010101 << 32)
    (watched,) = [record for record in records if isinstance(record, Watched)]
    assert (watched.variable.size, watched.value) == (8, 5)


def test_watched_waits_for_metadata_but_not_for_ever(tmp_path: Path) -> None:
    writer = JournalWriter()
    at = writer.clock
    writer.variable(1, 8)
    writer.content(1, q(5))
    writer.metadata(1, name="n", serializer="int64", thread_ident=9, thread="MainThread",
                    site={"file": "a.py", "line": 3, "function": "f"})  # fmt: skip
    writer.variable(2, 8)
    writer.store(2, 0, q(0), q(1))
    writer.metadata(2, name="late", serializer="int64")
    writer.store(2, 0, q(1), q(2))
    writer.variable(3, 8)
    writer.unregistered(3)
    writer.variable(4, 8)
    records = [record for record in decode(writer, tmp_path) if not isinstance(record, Notice)]
    said: list[Any] = [
        ("watched", record.variable.name, record.value)
        if isinstance(record, Watched)
        else ("unwatched", record.variable)
        if isinstance(record, Unwatched)
        else ("event", record.variable, record.new)
        if isinstance(record, Event)
        else record
        for record in records
    ]
    assert said == [
        ("watched", "n", 5),
        ("watched", "variable 2", bytes(8)),
        ("event", "variable 2", q(1)),
        ("watched", "late", 1),
        ("event", "late", 2),
        ("watched", "variable 3", bytes(8)),
        ("unwatched", "variable 3"),
        ("watched", "variable 4", bytes(8)),
    ]
    first = records[0]
    assert isinstance(first, Watched)
    assert first.time_ns == at + 1000
    assert first.variable.watched_at == Site("a.py", 3, "f")
    assert (first.variable.thread_ident, first.variable.thread) == (9, "MainThread")
    assert first.variable.flags == ("track_threads",)


def test_end_of_a_watch_is_told_as_far_as_the_record_says(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.site(4, "a.py", 41, "set_limit", 5)
    ends: dict[tuple[int, int, int, bytes], tuple[Any, ...]] = {
        (0, 0, 0, b""): ("", None, "", ""),  # as before minor 4
        (4, 1, 0, b""): ("unwatched", 4, "", ""),
        (4, 2, 0, b"limit"): ("rebound", 4, "limit", ""),
        (4, 2, 1, b".limit"): ("rebound", 4, ".limit", "computed"),
        (4, 2, 2, b"[]"): ("rebound", 4, "[]", "plain"),
        (4, 2, 3, b"x"): ("rebound", 4, "x", "computed"),
        (4, 2, 0xFC, b"x"): ("rebound", 4, "x", ""),  # bits of a later version
        (4, 3, 2, b"x"): ("replaced", 4, "x", "plain"),
        (4, 4, 0, b"\xd0\xb6" * 18): ("deleted", 4, "ж" * 18, ""),
        (4, 5, 0, b""): ("left", 4, "", ""),
        (9, 6, 0, b"\xff"): ("dropped", None, "�", ""),  # a site that isn't there
        (4, 7, 0, b""): ("collected", 4, "", ""),
        (0, 8, 0, b""): ("exit", None, "", ""),
        (0, 9, 0, b""): ("closed", None, "", ""),
        (4, 10, 0, b"munmap"): ("released", 4, "munmap", ""),
        (0, 11, 0, b""): ("taken", None, "", ""),
        (4, 77, 0, b""): ("", 4, "", ""),  # of a later version
    }
    for ident, said in enumerate(ends, 1):
        writer.watch(ident, q(5), "limit")
        writer.unregistered(ident, *said)
    found = [record for record in decode(writer, tmp_path) if isinstance(record, Unwatched)]
    here = Site("a.py", 41, "set_limit", 5)
    assert [(each.why, each.site, each.target, each.given) for each in found] == [
        (why, here if site else None, *rest) for why, site, *rest in ends.values()
    ]


def test_last_record_of_a_site_says_whether_it_adds_a_call(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.watch(1, q(0), "total")
    for flags in (0, 4):
        writer.site(3, "a.py", 7, "add", flags=flags)
    writer.site(4, "a.py", 8, "add")
    for value, site in enumerate((3, 4)):
        writer.store(1, 0, q(value), q(value + 1), site=site)
    events = [record for record in decode(writer, tmp_path) if isinstance(record, Event)]
    assert [event.site and event.site.adds_call for event in events] == [True, False]


def test_context_is_carried_only_while_it_is_open(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.watch(1, q(0), "n")
    writer.json(CONTEXT, 1, CONTEXT_JSON | {"started": 5})
    steps: list[dict[str, Any] | None] = [None, {"outcome": "ended", "rows": 3, "transaction": 1}, {"outcome": "open"}]
    for number, outcome in enumerate(steps):
        if outcome is not None:
            writer.json(OUTCOME, 1, outcome)
        writer.store(1, 0, q(number), q(number + 1), context=1)
    writer.json(OUTCOME, 1, {"outcome": "ended", "ended": 9})
    writer.json(CONTEXT, 2, CONTEXT_JSON | {"outcome": "open"})
    writer.json(OUTCOME, 2, {"outcome": "failed: ValueError", "transaction": 1})
    writer.json(OUTCOME, 1, {"outcome": "rolled back", "scope": "transaction"})
    writer.json(OUTCOME, 77, {"outcome": "ended"})
    path = writer.save(tmp_path)
    journal = JournalDecoder(path, SERIALIZERS)
    records = []
    while not journal.ended:
        records += journal.poll()
    first, second, third = events(records)
    assert first.context is not None
    assert third.context is not None
    assert (first.context.outcome, first.context.rows, second.context) == ("open", None, None)
    assert (third.context.outcome, third.context.rows, third.context.transaction) == ("open", 3, 1)
    known = journal.contexts.known
    assert (known[1].outcome, known[1].ended, known[1].rows, known[1].started) == ("rolled back", 9, 3, 5)
    assert known[2].outcome == "failed: ValueError"
    assert not losses(records)


def test_contexts_that_ended_long_ago_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "KEPT", 10)
    writer = JournalWriter()
    for ident in range(1, 101):
        writer.json(CONTEXT, ident, CONTEXT_JSON)
        writer.json(OUTCOME, ident, {"outcome": "ended", "transaction": ident // 7 * 7 + 1})
    journal = JournalDecoder(writer.save(tmp_path), SERIALIZERS)
    while not journal.ended:
        journal.poll()
    assert list(journal.contexts.known) == list(range(91, 101))
    assert journal.contexts._transactions.keys() == {ident // 7 * 7 + 1 for ident in range(91, 101)}


def test_long_payloads_are_put_together_and_halves_are_told(tmp_path: Path) -> None:
    writer = JournalWriter()
    statement = "SELECT " + "x, " * 20000
    text = b'{"id":1,"driver":"d","statement":"%s","statement_hash":"h"}' % statement.encode()
    writer.watch(1, q(0), "n")
    writer.blob(CONTEXT, 1, text[:15000], flags=128)
    writer.blob(CONTEXT, 2, text[:15000], flags=128)
    writer.blob(CONTEXT, 1, text[15000:30000], flags=128)
    writer.store(1, 0, q(0), q(1), context=1)
    writer.blob(CONTEXT, 1, text[30000:45000], flags=128)
    writer.blob(CONTEXT, 1, text[45000:])
    writer.store(1, 0, q(1), q(2), context=1)
    records = decode(writer, tmp_path)
    first, second = events(records)
    assert first.context is None
    assert second.context is not None
    assert second.context.statement == statement
    (lost,) = losses(records)
    assert "second half" in lost.reason


def test_unknown_serializer_variable_and_kind_are_named_and_nothing_raises(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.watch(1, q(5), "odd", "martian")
    writer.store(1, 0, q(5), q(6))
    writer.store(9, 0, q(5), q(6))
    writer.store(9, 0, q(6), q(7))
    writer.blob(77, 1, b"future")
    records = decode(writer, tmp_path)
    assert [(event.variable, event.old, event.new) for event in events(records)] == [
        ("odd", None, None),
        ("variable 9", None, None),
        ("variable 9", None, None),
    ]
    (lost,) = losses(records)
    assert lost.variable == "variable 9"
    assert any("1 of kind 77" in record.text for record in records if isinstance(record, Notice))


def test_serializer_that_raises_is_told_once_and_values_are_left_out(tmp_path: Path) -> None:
    def decode_odd(data: bytes, options: Any) -> Any:
        if data[0] % 2:
            raise RuntimeError("odd")
        return data[0]

    writer = JournalWriter()
    writer.watch(1, q(0), "n", "odd")
    for number in range(6):
        writer.store(1, 0, q(number), q(number + 1))
    odd = Serializer("odd", "", lambda value: False, SERIALIZERS["int64"].layout, lambda *_: b"", decode_odd)
    records = decode_file(writer.save(tmp_path), {"odd": odd})
    assert [event.new for event in events(records)] == [None, 2, None, 4, None, 6]
    notices = [record.text for record in records if isinstance(record, Notice) and "odd" in record.text]
    assert notices == ["serializer 'odd' can't decode n; its values are left out"]


def test_losses_are_told_with_their_count(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.watch(1, q(0), "n")
    writer.blob(LOST, 1, struct.pack("<Q", 7))
    writer.lost = 3
    writer.blob(CONTEXT, 5, b"not JSON")
    writer.blob(METADATA, 44, b"{}")
    writer.blob(CONTENT, 44, b"")
    records = decode(writer, tmp_path)
    assert sorted((lost.count, lost.variable) for lost in losses(records) if lost.count > 1) == [(3, None), (7, "n")]
    reasons = " / ".join(lost.reason for lost in losses(records))
    assert "the disk was full" in reasons
    assert "CONTEXT record 5 can't be read" in reasons
    assert "METADATA record 44 can't be read: no such variable" in reasons


def test_journal_of_a_killed_process_says_so(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.watch(1, q(0), "n")
    assert "closed" in decode(writer, tmp_path)[-1].text  # type: ignore[union-attr]
    writer.closed = 0
    last = decode(writer, tmp_path)[-1]
    assert isinstance(last, Notice)
    assert "ended without closing" in last.text


def test_variables_too_large_are_reported_by_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "KEPT_LIMIT", 100)
    monkeypatch.setattr(JournalFile, "occupied", lambda file: 0)
    writer = JournalWriter()
    writer.watch(1, bytes(1 << 17), "large", "")
    writer.watch(2, b"ab", "small", "")
    writer.watch(3, bytes(99), "beyond the limit", "")
    for ident in (1, 2, 3):
        writer.store(ident, 0, b"x", b"y")
    writer.unregistered(2)
    writer.watch(4, bytes(99), "room again", "")
    writer.store(4, 0, b"\0", b"y")
    records = decode(writer, tmp_path)
    assert [(event.variable, event.new is None) for event in events(records)] == [
        ("large", True),
        ("small", False),
        ("beyond the limit", True),
        ("room again", False),
    ]
    assert [lost.variable for lost in losses(records)] == ["small"]
    told = [record.text for record in records if isinstance(record, Notice) and "too much memory" in record.text]
    assert told == [
        "4242-python.mwj: some variables take too much memory to be followed: of these, only the bytes that stores "
        "touched are known, not the values"
    ]


def test_metadata_for_which_there_is_no_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "KEPT_LIMIT", 100_000)
    monkeypatch.setattr(JournalFile, "occupied", lambda file: 0)
    writer = JournalWriter()
    for ident in range(1, 6):
        writer.variable(ident, 8)
        writer.metadata(ident, name=f"v{ident}", options={"a": "x" * 3000})
        if ident == 4:
            writer.unregistered(1)
    records = decode(writer, tmp_path)
    assert [record.variable.name for record in records if isinstance(record, Watched)] == [
        "v1",
        "v2",
        "v5",
        "variable 3",
        "variable 4",
    ]
    assert [lost.reason for lost in losses(records)] == [
        f"METADATA record {ident} can't be read: what describes the variables of this session takes too much memory"
        for ident in (3, 4)
    ]


def test_names_that_no_writer_makes_are_cut(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.watch(1, q(0), "n" * 5_000, path="p" * 5_000)
    fields = {"id": 1, "driver": "d" * 5_000, "statement": "s" * 100_000, "statement_hash": ""}
    long_blob(writer, CONTEXT, 1, json.dumps(fields).encode())
    writer.blob(11, 0, b"t" * 4_000, tid=7)
    writer.site(1, "f", 1, "g" * 4_000)
    writer.store(1, 0, q(0), q(1), context=1, site=1)
    (event,) = events(decode(writer, tmp_path))
    assert event.context is not None
    assert event.site is not None
    cut = [event.variable, event.path, event.thread, event.site.function, event.context.driver]
    assert [(len(text or ""), (text or "")[-1:]) for text in cut] == [(1024, "…")] * 5
    assert len(event.context.statement) == 1 << 16


def test_name_that_an_adapter_gave_is_kept_and_untracked_threads_have_none(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.watch(1, q(0), "n")
    writer.blob(11, 0, b"python", tid=7, flags=1)
    writer.store(1, 0, q(0), q(1))
    writer.thread(7, "MainThread")
    writer.store(1, 0, q(1), q(2))
    writer.blob(11, 0, b"python", tid=7, flags=1)
    writer.store(1, 0, q(2), q(3))
    writer.thread(0, "nobody")
    writer.store(1, 0, q(3), q(4), tid=0)
    writer.store(1, 0, q(4), q(5), tid=2**32 - 1)
    assert [event.thread for event in events(decode(writer, tmp_path))] == [
        "python",
        "MainThread",
        "MainThread",
        "",
        "",
    ]


def test_batches_are_bounded_by_the_bytes_of_their_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_BYTES", 1 << 20)
    writer = JournalWriter()
    writer.watch(1, bytes(50_000), "large", "")
    for _ in range(200):
        writer.store(1, 0, b"\0", b"\0")
    journal = JournalDecoder(writer.save(tmp_path), {})
    batches = []
    while not journal.ended:
        batches.append(len(events(journal.poll())))
    assert sum(batches) == 200
    assert max(batches) <= 22


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.sampled_from([METADATA, CONTENT, 8, CONTEXT, OUTCOME, 11, LOST]), st.integers(0, 3))
def test_hostile_payloads_never_raise(tmp_path: Path, payload: bytes, kind: int, ident: int) -> None:
    writer = JournalWriter()
    writer.watch(1, q(5), "n")
    writer.json(CONTEXT, 1, CONTEXT_JSON)
    writer.blob(kind, ident, payload)
    writer.store(1, 0, q(5), q(6), site=ident, context=1)
    assert events(decode(writer, tmp_path))[0].seq == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "\ud800", "serializer": "int64"},
        {"name": "x", "serializer": "struct", "options": {"format": "999999999999q"}},
        {"name": "x", "serializer": "struct", "options": {"format": "q", "fields": ["__class__"]}},
        {"name": "x", "serializer": "struct", "options": {"format": "q", "fields": [1]}},
        {"name": "x", "serializer": "bytes", "options": {"capacity": -1}},
        {"name": "x", "serializer": "int64", "size": -5},
        {"name": "x", "serializer": "int64", "size": 2**70},
    ],
)
def test_hostile_metadata_leaves_the_events(tmp_path: Path, fields: dict[str, Any]) -> None:
    writer = JournalWriter()
    writer.variable(1, 8)
    writer.metadata(1, **fields)
    writer.store(1, 0, q(0), q(6))
    assert events(decode(writer, tmp_path))[0].after == q(6)


def test_store_records_are_numbered_even_around_what_is_damaged(tmp_path: Path) -> None:
    writer = JournalWriter()
    writer.watch(1, q(0), "n")
    writer.store(1, 0, q(0), q(1))
    at = writer.store(1, 0, q(1), q(2))
    writer.store(1, 0, q(2), q(3))
    struct.pack_into("<I", writer.slots, at * 64 + 24, 1 << 20)  # a length that its slots can't hold
    records = decode(writer, tmp_path)
    assert [event.seq for event in events(records)] == [1, 2]
    assert [lost.reason.split()[0] for lost in losses(records)] == ["a", "damaged"]
    assert STORE == 1


def test_each_kind_of_record_has_a_handler(tmp_path: Path) -> None:
    decoder = JournalDecoder(JournalWriter().save(tmp_path), {})
    by_the_loop = {Kind.FREE, Kind.STORE, Kind.CONTINUATION, Kind.PAD}
    assert {*decoder._handlers} == {*Kind} - by_the_loop
    assert {*decoder._is_known} <= {*decoder._handlers}
    decoder.close()


@pytest.mark.parametrize("name", ["position", "jumped", "live", "skipped", "damaged", "unknown", "header"])
def test_nobody_writes_into_the_reader_of_a_journal(tmp_path: Path, name: str) -> None:
    decoder = JournalDecoder(JournalWriter().save(tmp_path), {})
    with pytest.raises(AttributeError):
        setattr(decoder.reader, name, 1)
    decoder.close()
