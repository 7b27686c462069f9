"""Yields what isn't a record."""

from collections.abc import Iterable

from memwatch_core.hookspecs import hookimpl


@hookimpl
def memwatch_sinks() -> Iterable[str]:
    yield "a sink"
