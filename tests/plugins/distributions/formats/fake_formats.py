"""Offers the format of a type, and nothing else."""

from collections.abc import Iterable

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import TypeFormat


@hookimpl
def memwatch_serializers() -> Iterable[TypeFormat]:
    yield TypeFormat("money.Money", ("Money({cents})",))
