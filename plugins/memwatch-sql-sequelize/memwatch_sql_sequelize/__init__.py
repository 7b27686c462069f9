"""Traces sequelize in Node.js programs, by ``driver.js``, which is also in the npm package."""

from __future__ import annotations

from collections.abc import Iterator

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import SqlDriver
from memwatch_plugins.sql import node_driver


@hookimpl
def memwatch_sql() -> Iterator[SqlDriver]:
    """The one driver."""
    yield node_driver("sequelize", "ORM in Node.js, by sequelize (partial)", "sequelize", __file__)
