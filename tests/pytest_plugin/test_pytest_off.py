"""Risk: a plugin that is installed and not asked for costs something, changes something, or breaks tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from inner_runs import Ran, run, write

APP = "STATE = {}\n"
SUITE = """
import pytest, app

def test_plain(): app.STATE["x"] = 1
@pytest.mark.memwatch_unchanged("app:STATE", "no target at all")
def test_marked(): app.STATE["y"] = 1
def test_asks(memwatch): memwatch.assert_unchanged(app.STATE)
@pytest.fixture
def through(memwatch): return memwatch
def test_asks_through_a_fixture(through): ...
@pytest.mark.xfail
def test_xfails(): assert False
def test_fails(): assert False
def test_last():
    import sys
    loaded = sorted(name for name in sys.modules if name.startswith(("memwatch", "pytest_memwatch")))
    assert loaded == ["pytest_memwatch"], loaded
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, Ran]:
    """Without the plugin, and with it, not asked for."""
    folder = tmp_path_factory.mktemp("off")
    absent = SUITE.replace("(memwatch)", "()").replace("memwatch.assert", "app.").replace("return memwatch", "return 1")
    write(folder, {"app.py": APP, "test_it.py": SUITE})
    other = tmp_path_factory.mktemp("absent")
    write(other, {"app.py": APP, "test_it.py": absent})
    return run(other, "-p", "no:memwatch"), run(folder, "--strict-markers", "-W", "error")


def test_tests_end_as_they_do_without_it(both: tuple[Ran, Ran]) -> None:
    for name in ("plain", "marked", "xfails", "fails"):
        without, off = (ran.tests[f"test_{name}"].outcomes for ran in both)
        assert off == without, name


def test_what_asks_for_it_is_skipped_and_says_how_to_turn_it_on(both: tuple[Ran, Ran]) -> None:
    _, off = both
    for name in ("test_asks", "test_asks_through_a_fixture"):
        assert off.tests[name].own == "setup skipped"
        assert "only with --memwatch (or memwatch = true in the ini file)" in off.tests[name].texts["setup"]


def test_nothing_of_memwatch_is_imported_or_written_or_said(both: tuple[Ran, Ran]) -> None:
    _, off = both
    assert off.tests["test_last"].own == "passed", off.tests["test_last"].texts
    assert off.section == ""
    assert off.sessions == []
    assert not (off.folder / ".memwatch").exists()


def test_the_module_that_is_always_imported_imports_pytest_alone() -> None:
    program = (
        "import sys, json, pytest; before = {*sys.modules}; import pytest_memwatch; "
        "print(json.dumps(sorted({*sys.modules} - before)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["pytest_memwatch"]


@pytest.mark.parametrize(
    ("ini", "arguments", "ways"),
    [
        ("", ("--memwatch",), {"fixture", "mark"}),
        ("memwatch = true\n", (), {"fixture", "mark"}),
        ("memwatch = false\n", (), set()),
        ("addopts = --memwatch\n", (), {"fixture", "mark"}),
        ("memwatch_unchanged = app:STATE\n", (), set()),
        ("memwatch_unchanged = app:STATE\n", ("--memwatch",), {"fixture", "mark", "target"}),
        ("memwatch_unchanged =\n    app:OTHER\n    app:STATE\n", ("--memwatch",), {"fixture", "mark", "target"}),
        ("", ("--memwatch-unchanged", "app:STATE"), {"fixture", "mark", "target"}),
        ("", ("--memwatch-unchanged=app:STATE", "--memwatch-unchanged=app:STATE"), {"fixture", "mark", "target"}),
    ],
)
def test_each_way_of_asking(tmp_path: Path, ini: str, arguments: tuple[str, ...], ways: set[str]) -> None:
    text = """
import pytest, app

def test_fixture(memwatch):
    memwatch.watch(app.OTHER)
    app.OTHER.append(1)
    app.OTHER.pop()
    assert len(memwatch.events) == 2

@pytest.mark.memwatch_unchanged("app:STATE")
def test_mark(): app.STATE["mark"] = 1

def test_target(): app.STATE["target"] = 1
"""
    write(tmp_path, {"app.py": "STATE = {}\nOTHER = []\n", "test_it.py": text, "pytest.ini": f"[pytest]\n{ini}"})
    ran = run(tmp_path, *arguments)
    assert (ran.tests["test_fixture"].own == "passed") == ("fixture" in ways), ran.out
    assert ran.tests["test_mark"].own == ran.tests["test_target"].own == "passed"
    heads = [f'app:STATE["{name}"]: absent → 1' for name in ("mark", "target") if name in ways]
    assert ran.heads() == heads
    assert ran.code == (1 if heads else 0)


# ---- what can't be asked for ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", ["", ":", "app:", "app:STATE extra", "/app.py:STATE", "app.:x", "1app", "app:add():x"]
)
def test_a_wrong_target_ends_the_run_before_it_begins(tmp_path: Path, target: str) -> None:
    write(tmp_path, {"test_it.py": "def test_a(): ..."})
    ran = run(tmp_path, f"--memwatch-unchanged={target}")
    if target == "app:":  # as `app`: all of its names
        assert ran.code == 0
        return
    assert ran.code == 4
    assert "--memwatch-unchanged" in ran.err
    assert "Traceback" not in ran.err
    assert ran.tests == {}


@pytest.mark.parametrize("depth", ["0", "x", "-1", "1000"])
def test_a_wrong_depth_ends_the_run_before_it_begins(tmp_path: Path, depth: str) -> None:
    write(tmp_path, {"test_it.py": "def test_a(): ...", "pytest.ini": f"[pytest]\nmemwatch_depth = {depth}\n"})
    ran = run(tmp_path, "--memwatch")
    assert ran.code == 4
    assert f"memwatch_depth = {depth}: must be a number of levels, from 1 to 100" in ran.err


def test_a_wrong_target_of_a_mark_is_an_error_of_that_test(tmp_path: Path) -> None:
    text = """
import pytest
@pytest.mark.memwatch_unchanged("app:")
def test_all_of_a_module(): ...
@pytest.mark.memwatch_unchanged("/app.py")
def test_a(): ...
@pytest.mark.memwatch_unchanged(3)
def test_b(): ...
def test_c(): ...
"""
    write(tmp_path, {"app.py": APP, "test_it.py": text})
    ran = run(tmp_path, "--memwatch")
    for name in ("test_a", "test_b"):
        assert ran.tests[name].own == "setup failed"
        assert "@pytest.mark.memwatch_unchanged" in ran.tests[name].texts["setup"]
    assert ran.tests["test_c"].own == "passed"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("app:STAET", "app:STAET: there was nothing of this name; did you mean app:STATE?"),
        ("warehouze:STATE", "warehouze:STATE: warehouze was not imported; did you mean warehouse?"),
        ("nowhere.at.all:X", "nowhere.at.all:X: nowhere.at.all was not imported"),
    ],
)
def test_a_target_that_was_never_there_names_the_nearest(tmp_path: Path, target: str, said: str) -> None:
    text = "import app, warehouse\ndef test_a(): ...\n"
    write(tmp_path, {"app.py": APP, "warehouse.py": APP, "test_it.py": text})
    for workers in ((), ("-n", "2")):
        ran = run(tmp_path, "--memwatch-unchanged", target, *workers)
        assert ran.code == 0
        assert ran.section.splitlines() == [said]


def test_a_session_is_kept_only_if_something_was_found_or_asked_for(tmp_path: Path) -> None:
    text = "import app\ndef test_a(): app.STATE['a'] = 1; del app.STATE['a']\ndef test_b(): app.STATE['b'] = 1\n"
    write(tmp_path, {"app.py": APP, "test_it.py": text})
    options = ("--memwatch-unchanged", "app:STATE")
    assert run(tmp_path, *options, "-k", "test_a").sessions == []
    assert not (tmp_path / ".memwatch").exists()
    kept = run(tmp_path, *options, "-k", "test_a", "--memwatch-keep")
    assert len(kept.sessions) == 1
    assert "every write: memwatch log .memwatch/" in kept.section
    assert len(run(tmp_path, *options).sessions) == 2
    assert (tmp_path / ".memwatch").stat().st_mode & 0o777 == 0o700
    log = subprocess.run(
        [sys.executable, "-m", "memwatch_core.cli", "log", "--json"], cwd=tmp_path, capture_output=True, text=True
    )
    events = [line for line in map(json.loads, log.stdout.splitlines()) if "seq" in line]
    assert [(event["part"]["name"], event["own"]["function"]) for event in events] == [
        ('["a"]', "test_a"), ('["a"]', "test_a"), ('["b"]', "test_b"),
    ]  # fmt: skip


def test_secrets_are_told_as_hashes(tmp_path: Path) -> None:
    text = "import app\ndef test_a(): app.STATE['token'] = 'hunter2'\n"
    files = {"app.py": "STATE = {'token': 'swordfish'}\n", "test_it.py": text}
    write(tmp_path, {**files, "memwatch.toml": '[privacy]\nvariables = ["*token*"]\n'})
    ran = run(tmp_path, "--memwatch-unchanged", "app:STATE", "--junitxml=junit.xml")
    assert "<secret " in ran.section
    section, xml = ran.section.replace(text.splitlines()[1], ""), (tmp_path / "junit.xml").read_text()
    assert "swordfish" not in section + xml
    journals = b"".join(path.read_bytes() for path in (tmp_path / ".memwatch").rglob("*.mwj"))
    assert b"hunter2" not in journals
    assert b"swordfish" not in journals


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_a_machine_on_which_it_cannot_work_ends_the_run_with_the_reason(
    tmp_path: Path, workers: tuple[str, ...]
) -> None:
    write(tmp_path, {"app.py": APP, "test_it.py": "import app\ndef test_a(): ...\n"})
    ran = run(
        tmp_path, "--memwatch-unchanged", "app:STATE", *workers, environment={"MEMWATCH_CORE_TRACKER": "by magic"}
    )
    assert ran.code != 0
    assert 'MEMWATCH_CORE_TRACKER: core.tracker = "by magic"' in ran.out
    assert "INTERNALERROR" not in ran.out
    assert not any(test.outcomes.get("call") for test in ran.tests.values())
