"""The callers of a store are those of V8's own stack trace, whoever runs the code; where that isn't certain, the event
says so."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from call_trees_js import HEAD, sources
from nodejs import ONCE, Journal, Node
from test_node_sourcemaps import compiled as compiled  # a fixture

from memwatch_core.records import Event, Site

SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
Frame = tuple[str, int, int]


def frames(event: Event) -> list[Frame]:
    """The site and its callers."""
    sites = [event.site or Site("", 0, ""), *(event.stack or ())]
    return [(site.file, site.line, site.column) for site in sites]


def told(node: Node, name: str = "told.json") -> list[list[Frame]]:
    """V8's stack trace at each store."""
    return [
        [(file, line, column) for file, line, column in sites] for sites in json.loads((node.folder / name).read_text())
    ]


def run(node: Node, *arguments: str, limit: int = 16, **options: Any) -> Journal:
    node.run(*arguments, MEMWATCH_WATCH_STACK=str(limit), **options)
    return node.read()


def wrong(
    events: list[Event], traces: list[list[Frame]], limit: int = 16
) -> list[tuple[int, list[Frame], list[Frame]]]:
    """What is claimed and isn't so."""
    assert len(events) == len(traces)
    return [
        (number, frames(event), trace)
        for number, (event, trace) in enumerate(zip(events, traces, strict=True))
        if not event.stack_inexact
        and (
            frames(event)[1:] != trace[1:limit]
            or event.stack_cut != (len(trace) > limit)
            or frames(event)[0][:2] != trace[0][:2]
        )
    ]


def program(node: Node, seed: int, count: int = 100, rounds: int = 3, **options: Any) -> None:
    for name, text in sources(seed, count, rounds, **options).items():
        node.write(text, name)


@pytest.mark.parametrize("seed", range(20 if SOAK else 1))
def test_callers_of_random_trees_are_those_of_the_stack_trace(node: Node, seed: int) -> None:
    """Interpreted, then optimised; in each round every function is called as often."""
    rounds = 1000 if SOAK else 200
    program(node, seed * 10 + node.version, rounds=rounds)
    events, traces = run(node, "program.js", timeout=300).events, told(node)
    assert wrong(events, traces) == []
    cold = len(events) // rounds * 3
    assert cold > 10
    assert [event.seq for event in events[:cold] if event.stack_inexact or event.stack is None] == []
    assert sum(event.stack_inexact for event in events) < len(events) / 10
    assert len({len(event.stack or ()) for event in events}) > 4


@pytest.mark.parametrize(
    "flag", ["--no-opt", "--invocation-count-for-turbofan=1", "--stress-inline", "--always-turbofan"]
)
@pytest.mark.skipif(not SOAK, reason="long: other ways to compile, with MEMWATCH_SOAK=1")
def test_callers_are_right_however_much_is_optimised(node: Node, flag: str) -> None:
    if node.version == 20 and "count" in flag:
        flag = "--interrupt-budget=500"
    for seed in range(5):
        folder = node.folder / str(seed)
        folder.mkdir()
        inner = Node(node.version, folder)
        program(inner, seed + 1000, rounds=5 if flag == "--no-opt" else 500)
        events = run(inner, flag, "program.js", timeout=300).events
        assert wrong(events, told(inner)) == []
        assert flag != "--no-opt" or not any(event.stack_inexact for event in events)


@pytest.mark.parametrize("flag", ["--always-sparkplug", "--maglev"])
@ONCE
def test_callers_in_the_compilers_that_keep_no_lines_are_inexact(node: Node, flag: str) -> None:
    program(node, 7, rounds=100)
    events = run(node, flag, "program.js", exact_lines=False).events
    assert wrong(events, told(node)) == []
    assert any(event.stack_inexact for event in events)


INLINED = (
    HEAD
    + """\
require('./one.js');
require('./two.js');
function outer(n) {
  let sum = 0;
  for (let i = 0; i < n; i++) {
    sum += first(i);
  }
  return sum;
}
for (let round = 0; round < 3; round++) {
  for (const f of [last, second, first, outer]) %PrepareFunctionForOptimization(f);
  outer(20);
  %OptimizeFunctionOnNextCall(outer);
  outer(2);
}
console.log((%GetOptimizationStatus(outer) & (parseInt(process.versions.node) < 26 ? 16 : 8)) !== 0);
"""
)
ONE = """\
globalThis.last = function last(n) { x[0] = ++globalThis.n; told(); return n; };

globalThis.first = function first(n) {
  return n & 1 ? second(n, 1) : second(n, 2);
};
"""
TWO = """\
globalThis.second = function second(n, m) {
  if (n > 100) return first(n - 1);
  return last(n) +
    last(m);
};
"""


def test_callers_that_were_inlined_are_in_the_stack_with_their_lines(node: Node) -> None:
    """V8's own tables lie where they are looked for."""
    node.write(ONE, "one.js")
    node.write(TWO, "two.js")
    node.write(INLINED)
    done = node.run("--allow-natives-syntax", "program.js", MEMWATCH_WATCH_STACK="16")
    assert done.stdout == "true\n"
    events, traces = node.read().events, told(node)
    assert wrong(events, traces) == []
    assert not any(event.stack_inexact for event in events)
    functions = {tuple(site.function for site in event.stack or ()) for event in events}
    assert functions == {("second", "first", "outer", "<module>")}


LEFT = (
    HEAD
    + """\
function outer(how) {
  middle(how);
  return 1;
}
function middle(how) {
  inner(how); return 2;
}
function inner(how) {
  if (how) { %DeoptimizeFunction(outer); %DeoptimizeFunction(middle); }
  x[0] = ++n; told();
}
%NeverOptimizeFunction(inner);
for (let round = 0; round < 6; round++) {
  for (const f of [outer, middle]) %PrepareFunctionForOptimization(f);
  for (let i = 0; i < 20; i++) outer(0);
  for (const f of round & 1 ? [middle, outer] : [outer]) %OptimizeFunctionOnNextCall(f);
  outer(0);
  outer(round > 1);
}
"""
)


def test_caller_whose_optimised_code_was_left_meanwhile_has_no_wrong_line(node: Node) -> None:
    """Its return address has been changed: it is at the end of the code."""
    node.write(LEFT)
    events = run(node, "--allow-natives-syntax", "program.js").events
    assert wrong(events, told(node)) == []
    assert 0 < sum(event.stack_inexact for event in events) < len(events) / 10


ASYNCHRONOUS = (
    HEAD
    + """\
const { setTimeout: sleep } = require('node:timers/promises');
const { EventEmitter } = require('node:events');
const { Readable } = require('node:stream');
const store = () => { x[0] = ++n; told(); };
async function leaf(d) {
  store();
  await null;
  store(); if (d) await leaf(d - 1); store();
  await sleep(1);
  store();
}
async function* steps() { store(); yield 1; await null; store(); yield 2; }
class Thing extends EventEmitter { constructor() { super(); this.on('go', () => store()); } go() { this.emit('go'); } }
async function main() {
  await leaf(3);
  for await (const step of steps()) store();
  new Thing().go();
  process.nextTick(() => store());
  queueMicrotask(() => store());
  setImmediate(function immediate() { store(); });
  await new Promise((done) => setTimeout(() => { store(); done(); }, 1));
  await Promise.all([1, 2].map(async (v) => { store(); await v; store(); }));
  await Promise.reject(new Error()).catch(() => store());
  await { then(done) { store(); done(); } };
  for await (const part of Readable.from(['a', 'b'])) store();
  require('node:fs').readFile(__filename, () => store());
  require('node:fs').readdirSync(__dirname).forEach(store);
  new Promise(() => { throw 1; }).then(null, store);
}
main().finally(store);
"""
)


def test_stack_of_asynchronous_code_ends_where_it_was_resumed(node: Node) -> None:
    node.write(ASYNCHRONOUS)
    events = run(node, "program.js").events
    assert wrong(events, told(node)) == []
    assert not any(event.stack_inexact for event in events)
    assert len(events) > 30


DEEP = (
    HEAD
    + """\
function down(n) {
  if (n) {
    down(n - 1);
  } else {
    x[0] = ++globalThis.n; told();
  }
}
for (const depth of [0, 1, 5, 14, 15, 16, 17, 40, 127, 128, 129, 300, 5]) down(depth);
"""
)


@pytest.mark.parametrize("limit", [2, 16, 128])
@ONCE
def test_stack_that_is_longer_than_the_limit_is_cut_and_says_so(node: Node, limit: int) -> None:
    node.write(DEEP)
    events = run(node, "program.js", limit=limit).events
    assert wrong(events, told(node), limit) == []
    assert {event.stack_cut for event in events} == {False, True}
    assert not any(event.stack_inexact for event in events)


@ONCE
def test_without_being_asked_for_no_callers_are_recorded(node: Node) -> None:
    node.write(DEEP)
    assert {event.stack for event in run(node, "program.js", limit=1).events} == {None}
    done = node.run("program.js", MEMWATCH_WATCH_STACK="129", check=None)
    assert 'MEMWATCH_WATCH_STACK is 129; it must be "auto" or a number of frames, from 1 to 128' in done.stderr


WORKERS = """\
const { Worker, isMainThread } = require('node:worker_threads');
if (isMainThread) {
  for (let i = 0; i < 3; i++) new Worker(`${__dirname}/program.js`, { env: { ...process.env, TOLD: `told${i}.json` } });
  process.env.TOLD = 'told3.json';
  require('./program.js');
}
"""


@ONCE
def test_each_worker_has_the_stacks_of_its_own_isolate(node: Node) -> None:
    program(node, 5, rounds=60)
    node.write(WORKERS, "main.js")
    journal = run(node, "main.js")
    threads: dict[int, list[Event]] = {}
    for event in journal.events:
        threads.setdefault(event.variable_id, []).append(event)
    assert len(threads) == 4
    traces = told(node, "told3.json")
    for thread in range(3):
        assert told(node, f"told{thread}.json")[:10] == [
            [frame for frame in trace if frame[0].rsplit("/")[-1] != "main.js"] for trace in traces[:10]
        ]
    for events in threads.values():
        main = events[0].thread == "main"
        assert wrong(events, traces if main else told(node, "told0.json")) == []


BREAKPOINT = (
    HEAD
    + """\
const { Session } = require('node:inspector');
require('./one.js');
require('./two.js');
const session = new Session();
session.connect();
session.post('Debugger.enable');
session.post('Debugger.setBreakpointByUrl', { urlRegex: '.*two.js', lineNumber: 2, condition: 'false' });
for (let i = 0; i < 3; i++) first(i);
"""
)


def test_callers_in_which_a_debugger_has_a_breakpoint_are_exact(node: Node) -> None:
    """V8 runs a copy of them, which it doesn't tell of."""
    node.write(ONE, "one.js")
    node.write(TWO, "two.js")
    node.write(BREAKPOINT)
    events = run(node, "program.js").events
    assert wrong(events, told(node)) == []
    assert not any(event.stack_inexact for event in events)


def test_callers_of_a_compiled_program_have_the_lines_that_were_written(node: Node, compiled: Path) -> None:
    shutil.copytree(compiled, node.folder, dirs_exist_ok=True)
    events = run(node, "commonjs/program.js").of("board")
    main = str(node.folder / "src" / "program.ts")
    found = {
        (event.site and Path(event.site.file).name, tuple((s.file, s.line, s.function) for s in event.stack or ()))
        for event in events
        if not event.stack_inexact
    }
    assert found == {
        ("board.ts", ((main, 10, "<module>"),)),
        ("program.ts", ((main, 12, "<module>"),)),
        ("program.ts", ()),
    }
    assert not any(event.stack_inexact for event in events)
