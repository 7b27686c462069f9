"""Traces the standard library's SQLite, and aiosqlite, which calls it from a thread of its own."""

from __future__ import annotations

from collections.abc import Iterator

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import SqlDriver

from .driver import driver

__all__ = ["driver"]


@hookimpl
def memwatch_sql() -> Iterator[SqlDriver]:
    yield driver.record
