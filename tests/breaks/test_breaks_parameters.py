"""What a function gets as its parameters is acted on where the function begins: there, it has the line of the event."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from memwatch_core import MutationError, watch_locals
from memwatch_core.records import Hit


def plain(amount: int) -> int:
    again = amount
    return again


def in_one_line(amount: int) -> int: return amount  # fmt: skip


def over_lines(
    first: int = 0,
    *rest: int,
    amount: int = 0,
) -> int:
    try:
        return amount
    except MutationError:
        return 7


def in_a_cell(amount: int) -> int:
    return (lambda: amount)()


def generator(amount: int) -> Iterator[int]:
    try:
        yield amount
    except MutationError:
        yield 7


async def coroutine(amount: int) -> int:
    await asyncio.sleep(0)
    return amount


async def asynchronous(amount: int) -> AsyncIterator[int]:
    yield amount


def decorated(amount: int) -> int:
    return amount


class Order:
    def method(self, amount: int) -> int:
        return amount


async def _first(of: AsyncIterator[int]) -> int:
    return await anext(of)


WAYS: dict[str, tuple[Callable[..., Any], Callable[[Any, int], Any]]] = {
    "plain": (plain, lambda f, n: f(n)),
    "in one line": (in_one_line, lambda f, n: f(n)),
    "over lines": (over_lines, lambda f, n: f(1, 2, amount=n)),
    "in a cell": (in_a_cell, lambda f, n: f(n)),
    "generator": (generator, lambda f, n: next(f(n))),
    "coroutine": (coroutine, lambda f, n: asyncio.run(f(n))),
    "asynchronous generator": (asynchronous, lambda f, n: asyncio.run(_first(f(n)))),
    "method": (Order.method, lambda f, n: f(Order(), n)),
}


def fresh(function: Any) -> Any:
    """The same function, unwatched."""
    return type(function)(function.__code__, function.__globals__, function.__name__, function.__defaults__)


def first_line(function: Any) -> int:
    return int(function.__code__.co_firstlineno)


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize("traced", [False, True], ids=["", "traced"])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_raised_comes_from_the_line_where_the_function_begins(way: str, traced: bool) -> None:
    function, call = fresh(WAYS[way][0]), WAYS[way][1]
    function.__kwdefaults__ = WAYS[way][0].__kwdefaults__
    watch_locals(names=["amount"], when="new < 0", then="raise")(function)
    assert call(function, 1) == 1
    before = sys.gettrace()
    if traced:
        sys.settrace(lambda frame, event, argument: lambda *more: None)  # type: ignore[arg-type,return-value]
    try:
        with pytest.raises(MutationError) as raised:
            call(function, -1)
    finally:
        sys.settrace(before)
    hit, last = raised.value.hit, traceback.extract_tb(raised.value.__traceback__)[-1]
    assert hit is not None
    assert hit.site is not None
    assert (last.name, last.lineno) == (function.__name__, first_line(function))
    assert hit.site[1] == last.lineno
    assert "line None" not in "".join(traceback.format_exception(raised.value))
    assert call(function, 2) == 2


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize("way", WAYS)
def test_who_acts_sees_the_frame_on_that_line_and_the_function_goes_on(way: str) -> None:
    function, call = fresh(WAYS[way][0]), WAYS[way][1]
    function.__kwdefaults__ = WAYS[way][0].__kwdefaults__
    seen: list[tuple[Any, ...]] = []

    def act(hit: Hit) -> None:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code is not function.__code__:
            frame = frame.f_back
        assert frame is not None
        seen.append((frame.f_lineno, frame.f_locals["amount"], hit.new))

    watch_locals(names=["amount"], then=act)(function)
    assert [call(function, n) for n in (-1, 5)] == [-1, 5]
    assert seen == [(first_line(function), n, n) for n in (-1, 5)]


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize("way", WAYS)
def test_lines_that_a_tracer_is_told_of_are_the_same_after_somebody_acted(way: str) -> None:
    told: list[list[tuple[str, int]]] = []
    for watched in (False, True):
        function, call = fresh(WAYS[way][0]), WAYS[way][1]
        function.__kwdefaults__ = WAYS[way][0].__kwdefaults__
        if watched:
            watch_locals(names=["amount"], then=lambda hit: None)(function)
        lines: list[tuple[str, int]] = []

        def trace(frame: FrameType, event: str, argument: object, function: Any = function, lines: Any = lines) -> Any:
            if frame.f_code is function.__code__:
                lines.append((event, frame.f_lineno))
                return trace
            return None

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            call(function, -1)
        finally:
            sys.settrace(before)
        told.append(lines)
    assert told[0]
    assert told[1] == told[0]


PROGRAM = """
def pay(amount, times=1):
    total = amount * times
    return total

print(pay(3))
print(pay(-3))
"""


@pytest.mark.parametrize("then", ["break", "dump", "raise"])
def test_a_parameters_line_is_shown(then: str, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(PROGRAM)
    options = ["-q", "--sink", "jsonl", "--watch", "shop:pay():amount", "--when", "shop:pay(): new < 0", "--then", then]
    done = subprocess.run(
        [sys.executable, "-m", "memwatch_core.cli", "run", *options, "shop.py"],
        input="where\np amount\nn\np amount * 2\nc\n" if then == "break" else "",
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = done.stdout + done.stderr
    assert "None" not in said, said
    if then == "break":
        assert "shop.py(2)pay()" in said, said
        assert "(Pdb) -3\n" in said, said
        assert "(Pdb) -6\n" in said, said
    else:
        assert 'shop.py", line 2, in pay' in said or "shop.py:2" in said, said
    assert done.stdout.splitlines()[0] == "3"
    assert ("-3" in done.stdout.splitlines()[-1]) is (then != "raise")
