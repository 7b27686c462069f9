"""What can't be served is told by name and shown a way: other runtimes, and plain objects."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from nodejs import ONCE, ROOT, Node, environment

SENTENCE = "memwatch runs in Node.js only, and this is {}, which lacks the parts of V8's interface that tell the line of a store: run the program with node"


@ONCE
@pytest.mark.parametrize(("key", "name"), [("bun", "Bun"), ("deno", "Deno")])
def test_another_runtime_is_named_in_one_sentence(node: Node, key: str, name: str) -> None:
    """By what it shows of itself."""
    node.write(f"Object.defineProperty(process.versions, '{key}', {{ value: '9.8.7', enumerable: true }});", "shows.js")
    node.write("try { require('@memwatch/node'); } catch (error) { console.log(error.message); }")
    done = node.run("--require", "./shows.js", "program.js", register=False)
    assert done.stdout == SENTENCE.format(f"{name} 9.8.7") + "\n"
    registered = node.run(
        "--require", "./shows.js", "--require", "@memwatch/node/register", "program.js", register=False
    )
    assert registered.stderr == f"memwatch: {SENTENCE.format(f'{name} 9.8.7')}\n", "and the program goes on"


@ONCE
@pytest.mark.parametrize("command", [("bun",), ("deno", "run", "-A")], ids=lambda command: str(command[0]))
def test_the_runtime_itself_says_so(node: Node, command: tuple[str, ...]) -> None:
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} isn't here")
    node.write("try { require('@memwatch/node'); } catch (error) { console.log(error.message); }", "program.cjs")
    done = subprocess.run(
        [*command, "program.cjs"], cwd=node.folder, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert re.fullmatch(re.escape(SENTENCE.format("@")).replace("@", r"(Bun|Deno) \S+") + "\n", done.stdout)


def test_field_of_an_object_is_watched_as_the_document_shows(node: Node) -> None:
    text = (ROOT / "docs" / "node.md").read_text()
    section = text[text.index("### Objects\n") : text.index("## Workers\n")]
    program, shown = re.findall(r"```(?:js)?\n(.*?)```", section, re.S)
    node.write(program, "order.js")
    node.run("order.js")
    journal = node.read()
    assert [line.split() for line in shown.splitlines()] == [
        f"{e.variable}[0]  {e.old[0]} -> {e.new[0]} order.js:{e.site.line} {e.site.function} {e.thread}".split()
        for e in journal.events
        if e.site
    ]
    assert len(journal.events) == 2
    assert all(event.exact for event in journal.events)
