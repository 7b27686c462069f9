"""Several processes in one stream: by time between them, by journal within each, nothing lost, new ones found."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from time import monotonic, time_ns

import pytest
from decoding import SERIALIZERS, q
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journal_writer import TIME, JournalWriter

from memwatch_core.errors import JournalError, SessionError
from memwatch_core.host import merge
from memwatch_core.host.merge import SessionDecoder
from memwatch_core.journal import reader
from memwatch_core.journal.liveness import Writer
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


@pytest.mark.parametrize("slots", [2, 200, 255])
def test_last_record_that_claims_to_be_longer_than_the_journal_hides_nothing(tmp_path: Path, slots: int) -> None:
    """It is read together with those before it, or alone: the block before it ended there."""
    for before in (1, reader.BLOCK_SLOTS - 3, 2 * reader.BLOCK_SLOTS - 3):
        path = journal(tmp_path, 3_999_999, [TIME + 10**6] * (before + 3))
        data = bytearray(path.read_bytes())
        data[4096 + 64 * (before + 2) + 1] = slots  # behind two slots that register the variable
        path.write_bytes(data)
        events = [record for record in read(tmp_path) if isinstance(record, Event)]
        assert len(events) == before + 2


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


@pytest.mark.parametrize("taken", [0, 600])  # by whoever else is in the process
@pytest.mark.parametrize("free", [6, 12, 40, 200])
def test_more_journals_than_files_may_be_open(tmp_path: Path, free: int, taken: int) -> None:
    for pid in range(1, 121):
        journal(tmp_path, pid, [TIME + 10**6])
    others = [os.open(os.devnull, os.O_RDONLY) for _ in range(taken)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = sum(int(number) < 900 for number in os.listdir("/proc/self/fd"))  # the core's own are high
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + free, hard))
    try:
        records = read(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for number in others:
            os.close(number)
    assert sum(isinstance(record, Event) for record in records) == 120


def test_descriptors_that_are_taken_while_a_session_is_read_leave_nothing_out(tmp_path: Path) -> None:
    for pid in range(1, 121):
        journal(tmp_path, pid, [TIME + 10**6])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    others: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard))
    session = SessionDecoder(tmp_path, SERIALIZERS)
    try:
        records = session.poll()
        for _ in range(400):
            try:
                others.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        records += [record for _ in range(10) for record in session.poll()]
        while len(others) > 200:
            os.close(others.pop())
        records += [record for batch in session.batches() for record in batch]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for number in others:
            os.close(number)
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


def test_clock_that_is_ahead_holds_nothing_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Writer, "alive", lambda writer: writer.pid == 1)
    ahead = time_ns() + 10**18
    journal(tmp_path, 2, [ahead + number for number in range(5_000)])
    writer = JournalWriter(pid=1)
    writer.closed = 0
    writer.watch(1, q(0), "open")
    writer.save(tmp_path)
    session, begun, rounds = SessionDecoder(tmp_path, SERIALIZERS), monotonic(), 0
    found: list[Record] = []
    while len(found) < 5_000 and rounds < 1_000:  # not one of them waits for the other process
        found += [record for record in session.poll() if isinstance(record, Event)]
        rounds += 1
    assert len(found) == 5_000, monotonic() - begun
    session.close()


def test_what_a_writer_adds_while_a_session_is_read_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Writer, "alive", lambda writer: True)
    writer = JournalWriter()
    writer.closed, size = 0, 0
    writer.watch(1, q(0), "n")
    session: SessionDecoder | None = None
    seen = 0
    for number in range(2_000):
        writer.store(1, 0, q(number), q(number + 1))
        if number % 1_000 == 999:
            while writer.position % (16_384) and session is None:
                writer.thread(7, "x")  # the file ends with a segment
            path = writer.save(tmp_path)
            if session is None:
                size = path.stat().st_size
                session = SessionDecoder(tmp_path, SERIALIZERS, final=True)
                batches = session.batches()
                seen += sum(isinstance(record, Event) for record in next(batches))
    assert size < path.stat().st_size
    seen += sum(isinstance(record, Event) for batch in batches for record in batch)
    assert seen == 1_000
    assert not session.ended, "the process may still write"


def test_folder_of_many_journals_is_not_listed_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for pid in range(1, 301):
        journal(tmp_path, pid, [TIME + pid])
    os.utime(tmp_path, (1, 1))
    looks: list[object] = []
    listed = merge.listed
    monkeypatch.setattr(merge, "listed", lambda folder, opened: looks.append(folder) or listed(folder, opened))
    monkeypatch.setattr(merge, "SOURCES", 20)
    monkeypatch.setattr(merge, "SETTLED", 1e6)
    assert len([record for record in read(tmp_path) if isinstance(record, Event)]) == 300
    assert len(looks) == 1


@pytest.mark.skipif("os.geteuid() != 0", reason="needs to become another user")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_process_of_somebody_else_is_not_taken_for_a_writer(tmp_path: Path) -> None:
    """Its maps can't be read; that it exists isn't enough."""
    path = journal(tmp_path, 1, [TIME])
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    os.chown(path, 65534, 65534)
    child = os.fork()
    if child == 0:
        status = 3
        try:
            os.setresuid(65534, 65534, 65534)
            with pytest.raises(PermissionError):
                Path("/proc/1/maps").read_bytes()
            status = int(Writer(1, path).alive())
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.chown(path, 0, 0)
