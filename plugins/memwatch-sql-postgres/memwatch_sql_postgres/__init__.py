"""Traces postgres.js in Node.js programs, by ``driver.js``, which the npm package of the same name has as well."""

from __future__ import annotations

from collections.abc import Iterator

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import SqlDriver
from memwatch_plugins.sql import node_driver


@hookimpl
def memwatch_sql() -> Iterator[SqlDriver]:
    """One."""
    yield node_driver("postgres", "PostgreSQL in Node.js, by postgres.js", "postgres", __file__)
