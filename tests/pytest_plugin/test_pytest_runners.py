"""Risk: what is found depends on how the tests are run: by workers, in tasks, in one process twice, again after a
failure, with or without captured output."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from inner_runs import Ran, run, write
from own_suites.sources import SourceMissing, tools

APP = '''
STATE = {}

def put(key):
    """
    >>> put("doctest")
    """
    STATE[key] = 1
'''
SUITE = """
import asyncio, threading, unittest
import pytest, app

def test_function(): app.put("function")

class TestClass:
    def test_method(self): app.put("method")

@pytest.mark.parametrize("n", [1, 2])
def test_of(n): app.put(f"n{n}")

class TestCase(unittest.TestCase):
    def test_unittest(self): app.put("unittest")

async def write(key):
    await asyncio.sleep(0)
    app.put(key)

def test_task(): asyncio.run(write("task"))

def test_thread():
    thread = threading.Thread(target=app.put, args=("thread",), name="helper")
    thread.start()
    thread.join()

@pytest.fixture
def changing(): app.put("fixture")
def test_fixture(changing): ...

@pytest.mark.memwatch_unchanged("app:STATE")
def test_marked(): app.put("mark")

def test_asserts(memwatch):
    with pytest.raises(BaseException, match='"block"'):
        with memwatch.assert_unchanged(app.STATE):
            app.STATE["block"] = 1
    del app.STATE["block"]
    assert [event.part.name for event in memwatch.events] == ['["block"]', '["block"]']

def test_clean(): ...
"""
EXPECTED = {
    ("function", "test_function"), ("method", "TestClass::test_method"), ("n1", "test_of[1]"), ("n2", "test_of[2]"),
    ("unittest", "TestCase::test_unittest"), ("task", "test_task"), ("thread", "test_thread"),
    ("fixture", "test_fixture"), ("mark", "test_marked"), ("doctest", "app.put"),
}  # fmt: skip
TARGET = ("--memwatch-unchanged", "app:STATE", "--doctest-modules")


def found(ran: Ran) -> set[tuple[str, str]]:
    told = [one for test in ran.tests.values() for one in test.found]
    pairs = {(re.findall(r'\["(\w+)"\]', one["place"])[0], one["nodeid"].partition("::")[2]) for one in told}
    assert len(pairs) == len(told), "each once"
    return pairs


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    write(tmp_path, {"app.py": APP, "test_it.py": SUITE})
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    ["", "-s", "--capture=sys", "--capture=tee-sys", "-n 1", "-n 2", "-n 2 --dist loadfile", "-n 2 --dist worksteal",
     "-p no:cacheprovider -p no:terminalreporter -p no:logging", "--import-mode=importlib", "--assert=plain", "-v",
     "-p no:threadexception -p no:unraisableexception", "--tb=no -q", "-W error"],
)  # fmt: skip
def test_the_same_is_found_however_tests_are_run(suite: Path, arguments: str) -> None:
    ran = run(suite, *TARGET, *arguments.split())
    assert found(ran) == EXPECTED, ran.out
    assert {test.own for test in ran.tests.values()} == {"passed"}
    if "terminalreporter" in arguments:
        assert ran.out == ""
        return
    for key, test in EXPECTED:
        assert f'app:STATE["{key}"]: absent → 1' in ran.section
        assert test in ran.section
    for session in ran.sessions:
        assert f"memwatch log .memwatch/{session.name}" in ran.section
    assert len(ran.sessions) == {"-n 2": 2}.get(arguments[:4], 1) or "loadfile" in arguments


@pytest.mark.parametrize("arguments", ["", "-n 2"])
def test_files_for_a_ci_have_it(suite: Path, arguments: str) -> None:
    run(suite, *TARGET, *arguments.split(), "--junitxml=junit.xml")
    cases = ElementTree.parse(suite / "junit.xml").iter("testcase")
    told = {case.get("name"): [each.get("value") for each in case.iter("property")] for case in cases}
    assert told["test_function"] == [
        'app:STATE["function"]: absent → 1 by test_it.py:5 test_function (test_it.py::test_function, in call)'
    ]
    assert told["test_clean"] == []


def test_several_runs_of_one_process_know_nothing_of_each_other(suite: Path) -> None:
    program = f"""
import sys, pytest
for _ in range(3):
    for name in ("app", "test_it"):
        sys.modules.pop(name, None)
    assert pytest.main({[*TARGET, "-q", "-p", "no:cacheprovider"]!r}) == 1
assert pytest.main(["-q", "-p", "no:cacheprovider", "-k", "clean or asserts"]) == 0
"""
    ran = run(suite, command=("-c", program))
    assert ran.code == 0, ran.out + ran.err
    assert len(ran.sessions) == 3
    assert ran.out.count('app:STATE["function"]: absent → 1\n') == 9, "as an error, in the section, in the summary"
    assert "1 passed, 1 skipped" in ran.out


def test_a_run_within_a_test_is_its_own(tmp_path: Path) -> None:
    inner = """
pytest_plugins = "pytester"

def test_inner(pytester):
    pytester.makepyfile(app="STATE = {}", test_it="import app\\ndef test_a(): app.STATE['inner'] = 1")
    ran = pytester.inline_run("-p", "no:cacheprovider", *OPTIONS)
    ran.assertoutcome(passed=1, failed=FAILED)
"""
    off = inner.replace("*OPTIONS", '"--memwatch-unchanged", "app:STATE"').replace("FAILED", "1")
    on = inner.replace(", *OPTIONS", "").replace("FAILED", "0")
    write(tmp_path, {"test_outer_off.py": off, "test_outer_on.py": on, "other.py": "STATE = {}"})
    ran = run(tmp_path, "test_outer_off.py")
    assert ran.code == 0, ran.out
    ran = run(tmp_path, "test_outer_on.py", "--memwatch-unchanged", "other:STATE", "-p", "no:memwatch_x")
    assert ran.code == 0, ran.out


def test_a_run_that_is_watched_already_is_refused_with_the_reason(suite: Path) -> None:
    ran = run(suite, *TARGET, command=("-m", "memwatch_core.cli", "run", "-q", "--sink", "jsonl", "-m", "pytest"))
    assert ran.code == 4
    assert "a process takes part in one session at a time" in ran.out
    assert "leave out --memwatch" in ran.out


def test_a_forked_child_of_a_test_changes_nothing_here(tmp_path: Path) -> None:
    text = """
import os, app

def test_fork(memwatch):
    memwatch.watch(app.STATE)
    child = os.fork()
    if not child:
        app.STATE["child"] = 1
        seen = [event.part.name for event in memwatch.events]
        os._exit(0 if seen == ['["child"]'] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert memwatch.events == []
"""
    write(tmp_path, {"app.py": APP, "test_it.py": text})
    ran = run(tmp_path, "--memwatch-unchanged", "app:OTHER")
    assert ran.code == 0, ran.out


# ---- with other plugins ---------------------------------------------------------------------------------------------


@pytest.fixture
def others() -> dict[str, str]:
    """The environment in which they are."""
    try:
        return {"PYTHONPATH": str(tools())}
    except SourceMissing as absent:
        pytest.skip(str(absent))


ASYNC = """
import asyncio, pytest, pytest_asyncio, app

@pytest_asyncio.fixture
async def opened():
    app.STATE["fixture"] = 1
    yield
    await asyncio.sleep(0)
    del app.STATE["fixture"]

@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wide():
    app.STATE["wide"] = 1
    yield
    del app.STATE["wide"]

@pytest.mark.asyncio
async def test_a(opened, wide):
    await asyncio.sleep(0)
    app.STATE["a"] = 1

@pytest.mark.asyncio
async def test_b(memwatch, wide):
    memwatch.assert_only_written_by(app.STATE, "test_it.py:test_b")
    app.STATE["b"] = 1
    del app.STATE["b"]

@pytest.mark.asyncio
async def test_c(memwatch):
    async def other():
        app.STATE["c"] = 1
    memwatch.assert_unchanged(app.STATE)
    await asyncio.gather(other())
"""


def test_tests_that_are_coroutines(tmp_path: Path, others: dict[str, str]) -> None:
    write(tmp_path, {"app.py": APP, "test_it.py": ASYNC})
    options = ("-o", "asyncio_default_fixture_loop_scope=function")
    ran = run(tmp_path, "--memwatch-unchanged", "app:STATE", *options, environment=others)
    assert {name: test.own for name, test in ran.tests.items()} == {
        "test_a": "passed",
        "test_b": "passed",
        "test_c": "failed",
    }, ran.out
    assert found(ran) == {("a", "test_a"), ("c", "test_c")}
    assert "app.STATE was changed" in ran.tests["test_c"].texts["call"]


RERUN = """
import app
tries = []

def test_flaky():
    tries.append(1)
    app.STATE[len(tries)] = 1
    assert len(tries) > 2

def test_other(): ...
"""


def test_each_try_of_a_test_that_is_run_again_is_judged_by_itself(tmp_path: Path, others: dict[str, str]) -> None:
    write(tmp_path, {"app.py": APP, "test_it.py": RERUN})
    ran = run(tmp_path, "--reruns", "2", "--memwatch-unchanged", "app:STATE", "--memwatch-keep", environment=others)
    assert ran.heads() == [f"app:STATE[{n}]: absent → 1" for n in (1, 2, 3)], ran.out
    assert ran.tests["test_flaky"].own == "passed"
    assert ran.tests["test_flaky"].outcomes["teardown"] == "failed"


def test_what_an_xdist_worker_found_before_it_was_killed_is_in_its_session(tmp_path: Path) -> None:
    text = """
import os, signal, app

def test_a(): app.STATE["a"] = 1
def test_b(): os.kill(os.getpid(), signal.SIGKILL)
def test_c(): app.STATE["c"] = 1
"""
    write(tmp_path, {"app.py": APP, "test_it.py": text})
    ran = run(tmp_path, "--memwatch-unchanged", "app:STATE", "-n", "1")
    assert found(ran) == {("a", "test_a"), ("c", "test_c")}, ran.out
    assert len(ran.sessions) == 2
    assert json.dumps(ran.section).count("memwatch log") == 1
