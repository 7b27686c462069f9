"""A statement comes back to whoever awaited it: every way to await, in every shape, with each driver; never a stranger's."""

from __future__ import annotations

import json
import os

import pytest
import servers
from nodejs import EVERY_NODE, ONCE, PROGRAMS, Node
from sqlprograms import SqlProgram

SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
EVERY = pytest.mark.parametrize("node", EVERY_NODE, indirect=True)
NEWEST = pytest.mark.parametrize("node", EVERY_NODE if SOAK else EVERY_NODE[-1:], indirect=True)
"""Of each version in the long tests."""


@pytest.fixture
def program(node: Node, postgresql_database: servers.PostgreSql) -> SqlProgram:
    return SqlProgram(node, "pg", postgresql_database)


def matrix(node: Node, driver: str, flows: int, **variables: str) -> None:
    """Every write is under the statement that it should be; all of them are there."""
    node.write((PROGRAMS / "awaits.js").read_text())
    done = node.run("--no-deprecation", "program.js", driver, str(flows), timeout=300, **variables)
    told = json.loads(done.stdout)
    assert (done.stderr, told["troubles"]) == ("", 0)
    journal = node.read()
    seen = dict(journal.blamed())
    assert [f"{label}: {seen[n]}, not {right}" for n, right, label in told["noted"] if seen[n] not in right] == []
    assert len(seen) == len(told["noted"]) == int.from_bytes(journal.replayed("x", 4), "little")
    assert len(seen) > 1000 + 200 * flows
    assert sum(statement is None for statement in seen.values()) < len(seen) / 5


@EVERY
def test_every_way_to_await_brings_the_statement_back_in_every_shape(node: Node) -> None:
    matrix(node, "tracer", 50 if SOAK else 15)


@NEWEST
def test_statements_of_pg_come_back_through_its_pool(node: Node, postgresql_database: servers.PostgreSql) -> None:
    program = SqlProgram(node, "pg", postgresql_database)
    matrix(node, "pg", 25 if SOAK else 5, DATABASE=json.dumps(program.config))


@NEWEST
def test_statements_of_mysql2_come_back_through_its_pool(node: Node, mariadb_database: servers.MariaDb) -> None:
    program = SqlProgram(node, "mysql2", mariadb_database)
    matrix(node, "mysql2", 15 if SOAK else 5, DATABASE=json.dumps(program.config))


@NEWEST
def test_statements_of_better_sqlite3_come_back(node: Node) -> None:
    node.install("better-sqlite3")
    matrix(node, "better-sqlite3", 50 if SOAK else 5)


REPOSITORY = """
    const pool = new pg.Pool({ ...config, max: 2 });
    async function repository(name) {
      const client = await pool.connect();
      try { return await client.query(`SELECT 2 AS ${name}`); } finally { client.release(); }
    }
"""


@EVERY
def test_repository_function_leaves_its_statement_to_the_caller(program: SqlProgram) -> None:
    journal = program.journal(f"""{REPOSITORY}
        await pool.query('SELECT 1 AS outer_one'); x[0] = 1;
        await repository('inner_one'); x[0] = 2;
        await new Promise((done) => setTimeout(done, 2)); x[0] = 3;
        const waits = repository('inner_two'); x[0] = 4;
        await new Promise((done) => setTimeout(done, 50));
        await pool.query('SELECT 1 AS outer_two'); x[0] = 5;
        await waits; x[0] = 6;
        await pool.end();
    """)
    inner, outer = "SELECT ? AS inner_one", "SELECT ? AS outer_two"
    assert dict(journal.blamed()) == {1: "SELECT ? AS outer_one", 2: inner, 3: inner, 4: inner, 5: outer, 6: outer}


REQUESTS = f"""{REPOSITORY}
    const http = require('node:http');
    const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
    const noted = [];
    const note = (...statements) => {{ noted.push([noted.length + 1, statements.map((name) => name && `SELECT ? AS ${{name}}`)]); x[0] = noted.length; }};
    const waiting = []; // for the next message, as a long poll does
    await pool.query('SELECT 1 AS started'); // before the server listens: every request inherits it
    const server = http.createServer(async (request, response) => {{
      const i = request.url.slice(1);
      note('started');
      await repository(`r${{i}}_a`); note(`r${{i}}_a`);
      await sleep(i % 3); note(`r${{i}}_a`);
      await Promise.all([repository(`r${{i}}_b`), repository(`r${{i}}_b`)]); note(`r${{i}}_b`);
      const client = await pool.connect(); note(`r${{i}}_b`);
      await client.query('BEGIN');
      await client.query(`SELECT 1 AS r${{i}}_c`); note(`r${{i}}_c`);
      await client.query('ROLLBACK'); note(null);
      client.release();
      await repository(`r${{i}}_d`); note(`r${{i}}_d`);
      for (const done of waiting.splice(0)) done();
      if (i % 2) await new Promise((done) => {{ waiting.push(done); setTimeout(done, 200); }});
      note(`r${{i}}_d`, null);
      response.end();
    }});
    await new Promise((done) => server.listen(0, done));
    const {{ port }} = server.address();
    const agent = new http.Agent({{ keepAlive: true, maxSockets: 20 }});
    const get = (i) => new Promise((done, failed) => http.get({{ port, agent, path: `/${{i}}` }}, (response) => response.resume().on('end', done)).on('error', failed));
    await Promise.all(Array.from({{ length: Number(process.env.REQUESTS) }}, (_, i) => get(i)));
    agent.destroy();
    server.close();
    await pool.end();
    console.log(JSON.stringify(noted));
"""


@NEWEST
def test_requests_of_a_server_never_mix(program: SqlProgram) -> None:
    requests = 500 if SOAK else 50
    noted = json.loads(program.run(REQUESTS, REQUESTS=str(requests)))
    seen = dict(program.node.read().blamed())
    assert len(seen) == len(noted) == 9 * requests
    assert [(seen[n], right) for n, right in noted if seen[n] not in right] == []


FLOW = """
    const { watch } = require('@memwatch/node');
    const path = require('node:path');
    const sql = path.join(path.dirname(require.resolve('@memwatch/node')), 'sql');
    const { tracer } = require(path.join(sql, 'drivers.js'));
    const x = watch(new Int32Array(1), { trackSQL: true, name: 'x' });
    const connection = {}, sleep = (ms) => new Promise((done) => setTimeout(done, ms));
    const query = async (name) => {
      const token = tracer.begin({ driver: 'dbx', statement: `SELECT ${name}`, connection, dialect: 'sqlite' });
      await sleep(1);
      tracer.end(token, { inTransaction: false });
    };
"""
"""What a program of one file begins with: a watched array, and statements that take a while."""

REPEATED = (
    FLOW
    + """
    const http = require('node:http'), net = require('node:net');
    const { AsyncResource } = require('node:async_hooks'), { MessageChannel } = require('node:worker_threads');
    const noted = [];
    const note = (label, statement) => { noted.push([noted.length + 1, label, statement && `SELECT ${statement}`]); x[0] = noted.length; };
    const calls = { // each calls one function three times, from one and the same resource
      async request(each) {
        const server = http.createServer(async (request, response) => { await each(); response.end(); });
        await new Promise((done) => server.listen(0, done));
        const agent = new http.Agent({ keepAlive: true, maxSockets: 1 }), { port } = server.address();
        for (let i = 0; i < 3; i++) {
          await new Promise((done) => http.get({ port, agent }, (response) => response.resume().on('end', done)));
        }
        agent.destroy();
        server.close();
      },
      async interval(each) {
        const timer = setInterval(each, 20);
        await sleep(100);
        clearInterval(timer);
      },
      async throwing(each) {
        const timer = setInterval(() => { each(); throw new Error('theirs'); }, 20);
        await sleep(100);
        clearInterval(timer);
      },
      async socket(each) {
        const server = net.createServer((socket) => socket.on('data', async () => { await each(); socket.write('.'); }));
        await new Promise((done) => server.listen(0, done));
        const socket = net.connect(server.address().port);
        for (let i = 0; i < 3; i++) {
          socket.write('.');
          await new Promise((done) => socket.once('data', done));
        }
        socket.destroy();
        server.close();
      },
      async port(each) {
        const { port1, port2 } = new MessageChannel();
        port1.on('message', async () => { await each(); port1.postMessage(0); });
        for (let i = 0; i < 3; i++) {
          port2.postMessage(0);
          await new Promise((done) => port2.once('message', done));
        }
        port1.close();
      },
      async scope(each) {
        const resource = new AsyncResource('theirs');
        for (let i = 0; i < 3; i++) {
          resource.runInAsyncScope(each);
          note('outside', 'before_scope');
          await sleep(5);
        }
      },
    };
    process.on('uncaughtException', (error) => { if (error.message !== 'theirs') throw error; });
    (async () => {
      for (const [name, call] of Object.entries(calls)) {
        const before = `before_${name}`;
        let i = 0;
        await query(before);
        await call(async () => {
          const mine = `${name}${++i}`;
          note(`${mine} begins`, name === 'socket' ? null : before); // accepted by the server, in nobody's flow
          const ran = query(mine); note(`${mine} ran`, mine);
          await ran; await sleep(1); note(`${mine} goes on`, mine);
        });
      }
      console.log(JSON.stringify(noted));
    })();
"""
)


@EVERY
def test_callback_that_is_called_again_begins_without_what_it_ran_the_last_time(node: Node) -> None:
    node.write(REPEATED)
    noted = json.loads(node.run("program.js").stdout)
    seen = dict(node.read().blamed())
    assert [f"{label}: {seen[n]}, not {right}" for n, label, right in noted if seen[n] != right] == []
    assert len(noted) >= 6 * 3 * 3 + 3


@NEWEST
def test_connection_that_comes_from_another_flow_takes_no_statement_away(program: SqlProgram) -> None:
    journal = program.journal("""
        const pool = new pg.Pool({ ...config, max: 1 });
        const flow = async (i) => {
          const first = await pool.connect();
          await first.query(`SELECT 1 AS f${i}`);
          first.release(); x[0] = i;
          const second = await pool.connect(); x[0] = i;   // after another one has released it
          second.release();
        };
        await Promise.all([1, 2, 3, 4, 5].map(flow));
        await pool.end();
    """)
    assert {pair for pair in journal.blamed() if pair[1] != f"SELECT ? AS f{pair[0]}"} == set()
    assert len(journal.blamed()) == 10


@ONCE
def test_commit_of_another_flow_ends_the_statements_of_its_transaction_alone(program: SqlProgram) -> None:
    journal = program.journal("""
        const pool = new pg.Pool({ ...config, max: 1 });
        await Promise.all([
          (async () => {
            await pool.query('SELECT 1 AS mine'); x[0] = 1;
            await new Promise((done) => setTimeout(done, 100)); x[0] = 2;   // committed by itself long ago
          })(),
          (async () => {
            const client = await pool.connect();
            await client.query('BEGIN');
            await client.query('SELECT 1 AS theirs'); x[0] = 3;
            await client.query('COMMIT'); x[0] = 4;
            client.release();
          })(),
        ]);
        await pool.end();
    """)
    assert dict(journal.blamed()) == {1: "SELECT ? AS mine", 2: "SELECT ? AS mine", 3: "SELECT ? AS theirs", 4: None}
    assert journal.outcomes[journal.context(3).id] == "committed"


BATCHER = (
    FLOW
    + """
    const { batches } = require(path.join(sql, 'batchers.js'));
    class Batcher {
      #waiting = [];
      load() {
        if (!this.#waiting.length) setImmediate(() => this.#dispatch());
        return new Promise((done) => this.#waiting.push(done));
      }
      async #dispatch() {
        await query('batch');
        for (const done of this.#waiting.splice(0)) done();
      }
    }
    if (process.argv[2]) batches(tracer, new Batcher(), 'load');
    const batcher = new Batcher();
    let here = 0, open;
    const gate = new Promise((done) => { open = done; });
    Promise.all([1, 2, 3].map(async (i) => {
      await query(`own${i}`);
      if (++here === 3) open();
      await gate;
      await batcher.load();
      x[0] = i;
    }));
"""
)


@EVERY
@pytest.mark.parametrize(("declared", "statement"), [("declared", "SELECT batch"), ("", None)])
def test_batch_is_the_statement_of_all_that_await_it_if_a_plugin_says_so(
    node: Node, declared: str, statement: str | None
) -> None:
    node.write(BATCHER)
    node.run("program.js", *([declared] if declared else []))
    assert dict(node.read().blamed()) == dict.fromkeys((1, 2, 3), statement)


LIMITS = (
    FLOW
    + """
    const load = async (name) => { await sleep(1); return query(name); };
    const rows = async function* (name) { for (const i of [1, 2, 3]) { await query(name + i); yield i; } };
    let tail = Promise.resolve();
    async function locked(f) { // a chain of promises: each flow awaits what the one before has made
      const before = tail;
      let free;
      tail = new Promise((done) => { free = done; });
      await before;
      try { return await f(); } finally { free(); }
    }
    const callback = (done) => setTimeout(() => load('callback').then(done), 1); // neither a driver nor a promise calls
    const flow = async (i) => {
      await null; // all of them begin in one piece of code
      await locked(async () => { x[0] = 100 + i; await load(`own${i}`); x[0] = 200 + i; });
    };
    (async () => {
      await query('older');
      for await (const _ of [load('listed'), load('listed')]) ; x[0] = 1;
      for (const each of [load('looped'), load('looped')]) await each; x[0] = 2;
      await new Promise(callback); x[0] = 3;
      await sleep(1); await load('callback'); x[0] = 4;
      await (class Theirs extends Promise {}).resolve().then(() => load('subclass')); x[0] = 5;
      await (async () => { await (class Theirs extends Promise {}).resolve(); await load('subclass'); })(); x[0] = 6;
      for await (const row of require('node:stream').Readable.from(rows('ahead'))) { x[0] = 10 + row; await sleep(20); } x[0] = 14;
      for await (const row of rows('row')) { x[0] = 20 + row; await sleep(20); } x[0] = 24;
      await query('older');
      await Promise.all([1, 2, 3, 4, 5].map((i) => flow(i)));
    })();
"""
)


@EVERY
def test_limits_are_as_documented_and_so_is_what_to_write_instead(node: Node) -> None:
    node.write(LIMITS)
    node.run("program.js")
    seen = dict(node.read().blamed())
    assert {n: seen[n] for n in range(1, 7)} == {
        1: "SELECT older", 2: "SELECT looped", 3: None, 4: "SELECT callback", 5: None, 6: "SELECT subclass",
    }  # fmt: skip
    assert {seen[n] for n in range(11, 15)} <= {None, *(f"SELECT ahead{i}" for i in (1, 2, 3))}
    assert {n: seen[n] for n in range(21, 25)} == {20 + i: f"SELECT row{min(i, 3)}" for i in range(1, 5)}
    assert {n: seen[n] for n in range(201, 206)} == {200 + i: f"SELECT own{i}" for i in range(1, 6)}
    assert {seen[n] for n in range(101, 106)} <= {"SELECT older", None}


WATCHER = """
    const { watch } = require('@memwatch/node');
    const show = (what) => console.log(what, Promise.all.toString().includes('[native code]'));
"""


@ONCE
def test_promises_are_followed_only_where_a_driver_is_traced(program: SqlProgram) -> None:
    program.node.write(f"""{WATCHER}
        require('pg'); show('pg');
        watch(new Int32Array(1)); show('and a watch');
    """)
    assert program.node.run("program.js").stdout == "pg true\nand a watch true\n"
    program.node.write(f"""{WATCHER}
        watch(new Int32Array(1), {{ trackSQL: true }}); show('SQL');
        require('pg'); show('and pg');
    """)
    assert program.node.run("program.js").stdout == "SQL true\nand pg false\n"


PROMISES = """
    const trouble = async (f) => { try { return await f(); } catch (error) { return `${error.constructor.name}: ${error.message}`; } };
    const deep = async () => { await null; throw new Error('theirs'); };
    class Theirs extends Promise {}
    (async () => {
      for (const name of ['all', 'allSettled']) {
        const f = Promise[name];
        console.log(f.name, f.length, Object.keys(f), 'prototype' in f, JSON.stringify(Object.getOwnPropertyDescriptor(Promise, name)));
        console.log(await trouble(() => f.call(undefined, [])), await trouble(() => Promise[name]()), await trouble(() => Promise[name](5)));
        console.log(await Theirs[name]([1]), Theirs[name]([]) instanceof Theirs, await trouble(() => new f([])));
        console.log(JSON.stringify(await Promise[name]((function* () { yield 1; yield { then(done) { done(2); } }; yield Promise.resolve(3); })())));
        console.log(JSON.stringify(await Promise[name]('ab')), JSON.stringify(await Promise[name]([])));
      }
      console.log((await Promise.all([deep()]).catch((error) => error)).stack.match(/at .*/g).map((line) => line.replace(/ .*[/]/, ' ')).join());
    })();
"""


@EVERY
def test_promises_are_the_same_to_the_program(program: SqlProgram) -> None:
    program.node.write(PROMISES)
    plain = program.node.run("program.js", register=False).stdout
    program.node.write(
        f"require('@memwatch/node').watch(new Int32Array(1), {{ trackSQL: true }}); require('pg'); {PROMISES}"
    )
    assert program.node.run("program.js").stdout == plain
    assert plain.count("\n") == 11


GROWTH = """
    const { watch } = require('@memwatch/node');
    const path = require('node:path');
    const { tracer } = require(path.join(path.dirname(require.resolve('@memwatch/node')), 'sql', 'drivers.js'));
    watch(new Int32Array(1), { trackSQL: true });
    const connection = {};
    const ran = () => tracer.end(tracer.begin({ driver: 'dbx', statement: 'SELECT 1', connection, dialect: 'sqlite' }), { inTransaction: false });
    const leaf = async () => { await null; await null; };
    let ahead = leaf(), tail = Promise.resolve();
    const steps = {
      loop: () => leaf(),
      'one ahead': async () => { const now = ahead; ahead = leaf(); await now; },
      'never settled': async () => { new Promise(() => {}); await null; },
      chain: (i) => { tail = tail.then(leaf); return i % 64 ? leaf() : tail; },
      statements: async (i) => { await null; if (i % 8 === 0) ran(); },
      callbacks: (i) => new Promise((done) => setImmediate(() => { if (i % 8 === 0) ran(); done(); })),
    };
    const heap = async () => { // what was collected is told between
      for (let i = 0; i < 3; i++) { gc(); await new Promise((done) => setTimeout(done, 5)); }
      return process.memoryUsage().heapUsed;
    };
    (async () => {
      ran();
      const grown = {};
      for (const [name, step] of Object.entries(steps)) {
        let before;
        for (let i = 0; i <= 40_000; i++) {
          await step(i);
          if (i === 10_000) before = await heap();
        }
        grown[name] = await heap() - before;
      }
      console.log(JSON.stringify(grown));
    })();
"""


@ONCE
def test_what_is_known_of_promises_does_not_grow(node: Node) -> None:
    node.write(GROWTH)
    grown = json.loads(node.run("--expose-gc", "program.js").stdout)
    assert {name: size for name, size in grown.items() if size > 600_000} == {}
