"""Whatever a configuration, a name, a folder, a journal or an argument holds: no way out lets it steer a terminal."""

from __future__ import annotations

import ast
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from console_script import SCRIPT, environment
from hostile_text import HOSTILE, check
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "journal"))
from journal_writer import CONTEXT, OUTCOME, THREAD, JournalWriter

from memwatch_core import printed
from memwatch_core.errors import ConfigError
from memwatch_core.records import Notice
from memwatch_core.rendering.jsonlines import encode, record_json

ROOT = Path(__file__).parents[2]
PRINTING = re.compile(r"^print$|print_exc|warnings\.warn|click\.s?echo|(stdout|stderr|_stream)(\.buffer)?\.write")


def run(folder: Path, *arguments: str, terminal: bool = False, **variables: str) -> bytes:
    """Both streams of the command, in a pipe or on a terminal."""
    options: dict[str, Any] = {"cwd": folder, "env": environment(**variables) | {"TERM": "xterm"}}
    if not terminal:
        both: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
        found: bytes = subprocess.run([SCRIPT, *arguments], timeout=60, check=False, **both, **options).stdout
        return found
    main, side = pty.openpty()
    child = subprocess.Popen([SCRIPT, *arguments], stdout=side, stderr=side, **options)
    os.close(side)
    out = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:
            break
        out += part
    child.wait(60)
    os.close(main)
    return out


def toml(text: str) -> str:
    return json.dumps(text).replace("\x7f", "\\u007f")


def journal(folder: Path, text: str) -> Path:
    """A session in which whatever is a text is this one, as far as UTF-8 goes."""
    session = folder / ".memwatch" / f"20261129-100000-{text}"
    session.mkdir(parents=True)
    description = {"format": 1, "session": "00" * 16, "started": "2026-11-29T10:00:00Z", "command": [text]}
    (session / "session.json").write_text(json.dumps(description))
    writer = JournalWriter(runtime="python", tracker="readonly")
    site = {"file": f"/{text}/{text}", "line": 1, "function": text}
    writer.watch(1, bytes(8), text, "int64", path=text, thread=text, site=site)
    writer.watch(2, b"".join(bytes([n]) for n in range(1, 200)), f"b{text}", text)
    writer.site(1, f"/srv/{text}/{text}.py", 7, text)
    context = {"id": 1, "driver": text, "statement": text, "statement_hash": text, "database": text, "server": text,
               "parameters": [text], "thread": text, "transaction": 1}  # fmt: skip
    writer.json(CONTEXT, 1, context)
    writer.blob(THREAD, 0, text.encode("utf-8", "replace"), tid=7)
    writer.store(1, 0, bytes(8), b"\1" + bytes(7), site=1, context=1)
    writer.store(2, 0, b"\1", b"\2", site=1, context=1)
    writer.json(OUTCOME, 1, {"outcome": "rolled back", "scope": "transaction"})
    writer.json(CONTEXT, 2, context | {"id": 2, "transaction": 2})
    writer.store(1, 0, b"\1" + bytes(7), b"\2" + bytes(7), site=1, context=2)
    writer.json(OUTCOME, 2, {"outcome": f"failed: {text}"})
    (session / f"4242-{text}.mwj").write_bytes(writer.bytes())
    (session / f"4243-{text}.mwj").write_bytes(b"garbage" * 1000)
    return session


CONFIGURATIONS: dict[str, Callable[[str], str]] = {
    "unknown section": lambda text: f"[{toml(text)}]\na = 1",
    "section that is no table": lambda text: f"{toml(text)} = 1",
    "unknown key": lambda text: f"[core]\n{toml(text)} = 1",
    "wrong value": lambda text: f"[core]\ntracker = {toml(text)}",
    "wrong depth": lambda text: f"[watch]\nmutation_depth = [{toml(text)}]",
    "unknown plugin": lambda text: f"[plugins]\nsinks = [{toml(text)}]",
    "table of an unknown plugin": lambda text: f"[sinks.{toml(text)}]\na = 1",
    "key of a sink": lambda text: f"[sinks.console]\n{toml(text)} = 1",
    "value of a sink": lambda text: f"[sinks.console]\nstream = {toml(text)}",
    "path of a sink": lambda text: f"[plugins]\nsinks = ['jsonl']\n[sinks.jsonl]\npath = {toml('/nowhere/' + text)}",
    "folder": lambda text: f"[journal]\nfolder = {toml('/dev/null/' + text)}",
    "good folder": lambda text: f"[journal]\nfolder = {toml('here ' + text)}",
    "broken": lambda text: f"a = {text}",
}


COMMANDS = (["config", "--json"], ["plugins"], ["doctor"], ["doctor", "--json"], ["log"])


@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_configuration_cannot_steer_the_terminal(kind: str, tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text("")
    (tmp_path / "memwatch.toml").write_text(CONFIGURATIONS[kind]("".join(HOSTILE.values())))
    for command in (["config"], ["run", "p.py"], *(COMMANDS if kind == "good folder" else ())):
        check(run(tmp_path, *command))


@pytest.mark.parametrize("text", ["".join(HOSTILE.values()), HOSTILE["escape"], HOSTILE["separator"]])
def test_journal_cannot_steer_the_terminal(text: str, tmp_path: Path) -> None:
    session = journal(tmp_path, text)
    check(run(tmp_path, "log", str(session)))
    check(run(tmp_path, "log", str(session), terminal=True), terminal=True)
    check(run(tmp_path, "log", "--list"))
    lines = run(tmp_path, "log", "--json", str(session))
    check(lines)
    events = [json.loads(line) for line in lines.splitlines() if line.startswith(b'{"seq"')]
    assert len(events) == 3
    assert {events[0][key] for key in ("variable", "path", "thread")} == {text}, "the value is the same"
    assert events[0]["context"]["statement"] == text


def test_arguments_and_environment_cannot_steer_the_terminal(tmp_path: Path) -> None:
    text = "".join(HOSTILE.values())
    (tmp_path / "p.py").write_text("")
    folder = tmp_path / f"folder {text}"
    folder.mkdir()
    (folder / "p.py").write_text("from memwatch_core import watch\nx = watch(0)\nx += 1\n")
    for arguments in (
        [text], ["log", f"--{text}"], ["log", text], ["log", "--line", f"a:{text}"], ["log", "--since", text],
        ["log", "--outcome", text], ["log", "--last", text], ["log", "--config", text], ["log", "--folder", text],
        ["run", text], ["run", "--", text], ["run", "--sink", text, "p.py"], ["run", "--tracker", text, "p.py"],
        ["run", "--mutation-depth", text, "p.py"], ["run", "-m", text], ["config", "--check", text],
    ):  # fmt: skip
        check(run(tmp_path, *arguments))
    check(run(tmp_path, "config", **{f"MEMWATCH_CORE_{text}": "1"}))
    check(run(tmp_path, "config", MEMWATCH_CORE_TRACKER=text))
    check(run(folder, "run", "p.py"))
    check(run(folder, "log"))
    check(run(folder, "log", "-v", text))
    check(run(folder, "doctor", terminal=True), terminal=True)
    check(run(folder, "config", terminal=True), terminal=True)


FORGED = "a\nmemwatch: 0 events, nothing was lost"


def test_line_break_of_a_value_begins_no_line_of_ours(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text(f"from memwatch_core import watch\nx = watch(0, name={FORGED!r})\nx += 1\n")
    session = journal(tmp_path, FORGED.replace("\n", "\x85"))
    for arguments in (
        ["run", "p.py"], ["log", "-v", "zz"], ["log"], ["log", "--list"], ["log", str(session)], ["run", FORGED],
        ["run", "--", FORGED], ["run", "--sink", FORGED, "p.py"], ["log", FORGED], ["log", "--config", FORGED],
        ["run", "--tracker", FORGED, "p.py"], ["log", "--folder", "/dev/null/" + FORGED],
    ):  # fmt: skip
        assert not re.search(rb"^(memwatch: )+0 events, nothing", run(tmp_path, *arguments), re.M), arguments
    text = f"[core]\n{toml(FORGED)} = 1"
    (tmp_path / "memwatch.toml").write_text(text)
    assert run(tmp_path, "config").count(b"\n") == 1
    assert str(ConfigError("a\nb", FORGED)) == "a b\n" + FORGED.replace("\n", " ")


def test_uncaught_error_in_the_program_cannot_steer_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text("from memwatch_core import watch\nwatch(0)\n")
    (tmp_path / "memwatch.toml").write_text(CONFIGURATIONS["wrong value"]("".join(HOSTILE.values())))
    done = subprocess.run([sys.executable, "p.py"], cwd=tmp_path, env=environment(), capture_output=True, check=False)
    assert b"ConfigError" in done.stderr
    check(done.stderr)


@given(st.text(st.characters(exclude_categories=())))
def test_no_text_gets_through(text: str) -> None:
    check(printed.clean(text))
    check(printed.clean_lines(text))
    check(str(ConfigError(text)))
    assert printed.clean(text) == text or not text.isprintable()
    record = Notice(1, 2, text)
    line = encode([record])
    assert line == record_json(record) + b"\n", "both encoders agree"
    check(line)
    assert json.loads(line)["text"] == text.encode("utf-8", "backslashreplace").decode()


def test_nothing_is_printed_past_the_one_way_out() -> None:
    """The walk is by the syntax tree, so that examples in documentation don't count."""
    found = []
    folders = ("memwatch_core", "memwatch_plugins", "plugins")
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        if path.name == "printed.py" or not {"testing", "build"}.isdisjoint(path.parts):
            continue
        calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        found += [f"{path.relative_to(ROOT)}: {called}" for called in calls if PRINTING.search(called)]
    assert not found, "printed.py is the one way out"
    scripts = [*ROOT.glob("node_bridge/*.js"), *ROOT.glob("node_bridge/lib/**/*.js"), *ROOT.glob("plugins/*/*/*.js")]
    wrong = [path for path in scripts if path.name != "printed.js" and "stderr.write" in path.read_text()]
    assert not wrong
    assert not [path for path in scripts if "console." in path.read_text()]
