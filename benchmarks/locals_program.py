"""A function that binds two names a turn, under one of the tracers: ns on a CPU of a turn, as JSON.
`python locals_program.py TRACER TURNS`, viztracer's through its own command: it rewrites this."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any


class Intercepted:
    """What a program would write to intercept assignments, without recording anything."""

    def __init__(self) -> None:
        self._quantity = 0

    @property
    def quantity(self) -> int:
        return self._quantity

    @quantity.setter
    def quantity(self, quantity: int) -> None:
        self._quantity = quantity


def bindings(turns: int) -> None:
    for i in range(turns):
        quantity = i  # noqa: F841


def plain(turns: int) -> None:
    """The same, which nobody watches."""
    for i in range(turns):
        quantity = i  # noqa: F841


def setter(turns: int) -> None:
    order = Intercepted()
    for i in range(turns):
        order.quantity = i


def nothing(turns: int) -> None:
    for i in range(turns):
        i  # noqa: B018


seen: list[Any] = []
_held: dict[str, Any] = {}


def compare(frame: FrameType) -> None:
    """Notes what has changed since the line before: name, both values, place, thread, time."""
    now = frame.f_locals
    for name, value in now.items():
        if (old := _held.get(name)) is not value:
            where = frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name
            seen.append((name, old, value, where, threading.get_ident(), time.time_ns()))
            _held[name] = value


def trace(frame: FrameType, event: str, argument: Any) -> Any:
    """For sys.settrace."""
    if frame.f_code is not bindings.__code__:
        return None
    compare(frame)
    return trace


def line(code: CodeType, number: int) -> None:
    """For sys.monitoring."""
    compare(sys._getframe(1))


def begin(tracer: str) -> Callable[[int], None]:
    """The function, traced."""
    nowhere = open(os.devnull, "w")  # noqa: SIM115 -- until the process ends
    if tracer == "memwatch":
        from memwatch_core import watch, watch_locals

        watch(0)
        watch_locals(bindings)
    elif tracer == "settrace":
        sys.settrace(trace)
    elif tracer == "monitoring":
        monitoring: Any = vars(sys)["monitoring"]
        monitoring.use_tool_id(2, "watcher")
        monitoring.register_callback(2, monitoring.events.LINE, line)
        monitoring.set_local_events(2, bindings.__code__, monitoring.events.LINE)
    elif tracer == "hunter":
        import hunter

        hunter.trace(function="bindings", action=hunter.VarsPrinter("i", "quantity", stream=nowhere))
    elif tracer == "watchpoints":
        return under_watchpoints(nowhere)
    return bindings


def under_watchpoints(nowhere: Any) -> Callable[[int], None]:
    """It watches a name where it stands."""
    from watchpoints import watch

    watch.config(file=nowhere)

    def watched(turns: int) -> None:
        quantity = i = -1
        watch(quantity)
        watch(i)
        for i in range(turns):
            quantity = i

    return watched


def main() -> None:
    tracer, turns = sys.argv[1], int(sys.argv[2])
    run = begin(tracer)
    run(turns)
    seen.clear()
    start = time.thread_time_ns()
    run(turns)
    took = (time.thread_time_ns() - start) / turns
    sys.settrace(None)
    print(json.dumps(took))


if __name__ == "__main__":
    main()
