"""The suites: where each comes from, and which of its modules are watched."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from own_suites import sources
from own_suites.outcomes import Prepared


@dataclass(frozen=True)
class Suite:
    """A package's own tests."""

    name: str
    tests: int
    """At least so many must pass as it is, or the suite isn't what it was taken for."""
    module: str = ""
    """Top module; not given: called as the package is."""
    files: Sequence[str] = ("tests", "conftest.py", "pyproject.toml")
    """What is needed of the source distribution. The package itself is the one that is installed."""
    arguments: Sequence[str] = ("tests",)
    events: int = 1000
    """At least so many must have been recorded."""
    variables: int = 50
    """Of at least so many."""
    known: Mapping[str, str] = field(default_factory=dict)
    """Tests that end differently (a regular expression for the whole name), and why."""
    seconds: int = 1800
    """When a run counts as hung."""

    @property
    def modules(self) -> str:
        """The setting ``[watch] modules``: the package, and its tests."""
        top = self.module or self.name
        return ",".join((top, f"{top}.*", "tests", "tests.*", "test_*", "conftest"))

    def prepare(self, scratch: Path) -> Prepared:
        """In a folder of its own, where the tests may write. Raises SourceMissing."""
        folder = sources.pypi(self.name, _installed(self.name), isolated=True)
        for name in self.files:
            if (folder / name).exists():
                (scratch / name).symlink_to(folder / name)
        options = ["-o", "addopts=", "-o", "filterwarnings=", "-W", "ignore", *PLUGINS]
        environment = {"PYTHONPATH": str(sources.tools()), "PYTHONHASHSEED": "0", "HOME": str(scratch)}
        return Prepared(scratch, [*options, *self.arguments], environment)


PLUGINS = ("-p", "pytest_mock", "-p", "_hypothesis_pytestplugin", "--hypothesis-seed=0")


def _installed(name: str) -> str:
    """The version that is tested: in our environment, or among what the suites need."""
    found = importlib.metadata.distributions(name=name, path=[str(sources.tools())])
    return next((one.version for one in found), None) or importlib.metadata.version(name)


SUITES = {
    suite.name: suite
    for suite in (
        Suite("attrs", tests=1350, module="attr"),
        Suite("cachetools", tests=490),
        Suite("click", tests=2400, arguments=("-m", "not stress", "tests")),
        Suite("idna", tests=6400, files=("tests", "tools", "pyproject.toml")),
        Suite("itsdangerous", tests=290),
        Suite("jinja2", tests=900, variables=1000),
        Suite("markupsafe", tests=50),
        Suite("mistune", tests=1400, known={r".*::test_\w+(near_linear|scale_quadratically)": "judges by time"}),
        Suite("more-itertools", tests=20000, module="more_itertools"),
        Suite("toolz", tests=180, files=(), arguments=("--pyargs", "toolz", "tlz")),
    )
}
