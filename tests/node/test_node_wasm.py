"""WebAssembly's memory is watched where it is: every view's stores and the code's own, before it grows and after."""

from __future__ import annotations

import shutil

import pytest
from nodejs import ONCE, PROGRAMS, Node

START = "const { watch, unwatch, share, session, instance, memory } = require('./wasm.js');\n"
TRACKERS = pytest.mark.parametrize("tracker", ["uffd-sigbus", "readonly"])


@pytest.fixture
def wasm(node: Node) -> Node:
    shutil.copy(PROGRAMS / "wasm.js", node.folder)
    return node


WAYS = """\
const m = memory(), { store, fill, move, grow } = instance(m), fs = require('node:fs');
const earlier = new Uint8Array(m.buffer), x = new Int32Array(m.buffer, 4088, 4);
console.log(watch(x, { name: 'x' }) === x);
function code(n) { store(4096, n); }
const ways = [
  (n) => { x[1] = n; },
  (n) => { earlier[4099] = n; },
  (n) => { new DataView(m.buffer).setFloat64(4092, n); },
  (n) => { Buffer.from(m.buffer, 4090, 8).fill(n); },
  (n) => code(n),
  (n) => { fill(4094, n); },
  (n) => { store(0, n); move(4101, 0); },
  () => { fs.readSync(fd, earlier, 4088, 8, 0); },
  (n) => { store(4104, n); earlier[4087] = n; x.set([n, n]); },
];
const fd = fs.openSync(__filename);
const run = () => { for (let i = 1; i < 400; i++) ways[i % ways.length](i); };
run();
const before = Buffer.from(new Uint8Array(m.buffer, 4088, 16)).toString('hex');
grow();
const grown = new Uint8Array(m.buffer);
new Int32Array(m.buffer, 4088, 4)[0] = 1;
for (let i = 0; i < 800; i++) code(i);
grown[4103]++;
m.grow(1);
code(7);
console.log(x.length, before, Buffer.from(new Uint8Array(m.buffer, 4088, 16)).toString('hex'), session().tracker);
try { store(1 << 30, 1); } catch (error) { console.log(error.name); }
"""


@TRACKERS
def test_stores_of_every_view_and_of_the_code_are_seen_before_it_grows_and_after(wasm: Node, tracker: str) -> None:
    wasm.write(START + WAYS)
    done = wasm.run("program.js", MEMWATCH_CORE_TRACKER=tracker)
    same, values, trap = done.stdout.splitlines()
    detached, _, after, used = values.split()
    assert (same, detached, used, trap) == ("true", "0", tracker, "RuntimeError")
    journal = wasm.read()
    assert not journal.lost
    events = journal.of("x")
    assert len(events) > 1_000
    assert all(event.offset >= 0 and event.offset + len(event.after) <= 16 for event in events)
    assert journal.replayed("x", 16).hex() == after
    lines = {event.site.line for event in events if event.site and event.exact}
    code = START.count("\n") + WAYS.splitlines().index("function code(n) { store(4096, n); }") + 1
    last = START.count("\n") + WAYS.splitlines().index("grown[4103]++;") + 1
    assert {event.site.line for event in events[-800:] if event.site and event.exact} == {code, last}
    assert code in lines
    assert any(event.call and event.call.name in ("read", "pread", "pread64") for event in events)


RANGES = """\
const m = memory(), { store } = instance(m), bytes = new Uint8Array(m.buffer);
const a = watch(new Int32Array(m.buffer, 0, 1)), b = watch(new Int16Array(m.buffer, 4, 1));
const wide = watch(new Uint8Array(m.buffer, 8192, 5000));
const attempt = (f) => { try { f(); console.log('nothing'); } catch (e) { console.log(e.name, e.message); } };
attempt(() => watch(new Uint8Array(m.buffer, 2, 4), { name: 'over' }));
attempt(() => watch(new Uint8Array(m.buffer, 8191, 4), { name: 'beside' }));
attempt(() => watch(m, { name: 'whole' }));
attempt(() => share(a));
store(0, 1); store(2, 0x10000); store(4, 3); bytes[8192] = 4; bytes[13191] = 5; bytes[13192] = 6;
console.log(unwatch(a) === a, a[0]);
a[0] = 7; b[0] = 8;
attempt(() => unwatch(a));
unwatch(new Int16Array(m.buffer, 4, 1));
b[0] = 9; store(0, 10);
const again = watch(new Uint8Array(m.buffer, 0, 8));
store(0, 11); bytes[8192] = 12;
console.log(session().stats().variables, session().stats().pages, ...new Int32Array(m.buffer, 0, 2));
session().close();
attempt(() => unwatch(again));
store(0, 13); bytes[8192] = 14;
process.exit(0);
"""


@TRACKERS
def test_ranges_share_a_page_and_end_one_by_one(wasm: Node, tracker: str) -> None:
    wasm.write(START + RANGES)
    said = wasm.run("program.js", MEMWATCH_CORE_TRACKER=tracker).stdout.splitlines()
    assert [line.partition(":")[0] for line in said[:4]] == [
        "CoreError 'over' can't be watched",
        "CoreError 'beside' can't be watched",
        "TypeError a WebAssembly.Memory can't be watched as such",
        "TypeError share() can't pass on memory of WebAssembly, which only its own thread has",
    ]
    assert said[4:] == [
        "true 1",
        "TypeError unwatch() takes what watch() returned, or a view of it; this value isn't watched",
        "2 3 11 9",
        "SessionError Uint8Array: its watch has ended already",
    ]
    changes = [(event.variable, event.offset, event.after.hex()) for event in wasm.read().events]
    assert changes == [
        ("a", 0, "01000000"),
        ("b", 0, "0100"),  # one store, both
        ("a", 2, "0000"),
        ("b", 0, "0300"),
        ("wide", 0, "04"),
        ("wide", 4999, "05"),
        ("b", 0, "0800"),
        ("again", 0, "0b000000"),
        ("wide", 0, "0c"),
    ]


def test_watch_ends_with_the_memory_and_not_with_the_views_of_it(wasm: Node) -> None:
    wasm.write(
        START
        + """
        let kept = instance(memory0()), rounds = 20;
        function memory0() { const m = memory(); watch(new Int32Array(m.buffer, 0, 1), { name: 'kept' }); return m; }
        function round() {
          const m = memory();
          const { store } = instance(m);
          watch(new Int32Array(m.buffer, 8, 2), { name: 'dropped' });
          store(8, 1);
        }
        function next() {
          for (let i = 0; i < 5; i++) round();
          gc();
          kept.store(0, rounds);
          if (--rounds > 10 || (session().stats().variables > 1 && rounds)) return setTimeout(next, 5);
          kept = null;
          last();
        }
        function last(tries = 100) {
          gc();
          if (session().stats().variables && tries) return setTimeout(last, 5, tries - 1);
          console.log(session().stats().variables, session().stats().pages);
        }
        next();
    """
    )
    assert wasm.run("--expose-gc", "program.js").stdout == "0 0\n"
    journal = wasm.read()
    assert len(journal.of("dropped")) >= 50
    assert [event.new[0] for event in journal.of("kept")][:3] == [20, 19, 18]


@pytest.mark.parametrize("end", ["", "process.exit(0)", "parentPort?.postMessage('end'); for (;;) store(4, 2)"])
def test_worker_watches_memory_of_its_own_and_leaves_everything_in_order(wasm: Node, end: str) -> None:
    wasm.write(
        START
        + f"""
        const {{ Worker, isMainThread, parentPort }} = require('node:worker_threads');
        function use() {{
          const m = memory(), {{ store, grow }} = instance(m);
          const own = watch(new Int32Array(m.buffer, 4, 2));
          for (let i = 0; i < 600; i++) store(4 + 4 * (i % 2), i);
          grow();
          store(4, 1);
          return store;
        }}
        const store = use();
        if (isMainThread) {{
          const worker = new Worker(__filename);
          worker.on('message', () => worker.terminate());
          worker.on('exit', () => {{ store(4, 3); console.log(session().stats().variables); }});
        }} else {{
          {end};
        }}
    """
    )
    assert wasm.run("program.js").stdout == "1\n"
    journal = wasm.read()
    assert not journal.lost
    main = [event.new[0] for event in journal.of("own") if event.thread == "main"]
    worker = [event.new[0] for event in journal.of("own") if event.thread == "worker 1"]
    assert main[-2:] == [1, 3]
    assert main[:-1] == worker[: len(main) - 1]


@ONCE
def test_child_processes_are_started_and_the_memory_stays_watched(wasm: Node) -> None:
    wasm.write(
        START
        + """
        const m = memory(), { store } = instance(m), x = watch(new Int32Array(m.buffer, 0, 1));
        console.log(require('node:child_process').spawnSync(process.execPath, ['-p', '1+1'], { encoding: 'utf8' }).stdout.trim());
        store(0, 5);
        console.log(x[0]);
    """
    )
    assert wasm.run("program.js").stdout == "2\n5\n"
    assert [event.new[0] for event in wasm.read().of("x")] == [5]
