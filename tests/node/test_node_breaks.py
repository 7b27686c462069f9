"""``watch(x, {when, then})`` in JavaScript: functions are told what was written, whoever wrote and however; where a
condition is refused; what is printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from matrix import record
from nodejs import ONCE, PROGRAMS, ROOT, Node, environment
from trackers import need

TABLE = "Breaks in Node.js"
SOAK = bool(os.environ.get("MEMWATCH_SOAK"))


FIVE = {"Float32Array": 5, "Float64Array": 5, "Float16Array": 5, "BigInt64Array": "5n", "BigUint64Array": "5n"}
BY_ELEMENT = ("element", "twice", "fill", "set", "atomics")


@pytest.mark.parametrize("thread", ["main", "worker"])
@pytest.mark.parametrize("tracker", ["uffd-sigbus", "readonly", "uffd-queue"])
def test_a_function_is_told_of_each_kind_and_way(foreign: Node, tracker: str, thread: str) -> None:
    record(TABLE, f"each kind and way, {thread}", tracker)
    need(tracker)
    foreign.write((PROGRAMS / "breaks.js").read_text())
    done = foreign.run("program.js", "foreign", *[thread] * (thread == "worker"), MEMWATCH_CORE_TRACKER=tracker)
    told = json.loads(done.stdout)
    name = "main" if thread == "main" else "worker 1"
    tried = 0
    for case in told:
        kind, way, hits = case["kind"], case["way"], case["hits"]
        if not case["changed"]:
            assert not hits, case
            continue
        tried += 1
        assert hits, case
        hit = hits[0]
        assert hit["changed"], case
        assert hit["variable"] == f"{kind}.{way}"
        is_bytes = kind in ("DataView", "ArrayBuffer")
        assert hit["path"] == hit["variable"] + ("" if is_bytes else "[1]"), case
        assert hit.get("index") == (None if is_bytes else 1), case
        if way in BY_ELEMENT:
            assert hit["new"] == FIVE.get(kind, 5), case
            assert hit["old"] in (0, "0n"), case
        if way not in ("read", "thread"):
            assert hit["site"]["function"] == way, case
            assert hit["thread"] == name, case
        if way in ("readSync", "read"):
            assert hit["origin"] in ("syscall", "kernel"), case
        if way == "twice":
            assert hit["more"] + len(hits) == 2, case
        if way == "thread":
            assert [(one["new"], one["old"], one["site"]["line"] > 0) for one in hits] == [
                (3, 0, True),
                (9, 3, False),
            ], case
    assert tried > 130


@ONCE
def test_the_program_of_the_document_prints_what_is_shown_there(node: Node) -> None:
    section = (ROOT / "docs/breaks.md").read_text().partition("## On Node.js")[2]
    program, shown = re.findall(r"^```(?:js|)\n(.*?)^```", section, re.M | re.S)
    node.write(program, "stock.js")
    lines = shown.replace("/app/", f"{node.folder}/").splitlines()
    assert node.run("stock.js").stderr.splitlines() == lines


def test_what_the_command_line_asks_for_is_judged_of_all_that_the_program_watches(node: Node) -> None:
    node.write("""
        const { watch } = require('@memwatch/node');
        const total = watch(new Int32Array(1), { name: 'total' }), view = watch(new DataView(new ArrayBuffer(4)), { name: 'view' });
        const next = () => {};
        total[0] = -1; next();
        total[0] = 1; next();
        view.setInt8(0, -1);
    """)
    command = [sys.executable, "-m", "memwatch_core.cli", "run", "-q", "--sink", "jsonl"]

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        path = f"{Path(node.path).parent}:{os.environ['PATH']}"
        return subprocess.run(
            [*command, *options, "--", "node", "program.js"], cwd=node.folder, capture_output=True, text=True, timeout=60,
            env=environment(PATH=path, MEMWATCH_SINKS_JSONL_PATH="events.jsonl"),
        )  # fmt: skip

    said = run("--when", "new < 0", "--when", "v*: changed", "--then", "dump").stderr
    assert "memwatch: total[0] 0 → -1 at program.js:5 <module> (when new < 0)\n" in said
    assert "memwatch: view was written to at program.js:7 <module> (when changed)\n" in said
    assert "when='new < 0' isn't judged of view: values like that of 'view' aren't compared" in said
    assert said.count("→") == 1
    raised = run("--when", "new < 0", "--then", "raise").stderr
    assert "a store can't throw in JavaScript" in raised
    assert "0 → -1 at program.js:5" in raised
    for option in ("--break", "--watch"):
        refused = run(option, "orders:config")
        assert refused.returncode != 0
        assert "a target is a place of a Python module, and node is run by another runtime" in refused.stderr


def test_how_many_could_not_be_acted_on_is_said(foreign: Node) -> None:
    foreign.write("""
        const { watch } = require('@memwatch/node');
        const seen = new Set();
        const all = Array.from({ length: 1100 }, (_, i) =>
          watch(new Int32Array(1), { name: 'x' + i, then: (hit) => seen.add(hit.variable) }));
        require('./foreign.node').each(all);
        setImmediate(() => console.log(seen.size, all.every((one) => one[0] === 1)));
    """)
    done = foreign.run("program.js")
    assert done.stdout == "1024 true\n"
    assert done.stderr == "memwatch: 76 writes met a condition and aren't acted on: too many waited (docs/breaks.md)\n"
    assert len(foreign.read().events) == 1100


def test_many_numbers_of_one_store_are_judged_each_by_itself(node: Node) -> None:
    node.write("""
        const { watch } = require('@memwatch/node');
        const told = [];
        const x = watch(new Int32Array(64), { name: 'x', when: 'new == 7', then: (hit) => told.push(hit.index, hit.more) });
        const from = new Int32Array(64);
        for (const i of [9, 10, 11, 40]) from[i] = 7;
        x.set(from);
        setImmediate(() => console.log(told.join()));
    """)
    assert node.run("program.js").stdout == "9,3\n"


REFUSED = {
    "{ then: 'throw' }": "ConditionError then='throw': a store can't throw in JavaScript.*a function is called",
    "{ then: 'raise' }": "ConditionError then='raise': a store can't throw in JavaScript",
    "{ then: 'stop' }": "ConditionError then='stop': there is no such action; it is one of 'break', 'dump', or a function",
    "{ then: 3 }": "ConditionError then=number: there is no such action",
    "{ when: 3 }": "TypeError a condition is a string",
    "{ when: 'nwe < 0' }": "ConditionError when='nwe < 0'\n    nwe < 0\n    ^ there is no name 'nwe'; did you mean new",
    "{ when: 'new.price < 0' }": "ConditionError .*\n.*\n    ^ 'it' is a struct, of which a field is compared: new.0. to new.3.",
    "{ when: 'new[4] < 0' }": "ConditionError .*\n.*\n    ^ 'it' is a struct",
    "{ when: 'new < \"a\"' }": "ConditionError .*\n.*\n *^ number is never compared with text",
    "{ when: 'new < 0', secret: true }": "ConditionError .*\n.*\n    ^ 'it' is a secret",
    "{ when: 'statement is None', trackSQL: false }": "ConditionError 'it' is watched without SQL.*trackSQL: true",
    "{ whem: 'new < 0' }": "TypeError .*no option 'whem'",
    "{ When: 'new < 0' }": "TypeError .*no option 'When'; did you mean 'when'",
}


@ONCE
def test_what_is_wrong_is_refused_and_leaves_no_watch(node: Node) -> None:
    node.write(f"""
        const {{ watch, session }} = require('@memwatch/node');
        const results = [];
        for (const options of [{", ".join(REFUSED)}]) {{
          try {{
            watch(new Int32Array(4), {{ name: 'it', ...options }});
            results.push('nothing');
          }} catch (error) {{
            results.push(`${{error.name}} ${{error.message}}`);
          }}
        }}
        try {{
          watch(new DataView(new ArrayBuffer(4)), {{ name: 'bytes', when: 'new < 0' }});
        }} catch (error) {{
          results.push(error.message);
        }}
        console.log(JSON.stringify(results), session().stats().variables);
    """)
    out = node.run("program.js").stdout
    results, left = json.JSONDecoder().raw_decode(out)[0], out.split()[-1]
    assert left == "0"
    for (options, expected), result in zip(REFUSED.items(), results, strict=False):
        assert re.match(expected.replace("^ ", r"\^ "), result), (options, result)
    assert results[-1].endswith("values like that of 'bytes' aren't compared; changed can be asked")


def test_what_a_function_may_do(node: Node) -> None:
    """It may end the watch, write to what it watches, throw, be async; what it throws is the program's, and keeps the
    others from nothing."""
    node.write("""
        const { watch, unwatch } = require('@memwatch/node');
        const told = [];
        process.on('uncaughtException', (error) => told.push(`uncaught ${error.message}`));
        const a = watch(new Int32Array(1), { name: 'a', then(hit) { told.push(`a ${hit.new}`); a[0] = 100; throw new Error('of a'); } });
        const b = watch(new Int32Array(1), { name: 'b', then(hit) { told.push(`b ${hit.new}`); unwatch(b); } });
        const c = watch(new Int32Array(1), { name: 'c', async then(hit) { await null; c[0] = 9; told.push(`c ${hit.new}`); } });
        const d = watch(new Float64Array(1), { name: 'd', when: 'new > 1', then: (hit) => told.push(Object.isFrozen(hit), hit.when) });
        a[0] = 1; b[0] = 2; c[0] = 3; d[0] = 1; d[0] = 4.5;
        told.push('synchronous');
        Promise.resolve().then(() => told.push('a microtask behind'));
        setTimeout(() => { c[0] = 3; b[0] = 3; console.log(told.join(', ')); process.exitCode = 0; }, 20);
    """)
    told = node.run("program.js").stdout.strip().split(", ")
    assert told[0] == "synchronous"
    assert {"a 1", "uncaught of a", "b 2", "c 3", "true", "new > 1", "a microtask behind"} <= set(told)
    assert not {"a 100", "b 3"} & set(told)
    assert told.count("b 2") == 1
    assert [event.new[0] for event in node.read().of("a")] == [1, 100]


def test_what_is_met_last_is_told_at_the_exit(node: Node) -> None:
    for end in ("", "process.exit(0);", "process.on('exit', () => { x[0] = 2; });"):
        node.write(f"""
            const {{ watch }} = require('@memwatch/node');
            const x = watch(new Int32Array(1), {{ then: (hit) => console.log('told', hit.old) }});
            x[0] = 1;
            {end}
        """)
        assert node.run("program.js").stdout.startswith("told 0\n"), end


def test_dump_prints_what_was_written_and_the_stack_of_the_store(node: Node) -> None:
    node.write("""
        const { watch } = require('@memwatch/node');
        const total = watch(new Float64Array(2), { name: 'to\\u009btal', when: 'new < 0', then: 'dump' });
        function pay(n) { total[1] -= n; }
        function order(n) { pay(n); }
        const next = () => {};
        order(2.5); next();
        for (let i = 0; i < 3; i++) total[0] = -i;
    """)
    assert node.run("program.js").stderr == (
        "memwatch: to\\x9btal[1] 0 → -2.5 at program.js:4 pay (when new < 0)\n"
        "Thread main (most recent call first):\n"
        f"    at pay ({node.folder}/program.js:4)\n"
        f"    at order ({node.folder}/program.js:5)\n"
        f"    at <module> ({node.folder}/program.js:7)\n"
        "memwatch: to\\x9btal[0] 0 → -1 at program.js:8 <module> (when new < 0), and 1 more like it\n"
        "Thread main (most recent call first):\n"
        f"    at <module> ({node.folder}/program.js:8)\n"
    )


def test_without_a_debugger_break_prints_the_stack_and_says_once_why(node: Node) -> None:
    node.write("""
        const { watch } = require('@memwatch/node');
        const x = watch(new Int32Array(1), { name: 'x', when: 'new', then: 'break' }), next = () => {};
        x[0] = 1; next();
        x[0] = 2; next();
        console.log('done');
    """)
    done = node.run("program.js")
    assert done.stdout == "done\n"
    assert done.stderr.count("at <module> (") == 2
    assert done.stderr.count("no debugger has stopped here") == 1
    assert "Run node --inspect-brk" in done.stderr


def test_nothing_is_loaded_and_no_thread_started_until_it_is_asked_for(node: Node) -> None:
    node.write("""
        const fs = require('fs');
        const { watch } = require('@memwatch/node');
        const look = () => [Object.keys(require.cache).filter((file) => /\\/(breaks|conditions|conditions_text|like_python|literals|stop)\\.js$/.test(file)).length,
          fs.readdirSync('/proc/self/task').filter((task) => /memwatch/.test(fs.readFileSync(`/proc/self/task/${task}/comm`, 'utf8'))).length, process.listenerCount('exit')];
        const x = watch(new Int32Array(1));
        x[0] = 1;
        console.log(...look());
        watch(new Int32Array(1), { then: 'dump' });
        console.log(...look());
    """)
    assert node.run("program.js").stdout == "0 0 0\n6 1 1\n"


def test_workers_that_end_take_their_conditions_along(node: Node) -> None:
    node.write("""
        const { Worker, isMainThread, parentPort } = require('node:worker_threads');
        const { watch, share, receive, session } = require('@memwatch/node');
        if (isMainThread) {
          const told = [];
          const mine = watch(new Int32Array(1), { name: 'mine', when: 'new > 2', then: (hit) => told.push([hit.new, hit.thread]) });
          let left = 8;
          for (let i = 0; i < 8; i++) {
            const worker = new Worker(__filename);
            worker.on('message', (theirs) => {
              const x = receive(theirs);
              x[0] = 1; // in the main thread: the worker's function is called in the worker, if it is there still
              worker.postMessage(share(mine));
            });
            if (i % 2) worker.on('message', () => setTimeout(() => worker.terminate(), i));
            worker.on('exit', () => {
              if (--left) return;
              mine[0] = 50;
              setTimeout(() => console.log(told.some(([n, thread]) => n === 50 && thread === 'main'), told.every(([n]) => n > 2)), 20);
            });
          }
        } else {
          const own = watch(new Int32Array(1), { name: 'own', then: () => own[0] + 1 });
          parentPort.postMessage(share(own));
          parentPort.once('message', (shared) => {
            const mine = receive(shared);
            for (let i = 0; i < 20000; i++) mine[0] = own[0] = i;
          });
        }
    """)
    assert node.run("program.js").stdout == "true true\n"


def test_conditions_of_collected_arrays_end_with_them(node: Node) -> None:
    """With functions that don't hold them, and under pressure."""
    node.write("""
        const { watch, session } = require('@memwatch/node');
        const { stats } = session();
        let told = 0;
        const then = () => told++;
        (async () => {
          for (let i = 0; i < 3000; i++) {
            const x = watch(new Int32Array(4), { name: 'x', when: 'new > 1', then });
            x[i & 3] = i;
            if (i % 100 === 0) { gc(); await new Promise(setImmediate); }
          }
          for (let i = 0; i < 100 && stats().variables > 10; i++) { gc(); await new Promise((done) => setTimeout(done, 5)); }
          await new Promise(setImmediate); // the last ones are told when this code awaits
          console.log(told, stats().variables < 10);
        })();
    """)
    assert node.run("--expose-gc", "program.js", timeout=120).stdout == "2998 true\n"


def test_a_conditions_names_are_asked_of_the_event(node: Node) -> None:
    cases = {
        "site == 'program.js:4'": "4",
        "site.function == 'here'": "4",
        "site.file like '*/program.js' and new == 5": "5",
        "thread == 'main' and new == 4": "4",
        "thread.id == " + "{pid}": "4,5",
        "variable == 'x' and path == 'x' and old == 4": "5",
        "new[0] == 5 and old[0] == 4 and new[1] == 0": "5",
        "not changed": "",
        "abs(new - 9) <= 4 or len(path) == 2": "5",
        "new in (4, 6) or 'y' in variable": "4",
    }
    node.write(f"""
        const {{ watch }} = require('@memwatch/node');
        const next = () => {{}}, told = [], cases = {json.dumps(list(cases))};
        function here(x) {{ x[0] = 4; next(); }}
        function there(x) {{ x[0] = 5; next(); }}
        (async () => {{
          for (const when of cases) {{
            const hits = [], x = watch(new Int32Array(2), {{ name: 'x', when: when.replace('{{pid}}', process.pid), then: (hit) => hits.push(hit.new) }});
            here(x); await null; await null;
            there(x); await null; await null;
            told.push(hits.join());
          }}
          console.log(JSON.stringify(told));
        }})();
    """)
    assert json.loads(node.run("program.js").stdout) == list(cases.values())


def test_what_cant_be_judged_is_said_once(node: Node) -> None:
    node.write("""
        const { watch } = require('@memwatch/node');
        const x = watch(new Int32Array(2), { name: 'x', when: '1 / new > 2', then: 'dump' });
        x[0] = 3; x[0] = 0; x[1] = 1; x[1] = 0;
    """)
    said = node.run("program.js").stderr
    assert said.count("when=1 / new > 2 can't be judged of x") == 1
    assert said.count("memwatch:") == 1


def test_the_statement_in_force_can_be_asked_for(node: Node) -> None:
    node.install("better-sqlite3")
    node.write("""
        const { watch } = require('@memwatch/node');
        const told = [];
        const x = watch(new Int32Array(1), { name: 'x', when: 'statement like "SELECT * FROM item*"', then: (hit) => told.push(hit.new) });
        const db = new (require('better-sqlite3'))(':memory:');
        db.exec('CREATE TABLE item (n INT)'); x[0] = 1;
        db.prepare('INSERT INTO item VALUES (2)').run(); x[0] = 2;
        for (const { n } of db.prepare('SELECT n FROM item WHERE n < 9').all()) x[0] = n + 1;
        setImmediate(() => console.log(told.join()));
    """)
    assert node.run("program.js").stdout == "3\n"
