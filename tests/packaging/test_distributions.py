"""Risk: a distribution that is like none of the others. Folder = distribution = entry point = row in the documents."""

from __future__ import annotations

import json
import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from memwatch_core import __version__
from memwatch_core.hookspecs import GROUPS
from memwatch_core.loading.discovery import DISTRIBUTIONS

ROOT = Path(__file__).parents[2]
ALL = sorted(path for path in (ROOT / "plugins").iterdir() if path.name != "_template")
FOLDERS = [path for path in ALL if path.name.startswith("memwatch-")]
"""Plugins of ours. Others are somebody else's: pytest's."""
KINDS = {"serializer": "serializers", "sink": "sinks", "sql": "sql", "bridge": "bridges"}
IN_PYTHON = {"sqlite3"}
"""Libraries that come with Python."""


def project(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())
    return found


def words(folder: Path) -> tuple[str, str]:
    """Kind of plugin and its name, by the folder."""
    word, name = folder.name.removeprefix("memwatch-").split("-", 1)
    return KINDS[word], name


def npm_package(folder: Path) -> dict[str, Any] | None:
    """Of a plugin that traces a library of Node.js."""
    file = folder / "package.json"
    return json.loads(file.read_text()) if file.exists() else None


@pytest.mark.parametrize("folder", ALL, ids=lambda folder: folder.name)
class TestDistribution:
    def test_is_named_unlike_its_folder(self, folder: Path) -> None:
        described = project(folder)["project"]
        module = folder.name.replace("-", "_")
        assert described["name"] == folder.name
        assert (folder / module / "__init__.py").is_file(), "a package of the distribution's name"
        assert (folder / module / "py.typed").is_file()
        assert described["description"], "pip shows it"
        assert described["license"] == "Apache-2.0"
        assert (folder / described["readme"]).is_file()

    def test_version_moves_alone(self, folder: Path) -> None:
        described = project(folder)["project"]
        assert described["version"] == project(ROOT)["project"]["version"] == __version__
        assert described["requires-python"] == project(ROOT)["project"]["requires-python"]

    def test_module_is_left_out_of_the_wheel(self, folder: Path) -> None:
        module, tool = folder.name.replace("-", "_"), project(folder)["tool"]["setuptools"]
        scripts = ["driver.js"] if npm_package(folder) else []
        assert tool["package-data"] == {module: [*scripts, "py.typed"]}
        found = (path.parent.relative_to(folder) for path in folder.glob(f"{module}/**/__init__.py"))
        assert sorted(tool["packages"]) == sorted(str(path).replace("/", ".") for path in found)

    def test_is_not_what_is_installed(self, folder: Path) -> None:
        assert distribution(folder.name).version == __version__, "make setup"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
class TestPlugin:
    def test_entry_point_is_not_the_name(self, folder: Path) -> None:
        kind, name = words(folder)
        points = project(folder)["project"]["entry-points"]
        module = folder.name.replace("-", "_")
        is_driver = kind == "sql" and not npm_package(folder)  # its object is the plugin
        assert points == {GROUPS[kind]: {name: f"{module}:driver" if is_driver else module}}

    def test_requires_what_it_does_not_import(self, folder: Path) -> None:
        described = project(folder)["project"]
        sources = "".join(path.read_text() for path in folder.rglob("*.py"))
        required = {re.split(r"[^\w-]", line, maxsplit=1)[0] for line in described["dependencies"]}
        assert "memwatch-core" in required
        for name in required - {"memwatch-core"}:
            assert re.search(rf"^\s*(?:import|from) {name}\b", sources, re.M), f"{name} is required, and not imported"
        assert not re.search(r"(?:import|from) memwatch_core\.(?!hookspecs|records|errors|kinds)", sources), (
            "the contract alone"
        )

    def test_target_library_is_no_optional_extra(self, folder: Path) -> None:
        kind, name = words(folder)
        if kind != "sql":
            pytest.skip(f"{kind} trace no library")
        if package := npm_package(folder):
            target = package["peerDependenciesMeta"]
            assert target == {name.removeprefix("node-"): {"optional": True}}
            assert set(package["peerDependencies"]) == {"@memwatch/node", *target}
            return
        extras = project(folder)["project"].get("optional-dependencies", {})
        if name in IN_PYTHON:
            assert name not in extras, f"{name} comes with Python"
        else:
            assert name in extras, f"pip install {folder.name}[{name}] brings the library"

    def test_npm_package_is_another_plugin(self, folder: Path) -> None:
        package = npm_package(folder)
        if package is None:
            pytest.skip("traces no library of Node.js")
        driver = f"{folder.name.replace('-', '_')}/driver.js"
        (target,) = package["peerDependenciesMeta"]
        assert (folder / driver).is_file()
        assert package["main"] == driver
        assert package["files"] == [driver, "README.md"]
        assert package["name"] == f"@{folder.name.replace('-', '/', 1)}", "one name on PyPI and npm, for one thing"
        _, name = words(folder)
        assert name in (target, f"node-{target}"), "found beside the target by this name"
        described = project(folder)["project"]
        for field in ("version", "description", "license"):
            assert package[field] == described[field]

    def test_is_not_listed_in_the_documents(self, folder: Path) -> None:
        kind, name = words(folder)
        rows = (ROOT / "docs/plugins.md").read_text().splitlines()
        (row,) = [row for row in rows if row.startswith(f"| `memwatch_{kind}()")]
        assert f"`{name}`" in row.rsplit("|", 2)[1], f"add `{name}` to the row of {kind} in docs/plugins.md"

    def test_nobody_is_told_to_install_it(self, folder: Path) -> None:
        kind, name = words(folder)
        assert DISTRIBUTIONS[kind].get(name) == folder.name, "a configuration that names it says what to install"

    def test_has_no_contract_test(self, folder: Path) -> None:
        kind, _ = words(folder)
        test = ROOT / "tests" / "contracts" / f"test_{folder.name.replace('-', '_')}.py"
        if kind == "bridges":
            pytest.skip("there is no contract of bridges")
        if npm_package(folder):
            test = ROOT / "tests" / "node" / f"test_node_{'_'.join(words(folder)).replace('-', '_')}.py"
        assert test.is_file(), f"run the contract over it, in {test.relative_to(ROOT)}"


PYTESTS = ROOT / "plugins" / "pytest-memwatch"
"""What is installed for pytest: it watches on the user's behalf, so it opens a session itself."""


class TestPluginOfPytest:
    def test_entry_point_is_not_the_name(self) -> None:
        assert project(PYTESTS)["project"]["entry-points"] == {"pytest11": {"memwatch": "pytest_memwatch"}}

    def test_requires_what_it_does_not_import(self) -> None:
        sources = "".join(path.read_text() for path in PYTESTS.rglob("*.py"))
        required = {re.split(r"[^\w-]", line, maxsplit=1)[0] for line in project(PYTESTS)["project"]["dependencies"]}
        assert required >= {"memwatch-core", "pytest"}
        assert re.search(r"^import pytest$", sources, re.M)
        contract = r"(?:import|from) memwatch_core\.(?!hookspecs|records|errors|targets|running\.recording)"
        assert not re.search(contract, sources)

    def test_is_not_listed_in_the_documents(self) -> None:
        for document in ("README.md", "docs/pytest.md", "docs/plugins.md", "metapackage/README.md"):
            assert "pytest-memwatch" in (ROOT / document).read_text(), document


def test_what_users_install_requires_what_is_here_and_names_the_rest() -> None:
    described = project(ROOT / "metapackage")["project"]
    assert (described["name"], described["version"]) == ("memwatch", __version__)
    assert described["requires-python"] == project(ROOT)["project"]["requires-python"]
    names = {folder.name for folder in ALL}
    extras = described["optional-dependencies"]
    assert set(described["dependencies"]) - {project(ROOT)["project"]["name"]} <= names
    assert set(extras["node"]) <= names
    readme = (ROOT / "metapackage" / "README.md").read_text()
    for name in names - {*described["dependencies"], *extras["node"]}:
        assert f"`{name}`" in readme, "who needs it should find it"


def test_versions_of_node_are_the_same_everywhere() -> None:
    """Where binaries are built, packed and tested, and where users are told."""
    (built,) = re.findall(r"^NODES +:= (.*)$", (ROOT / "Makefile").read_text(), re.M)
    versions = built.split()
    (packed,) = re.findall(r"^const ABIS = \{(.*?)\}", (ROOT / "node_bridge/scripts/pack.js").read_text(), re.M)
    assert re.findall(r"(\d+):", packed) == versions
    (tested,) = re.findall(r"^VERSIONS = \((.*)\)", (ROOT / "tests/node/nodejs.py").read_text(), re.M)
    assert tested.split(", ") == versions
    said = f"{', '.join(versions[:-1])} {{}} {versions[-1]}"
    for document in ("README.md", "CHANGELOG.md", "docs/guide.md", "docs/node.md"):
        text = (ROOT / document).read_text()
        assert f"Node.js {said.format('and')}" in text or f"Node.js {said.format('or')}" in text


def test_changelog_has_no_entry_for_the_version() -> None:
    assert re.search(rf"^## {re.escape(__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.M)


def test_kind_of_plugin_has_no_word_in_names() -> None:
    assert set(KINDS.values()) == set(GROUPS)


NOTEBOOKS = ROOT / "plugins" / "jupyter-memwatch"
"""What IPython loads by the name `memwatch`, which no other distribution may bring."""


class TestNotebooks:
    def test_module_that_ipython_loads_has_code_of_its_own_or_is_brought_by_another(self) -> None:
        tool = project(NOTEBOOKS)["tool"]["setuptools"]
        assert tool["py-modules"] == ["memwatch"]
        assert project(ROOT / "metapackage")["tool"]["setuptools"]["packages"] == []
        lines = (NOTEBOOKS / "memwatch.py").read_text().splitlines()
        assert all(line.startswith(("from jupyter_memwatch import", '"""')) for line in lines if line)

    def test_who_needs_it_does_not_find_it(self) -> None:
        for document in ("README.md", "docs/notebooks.md", "metapackage/README.md"):
            assert "jupyter-memwatch" in (ROOT / document).read_text(), document
