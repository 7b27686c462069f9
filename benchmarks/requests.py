"""What it costs to say on whose behalf a write is made: in a label, a task, a span, against none of them."""

from __future__ import annotations

import asyncio
import contextvars
import tempfile
from collections.abc import Callable

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from benchmarks.stacks import assign, empty
from benchmarks.table import Row, in_turn
from benchmarks.writing import writing_into
from memwatch_core import label, watch

ROUNDS = 201


def in_task(measure: Callable[[], float]) -> float:
    async def main() -> float:
        return measure()

    return asyncio.run(main())


def in_label(measure: Callable[[], float]) -> float:
    with label("order 17"):
        return measure()


def in_span(measure: Callable[[], float]) -> float:
    with trace.use_span(TRACER.start_span("order")):
        return measure()


TRACER = TracerProvider().get_tracer("benchmarks")
FLOWS: list[tuple[str, Callable[[Callable[[], float]], float]]] = [
    ("in a label", in_label),
    ("in a task of asyncio", in_task),
    ("in a span of OpenTelemetry", in_span),
]


def rows() -> list[Row]:
    """All figures of this file, in one process."""
    with tempfile.TemporaryDirectory() as folder, writing_into(folder):
        number = watch(0)

        def net() -> float:
            assign(number)  # what is new isn't meant
            return assign(number) - empty(None)

        def nowhere() -> float:
            return contextvars.Context().run(net)

        found = []
        for name, flow in FLOWS:

            def within(flow: Callable[[Callable[[], float]], float] = flow) -> float:
                return flow(net)

            a, b, ratio = in_turn(within, nowhere, ROUNDS)
            found.append(Row(f"p.value = i, {name}", a, "ns", "in none", b, 1.2, ratio))
        return found


if __name__ == "__main__":
    from benchmarks.table import markdown

    print(markdown(rows()))
