"""The suites: where each comes from, what it needs, and which of its tests end differently, and why."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

from own_suites import sources
from own_suites.outcomes import Prepared

from .running import Suite


def _attrs(scratch: Path) -> Prepared:
    folder = sources.pypi("attrs", importlib.metadata.version("attrs"), isolated=True)
    return _in(scratch, folder, ("tests", "conftest.py", "pyproject.toml"), ["tests"])


def _pydantic(scratch: Path) -> Prepared:
    folder = sources.pypi("pydantic", importlib.metadata.version("pydantic"), isolated=True)
    plugins = ["-p", "pytest_mock", "-p", "pytest_benchmark", "--ignore", "tests/test_docs.py"]
    return _in(scratch, folder, ("tests", "pyproject.toml"), [*plugins, "tests"])


def _sqlalchemy(scratch: Path) -> Prepared:
    folder = sources.pypi("sqlalchemy", importlib.metadata.version("sqlalchemy"))
    # PYTHONNOUSERSITE: the tests take the installed SQLAlchemy, not the one in their folder
    return _in(scratch, folder, ("test", "lib", "setup.cfg", "pyproject.toml"), ["test/orm"], PYTHONNOUSERSITE="1")


def _in(scratch: Path, folder: Path, names: tuple[str, ...], arguments: list[str], **environment: str) -> Prepared:
    """In a folder of its own, where the tests may write; the library itself is the one that is installed."""
    for name in names:
        if (folder / name).exists():
            (scratch / name).symlink_to(folder / name)
    return Prepared(scratch, arguments, {"PYTHONPATH": str(sources.tools()), **environment})


SUITES = {
    suite.name: suite
    for suite in (
        Suite("attrs", _attrs, ("attr", "attrs", "tests"), tests=1200, watched=10000),
        Suite("pydantic", _pydantic, ("pydantic", "tests"), tests=5000, watched=10000),
        Suite("sqlalchemy", _sqlalchemy, ("sqlalchemy", "test"), tests=5000, watched=10000),
    )
}
SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
