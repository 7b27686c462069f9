"""Each event names the label and the span that were in force at its store, as AsyncLocalStorage and OpenTelemetry's API
say it there; never others."""

from __future__ import annotations

import json
import os
from itertools import product
from typing import Any

import pytest
from nodejs import FRAMEWORKS, ONCE, PROGRAMS, ROOT, VERSIONS, Journal, Node

from memwatch_core.records import Event

SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
OTEL = ROOT / ".node" / "opentelemetry" / "node_modules"
WITH_OTEL = pytest.mark.skipif(not OTEL.is_dir(), reason="OpenTelemetry isn't here: make test installs it")
AROUND = 8
FLAGS: dict[str, tuple[str, ...]] = {
    "": (),
    "collecting": ("--max-semi-space-size=1", "--stress-scavenge=30", "--expose-gc"),
    "optimised": ("--invocation-count-for-turbofan=1",),
    "other storage": ("--experimental-async-context-frame",),  # the other way that this version knows
}
TRACKERS = ("uffd-sigbus", "readonly")
InForce = tuple[tuple[str, ...], str, str]


def cells() -> list[Any]:
    """Versions, flags of V8, trackers, whether OpenTelemetry is there, seeds."""
    every = product(VERSIONS, FLAGS, TRACKERS, (True, False), range(5))
    few = [(version, "", "uffd-sigbus", True, 0) for version in VERSIONS]
    few += [(22, "other storage", "readonly", True, 1), (24, "other storage", "uffd-sigbus", True, 1)]
    chosen = every if SOAK else few
    return [
        pytest.param(*cell, id="node{}-{}-{}-{}-{}".format(*cell))
        for cell in chosen
        if cell[1] != "other storage" or cell[0] in (22, 24)
    ]


def in_force(event: Event) -> InForce:
    if event.request is None:
        return (), "", ""
    labels = (event.request.label, *event.request.outer) if event.request.label else ()
    assert event.request.task == ""
    return labels, event.request.trace_id, event.request.span_id


def labels(journal: Journal, variable: str = "x") -> list[tuple[Any, tuple[str, ...]]]:
    return [(event.new[0], in_force(event)[0]) for event in journal.of(variable)]


def assert_told(node: Node, journal: Journal, *, or_no_span: bool = False, or_none: bool = False) -> int:
    """What is told of each store is what was in force; returns how many there are."""
    told: dict[str, list[tuple[list[str], str, str]]] = json.loads((node.folder / "told.json").read_text())
    for variable, stores in told.items():
        expected: list[InForce] = [(tuple(texts[: AROUND + 1]), trace, span) for texts, trace, span in stores]
        found = [in_force(event) for event in journal.of(variable)]
        if or_no_span:
            expected = [one if one[1:] == ("", "") else other for one, other in zip(found, expected, strict=True)]
        if or_none:
            expected = [one if one == ((), "", "") else other for one, other in zip(found, expected, strict=True)]
        assert found == expected, variable
    assert not journal.lost
    return sum(map(len, told.values()))


@WITH_OTEL
@pytest.mark.parametrize(("node", "flags", "tracker", "otel", "seed"), cells(), indirect=["node"])
def test_event_names_what_is_in_force(node: Node, flags: str, tracker: str, otel: bool, seed: int) -> None:
    """Random flows of control; stores by compiled code, by functions of V8's and of Node's, by system calls."""
    options = FLAGS[flags]
    if flags == "other storage" and node.version >= 24:
        options = ("--no-async-context-frame",)
    if flags == "optimised" and node.version == 20:
        options = ("--interrupt-budget=500",)
    if otel:
        node.install(packages=OTEL)
    node.write((PROGRAMS / "requests.js").read_text())
    flows = 150 if SOAK else 50
    node.run(
        *options, "program.js", str(100 * seed + node.version), str(flows), timeout=300, MEMWATCH_CORE_TRACKER=tracker
    )
    journal = node.read()
    assert assert_told(node, journal) > 12 * flows
    found = [in_force(event) for event in journal.events]
    assert len({texts for texts, _, _ in found}) > flows / 2
    assert (len({span for _, _, span in found}) > flows / 4) == otel


# ---- labels ---------------------------------------------------------------------------------------------------------


def test_label_is_in_force_in_what_its_function_starts_and_nowhere_else(node: Node) -> None:
    node.write("""
        const { watch, label } = require('@memwatch/node');
        let x, early;
        label('early', () => { setTimeout(() => { x[0] = 20; }, 30); });
        label('watched within', () => { x = watch(new Int32Array(1)); x[0] = 1; });
        x[0] = 2;
        console.log(label('order 17', (a, b) => { x[0] = a; return a + b; }, 3, 4));
        label('outer', () => {
          try { label('inner', () => { x[0] = 4; throw new Error('thrown'); }); } catch (error) { console.log(error.message); }
          x[0] = 5;
        });
        const pending = label('async', async () => { x[0] = 6; await null; x[0] = 8; return 'returned'; });
        x[0] = 7;
        pending.then((value) => { x[0] = 9; console.log(value); });
    """)
    assert node.run("program.js").stdout == "7\nthrown\nreturned\n"
    assert labels(node.read()) == [
        (1, ("watched within",)), (2, ()), (3, ("order 17",)), (4, ("inner", "outer")), (5, ("outer",)), (6, ("async",)),
        (7, ()), (8, ("async",)), (9, ()), (20, ("early",)),
    ]  # fmt: skip


def test_where_a_callback_has_failed_labels_are_those_of_their_own_callbacks(node: Node) -> None:
    node.write("""
        const { AsyncLocalStorage } = require('node:async_hooks');
        const fs = require('node:fs');
        const { watch, label } = require('@memwatch/node');
        const x = watch(new Int32Array(1)), mine = new AsyncLocalStorage(), told = { x: [] };
        const store = () => { told.x.push([mine.getStore() ?? [], '', '']); x[0]++; };
        const labelled = (text, f) => label(text, () => mine.run([text], f));
        process.on('uncaughtException', store);
        process.on('unhandledRejection', Number(process.versions.modules) < 137 ? () => {} : store); // before, it has none
        labelled('a', () => setTimeout(() => { store(); throw new Error('x'); }, 1));
        labelled('b', () => setTimeout(() => { labelled('inner', () => { throw new Error('x'); }); }, 5));
        labelled('c', () => process.nextTick(() => { throw new Error('x'); }));
        labelled('d', async () => { await null; store(); throw new Error('x'); });
        setTimeout(store, 10);
        labelled('e', () => setTimeout(() => { store(); queueMicrotask(() => { throw new Error('x'); }); }, 15));
        process.on('exit', () => { store(); fs.writeFileSync('told.json', JSON.stringify(told)); });
        setTimeout(() => labelled('f', () => setTimeout(() => { throw new Error('x'); }, 1)), 20);
    """)
    node.run("program.js")
    assert assert_told(node, node.read()) >= 10


@ONCE
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('a "quote" \\ and \x00\x1f\n', 'a "quote" \\ and \x00\x1f\n'), ("é\u20ac😀", "é\u20ac😀"), ("a\udc80b", "a?b"),
        ("x" * 200, "x" * 200), ("x" * 201, "x" * 199 + "…"),
    ],
)  # fmt: skip
def test_text_is_told_as_it_is_up_to_a_length(node: Node, text: str, shown: str) -> None:
    node.write(f"""
        const {{ watch, label }} = require('@memwatch/node');
        const x = watch(new Int32Array(1));
        label({json.dumps(text)}, () => {{ x[0] = 1; }});
    """)
    node.run("program.js")
    assert labels(node.read()) == [(1, (shown,))]


@ONCE
def test_labels_that_take_more_room_than_there_is_are_cut_off(node: Node) -> None:
    node.write("""
        const { watch, label } = require('@memwatch/node');
        const x = watch(new Int32Array(1));
        const within = ([text, ...rest], f) => label(text, () => (rest.length ? within(rest, f) : f()));
        within(['😀'.repeat(200), '\\x01'.repeat(200), 'é'.repeat(200), 'y'], () => { x[0] = 1; });
        within(Array.from({ length: 20 }, (_, i) => `label ${i}`), () => { x[0] = 2; });
    """)
    node.run("program.js")
    (_, (innermost, *around)), (_, many) = labels(node.read())
    assert innermost == "y"
    assert around[0] == "é" * 200
    assert all(text.endswith("…") for text in around[1:])
    assert many == tuple(f"label {i}" for i in range(19, 19 - AROUND - 1, -1))


@ONCE
def test_label_takes_a_text_and_a_function(node: Node) -> None:
    node.write("""
        const { label } = require('@memwatch/node');
        const wrong = [[17, () => {}], [null, () => {}], ['', () => {}], ['x'], ['x', null], ['x', {}], [undefined, () => {}], ['x', function* () {}], ['x', async function* () {}]];
        for (const each of wrong) try { label(...each); console.log('taken'); } catch (error) { console.log(`${error.name}: ${error.message}`); }
    """)
    lines = node.run("program.js").stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["TypeError", "TypeError", "RangeError"] + 6 * ["TypeError"]
    remedies = (
        ["String(value)"] * 2
        + ["empty"]
        + ["() => …"] * 2
        + ["not an object: "]
        + ["not undefined: "]
        + ["iterate"] * 2
    )
    for line, said in zip(lines, remedies, strict=True):
        assert said in line


def test_labels_that_nobody_holds_are_forgotten(node: Node) -> None:
    node.write("""
        const path = require('node:path');
        const { watch, label } = require('@memwatch/node');
        const native = require(path.join(require.resolve('@memwatch/node'), '..', 'native.js'));
        const x = watch(new Int32Array(1));
        async function main() {
          for (let round = 0; round < 20; round++) {
            await Promise.all(Array.from({ length: 500 }, (_, i) => label(`${round} ${i}`, async () => { await null; })));
            gc();
            await new Promise(setImmediate);
          }
          console.log(native.tellRequest({}, '"label":"a"') < 3000);
          const chain = (left) => label(`link ${left}`, () => {
            if (left) return setImmediate(chain, left - 1);
            x[0] = 1;
          });
          chain(3000); // each starts the next one, under its own
        }
        main();
    """)
    assert node.run("--expose-gc", "program.js").stdout == "true\n"
    assert labels(node.read()) == [(1, tuple(f"link {i}" for i in range(9)))]


def test_each_thread_has_labels_of_its_own(node: Node) -> None:
    node.write("""
        const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');
        const { watch, label, share, receive } = require('@memwatch/node');
        if (isMainThread) {
          const x = watch(new Int32Array(1));
          label('main', () => {
            const worker = new Worker(__filename, { workerData: share(x) });
            worker.on('message', () => { x[0] = 4; worker.terminate(); });
          });
        } else {
          const x = receive(workerData);
          x[0] = 1;
          label('worker', () => { x[0] = 2; setTimeout(() => { x[0] = 3; parentPort.postMessage(''); }); });
        }
    """)
    node.run("program.js")
    assert labels(node.read()) == [(1, ()), (2, ("worker",)), (3, ("worker",)), (4, ("main",))]


def test_statement_and_label_are_in_force_side_by_side(node: Node) -> None:
    node.write("""
        const { AsyncLocalStorage } = require('node:async_hooks');
        const { watch, label } = require('@memwatch/node');
        const contexts = require(require('node:path').join(require.resolve('@memwatch/node'), '..', 'contexts.js'));
        const x = watch(new Int32Array(1), { trackSQL: true }), other = new AsyncLocalStorage();
        const run = (text, f) => contexts.run(contexts.open({ driver: 'test', statement: text, statement_hash: text }), f);
        async function flow(i) {
          await label(`L${i}`, async () => {
            x[0] = i;
            await run(`S${i}`, async () => {
              x[0] = i; await null; x[0] = i;
              await label('inner', async () => { x[0] = i; await other.run(1, async () => { await null; x[0] = i; }); });
              x[0] = i;
            });
            x[0] = i;
          });
          x[0] = i;
        }
        Promise.all(Array.from({ length: 30 }, (_, i) => flow(i)));
    """)
    node.run("program.js")
    seen: dict[int, list[object]] = {}
    for event in node.read().of("x"):
        seen.setdefault(event.new[0], []).append((in_force(event)[0], event.context and event.context.statement))
    for i in range(30):
        label, inner, statement = (f"L{i}",), ("inner", f"L{i}"), f"S{i}"
        assert seen[i] == [
            (label, None), (label, statement), (label, statement), (inner, statement), (inner, statement),
            (label, statement), (label, None), ((), None),
        ]  # fmt: skip


def test_labels_are_told_beside_any_number_of_storages(node: Node) -> None:
    """The first label under many of them; later ones in a flow that goes on and on making some."""
    node.write("""
        const { AsyncLocalStorage, AsyncResource } = require('node:async_hooks');
        const { watch, label } = require('@memwatch/node');
        const x = watch(new Int32Array(1)), within = (i, f) => (i ? new AsyncLocalStorage().run(i, within, i - 1, f) : f());
        within(300, () => label('many', () => { x[0] = 1; }));
        const resource = label('made', () => new AsyncResource('r'));
        label('calls', () => { resource.runInAsyncScope(() => { x[0] = 2; }); x[0] = 3; });
        (async () => {
          for (let i = 4; i < 2000; i++) {
            await null;
            new AsyncLocalStorage().run(i, () => {});
            if (i % 500 === 0) label(`in ${i}`, () => { x[0] = i; });
          }
        })();
    """)
    node.run("program.js")
    later = [(i, (f"in {i}",)) for i in (500, 1000, 1500)]
    assert labels(node.read()) == [(1, ("many",)), (2, ("made",)), (3, ("calls",)), *later]


def test_async_hooks_of_the_program_store_under_the_label_of_their_callback_or_none(node: Node) -> None:
    """Also those that were enabled before there was a label."""
    node.write("""
        const fs = require('node:fs');
        const { AsyncLocalStorage, AsyncResource, createHook } = require('node:async_hooks');
        const { watch, label } = require('@memwatch/node');
        const x = watch(new Int32Array(1), { name: 'x' }), y = watch(new Int32Array(1), { name: 'y' });
        const mine = new AsyncLocalStorage(), told = { x: [] };
        let hooked = 0;
        const store = () => { if (hooked) { told.x.push([[mine.getStore()], '', '']); x[0]++; } };
        const enable = () => createHook({ before: store, after: store }).enable();
        const labelled = (text, f) => label(text, () => mine.run(text, f));
        enable();
        labelled('first', () => {});
        enable();
        if (Object.hasOwn(process, 'noDeprecation')) throw new Error('left');
        const resource = labelled('inner', () => new AsyncResource('r'));
        process.on('exit', () => fs.writeFileSync('told.json', JSON.stringify(told)));
        labelled('outer', () => setTimeout(() => {
          hooked = 1;
          resource.runInAsyncScope(() => { y[0] = 1; });
          hooked = 0;
          y[0] = 2;
        }, 1));
    """)
    assert node.run("--pending-deprecation", "program.js").stderr == ""
    journal = node.read()
    assert assert_told(node, journal, or_none=node.version < 24) == 4
    assert labels(journal, "y") == [(1, ("inner",)), (2, ("outer",))]


def test_stack_leaves_out_frames_of_this_package(node: Node) -> None:
    node.write("""
        const { watch, label } = require('@memwatch/node');
        const x = watch(new Int32Array(1));
        function store() { x[0]++; }
        function inner() { label('inner', store); }
        function outer() { label('outer', inner); }
        for (let i = 0; i < 3; i++) outer();
    """)
    node.run("program.js", MEMWATCH_WATCH_STACK="4")
    for event in node.read().of("x"):
        assert event.stack is not None
        assert [site.function for site in event.stack][:2] == ["inner", "outer"]
        assert not [site for site in event.stack if "node_bridge" in site.file]


@ONCE
def test_watch_with_frozen_intrinsics_is_refused_in_words_where_it_would_lose_memory(node: Node) -> None:
    node.write("""
        const { watch } = require('@memwatch/node');
        for (let i = 0; i < 2; i++) try { watch(new Int32Array(1)); console.log('watched'); } catch (error) { console.log(`${error.name}: ${error.message}`); }
    """)
    lines = node.run("--frozen-intrinsics", "--no-warnings", "program.js").stdout.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("TypeError: watch() with node --frozen-intrinsics takes Node.js 24") for line in lines)


# ---- what is asked for, and what isn't --------------------------------------------------------------------------------


def test_program_without_labels_and_spans_is_as_it_was(node: Node) -> None:
    node.write("""
        const { AsyncLocalStorage } = require('node:async_hooks');
        const kept = ['run', 'enterWith', 'exit', 'disable'].map((name) => AsyncLocalStorage.prototype[name]);
        const { watch } = require('@memwatch/node');
        const native = require(require('node:path').join(require.resolve('@memwatch/node'), '..', 'native.js'));
        const x = watch(new Int32Array(1));
        x[0] = 1;
        const now = ['run', 'enterWith', 'exit', 'disable'].map((name) => AsyncLocalStorage.prototype[name]);
        console.log(native.common.requests, kept.every((each, i) => each === now[i]), globalThis[Symbol.for('opentelemetry.js.api.1')]);
    """)
    assert node.run("program.js").stdout == "undefined true undefined\n"
    assert [event.request for event in node.read().of("x")] == [None]


def test_what_the_system_reads_in_another_thread_has_no_label(node: Node) -> None:
    node.write("""
        const fs = require('node:fs');
        const { watch, label } = require('@memwatch/node');
        const x = watch(Buffer.alloc(4));
        label('read', () => fs.read(fs.openSync(__filename), x, 0, 4, 0, () => { x[0] = 1; }));
    """)
    node.run("program.js")
    assert [in_force(event)[0] for event in node.read().of("x")] == [(), ("read",)]


@pytest.mark.parametrize("node", VERSIONS if SOAK else (20, 26), indirect=True)
def test_what_an_addon_stores_is_under_the_label_that_it_was_called_under(foreign: Node) -> None:
    """In the thread that called it; its own threads have none."""
    foreign.write("""
        const { watch, label } = require('@memwatch/node');
        const addon = require('./foreign.node');
        const x = watch(new Int32Array(100));
        label('counted', () => addon.count(x));
        label('elsewhere', () => addon.elsewhere(x));
        addon.clear(x.subarray(50));
    """)
    foreign.run("program.js")
    found = [in_force(event)[0] for event in foreign.read().of("x")]
    assert found[:200] == [("counted",)] * 100 + [()] * 100
    assert set(found[200:]) == {()}


# ---- OpenTelemetry --------------------------------------------------------------------------------------------------

SETUP = """
    const { context, trace } = require('@opentelemetry/api');
    const { AsyncLocalStorageContextManager } = require('@opentelemetry/context-async-hooks');
    const fs = require('node:fs');
    const told = { x: [] };
    let x, n = 0;
    const manage = () => context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    const spanContext = () => ({ traceId: `${++n}`.padStart(32, 'a'), spanId: `${n}`.padStart(16, 'b'), traceFlags: 1 });
    const within = (f) => context.with(trace.setSpan(context.active(), trace.wrapSpanContext(spanContext())), f);
    const store = () => {
      const { traceId, spanId } = trace.getActiveSpan()?.spanContext() ?? { traceId: '', spanId: '' };
      told.x.push([[], traceId, spanId]);
      x[0]++;
    };
    process.on('exit', () => fs.writeFileSync('told.json', JSON.stringify(told)));
"""
BEFORE, LATER, AGAIN, BETWEEN = (
    "manage(); within(() => { start(); store(); setTimeout(store); within(store); }); store();",
    "start(); store(); manage(); within(async () => { store(); await null; store(); }); store();",
    """start(); manage(); within(store); context.disable(); store(); manage(); start();
       within(() => { store(); setTimeout(store); context.disable(); store(); }); store();""",
    "manage(); within(() => { setTimeout(() => { start(); store(); within(store); setTimeout(store); }); });",
)

DISABLED, REPLACED = (
    """start(); manage(); within(() => { store(); setTimeout(store, 20); setTimeout(store, 40); });
       setTimeout(() => { context.disable(); store(); }, 10); setTimeout(() => { manage(); within(() => { store(); setTimeout(store, 30); }); store(); }, 30);""",
    """start(); const one = new AsyncLocalStorageContextManager(); context.setGlobalContextManager(one); within(() => { setTimeout(store); context.disable(); store(); });
       context.setGlobalContextManager(one); store(); within(() => { store(); setTimeout(store); one.disable(); within(store); });""",
)


@WITH_OTEL
@pytest.mark.parametrize("registered", [True, False])
@pytest.mark.parametrize(
    "course",
    [BEFORE, LATER, AGAIN, BETWEEN, DISABLED, REPLACED],
    ids=["before", "later", "again", "between", "disabled", "replaced"],
)
def test_spans_are_told_whenever_opentelemetry_is_set_up(node: Node, course: str, registered: bool) -> None:
    """Before the first watch or after it, more than once; before this package is loaded, if it isn't the first."""
    node.install(packages=OTEL)
    node.write(f"""{SETUP}
        function start() {{ x ??= require('@memwatch/node').watch(new Int32Array(1), {{ name: 'x' }}); require('@memwatch/node').watch(new Int32Array(1), {{ name: 'again' }}); }}
        {course}
    """)
    node.run("program.js", register=registered)
    in_midst = course in (BEFORE, BETWEEN) and not registered and node.version < 24  # of a callback under a span
    assert assert_told(node, node.read(), or_no_span=in_midst) >= 3


@WITH_OTEL
def test_nothing_of_the_programs_is_called_to_know_a_span(node: Node) -> None:
    """What can't be read so isn't told."""
    node.install(packages=OTEL)
    node.write(
        SETUP
        + """
        manage();
        x = require('@memwatch/node').watch(new Int32Array(1), { name: 'x' });
        const called = () => { throw new Error('called'); };
        const trap = new Proxy(function () {}, Object.fromEntries(Reflect.ownKeys(Reflect).filter((name) => typeof name === 'string').map((name) => [name, called])));
        const mine = (span) => context.with(trace.setSpan(context.active(), span), () => { x[0]++; });
        const getters = { get _spanContext() { return called(); }, spanContext: called };
        const ids = { _spanContext: { get traceId() { return called(); }, spanId: 'b'.repeat(16) } };
        mine(getters);
        mine(ids);
        mine(trap);
        mine({ _spanContext: trap });
        mine({ _spanContext: { traceId: '0'.repeat(32), spanId: '0'.repeat(16) } });
        mine({ _spanContext: { traceId: { toString: called }, spanId: 7 } });
        context.with({ getValue: () => undefined }, () => { x[0]++; });
        mine({ _spanContext: spanContext(), spanContext() { return { ...this._spanContext, spanId: 'c'.repeat(16) }; } });
        mine({ _spanContext: spanContext() });
        mine(trace.wrapSpanContext({ traceId: 'A'.repeat(32), spanId: 'B'.repeat(16), traceFlags: 1 }));
        context.with(Object.freeze(trace.setSpan(context.active(), trace.wrapSpanContext(spanContext()))), () => { x[0]++; });
    """
    )
    node.run("program.js")
    found = [in_force(event) for event in node.read().of("x")]
    assert found == [((), "", "")] * 9 + [((), "a" * 32, "b" * 16), ((), "3".rjust(32, "a"), "3".rjust(16, "b"))]


@WITH_OTEL
def test_looking_out_for_opentelemetry_leaves_the_global_object_as_it_was(node: Node) -> None:
    """Nor are a manager's methods replaced more than once."""
    node.install(packages=OTEL)
    node.write(f"""
        const key = Symbol.for('opentelemetry.js.api.1'), plain = {{ writable: true, enumerable: true, configurable: true }};
        const assert = require('node:assert');
        assert(!Object.hasOwn(globalThis, key) && globalThis[key] === undefined && !({{ ...globalThis }})[key]);
        const derived = Object.create(globalThis);
        derived[key] = 5;
        assert.deepEqual(Object.getOwnPropertyDescriptor(derived, key), {{ value: 5, ...plain }});
        assert(!Object.hasOwn(globalThis, key));
        {SETUP}
        x = require('@memwatch/node').watch(new Int32Array(1), {{ name: 'x' }});
        const one = new AsyncLocalStorageContextManager(), {{ _asyncLocalStorage: storage }} = one;
        const methods = () => [one.disable, ...['run', 'exit', 'enterWith', 'disable'].map((name) => storage[name])];
        let before;
        for (let i = 0; i < 3; i++) {{
          context.setGlobalContextManager(one);
          const value = globalThis[key];
          assert.deepEqual(Object.getOwnPropertyDescriptor(globalThis, key), {{ value, ...plain }});
          assert.deepEqual(Object.getOwnPropertyDescriptor(value, 'context'), {{ value: one, ...plain }});
          before ??= methods();
          assert(methods().every((each, i) => each === before[i]));
          within(store);
          context.disable();
          assert(!Object.hasOwn(value, 'context') && value.context === undefined);
          store();
        }}
    """)
    node.run("program.js")
    assert assert_told(node, node.read()) == 6


@WITH_OTEL
@pytest.mark.parametrize(
    ("framework", "node"),
    [
        pytest.param(name, version, id=f"{name}-node{version}")
        for name, version in product(("express", "fastify", "http"), VERSIONS)
        if SOAK or (name, version) == ("express", 24)
    ],
    indirect=["node"],
)
def test_requests_of_a_server_write_under_their_own_label_and_span(node: Node, framework: str) -> None:
    """Fifty at once, over kept connections."""
    node.install(packages=FRAMEWORKS)
    (node.folder / "node_modules" / "@opentelemetry").symlink_to(OTEL / "@opentelemetry")
    node.write((PROGRAMS / "spans.js").read_text())
    node.run("--no-deprecation", "program.js", framework, "50", "4" if SOAK else "2", timeout=120)
    assert assert_told(node, node.read()) > 50 * 2 * 4
