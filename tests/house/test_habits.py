"""What checks a commit is what checks the project, every page is in the site's navigation, and every fragment of the
changelog has a heading."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
PARTS = ["lint-python", "lint-c", "lint-javascript", "lint-text"]
TOOL = re.compile(r"\.venv/bin/([a-z-]+)|\b(gcc|cc|g\+\+|c\+\+) -std|/(eslint|tsc)\b")


def commands(*targets: str) -> str:
    """What make would run for them."""
    wanted = ["make", "--no-print-directory", "--dry-run", *targets]
    return subprocess.run(wanted, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def tools(text: str) -> set[str]:
    return {next(filter(None, found)) for found in TOOL.findall(text)} - {"python"}


def hooks() -> list[dict[str, Any]]:
    (ours,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert ours["repo"] == "local", "hooks are the project's own tools, as requirements/ pins them"
    return ours["hooks"]


def test_a_commit_is_checked_by_every_tool_of_make_lint_and_no_other() -> None:
    entries = [hook["entry"].split() for hook in hooks()]
    called = [commands(entry[-1]) if entry[0] == "make" else " ".join(entry) for entry in entries]
    linted = tools(commands(*PARTS))
    assert {"ruff", "mypy", "clang-format", "lizard", "codespell", "eslint", "tsc"} < linted
    assert set().union(*map(tools, called)) == linted


def test_hooks_have_no_rules_of_their_own() -> None:
    """How a tool is called says what it prints and which files it takes; what it asks is in pyproject.toml."""
    for hook in hooks():
        options = {word for word in hook["entry"].split() if word.startswith("-")}
        assert options <= {"--quiet", "--force-exclude", "--no-error-summary", "--no-print-directory"}, hook["id"]


def test_make_lint_is_all_of_its_parts() -> None:
    lint = re.search(r"^lint:.*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert lint
    assert lint[1].split()[-len(PARTS) :] == PARTS


def pages(navigation: Any) -> list[str]:
    if isinstance(navigation, str):
        return [navigation]
    inner = navigation.values() if isinstance(navigation, dict) else navigation
    return [page for each in inner for page in pages(each)]


def test_every_page_is_in_the_navigation_once() -> None:
    named = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    written = [str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")]
    beside = ["index.md", "contributing.md", "changelog.md", "changelog-next.md"]  # docs/.site/pages.py
    assert sorted(named) == sorted(written + beside)


def test_site_is_built_with_warnings_as_errors() -> None:
    (built,) = re.findall(r"^.*mkdocs build.*$", commands("docs"), re.M)
    assert "--strict" in built
    assert "--quiet" not in built, "mkdocs doesn't count warnings that it doesn't print"


def fragments() -> list[Path]:
    return [path for path in (ROOT / "changelog.d").iterdir() if path.name != "README.md"]


def kinds() -> dict[str, str]:
    types = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]["type"]
    return {each["directory"]: each["name"] for each in types}


def test_every_kind_of_fragment_is_described() -> None:
    text = (ROOT / "changelog.d/README.md").read_text()
    assert dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", text, re.M)) == kinds()


def test_every_fragment_has_a_heading_in_the_changelog() -> None:
    names = [re.fullmatch(r"\+?[\w-]+\.(\w+)\.md", path.name) for path in fragments()]
    assert all(name and name[1] in kinds() for name in names), [path.name for path in fragments()]
