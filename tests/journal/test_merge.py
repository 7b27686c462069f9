"""Several processes in one stream: by time between them, by journal within each, nothing lost, new ones found."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from decoding import SERIALIZERS, q
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journal_writer import TIME, JournalWriter

from memwatch_core.errors import JournalError, SessionError
from memwatch_core.host.merge import SessionDecoder
from memwatch_core.journal.session import create_session
from memwatch_core.records import Event, Notice, Record


def journal(folder: Path, pid: int, times: list[int]) -> Path:
    writer = JournalWriter(pid=pid)
    writer.watch(1, q(0), f"n{pid}", time=None)
    for number, time in enumerate(times):
        writer.store(1, 0, q(number), q(number + 1), time=time)
    return writer.save(folder)


def read(folder: Path) -> list[Record]:
    session = SessionDecoder(folder, SERIALIZERS)
    records = [record for batch in session.batches() for record in batch]
    assert session.ended
    return records


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(TIME + 10**6, TIME + 10**8), max_size=60), min_size=1, max_size=5))
def test_processes_are_merged_by_time_and_keep_their_own_order(tmp_path: Path, plan: list[list[int]]) -> None:
    for old in tmp_path.glob("*.mwj"):
        old.unlink()
    for pid, times in enumerate(plan, 1):
        journal(tmp_path, pid, times)
    events = [record for record in read(tmp_path) if isinstance(record, Event)]
    for pid, times in enumerate(plan, 1):
        assert [event.seq for event in events if event.pid == pid] == list(range(1, len(times) + 1))
    keys: dict[int, int] = {}
    order = []
    for event in events:  # a clock that was set back: the time that the process had come to
        keys[event.pid] = max(keys.get(event.pid, 0), event.time_ns)
        order.append(keys[event.pid])
    assert order == sorted(order)


def test_large_journals_are_merged_batch_by_batch(tmp_path: Path) -> None:
    for pid in (1, 2, 3):
        journal(tmp_path, pid, [TIME + 10**6 + 1000 * number + pid for number in range(12_000)])
    session = SessionDecoder(tmp_path, SERIALIZERS)
    batches = list(session.batches())
    assert max(map(len, batches)) < 20_000
    times = [record.time_ns for batch in batches for record in batch if isinstance(record, Event)]
    assert len(times) == 36_000
    assert times == sorted(times)


def test_journals_that_appear_later_are_found(tmp_path: Path) -> None:
    journal(tmp_path, 1, [TIME + 10**6])
    session = SessionDecoder(tmp_path, SERIALIZERS)
    assert [record.pid for record in session.poll() if isinstance(record, Event)] == [1]
    (tmp_path / "2-python.mwj").write_bytes(b"")
    assert not [record for record in session.poll() if isinstance(record, Event)]
    assert session.unreadable
    journal(tmp_path, 2, [TIME + 10**6])
    assert [record.pid for record in session.poll() if isinstance(record, Event)] == [2]
    assert not session.unreadable
    session.close()


def test_file_that_is_no_journal_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    journal(tmp_path, 1, [TIME + 10**6])
    (tmp_path / "0-python.mwj").write_bytes(b"x" * 9000)
    records = read(tmp_path)
    assert sum(isinstance(record, Event) for record in records) == 1
    assert any(
        isinstance(record, Notice) and "0-python.mwj: not a MemWatch journal" in record.text for record in records
    )


def test_more_journals_than_files_may_be_open(tmp_path: Path) -> None:
    for pid in range(1, 121):
        journal(tmp_path, pid, [TIME + 10**6])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, hard))
    try:
        records = read(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert sum(isinstance(record, Event) for record in records) == 120


def test_one_journal_or_a_whole_folder(tmp_path: Path) -> None:
    path = journal(tmp_path, 1, [TIME + 10**6])
    assert read(path) == read(tmp_path)
    with pytest.raises(JournalError, match="absent"):
        SessionDecoder(tmp_path / "absent", SERIALIZERS)
    empty = SessionDecoder(create_session(tmp_path / "base", []), SERIALIZERS)
    assert list(empty.batches()) == []
    (tmp_path / "base" / "gone").mkdir()
    session = SessionDecoder(tmp_path / "base" / "gone", SERIALIZERS)
    (tmp_path / "base" / "gone").rmdir()
    with pytest.raises((SessionError, JournalError)):
        session.path.joinpath("x").stat() if session.path.exists() else SessionDecoder(session.path, SERIALIZERS)
