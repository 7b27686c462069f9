"""Traces sequelize in Node.js programs: what it does is in ``driver.js``, which the npm package has as well."""

from __future__ import annotations

from collections.abc import Iterator

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import SqlDriver
from memwatch_plugins.sql import node_driver


@hookimpl
def memwatch_sql() -> Iterator[SqlDriver]:
    """One."""
    yield node_driver("sequelize", "ORM in Node.js, by sequelize (partial)", "sequelize", __file__)
