"""The core knows the context in force where a store happens: flows never mix, however they go on."""

from __future__ import annotations

from nodejs import Node

FLOWS = """
    const fs = require('node:fs');
    const { AsyncLocalStorage, AsyncResource } = require('node:async_hooks');
    const { watch } = require('@memwatch/node');
    const contexts = require(require('node:path').join(require.resolve('@memwatch/node'), '..', 'contexts.js'));
    const x = watch(new Int32Array(2), { trackSQL: true });
    const other = new AsyncLocalStorage();
    const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
    let n = 0;
    async function flow(i) {
      const id = contexts.open({ driver: 'test', statement: `SELECT ${i}`, statement_hash: `${i}` });
      const note = () => { x[1] = i; };
      await contexts.run(id, async () => {
        note();
        await null; note();
        await sleep(i % 5); note();
        await new Promise((done) => setImmediate(() => { note(); done(); })); note();
        await new Promise((done) => process.nextTick(() => { note(); done(); })); note();
        queueMicrotask(note);
        await new Promise((done) => fs.readFile(__filename, () => { note(); done(); })); note();
        await fs.promises.readFile(__filename); note();
        for await (const _ of (async function* () { yield 1; await null; yield 2; })()) note();
        await { then(done) { note(); done(); } }; note();
        try { await Promise.reject(1); } catch { note(); } finally { note(); }
        other.run('theirs', note);
        await other.run('theirs', async () => { note(); await sleep(1); note(); });
        const resource = new AsyncResource('X');
        const bound = AsyncResource.bind(note), ours = contexts.bind(note);
        await null;
        contexts.run(contexts.open({ driver: 'test', statement: 'inner', statement_hash: 'i' }), () => {
          resource.runInAsyncScope(note);
          bound();
          ours();
        });
        note();
      });
      x[0] = i;
    }
    Promise.all(Array.from({ length: 100 }, (_, i) => flow(i + 1))).then(() => {
      contexts.enter(contexts.open({ driver: 'test', statement: 'last', statement_hash: 'l' }));
      x[1] = 1000;
      contexts.enter(0);
      x[0] = 1000;
    });
"""


def test_a_hundred_interleaved_flows_never_mix(node: Node) -> None:
    node.write(FLOWS)
    node.run("program.js")
    events = node.read().of("x")
    statements = [(event.offset, event.new, event.context.statement if event.context else None) for event in events]
    inside = [(new[1], statement) for offset, new, statement in statements if offset == 4]
    assert len(inside) > 100 * 20
    assert [pair for pair in inside if pair[1] != ("last" if pair[0] == 1000 else f"SELECT {pair[0]}")] == []
    assert [statement for offset, _, statement in statements if offset == 0] == [None] * 101


def test_context_is_left_out_where_it_is_not_asked_for_and_ends_with_its_outcome(node: Node) -> None:
    node.write("""
        const { watch } = require('@memwatch/node');
        const contexts = require(require('node:path').join(require.resolve('@memwatch/node'), '..', 'contexts.js'));
        const plain = watch(new Int32Array(1)), traced = watch(new Int32Array(1), { trackSQL: true });
        const id = contexts.open({ driver: 'test', statement: 'SELECT ?', statement_hash: 'h', parameters: ['p'], started: 5n });
        contexts.enter(id);
        plain[0] = 1; traced[0] = 1;
        contexts.update(id, { outcome: 'committed', rows: 3 });
        traced[0] = 2;
    """)
    node.run("program.js")
    journal = node.read()
    assert [event.context for event in journal.of("plain")] == [None]
    first, second = journal.of("traced")
    assert first.context
    assert (first.context.driver, first.context.statement, first.context.parameters) == ("test", "SELECT ?", ("p",))
    assert second.context is None
