"""The suites: where each comes from, what it needs, and which of its tests end differently, and why."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import servers
from own_suites import sources
from own_suites.outcomes import Prepared

from .running import Suite

SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
CHECKOUT = "PSYCOPG_CHECKOUT"
"""Variable that names a checkout of psycopg 3, whose own tests are in no distribution."""
NO_CONFIGURATION = ("-c", os.devnull, "--rootdir", ".")
"""pytest's arguments, so that it finds no settings in folders above."""


def _sqlite3(database: Any, scratch: Path) -> Prepared:
    if importlib.util.find_spec("test.test_sqlite3") is None:
        raise sources.SourceMissing("this Python was installed without its test suite (test.test_sqlite3)")
    return Prepared(scratch, [*NO_CONFIGURATION, "--pyargs", "test.test_sqlite3"])


def _dbapi20(name: str, dsn: Callable[[Any, Path], str]) -> Callable[[Any, Path], Prepared]:
    def prepare(database: Any, scratch: Path) -> Prepared:
        compliance = sources.pypi("psycopg2", importlib.metadata.version("psycopg2-binary")) / "tests"
        environment = {"PYTHONPATH": str(compliance), "DBAPI20_DSN": dsn(database, scratch)}
        return Prepared(Path(__file__).parent, [*NO_CONFIGURATION, f"{name}.py"], environment)

    return prepare


def _psycopg(database: Any, scratch: Path) -> Prepared:
    arguments = [*NO_CONFIGURATION, "-p", "anyio", "tests"]
    environment = {"PSYCOPG_TEST_DSN": database.dsn_trusted}
    return Prepared(Path(os.environ[CHECKOUT]), arguments if SOAK else ["-m", "not slow", *arguments], environment)


def _psycopg2(database: Any, scratch: Path) -> Prepared:
    folder = sources.pypi("psycopg2", importlib.metadata.version("psycopg2-binary"))
    options = {"": database.database, "_HOST": database.host, "_PORT": str(database.port), "_USER": database.user}
    options["_PASSWORD"] = database.password
    environment = {f"PSYCOPG2_TESTDB{name}": value for name, value in options.items()}
    environment |= {"PSYCOPG2_TEST_REPL_DSN": "", "PSYCOPG2_TEST_REPL_SLOT": database.database}
    names = ("async", "connection", "cursor", "green", "psycopg2_dbapi20", "sql", "transaction", "types_basic", "with")
    tests = ["tests"] if SOAK else [f"tests/test_{name}.py" for name in names]
    return Prepared(folder, [*NO_CONFIGURATION, *tests], environment | ({} if SOAK else {"PSYCOPG2_TEST_FAST": "1"}))


def _mysqlclient(database: Any, scratch: Path) -> Prepared:
    folder = sources.pypi("mysqlclient", importlib.metadata.version("mysqlclient"))
    options = {"host": database.host, "port": database.port, "user": database.user, "password": database.password}
    options |= {"database": database.database, "default-character-set": "utf8mb4"}
    lines = ["[MySQLdb-tests]", *(f"{key} = {value}" for key, value in options.items())]
    (scratch / "test.cnf").write_text("\n".join(lines) + "\n")
    return Prepared(folder, [*NO_CONFIGURATION, "tests"], {"TESTDB": str(scratch / "test.cnf")})


def _sqlalchemy(*tests: str, url: Callable[[Any], str]) -> Callable[[Any, Path], Prepared]:
    """Of SQLAlchemy's tests, some, over a dialect."""

    def prepare(database: Any, scratch: Path) -> Prepared:
        folder = sources.pypi("sqlalchemy", importlib.metadata.version("sqlalchemy"))
        if isinstance(database, servers.PostgreSql):
            for what in ("SCHEMA test_schema", "EXTENSION hstore", "EXTENSION citext"):
                database.administer(f"CREATE {what}")
        for name in ("test", "lib", "setup.cfg", "pyproject.toml"):  # the tests write files where they are run
            (scratch / name).symlink_to(folder / name)
        # PYTHONNOUSERSITE: the tests take the installed SQLAlchemy, not the one in their folder
        return Prepared(scratch, [*tests, "--dburi", url(database)], {"PYTHONNOUSERSITE": "1"})

    return prepare


_SUITE = "test/dialect/test_suite.py"
_SAME_TYPE = "asks for type(connection) == sqlite3.Connection: it is a subclass"
_WARNING = "a DeprecationWarning is attributed to the caller of execute(), which is ours"

SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            "sqlite3", ("sqlite3",), "", _sqlite3, tests=400, contexts=1000,
            known={r".*::test_database_keyword": _SAME_TYPE} | ({
                r".*::(test_execute_named_param_and_sequence|test_sqlite_date|test_sqlite_timestamp)": _WARNING,
            } if sys.version_info >= (3, 12) else {}),
        ),
        Suite(
            "sqlite3_dbapi20", ("sqlite3",), "", tests=20, contexts=50,
            prepare=_dbapi20("sqlite3_dbapi20", lambda _, scratch: str(scratch / "database")),
        ),
        Suite(
            "psycopg_dbapi20", ("psycopg",), "postgresql", tests=40, contexts=50,
            prepare=_dbapi20("psycopg_dbapi20", lambda database, _: database.dsn),
        ),
        Suite(
            "psycopg2", ("psycopg2",), "postgresql", _psycopg2,
            tests=400 if SOAK else 300, contexts=1000 if SOAK else 600,
            known={r".*::test_cursor_factory_none": "asks for type(cursor) == cursor: it is a subclass"},
        ),
        Suite("mysqlclient", ("mysqlclient",), "mariadb", _mysqlclient, tests=150, contexts=400),
        Suite(
            "sqlalchemy_sqlite3", ("sqlalchemy", "sqlite3"), "", tests=1000, contexts=5000,
            prepare=_sqlalchemy(_SUITE, url=lambda _: "sqlite://"),
        ),
        Suite(
            "sqlalchemy_psycopg", ("sqlalchemy", "psycopg"), "postgresql", tests=1000, contexts=5000,
            prepare=_sqlalchemy(_SUITE, url=lambda database: database.url("postgresql+psycopg")),
        ),
        Suite("psycopg", ("psycopg",), "postgresql", _psycopg, tests=4000, contexts=5000),
    )
    if (suite.name != "psycopg" or CHECKOUT in os.environ) and (not suite.name.startswith("sqlalchemy") or SOAK)
}  # fmt: skip
