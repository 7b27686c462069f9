"""A session's folder: private, described, found again; every way in which that can fail is one clear error."""

from __future__ import annotations

import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journal_writer import JournalWriter

from memwatch_core.errors import SessionError
from memwatch_core.journal.session import create_session, journals, latest_session, read_session, sessions


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folder_is_private_and_described(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        folder = create_session(tmp_path / "a" / "base", ["python", "x.py", "\udcff"])
    finally:
        os.umask(old)
    assert mode(folder) == 0o700
    assert mode(folder.parent) == 0o700
    assert [mode(folder / name) for name in ("key", "session.json")] == [0o600, 0o600]
    session = read_session(folder)
    assert session.command == ("python", "x.py", "\\udcff")
    assert (len(session.id), len(session.key)) == (16, 32)
    assert session.folder == folder
    assert abs((datetime.now(UTC) - session.started).total_seconds()) < 60
    assert session.id.hex()[:6] in folder.name


def test_sessions_are_listed_oldest_first_and_differ(tmp_path: Path) -> None:
    base = tmp_path / "base"
    assert sessions(base) == []
    with pytest.raises(SessionError, match="memwatch run"):
        latest_session(base)
    made = [create_session(base, [str(number)]) for number in range(5)]
    (base / "other").mkdir()
    (base / "file").write_text("")
    assert sessions(base) == made
    assert latest_session(base) == made[-1]
    assert len({read_session(folder).key for folder in made}) == 5


def test_journals_of_new_processes_are_found(tmp_path: Path) -> None:
    folder = create_session(tmp_path, [])
    assert journals(folder) == []
    JournalWriter(pid=7).save(folder)
    JournalWriter(pid=3, runtime="node").save(folder)
    assert [path.name for path in journals(folder)] == ["3-node.mwj", "7-python.mwj"]
    with pytest.raises(SessionError, match="absent"):
        journals(tmp_path / "absent")


def test_folder_that_cant_be_made_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SessionError, match=r"file.*journal\.folder"):
        create_session(tmp_path / "file", [])
    if os.geteuid() == 0:
        with pytest.raises(SessionError, match=r"/proc/nothing.*journal\.folder"):
            create_session("/proc/nothing", [])
        return
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(SessionError, match=r"locked.*Permission denied.*journal\.folder"):
        create_session(tmp_path / "locked", [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no session"),
        ("", "not the description"),
        ("[" * 100000, "not the description"),
        ('{"format":1}', "not the description"),
        ('{"format":1,"session":"zz","started":"2026-01-01T00:00:00Z","command":[]}', "not the description"),
        ('{"format":2,"session":"%s","started":"2026-01-01T00:00:00Z","command":[]}' % ("0" * 32), "format 2"),
    ],
)
def test_folder_that_is_no_session_is_one_clear_error(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "session.json").write_text(text)
    with pytest.raises(SessionError, match=message) as caught:
        read_session(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_session_without_a_time_zone_or_key_is_read(tmp_path: Path) -> None:
    text = '{"format":1,"session":"%s","started":"2026-01-01T00:00:00","command":[],"more":1}' % ("0" * 32)
    (tmp_path / "session.json").write_text(text)
    session = read_session(tmp_path)
    assert session.started == datetime(2026, 1, 1, tzinfo=UTC)
    assert session.key == b""


def test_description_that_is_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "session.json")
    with pytest.raises(SessionError, match="not a regular file"):
        read_session(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
FIELDS = st.dictionaries(
    st.sampled_from(["format", "session", "started", "command", "memwatch", "other"]),
    JSON | st.just(1) | st.just("0" * 32) | st.just("2026-11-23T15:04:05Z") | st.just(["a"]),
)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | FIELDS.map(lambda fields: json.dumps(fields).encode()))
def test_hostile_description_is_a_session_or_one_clear_error(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "session.json"
    file.write_bytes(text)
    try:
        session, complaint = read_session(tmp_path), ""
    except SessionError as error:
        session, complaint = None, str(error)
    if session is None:
        assert str(file) in complaint
        assert len(complaint) < 1000
    else:
        assert len(session.id) == 16
        assert all(isinstance(argument, str) for argument in session.command)
