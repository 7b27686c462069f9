"""What tracing costs a SQLite statement, next to OpenTelemetry's instrumentation with an exporter that does nothing.

    python benchmarks/sql.py [--statements N] [--rounds N] [--no-opentelemetry]

One process a subject and round, in turn, so that drift of the machine hits all alike; the table shows medians of the
time that the process spent on a CPU, all its threads together. The statements insert into a database in memory, in one
transaction. MemWatch writes its real journal (in a temporary folder). OpenTelemetry is installed by pip into a virtual
environment that is thrown away.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

MEASURE = """
import json, sqlite3, sys, time
def measure(statements):
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a INTEGER, b TEXT)")
    cursor = connection.cursor()
    def insert(n):
        for i in range(n):
            cursor.execute("INSERT INTO t VALUES (?, ?)", (i, "name"))
    def without(n):
        for i in range(n):
            cursor.execute("INSERT INTO t VALUES (7, 'name')")
    def rows(n):
        for row in cursor.execute("SELECT a, b FROM t LIMIT ?", (n,)):
            pass
    took = {}
    for name, run in (("insert, 2 parameters", insert), ("insert, no parameters", without), ("row fetched", rows)):
        run(statements // 10)
        begin = time.process_time()
        run(statements)
        took[name] = (time.process_time() - begin) / statements * 1e6
    print(json.dumps(took))
"""

MEMWATCH = """
import tempfile
from memwatch_core.adapter.contexts import SqlContexts
from memwatch_core.config import Config
from memwatch_core.loading.discovery import Plugins
from memwatch_core.adapter.join import join
from memwatch_core.loading.report import LoadReport
from memwatch_core.journal.session import create_session
from memwatch_sql_sqlite3 import driver
folder = tempfile.TemporaryDirectory()
part = join(create_session(folder.name, ["benchmark"]), Config(), Plugins((), (driver.record,), (), (), LoadReport(())))
measure(int(sys.argv[1]))
part.leave()
"""

OPENTELEMETRY = """
from opentelemetry import trace
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
class Nothing(SpanExporter):
    def export(self, spans): return SpanExportResult.SUCCESS
    def shutdown(self): pass
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Nothing()))
trace.set_tracer_provider(provider)
SQLite3Instrumentor().instrument()
measure(int(sys.argv[1]))
"""


def opentelemetry(folder: Path) -> str | None:
    """The Python of an environment that has it, None if it can't be installed."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    packages = ["opentelemetry-sdk", "opentelemetry-instrumentation-sqlite3"]
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", *packages], capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"OpenTelemetry can't be installed: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return python


def run(python: str, code: str, statements: int) -> dict[str, float]:
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path} if python == sys.executable else None
    command = [python, "-c", MEASURE + code, str(statements)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--statements", type=int, default=20_000)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--no-opentelemetry", action="store_true")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        subjects = {"plain": (sys.executable, "measure(int(sys.argv[1]))"), "MemWatch": (sys.executable, MEMWATCH)}
        if not chosen.no_opentelemetry and (python := opentelemetry(Path(folder))):
            subjects["OpenTelemetry"] = (python, OPENTELEMETRY)
        took: dict[str, list[dict[str, float]]] = {name: [] for name in subjects}
        for _ in range(chosen.rounds):
            for name, (python, code) in subjects.items():
                took[name].append(run(python, code, chosen.statements))
    print(
        f"{'µs, medians of ' + str(chosen.rounds):28}" + "".join(f"{name:>16}" for name in subjects) + f"{'on top':>10}"
    )
    for what in took["plain"][0]:
        medians = {name: statistics.median(each[what] for each in rounds) for name, rounds in took.items()}
        on_top = medians["MemWatch"] - medians["plain"]
        line = f"{what:28}" + "".join(f"{value:16.2f}" for value in medians.values()) + f"{on_top:10.2f}"
        if "OpenTelemetry" in medians:
            line += f"   {on_top / (medians['OpenTelemetry'] - medians['plain']):.2f} x OpenTelemetry's"
        print(line)
    print("targets: 5 µs on top of an insert; 0.15 x OpenTelemetry's")


if __name__ == "__main__":
    main()
