"""What a binding of a watched local costs: beside a property's setter, and beside what else tells of each binding.

The functions that are compared bind five names in each turn of a loop. `sys.settrace` and `sys.monitoring` are here
what a program would write: after each line, every local is compared with what it was, and a change is kept with its
line and both values. hunter, viztracer and watchpoints run in processes of their own, in turn with ours, as in
benchmarks/tracers.py. Processor time.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from benchmarks import tracers
from benchmarks.table import Row
from benchmarks.writing import Plain, writing_into
from memwatch_core import watch_locals

TURNS, WARM = 400, 40
ROUNDS = 51
HEAD = "def work(turns, o):\n    for i in range(turns):\n"
FIVE = "        a = i\n        b = i\n        c = i\n        d = i\n"
SUM = "        total += i\n"
PROGRAM = str(tracers.ROOT / "benchmarks/locals_program.py")
LOG = ("--log_var", "first|second|third|fourth|fifth")
RIVALS = {"viztracer": "viztracer --log_var", "hunter": "hunter, VarsPrinter", "watchpoints": "watchpoints"}

Seen = list[tuple[str, int, str, Any, Any]]


class Comparing:
    """Compares the locals of one function after each of its lines, in a dict for each call."""

    def __init__(self, code: CodeType) -> None:
        self.code = code
        self.known: dict[str, Any] = {}
        self.seen: Seen = []
        self.line = 0

    def compare(self, frame: FrameType, line: int) -> None:
        known, held = self.known, frame.f_locals
        for name in held:
            new = held[name]
            if name not in known or known[name] is not new:
                self.seen.append((self.code.co_name, self.line, name, known.get(name), new))
                known[name] = new
        self.line = line

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        """For sys.settrace."""
        if frame.f_code is not self.code:
            return None
        self.compare(frame, frame.f_lineno)
        return self.trace

    def note(self, _: CodeType, line: int) -> None:
        """For sys.monitoring, of lines."""
        self.compare(sys._getframe(1), line)


def made(body: str, before: str = "") -> Any:
    """A function with a code object of its own: one that is shared shares its specialisations."""
    space: dict[str, Any] = {"__name__": "work"}
    exec(HEAD.replace("\n", f"\n{before}", 1) + body, space)
    return space["work"]


def timed(function: Any, argument: object = None) -> float:
    """ns on a CPU, of a turn. The first ones find in the caches what was measured before, and don't count."""
    function(WARM, argument)
    start = time.thread_time_ns()
    function(TURNS, argument)
    return (time.thread_time_ns() - start) / TURNS


def traced(function: Any) -> float:
    """The same under sys.settrace."""
    comparing, before = Comparing(function.__code__), sys.gettrace()
    sys.settrace(comparing.trace)
    try:
        return timed(function)
    finally:
        sys.settrace(before)
        assert len(comparing.seen) >= 5 * TURNS - 5, "a binding wasn't seen"


def monitored(function: Any) -> float:
    """The same under a tool of sys.monitoring, asked for this function's lines alone."""
    comparing, code = Comparing(function.__code__), function.__code__
    monitoring = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
    monitoring.use_tool_id(3, "comparing")
    monitoring.register_callback(3, monitoring.events.LINE, comparing.note)
    monitoring.set_local_events(3, code, monitoring.events.LINE)
    try:
        return timed(function)
    finally:
        monitoring.set_local_events(3, code, 0)
        monitoring.free_tool_id(3)
        assert len(comparing.seen) >= 5 * TURNS - 5, "a binding wasn't seen"


def ratios(measures: dict[str, tuple[Callable[[], float], int]]) -> dict[str, tuple[float, float]]:
    """ns of one binding, by each, and the median of what the first takes in relation to it. All in turn. With each: how
    many bindings a turn has; an empty turn of the same round is taken off."""
    nothing, rounds = made("        pass\n"), list[dict[str, float]]()
    for _ in range(ROUNDS):
        empty = timed(nothing)
        rounds.append({by: (measure() - empty) / bindings for by, (measure, bindings) in measures.items()})
    ours = next(iter(measures))
    return {
        by: (
            statistics.median(each[by] for each in rounds),
            statistics.median(each[ours] / each[by] for each in rounds),
        )
        for by in measures
    }


def in_this_process() -> list[Row]:
    """Ours, the setter, and the two that the interpreter has."""
    watched, plain, monitor = watch_locals(made(FIVE)), made(FIVE), made(FIVE)
    sums, setter = watch_locals(names=["total"])(made(SUM, "    total = 0\n")), made("        o.value = i\n")
    o = Plain()
    by: dict[str, tuple[Callable[[], float], int]] = {
        "ours": (lambda: timed(watched), 5),
        "setter": (lambda: timed(setter, o), 1),
        "sum": (lambda: timed(sums), 1),
        "settrace": (lambda: traced(plain), 5),
    }
    if sys.version_info >= (3, 12):
        by["monitoring"] = (lambda: monitored(monitor), 5)
    closed = ratios({"ours": by["ours"]})["ours"][0]
    with tempfile.TemporaryDirectory() as folder, writing_into(folder):
        found = ratios(by)
    ours, figure = found["ours"][0], "a = i, watched"
    rows = [
        Row(figure, ours, "ns", "a property's setter", found["setter"][0], 1.5, found["setter"][1]),
        Row(figure, ours, "ns", "sys.settrace, comparing", found["settrace"][0], 0.1, found["settrace"][1]),
    ]
    if "monitoring" in found:
        theirs, ratio = found["monitoring"]
        rows.append(Row(figure, ours, "ns", "sys.monitoring, comparing", theirs, None, ratio))
    setter_ns = found["setter"][0]
    return [
        *rows,
        Row("total += i, watched", found["sum"][0], "ns", "a property's setter", setter_ns, None),
        Row("a = i, watched, without a journal", closed, "ns"),
    ]


def beside_tracers() -> list[Row]:
    """Ours beside each of the others that can be had, a process each."""
    python = tracers.installed()
    rivals = {by: name for by, name in RIVALS.items() if by in tracers.RIVALS}
    with tempfile.TemporaryDirectory() as folder:
        rounds = [
            {by: tracers.run(by, python, folder, PROGRAM, LOG)["locals"] for by in ("memwatch", *rivals)}
            for _ in range(tracers.ROUNDS)
        ]
    ours = statistics.median(each["memwatch"] for each in rounds)
    return [
        Row(
            "a turn that binds five names",
            ours,
            "ns",
            name,
            statistics.median(each[by] for each in rounds),
            None,
            statistics.median(each["memwatch"] / each[by] for each in rounds),
        )
        for by, name in rivals.items()
    ]


def rows() -> list[Row]:
    """What `make bench` prints."""
    return in_this_process() + beside_tracers()


if __name__ == "__main__":
    from benchmarks.table import markdown

    print(markdown(rows()))
