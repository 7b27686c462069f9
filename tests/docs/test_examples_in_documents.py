"""Documents that lie: examples that don't run, links that lead nowhere, hooks and events that are not described."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from memwatch_core import hookspecs
from memwatch_core.config import load
from memwatch_core.records import Layout
from memwatch_plugins.testing import AsyncSqlDriverContract, SinkContract, SqlDriverContract

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def blocks(language: str) -> list[pytest.param]:
    return [
        pytest.param(block, id=f"{document.name}-{number}")
        for document in DOCUMENTS
        for number, block in enumerate(re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.M | re.S), 1)
    ]


def python_blocks() -> list[pytest.param]:
    """Each with the blocks of its document before it that have a name: a comment with the file's name begins them."""
    examples = []
    for document in DOCUMENTS:
        named: dict[str, str] = {}
        for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", document.read_text(), re.M | re.S), 1):
            name = re.match(r"# (\w+\.py)\b", block)
            examples.append(
                pytest.param(dict(named), name[1] if name else "example.py", block, id=f"{document.name}-{number}")
            )
            if name:
                named[name[1]] = block
    return examples


@pytest.mark.parametrize(("before", "name", "source"), python_blocks())
def test_example_runs(before: dict[str, str], name: str, source: str, tmp_path: Path) -> None:
    for other, text in {**before, name: source}.items():
        (tmp_path / other).write_text(text)
    suite = ["-m", "pytest", "-q", "--confcutdir=."] if name.startswith("test_") else []
    run = subprocess.run(
        [sys.executable, "-W", "error", *suite, name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("text", [b for b in blocks("toml") if "entry-points" not in b.values[0]])
def test_configuration_example_is_valid(text: str, tmp_path: Path) -> None:
    file = tmp_path / "memwatch.toml"
    file.write_text(text)
    load(file=file)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
    missing = [target for target in targets if not (document.parent / target).exists()]
    assert not missing


def test_every_hook_is_described_with_its_signature() -> None:
    text = (ROOT / "docs/plugins.md").read_text()
    hooks = [f for name, f in vars(hookspecs).items() if inspect.isfunction(f) and hasattr(f, "memwatch_spec")]
    assert len(hooks) == len(hookspecs.GROUPS)
    for hook in hooks:
        returns = str(inspect.signature(hook)).replace("'", "")
        assert f"`{hook.__name__}{returns}`" in text
    for group in hookspecs.GROUPS.values():
        assert f"`{group}`" in text


def test_every_plugin_of_ours_is_listed() -> None:
    text = (ROOT / "docs/plugins.md").read_text()
    for folder in (ROOT / "plugins").iterdir():
        kind, name = folder.name.removeprefix("memwatch-").split("-", 1)
        assert (folder / "pyproject.toml").is_file()
        assert kind in ("bridge", "serializer", "sink", "sql")
        assert f"`{name}`" in text


def test_every_capability_and_every_kind_of_layout_is_described() -> None:
    text = (ROOT / "docs/plugins.md").read_text()
    kinds = get_args(get_type_hints(Layout)["proxy"])
    names = AsyncSqlDriverContract.known.keys() | SqlDriverContract.known.keys() | SinkContract.known.keys()
    assert not [name for name in names if f"`{name}`" not in text]
    assert not [kind for kind in kinds if f'`"{kind}"`' not in text]


def test_every_promise_has_a_test_that_is_there() -> None:
    text = (ROOT / "docs/guarantees.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    missing = [f"{path}::{name}" for path, name in named if f"def {name}" not in (ROOT / path).read_text()]
    assert not missing
    rows = [line for line in text.splitlines() if line.startswith("| **")]
    assert len(rows) > 25
    assert not [row for row in rows if "`tests/" not in row]
