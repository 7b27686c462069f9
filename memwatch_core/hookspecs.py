"""The hooks: what a MemWatch plugin can offer.

A plugin is a module (or object) named by an entry point; the entry point's name is what configuration files use. It
implements one hook, and that hook returns records. Reading this page is enough to write one; the smallest is

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

from .records import Bridge, Serializer, Sink, SqlDriver

F = TypeVar("F", bound=Callable[..., object])


@overload
def hookimpl(function: F) -> F: ...


@overload
def hookimpl(**options: Any) -> Callable[[F], F]: ...


def hookimpl(function: Any = None, **options: Any) -> Any:
    """Marks a plugin's hook, as ``pluggy.HookimplMarker("memwatch")`` does, which need not be imported for it: a
    watched program is spared that. ``options`` are pluggy's."""
    if function is None or options:
        import pluggy

        return pluggy.HookimplMarker("memwatch")(function, **options)
    function.memwatch_impl = {}
    return function


def hookspec(function: F) -> F:
    """Marks what can be implemented, as ``pluggy.HookspecMarker("memwatch")`` does."""
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
def memwatch_serializers() -> Iterable[Serializer]:
    """Offer ways to keep values of some types in a page.

    .. code-block:: python

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
    """
    raise NotImplementedError


@hookspec
def memwatch_sql() -> Iterable[SqlDriver]:
    """Offer to trace a database driver.

    .. code-block:: python

        @hookimpl
        def memwatch_sql():
            yield SqlDriver(name="sqlite3", summary="the standard library's SQLite", target="sqlite3",
                            install=tracing.install, uninstall=tracing.uninstall)
    """
    raise NotImplementedError


@hookspec
def memwatch_sinks() -> Iterable[Sink]:
    """Offer an output for events.

    .. code-block:: python

        @hookimpl
        def memwatch_sinks():
            yield Sink(name="example", summary="prints each change", open=lambda settings: Printer())
    """
    raise NotImplementedError


@hookspec
def memwatch_bridges() -> Iterable[Bridge]:
    """Offer to start programs of another runtime so that they write into the session.

    .. code-block:: python

        @hookimpl
        def memwatch_bridges():
            yield Bridge(name="node", summary="Node.js", matches=lambda command: command[0].endswith("node"),
                         prepare=add_require_flag)
    """
    raise NotImplementedError
