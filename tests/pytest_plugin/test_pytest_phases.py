"""Risk: what a fixture does to a global is put down to a test, or a test's own doing isn't; a fixture of a wider scope,
which puts back what it changed when its scope ends, is told as a culprit."""

from __future__ import annotations

from pathlib import Path

import pytest
from inner_runs import Ran, run, write

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


@pytest.fixture(scope="module")
def fixtures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """By ``how``: a package for each scope, so that package and session end behind it."""
    found = {}
    for how in ("back", "left", "late"):
        folder, files = tmp_path_factory.mktemp(how), {}
        for scope in SCOPES:
            files |= {f"app_{scope}.py": APP, f"{scope}_tests/__init__.py": ""}
            text = fixture(scope, how).replace("pytest, app", f"pytest, app_{scope} as app")
            files[f"{scope}_tests/test_{scope}.py"] = text
        write(folder, files)
        found[how] = run(folder, *(part for scope in SCOPES for part in ("--memwatch-unchanged", f"app_{scope}:STATE")))
        assert {test.own for test in found[how].tests.values()} == {"passed"}
    return found


def told_of(ran: Ran, scope: str) -> list[dict[str, str]]:
    found = [one for test in ran.tests.values() for one in test.found]
    return [one for one in found if one["place"].startswith(f"app_{scope}:")]


@pytest.mark.parametrize("scope", SCOPES)
class TestFixture:
    def test_that_puts_back_what_it_changed_is_no_culprit(self, fixtures: dict[str, Ran], scope: str) -> None:
        assert told_of(fixtures["back"], scope) == []
        assert fixtures["back"].code == 0

    def test_that_leaves_what_it_changed_is_one_once_it_is_gone(self, fixtures: dict[str, Ran], scope: str) -> None:
        (found,) = told_of(fixtures["left"], scope)
        wider = "" if scope == "function" else f" [{scope}]"
        assert found["place"] == f'app_{scope}:STATE["left"]'
        assert found["nodeid"] == f"{scope}_tests/test_{scope}.py::TestOne::test_a"
        assert found["words"] == f"in setup of fixture changing{wider}"
        assert found["line"] == f"{scope}_tests/test_{scope}.py:6 changing"
        assert found["source"] == "app.STATE['left'] = 1"

    def test_that_changes_something_as_it_ends_is_one(self, fixtures: dict[str, Ran], scope: str) -> None:
        (found,) = told_of(fixtures["late"], scope)
        wider = "" if scope == "function" else f" [{scope}]"
        assert found["place"] == f'app_{scope}:STATE["late"]'
        assert found["words"] == f"in teardown of fixture changing{wider}"
        ends = {"function": "TestOne::test_a", "class": "TestOne::test_b"}
        assert found["nodeid"].endswith(ends.get(scope, "test_last"))


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


def classic(name: str, back: bool) -> str:
    base, kind, _ = CALLS[name]
    end = name.replace("setup", "teardown").replace("setUp", "tearDown")
    before, after = "app.STATE['x'] = 1", "app.STATE.pop('x', None)" if back else "pass"
    functions = methods = ""
    if kind == "function":
        argument = "" if "odule" in name else "function"
        functions = f"def {name}({argument}): {before}\ndef {end}({argument}): {after}\n"
    else:
        decorator, first = ("    @classmethod\n", "cls") if kind == "classmethod" else ("", "self")
        methods = f"{decorator}    def {name}({first}): {before}\n{decorator}    def {end}({first}): {after}\n"
    text = CLASSIC.format(functions=functions, methods=methods, base=base or "object")
    return text.replace("unittest, app", f"unittest, app_{name}_{back} as app")


@pytest.fixture(scope="module")
def classics(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder, files, targets = tmp_path_factory.mktemp("classic"), {}, []
    for name in CALLS:
        for back in (True, False):
            files |= {f"app_{name}_{back}.py": APP, f"test_{name}_{back}.py": classic(name, back)}
            targets += ["--memwatch-unchanged", f"app_{name}_{back}:STATE"]
    write(folder, files)
    return run(folder, *targets)


@pytest.mark.parametrize("name", CALLS)
def test_functions_that_set_up_are_told_by_their_names(classics: Ran, name: str) -> None:
    assert {test.own for test in classics.tests.values()} == {"passed"}
    assert told_of(classics, f"{name}_True") == []
    (found,) = told_of(classics, f"{name}_False")
    first = "test_last" if name == "setup_function" else "TestOne::test_a"
    assert found["nodeid"] == f"test_{name}_False.py::{first}"
    assert CALLS[name][2] in found["words"]
    assert found["line"].partition(" ")[2] == name


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
