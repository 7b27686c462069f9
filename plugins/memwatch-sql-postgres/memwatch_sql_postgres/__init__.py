"""Traces postgres.js in Node.js programs, by ``driver.js``, which is also in the npm package."""

from __future__ import annotations

from collections.abc import Iterator

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import SqlDriver
from memwatch_plugins.sql import node_driver


@hookimpl
def memwatch_sql() -> Iterator[SqlDriver]:
    """The one driver."""
    yield node_driver("postgres", "PostgreSQL in Node.js, by postgres.js", "postgres", __file__)
