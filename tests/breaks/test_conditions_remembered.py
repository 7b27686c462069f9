"""What a condition asks of the site, the thread or the path is judged once for each, and then remembered: it must be
what it would be if it were judged anew, whoever writes, from where, and whatever it is called by then."""

from __future__ import annotations

import fnmatch
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from memwatch_core import watch

THREADS = ("one", "two", "three")
KEYS = ("a", "b", "total")


def first(places: dict[str, Any], key: str, value: int) -> None:
    places[key] = value


def second(places: dict[str, Any], key: str, value: int) -> None:
    places[key] = value


WRITERS: dict[str, Callable[[dict[str, Any], str, int], None]] = {"first": first, "second": second}
LINES = {name: writer.__code__.co_firstlineno + 1 for name, writer in WRITERS.items()}
FILE = "test_conditions_remembered.py"


class Write(NamedTuple):
    writer: str
    thread: str
    key: str
    old: int
    new: int


Judged = tuple[str, Callable[[Write], bool]]


def atom(rng: random.Random) -> Judged:
    """One comparison, and the same in Python."""
    n, name, thread, key = rng.randrange(4), rng.choice([*WRITERS]), rng.choice(THREADS), rng.choice(KEYS)
    pattern = rng.choice(["t*", "*e", "one", "*"])
    return rng.choice(
        [
            (f"new < {n}", lambda w: w.new < n),
            (f"abs(new - old) > {n}", lambda w: abs(w.new - w.old) > n),
            (f"site.function == '{name}'", lambda w: w.writer == name),
            (f"site.line == {LINES[name]}", lambda w: LINES[w.writer] == LINES[name]),
            (f"site like '{FILE}:{LINES[name]}'", lambda w: w.writer == name),
            (f"site.line > {LINES['first']}", lambda w: w.writer == "second"),
            (f"thread == '{thread}'", lambda w: w.thread == thread),
            (f"thread like '{pattern}'", lambda w: fnmatch.fnmatchcase(w.thread, pattern)),
            (f"path like '*\"{key}\"*'", lambda w: w.key == key),
            (f"len(thread) == {n + 2}", lambda w: len(w.thread) == n + 2),
        ]
    )


def condition(rng: random.Random, depth: int) -> Judged:
    if not depth or rng.random() < 0.2:
        return atom(rng)
    (left, a), kind = condition(rng, depth - 1), rng.choice(["and", "or", "not"])
    if kind == "not":
        return f"not ({left})", lambda w: not a(w)
    right, b = condition(rng, depth - 1)
    if kind == "and":
        return f"({left}) and ({right})", lambda w: a(w) and b(w)
    return f"({left}) or ({right})", lambda w: a(w) or b(w)


@pytest.fixture
def this_thread() -> Iterator[threading.Thread]:
    """The calling one, which may be called otherwise meanwhile."""
    thread = threading.current_thread()
    before = thread.name
    yield thread
    thread.name = before


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize("seed", range(8))
def test_random_conditions_of_who_where_and_what(seed: int, this_thread: threading.Thread) -> None:
    rng = random.Random(seed)
    tried = met = 0
    for number in range(40):
        text, expected = condition(rng, 4)
        hits: list[Any] = []
        places: dict[str, Any] = dict.fromkeys(KEYS, 0)
        watch(places, name=f"d{number}", when=text, then=hits.append)
        for _ in range(40):
            key, writer = rng.choice(KEYS), rng.choice([*WRITERS])
            if rng.random() < 0.2:
                this_thread.name = rng.choice(THREADS)
            elif this_thread.name not in THREADS:
                this_thread.name = "one"
            one = Write(writer, this_thread.name, key, places[key], rng.randrange(5))
            if one.new == one.old:
                continue
            hits.clear()
            WRITERS[writer](places, key, one.new)
            tried, met = tried + 1, met + expected(one)
            assert bool(hits) == expected(one), (text, one)
            if hits:
                assert hits[0].path == f'd{number}["{key}"]'
    assert tried > 1000
    assert tried / 10 < met < tried


@pytest.mark.usefixtures("journal")
def test_a_number_in_another_thread_is_judged_by_that_thread(this_thread: threading.Thread) -> None:
    hits: list[Any] = []
    x = watch(0, name="x", when="thread like 'w*'", then=hits.append)
    this_thread.name = "main"
    for turn in range(3):
        x.value = turn
        for name in ("worker", "other", "w2"):
            thread = threading.Thread(target=setattr, args=(x, "value", turn + 100), name=name)
            thread.start()
            thread.join()
    assert [hit.thread for hit in hits] == ["worker", "w2"] * 3


@pytest.mark.usefixtures("journal")
def test_an_object_that_moves_is_judged_by_its_new_path() -> None:
    hits: list[Any] = []
    inner = {"n": 0}
    root: dict[str, Any] = {"x": inner}
    watch(root, name="root", when="path like 'root[\"x\"]*' and new > 0", then=hits.append)
    for i in range(1, 4):
        inner["n"] = i
    assert len(hits) == 3
    root["y"] = root.pop("x")
    hits.clear()
    for i in range(4, 7):
        inner["n"] = i
    assert not hits
    root["x"] = root.pop("y")
    hits.clear()
    for i in range(7, 10):
        inner["n"] = i
    assert [hit.path for hit in hits] == ['root["x"]["n"]'] * 3


@pytest.mark.usefixtures("journal")
def test_a_key_whose_place_was_another_ones_is_judged_by_its_own_path() -> None:
    hits: list[Any] = []
    places: dict[str, int] = {}
    watch(places, name="d", when="path like '*[\"k??5\"]' and new is not absent", then=hits.append)
    for _ in range(2):
        for number in range(100, 700):
            places[f"k{number}"] = 1
            places[f"k{number}"] = 2
            del places[f"k{number}"]
    expected = [f'd["k{number}"]' for _ in range(2) for number in range(105, 700, 10) for _ in range(2)]
    assert [hit.path for hit in hits] == expected


@pytest.mark.usefixtures("journal")
def test_more_sites_than_are_remembered_are_told_apart() -> None:
    hits: list[Any] = []
    x = watch(0, name="x", when="site like 'many.py:*7'", then=hits.append)
    body = "".join(f"    x.value = {line}\n" for line in range(2, 1002))
    space: dict[str, Any] = {}
    exec(compile(f"def many(x):\n{body}", "many.py", "exec"), space)
    for _ in range(3):
        space["many"](x)
    assert [hit.site[1] for hit in hits] == [line for _ in range(3) for line in range(2, 1002) if line % 10 == 7]
