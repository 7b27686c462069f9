"""The hooks: what a MemWatch plugin can offer.

A plugin is a module (or object) named by an entry point; configuration files use the entry point's name. It implements
one hook, which returns records. This page is all you need to write one. The smallest plugin:

.. code-block:: python

    # memwatch_sink_example.py, with this in its pyproject.toml:
    #     [project.entry-points."memwatch.sinks"]
    #     example = "memwatch_sink_example"
    from memwatch_core.hookspecs import hookimpl
    from memwatch_core.records import Event, Sink

    class Printer:
        def write(self, records):
            for record in records:
                if isinstance(record, Event):
                    print(record.variable, record.old, "->", record.new)
        def flush(self): ...
        def close(self): ...

    @hookimpl
    def memwatch_sinks():
        yield Sink(name="example", summary="prints each change", open=lambda settings: Printer())

The same noun names a hook, its entry-point group, its table in the configuration and its page in the documentation:
``memwatch_sinks``, ``memwatch.sinks``, ``plugins.sinks``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, overload

from .records import Bridge, Serializer, Sink, SqlDriver, TypeFormat

F = TypeVar("F", bound=Callable[..., object])


@overload
def hookimpl(function: F) -> F: ...


@overload
def hookimpl(**options: Any) -> Callable[[F], F]: ...


def hookimpl(function: Any = None, **options: Any) -> Any:
    """Marks a plugin's hook, as ``pluggy.HookimplMarker("memwatch")`` does, but without importing pluggy into watched
    programs. ``options`` are pluggy's."""
    if function is None or options:
        import pluggy

        return pluggy.HookimplMarker("memwatch")(function, **options)
    function.memwatch_impl = {}
    return function


def hookspec(function: F) -> F:
    """Marks a hook specification, as ``pluggy.HookspecMarker("memwatch")`` does."""
    function.memwatch_spec = {}  # type: ignore[attr-defined]
    return function


GROUPS = {
    "serializers": "memwatch.serializers",
    "sql": "memwatch.sql",
    "sinks": "memwatch.sinks",
    "bridges": "memwatch.bridges",
}
"""Kind of plugin -> entry-point group."""


@hookspec
def memwatch_serializers() -> Iterable[Serializer | TypeFormat]:
    """Offer ways to keep values of some types in a page, or to write them where they lie in a watched object.

    .. code-block:: python

        from decimal import Decimal

        from memwatch_core.hookspecs import hookimpl
        from memwatch_core.records import Layout, Serializer, TypeFormat

        def layout(value, options):
            if options:
                raise TypeError(f"decimal2 has no option {', '.join(options)}")
            return Layout("object", 8)

        @hookimpl
        def memwatch_serializers():
            yield Serializer(
                name="decimal2", summary="Decimal with two places, as a 64-bit count of cents",
                accepts=lambda value: isinstance(value, Decimal),
                layout=layout,
                encode=lambda value, options: int(value * 100).to_bytes(8, "little", signed=True),
                decode=lambda data, options: Decimal(int.from_bytes(data, "little", signed=True)) / 100,
            )
            # order.total, of class Money in the program's money.py: Money(1250, 'EUR')
            yield TypeFormat("money.Money", ("Money({cents}, {currency.code})",))
    """
    raise NotImplementedError


@hookspec
def memwatch_sql() -> Iterable[SqlDriver]:
    """Offer to trace a database driver. The example traces only ``Connection.execute``. For a library that follows PEP
    249, start from ``memwatch_plugins.sql`` instead, which traces everything else too.

    .. code-block:: python

        import functools
        import sqlite3

        from memwatch_core.hookspecs import hookimpl
        from memwatch_core.records import SqlDriver

        connect = sqlite3.connect

        def install(tracer):
            class Traced(sqlite3.Connection):
                def execute(self, statement, *parameters):
                    token = tracer.statement_begins("example", statement, connection=self, dialect="sqlite")
                    try:
                        cursor = super().execute(statement, *parameters)
                    except BaseException as error:
                        tracer.statement_ends(token, error=error)
                        raise
                    tracer.statement_ends(token, in_transaction=self.in_transaction)
                    return cursor

            sqlite3.connect = functools.partial(connect, factory=Traced)

        def uninstall():
            sqlite3.connect = connect

        @hookimpl
        def memwatch_sql():
            yield SqlDriver(name="example", summary="statements of sqlite3's connections", target="sqlite3",
                            install=install, uninstall=uninstall)
    """
    raise NotImplementedError


@hookspec
def memwatch_sinks() -> Iterable[Sink]:
    """Offer an output for events. The class ``Printer`` is at the top of this page.

    .. code-block:: python

        from memwatch_core.hookspecs import hookimpl
        from memwatch_core.records import Sink

        @hookimpl
        def memwatch_sinks():
            yield Sink(name="example", summary="prints each change", open=lambda settings: Printer())
    """
    raise NotImplementedError


@hookspec
def memwatch_bridges() -> Iterable[Bridge]:
    """Offer to start programs of another runtime so that they write into the session.

    .. code-block:: python

        import os

        from memwatch_core.hookspecs import hookimpl
        from memwatch_core.records import Bridge

        def prepare(command, environment):
            return command, {**environment, "NODE_OPTIONS": "--require=@memwatch/node/register"}

        @hookimpl
        def memwatch_bridges():
            yield Bridge(name="example", summary="Node.js", prepare=prepare,
                         matches=lambda command: os.path.basename(command[0]) == "node")
    """
    raise NotImplementedError
