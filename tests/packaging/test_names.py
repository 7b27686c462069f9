"""Names mean one thing: ours on npm are below @memwatch, and one that PyPI and npm share is for one library."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXTS = {".md", ".py", ".js", ".mjs", ".ts", ".json", ".toml", ".gyp", ".c", ".cc", ".h", ".sh", ""}
STRANGERS = re.compile(
    r"""(?:require(?:\.resolve)?\(|\bfrom\s|\bimport\s|\bimport\()\s*["']memwatch(?:/\w+)?["']"""  # the package, loaded
    r"|(?<![\w/@.-])memwatch/(?:register|sql)\b"
    r"|\bnpm\s(?:i|install|add|rebuild)\s[^\n|&;]*(?<![\w/@.-])memwatch(?![\w\[-])"
    r"|npm packages? `*(?:memwatch)\b(?! is)(?!` is)"
    r"|node_modules/memwatch\b"
    r"|memwatch-sql-sqlite3`? (?:on|of) npm"
)


def texts() -> list[Path]:
    """What is in the repository, where there is one: tests run in copies as well."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("no repository: nobody knows which files are its own")
    files = [ROOT / name for name in done.stdout.split("\0") if name]
    return [path for path in files if path.suffix in TEXTS and path.is_file() and path != Path(__file__)]


def test_package_of_a_stranger_stands_in_no_document_message_or_program() -> None:
    found = []
    for path in texts():
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if STRANGERS.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not found


@pytest.mark.parametrize(
    "text",
    [
        "require('memwatch')",
        'require("memwatch")',
        "import { watch } from 'memwatch'",
        "require.resolve('memwatch/sql')",
        "node --require memwatch/register app.js",
        "npm install memwatch",
        "pip install x && npm install memwatch pg",
        "npm rebuild memwatch.",
        "the npm package `memwatch`",
    ],
)
def test_what_installs_or_loads_it_is_known(text: str) -> None:
    assert STRANGERS.search(text)


def test_packages_of_npm_depend_on_ours_alone() -> None:
    manifests = [path for path in texts() if path.name == "package.json"]
    assert len(manifests) > 7
    for path in manifests:
        package = json.loads(path.read_text())
        wanted = {name for key, names in package.items() if key.lower().endswith("dependencies") for name in names}
        assert "memwatch" not in wanted, path
        assert "node_bridge" not in path.parts or package["name"] == "@memwatch/node"


def test_name_that_npm_and_pypi_share_is_for_one_library() -> None:
    """``memwatch-sql-x`` and ``@memwatch/sql-x`` are the same folder, whose JavaScript both carry."""
    folders = {path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml")}
    on_pypi = {tomllib.loads((folder / "pyproject.toml").read_text())["project"]["name"]: folder for folder in folders}
    on_npm = {
        json.loads(path.read_text())["name"].removeprefix("@").replace("/", "-"): path.parent
        for path in (ROOT / "plugins").glob("*/package.json")
    }
    assert len(on_npm) >= 5
    for name, folder in on_npm.items():
        assert on_pypi[name] == folder
        driver = (folder / json.loads((folder / "package.json").read_text())["main"]).read_text()
        shown = name.removeprefix("memwatch-sql-")
        assert f"DRIVER = '{shown}'" in driver or f"name: '{shown}'" in driver, "events and configurations say so too"
    in_python = {name.removeprefix("memwatch-sql-") for name in on_pypi if name not in on_npm}
    targets = {name for path in (ROOT / "plugins").glob("*/package.json") for name in _target(path)}
    assert in_python & targets == {"sqlite3"}, "of each such pair, npm's has node- in its name"


def _target(manifest: Path) -> set[str]:
    return set(json.loads(manifest.read_text())["peerDependenciesMeta"])
