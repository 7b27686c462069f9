"""What is recorded of locals: values before and after, which call, where; and what isn't."""

from __future__ import annotations

import asyncio
import functools
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import corpus
import pytest
from oracle import Change, Source, Values
from told_of_locals import Told, journal, records, text, told

from memwatch_core import unwatch_locals, watch_locals
from memwatch_core.adapter import locals as watching
from memwatch_core.adapter.watch import variable
from memwatch_core.errors import WatchError
from memwatch_core.native import proxy
from memwatch_core.records import Event, Unwatched, Watched


def brief(word: str) -> str:
    """As far as a cell says every value, whatever its length."""
    return word[:36]


PLACES = ("plain_", "generator_", "closure_", "recursion_", "branches_")
HELPERS = ("run", "result")
"""What these hold depends on the order in which frames tell their names."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of frames that the oracle keeps
def test_old_and_new_are_what_the_names_held(tmp_path: Path) -> None:
    """Beside the interpreter's own frames, instruction by instruction."""
    path = str(tmp_path / "corpus.py")
    code = compile(corpus.SOURCE, path, "exec", dont_inherit=True)
    oracle = Values(Source(corpus.SOURCE, path), code, lambda value: brief(said(value)))

    def run(space: dict[str, Any]) -> list[Any]:
        space["parameters"]()
        return [
            space["run"](function)
            for name, function in [*space.items()]
            if name.startswith(PLACES) and not name.endswith("_slices")
        ]

    space: dict[str, Any] = {"__name__": "corpus"}
    exec(code, space)
    expected = oracle.run(lambda: run(space))
    space = {"__name__": "corpus"}
    exec(watching.bind(watching.instrument(code, "corpus")), space)
    with journal(tmp_path) as file:
        assert run(space) == expected
    found = [change for each in told(file) if (change := change_of(each)) and change.function not in HELPERS]
    executed = [change for change in oracle.told() if change.function not in HELPERS]
    assert len(executed) > 1500
    assert found == executed, first(found, executed)


def said(value: object) -> str:
    """As a cell says it."""
    return text(value) if isinstance(value, str) else re.sub(r"0x[0-9a-f]+", "", proxy.written(value))


def change_of(event: Told) -> Change | None:
    """None: it is of a module, or of the body of a class."""
    function, _, name = event.name.rpartition("().")
    return Change(function.rpartition(".")[2], name, brief(event.old), brief(event.new)) if function else None


def first(got: list[Any], expected: list[Any]) -> str:
    at = next((i for i, (a, b) in enumerate(zip(got, expected, strict=False)) if a != b), min(len(got), len(expected)))
    return f"{at}: {got[at - 1 : at + 3]} instead of {expected[at - 1 : at + 3]}"


def line_of(function: Any) -> int:
    return int(function.__code__.co_firstlineno)


def test_each_call_has_its_number_and_its_own_values(tmp_path: Path) -> None:
    def factorial(n: int) -> int:
        below = 1
        if n > 1:
            below = factorial(n - 1)
        product = n * below
        return product

    def counting(n: int) -> Any:
        for i in range(n):
            got = yield i
        return got

    async def waiting(n: int) -> int:
        total = n
        await asyncio.sleep(0)
        total += 10
        return total

    async def together() -> list[int]:
        return await asyncio.gather(waiting(1), waiting(2))

    for one in (factorial, counting, waiting):
        watch_locals(one)
    with journal(tmp_path) as file:
        assert factorial(3) == 6
        first, second = counting(2), counting(2)
        assert [next(first), next(second), first.send("x"), second.send("y")] == [0, 0, 1, 1]
        assert asyncio.run(together()) == [11, 12]
    of = [(each.name.rpartition(".")[2], each.activation, each.old, each.new) for each in told(file)]
    assert [each for each in of if each[0] == "product"] == [
        ("product", 3, "absent", "1"), ("product", 2, "absent", "2"), ("product", 1, "absent", "6"),
    ]  # fmt: skip
    assert [each for each in of if each[0] == "below"] == [
        ("below", 1, "absent", "1"), ("below", 2, "absent", "1"), ("below", 3, "absent", "1"),
        ("below", 1, "1", "2"),
    ]  # fmt: skip
    assert [each for each in of if each[0] in "i got"] == [
        ("i", 1, "absent", "0"), ("i", 2, "absent", "0"), ("got", 1, "absent", "'x'"), ("i", 1, "0", "1"),
        ("got", 2, "absent", "'y'"), ("i", 2, "0", "1"),
    ]  # fmt: skip
    assert [each for each in of if each[0] == "total"] == [
        ("total", 1, "absent", "1"), ("total", 2, "absent", "2"), ("total", 1, "1", "11"), ("total", 2, "2", "12"),
    ]  # fmt: skip


def test_threads_have_calls_of_their_own(tmp_path: Path) -> None:
    def work(n: int) -> None:
        total = 0
        for i in range(n):
            total += i + 1

    watch_locals(work)
    with journal(tmp_path) as file:
        threads = [threading.Thread(target=work, args=(200,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    totals = [each for each in told(file) if each.name.endswith(".total")]
    for number in (1, 2, 3, 4):
        own = [(each.old, each.new) for each in totals if each.activation == number]
        assert own[0] == ("absent", "0")
        assert [int(new) for _, new in own] == [n * (n + 1) // 2 for n in range(201)]
        assert [old for old, _ in own[1:]] == [new for _, new in own[:-1]]


def test_a_name_of_an_outer_function_is_told_as_that_functions(tmp_path: Path) -> None:
    @watch_locals
    def counter() -> Any:
        count = 0

        def more() -> int:
            nonlocal count
            count = count + 1
            return count

        return more

    with journal(tmp_path) as file:
        one, other = counter(), counter()
        assert [one(), other(), one()] == [1, 1, 2]
    counts = [(each.activation, each.old, each.new) for each in told(file) if each.name.endswith("counter().count")]
    assert counts == [(1, "absent", "0"), (2, "absent", "0"), (1, "0", "1"), (2, "0", "1"), (1, "1", "2")]


def test_bodies_of_classes_and_names_of_the_module_have_names_of_their_own(tmp_path: Path) -> None:
    text = (
        "def make(n):\n    global made\n    class Order:\n        limit = n\n        limit += 1\n        del limit\n"
        "        kept = 1\n    made = n\n    return Order\n"
    )
    space: dict[str, Any] = {"__name__": "orders"}
    exec(watching.bind(watching.instrument(compile(text, "orders.py", "exec"), "orders")), space)
    with journal(tmp_path) as file:
        space["make"](5)
        space["made"] = 9
        space["make"](7)
    found = [(each.name, each.activation, each.old, each.new) for each in told(file)]
    body = [each for each in found if "Order." in each[0]]
    assert body[:4] == [
        ("make.<locals>.Order.limit", 1, "absent", "5"), ("make.<locals>.Order.limit", 1, "5", "6"),
        ("make.<locals>.Order.limit", 1, "6", "absent"), ("make.<locals>.Order.kept", 1, "absent", "1"),
    ]  # fmt: skip
    assert body[4] == ("make.<locals>.Order.limit", 2, "absent", "7")
    assert [each[1:] for each in found if each[0] == ".made"] == [(None, "absent", "5"), (None, "9", "7")]


def test_a_parameter_stands_where_its_function_begins(tmp_path: Path) -> None:
    def plain(a: int, /, b: int = 2, *more: int, c: int = 3, **rest: int) -> Any:
        return lambda: (a, b, more, c, rest)

    watch_locals(plain)
    with journal(tmp_path) as file:
        plain(1, 5, 6, x=7)
    assert told(file) == [
        Told(f"{plain.__qualname__}().{name}", 1, "absent", value, line_of(plain))
        for name, value in [("a", "1"), ("b", "5"), ("c", "3"), ("more", "(6,)"), ("rest", "{'x': 7}")]
    ]


def test_a_value_that_a_debugger_puts_there_is_found(tmp_path: Path) -> None:
    if sys.version_info < (3, 13):
        pytest.skip("before CPython 3.13, f_locals is a copy")

    @watch_locals
    def patched() -> int:
        value = 1
        sys._getframe().f_locals["value"] = 5
        value = value + 1
        return value

    with journal(tmp_path) as file:
        assert patched() == 6
    assert [(each.old, each.new) for each in told(file)] == [("absent", "1"), ("1", "5"), ("5", "6")]
    assert [event.origin for event in records(file) if isinstance(event, Event)] == ["announced", "found", "announced"]


# ---- what is watched, and until when ---------------------------------------------------------------------------------


class Order:
    """A class whose functions are watched."""

    def __init__(self, qty: int) -> None:
        kept = qty
        self._qty = kept

    @property
    def qty(self) -> int:
        found = self._qty
        return found

    @qty.setter
    def qty(self, value: int) -> None:
        checked = value
        self._qty = checked

    @staticmethod
    def rounded(x: float) -> int:
        y = int(x)
        return y

    @classmethod
    def of(cls, x: int) -> Order:
        made = cls(x)
        return made

    @functools.cached_property
    def double(self) -> int:
        twice = 2 * self._qty
        return twice


def test_all_functions_of_a_class_are_watched_until_they_no_longer_are(tmp_path: Path) -> None:
    before = {name: getattr(value, "__func__", value) for name, value in vars(Order).items()}
    assert watch_locals(Order) is Order
    assert {name: getattr(value, "__func__", value) for name, value in vars(Order).items()} == before
    with journal(tmp_path) as file:
        order = Order.of(2)
        order.qty = order.qty + Order.rounded(3.5)
        assert order.double == 10
        assert unwatch_locals(Order) is Order
        order.qty = 1
    names = {each.name for each in told(file)}
    assert {"Order.of().made", "Order.qty().checked", "Order.qty().found", "Order.rounded().y"} <= names
    assert {"Order.__init__().kept", "Order.double().twice"} <= names
    assert [each.new for each in told(file) if each.name == "Order.qty().checked"] == ["5"]
    ended = [each for each in records(file) if isinstance(each, Unwatched)]
    assert {each.variable.partition(":")[2] for each in ended} >= {"Order.of()", "Order.rounded()"}


def test_a_function_stays_what_it_is(tmp_path: Path) -> None:
    def add(a: int, b: int = 5) -> int:
        """Adds."""
        total = a + b
        return total

    code, mine = add.__code__, {"x": 1}
    add.__dict__.update(mine)
    assert watch_locals(add) is add
    watched = add.__code__
    assert watch_locals(add).__code__ is watched
    assert (add(1), add.__doc__, add.__defaults__, add.__name__, vars(add)) == (6, "Adds.", (5,), "add", mine)
    assert "track_locals" in variable(add).flags
    unwatch_locals(add)
    assert add.__code__ is code
    with pytest.raises(WatchError, match="aren't watched"):
        unwatch_locals(add)


def test_only_names_that_were_asked_for_are_told(tmp_path: Path) -> None:
    @watch_locals(names=["total", "a"])
    def add(a: int, b: int) -> int:
        total = a
        other = b
        total += other
        return total

    with journal(tmp_path) as file:
        add(1, 2)
        watching.watch(add, ["other"])
        add(3, 4)
    assert [(each.name.rpartition(".")[2], each.new) for each in told(file)] == [
        *(("a", "1"), ("total", "1"), ("total", "3")),
        *(("a", "3"), ("total", "3"), ("other", "4"), ("total", "7")),
    ]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (len, "builtin_function_or_method can't be watched"),
        (5, "int can't be watched"),
        (functools.lru_cache(brief), "put @watch_locals below it"),
        (functools.partial(brief), "functools.partial can't be watched"),
        (lambda: 1, "a lambda binds nothing"),
        (int, "has no functions written in Python"),
    ],
)
def test_what_has_no_locals_to_watch_is_refused_with_the_reason(given: Any, why: str) -> None:
    with pytest.raises(WatchError, match=re.escape(why)):
        watch_locals(given)


def test_a_name_that_is_not_bound_is_refused_with_those_that_are() -> None:
    def add(a: int) -> int:
        total = a
        return total

    with pytest.raises(WatchError, match=r"binds no sum; it binds a, total"):
        watch_locals(names=["sum"])(add)
    with pytest.raises(TypeError, match=r"names=\['total'\]"):
        watch_locals(names="total")


# ---- journals --------------------------------------------------------------------------------------------------------


def test_nothing_is_recorded_while_no_journal_is_open(tmp_path: Path) -> None:
    @watch_locals
    def add(a: int) -> int:
        total = a
        return total

    add(1)
    with journal(tmp_path / "one") as one:
        assert not one.exists()
        add(2)
    add(3)
    with journal(tmp_path / "two") as two:
        add(4)
    assert [(each.activation, each.new) for each in told(one)] == [(1, "2"), (1, "2")]
    assert [(each.activation, each.new) for each in told(two)] == [(1, "4"), (1, "4")]


def test_a_call_that_runs_when_the_journal_is_opened_has_a_number_from_then_on(tmp_path: Path) -> None:
    @watch_locals
    def long(n: int) -> Any:
        kept = n
        while True:
            kept = kept + 1
            yield kept

    running = long(5)
    next(running)
    with journal(tmp_path) as file:
        next(running)
        next(long(1))
        next(running)
    assert [(each.activation, each.old, each.new) for each in told(file) if each.name.endswith("kept")] == [
        *((1, "6", "7"), (2, "absent", "1"), (2, "1", "2"), (1, "7", "8"))
    ]


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_child_tells_in_its_own_journal(tmp_path: Path) -> None:
    @watch_locals
    def work(n: int) -> int:
        total = n
        if n == 1:
            child = os.fork()
            if not child:
                total += 100
                work(50)
                process_ends()
            os.waitpid(child, 0)
        total += 1
        return total

    def process_ends() -> None:
        from memwatch_core.adapter import process

        process.close_journal()
        os._exit(0)

    with journal(tmp_path) as file:
        work(1)
    (other,) = [path for path in file.parent.glob("*.mwj") if path != file]
    totals = [[(e.activation, e.old, e.new) for e in told(path) if e.name.endswith("total")] for path in (file, other)]
    assert totals == [
        [(1, "absent", "1"), (1, "1", "2")],
        [(1, "1", "101"), (2, "absent", "50"), (2, "50", "51")],
    ]


@pytest.mark.parametrize("pattern", ["password", "*.password", "*login*"])
def test_a_secret_is_told_by_its_hash(tmp_path: Path, pattern: str) -> None:
    """In a process of its own: from the first secret on, what others hold is recorded with less detail."""
    (tmp_path / "program.py").write_text(f"""
from memwatch_core import session, watch_locals

@watch_locals
def login(password):
    again = 1
    password = password + "!"
    return password * again

with session(sinks=[], privacy={{"variables": [{pattern!r}]}}):
    login("sesame-street")
""")
    subprocess.run([sys.executable, "program.py"], cwd=tmp_path, check=True, timeout=60)
    (file,) = tmp_path.glob(".memwatch/*/*.mwj")
    assert b"sesame" not in file.read_bytes()
    values = [each.new for each in told(file) if each.name.endswith("password")]
    assert len(values) == 2
    assert all("secret" in value for value in values)


def test_functions_that_never_run_take_no_variable(tmp_path: Path) -> None:
    text = "".join(f"def f{n}(a):\n    b = a\n    return b\n" for n in range(200))
    space: dict[str, Any] = {}
    with journal(tmp_path) as file:
        exec(watching.bind(watching.instrument(compile(text, "many.py", "exec"), "many")), space)
        space["f7"](1)
    assert [each.variable.name for each in records(file) if isinstance(each, Watched)] == ["many:f7()"]
