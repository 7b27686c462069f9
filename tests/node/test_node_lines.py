"""The line of a store is the line that made it, in every tier; where it can't be known the event says so."""

from __future__ import annotations

import json
import os
from itertools import product
from pathlib import Path

import pytest
from nodejs import PROGRAMS, Node

from memwatch_core.records import Event

SOAK = bool(os.environ.get("MEMWATCH_SOAK"))


def place(event: Event) -> tuple[str, int, str] | None:
    site = event.site
    return (Path(site.file).name, site.line, site.function) if site else None


def test_each_of_many_kinds_of_stores_has_its_exact_line(node: Node) -> None:
    done = node.run(str(PROGRAMS / "lines.js"), NODE_PATH="node_modules")
    cases = json.loads(done.stdout)
    assert len(cases) >= 31
    events = {event.seq: event for event in node.read().events}
    wrong = {
        case["case"]: (place(event), event.exact, case["line"])
        for case in cases
        if (place(event := events[case["seq"]]) or ())[:2] != (case["file"], case["line"]) or not event.exact
    }
    assert not wrong
    assert all(event.exact for event in events.values())


def test_without_the_flags_no_line_is_wrong_and_what_is_unknown_says_so(node: Node) -> None:
    """Sparkplug and Maglev carry no lines: the function's first one stands there then."""
    done = node.run("--always-sparkplug", str(PROGRAMS / "lines.js"), exact_lines=False, NODE_PATH="node_modules")
    events = {event.seq: event for event in node.read().events}
    claimed = [case for case in json.loads(done.stdout) if events[case["seq"]].exact]
    assert [
        (case["case"], place(events[case["seq"]]))
        for case in claimed
        if place(events[case["seq"]])[:2] != (case["file"], case["line"])
    ] == []  # type: ignore[index]
    assert any(not event.exact for event in events.values())


def test_what_calls_that_have_ended_left_on_the_stack_is_no_line(node: Node) -> None:
    """Each store is the first at its place, which V8 makes in C++; before it, a function of another file has run there."""
    shapes = list(
        product(range(9), range(10), ("Reflect.apply(inner, this, arguments)", "inner(arguments)", "[1].map(inner)"))
    )
    calls, functions = ["const { watch } = require('@memwatch/node'), other = require('./other');"], []
    calls.append("const x = watch(new Int32Array(1), { name: 'x' });")
    for number, (parameters, locals_, calling) in enumerate(shapes):
        names = [f"l{n}" for n in range(locals_)]
        body = "".join(f"let {name} = arguments.length; " for name in names)
        body += f"const inner = (...given) => [given.length, {', '.join(names)}]; return {calling};"
        functions.append(
            f"exports.f{number} = function ({', '.join(f'p{n}' for n in range(parameters))}) {{ {body} }};"
        )
        calls.append(
            f"(async () => {{ await null; other.f{number}({', '.join(map(str, range(parameters)))}); x[0] = {len(calls) + 1}; }})();"
        )
    node.write("\n".join(functions), "other.js")
    node.run(node.write("\n".join(calls)))
    events = node.read().events
    assert len(events) == len(shapes)
    assert [
        (event.new, place(event)) for event in events if (place(event) or ())[:2] != ("program.js", event.new[0])
    ] == []
    assert all(event.exact for event in events)


COMPACTED = """
const stores = Array.from({ length: 150 }, (_, n) => require(`./stores/${n}`));
for (let round = 0; round < 4; round++) {
  for (const [n, store] of stores.entries()) store(x, n + 1);
  gc();
}
"""
ENTERED = """
const { Worker, isMainThread } = require('node:worker_threads');
if (process.argv[2] === 'worker' && isMainThread) return void new Worker(__filename, { argv: process.argv.slice(2) });
const { watch } = require('@memwatch/node');
const x = watch(new Int32Array(1), { name: 'x' });
"""


MOVED = [("--compact-on-every-full-gc", "main"), ("--stress-compaction", "worker")]
"""Each flag and each kind of thread once; their product in a long run."""


@pytest.mark.parametrize(("flag", "thread"), list(product(*zip(*MOVED, strict=True))) if SOAK else MOVED)
def test_line_is_exact_however_often_collections_have_moved_the_code(node: Node, flag: str, thread: str) -> None:
    """Threads that help with a collection move most of it."""
    (node.folder / "stores").mkdir()
    for n in range(150):
        body = "".join(f"if (v < 0) x[{k}] *= {k};\n" for k in range(n % 40))
        node.write(f"module.exports = function store{n}(x, v) {{\n{body}x[0] = v;\n}};", f"stores/{n}.js")
    node.run("--expose-gc", flag, node.write(ENTERED + COMPACTED), thread)
    events = node.read().events
    assert len(events) == 4 * 150
    expected = [(f"{n}.js", n % 40 + 2, f"store{n}") for n in range(150)] * 4
    assert [(place(event), event.exact) for event in events] == [(where, True) for where in expected]


DEBUGGED = """\
const ways = {
  store: (x, v) => {
    let y = v; x[0] = y;
  },
  set: (x, v) => {
    let y = v; x.set([y]);
  },
  fill: (x, v) => {
    let y = v; x.fill(y);
  },
  reflect: (x, v) => {
    let y = v; Reflect.set(x, 0, y);
  },
  atomics: (x, v) => {
    let y = v; Atomics.store(x, 0, y);
  },
  view: (x, v) => {
    let y = v; new DataView(x.buffer, x.byteOffset).setInt32(0, y);
  },
  random: (x, v) => {
    let y = v; require('node:crypto').randomFillSync(x, y - y);
  },
};
module.exports = Object.values(ways);
"""
UNTOLD = """
const { Session } = require('node:inspector');
const ways = require('./debugged');
const session = new Session();
session.connect();
session.post('Debugger.enable');
let set = 0;
for (const [n] of ways.entries())
  session.post('Debugger.setBreakpointByUrl', { urlRegex: '.*debugged.js', lineNumber: n * 3 + 2, condition: 'false' }, (error, { locations }) => set += locations.length);
const x = watch(new Int32Array(1), { name: 'x' });
function calls() {
  for (const way of ways) way(x, 5);
  for (const way of ways) Reflect.apply(way, null, [x, 6]);
  for (const way of ways) [7].forEach((v) => way(x, v));
}
calls();
setTimeout(() => { calls(); console.log(set); });
"""


def test_store_of_a_function_that_v8_has_not_told_of_is_not_its_callers(node: Node) -> None:
    """What a debugger has a breakpoint in runs as a copy, which V8 tells nobody of."""
    node.write(DEBUGGED, "debugged.js")
    done = node.run(node.write("const { watch } = require('@memwatch/node');" + UNTOLD))
    assert done.stdout == "7\n"
    events = node.read().events
    assert len(events) >= 2 * 3 * 7
    assert [place(event) for event in events if event.exact and (place(event) or ())[0] != "debugged.js"] == []


LEFT = """\
function outer(buffer, value) {
  buffer.writeInt32LE(value, 0); // outer
  return 1;
}
const plain = Buffer.alloc(8), optimise = () => { for (let i = 0; i < 30000; i++) outer(plain, i & 15); };
for (const value of [8.5, true, { valueOf: () => 7 }, '9']) {
  optimise();
  outer(watched, value);
}
"""


@pytest.mark.parametrize("node", [22, 24, 26], indirect=True, ids=lambda version: f"node{version}")
def test_store_is_its_functions_when_optimised_code_was_left_in_the_midst_of_it(node: Node) -> None:
    """Node's own function, inlined, gets a value of another kind: frames of the interpreter are made for both."""
    node.write("const watched = require('@memwatch/node').watch(Buffer.alloc(8), { name: 'x' });" + LEFT)
    node.run("program.js")
    places = {(place(event), event.exact) for event in node.read().events}
    assert {where[2] for where, _ in places if where} == {"outer"}
    assert {where for where, exact in places if exact} == {("program.js", 2, "outer")}
