"""A driver of a Node.js library, as Python sees it: a name, and where its JavaScript is."""

from __future__ import annotations

from pathlib import Path

from memwatch_core.records import SqlDriver


def node_driver(name: str, summary: str, target: str, beside: str) -> SqlDriver:
    """The record of a plugin whose ``driver.js`` lies beside the Python file ``beside``; ``target``: the npm package.

    The bridge hands it to the Node.js programs of a session (docs/sql.md says how it is written). In a Python program
    it does nothing.
    """
    module = Path(beside).with_name("driver.js")
    return SqlDriver(
        name=name,
        summary=summary,
        target=target,
        install=lambda tracer: None,
        uninstall=lambda: None,
        runtime="node",
        module=str(module),
    )
