"""Plugins for libraries that aren't installed: this one looks its target up, ``eager`` imports it."""

from collections.abc import Iterable

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import SqlDriver, SqlTracer


def _install(tracer: SqlTracer) -> None:
    raise RuntimeError("installed, though the target library is absent")


@hookimpl
def memwatch_sql() -> Iterable[SqlDriver]:
    yield SqlDriver(
        name="absent", summary="a database of dreams", target="nosuchdb", install=_install, uninstall=lambda: None
    )
