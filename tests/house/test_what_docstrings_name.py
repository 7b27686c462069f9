"""What a docstring sends its reader to is there: files, pages, modules."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("memwatch_core", "memwatch_plugins", "plugins", "benchmarks", "tests")
FILES = sorted(
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py*")
    if path.suffix in (".py", ".pyi") and "node_modules" not in path.parts
)
KNOWN = [
    str(path.relative_to(ROOT))
    for folder in (*FOLDERS, "docs", "node_bridge")
    for path in (ROOT / folder).rglob("*.*")
    if "node_modules" not in path.parts
] + [path.name for path in ROOT.iterdir()]
ELSEWHERE = re.compile(r"asm/|linux/|Python\.h|script\.py|program\.py|\w*test_\w+\.py")
"""The kernel's headers, CPython's, and what a user calls a file."""
NAMED = re.compile(r"(?<![\w./*\[-])((?:[\w-]+/)+[\w.-]+\.(?:py|js|c|h|md)|[\w-]+\.(?:c|h|md))(?![\w(/:])")
MODULE = re.compile(r":mod:`~?([\w.]+)`")


def docstrings(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value


def is_there(name: str) -> bool:
    return any(path == name or path.endswith(f"/{name}") for path in KNOWN)


def is_module(name: str, path: Path) -> bool:
    above = len(name) - len(name.lstrip("."))
    here = path.parents[above - 1] if above else ROOT
    target = here.joinpath(*name.lstrip(".").split("."))
    return any(target.with_suffix(suffix).is_file() for suffix in (".py", ".pyi")) or target.is_dir()


def missing(path: Path) -> list[str]:
    texts = list(docstrings(path))
    files = [name for text in texts for name in NAMED.findall(text) if not ELSEWHERE.match(name) and not is_there(name)]
    ours = [name for text in texts for name in MODULE.findall(text) if name.startswith((".", "memwatch"))]
    return files + [name for name in ours if not is_module(name, path)]


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_a_docstring_names_is_there(folder: str) -> None:
    found = {path: missing(path) for path in FILES if path.relative_to(ROOT).parts[0] == folder}
    assert not {str(path.relative_to(ROOT)): names for path, names in found.items() if names}


def test_what_is_not_there_is_found(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text(
        '"""See docs/maintaining.md, python/proxy.c, room.c, :mod:`memwatch_core.host.launch`; and setup.py."""'
    )
    assert missing(file) == ["docs/maintaining.md", "python/proxy.c", "room.c", "memwatch_core.host.launch"]
    file.write_text(
        '"""See docs/events.md, core/memwatch.h, reader.c, :mod:`memwatch_core.host.decoder`, asm/unistd_64.h."""'
    )
    assert missing(file) == []
