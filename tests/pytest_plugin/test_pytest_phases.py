"""Risk: what a fixture does to a global is put down to a test, or a test's own doing isn't; a fixture of a wider scope,
which puts back what it changed when its scope ends, is told as a culprit."""

from __future__ import annotations

from pathlib import Path

import pytest
from suites import Ran, run, write

APP = "STATE = {}\n"
SCOPES = ("function", "class", "module", "package", "session")


def fixture(scope: str, how: str) -> str:
    """``how``: ``back`` puts back what it changes; ``left`` doesn't; ``late`` changes something when it ends."""
    before = "" if how == "late" else f"app.STATE['{how}'] = 1"
    after = {"back": "del app.STATE['back']", "left": "pass", "late": "app.STATE['late'] = 1"}[how]
    return f"""
import pytest, app

@pytest.fixture(scope="{scope}")
def changing():
    {before}
    yield
    {after}

class TestOne:
    def test_a(self, changing): pass
    def test_b(self, changing): pass

def test_last(): pass
"""


def culprits(ran: Ran) -> list[tuple[str, str, str]]:
    """Place, test, and what pytest was at."""
    found = [one for test in ran.tests.values() for one in test.found]
    return [(one["place"], one["nodeid"].partition("::")[2], one["words"]) for one in found]


def of(ran: Ran) -> dict[str, str]:
    return {name: test.own for name, test in ran.tests.items()}


@pytest.mark.parametrize("scope", SCOPES)
class TestFixture:
    def run(self, folder: Path, scope: str, how: str) -> Ran:
        write(folder, {"app.py": APP, "test_it.py": fixture(scope, how)})
        ran = run(folder, "--memwatch-unchanged", "app:STATE")
        assert set(of(ran).values()) == {"passed"}
        return ran

    def test_that_puts_back_what_it_changed_is_no_culprit(self, tmp_path: Path, scope: str) -> None:
        ran = self.run(tmp_path, scope, "back")
        assert ran.code == 0, ran.out
        assert culprits(ran) == []
        assert "memwatch" not in ran.out.partition("rootdir")[2].partition("plugins:")[2].partition("\n")[2]

    def test_that_leaves_what_it_changed_is_one_once_it_is_gone(self, tmp_path: Path, scope: str) -> None:
        ran = self.run(tmp_path, scope, "left")
        wider = "" if scope == "function" else f" [{scope}]"
        assert culprits(ran) == [
            ('app:STATE["left"]', "TestOne::test_a", f"in setup of fixture changing{wider}"),
        ]
        (found,) = [one for test in ran.tests.values() for one in test.found]
        assert found["line"] == "test_it.py:6 changing"
        assert found["source"] == "app.STATE['left'] = 1"

    def test_that_changes_something_as_it_ends_is_one(self, tmp_path: Path, scope: str) -> None:
        ran = self.run(tmp_path, scope, "late")
        (place, test, words) = culprits(ran)[0]
        wider = "" if scope == "function" else f" [{scope}]"
        assert (place, words) == ('app:STATE["late"]', f"in teardown of fixture changing{wider}")
        last = {"function": "TestOne::test_a", "class": "TestOne::test_b"}
        assert test == last.get(scope, "test_last")
        assert len(culprits(ran)) == 1


CLASSIC = """
import unittest, app
{functions}
class TestOne({base}):
{methods}
    def test_a(self): pass
    def test_b(self): pass

def test_last(): pass
"""
CALLS = {
    "setup_module": ("", "function", "setup_module()"),
    "setUpModule": ("", "function", "setup_module()"),
    "setup_function": ("", "function", ""),
    "setup_class": ("object", "classmethod", "setup_class()"),
    "setUpClass": ("unittest.TestCase", "classmethod", "setUpClass()"),
    "setup_method": ("object", "method", "setup_method()"),
    "setUp": ("unittest.TestCase", "method", ""),
}
ENDS = {"setup": "teardown", "setUp": "tearDown"}


@pytest.mark.parametrize("back", [True, False], ids=["back", "left"])
@pytest.mark.parametrize("name", CALLS)
def test_functions_that_set_up_are_told_by_their_names(tmp_path: Path, name: str, back: bool) -> None:
    base, kind, said = CALLS[name]
    end = name.replace("setup", "teardown").replace("setUp", "tearDown")
    undo = "app.STATE.pop('x', None)" if back else "pass"
    one = [("self" if kind == "method" else "cls"), "app.STATE['x'] = 1", undo]
    if kind == "function":
        argument = "" if "odule" in name else "function"
        functions = f"def {name}({argument}): {one[1]}\ndef {end}({argument}): {one[2]}\n"
        methods = ""
    else:
        decorator = "    @classmethod\n" if kind == "classmethod" else ""
        functions = ""
        methods = f"{decorator}    def {name}({one[0]}): {one[1]}\n{decorator}    def {end}({one[0]}): {one[2]}\n"
    text = CLASSIC.format(functions=functions, methods=methods, base=base or "object")
    write(tmp_path, {"app.py": APP, "test_it.py": text})
    ran = run(tmp_path, "--memwatch-unchanged", "app:STATE")
    assert set(of(ran).values()) == {"passed"}
    if back:
        assert culprits(ran) == []
        return
    first = "test_last" if name == "setup_function" else "TestOne::test_a"
    (found,) = culprits(ran)
    assert found[:2] == ('app:STATE["x"]', first)
    if said:
        assert f"in setup of {said}" in found[2]
    (told,) = [one for test in ran.tests.values() for one in test.found]
    assert told["line"].endswith(name)


def test_a_fixture_within_a_fixture_answers_for_itself(tmp_path: Path) -> None:
    text = """
import pytest, app

@pytest.fixture(scope="module")
def inner():
    app.STATE["inner"] = 1
    yield
    del app.STATE["inner"]

@pytest.fixture(scope="module")
def outer(request):
    app.STATE["outer"] = 1
    request.getfixturevalue("inner")
    yield
    del app.STATE["outer"]

def test_a(outer): pass
def test_b(outer): app.STATE["own"] = 1
"""
    write(tmp_path, {"app.py": APP, "test_it.py": text})
    ran = run(tmp_path, "--memwatch-unchanged", "app:STATE")
    assert culprits(ran) == [('app:STATE["own"]', "test_b", "in call")]


def test_what_a_test_changes_of_a_wide_fixtures_change_is_the_tests(tmp_path: Path) -> None:
    text = """
import pytest, app

@pytest.fixture(scope="module")
def level():
    app.STATE["level"] = 1
    yield
    app.STATE.pop("level")

def test_a(level): pass
def test_b(level): app.STATE["level"] = 2
def test_c(level): pass
"""
    write(tmp_path, {"app.py": APP, "test_it.py": text})
    ran = run(tmp_path, "--memwatch-unchanged", "app:STATE")
    assert ran.heads() == ['app:STATE["level"]: 1 → 2']
    assert culprits(ran) == [('app:STATE["level"]', "test_b", "in call")]


def test_a_thread_that_outlives_its_test_is_told_by_its_name(tmp_path: Path) -> None:
    text = """
import threading, app
go = threading.Event()

def late():
    go.wait(10)
    app.STATE["late"] = 1

def test_a():
    threading.Thread(target=late, name="straggler").start()

def test_b():
    go.set()
    for thread in threading.enumerate():
        if thread.name == "straggler":
            thread.join()
"""
    write(tmp_path, {"app.py": APP, "test_it.py": text})
    ran = run(tmp_path, "--memwatch-unchanged", "app:STATE")
    (found,) = [one for test in ran.tests.values() for one in test.found]
    assert (found["thread"], found["line"]) == ("straggler", "test_it.py:7 late")
    assert "thread straggler" in ran.section


def test_what_is_written_between_tests_is_no_fault_of_the_next(tmp_path: Path) -> None:
    conftest = """
import app, pytest

@pytest.hookimpl(trylast=True)
def pytest_runtest_logfinish(nodeid):
    if nodeid.endswith("test_a"):
        app.STATE["between"] = 1
"""
    write(tmp_path, {"app.py": APP, "conftest.py": conftest, "test_it.py": "def test_a(): ...\ndef test_b(): ...\n"})
    ran = run(tmp_path, "--memwatch-unchanged", "app:STATE")
    assert ran.code == 0, ran.out
    assert culprits(ran) == [('app:STATE["between"]', "test_a", "after it had ended")]
    assert 'app:STATE["between"]: absent → 1' in ran.section


def test_what_is_written_after_the_last_test_is_told_too(tmp_path: Path) -> None:
    conftest = "import app\ndef pytest_sessionfinish(): app.STATE['end'] = 1\n"
    write(tmp_path, {"app.py": APP, "conftest.py": conftest, "test_it.py": "import app\ndef test_a(): ...\n"})
    ran = run(tmp_path, "--memwatch-unchanged", "app:STATE")
    assert ran.code == 0
    assert 'app:STATE["end"]: absent → 1' in ran.section


# ---- how the test ends ----------------------------------------------------------------------------------------------

OUTCOMES = """
import pytest, app

def dirty(): app.STATE[len(app.STATE)] = 1

@pytest.fixture
def broken_setup():
    dirty()
    raise RuntimeError("setup")

@pytest.fixture
def broken_teardown():
    yield
    raise RuntimeError("teardown")

def test_passes(): dirty()
def test_fails():
    dirty()
    assert False, "its own failure"
def test_skips():
    dirty()
    pytest.skip("its own reason")
@pytest.mark.xfail
def test_xfails():
    dirty()
    assert False
@pytest.mark.xfail
def test_xpasses(): dirty()
@pytest.mark.xfail(strict=True)
def test_xpasses_strictly(): dirty()
def test_error_in_setup(broken_setup): ...
def test_error_in_teardown(broken_teardown): dirty()
@pytest.mark.parametrize("n", [1, 2])
def test_of(n): dirty()
def test_clean(): ...
"""


@pytest.fixture(scope="module")
def endings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, Ran]:
    folder = tmp_path_factory.mktemp("endings")
    write(folder, {"app.py": APP, "test_it.py": OUTCOMES})
    return run(folder, "-p", "no:memwatch"), run(folder, "--memwatch-unchanged", "app:STATE")


@pytest.mark.parametrize(
    "name",
    ["passes", "fails", "skips", "xfails", "xpasses", "xpasses_strictly", "error_in_setup", "error_in_teardown",
     "of[1]", "of[2]", "clean"],
)  # fmt: skip
def test_a_test_ends_as_it_does_without_and_what_it_left_is_told(endings: tuple[Ran, Ran], name: str) -> None:
    plain, watched = (ran.tests[f"test_{name}"] for ran in endings)
    for phase in ("setup", "call"):
        assert watched.outcomes.get(phase) == plain.outcomes.get(phase)
    found = [one["words"] for one in watched.found]
    if name == "clean":
        assert found == []
        assert watched.outcomes == plain.outcomes
    else:
        assert found == ["in setup of fixture broken_setup" if name == "error_in_setup" else "in call"]
        assert watched.outcomes["teardown"] in ("failed", "xskipped")
    if name == "fails":
        assert "its own failure" in watched.texts["call"]
    if name == "error_in_teardown":
        assert "RuntimeError" in watched.texts["teardown"], "the test's own error is the one that is shown"
    assert name.partition("[")[0] in endings[1].section or name == "clean"
