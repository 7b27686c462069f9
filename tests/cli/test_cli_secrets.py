"""Secrets: found in no file of a session and in no output, and yet it is known who wrote what."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import leaks
import pytest
from click.testing import CliRunner
from console_script import SCRIPT, environment
from trackers import need

from memwatch_core.cli.group import group

SHOWN = re.compile("<secret [0-9a-f]{12}>")
CASES = {
    "said": (True, "auto", "exit"),
    "patterns": (False, "readonly", "fork"),
    "queue": (True, "uffd-queue", "fork"),
}


class Session:
    """What is left of the program, and what was printed meanwhile."""

    def __init__(self, kind: str, folder: Path, printed: str) -> None:
        self.kind, self.folder, self.printed = kind, folder, printed

    def ask(self, *arguments: str) -> str:
        done = CliRunner().invoke(group, [*arguments, "--folder", str(self.folder / ".memwatch")], terminal_width=80)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.output

    @property
    def pid(self) -> int:
        """Of the first process."""
        return min(row["pid"] for row in self.rows("log") if row.get("seq"))

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.ask(*arguments, "--json").splitlines()]


@pytest.fixture(scope="module", params=CASES)
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Session:
    secret, tracker, end = CASES[request.param]
    need(tracker)
    folder = tmp_path_factory.mktemp(request.param)
    leaks.program(folder, secret=secret, end=end)
    (folder / "memwatch.toml").write_text(
        "" if secret else f"[privacy]\nvariables = {json.dumps(leaks.PATTERNS[1:])}\n"
    )
    options = ["--tracker", tracker, "--sink", "console", "--sink", "jsonl"]
    options += [] if secret else ["--secret", leaks.PATTERNS[0]]
    done = subprocess.run(
        [SCRIPT, "run", *options, "program.py"], cwd=folder, env=environment(), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return Session(request.param, folder, done.stdout + done.stderr)


def test_no_byte_of_a_session_has_a_secret(session: Session) -> None:
    files = [path for path in (session.folder / ".memwatch").rglob("*") if path.is_file()]
    files.append(session.folder / "events.jsonl")
    assert {path.suffix for path in files} >= {".mwj", ".json", ".jsonl"}
    assert not {path.name: leaked for path in files if (leaked := leaks.found(path.read_bytes()))}


def test_no_output_has_a_secret_and_all_say_that_there_is_one(session: Session) -> None:
    outputs = {"run": session.printed, "log": session.ask("log"), "blame": session.ask("blame", "token")}
    assert not {name: leaked for name, text in outputs.items() if (leaked := leaks.found(text.encode()))}
    assert [name for name, text in outputs.items() if not SHOWN.search(text)] == []


def test_no_command_shows_a_secret(session: Session) -> None:
    pid, leaked = session.pid, {}
    asked = [["log", "--json"], ["at", f"{pid}:40"], ["diff", f"{pid}:1", f"{pid}:40"]]
    asked += [[command, variable] for command in ("blame", "history") for variable in ("pin", "card", "user")]
    for arguments in asked if session.kind == "said" else asked[:2]:
        text = session.ask(*arguments)
        assert SHOWN.search(text), arguments
        leaked[" ".join(arguments)] = leaks.found(text.encode())
    assert not {name: found for name, found in leaked.items() if found}


def test_who_wrote_a_secret_is_known_as_ever(session: Session) -> None:
    pid = session.pid
    events = [row for row in session.rows("log") if row.get("seq") and row["pid"] == pid]
    assert all(row["exact"] or row["origin"] in ("kernel", "found") for row in events)
    assert {row["origin"] for row in events} >= {"announced", "store", "syscall"}
    assert {row["part"]["name"] for row in events if row["variable"] == "card" and row["part"]} == {".number", ".owner"}
    places = {row["part"]["name"] for row in events if row["variable"] == "user"}
    assert {".password", ".codes[0]", ".codes", '.more["deep"]["er"]', '.more["deep"]', ".new"} <= places
    members = [name for name in places if name.startswith(".tags{")]
    assert len(members) == 2
    assert all(re.fullmatch(r"\.tags\{<secret [0-9a-f]{12}>\}", name) for name in members)
    assert all(row["site"]["file"].endswith("program.py") for row in events if row["origin"] != "kernel")
    parts = [row["part"] for row in session.rows("blame", "card") if row.get("part")]
    assert {".number", ".owner", ".limit"} <= set(parts)


def test_secret_that_is_set_back_looks_as_it_did(session: Session) -> None:
    """And each value is the one that the event before left."""
    pins = [row for row in session.rows("log") if row.get("variable") == "user" and row.get("part")]
    passwords = [row["part"] for row in pins if row["part"]["name"] == ".password"][:3]
    first, second, third = passwords
    assert first["new"] == second["old"]
    assert second["new"] == third["old"]
    assert len({json.dumps(part["new"]) for part in passwords}) == 3


def test_lost_update_of_a_secret_is_found(session: Session) -> None:
    text = session.ask("blame", "shared")
    assert re.search(r"lost update of shared, .*program\.py:\d+ count writes what it makes of it, but ", text)
    assert "as if it were still <secret" in text


def test_nothing_changed_unseen(session: Session) -> None:
    text = session.ask("log")
    assert not re.search("changed unseen|without an event|unreadable|can't be read", text)
