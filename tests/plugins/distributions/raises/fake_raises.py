"""Its hook raises."""

from collections.abc import Iterable

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import Sink


@hookimpl
def memwatch_sinks() -> Iterable[Sink]:
    raise LookupError("no sink today")
