"""The hunts of docs/finding-a-culprit.md in programs of Node.js, and what the commands say of a typed array."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from nodejs import ONCE, ROOT, Node, environment

CHANGING = ((r"\d\d:\d\d:\d\d\.\d{3}", "12:00:00.000"), (r" {2,}", "  "))


def shown(text: str) -> list[str]:
    for pattern, instead in CHANGING:
        text = re.sub(pattern, instead, text)
    return [line.strip() for line in text.splitlines() if line.strip()]


def call(node: Node, *arguments: str) -> str:
    path = f"{Path(node.path).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "memwatch_core.cli", *arguments], cwd=node.folder, env=environment(PATH=path),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def hunt(node: Node, program: str) -> None:
    """Each command says what the page shows."""
    page = (ROOT / "docs/finding-a-culprit.md").read_text()
    (block,) = re.findall(rf"^```text\n(\$ memwatch run {program}.*?)^```", page, re.M | re.S)
    node.write((ROOT / "examples/culprits" / program).read_text(), program)
    for command, expected in re.findall(r"^\$ memwatch (.*)\n((?:(?!\$ ).*\n)*)", block, re.M):
        arguments = command.removesuffix(" 2> /dev/null").replace("'", "").split()
        assert shown(call(node, *arguments)) == shown(expected), command


@ONCE
def test_commands_name_the_orders_that_wrote_to_one_total(node: Node) -> None:
    hunt(node, "receipts.js")


@ONCE
def test_commands_name_the_line_that_wrote_the_wrong_slot(node: Node) -> None:
    hunt(node, "sensors.js")
    rows = [json.loads(line) for line in call(node, "blame", "board", "--json").splitlines()]
    assert [(row["part"], row["value"], row["last"]["seq"], row["last"]["site"]["line"]) for row in rows] == [
        ("[0]", 21, 1, 9),
        ("[1]", 22, 2, 9),
        ("[2]", 0, 5, 13),
        ("[3]", 24, 4, 9),
    ]
    (value,) = map(json.loads, call(node, "at", "4", "--json").splitlines())
    assert value["value"] == [21, 22, 23, 24]
    (value,) = map(json.loads, call(node, "at", "end", "--json").splitlines())
    assert value["value"] == [21, 22, 0, 24]
    (difference,) = map(json.loads, call(node, "diff", "4", "end", "--json").splitlines())
    assert (difference["part"], difference["old"], difference["new"]) == ("[2]", 23, 0)
    (run,) = map(json.loads, call(node, "history", "board[2]", "--json").splitlines()[1:])
    assert (run["old"], run["new"]) == (23, 0)
