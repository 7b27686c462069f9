"""Plugins that are objects: drivers in order, and broken ones."""

from collections.abc import Iterable
from typing import Any

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import SqlDriver


class Driver:
    def __init__(self, name: str) -> None:
        self.name = name

    @hookimpl
    def memwatch_sql(self) -> Iterable[SqlDriver]:
        yield SqlDriver(self.name, "does nothing", "json", lambda tracer: None, lambda: None)


class Derived(Driver):
    pass


class MoreArguments:
    @hookimpl
    def memwatch_sql(self, tracer: Any) -> Iterable[SqlDriver]:
        return ()


class Misspelt:
    def __repr__(self) -> str:
        return "the object"

    @hookimpl
    def memwatch_sqls(self) -> Iterable[SqlDriver]:
        return ()


in_order, inherited, more_arguments, misspelt = Driver("in-order"), Derived("inherited"), MoreArguments(), Misspelt()
nothing = object()
