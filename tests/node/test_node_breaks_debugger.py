"""``then: "break"`` under a real debugger: where it stops, what can be read there, and that the program goes on."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from typing import Any

import pytest
from matrix import record
from nodejs import PROGRAMS, Node, environment, executable
from trackers import need

CLIENT = 24
"""The version that runs the debugger."""
TABLE = "Stops in a debugger, Node.js"

PLACES = """\
const fs = require('node:fs');
const { watch } = require('@memwatch/node');
const x = watch(new Int32Array(4), { name: 'x', when: 'new > 0', then: 'break' });
fs.writeFileSync('bytes', Buffer.alloc(16, 1));
const file = fs.openSync('bytes'), bytes = new Uint8Array(x.buffer);
function line(mine) {
  x[0] = mine;
  return mine + 1;
}
function loop(mine) {
  let sum = 0;
  for (let i = 0; i < 3; i++) {
    x[i] = i * mine;
    sum += x[i];
  }
  return sum;
}
function fill(mine) {
  x.fill(mine);
  return mine;
}
function read(mine) {
  fs.readSync(file, bytes, 0, 4, 0);
  return mine;
}
function middle(mine) {
  return (x[0] = mine) + x[0];
}
function last(mine) { x[3] = mine; }
async function later(mine) {
  await null;
  x[1] = mine;
  await null;
}
function* steps(mine) {
  x[2] = mine;
  yield mine;
}
function hot(mine, n) {
  let sum = 0;
  for (let i = 0; i < n; i++) {
    x[i & 3] = i === n - 2 ? mine : -i;
    sum += i;
  }
  return sum;
}
"""

STOPS = {
    "a statement": ("console.log(line(5))", "line", 8, 5, "6"),
    "a loop": ("console.log(loop(1))", "loop", 14, 1, "3"),
    "a builtin": ("console.log(fill(6))", "fill", 20, 6, "6"),
    "a system call": ("console.log(read(7))", "read", 23, 7, "7"),
    "in the midst of an expression": ("console.log(middle(8))", "middle", 27, 8, "16"),
    "the last of a function": ("console.log(last(9))", "last", 29, 9, "undefined"),
    "behind an await": ("later(4).then(() => console.log('later'))", "later", 33, 4, "later"),
    "a generator": ("console.log(steps(3).next().value)", "steps", 37, 3, "3"),
    "a hot loop": ("hot(-1, 1e5); console.log(hot(2, 1e5))", "hot", 41, 2, "4999950000"),
}
"""Way -> what is run, the function and the line where it stops first, what ``mine`` is there, what is printed."""


def debugged(
    node: Node,
    *arguments: str,
    expression: str = "mine",
    program: str = "program.js",
    executable_: str = "",
    **variables: str,
) -> tuple[list[dict[str, Any]], str, str]:
    """Runs the program under a debugger; its pauses, and what the program has printed."""
    errors = node.folder / "errors"
    command = [
        executable_ or node.path,
        "--require",
        "@memwatch/node/register",
        "--inspect-brk=127.0.0.1:0",
        *arguments,
    ]
    with errors.open("w") as stderr, (node.folder / "out").open("w") as stdout:
        child = subprocess.Popen([*command, program], cwd=node.folder, env=environment(**variables), stdout=stdout, stderr=stderr)  # fmt: skip
    try:
        end = time.monotonic() + 30
        while not (url := re.search(r"ws://\S+", errors.read_text())):
            assert child.poll() is None, errors.read_text()
            assert time.monotonic() < end
            time.sleep(0.02)
        client = subprocess.run(
            [executable(CLIENT), PROGRAMS / "debugger.js", url[0], expression],
            env=environment(**variables), capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        assert child.wait(30) == 0, errors.read_text()
    finally:
        child.kill()
    return [json.loads(line) for line in client.stdout.splitlines()], (node.folder / "out").read_text(), errors.read_text()  # fmt: skip


@pytest.fixture(autouse=True)
def client() -> None:
    if not executable(CLIENT).exists():
        pytest.skip(f"Node.js {CLIENT} isn't here, which runs the debugger")


@pytest.mark.parametrize("way", STOPS)
def test_it_stops_in_the_function_that_stored_before_its_next_statement(node: Node, way: str) -> None:
    record(TABLE, way, f"{node.version}")
    run, function, line, mine, printed = STOPS[way]
    node.write(f"{PLACES}{run};\n")
    pauses, out, errors = debugged(node)
    assert pauses, errors
    frame = next(
        frame for frame in pauses[0]["frames"] if frame["file"] == "program.js"
    )  # fs.readSync is JavaScript too
    if way == "a hot loop" and frame["line"] == 43:  # optimised code stops where the loop goes round
        frame["line"] = 41
    assert (frame["function"], frame["line"], frame["value"]) == (function, line, mine), (pauses[0], errors)
    assert out == f"{printed}\n"
    assert len(pauses) == errors.count("memwatch: x[")
    for said in errors.splitlines():
        if said.startswith("memwatch: x["):
            assert f" {function}" in said, said


@pytest.mark.parametrize("tracker", ["uffd-sigbus", "readonly", "uffd-queue"])
def test_it_stops_at_each_store_of_a_loop_and_names_its_line(node: Node, tracker: str) -> None:
    need(tracker)
    node.write(f"{PLACES}const wait = () => {{}};\nloop(1); loop(2);\n")
    pauses, _, errors = debugged(node, MEMWATCH_CORE_TRACKER=tracker)
    assert [pause["frames"][0]["line"] for pause in pauses] == [14] * 4
    said = re.findall(r"^memwatch: (x\[\d\]) (-?\d+) → (\d+) at program.js:13 loop, noticed at line 14", errors, re.M)
    assert said == [("x[1]", "0", "1"), ("x[2]", "0", "2"), ("x[1]", "1", "2"), ("x[2]", "2", "4")]


def test_lines_stay_right_in_functions_in_which_it_has_stopped(node: Node) -> None:
    node.write(f"{PLACES}loop(1); loop(2); line(4); line(5); later(2);\n")
    debugged(node)
    journal = node.read()
    assert [(event.site.line, event.site.function, event.exact) for event in journal.events if event.site] == [
        *[(13, "loop", True)] * 6,
        *[(7, "line", True)] * 2,
        (32, "later", True),
    ]


def test_functions_of_a_blackboxed_file_are_passed_over(node: Node) -> None:
    node.write(f"{PLACES}module.exports = line;\n", "places.js")
    node.write("const line = require('./places.js');\nfunction calls() {\n  line(5);\n  return 1;\n}\ncalls();\n")
    pauses, _, _ = debugged(node, BLACKBOX="places\\.js$")
    frames = pauses[0]["frames"]
    assert (frames[0]["function"], frames[1]["function"]) == ("line", "calls")  # the debugger shows the second


def test_workers_stop_in_their_own_debugger(node: Node) -> None:
    node.write(f"""{PLACES}
        const {{ Worker, isMainThread }} = require('node:worker_threads');
        if (isMainThread) new Worker(__filename).on('exit', () => console.log('ended'));
        else line(5);
    """)
    pauses, out, errors = debugged(node)
    assert out == "ended\n"
    assert [(pause["worker"], pause["frames"][0]["line"], pause["frames"][0]["value"]) for pause in pauses] == [(1, 8, 5)], errors  # fmt: skip


def test_a_node_without_a_table_of_symbols_stops_below_a_function_of_ours(node: Node) -> None:
    """As distributions build it. Those that export what is needed don't need the table."""
    stripped = str(node.folder / "node")
    shutil.copy(node.path, stripped)
    subprocess.run(["strip", stripped], check=True)
    node.write(f"{PLACES}console.log(line(5));\n")
    pauses, out, errors = debugged(node, executable_=stripped)
    assert out == "6\n"
    frames = pauses[0]["frames"]
    if node.version >= 24:
        assert (frames[0]["function"], frames[0]["file"]) == ("stop", "stop.js"), errors
        del frames[0]
    assert (frames[0]["function"], frames[0]["line"], frames[0]["value"]) == ("line", 8, 5), errors


def test_stepping_goes_on_behind_the_stop(node: Node) -> None:
    node.write(f"{PLACES}function outer() {{\n  line(5);\n  return 1;\n}}\nconsole.log(outer());\n")
    pauses, out, _ = debugged(node, STEP="Debugger.stepOut")
    assert out == "1\n"
    assert [(pause["frames"][0]["function"], pause["frames"][0]["line"]) for pause in pauses[:2]] == [("line", 8), ("outer", 49)]  # fmt: skip


def test_what_is_evaluated_while_it_stands_still_stops_nothing(node: Node) -> None:
    node.write(f"{PLACES}console.log(line(5));\n")
    pauses, out, errors = debugged(node, expression="(x[1] = 70, mine)")
    assert len(pauses) == 1, errors
    assert out == "6\n"
    assert [event.new[1] for event in node.read().of("x")][-1] == 70


def test_a_debugger_that_stands_still_elsewhere_evaluates_stores(node: Node) -> None:
    """At a ``debugger`` statement of the program's own: what is stored there doesn't hang."""
    node.write(f"{PLACES}function own(mine) {{\n  debugger;\n  return mine;\n}}\nconsole.log(own(5));\n")
    pauses, out, _ = debugged(node, expression="(x[1]++, [1, 2].map((n) => n + mine)[0])")
    assert out == "5\n"
    assert pauses[0]["frames"][0] == {"file": "program.js", "line": 48, "function": "own", "value": 6}


@pytest.mark.skipif(not os.environ.get("MEMWATCH_SOAK"), reason="takes a minute")
def test_many_stops_in_many_functions(node: Node) -> None:
    stores = "".join(f"function f{i}(a) {{ let mine = a; x[{i % 4}] = {i + 1}; mine += x[{i % 4}]; return mine; }}\n" for i in range(300))  # fmt: skip
    node.write(f"{PLACES}{stores}let sum = 0;\nfor (let i = 0; i < 3; i++) sum += {'+'.join(f'f{i}(0)' for i in range(300))};\nconsole.log(sum);\n")  # fmt: skip
    pauses, out, _ = debugged(node)
    assert out == f"{3 * sum(range(1, 301))}\n"
    assert len(pauses) == 900
