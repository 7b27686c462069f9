"""The program that benchmarks/sql.py measures: one driver, plain or traced by one of two.

    python sql_program.py DRIVER plain|memwatch|opentelemetry STATEMENTS CONNECT

CONNECT is JSON: keywords for the driver's ``connect``. Prints JSON: µs of CPU time for each statement, by what was run.
It imports nothing of ours or of OpenTelemetry's unless it is traced by it.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

MODULES = {"sqlite3": "sqlite3", "psycopg": "psycopg", "psycopg2": "psycopg2", "mysqlclient": "MySQLdb"}
INSTRUMENTORS = {
    "sqlite3": "sqlite3.SQLite3Instrumentor",
    "psycopg": "psycopg.PsycopgInstrumentor",
    "psycopg2": "psycopg2.Psycopg2Instrumentor",
    "mysqlclient": "mysqlclient.MySQLClientInstrumentor",
    "sqlalchemy": "sqlalchemy.SQLAlchemyInstrumentor",
}


def plain(driver: str) -> Callable[[], None]:
    """Traces nothing."""
    return lambda: None


def memwatch(driver: str) -> Callable[[], None]:
    """Traces into a real journal, in a temporary folder. Returns what ends that."""
    import tempfile

    from memwatch_core.adapter.join import join
    from memwatch_core.config import Config
    from memwatch_core.journal.session import create_session

    config = Config.of({"plugins": {"serializers": [], "sql": [driver]}, "watch": {"track_sql": True}})
    folder = tempfile.TemporaryDirectory()
    member = join(create_session(folder.name, ["benchmark"]), config)

    def leave() -> None:
        member.leave()
        folder.cleanup()

    return leave


def opentelemetry(driver: str) -> Callable[[], None]:
    """Traces to an exporter that does nothing."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

    class Nothing(SpanExporter):  # type: ignore[misc,unused-ignore]
        def export(self, spans: Any) -> Any:
            return SpanExportResult.SUCCESS

        def shutdown(self) -> None: ...

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Nothing()))
    trace.set_tracer_provider(provider)
    module, _, name = INSTRUMENTORS[driver].rpartition(".")
    instrumentor = getattr(importlib.import_module(f"opentelemetry.instrumentation.{module}"), name)()
    instrumentor.instrument(skip_dep_check=True)
    return lambda: None


def dbapi(driver: str, connect: dict[str, Any]) -> dict[str, Callable[[int], None]]:
    """What is run, by its name; each takes how many times."""
    connection = importlib.import_module(MODULES[driver]).connect(**connect)
    cursor = connection.cursor()
    temporary = "" if driver == "sqlite3" else "TEMPORARY "
    mark = "?" if driver == "sqlite3" else "%s"
    cursor.execute(f"CREATE {temporary}TABLE bench (a INTEGER, b VARCHAR(10))")
    insert = f"INSERT INTO bench VALUES ({mark}, {mark})"
    if driver == "sqlite3":
        connection.commit()

    def parameters(n: int) -> None:
        for i in range(n):
            cursor.execute(insert, (i, "name"))

    def none(n: int) -> None:
        for _ in range(n):
            cursor.execute("INSERT INTO bench VALUES (7, 'name')")

    def rows(n: int) -> None:
        cursor.execute(f"SELECT a, b FROM bench LIMIT {n}")
        for _ in cursor:
            pass

    return {"insert, 2 parameters": parameters, "insert, no parameters": none, "row fetched": rows}


def sqlalchemy(connect: dict[str, Any]) -> dict[str, Callable[[int], None]]:
    """The same with SQLAlchemy Core, over a SQLite database in memory."""
    import sqlalchemy as sa

    connection = sa.create_engine("sqlite://").connect()
    table = sa.Table("bench", sa.MetaData(), sa.Column("a", sa.Integer), sa.Column("b", sa.String(10)))
    table.create(connection)
    insert = sa.insert(table)

    def parameters(n: int) -> None:
        for i in range(n):
            connection.execute(insert, {"a": i, "b": "name"})

    return {"insert, 2 parameters": parameters}


def main() -> None:
    driver, traced_by, statements, connect = sys.argv[1:]
    n = int(statements)
    leave = {"plain": plain, "memwatch": memwatch, "opentelemetry": opentelemetry}[traced_by](driver)
    runs = sqlalchemy({}) if driver == "sqlalchemy" else dbapi(driver, json.loads(connect))
    took = {}
    for name, run in runs.items():
        run(n // 10)
        begin = time.process_time()
        run(n)
        took[name] = (time.process_time() - begin) / n * 1e6
    leave()
    print(json.dumps(took))


if __name__ == "__main__":
    main()
