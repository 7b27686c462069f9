"""What tracing costs a statement of a Node.js driver, next to OpenTelemetry's instrumentation of the same driver.

OpenTelemetry's exporter does nothing; MemWatch writes its journal, and a value is watched. Three processes in turn:
what counts is the CPU time of each, beyond that of the one that nobody traces.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.answers import answering
from benchmarks.node import NODES, PACKAGE, ROOT
from benchmarks.sql import database
from benchmarks.table import Row

LOOPS = Path(__file__).with_name("node_sql_loops.js")
SERVERS = {"pg": "psycopg", "mysql2": "mysqlclient"}
"""Driver -> one of Python's for the same server."""
SUBJECTS = ("plain", "memwatch", "opentelemetry")
ROUNDS = 21
TARGET = 0.25
Ask = Callable[[str], float]


def modules(folder: Path) -> None:
    """Drivers, OpenTelemetry, MemWatch with its plugins. Raises OSError where they aren't installed."""
    into = folder / "node_modules"
    (into / "@memwatch").mkdir(parents=True)
    for packages in ("drivers", "opentelemetry"):
        for package in (ROOT / ".node" / packages / "node_modules").iterdir():
            if not package.name.startswith(".") and not (into / package.name).exists():
                (into / package.name).symlink_to(package)
    (into / "@memwatch" / "node").symlink_to(PACKAGE)
    for driver in SERVERS:
        (into / "@memwatch" / f"sql-{driver}").symlink_to(ROOT / f"plugins/memwatch-sql-{driver}")
    (folder / LOOPS.name).write_text(LOOPS.read_text())


def connection(given: dict[str, Any]) -> dict[str, Any]:
    """What a driver of Node.js calls what one of Python is given."""
    return {"database" if name == "dbname" else name: value for name, value in given.items()}


def of(driver: str, version: int, node: Path, connect: dict[str, Any]) -> Row:
    """One driver on one version."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MEMWATCH_", "NODE_"))}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        modules(Path(folder))
        config = json.dumps(connection(connect))
        asks: dict[str, Ask] = {}
        for who in SUBJECTS:
            registered = ["--require", "@memwatch/node/register"] if who == "memwatch" else []
            command = [str(node), *registered, LOOPS.name, driver, who, config]
            asks[who] = stack.enter_context(answering(command, folder=folder, environment=clean))
        rounds = [{who: ask("insert") for who, ask in asks.items()} for _ in range(ROUNDS)]
    plain = statistics.median(each["plain"] for each in rounds)
    ours, theirs = (statistics.median(each[who] - each["plain"] for each in rounds) for who in SUBJECTS[1:])
    figure = f"{driver}: on top of an insert, 2 parameters ({plain:.0f} µs), Node {version}"
    return Row(figure, ours, "µs", "OpenTelemetry", theirs, TARGET)


def rows() -> list[Row]:
    """A row for each driver and each version of Node.js that is here."""
    found: list[Row] = []
    for driver, server in SERVERS.items():
        with database(server) as connect:
            found += [of(driver, version, node, connect) for version, node in NODES if node.exists()]
    return found
