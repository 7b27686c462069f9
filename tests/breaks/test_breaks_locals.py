"""Names that a function binds are judged where they are bound: on that line, in that frame, and bound by then."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from memwatch_core import (
    MutationError,
    session,
    unwatch,
    unwatch_locals,
    watch_all,
    watch_locals,
)
from memwatch_core.errors import ConditionError
from memwatch_core.records import Hit

CLI = [sys.executable, "-m", "memwatch_core.cli"]


def assigned(a: int) -> Any:
    x = a  # BINDS
    return x


def added(a: int) -> Any:
    x = 1
    x += a - 1  # BINDS
    return x


def looped(a: int) -> Any:
    for x in (a,):  # BINDS
        assert x == a
    return x


def unpacked(a: int) -> Any:
    _, (x, *_) = 0, (a, 1, 2)  # BINDS
    return x


def walrus(a: int) -> Any:
    return (x := a) + 0 * x  # BINDS


def in_a_cell(a: int) -> Any:
    x = a  # BINDS
    return (lambda: x)()


def by_an_inner_function(a: int) -> Any:
    x = 0

    def bind() -> None:
        nonlocal x
        x = a  # BINDS

    bind()
    return x


def by_a_generator(a: int) -> Any:
    def values() -> Any:
        x = a  # BINDS
        yield x

    return next(values())


def by_a_coroutine(a: int) -> Any:
    async def value() -> Any:
        x = a  # BINDS
        return x

    try:
        value().send(None)
    except StopIteration as stop:
        return stop.value


def in_a_class_body(a: int) -> Any:
    class Body:
        x = a  # BINDS

    return Body.x


WAYS = [assigned, added, looped, unpacked, walrus, in_a_cell, by_an_inner_function, by_a_generator, by_a_coroutine]
WAYS += [in_a_class_body]


def line_of(way: Any) -> int:
    lines = Path(__file__).read_text().splitlines()
    first = way.__code__.co_firstlineno
    return next(n for n, text in enumerate(lines[first:], first + 1) if "# BINDS" in text)


def copy_of(way: Any) -> Any:
    return types.FunctionType(way.__code__, globals(), way.__name__, way.__defaults__, way.__closure__)


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize("then", ["break", "raise", "call"])
@pytest.mark.parametrize("way", WAYS)
def test_a_name_is_judged_where_it_is_bound(way: Any, then: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[int, Any]] = []

    def stop(*hit: Any) -> None:
        frame = sys._getframe(1)
        found.append((frame.f_lineno, frame.f_locals.get("x")))

    monkeypatch.setattr(sys, "breakpointhook", stop)
    function = copy_of(way)
    watch_locals(function, when='path like "*.x" and new == -5', then=stop if then == "call" else then)
    if then != "raise":
        assert function(-5) == -5
        assert found == [(line_of(way), -5)]
        assert function(7) == 7
        assert len(found) == 1
        return
    with pytest.raises(MutationError) as raised:
        function(-5)
    trace = raised.value.__traceback__
    assert trace is not None
    while trace.tb_next is not None:
        trace = trace.tb_next
    assert (trace.tb_lineno, trace.tb_frame.f_locals["x"]) == (line_of(way), -5)
    assert raised.value.hit.new == -5


@pytest.mark.usefixtures("journal")
def test_a_parameter_is_judged_before_the_first_line() -> None:
    @watch_locals(when="new < 0", then="raise")
    def pay(amount: int) -> list[int]:
        return ran.append(amount)  # type: ignore[func-returns-value]

    ran: list[int] = []
    pay(1)
    with pytest.raises(MutationError) as raised:
        pay(-1)
    assert ran == [1]
    assert raised.value.hit.path.endswith("pay().amount")


@pytest.mark.usefixtures("journal")
def test_each_call_begins_with_nothing() -> None:
    hits: list[Hit] = []

    @watch_locals(names=["x"], then=hits.append)
    def f() -> None:
        x = 1  # noqa: F841

    f()
    f()
    assert [(str(hit.old), hit.new) for hit in hits] == [("absent", 1)] * 2


@pytest.mark.usefixtures("journal")
def test_the_handler_around_the_line_catches_it_and_finally_runs() -> None:
    @watch_locals(names=["x"], when="new == 1", then="raise")
    def f() -> list[object]:
        said: list[object] = []
        try:
            x = 1
        except MutationError:
            said.append(x)
        finally:
            said.append("finally")
        return said

    assert f() == [1, "finally"]


@pytest.mark.usefixtures("journal")
def test_what_is_deleted_is_still_there_when_it_is_told() -> None:
    @watch_locals(when="new is absent", then="raise")
    def f() -> int:
        x = 1
        try:
            del x
        except MutationError:
            return x  # noqa: F821
        return 0

    assert f() == 1


class Once(dict[str, object]):
    """A namespace that takes each name once, as that of an enumeration."""

    def __setitem__(self, name: str, value: object) -> None:
        assert name not in self, name
        super().__setitem__(name, value)


@pytest.mark.usefixtures("journal")
def test_a_namespace_of_its_own_is_stored_to_once() -> None:
    class Meta(type):
        @classmethod
        def __prepare__(cls, *args: Any, **options: Any) -> Once:  # type: ignore[override]
            return Once()

    hits: list[Hit] = []

    @watch_locals(when="new == 3", then=hits.append)
    def make() -> Any:
        class Body(metaclass=Meta):
            x = 3

        return Body

    assert make().x == 3
    assert len(hits) == 1


@pytest.mark.usefixtures("journal")
def test_a_condition_that_is_wrong_leaves_the_function_as_it_was() -> None:
    def f() -> None: ...

    code = f.__code__
    for options in ({"when": "nwe < 0"}, {"when": "new.price < 0"}, {"then": "brake"}):
        with pytest.raises(ConditionError):
            watch_locals(f, **options)
        assert f.__code__ is code


@pytest.mark.usefixtures("journal")
def test_it_ends_with_its_watch() -> None:
    hits: list[Hit] = []

    def f() -> None:
        x = 1  # noqa: F841

    watch_locals(f, then=hits.append)
    f()
    unwatch_locals(f)
    f()
    assert len(hits) == 1


def test_it_holds_in_each_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hits: list[Hit] = []

    @watch_locals(names=["x"], then=hits.append)
    def f() -> None:
        x = 1  # noqa: F841

    f()
    assert not hits
    for n in (1, 2):
        with session():
            f()
        assert len(hits) == n


@pytest.mark.usefixtures("journal")
def test_all_names_of_a_module_are_judged() -> None:
    module = types.ModuleType("stock")
    hits: list[Hit] = []
    watch_all(module, when="new < 0", then=hits.append)
    module.count = 1  # type: ignore[attr-defined]
    module.count = -1  # type: ignore[attr-defined]
    assert [(hit.path, hit.old, hit.new) for hit in hits] == [("stock.count", 1, -1)]
    unwatch(module)
    module.count = -2  # type: ignore[attr-defined]
    assert len(hits) == 1
    with pytest.raises(ConditionError):
        watch_all(module, when="nwe")
    watch_all(module, then="raise")
    with pytest.raises(MutationError):
        module.count = 5  # type: ignore[attr-defined]


PROGRAM = """
def add(n):
    total = 0
    total += n
    return total

class Order:
    def pay(self, amount):
        left = -amount
        return left

add(2)
Order().pay(3)
"""


@pytest.mark.parametrize("all_locals", [False, True])
@pytest.mark.parametrize(
    ("options", "stops"),
    [
        (["--break", "orders:add():total"], ["total absent → 0", "total 0 → 2"]),
        (["--break", "orders:Order.pay():left"], ["left absent → -3"]),
        (["--break", "orders:add():n"], ["n absent → 2"]),
        (["--watch", "orders:add():*", "--when", "new > 1", "--then", "dump"], ["n absent → 2", "total 0 → 2"]),
        (["--break", "orders:add():total", "--when", "orders:add(): new > 1"], ["total 0 → 2"]),
    ],
)
def test_a_program_stops_where_a_local_is_bound(
    options: list[str], stops: list[str], all_locals: bool, tmp_path: Path
) -> None:
    if "--when" in options and all_locals:
        pytest.skip("then the condition is judged of what the others bind as well")
    (tmp_path / "orders.py").write_text(PROGRAM)
    done = subprocess.run(
        [*CLI, "run", "-q", "--sink", "jsonl", *["--track-locals"] * all_locals, *options, "orders.py"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    said = [line.partition("().")[2] for line in done.stderr.splitlines() if "→" in line]
    assert [one.partition(" at ")[0] for one in said] == stops, done.stderr
