"""Risk: a driver is patched though nobody asked for SQL, or isn't though somebody did."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MEMWATCH = str(Path(sys.executable).with_name("memwatch"))
PATCHED = "print(type(sqlite3.connect(':memory:')) is not sqlite3.Connection, 'memwatch_sql_sqlite3' in sys.modules)\n"
IMPORTS = "import sqlite3, sys\nfrom memwatch_core import watch\n"
PLAIN = f"{IMPORTS}x = watch(0)\nx += 1\n{PATCHED}"
LATER = f"{IMPORTS}x = watch(0)\n{PATCHED}y = watch(0, track_sql=True)\n{PATCHED}"
SESSION = f"{IMPORTS}from memwatch_core import session\nwith session({{}}):\n    x = watch(0{{}})\n    {{}}{{}}"
NO, YES = "False False\n", "True True\n"


def run(folder: Path, program: str, *command: str, settings: str = "", **variables: str) -> str:
    (folder / "program.py").write_text(program)
    (folder / "memwatch.toml").write_text(settings)
    done = subprocess.run(
        [*(command or (sys.executable,)), "program.py"],
        cwd=folder, env={"PATH": "/usr/bin:/bin", **variables}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


WAYS = {"python": (), "memwatch run": (MEMWATCH, "run", "--sink", "jsonl")}


@pytest.mark.parametrize("command", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(
    ("settings", "variables", "expected"),
    [
        ("", {}, NO),
        ("[sql]\nwindow = 'fetch'\n", {}, NO),
        ("[plugins]\nsql = []\n", {}, NO),
        ("[watch]\ntrack_sql = true\n", {}, YES),
        ("[plugins]\nsql = ['sqlite3']\n", {}, YES),
        ("", {"MEMWATCH_WATCH_TRACK_SQL": "true"}, YES),
        ("", {"MEMWATCH_PLUGINS_SQL": "sqlite3"}, YES),
    ],
)
def test_settings_ask(
    tmp_path: Path, command: tuple[str, ...], settings: str, variables: dict[str, str], expected: str
) -> None:
    assert run(tmp_path, PLAIN, *command, settings=settings, **variables) == expected


def test_option_asks(tmp_path: Path) -> None:
    assert run(tmp_path, PLAIN, *WAYS["memwatch run"], "--track-sql") == YES


@pytest.mark.parametrize("command", WAYS.values(), ids=WAYS)
def test_first_watch_that_tracks_sql_asks(tmp_path: Path, command: tuple[str, ...]) -> None:
    assert run(tmp_path, LATER, *command) == NO + YES
    assert run(tmp_path, LATER, *command, settings="[plugins]\nsql = []\n") == NO + NO


@pytest.mark.parametrize(
    ("options", "watched", "expected"),
    [
        ("sinks=[]", "", NO),
        ("sinks=[]", ", track_sql=True", YES),
        ("sinks=[], watch={'track_sql': True}", "", YES),
        ("sinks=[], plugins={'sql': ['sqlite3']}", "", YES),
    ],
)
def test_session_asks_as_its_settings_do(tmp_path: Path, options: str, watched: str, expected: str) -> None:
    after = "print(type(sqlite3.connect(':memory:')) is sqlite3.Connection)\n"
    assert run(tmp_path, SESSION.format(options, watched, PATCHED, after)) == expected + "True\n"


def test_connection_from_before_is_untraced_and_works(tmp_path: Path) -> None:
    program = f"""{IMPORTS}
from memwatch_core.native.tracing import in_force
early = sqlite3.connect(":memory:")
x = watch(0, track_sql=True)
late = sqlite3.connect(":memory:")
for connection in (early, late):
    print(connection.execute("select 7").fetchone(), in_force() > 0)
"""
    assert run(tmp_path, program) == "(7,) False\n(7,) True\n"


def test_plugin_that_cannot_be_loaded_is_said_and_the_program_goes_on(tmp_path: Path) -> None:
    (tmp_path / "memwatch_broken.py").write_text("raise RuntimeError('planted')\n")
    info = tmp_path / "memwatch_broken-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: memwatch-broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[memwatch.sql]\nsqlite3 = memwatch_broken\n")
    (tmp_path / "program.py").write_text(LATER)
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, NO + NO), done.stderr
    assert "SQL can't be traced" in done.stderr
    assert "offered by" in done.stderr


def test_drivers_bring_no_package_that_only_a_host_needs(tmp_path: Path) -> None:
    """Their objects are plugins, and are found to be in order without pluggy."""
    program = (
        f"{IMPORTS}x = watch(0, track_sql=True)\nprint({{'pluggy', 'stevedore', 'pydantic'}} & sys.modules.keys())\n"
    )
    assert run(tmp_path, program + PATCHED) == "set()\n" + YES


@pytest.mark.parametrize("opened", ["by the first watch", "by the session"])
def test_watch_of_another_thread_waits_until_the_drivers_are_installed(tmp_path: Path, opened: str) -> None:
    program = f"""{IMPORTS}
import threading
from memwatch_core import session
from memwatch_core.adapter import process
reached, passed = threading.Event(), []

def stop_there(frame, event, argument):  # between the journal's opening and the drivers' installation
    if event == "return" and frame.f_code is process.open_journal.__code__:
        reached.set()
        other.join(0.5)

def first():
    sys.setprofile(stop_there)
    if {opened == "by the session"}:
        with session(sinks=[], watch={{"track_sql": True}}):
            other.join()
    else:
        watch(0)

def second():
    reached.wait()
    watch(0)
    passed.append(type(sqlite3.connect(":memory:")) is not sqlite3.Connection)

threads = opening, other = threading.Thread(target=first), threading.Thread(target=second)
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(*passed)
"""
    assert run(tmp_path, program, MEMWATCH_WATCH_TRACK_SQL="true") == "True\n"
