"""The suites: where each comes from, what it needs, and which of its tests end differently, and why."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from pathlib import Path

from own_suites import sources
from own_suites.outcomes import Prepared

from .running import Suite

CPYTHON = ("copy", "dataclasses", "defaultdict", "descr", "enum", "functools", "gc", "ordered_dict", "pickle", "types",
           "typing", "userdict", "weakref")  # fmt: skip
"""Of CPython's own tests, those of what objects are."""
ORM = ("attributes", "backref_mutations", "cascade", "collection", "composites", "dataclasses", "defaults", "deferred",
       "expire", "instrumentation", "lazy_relations", "loading", "manytomany", "merge", "naturalpks", "pickled",
       "session", "transaction", "unitofwork", "validators", "versioning")  # fmt: skip
"""Of the tests of SQLAlchemy's ORM, those of what becomes of its objects; queries are others."""


def _cpython(scratch: Path) -> Prepared:
    if importlib.util.find_spec("test.test_typing") is None:
        raise sources.SourceMissing("this Python was installed without its test suite (test.test_typing)")
    names = [f"test.test_{name}" for name in CPYTHON]
    return Prepared(scratch, ["-c", os.devnull, "--rootdir", ".", "--pyargs", *names])


def _attrs(scratch: Path) -> Prepared:
    folder = sources.pypi("attrs", importlib.metadata.version("attrs"), isolated=True)
    return _in(scratch, folder, ("tests", "conftest.py", "pyproject.toml"), ["tests"])


def _pydantic(scratch: Path) -> Prepared:
    folder = sources.pypi("pydantic", importlib.metadata.version("pydantic"), isolated=True)
    plugins = ["-p", "pytest_mock", "-p", "pytest_benchmark.plugin"]
    marks = "\n".join(("skip_json_schema_validation", "timeout", "thread_unsafe", "parallel_threads"))
    # The documents that test_docs.py runs aren't in the archive; what the benchmarks run is in the other tests.
    options = ["-o", f"markers={marks}", "--ignore", "tests/test_docs.py", "--ignore", "tests/benchmarks"]
    return _in(scratch, folder, ("tests", "pyproject.toml"), [*plugins, *options, "tests"])


def _sqlalchemy(scratch: Path) -> Prepared:
    folder = sources.pypi("sqlalchemy", importlib.metadata.version("sqlalchemy"))
    files = [f"test/orm/test_{name}.py" for name in ORM]
    # PYTHONNOUSERSITE: the tests take the installed SQLAlchemy, not the one in their folder
    return _in(scratch, folder, ("test", "lib", "setup.cfg", "pyproject.toml"), files, PYTHONNOUSERSITE="1")


def _in(scratch: Path, folder: Path, names: tuple[str, ...], arguments: list[str], **environment: str) -> Prepared:
    """In a folder of its own, where the tests may write; the library itself is the one that is installed."""
    for name in names:
        if (folder / name).exists():
            (scratch / name).symlink_to(folder / name)
    return Prepared(scratch, arguments, {"PYTHONPATH": str(sources.tools()), **environment})


SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            "cpython", _cpython, ("test", *CPYTHON, "collections", "_collections_abc"), tests=4000, watched=10_000,
            known={
                "::GC(Callback)?Tests::test_(boom2?|collect_garbage|resurrection_does_not_block_.*)":
                "gc.collect() counts the dict of a watched object as one object more",
            },
        ),
        Suite("attrs", _attrs, ("attr", "attrs", "tests"), tests=1300, watched=20_000),
        Suite("pydantic", _pydantic, ("pydantic", "tests"), tests=10_000, watched=100_000),
        Suite(
            "sqlalchemy",
            _sqlalchemy,
            ("sqlalchemy.orm.state", "sqlalchemy.orm.session", "test"),
            tests=2000,
            watched=20_000,
        ),
    )
}  # fmt: skip
