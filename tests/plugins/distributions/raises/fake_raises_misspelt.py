"""Implements a hook that doesn't exist."""

from collections.abc import Iterable

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import Sink


@hookimpl
def memwatch_sink() -> Iterable[Sink]:
    return []
