"""Risk: the fixture says that nobody wrote, or that the wrong one did; its failures can't be read."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from inner_runs import Ran, run, write
from pytest_memwatch.writers import parse

from memwatch_core.records import Event, Site

APP = """
STATE = {"total": 0}

class Order:
    def __init__(self): self.qty, self.tags = 1, []

def add(amount): STATE["total"] += amount

def add_twice(amount):
    add(amount)
    add(amount)

def reset(): STATE.update(total=0)
"""
HELPERS = "def meddle(order): order.qty = 99\n"


def one(folder: Path, text: str, *arguments: str, **files: str) -> Ran:
    body = "import pytest, app, helpers\n\ndef test_it(memwatch):\n" + textwrap.indent(textwrap.dedent(text), "    ")
    named = {name.replace("_py", ".py"): content for name, content in files.items()}
    write(folder, {"app.py": APP, "helpers.py": HELPERS, "test_it.py": body, **named})
    return run(folder, "--memwatch", *arguments)


def failure(ran: Ran) -> str:
    assert ran.tests["test_it"].outcomes == {"setup": "passed", "call": "failed", "teardown": "passed"}, ran.out
    return ran.tests["test_it"].texts["call"]


def passes(ran: Ran) -> None:
    assert set(ran.tests["test_it"].outcomes.values()) == {"passed"}, ran.out
    assert ran.code == 0


def test_a_failure_names_lines_values_and_callers(tmp_path: Path) -> None:
    ran = one(tmp_path, "memwatch.assert_unchanged(app.STATE)\napp.add_twice(5)\n")
    assert failure(ran).splitlines() == [
        "app.STATE was changed, and should be as it was:",
        '  app.STATE["total"]: 0 → 10',
        "    test_it.py:5 test_it",
        "        app.add_twice(5)",
        "      written by app.py:7 add",
        "      called by  app.py:11 add_twice",
        "      the last of 2 writes",
    ]


def test_a_failure_of_writers_names_those_that_were_not_allowed(tmp_path: Path) -> None:
    ran = one(
        tmp_path,
        """
        order = app.Order()
        memwatch.assert_only_written_by(order, "app.py:*", "test_it.py:5")
        order.qty = 3
        helpers.meddle(order)
        order.tags.append("new")
        """,
    )
    assert failure(ran).splitlines() == [
        "only app.py:*, test_it.py:5 may write to order; others did, 3 times:",
        "  order.qty: 1 → 3",
        "    test_it.py:7 test_it",
        "        order.qty = 3",
        "  order.qty: 3 → 99",
        "    test_it.py:8 test_it",
        "        helpers.meddle(order)",
        "      written by helpers.py:1 meddle",
        "  order.tags[0]: absent → 'new'",
        "    test_it.py:9 test_it",
        '        order.tags.append("new")',
    ]


def test_another_thread_and_a_statement_are_named(tmp_path: Path) -> None:
    text = """
    import sqlite3, threading
    order = app.Order()
    memwatch.assert_unchanged(order)
    def work():
        db = sqlite3.connect(":memory:")
        for (qty,) in db.execute("SELECT 42"):
            order.qty = qty
    thread = threading.Thread(target=work, name="worker-1")
    thread.start()
    thread.join()
    """
    ran = one(tmp_path, text, memwatch_toml="", **{"memwatch.toml": "[watch]\ntrack_sql = true\n"})
    assert "thread worker-1, sqlite3: SELECT ?" in failure(ran)


HOLDS = [
    "memwatch.assert_unchanged(app.STATE)",
    "with memwatch.assert_unchanged(app.STATE): app.add(0)",
    "with memwatch.assert_unchanged(app.STATE): ...\napp.add(1)",
    "check = memwatch.assert_unchanged(app.STATE)\napp.add(1)\nwith check: ...",
    "memwatch.assert_unchanged(app.STATE)\napp.add(1)\napp.reset()",
    "memwatch.assert_only_written_by(app.STATE, 'app.py:add', 'app.py:reset')\napp.add(1)\napp.reset()",
    "memwatch.assert_only_written_by(app.STATE)",
    "with memwatch.assert_only_written_by(app.STATE): ...\napp.add(1)",
    "memwatch.assert_only_written_by(app, 'app.py', key='STATE')\napp.add(1)",
    "memwatch.assert_unchanged(app, 'LATER')",
    "memwatch.assert_unchanged(app.STATE, 'other')\napp.add(1)",
    "memwatch.assert_unchanged(app.STATE)\nmemwatch.assert_unchanged(app.STATE)",
    "memwatch.assert_unchanged(app.STATE)\nmemwatch.assert_only_written_by(app.STATE, 'app.py')\n"
    "app.add(1)\napp.reset()",
    "memwatch.assert_unchanged(app)\nmemwatch.assert_unchanged(app.STATE)\nmemwatch.assert_unchanged(app, 'STATE')",
    "total = memwatch.watch(0)\nmemwatch.assert_unchanged(total)\ntotal += 1\ntotal -= 1",
    "total = memwatch.watch(0)\nmemwatch.assert_only_written_by(total, 'test_it.py')\ntotal += 1",
    "order = memwatch.watch(app.Order(), depth=2)\nmemwatch.assert_unchanged(order.tags)",
    "import random\nrows = [3, 2, 1]\nmemwatch.assert_only_written_by(rows, 'random.py')\n"
    "random.Random(1).shuffle(rows)",
    "import collections\nrows = collections.deque()\n"
    "with pytest.raises(TypeError, match='memory of its own'): memwatch.watch(rows)",
    "with pytest.raises(TypeError, match='never changes'): memwatch.assert_unchanged(5)",
    "with pytest.raises(TypeError, match='memwatch.assert_unchanged.owner, .name..'):\n"
    "    memwatch.assert_unchanged('text')",
    "with pytest.raises(ValueError, match='lacks a file'): memwatch.assert_only_written_by(app.STATE, ':add')",
    "with pytest.raises(TypeError, match='orders.py'): memwatch.assert_only_written_by(app.STATE, 5)",
]
FAILS = [
    ("with memwatch.assert_unchanged(app.STATE): app.add(1)", 'app.STATE["total"]: 0 → 1'),
    ("memwatch.assert_unchanged(app.STATE)\napp.add(1)", 'app.STATE["total"]: 0 → 1'),
    ("memwatch.assert_unchanged(app.STATE, 'total')\napp.add(1)", 'app.STATE["total"]: 0 → 1'),
    ("memwatch.assert_unchanged(app, 'LATER')\napp.LATER = 1", "app.LATER: absent → 1"),
    ("memwatch.assert_unchanged(app)\napp.STATE = None", "app.STATE: {'total': 0} → None"),
    ("memwatch.assert_unchanged(app.Order)\napp.Order.x = 1", "app.Order.x: absent → 1"),
    ("memwatch.assert_only_written_by(app.STATE, 'app.py:reset')\napp.add(1)", "only app.py:reset may write"),
    ("memwatch.assert_only_written_by(app.STATE, 'app.py:1-6')\napp.add(1)", "only app.py:1-6 may write"),
    ("memwatch.assert_only_written_by(app.STATE, 'other/app.py')\napp.add(1)", "only other/app.py may write"),
    (
        "memwatch.assert_only_written_by(app.STATE)\napp.add(0)\napp.reset()\napp.add(1)\napp.add(-1)",
        "others did, twice",
    ),
    ("total = memwatch.watch(0)\nmemwatch.assert_unchanged(total)\ntotal += 1", "total: 0 → 1"),
    (
        "data = memwatch.watch(bytearray(b'abc'))\nmemwatch.assert_unchanged(data)\ndata[1] = 120",
        "data[1:2]: b'b' → b'x'",
    ),
    (
        "order = memwatch.watch(app.Order())\nmemwatch.assert_unchanged(order.tags)\norder.tags.append(1)",
        "order.tags[0]: absent → 1",
    ),
    (
        "deep = {'a': {'b': {'c': {'d': 1}}}}\nmemwatch.assert_unchanged(deep, depth=9)\ndeep['a']['b']['c']['d'] = 2",
        "1 → 2",
    ),
    (
        "memwatch.assert_unchanged(app.STATE)\napp.STATE['n'] = 0\nfor _ in range(1000): app.STATE['n'] += 1",
        "the last of 1,001 writes",
    ),
    ("memwatch.assert_only_written_by(app.STATE)\nfor n in range(50): app.add(1)", "others did, 50 times"),
]
FRESH = """
import sys, pytest

@pytest.fixture(autouse=True)
def fresh():
    sys.modules.pop("app", None)
"""


@pytest.fixture(scope="module")
def each(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A test for each text, with a module of its own."""
    folder = tmp_path_factory.mktemp("each")
    tests = [
        f"def test_{name}{number}(memwatch):\n    import app, helpers, pytest\n{textwrap.indent(text, '    ')}\n"
        for name, texts in (("holds", HOLDS), ("fails", [text for text, _ in FAILS]))
        for number, text in enumerate(texts)
    ]
    write(folder, {"app.py": APP, "helpers.py": HELPERS, "conftest.py": FRESH, "test_it.py": "\n".join(tests)})
    return run(folder, "--memwatch")


@pytest.mark.parametrize("number", range(len(HOLDS)))
def test_what_holds_passes(each: Ran, number: int) -> None:
    test = each.tests[f"test_holds{number}"]
    assert set(test.outcomes.values()) == {"passed"}, test.texts


@pytest.mark.parametrize("number", range(len(FAILS)))
def test_what_does_not_hold_fails_the_test(each: Ran, number: int) -> None:
    test = each.tests[f"test_fails{number}"]
    assert test.outcomes == {"setup": "passed", "call": "failed", "teardown": "passed"}
    assert FAILS[number][1] in test.texts["call"]


def test_a_test_that_fails_by_itself_says_its_own_reason(tmp_path: Path) -> None:
    text = failure(one(tmp_path, "memwatch.assert_unchanged(app.STATE)\napp.add(1)\nassert app.STATE['total'] == 7"))
    assert "assert 1 == 7" in text
    assert "was changed" not in text


def test_an_error_in_the_block_is_the_one_that_is_raised(tmp_path: Path) -> None:
    passes(
        one(
            tmp_path,
            """
            with pytest.raises(RuntimeError, match="mine"):
                with memwatch.assert_unchanged(app.STATE):
                    app.add(1)
                    raise RuntimeError("mine")
            """,
        )
    )


def test_every_assertion_of_a_test_is_told(tmp_path: Path) -> None:
    text = failure(
        one(
            tmp_path, "memwatch.assert_unchanged(app.STATE)\nmemwatch.assert_unchanged(app, 'X')\napp.add(1)\napp.X = 1"
        )
    )
    assert "app.STATE was changed" in text
    assert "app.X was changed" in text


def test_watches_end_with_their_test(tmp_path: Path) -> None:
    text = """
import app

def test_a(memwatch):
    memwatch.watch(app.STATE)
    memwatch.watch_place(app, "LATER")
    memwatch.assert_only_written_by(app.Order)
    app.STATE["total"] = 5
    app.LATER = 1
    assert [(event.variable, event.old, event.part.new) for event in memwatch.events] == [
        ("app.STATE", None, 5), ("app.LATER", None, 1)]

def test_b(memwatch):
    app.STATE["total"] = 6
    app.LATER = 2
    app.Order.x = 1
    assert memwatch.events == []
    memwatch.watch(app.STATE)
    app.STATE["total"] = 7
    (event,) = memwatch.events
    assert event.part.old == 6
"""
    write(tmp_path, {"app.py": APP, "test_it.py": text})
    ran = run(tmp_path, "--memwatch")
    assert ran.code == 0, ran.out


def test_the_fixture_serves_classes_of_unittest_and_doctests(tmp_path: Path) -> None:
    app = (
        APP
        + '''
def example():
    """
    >>> memwatch = getfixture("memwatch")
    >>> with memwatch.assert_only_written_by(STATE, "app.py:add"): add(1)
    >>> memwatch.events[0].part.new
    1
    """
'''
    )
    text = """
import unittest, pytest, app

class TestIt(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def given(self, memwatch): self.memwatch = memwatch

    def test_a(self):
        with self.assertRaisesRegex(BaseException, "app.STATE was changed"):
            with self.memwatch.assert_unchanged(app.STATE):
                app.add(1)

    def test_b(self):
        self.memwatch.assert_unchanged(app.STATE)
        app.add(1)
"""
    write(tmp_path, {"app.py": app, "test_it.py": text})
    ran = run(tmp_path, "--memwatch", "--doctest-modules")
    assert {name: test.own for name, test in ran.tests.items()} == {
        "app.example": "passed",
        "TestIt::test_a": "passed",
        "TestIt::test_b": "failed",
    }, ran.out


# ---- who may write ---------------------------------------------------------------------------------------------------


def event(file: str, line: int, function: str, own: Site | None = None) -> Event:
    return Event(
        seq=1, time_ns=0, pid=1, runtime="python", tid=1, thread="", variable="x", variable_id=1, path=None,
        origin="announced", offset=0, before=b"", after=b"", old=0, new=1, changed=True, exact=True,
        site=Site(file, line, function), context=None, own=own,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "yes"),
    [
        ("orders.py", True), ("orders.py:*", True), ("shop/orders.py", True), ("./shop/orders.py:*", True),
        ("/src/shop/orders.py:*", True), ("*.py", True), ("sh*/*.py:add", True), ("orders.py:add", True),
        ("orders.py:a*", True), ("orders.py:41", True), ("orders.py:40-42", True), ("orders.py:Order.add", True),
        ("ders.py", False), ("cart.py", False), ("orders.py:remove", False), ("orders.py:40", False),
        ("orders.py:42-50", False), ("orders", False), ("other/orders.py", False), ("orders.py:ad", False),
        ("orders.py:<*>", False),
    ],
)  # fmt: skip
def test_who_may_write(pattern: str, yes: bool) -> None:
    assert parse(pattern).wrote(event("/src/shop/orders.py", 41, "Order.add")) is yes


def test_the_line_of_ones_own_code_may_write_too() -> None:
    own = Site("/src/deck.py", 10, "deal")
    assert parse("deck.py:deal").wrote(event("/usr/lib/python3/random.py", 380, "shuffle", own))


@pytest.mark.parametrize(
    "pattern", ["", ":", ":add", "orders.py:", "orders.py:0", "orders.py:9-3", "orders.py:a b", " : "]
)
def test_a_wrong_pattern_says_how_one_is_written(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"for instance: orders\.py"):
        parse(pattern)


def test_what_a_program_has_put_there_controls_no_terminal(tmp_path: Path) -> None:
    text = one(tmp_path, "memwatch.assert_unchanged(app.STATE)\napp.STATE['\\x1b[31m\\u202e'] = '\\x1b]0;title\\x07'")
    assert "\x1b" not in failure(text).replace("\x1b[0m", "")
    assert "\u202e" not in failure(text)
