"""A loop of stores to an attribute, and one that touches nothing watched, under one of the tracers: ns on a CPU of a
turn of each, as JSON. `python tracers_program.py TRACER TURNS`, viztracer's through its own command: it rewrites this.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from functools import partial
from typing import Any


class Order:
    def __init__(self) -> None:
        self.quantity = -1


class Recording:
    """What a program would write by itself: each assignment with its line, thread and both values."""

    seen: list[Any]

    def __init__(self) -> None:
        self.__dict__["quantity"] = -1
        self.__dict__["seen"] = []

    def __setattr__(self, name: str, value: Any) -> None:
        frame = sys._getframe(1)
        where = frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name
        self.seen.append((name, getattr(self, name, None), value, where, threading.get_ident(), time.time_ns()))
        object.__setattr__(self, name, value)


def stores(o: Any, turns: int) -> None:
    for i in range(turns):
        o.quantity = i


def others(turns: int) -> int:
    total = 0
    for i in range(turns):
        total += i
    return total


def begin(tracer: str) -> Any:
    """The object to store to, traced."""
    order: Any = Recording() if tracer == "__setattr__" else Order()
    nowhere = open(os.devnull, "w")  # noqa: SIM115 -- until the process ends
    if tracer == "memwatch":
        from memwatch_core import watch_place

        watch_place(order, "quantity")
    elif tracer == "watchpoints":
        from watchpoints import watch

        watch.config(file=nowhere)
        watch(order.quantity)
    elif tracer == "hunter":
        import hunter

        hunter.trace(module=__name__, action=hunter.VarsPrinter("o.quantity", stream=nowhere))
    return order


def main() -> None:
    tracer, turns = sys.argv[1], int(sys.argv[2])
    order, took = begin(tracer), []
    for run in (partial(stores, order, turns), partial(others, turns)):
        run()
        start = time.thread_time_ns()
        run()
        took.append((time.thread_time_ns() - start) / turns)
    print(json.dumps(dict(zip(("stores", "others"), took, strict=True))))


if __name__ == "__main__":
    main()
