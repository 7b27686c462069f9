"""In-process sessions: everything reaches the sinks, whatever goes wrong around it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import memwatch_core
from memwatch_core import config as configuration
from memwatch_core import session, unwatch, watch
from memwatch_core.errors import ConfigError, SessionError
from memwatch_core.records import Event, Record, Unwatched, Watched


class Keeper:
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.closed = 0

    def write(self, records: Sequence[Record]) -> None:
        self.records.extend(records)

    def flush(self) -> None: ...

    def close(self) -> None:
        self.closed += 1

    @property
    def changes(self) -> list[tuple[str, Any, Any]]:
        return [(r.variable, r.old, r.new) for r in self.records if isinstance(r, Event)]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_write_of_the_block_reaches_the_sink() -> None:
    keeper = Keeper()
    with session(sinks=[keeper]) as current:
        total = watch(0, name="total")
        total += 5
        unwatch(total)
        assert current.tracker in ("uffd-sigbus", "readonly")
    assert keeper.changes == [("total", 0, 5)]
    kinds = [type(record) for record in keeper.records if isinstance(record, Watched | Event | Unwatched)]
    assert kinds == [Watched, Event, Unwatched]
    assert keeper.closed == 1
    assert current.summary.events == 1
    event = next(record for record in keeper.records if isinstance(record, Event))
    assert event.site is not None
    assert (event.site.file, event.site.function) == (__file__, "test_every_write_of_the_block_reaches_the_sink")


def test_flush_waits_for_everything_so_far() -> None:
    keeper = Keeper()
    with session(sinks=[keeper]) as current:
        n = watch(0, name="n")
        for i in range(1, 300):
            n += 1
            if i % 50 == 0:
                current.flush()
                assert len(keeper.changes) == i


def test_sessions_follow_each_other_and_closed_ones_say_so() -> None:
    first, second = Keeper(), Keeper()
    with session(sinks=[first]):
        a = watch(0, name="a")
        a += 1
    assert a == 1, "still readable"
    with pytest.raises(SessionError, match="session"):
        a += 1
    assert a == 1, "unchanged"
    with session(sinks=[second]):
        b = watch(0, name="b")
        b += 1
    assert (first.changes, second.changes) == ([("a", 0, 1)], [("b", 0, 1)])


def test_one_session_at_a_time_and_the_first_goes_on() -> None:
    keeper = Keeper()
    with session(sinks=[keeper]):
        n = watch(0, name="n")
        with pytest.raises(SessionError, match="one session at a time"), session(sinks=[Keeper()]):
            pass
        n += 1
    assert keeper.changes == [("n", 0, 1)]


def test_exception_in_the_block_passes_and_loses_nothing() -> None:
    keeper = Keeper()

    def program() -> None:
        with session(sinks=[keeper]):
            n = watch(0, name="n")
            n += 1
            n += 1 // (n - 1)

    with pytest.raises(ZeroDivisionError):
        program()
    assert keeper.changes == [("n", 0, 1)]
    assert keeper.closed == 1


def test_threads_write_while_the_host_reads() -> None:
    keeper = Keeper()
    with session(sinks=[keeper]) as current:
        values = [watch(0, name=f"v{i}") for i in range(4)]

        def work(i: int) -> None:
            for _ in range(2000):
                values[i] += 1

        threads = [threading.Thread(target=work, args=(i,), name=f"w{i}") for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for i in range(4):
        mine = [(old, new) for name, old, new in keeper.changes if name == f"v{i}"]
        assert mine == [(n, n + 1) for n in range(2000)]
    assert current.summary.events == 8000
    assert current.summary.sentence() == "8,000 events on 4 variables by 4 threads; nothing lost"


def test_settings_of_the_call_win_and_are_checked(tmp_path: Path) -> None:
    (tmp_path / "memwatch.toml").write_text("[core]\ntracker = 'uffd-sigbus'\n[watch]\ntrack_threads = false")
    keeper = Keeper()
    with session(folder="elsewhere", sinks=[keeper], watch={"track_threads": True}) as current:
        n = watch(0, name="n")
        n += 1
    assert current.folder.parent == tmp_path / "elsewhere"
    assert current.config.source("watch.track_threads").where == "session(watch=...)"
    assert next(r.tid for r in keeper.records if isinstance(r, Event)) != 0


WRONG: list[tuple[type[Exception], str, dict[str, Any]]] = [
    (ConfigError, r"session\(watch=\.\.\.\): unknown key watch\.trak_sql; did you mean", {"watch": {"trak_sql": True}}),
    (ConfigError, "must be a section", {"tracker": "readonly"}),
    (ConfigError, "no installed distribution offers", {"sinks": ["nosuch"]}),
    (SessionError, "neither a name nor", {"sinks": [print]}),
]


@pytest.mark.parametrize(("error", "message", "arguments"), WRONG)
def test_wrong_argument_is_one_error(error: type[Exception], message: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(error, match=message), session(**arguments):
        pass


def test_configuration_that_was_loaded_can_be_given_and_overridden(tmp_path: Path) -> None:
    (tmp_path / "memwatch.toml").write_text("[core]\ntracker = 'uffd-sigbus'\n[watch]\ntrack_threads = false")
    keeper = Keeper()
    loaded = configuration.load()
    with session(loaded, sinks=[keeper], watch={"track_threads": True}) as current:
        assert current.config.watch.track_threads
        assert current.config.core.tracker == "uffd-sigbus"
        assert current.config.journal.folder == tmp_path / ".memwatch"


def test_folder_that_can_not_be_made_is_one_error_and_closes_the_sinks(tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("")
    keeper = Keeper()
    arguments: dict[str, Any] = {"folder": "occupied", "sinks": [keeper]}
    with pytest.raises(SessionError, match="session's folder can't be made"), session(**arguments):
        pass
    assert keeper.closed == 1


def test_sql_driver_is_traced_inside_the_block_and_untouched_after_it() -> None:
    import sqlite3

    connect = sqlite3.connect
    keeper = Keeper()
    with session(sinks=[keeper], watch={"track_sql": True}):
        assert sqlite3.connect is not connect
        total = watch(0, name="total")
        db = sqlite3.connect(":memory:")
        for (n,) in db.execute("SELECT 40 + 2"):
            total += n
        db.close()
    assert sqlite3.connect is connect
    event = next(record for record in keeper.records if isinstance(record, Event))
    assert event.context is not None
    assert event.context.statement == "SELECT ? + ?"


def test_importing_the_package_is_cheap_and_names_are_lazy() -> None:
    code = """
import sys, memwatch_core
heavy = {"pydantic", "cffi", "msgspec", "click", "stevedore", "pluggy", "rich", "memwatch_core.native._core"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert {"watch", "unwatch", "session"} <= set(dir(memwatch_core))
try:
    memwatch_core.wotch
except AttributeError as error:
    assert "wotch" in str(error)
else:
    raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-I", "-c", code], check=True, timeout=60)
    assert memwatch_core.watch is watch


def test_session_can_be_read_again_from_its_folder(tmp_path: Path) -> None:
    with session(sinks=[]) as current:
        n = watch(1, name="n")
        n += 1
    from memwatch_core.host import history

    records = [record for batch in history.read(current.folder, print) for record in batch]
    assert [(r.variable, r.old, r.new) for r in records if isinstance(r, Event)] == [("n", 1, 2)]
    assert json.loads((current.folder / "session.json").read_text())["command"]
