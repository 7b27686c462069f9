"""Documents that lie: examples that don't run, links that lead nowhere, hooks and events that are not described."""

from __future__ import annotations

import builtins
import difflib
import dis
import inspect
import os
import pty
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from contextlib import suppress
from pathlib import Path
from types import CodeType
from typing import get_args, get_type_hints

import pytest

from memwatch_core import hookspecs
from memwatch_core.cli.group import COMMANDS
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
            file = name[1] if name else "example.py"
            examples.append(pytest.param(dict(named), file, block, id=f"{document.name}-{number}"))
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


def test_configuration_of_the_guide_names_only_what_pip_install_memwatch_brings() -> None:
    brought = tomllib.loads((ROOT / "metapackage/pyproject.toml").read_text())["project"]["dependencies"]
    (text,) = re.findall(r"^```toml\n(.*?)^```", (ROOT / "docs/guide.md").read_text(), re.M | re.S)
    named = tomllib.loads(text)["plugins"]
    kinds = {"serializers": "serializer", "sql": "sql", "sinks": "sink"}
    distributions = {f"memwatch-{kinds[kind]}-{name}" for kind in named for name in named[kind]}
    assert distributions
    assert distributions <= {re.split(r"[^\w-]", requirement)[0] for requirement in brought}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
    missing = [target for target in targets if not (document.parent / target).exists()]
    assert not missing


def test_every_hook_is_described_with_its_signature() -> None:
    text = (ROOT / "docs/plugins.md").read_text().replace("\\|", "|")  # as a table has it
    hooks = [f for name, f in vars(hookspecs).items() if inspect.isfunction(f) and hasattr(f, "memwatch_spec")]
    assert len(hooks) == len(hookspecs.GROUPS)
    for hook in hooks:
        returns = str(inspect.signature(hook)).replace("'", "")
        assert f"`{hook.__name__}{returns}`" in text
    for group in hookspecs.GROUPS.values():
        assert f"`{group}`" in text


def globals_of(code: CodeType) -> set[str]:
    """Names that the functions of an example look up in its module."""
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    own = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return own.union(*map(globals_of, inner))


def test_examples_of_hooks_call_names_that_are_there() -> None:
    beginning, *examples = (
        textwrap.dedent(block)
        for block in re.findall(
            r"code-block:: python\n\n(.*?)(?=\n *\"\"\"|\n[^ \n])", Path(hookspecs.__file__).read_text(), re.S
        )
    )
    names: dict[str, object] = {}
    exec(compile(beginning, "example.py", "exec"), names)
    hooks = [name for name, f in vars(hookspecs).items() if hasattr(f, "memwatch_spec")]
    for hook, example in zip(hooks, examples, strict=True):
        own = {"Printer": names["Printer"]} if hook == "memwatch_sinks" else {"__name__": "example"}
        code = compile(example, "example.py", "exec")
        exec(code, own)
        assert not globals_of(code) - own.keys() - vars(builtins).keys() - {"__module__", "__qualname__"}
        (expected,) = get_args(get_type_hints(getattr(hookspecs, hook))["return"])
        offered = {type(record) for record in own[hook]()}
        assert offered == set(get_args(expected) or (expected,))


def test_every_plugin_of_ours_is_listed() -> None:
    text = (ROOT / "docs/plugins.md").read_text()
    for folder in (ROOT / "plugins").glob("memwatch-*"):
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


# ---- commands, and what they show ------------------------------------------------------------------------------------

COLUMNS = 80
CHANGING = (
    (r"\b\d\d:\d\d:\d\d\.\d{3}\b", "12:00:00.000"),
    (r"\b\d{8}-\d{6}-[0-9a-f]{6}\b", "20260101-120000-0a1b2c"),
    (r"\b\d+-(python|node)\.mwj", r"42-\1.mwj"),
    (r"\bprocess \d+", "process 42"),
    (r"\(\d+\.\d\d s,", "(0.00 s,"),
    (r"\bat 0x[0-9a-f]+", "at 0x0"),
    (r"20\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+Z)?", "2026-01-01 12:00:00"),
    (r"uffd-sigbus|readonly", "uffd-sigbus"),
    (r"preadv2", "preadv"),
    (r"\bin \d+\.\d\ds$", "in 0.00s"),
    (r"(?<=/logging/__init__\.py:)\d+", "1464"),  # of the Python that runs
    (r"(?<=\S) {2,}", "  "),  # columns widen with what is there when the first line is written
)
"""What differs from run to run, and from machine to machine."""


def sessions_of(document: Path) -> list[tuple[str, str]]:
    """The files (name, text) and consoles ("", commands with what they show) of a document, in order."""
    found = []
    for language, block in re.findall(r"^```(python|toml|console)\n(.*?)^```", document.read_text(), re.M | re.S):
        name = re.match(r"# ([\w-]+\.(?:py|toml))\b", block)
        if language == "console":
            found.append(("", block))
        elif name:
            found.append((name[1], block))
    return found


def shown(text: str) -> list[str]:
    for pattern, instead in CHANGING:
        text = re.sub(pattern, instead, text)
    return [line.rstrip() for line in text.splitlines()]


def on_a_terminal(command: str, folder: Path) -> str:
    """What a shell shows for it on a terminal of 80 columns, without colours."""
    main, other = pty.openpty()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MEMWATCH_", "PYTHON"))}
    child = subprocess.Popen(
        ["sh", "-c", command], cwd=folder, stdin=subprocess.DEVNULL, stdout=other, stderr=other,
        env=plain | {"PATH": path, "COLUMNS": str(COLUMNS), "NO_COLOR": "1", "TERM": "xterm", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    os.close(other)
    data = b""
    with suppress(OSError):  # nobody has it open any more
        while part := os.read(main, 1 << 16):
            data += part
    os.close(main)
    child.wait(60)
    return re.sub(r"\x1b\[[0-9;]*[mK]", "", data.decode().replace("\r", ""))


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if any(not name for name, _ in sessions_of(d))], ids=str)
def test_commands_show_what_the_document_says(document: Path, tmp_path: Path) -> None:
    for name, text in sessions_of(document):
        if name:
            (tmp_path / name).write_text(text)
            continue
        for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.M):
            if "jq" in command and shutil.which("jq") is None:
                continue
            got, wanted = shown(on_a_terminal(command, tmp_path)), shown(expected)
            assert got == wanted, f"{document.name}: $ {command}\n" + "\n".join(difflib.unified_diff(wanted, got))
            assert all(len(line) <= COLUMNS for line in got), command


@pytest.mark.parametrize(
    ("document", "folder", "most"), [("finding-a-culprit.md", "culprits", 5), ("at-a-glance.md", "glance", 7)]
)
def test_programs_of_a_hunt_are_the_examples(document: str, folder: str, most: int) -> None:
    text = (ROOT / "docs" / document).read_text()
    programs = [path for path in (ROOT / "examples" / folder).iterdir() if path.is_file()]
    assert len(programs) > most
    for program in programs:
        assert f"```{program.suffix.replace('.py', '.python')[1:]}\n{program.read_text()}```" in text, program.name


def test_every_option_is_there_and_every_help_fits_eighty_columns(tmp_path: Path) -> None:
    """And no option says that it isn't there yet."""
    options = dict.fromkeys(COMMANDS)
    for command in options:
        text = on_a_terminal(f"memwatch {command} --help", tmp_path)
        assert all(len(line) <= COLUMNS for line in text.splitlines()), text
        assert "not implemented" not in text.lower()
        assert len(re.findall(r"^  .*?--[\w-]+", text, re.M)) >= 3
