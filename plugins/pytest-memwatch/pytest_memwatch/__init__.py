"""pytest-memwatch: which line of which test has changed a global, and who writes to an object while a test runs.

Nothing is watched, and nothing of MemWatch is imported, unless it is asked for: ``--memwatch``, or ``memwatch = true``
in the ini file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .asked import MemWatch

NAME = "memwatch-run"
"""What the part is registered as that watches."""
MARKER = (
    'memwatch_unchanged(*targets): with --memwatch, each target ("pkg.mod:STATE", or "pkg.config" for all of a '
    "module) must be the same after the test as before it"
)
OFF = "the fixture memwatch watches only with --memwatch (or memwatch = true in the ini file)"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, and their twins in the ini file."""
    group = parser.getgroup("memwatch", "MemWatch: who writes to what")
    group.addoption("--memwatch", action="store_true", help="watch what tests ask for: their fixtures, marks, targets")
    group.addoption(
        "--memwatch-unchanged",
        action="append",
        default=[],
        metavar="TARGET",
        help="must be the same after each test as before it: pkg.mod:STATE, pkg.mod:config['debug'], os:environ, or "
        "pkg.mod for all names of a module; tells which line of which test has changed it. May be repeated; implies "
        "--memwatch",
    )
    group.addoption("--memwatch-keep", action="store_true", help="keep the session's folder, whatever was found")
    parser.addini("memwatch", "the same as --memwatch", type="bool", default=False)
    parser.addini("memwatch_unchanged", "targets, one a line, besides those of the command line", type="linelist")
    parser.addini("memwatch_depth", "how many levels below a target are watched (3)", default="3")


def pytest_configure(config: pytest.Config) -> None:
    """Registers what watches, if somebody asked for it."""
    config.addinivalue_line("markers", MARKER)
    if config.getoption("memwatch") or config.getoption("memwatch_unchanged") or config.getini("memwatch"):
        from .plugin import Plugin

        config.pluginmanager.register(Plugin(config), NAME)


@pytest.fixture
def memwatch(request: pytest.FixtureRequest) -> Iterator[MemWatch]:
    """Watches for one test: ``memwatch.assert_unchanged(obj)``, ``memwatch.events``. Skips the test if watching is
    off."""
    plugin: Any = request.config.pluginmanager.getplugin(NAME)
    if plugin is None:
        pytest.skip(OFF)
    with plugin.given(request) as asked:
        yield asked
