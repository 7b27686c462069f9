"""Risk: tracing runs the program's own code: getters, proxies, conversions; or patches a driver that nobody asked for."""

from __future__ import annotations

import json

import pytest
import servers
from nodejs import ONCE, Node
from sqlprograms import SqlProgram

pytestmark = ONCE

HOSTILE = """
    const calls = {};
    const tell = (name) => { calls[name] = (calls[name] ?? 0) + 1; };
    const NAMES = ['toString', 'valueOf', 'toJSON', 'toPostgres', Symbol.toPrimitive, Symbol.toStringTag, 'constructor', 'name',
      'length', 'buffer', 'byteOffset', 'byteLength', 'text', 'values', 'sql', 'submit', 'execute', 'cursor', 'getTime',
      'toISOString', 'then', Symbol.iterator, 'x', 0];
    const hostile = (value, names = NAMES) => {
      for (const name of names) {
        try { Object.defineProperty(value, name, { configurable: true, get() { tell(`get ${String(name)}`); return undefined; } }); } catch {}
      }
      return value;
    };
    const derived = (Base, ...args) => {
      class Derived extends Base {}
      hostile(Derived.prototype); hostile(Derived, ['name', Symbol.species, Symbol.hasInstance]);
      return new Derived(...args);
    };
    const traps = new Proxy({}, { get: (_, trap) => { tell(`trap ${trap}`); return undefined; } });
    const revoked = Proxy.revocable([], {}); revoked.revoke();
    const VALUES = () => [
      hostile({}), hostile(Object.create(null)), hostile(() => 1), new Proxy({}, traps), new Proxy([1], traps),
      new Proxy(class {}, traps), revoked.proxy, Object.create(new Proxy({}, traps)), derived(Date, 0), derived(Array, 1, 2),
      derived(Map), derived(String, 's'), derived(Number, 1), derived(Error, 'e'), hostile(new Date(NaN)), Symbol('s'),
    ];
    const BYTES = () => [
      derived(Uint8Array, 4), derived(DataView, new ArrayBuffer(4)), derived(ArrayBuffer, 4), derived(Buffer.from('x').constructor, 2),
      new Uint8Array(derived(ArrayBuffer, 8), 2, 3), structuredClone(new ArrayBuffer(2), { transfer: [] }),
    ];
"""


def _same(program: SqlProgram, body: str) -> None:
    """With the driver traced, in each way to keep parameters, the program prints what it prints without."""
    program.write(HOSTILE + body)
    text = (program.node.folder / "program.js").read_text()
    (program.node.folder / "program.js").write_text(
        text.replace("trackSQL: true", "trackSQL: Boolean(process.env.TRACKED)")
    )
    printed = {}
    for keep in ("", "hash", "full", "none"):
        variables = {"TRACKED": "1", "MEMWATCH_SQL_PARAMETERS": keep} if keep else {}
        done = program.node.run("--no-deprecation", "program.js", DATABASE=json.dumps(program.config), **variables)
        assert done.stderr == "", done.stderr
        printed[keep] = done.stdout
        assert bool(program.bytes().count(b'"statement"')) == bool(keep), "traced exactly if it was asked for"
    assert len(printed[""].splitlines()) >= 16
    for keep, text in printed.items():
        assert text == printed[""], keep


def test_better_sqlite3_has_nothing_of_the_program_called(node: Node) -> None:
    _same(
        SqlProgram(node, "better-sqlite3", node.folder / "test.db"),
        """
        const db = new Database(config.file);
        db.exec('CREATE TABLE IF NOT EXISTS t (a)');
        VALUES().forEach((value, i) => { // no BYTES: with some of these it crashes, traced or not
          for (const run of [
            () => db.prepare('SELECT ?').get(value), () => db.prepare('SELECT ?').get([value]), () => db.prepare('SELECT ?').get([[value]]),
            () => db.prepare('SELECT @x').get({ x: value }), () => db.prepare('SELECT @x').get(value),
            () => db.exec(value), () => db.prepare(value), () => db.prepare('SELECT ?').bind(value).get(),
          ]) {
            try { run(); } catch (error) { tell(error.constructor.name); }
          }
          console.log(i, JSON.stringify(calls));
        });
    """,
    )


def test_pg_has_nothing_of_the_program_called(node: Node, postgresql_database: servers.PostgreSql) -> None:
    _same(
        SqlProgram(node, "pg", postgresql_database),
        """
        const client = new pg.Client(config); await client.connect();
        let i = 0;
        for (const value of [...VALUES(), ...BYTES()]) {
          for (const run of [
            () => client.query('SELECT $1::text', [value]), () => client.query({ text: 'SELECT $1::text', values: [[value]] }),
            () => client.query({ get text() { tell('text'); return 'SELECT 1'; }, get values() { tell('values'); return []; } }),
            () => client.query({ text: 'SELECT $1::text', values: [{ x: value }] }),
          ]) {
            try { await run(); } catch (error) { tell(error.constructor.name); }
          }
          console.log(i++, JSON.stringify(calls));
        }
        await client.end();
    """,
    )


@pytest.mark.parametrize("first", ["", "const early = watch(new Int32Array(1));"])
def test_driver_is_patched_when_sql_is_asked_for_and_not_before(node: Node, first: str) -> None:
    program = SqlProgram(node, "better-sqlite3", node.folder / "test.db")
    program.write("")
    (node.folder / "program.js").write_text(f"""
        const Module = require('node:module'), {{ types }} = require('node:util');
        const {{ watch }} = require('@memwatch/node');
        const Database = require('better-sqlite3');
        {first}
        const before = Database.prototype.exec;
        const db = new Database('test.db');
        console.log(types.isProxy(Module._cache), before === Database.prototype.exec);
        const x = watch(new Int32Array(1), {{ trackSQL: true, name: 'x' }});
        console.log(types.isProxy(Module._cache), before === Database.prototype.exec);
        db.exec('CREATE TABLE t (a)'); x[0] = 1;
    """)
    done = node.run("--no-deprecation", "program.js")
    assert (done.stdout, done.stderr) == ("false true\ntrue false\n", "")
    assert node.read().blamed() == [(1, "CREATE TABLE t (a)")]
