"""Random programs whose stores raise: control flow, values and references are those of an oracle, which raises where it
stores without being watched."""

from __future__ import annotations

import gc
import random
import sys
from typing import Any

import pytest

from memwatch_core import MutationError, watch

STATEMENTS = (
    "n.value = {v}",
    "view[()] = {v}",
    "d['k{k}'] = {v}",
    "o.a{k} = {v}",
    "rows[{k}] = {v}",
    "rows.append({v}); rows.pop()",
    "d.update(k{k}={v})",
    "log.append({v})",
    "acc += {v}",
)


class Forbidden(Exception):
    pass


def block(rng: random.Random, depth: int, indent: str) -> list[str]:
    lines: list[str] = []
    for _ in range(rng.randint(1, 4)):
        kind = rng.random()
        inner = indent + "    "
        if depth and kind < 0.15:
            lines += [f"{indent}for i{depth} in range({rng.randint(1, 3)}):", *block(rng, depth - 1, inner)]
        elif depth and kind < 0.35:
            lines += [f"{indent}try:", *block(rng, depth - 1, inner)]
            if rng.random() < 0.7:
                lines += [f"{indent}except Caught:", f"{inner}log.append('caught')", *block(rng, depth - 1, inner)]
                if rng.random() < 0.3:
                    lines += [f"{indent}else:", *block(rng, depth - 1, inner)]
                if rng.random() < 0.3:
                    lines += [f"{indent}finally:", f"{inner}log.append('finally')"]
            else:
                lines += [f"{indent}finally:", *block(rng, depth - 1, inner)]
        elif depth and kind < 0.45:
            lines += [f"{indent}def f{depth}():", f"{inner}nonlocal acc", *block(rng, depth - 1, inner)]
            lines += [f"{inner}yield 1", *block(rng, depth - 1, inner)]
            lines += [f"{indent}log.append(list(f{depth}()))"]
        elif depth and kind < 0.5:
            lines += [f"{indent}with manager(log):", *block(rng, depth - 1, inner)]
        else:
            value = rng.choice([1, 2, 3, 4, 5, 6, -1, -2])
            text = rng.choice(STATEMENTS).format(v=value, k=rng.randint(0, 3))
            if value < 0 and not text.startswith(("log", "acc")):
                text += "; check()"  # of the oracle; of what is watched it does nothing
            lines += [indent + text]
    return lines


class Manager:
    def __init__(self, log: list[Any]) -> None:
        self.log = log

    def __enter__(self) -> None:
        self.log.append("enter")

    def __exit__(self, *error: object) -> None:
        self.log.append(("exit", error[0] is not None))


class Plain:
    """The oracle's number."""

    value = 0


class View:
    def __init__(self, number: Plain) -> None:
        self.number = number

    def __setitem__(self, key: object, value: int) -> None:
        self.number.value = value


class Owner:
    pass


def run(source: str, watched: bool) -> tuple[Any, ...]:
    order, places, rows, log = Owner(), {}, [0, 0, 0, 0], []
    number: Any = Plain()
    view: Any = View(number)
    caught: type[BaseException] = Forbidden
    if watched:
        caught = MutationError
        asked: dict[str, Any] = {"when": "new < 0", "then": "raise"}
        number = watch(0, name="n", **asked)
        view = memoryview(number)
        watch(order, name="o", **asked)
        watch(places, name="d", **asked)
        watch(rows, name="rows", **asked)

    def check() -> None:
        if not watched:
            raise Forbidden

    names: dict[str, Any] = {"n": number, "view": view, "d": places, "o": order, "rows": rows, "log": log}
    names |= {"check": check, "Caught": caught, "manager": Manager}
    exec(source, names)
    try:
        end = names["program"]()
    except caught:
        end = "raised"
    assert sys.exc_info() == (None, None, None)
    return end, int(number.value), dict(places), dict(vars(order)), list(rows), log


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize("seed", range(60))
def test_a_program_whose_stores_raise_does_what_its_oracle_does(seed: int) -> None:
    rng = random.Random(seed)
    text = ["def program():", "    acc = 0", *block(rng, 3, "    "), "    return acc"]
    source = "\n".join(text)
    oracle = run(source.replace("rows.append(-1); rows.pop()", "rows.append(-1); check(); rows.pop()")
                 .replace("rows.append(-2); rows.pop()", "rows.append(-2); check(); rows.pop()"), False)  # fmt: skip
    for _ in range(3):
        assert run(source, True) == oracle, source
        assert run(source.replace("; check()", ""), True) == oracle, source  # the last store of a block, too
    gc.collect()


@pytest.mark.usefixtures("journal")
def test_raising_leaks_no_reference() -> None:
    number = watch(0, name="n", when="new < 0", then="raise")
    places: dict[str, object] = {}
    watch(places, name="d", when="new == 'bad'", then="raise")
    view = memoryview(number)
    value = object()

    def once() -> None:
        for store in (lambda: setattr(number, "value", -1), lambda: view.__setitem__((), -1)):
            with pytest.raises(MutationError):
                store()
        with pytest.raises(MutationError):
            places["k"] = "bad"
        places["k"] = value
        places.clear()

    for _ in range(20):
        once()
    gc.collect()
    before = sys.getrefcount(value), sys.getrefcount(None), len(gc.get_objects())
    for _ in range(200):
        once()
    gc.collect()
    assert sys.getrefcount(value) == before[0]
    assert abs(sys.getrefcount(None) - before[1]) < 150
    assert len(gc.get_objects()) < before[2] + 150
