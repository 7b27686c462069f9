# ruff: noqa: F841 -- what is bound is what is told
"""A loop that binds five names in each turn, under one of the tracers: ns on a CPU of a turn, as JSON.
`python locals_program.py TRACER TURNS`, viztracer's through its own command: it rewrites this.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

NAMES = ("first", "second", "third", "fourth", "fifth")


def binds(turns: int) -> None:
    for first in range(turns):
        second = first
        third = first
        fourth = first
        fifth = first


def binds_watched(turns: int) -> None:
    """The same for watchpoints: it is told of the names while the function runs."""
    from watchpoints import unwatch, watch

    first = second = third = fourth = fifth = -1
    watch(first, second, third, fourth, fifth)
    for first in range(turns):
        second = first
        third = first
        fourth = first
        fifth = first
    unwatch()


def begin(tracer: str) -> Callable[[int], None]:
    """The function, traced."""
    nowhere = open(os.devnull, "w")  # noqa: SIM115 -- until the process ends
    if tracer == "memwatch":
        from memwatch_core import watch, watch_locals

        watch(0, name="opens the journal")
        return watch_locals(binds)
    if tracer == "watchpoints":
        import watchpoints

        watchpoints.watch.config(file=nowhere)
        return binds_watched
    if tracer == "hunter":
        import hunter

        hunter.trace(function="binds", module=__name__, action=hunter.VarsPrinter(*NAMES, stream=nowhere))
    return binds


def main() -> None:
    tracer, turns = sys.argv[1], int(sys.argv[2])
    run = begin(tracer)
    run(turns)
    start = time.thread_time_ns()
    run(turns)
    print(json.dumps({"locals": (time.thread_time_ns() - start) / turns}))


if __name__ == "__main__":
    main()
