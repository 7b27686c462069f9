"""Risk: a program notices that its SQL is traced: other results, errors, return values, flows of its own."""

from __future__ import annotations

import json
import re

import pytest
import servers
from nodejs import ONCE, Node

LOOK = """
    const { AsyncLocalStorage } = require('node:async_hooks');
    const als = new AsyncLocalStorage();
    Error.stackTraceLimit = 50;
    const config = JSON.parse(process.env.DATABASE);
    const shown = (value, depth = 3) => {
      if (typeof value === 'function') return `function ${value.name} ${value.length} ${Object.keys(value)}`;
      if (typeof value !== 'object' || value === null) return typeof value === 'bigint' ? `${value}n` : value;
      if (value instanceof Error) return { error: chain(value), ...Object.fromEntries(Object.getOwnPropertyNames(value).map((name) => [name, shown(value[name], 0)])) };
      if (Array.isArray(value)) return value.map((each) => shown(each, depth - 1));
      return depth ? { is: chain(value), ...Object.fromEntries(Object.entries(value).map(([name, each]) => [name, shown(each, depth - 1)])) } : chain(value);
    };
    const chain = (value) => { const names = []; for (let at = value; (at = Object.getPrototypeOf(at));) names.push(at.constructor?.name); return names.join(' '); };
    const say = (...values) => console.log(JSON.stringify(values.map((value) => shown(value)), (name, value) => (/tableID|portal|processID|secretKey|connectionId|_connectionId|threadId|stackHolder|[tT]imer|[tT]imeout|password/.test(name) ? 0 : value)));
    const settled = (promise) => promise.then((value) => say('resolved', value), (error) => say('rejected', error));
    const event = (emitter, name) => new Promise((done) => emitter.once(name, (...args) => done(args)));
    process.on('unhandledRejection', (error) => say('unhandled', error.message, error.stack));
    process.on('uncaughtException', (error) => say('uncaught', error.message));
    const called = (f) => new Promise((done) => { als.run('mine', () => say('returned', chain(f((...args) => { say('called', args, als.getStore()); done(); }) ?? {}))); });
"""
PROGRAMS = {
    "pg": """
        const pg = require('pg');
        say(pg.Client.prototype.query, pg.Client.prototype.connect, pg.Pool.prototype.query, pg.Pool.prototype.connect);
        say(Object.getOwnPropertyNames(pg.Client.prototype), Object.keys(pg));
        const client = new pg.Client(config); say(await client.connect() === client);
        await settled(client.query('CREATE TEMP TABLE t (a int PRIMARY KEY, b text, c bigint)'));
        await settled(client.query('INSERT INTO t VALUES ($1, $2, $3), (2, NULL, 5)', [1, 'one', 2n]));
        await settled(client.query('SELECT * FROM t; SELECT 1 AS x'));
        await settled(client.query({ text: 'SELECT * FROM t WHERE a = $1', values: [1], rowMode: 'array', name: 'q' }));
        await settled(client.query('INSERT INTO t VALUES (1)'));
        await settled(client.query('SELECT $1', [{ toPostgres() { throw new Error('mine'); } }]));
        await called((back) => client.query('SELECT 1 AS a', back));
        await called((back) => client.query('SELECT $1::int AS a', [1], back));
        await called((back) => client.query('SELEC', back));
        const given = { text: 'SELECT 1', values: [] }; await client.query(given); say(Object.keys(given), given);
        for (const wrong of [null, undefined, 5, {}, []]) try { await settled(Promise.resolve(client.query(wrong))); } catch (error) { say('thrown', chain(error), error.message); }
        const query = new pg.Query('SELECT generate_series(1, 2) AS a');
        say(client.query(query) === query, Object.keys(query), query.listenerCount('row'));
        query.on('row', (row) => say(row)); say(await event(query, 'end'));
        const bad = client.query(new pg.Query('SELEC')); say(await event(bad, 'error'));
        client.query('SELEC unhandled'); await new Promise((done) => setTimeout(done, 50));
        client.query('SELECT 1', () => { throw new Error('in a callback'); }); await new Promise((done) => setTimeout(done, 50));
        const Cursor = require('pg-cursor'); const cursor = client.query(new Cursor('SELECT generate_series(1, 3) AS a'));
        say(Object.keys(cursor), await cursor.read(2), await cursor.read(2), await cursor.read(2)); await cursor.close();
        await als.run('outer', async () => { await client.query('SELECT 1'); say(als.getStore()); });
        say(client.listenerCount('end'), client.listenerCount('error'), Object.keys(client));
        const pool = new pg.Pool({ ...config, max: 1 });
        await settled(pool.query('SELECT $1::int AS a', [1])); await settled(pool.query('SELEC'));
        await called((back) => pool.query('SELECT 1', back)); await called((back) => pool.query('SELEC', back));
        await called((back) => pool.query(back));
        const one = await pool.connect(); const two = als.run('waiting', () => pool.connect((error, c, release) => { say(als.getStore(), typeof c.query, typeof release); release(); }));
        say(two); one.release(); await client.end(); await pool.end();
        await settled(pool.query('SELECT 1')); await settled(client.query('SELECT 1'));
        await settled(new pg.Pool({ ...config, port: 1 }).query('SELECT 1'));
    """,
    "mysql2": """
        const mysql = require('mysql2'), promise = require('mysql2/promise');
        const { prototype } = mysql.Connection, base = Object.getPrototypeOf(prototype);
        say(prototype.query, prototype.execute, prototype.prepare, mysql.Pool.prototype.query, mysql.Pool.prototype.getConnection);
        say(Object.getOwnPropertyNames(base), Object.keys(mysql), Object.keys(promise));
        const c = mysql.createConnection({ ...config, multipleStatements: true }), p = c.promise();
        await settled(p.query('CREATE TEMPORARY TABLE t (a int PRIMARY KEY, b text)'));
        await settled(p.query('INSERT INTO t VALUES (?, ?), (2, NULL)', [1, 'one']));
        await settled(p.query('SELECT * FROM t; SELECT 1 AS x; SET @a = 1'));
        await settled(p.execute('SELECT * FROM t WHERE a = ?', [1]));
        await settled(p.query({ sql: 'SELECT :a AS a', namedPlaceholders: true, rowsAsArray: true }, { a: 1 }));
        await settled(p.query('INSERT INTO t VALUES (1, 1)'));
        await settled(p.execute('SELECT * FROM missing'));
        await settled(p.execute('SELECT ?', [undefined]));
        await called((back) => c.query('SELECT 1 AS a', back));
        await called((back) => c.execute('SELECT ? AS a', [1], back));
        await called((back) => c.execute('SELEC', [], back));
        await called((back) => c.prepare('SELECT ? AS a', (error, statement) => { say(error, typeof statement.execute, statement.execute); statement.execute([1], back); }));
        for (const wrong of [null, undefined]) try { c.query(wrong); say('no error'); } catch (error) { say('thrown', chain(error), error.message); }
        const given = { sql: 'SELECT 1', values: [] }; await p.query(given); say(given);
        const query = c.query('SELECT 1 AS a UNION SELECT 2'); say(Object.keys(query), query.listenerCount('end'));
        query.on('result', (row) => say(row)); await event(query, 'end');
        const bad = c.query('SELEC'); bad.on('error', (error) => say(error.message)); await event(bad, 'end');
        for await (const row of c.query('SELECT 1 AS a UNION SELECT 2').stream()) say(row);
        c.query('SELECT 1', () => { throw new Error('in a callback'); }); await new Promise((done) => setTimeout(done, 50));
        await als.run('outer', async () => { await p.query('SELECT 1'); say(als.getStore()); });
        say(c.listenerCount('end'), c.listenerCount('error'), Object.keys(c));
        const pool = mysql.createPool({ ...config, connectionLimit: 1 });
        await settled(pool.promise().query('SELECT ? AS a', [1])); await settled(pool.promise().execute('SELEC'));
        await called((back) => pool.query('SELECT 1', back)); await called((back) => pool.execute('SELEC', [], back));
        const one = await pool.promise().getConnection();
        als.run('waiting', () => say(pool.getConnection((error, other) => { say(typeof other.query); other.release(); }))); one.release();
        await pool.promise().end(); await p.end();
        await settled(pool.promise().query('SELECT 1')); await settled(p.query('SELECT 1'));
    """,
}


@ONCE
@pytest.mark.parametrize("driver", sorted(PROGRAMS))
def test_program_gets_the_same_traced_and_untraced(
    node: Node, driver: str, postgresql_database: servers.PostgreSql, mariadb_database: servers.MariaDb
) -> None:
    node.install(driver)
    where = postgresql_database if driver == "pg" else mariadb_database
    config = {name: getattr(where, name) for name in ("host", "port", "user", "password", "database")}
    node.write(f"{LOOK}\n(async () => {{ {PROGRAMS[driver]} }})();")
    both = [
        node.run("--no-deprecation", "program.js", register=register, DATABASE=json.dumps(config))
        for register in (False, True)
    ]
    plain, traced = (done.stdout.splitlines() for done in both)
    assert len(plain) > 35
    # An error that the library throws at once has passed through our functions.
    ours = re.compile(r"\\n    at [^\\]*memwatch[^\\]*driver\.js[^\\]*")
    for expected, found in zip(plain, traced, strict=True):
        assert ours.sub("", found) == expected
    assert both[0].stderr == both[1].stderr == ""


@ONCE
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("program.js", "require('pg'); require('./thrower');"),
        ("program.js", "require('pg'); require('missing-package');"),
        ("program.mjs", "import 'pg'; import './thrower.js';"),
    ],
)
def test_errors_of_modules_look_the_same(node: Node, name: str, text: str) -> None:
    node.install("pg")
    node.write("(function inner() { throw new Error('mine'); })();", "thrower.js")
    node.write(text, name)
    plain, traced = (node.run(name, register=register, check=1).stderr for register in (False, True))
    assert traced == plain
    assert "Error" in plain
