"""What tracing costs a SQL statement, next to OpenTelemetry's instrumentation with an exporter that does nothing.

    python -m benchmarks.sql [DRIVER ...]

One process a subject and round, in turn, so that drift of the machine hits all alike; what counts is the time that the
client's process spends on a CPU, all its threads together. The statements run in one transaction, against a database in
memory (SQLite) or a private server. MemWatch writes its real journal. OpenTelemetry is installed by pip into an
environment beside ours that shares our drivers, and stays there.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.table import Row, markdown

ROOT = Path(__file__).parents[1]
PROGRAM = str(ROOT / "benchmarks/sql_program.py")
DRIVERS = {"sqlite3": 20_000, "sqlalchemy": 5_000, "psycopg": 5_000, "psycopg2": 5_000, "mysqlclient": 5_000}
"""Statements of a round."""
ROUNDS = 7
TARGET = 0.15
PLAIN_INSERT = 5.0
Took = dict[str, float]


def opentelemetry() -> str:
    """The Python of an environment that has it and sees our drivers. Raises CalledProcessError if pip can't."""
    folder = Path(sys.prefix) / "opentelemetry"
    python = folder / "bin/python"
    packages = ["opentelemetry-sdk", *(f"opentelemetry-instrumentation-{driver}" for driver in DRIVERS)]
    if not (folder / "complete").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True, capture_output=True)
        ours = Path(sysconfig.get_path("purelib"))
        (next(folder.glob("lib/python*/site-packages")) / "drivers.pth").write_text(f"{ours}\n")
        (folder / "complete").touch()
    return str(python)


@contextmanager
def database(driver: str) -> Iterator[dict[str, Any]]:
    """Keywords for the driver's ``connect``, while the block runs."""
    if driver in ("sqlite3", "sqlalchemy"):
        yield {"database": ":memory:"}
        return
    sys.path.insert(0, str(ROOT / "tests"))
    import servers

    with ExitStack() as stack:
        if driver == "mysqlclient":
            yield stack.enter_context(stack.enter_context(servers.mariadb.private()).fresh_database()).connect
        else:
            yield stack.enter_context(stack.enter_context(servers.postgresql.private()).fresh_database()).connect


def run(python: str, driver: str, traced_by: str, connect: dict[str, Any]) -> Took:
    """One round of one subject."""
    command = [python, PROGRAM, driver, traced_by, str(DRIVERS[driver]), json.dumps(connect)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{driver}, {traced_by}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def of(driver: str) -> list[Row]:
    """The rows of one driver."""
    pythons = {"plain": sys.executable, "memwatch": sys.executable, "opentelemetry": opentelemetry()}
    with database(driver) as connect:
        rounds = [{by: run(python, driver, by, connect) for by, python in pythons.items()} for _ in range(ROUNDS)]
    found = []
    for what in rounds[0]["plain"]:
        plain = statistics.median(each["plain"][what] for each in rounds)
        ours = statistics.median(each["memwatch"][what] - each["plain"][what] for each in rounds)
        theirs = statistics.median(each["opentelemetry"][what] - each["plain"][what] for each in rounds)
        figure = f"{driver}: on top of {'an ' * what.startswith('i')}{'a ' * what.startswith('r')}{what}"
        if what == "row fetched":
            found.append(Row(f"{figure} ({plain:.2f} µs)", ours, "µs"))  # OpenTelemetry doesn't look at rows
            continue
        found.append(Row(f"{figure} ({plain:.2f} µs)", ours, "µs", "OpenTelemetry", theirs, TARGET))
        if driver == "sqlite3":
            found.append(Row(f"{figure}, by itself", ours, "µs", target=PLAIN_INSERT))
    return found


def rows() -> list[Row]:
    """What `make bench` prints."""
    return [row for driver in DRIVERS for row in of(driver)]


if __name__ == "__main__":
    print(markdown([row for driver in sys.argv[1:] or DRIVERS for row in of(driver)]))
