"""Offers a sink under another name than its entry point's."""

from collections.abc import Iterable

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import Sink


@hookimpl
def memwatch_sinks() -> Iterable[Sink]:
    yield Sink(name="rightname", summary="", open=lambda settings: settings)
