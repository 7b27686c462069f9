"""Traces psycopg2: publishes what connections do that are made by ``psycopg2.connect``."""

from __future__ import annotations

from collections.abc import Iterator

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import SqlDriver

from .driver import driver

__all__ = ["driver"]


@hookimpl
def memwatch_sql() -> Iterator[SqlDriver]:
    yield driver.record
