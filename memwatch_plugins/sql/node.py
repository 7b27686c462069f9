"""The Python side of a driver for a Node.js library: its name, and where its JavaScript is."""

from __future__ import annotations

from pathlib import Path

from memwatch_core.records import SqlDriver


def node_driver(name: str, summary: str, target: str, beside: str) -> SqlDriver:
    """The record of a plugin whose ``driver.js`` is beside the Python file ``beside``; ``target`` is the npm package.

    The bridge passes it to the session's Node.js programs (docs/sql.md describes how to write one). In a Python program
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
