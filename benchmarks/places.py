"""What a store to an attribute or a key of a watched object costs, against the setter of a plain Python property; what
reading one costs; and how long it takes to watch many. CPython 3.12 and later."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.table import Row, in_turn
from benchmarks.writing import writing_into
from memwatch_core import unwatch, watch

TURNS = 2_000
ROUNDS = 301


class Order:
    """What a program has."""

    def __init__(self, quantity: int = 1) -> None:
        self.quantity = quantity
        self.price = 2.0


class Intercepted:
    """The rival: what a program would write to intercept assignments, without recording anything."""

    def __init__(self) -> None:
        self._quantity = 0

    @property
    def quantity(self) -> int:
        return self._quantity

    @quantity.setter
    def quantity(self, quantity: int) -> None:
        self._quantity = quantity


class Overridden:
    """Another one: every assignment goes through a method."""

    def __init__(self) -> None:
        self.quantity = 0

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


def loop(code: str) -> Callable[[Any], Callable[[], float]]:
    """ns of one run of the code, in a loop of its own: loops that share a code object share its specialisations."""

    def of(target: Any) -> Callable[[], float]:
        space: dict[str, Any] = {}
        exec(f"def run(o):\n    for i in range({TURNS}):\n        {code}\n", space)
        exec(f"def empty(o):\n    for i in range({TURNS}):\n        pass\n", space)
        run, empty = space["run"], space["empty"]

        def measure() -> float:
            start = time.perf_counter_ns()
            empty(target)
            middle = time.perf_counter_ns()
            run(target)
            return (time.perf_counter_ns() - middle - (middle - start)) / TURNS

        return measure

    return of


def seconds(make: Callable[[], Any], **options: Any) -> float:
    """The least of some watches of what was made."""
    best = float("inf")
    for _ in range(5):
        target = make()
        start = time.perf_counter()
        watch(target, name="many", **options)
        best = min(best, time.perf_counter() - start)
        unwatch(target)
    return best


def graph() -> Any:
    """A hundred thousand objects in a dict of one."""
    top = Order()
    top.orders = {i: Order(i) for i in range(100_000)}  # type: ignore[attr-defined]
    return top


def stores() -> Iterator[Row]:
    """A store, beside its rivals."""
    order, config = Order(), {"quantity": 1}
    watch(order, name="order")
    watch(config, name="config")
    attribute, key = loop("o.quantity = i"), loop("o['quantity'] = i")
    rival = attribute(Intercepted())
    for name, ours in (("o.quantity = i", attribute(order)), ("d['quantity'] = i", key(config))):
        a, b, ratio = in_turn(ours, rival, ROUNDS)
        yield Row(name, a, "ns", "a property's setter", b, 2.5, ratio)
    a, b, ratio = in_turn(attribute(order), attribute(Overridden()), ROUNDS)
    yield Row("o.quantity = i", a, "ns", "__setattr__ overridden", b, None, ratio)


def reads() -> Iterator[Row]:
    """A read of what is watched; a store and a read of another instance of its class."""
    order, config, other = Order(), {"quantity": 1}, Order()
    watch(order, name="order")
    watch(config, name="config")

    class Alone(Order):
        pass

    get, item, put = (
        loop("o.quantity; o.quantity"),
        loop("o['quantity']; o['quantity']"),
        loop("o.quantity = i; o.price = i"),
    )
    for name, ours, theirs in (
        ("two reads of an attribute, watched", get(order), get(Alone())),
        ("two reads of a key, watched", item(config), item({"quantity": 1})),
        ("two reads, another instance", get(other), get(Alone())),
        ("two stores, another instance", put(other), put(Alone())),
    ):
        a, b, ratio = in_turn(ours, theirs, ROUNDS)
        yield Row(name, a, "ns", "nothing is watched", b, 1.02, ratio)


def rows() -> list[Row]:
    """All figures of this file, in one process."""
    with tempfile.TemporaryDirectory() as folder, writing_into(folder):
        return [
            *stores(),
            *reads(),
            Row("watch() of 100,000 objects", seconds(graph, depth=3, max_objects=200_000), "s", target=0.3),
            Row("watch() of 1,000,000 keys", seconds(lambda: dict.fromkeys(range(1_000_000), 1)), "s", target=1),
        ]


if __name__ == "__main__":
    from benchmarks.table import markdown

    print(markdown(rows()))
