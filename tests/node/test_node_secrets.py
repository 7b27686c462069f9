"""Secrets of a Node.js program: their bytes are in no journal, and it is known who wrote them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from nodejs import PACKAGE, Node, environment

from memwatch_core.cli.group import group
from memwatch_core.native import proxy

NEEDLES = [text.encode(encoding) for text in ("hunter2", "sekret") for encoding in ("utf-8", "utf-16-le")]

PROGRAM = """
const fs = require('node:fs');
const { watch } = require('@memwatch/node');
const text = watch(Buffer.alloc(64, 'hunter2 '), { name: 'apiToken', copy: true%s });
const wide = watch(new Uint16Array([...'hunter2hunter2'].map((c) => c.charCodeAt(0))), { name: 'wide_TOKEN'%s });
const plain = watch(new Float64Array(1), { name: 'plain' });
for (let i = 0; i < 3; i++) {
  text.write('sekret' + i, 8);
  text[0] = 65 + i %% 2;
  wide[1] = 'sekret'.charCodeAt(i);
  plain[0] = i;
}
fs.writeFileSync('given', 'sekret-of-a-file');
fs.readSync(fs.openSync('given'), text, 16, 16, 0);
"""


@pytest.mark.parametrize("how", ["said", "run"])
def test_secret_is_masked_and_its_writers_are_known(how: str, node: Node) -> None:
    said = ", secret: true" if how == "said" else ""
    node.write(PROGRAM % (said, said))
    if how == "run":
        command = [sys.executable, "-m", "memwatch_core.cli", "run", "-q", "--secret", "*token*", "--", node.path]
        subprocess.run([*command, "program.js"], cwd=node.folder, env=environment(), check=True, timeout=60)
    else:
        node.run("program.js")
    (folder,) = node.sessions()
    data = b"".join(path.read_bytes() for path in Path(folder).iterdir())
    assert [needle for needle in NEEDLES if needle in data] == []
    journal = node.read()
    tokens = journal.of("apiToken")
    assert {event.origin for event in tokens} == {"store", "syscall"}
    assert all(re.fullmatch("<secret [0-9a-f]{12}>", str(event.new)) for event in tokens)
    firsts = [str(event.part.new) for event in tokens if event.offset == 0 and len(event.after) == 1 and event.part]
    assert firsts[0] == firsts[2] != firsts[1]
    assert [event.new[0] for event in journal.of("plain")] == [0, 1, 2]
    done = CliRunner().invoke(group, ["blame", "apiToken", "--session", str(folder)])
    assert "each byte stands for another one: the value is a secret" in done.output
    assert "program.js" in done.output


def test_setting_that_is_no_list_of_names_is_refused(node: Node) -> None:
    node.write("require('@memwatch/node').session()")
    node.run("program.js", MEMWATCH_PRIVACY_VARIABLES='nothing, *token*, *["a,b"]')
    (folder,) = node.sessions()
    file = Path(folder) / "settings.json"
    said = json.loads(file.read_text())
    assert said["settings"]["privacy"] == {"variables": ["nothing", "*token*", '*["a,b"]']}
    said["settings"]["privacy"] = {"variables": [""]}
    file.write_text(json.dumps(said))
    done = node.run("program.js", check=1, MEMWATCH_SESSION=str(folder))
    assert 'privacy.variables is [""]; it must be a list of names, such as ["*token*", "order.card"]' in done.stderr


def test_both_sides_match_names_alike() -> None:
    patterns = ["token", "*TOKEN*", "order.card", 'h["x*"]', "a?c", "(a|b)", "**b*", "é*", ".^$+[]{}\\"]
    names = [
        "token",
        "apiToken",
        "order.card",
        "orderxcard",
        'h["x-y"]',
        "aéc",
        "a😀c",
        "ac",
        "a",
        "(a|b)",
        "b",
        "É",
        "é1",
    ]
    names.append(".^$+[]{}\\")
    code = f"""
      const {{ isSecret }} = require({str(PACKAGE / "lib/settings.js")!r});
      const [patterns, names] = {json.dumps([patterns, names])};
      console.log(JSON.stringify(patterns.map((pattern) => names.map((name) => isSecret([pattern], name)))));
    """
    done = subprocess.run(["node", "-e", code], capture_output=True, text=True, check=True, timeout=30)
    expected = []
    for pattern in patterns:
        proxy.set_secrets((pattern.encode(),))
        expected.append([proxy.is_secret(name) for name in names])
    proxy.set_secrets(())
    assert json.loads(done.stdout) == expected
    assert sum(map(sum, expected)) > 10
