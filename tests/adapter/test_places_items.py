"""Watched lists: what is followed in them, how long they are watched, and who else is in the process."""

from __future__ import annotations

import copy
import gc
import json
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from cells import ABSENT, changes, expected
from journals import Opened
from operations import same_plain_and_watched

from memwatch_core import unwatch, watch
from memwatch_core.errors import WatchError
from memwatch_core.native import core, proxy

SOAK = bool(os.environ.get("MEMWATCH_SOAK"))


class Order:
    def __init__(self, *items: Any) -> None:
        self.items: list[Any] = list(items)
        self.note = "x"


def told(journal: Opened, since: int = 0) -> list[tuple[str, Any, Any]]:
    return [(change.path, change.old, change.new) for change in changes(journal)[since:]]


# ---- what is followed ------------------------------------------------------------------------------------------------


def test_a_list_that_an_attribute_holds_is_followed(journal: Opened) -> None:
    order = watch(Order(1, 2), name="order")
    order.items.append(3)
    order.items[0] = 10
    other = order.items
    order.items = []
    order.items.append("new")
    other.append("not any more")
    assert told(journal) == [
        (".items[2]", ABSENT, 3),
        (".items[0]", 1, 10),
        (".items", expected([10, 2, 3]), expected([])),
        (".items[0]", ABSENT, "new"),
    ]
    assert proxy.audit_places() == 0


def test_paths_of_what_a_list_holds_follow_its_items(journal: Opened) -> None:
    rows: list[Any] = [{"n": 0}, {"n": 1}, {"n": 2}]
    watch(rows, name="rows")
    last = rows[2]
    last["n"] = 20
    rows.insert(0, None)
    last["n"] = 21
    del rows[1]
    last["n"] = 22
    rows.reverse()
    last["n"] = 23
    rows.sort(key=lambda row: 0 if row is None else row["n"])
    last["n"] = 24
    rows.pop()
    last["n"] = 25
    assert [(path, new) for path, _, new in told(journal) if path.endswith('["n"]')] == [
        ('[2]["n"]', 20), ('[3]["n"]', 21), ('[2]["n"]', 22), ('[0]["n"]', 23), ('[2]["n"]', 24),
    ]  # fmt: skip
    assert proxy.audit_places() == 0


def test_what_a_list_holds_several_times_is_followed_until_the_last_is_gone(journal: Opened) -> None:
    row = {"n": 0}
    rows = watch([row, row, 5, row], name="rows")
    rows.pop(0)
    row["n"] = 1
    rows[0] = None
    row["n"] = 2
    rows.remove(row)
    row["n"] = 3
    rows.append(row)
    row["n"] = 4
    rows[:] = [row, row]
    row["n"] = 5
    rows.clear()
    row["n"] = 6
    assert [new for path, _, new in told(journal) if path.endswith('["n"]')] == [1, 2, 4, 5]
    assert proxy.audit_places() == 0


@pytest.mark.parametrize(("depth", "seen"), [(0, []), (1, ["[0][0]"]), (2, ["[0][0]", "[0][1][0]"])])
def test_lists_in_lists_are_followed_as_deep_as_asked(journal: Opened, depth: int, seen: list[str]) -> None:
    rows = watch([[1, [2]]], name="rows", depth=depth)
    rows[0][0] = 5
    rows[0][1][0] = 6
    assert [path for path, _, _ in told(journal)] == seen


def test_a_list_that_holds_itself_is_told_once(journal: Opened) -> None:
    x: list[Any] = [1]
    x.append(x)
    watch(x, name="x", depth=5)
    x[1][1][0] = 2
    x.append(x)
    unwatch(x)
    assert [path for path, _, _ in told(journal)] == ["[0]", "[2]"]
    del x
    gc.collect()


def test_fields_are_none_of_a_lists(journal: Opened) -> None:
    for option in ({"fields": ["a"]}, {"skip": ["a"]}):
        with pytest.raises(WatchError, match="fields and skip choose attributes and keys; a list has neither"):
            watch([1], name="x", **option)


def test_a_list_is_told_where_it_is_being_sorted(journal: Opened) -> None:
    x = [3, 1, 2]
    errors = []

    def key(value: int) -> int:
        try:
            watch(x, name="x")
        except WatchError as error:
            errors.append(str(error))
        return value

    x.sort(key=key)
    assert x == [1, 2, 3]
    assert errors[0] == "'x' can't be watched: it is being sorted"


# ---- how long --------------------------------------------------------------------------------------------------------


def test_a_list_that_is_gone_leaves_nothing(journal: Opened) -> None:
    for length in (0, 3, 40, 600, 5000):
        watch(list(range(length)), name="x")  # dies at once
        x = watch(list(range(length)), name="x")
        x.clear()
        del x
        y = watch([[1] * length, {"a": [2] * length}], name="y", depth=4)
        y.append(y)
        del y
        gc.collect()
        assert core.stats().pages == 0, length
        others = [[n] for n in range(100)]
        for other in others:
            other.append(1)
        assert core.stats().pages == 0


def test_a_list_is_as_it_was_after_its_watch(journal: Opened) -> None:
    x = list(range(20))
    size = sys.getsizeof(x)
    watch(x, name="x")
    assert sys.getsizeof(x) > size
    unwatch(x)
    assert sys.getsizeof(x) <= size
    assert core.stats().pages == 0
    x.extend(range(1000))
    del x[5:]
    assert x == [0, 1, 2, 3, 4]


def test_a_watch_that_ends_while_its_list_is_sorted_does_no_harm(journal: Opened) -> None:
    x = watch([5, 3, 4] * 200, name="x")
    x.sort(key=lambda value: (unwatch(x) if proxy.find_places(x) else 0, value)[1])
    assert x == [3] * 200 + [4] * 200 + [5] * 200
    x.append(1)
    x.clear()
    assert core.stats().pages == 0


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_has_lists_of_its_own(journal: Opened) -> None:
    x = watch(list(range(600)), name="x")
    y = watch([1], name="y")
    pid = os.fork()
    if not pid:
        try:
            x[0] = "child"
            y.append("child")
            x.extend(range(2000))
            del y[:]
            unwatch(x)
            x.append(3)
            os._exit(0 if len(x) == 2601 and x[0] == "child" and y == [] else 1)
        finally:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0
    assert (x[0], len(x), y) == (0, 600, [1])
    x[0] = "parent"
    assert told(journal) == [("[0]", 0, "parent")]


# ---- nothing else changes --------------------------------------------------------------------------------------------


def test_a_watched_list_is_the_list_that_it_was(journal: Opened) -> None:
    plain: list[Any] = [1, "two", [3], {"k": 4}, None]
    x = copy.deepcopy(plain)
    identity = id(x)
    assert watch(x, name="x", depth=3) is x
    assert (type(x), id(x), x == plain, repr(x), len(x)) == (list, identity, True, repr(plain), 5)
    assert pickle.loads(pickle.dumps(x)) == copy.copy(x) == copy.deepcopy(x) == json.loads(json.dumps(x)) == plain
    assert [*x, 1] == [*plain, 1]
    assert x * 2 == plain * 2
    assert x[::-1] == plain[::-1]
    assert tuple(x) == tuple(plain)
    assert list(x) == plain
    assert list(reversed(x)) == plain[::-1]
    assert [2] not in x
    assert [3] in x
    match x:
        case [1, "two", [number], {"k": key}, None]:
            assert (number, key) == (3, 4)
        case _:
            raise AssertionError("not matched")
    for wrong in (lambda: x[9], lambda: x.remove(9), lambda: x.index(9), lambda: x.pop(9), lambda: x.append()):  # type: ignore[call-arg]
        with pytest.raises((IndexError, ValueError, TypeError)) as here:
            wrong()
        there = pytest.raises((IndexError, ValueError, TypeError))
        with there as error:
            {0: lambda: plain[9], 1: lambda: plain.remove(9), 2: lambda: plain.index(9), 3: lambda: plain.pop(9),
             4: lambda: plain.append()}[  # type: ignore[call-arg]
                [9, "remove", "index", "pop", "append"].index(
                    next((name for name in ("remove", "index", "pop", "append") if name in wrong.__code__.co_names), 9)
                )
            ]()  # fmt: skip
        assert (type(here.value), str(here.value)) == (type(error.value), str(error.value))
    assert told(journal) == []


def test_methods_of_lists_are_the_objects_that_they_were(journal: Opened) -> None:
    before = dict(vars(list).items())
    append = [].append
    x = watch([1], name="x")
    assert dict(vars(list).items()) == before
    assert list.append is before["append"]
    assert repr(list.append) == "<method 'append' of 'list' objects>"
    append(5)
    list.append(x, 2)
    unwatch(x)
    list.append(x, 3)
    assert (append.__self__, x) == ([5], [1, 2, 3])


# ---- threads ---------------------------------------------------------------------------------------------------------

STORES = 100_000 if SOAK else 2_000


@pytest.mark.parametrize("store", ["x[0] = value", "list.__setitem__(x, 0, value)"])
def test_every_store_of_four_threads_to_one_item_is_told_in_order(journal: Opened, store: str) -> None:
    space: dict[str, Any] = {}
    exec(f"def work(x, k):\n for i in range({STORES}):\n  value = (k, i)\n  {store}", space)
    x: list[Any] = watch([None], name="x")
    threads = [threading.Thread(target=space["work"], args=(x, k)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = changes(journal)
    assert len(events) == 4 * STORES
    assert [event.old for event in events[1:]] == [event.new for event in events[:-1]]
    assert len({event.tid for event in events}) == 4
    assert proxy.audit_places() == 0


def test_every_append_and_pop_of_four_threads_is_told(journal: Opened) -> None:
    x: list[Any] = watch([], name="x")

    def work(k: int) -> None:
        for i in range(STORES // 4):
            x.append((k, i))
            if i % 3 == 0:
                x.pop()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    model: list[Any] = []
    for event in changes(journal):
        at = int(event.path[1:-1])
        if event.new == ABSENT:
            assert (at, model.pop()) == (len(model), event.old)
        else:
            assert (at, event.old) == (len(model), ABSENT)
            model.append(event.new)
    assert model == [expected(item) for item in x]


# ---- who else is in the process --------------------------------------------------------------------------------------

PROGRAM = """
    import faulthandler, heapq, signal, sys, threading, tracemalloc
    from memwatch_core import unwatch, watch

    if "tracemalloc" in sys.argv:
        tracemalloc.start()
    if "faulthandler" in sys.argv:
        faulthandler.enable()  # a small stack of its own for signals
    if "stack" in sys.argv:
        threading.stack_size(256 * 1024)

    def work():
        x = watch(list(range(10)), name="x")
        for i in range(300):
            x[3] = i
            x.append(i)
        heapq.heapify(x)
        while x:
            heapq.heappop(x)
        y = watch([{"n": i} for i in range(600)], name="y")
        for row in y:
            row["n"] += 1
        y.sort(key=lambda row: -row["n"])
        del y[10:]
        if "tracemalloc" in sys.argv:
            tracemalloc.stop()
        y.extend(range(2000))
        unwatch(y)
        y.extend(range(2000))
        return len(y)

    def deep(n):
        return work() if not n else deep(n - 1)

    thread = threading.Thread(target=lambda: print(deep(100)))
    thread.start()
    thread.join()
    assert deep(800) == 4010
"""


@pytest.mark.parametrize(
    ("tracker", "allocator", "options"),
    [
        ("uffd-sigbus", "default", "faulthandler"), ("readonly", "default", "stack"), ("uffd-queue", "default", ""),
        ("readonly", "default", "tracemalloc"), ("uffd-sigbus", "debug", "faulthandler"), ("readonly", "malloc", ""),
        ("uffd-sigbus", "malloc_debug", "tracemalloc"), ("uffd-sigbus", "mimalloc", ""),
    ],
)  # fmt: skip
def test_lists_are_watched_with_every_allocator_and_stack(
    tracker: str, allocator: str, options: str, tmp_path: Path
) -> None:
    if allocator == "mimalloc" and sys.version_info < (3, 13):
        pytest.skip("CPython has mimalloc since 3.13")
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    environment = {**os.environ, "MEMWATCH_CORE_TRACKER": tracker, "PYTHONMALLOC": allocator}
    run = [sys.executable, "-m", "memwatch_core.cli", "run", "--quiet", "program.py", *options.split()]
    done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100, check=False)
    if tracker == "uffd-queue" and "doesn't work here" in done.stderr:
        pytest.skip("the tracker needs a privilege that isn't given here")
    assert (done.returncode, done.stdout) == (0, "4010\n"), done.stderr[-3000:]
    log = [sys.executable, "-m", "memwatch_core.cli", "log", "--json"]
    events = [json.loads(line) for line in subprocess.check_output(log, cwd=tmp_path, text=True).splitlines()]
    stores = [event for event in events if event.get("part")]
    assert sum(event["part"]["name"] == "[3]" and event["site"]["line"] == 15 for event in stores) >= 2 * 299
    assert sum(event["operation"] == "move" for event in stores) == 2
    assert not [event for event in stores if event["origin"] == "found"]


def test_cpythons_own_tests_of_lists_pass_on_watched_ones(tmp_path: Path) -> None:
    """Every list that the suite makes as one to be tested is watched, as is each in what its test cases hold."""
    pytest.importorskip("test.test_list", reason="this CPython came without its tests: test.test_list")
    (tmp_path / "suite.py").write_text(
        textwrap.dedent(
            """
            import sys, unittest
            from test import test_list
            from memwatch_core import watch

            def make(*args, **options):
                made = list(*args, **options)
                return watch(made, name="x", depth=0) if sys.argv[1] == "watched" else made

            case = test_list.ListTest
            case.type2test = staticmethod(make)
            out = {"test_basic", "test_identity", "test_keyword_args", "test_repr_deep", "test_constructors"}
            names = [name for name in unittest.defaultTestLoader.getTestCaseNames(case) if name not in out]
            suite = unittest.TestSuite(case(name) for name in names)
            result = unittest.TextTestRunner(stream=sys.stderr, verbosity=0).run(suite)
            print(result.testsRun, *sorted(str(test) for test, _ in result.failures + result.errors), sep="\\n")
            """
        )
    )
    assert same_plain_and_watched(tmp_path / "suite.py") > 20
