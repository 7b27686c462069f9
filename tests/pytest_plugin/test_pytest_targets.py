"""Risk: a target that the command line understands means something else here, or nothing; a module that comes late, or
a second time, isn't watched."""

from __future__ import annotations

from pathlib import Path

import pytest
from inner_runs import Ran, run, write

APP = """
class Limits:
    most = 5
    def __init__(self): self.items, self.table = [1, 2, 3], {"a": {"b": {"c": {"d": 1}}}}

class Cart:
    tax = 1
    limits = Limits()
    def __init__(self): self.own = 1

STATE = {"debug": False, "deep": {"x": 1}, ("a", 1): 2, b"k": 3}
LIMITS = [1, [2], {"z": 3}]
FIRST_CACHE, SECOND_CACHE, OTHER = {}, {}, {}
cart = Cart()
"""
CASES = [
    # target, what is done, what is told (None: nothing)
    ("app", "app.STATE['debug'] = 1", 'app.STATE["debug"]: False → 1'),
    ("app", "app.NEW = 1", "app.NEW: absent → 1"),
    ("app", "app.__doc__ = 'x'", None),
    ("app:", "app.NEW = 1", "app.NEW: absent → 1"),
    ("app:*", "app.Cart = None", "app.Cart: <class 'app.Cart'> → None"),
    ("app:*", "app.Cart.tax = 2", None),
    ("app:*_CACHE", "app.SECOND_CACHE[1] = 1", "app.SECOND_CACHE[1]: absent → 1"),
    ("app:*_CACHE", "app.THIRD_CACHE = 1", "app.THIRD_CACHE: absent → 1"),
    ("app:*_CACHE", "app.OTHER[1] = 1", None),
    ("app:STATE", "app.STATE['deep']['x'] = 2", 'app:STATE["deep"]["x"]: 1 → 2'),
    ('app:STATE["debug"]', "app.STATE['debug'] = 1", 'app:STATE["debug"]: False → 1'),
    ('app:STATE["debug"]', "app.STATE['deep']['x'] = 2", None),
    ('app:STATE["debug"]', "app.STATE['debug2'] = 2", None),
    ('app:STATE["debug"]', "app.STATE = {'debug': 7}", "app:STATE: "),
    ('app:STATE["debug"]', "app.STATE = {'debug': False}", None),
    ('app:STATE["debug"]', "app.STATE.clear()", 'app:STATE["debug"]: False → absent'),
    ('app:STATE["later"]', "app.STATE['later'] = 1", 'app:STATE["later"]: absent → 1'),
    ('app:STATE["deep"]["x"]', "app.STATE['deep'] = {'x': 9}", 'app:STATE["deep"]: '),
    ("app:STATE[b'k']", "app.STATE[b'k'] = 4", "app:STATE[b'k']: 3 → 4"),
    ("app:STATE[('a', 1)]", "app.STATE['a', 1] = 4", "app:STATE[('a', 1)]: 2 → 4"),
    ("app:LIMITS[0]", "app.LIMITS[0] = 9", "app:LIMITS[0]: 1 → 9"),
    ("app:LIMITS[0]", "app.LIMITS[1].append(9)", None),
    ("app:LIMITS[1]", "app.LIMITS[1].append(9)", "app:LIMITS[1][1]: absent → 9"),
    ('app:LIMITS[2]["z"]', "app.LIMITS[2]['z'] = 9", 'app:LIMITS[2]["z"]: 3 → 9'),
    ("app:Cart", "app.Cart.tax = 2", "app:Cart.tax: 1 → 2"),
    ("app:Cart", "app.Cart = object()", "app:Cart: <class 'app.Cart'> → <object at"),
    ("app:Cart.tax", "app.Cart.tax = 2", "app:Cart.tax: 1 → 2"),
    ("app:Cart.tax", "app.Cart.other = 2", None),
    ("app:Cart.t*", "app.Cart.tax = 2", "app:Cart.tax: 1 → 2"),
    ("app:Cart.limits.items", "app.Cart.limits.items.append(4)", "app:Cart.limits.items[3]: absent → 4"),
    ("app:Cart.limits.i*", "app.Cart.limits.items.append(4)", "app:Cart.limits.items[3]: absent → 4"),
    ("app:Cart.limits.i*", "app.Cart.limits.table['a'] = 4", None),
    ("app:cart.own", "app.cart.own = 2", "app:cart.own: 1 → 2"),
    ("app:cart.own", "app.cart = app.Cart(); app.cart.own = 5", "app:cart.own: 1 → 5"),
    ("app:cart.own", "app.cart = app.Cart()", None),
    ("a?p:ST*", "app.STATE['debug'] = 1", 'app.STATE["debug"]: False → 1'),
    ("*:SECOND_CACHE", "app.SECOND_CACHE[1] = 1", "app:SECOND_CACHE[1]: absent → 1"),
    ('app:Limits.most', "app.Limits.most = 6", "app:Limits.most: 5 → 6"),
    ('app:Cart.limits.table["a"]["b"]["c"]["d"]', "app.Cart.limits.table['a']['b']['c']['d'] = 2", 'c"]["d"]: 1 → 2'),
]  # fmt: skip
NAMES = [f"{target} {text}" for target, text, _ in CASES]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A module of its own for each case; the mark is what a target on the command line is."""
    folder, files = tmp_path_factory.mktemp("targets"), {}
    for number, (target, text, _) in enumerate(CASES):
        module = f"app{number}x"
        named = target.replace("app", module, 1).replace("a?p", f"{module[:-1]}?", 1)
        named = named.replace("*:SECOND", f"*{number}x:SECOND")
        mark = f"@pytest.mark.memwatch_unchanged({named!r})"
        files[f"test_{number}.py"] = f"import pytest, {module} as app\n\n{mark}\ndef test_{number}():\n    {text}\n"
        files[f"{module}.py"] = APP
    write(folder, files)
    return run(folder, "--memwatch")


@pytest.mark.parametrize("number", range(len(CASES)), ids=NAMES)
def test_a_target_means_this_place_and_no_other(ran: Ran, number: int) -> None:
    test = ran.tests[f"test_{number}"]
    assert test.own == "passed", test.texts
    heads = [f"{one['place']}: {one['old']} → {one['new']}".replace(f"app{number}x", "app") for one in test.found]
    wanted = CASES[number][2]
    if wanted is None:
        assert heads == []
    else:
        assert len(heads) == 1
        assert wanted in heads[0]


def test_a_mark_of_a_class_and_of_a_module_is_of_their_tests(tmp_path: Path) -> None:
    text = """
import pytest, app
pytestmark = pytest.mark.memwatch_unchanged("app:STATE")

@pytest.mark.memwatch_unchanged("app:LIMITS", "app:OTHER")
class TestIt:
    def test_a(self): app.STATE[1] = 1; app.LIMITS.append(1)
    @pytest.mark.memwatch_unchanged("app:FIRST_CACHE")
    def test_b(self): app.OTHER[1] = 1; app.FIRST_CACHE[1] = 1; app.SECOND_CACHE[1] = 1

def test_c(): app.STATE[3] = 1; app.LIMITS.append(3)
"""
    other = "import app\ndef test_d(): app.STATE[4] = 1; app.LIMITS.append(4)\n"
    write(tmp_path, {"app.py": APP, "test_it.py": text, "test_other.py": other})
    ran = run(tmp_path, "--memwatch")
    found = {name: sorted(one["place"] for one in test.found) for name, test in ran.tests.items()}
    assert found == {
        "TestIt::test_a": ["app:LIMITS[3]", "app:STATE[1]"],
        "TestIt::test_b": ["app:FIRST_CACHE[1]", "app:OTHER[1]"],
        "test_c": ["app:STATE[3]"],
        "test_d": [],
    }


def test_a_module_that_comes_late_is_watched_from_then_on(tmp_path: Path) -> None:
    text = """
def test_a():
    import app
def test_b():
    import app
    app.STATE["b"] = 1
"""
    write(tmp_path, {"app.py": APP, "test_it.py": text})
    ran = run(tmp_path, "--memwatch-unchanged", "app:STATE")
    assert ran.heads() == ['app:STATE["b"]: absent → 1']


def test_a_module_that_is_imported_anew_is_watched_again_and_said(tmp_path: Path) -> None:
    text = """
import sys
import app

def test_a():
    del sys.modules["app"]
    import app

def test_b():
    import app as again
    assert again is not app
    again.STATE["b"] = 1
"""
    write(tmp_path, {"app.py": APP, "test_it.py": text})
    ran = run(tmp_path, "--memwatch-unchanged", "app:STATE")
    assert ran.heads() == ['app:STATE["b"]: absent → 1']
    assert "app:STATE: app was imported anew, and watched again from there on" in ran.section


def test_a_module_that_is_reloaded_is_the_same_one(tmp_path: Path) -> None:
    text = "import importlib, app\ndef test_a(): app.NUMBER = 5\ndef test_b(): importlib.reload(app)\n"
    write(tmp_path, {"app.py": "NUMBER = 1\n", "test_it.py": text})
    ran = run(tmp_path, "--memwatch-unchanged", "app:NUMBER")
    assert ran.heads() == ["app:NUMBER: 1 → 5", "app:NUMBER: 5 → 1"]
    (back,) = ran.tests["test_b"].found
    assert (back["line"], back["wrote"]) == ("test_it.py:3 test_b", "app.py:1 <module>")


def test_targets_of_several_tests_and_of_the_run_may_overlap(tmp_path: Path) -> None:
    text = """
import pytest, app
@pytest.mark.memwatch_unchanged("app", "app:STATE", 'app:STATE["debug"]')
def test_a(memwatch):
    with memwatch.assert_only_written_by(app.STATE, "test_it.py:6-7"):
        app.STATE["debug"] = 5
        app.STATE["debug"] = False
    assert len(memwatch.events) == 2
def test_b(): app.STATE["debug"] = 1
"""
    write(tmp_path, {"app.py": APP, "test_it.py": text})
    ran = run(
        tmp_path, "--memwatch-unchanged", "app:STATE", "--memwatch-unchanged", "app", "--memwatch-unchanged", "app:Cart"
    )
    assert ran.tests["test_a"].outcomes == {"setup": "passed", "call": "passed", "teardown": "passed"}, ran.out
    assert ran.heads() == ['app:STATE["debug"]: False → 1'], "once"
