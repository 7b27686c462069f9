"""Who imports whom is what CONTRIBUTING's table says, and the table names every package."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "CONTRIBUTING.md").read_text().partition("| where | what |")[2].partition("\n\n")[0]
OURS = ("memwatch_core", "memwatch_plugins")


def package_of(module: str) -> str:
    """``memwatch_core.host.decoder`` -> ``host``; of the contract's modules: ``contract``."""
    first, *rest = module.split(".")
    if first != "memwatch_core":
        return first
    return rest[0] if rest and (ROOT / first / rest[0]).is_dir() else "contract"


def imported(path: Path) -> set[str]:
    """Names of our modules that a file imports, wherever in it."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    here = parts[:-1]  # the package, of a package's own file too
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {f"{base}.{name.name}" for name in node.names} if base in OURS else {base}
    return {name for name in found if name.split(".")[0] in OURS}


def table() -> dict[str, set[str]]:
    rows = {}
    for line in TABLE.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if name := re.fullmatch(r"`(?:memwatch_core/)?([\w*.]+?)/?`", cells[1] if len(cells) > 3 else ""):
            rows[name[1].replace("*.py", "contract")] = set(re.findall(r"`(\w+)`", cells[3])) | {"contract"}
    return rows


FILES = sorted(path for name in OURS for path in (ROOT / name).rglob("*.py"))
GRAPH: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
for _path in FILES:
    _from = package_of(".".join(_path.relative_to(ROOT).with_suffix("").parts))
    for _name in imported(_path):
        if (_to := package_of(_name)) != _from:
            GRAPH[_from][_to].add(str(_path.relative_to(ROOT)))


def test_table_names_every_package() -> None:
    packages = {path.name for path in (ROOT / "memwatch_core").iterdir() if path.is_dir() and path.name[0] != "_"}
    assert packages | {"contract", "memwatch_plugins", "node_bridge"} == table().keys()


def test_imports_are_found() -> None:
    assert "memwatch_core/host/decoder.py" in GRAPH["host"]["journal"]
    assert "memwatch_core/cli/run.py" in GRAPH["cli"]["running"]


@pytest.mark.parametrize("package", sorted(GRAPH))
def test_package_imports_only_what_the_table_says(package: str) -> None:
    allowed = table()[package]
    for other, files in GRAPH[package].items():
        if package == "contract" and files == {"memwatch_core/__init__.py"}:
            continue  # what a program imports from it: watch(), session()
        if package == "memwatch_plugins":
            files = {file for file in files if not file.startswith("memwatch_plugins/testing/")}
        assert other in allowed or not files, f"{package} imports {other}: {sorted(files)}"
