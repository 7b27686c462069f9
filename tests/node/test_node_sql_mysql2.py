"""mysql2: every way to run a statement is followed, in its own flow, against a real MariaDB."""

from __future__ import annotations

import json

import pytest
import servers
from nodejs import ONCE, Node
from sqlprograms import SqlProgram


@pytest.fixture
def program(node: Node, mariadb_database: servers.MariaDb) -> SqlProgram:
    return SqlProgram(node, "mysql2", mariadb_database)


def test_every_way_to_run_a_statement_is_blamed_for_what_is_written_after_it(program: SqlProgram) -> None:
    journal = program.journal("""
        const called = (f) => new Promise((done) => f((error, rows) => { if (error) throw error; x[0] = Number(rows[0].n); done(); }));
        const c = mysql.createConnection(config);
        await called((back) => c.query('SELECT 1 AS n, 1 AS text', back));
        await called((back) => c.query('SELECT ? AS n, 1 AS params', [2], back));
        await called((back) => c.query({ sql: 'SELECT ? AS n, 1 AS options', values: [3] }, back));
        await called((back) => c.query({ sql: 'SELECT :a AS n, 1 AS named', namedPlaceholders: true }, { a: 4 }, back));
        await called((back) => c.execute('SELECT ? AS n, 1 AS executed', [5], back));
        await called((back) => c.execute('SELECT ? AS n, 1 AS executed', [6], back));
        await called((back) => c.prepare('SELECT ? AS n, 1 AS prepared', (error, statement) => statement.execute([7], back)));
        await called((back) => c.query(mysql.createQuery('SELECT 8 AS n, 1 AS command', [], back, c.config)));
        const query = c.query('SELECT 11 AS n UNION SELECT 12 UNION SELECT 13');
        query.on('result', (row) => { x[0] = row.n; });
        await event(query, 'end'); x[0] = 14;
        for await (const row of c.query('SELECT 15 AS n, 1 AS stream UNION SELECT 16, 1').stream()) x[0] = row.n;
        const stream = c.execute('SELECT 17 AS n, 1 AS data UNION SELECT 18, 1').stream();
        stream.on('data', (row) => { x[0] = row.n; });
        await event(stream, 'end');
        c.end(); await event(c, 'end'); x[0] = 20;
        const pool = mysql.createPool({ ...config, connectionLimit: 2 });
        await called((back) => pool.query('SELECT 21 AS n, 1 AS pool', back));
        await called((back) => pool.execute('SELECT ? AS n, 1 AS pool_executed', [22], back));
        await called((back) => pool.getConnection((error, c) => c.query('SELECT 23 AS n, 1 AS got', (...args) => { back(...args); c.release(); })));
        const later = pool.query('SELECT 24 AS n, 1 AS pool_events');
        later.on('result', (row) => { x[0] = row.n; });
        await event(later, 'end');
        await pool.promise().query('SELECT 25, 1 AS promised'); x[0] = 25;
        const mine = await pool.promise().getConnection();
        await mine.execute('SELECT 26, 1 AS mine'); x[0] = 26; mine.release();
        await pool.promise().end();
        const cluster = mysql.createPoolCluster(); cluster.add('A', config);
        await new Promise((done) => cluster.of('*').query('SELECT 27, 1 AS cluster', (error, rows) => { x[0] = 27; done(); }));
        await new Promise((done) => cluster.getConnection('A', (error, c) => c.query('SELECT 28, 1 AS node', () => { x[0] = 28; c.release(); done(); })));
        await new Promise((done) => cluster.end(done));
        const p = await promise.createConnection(config);
        await p.query('SELECT 31, 1 AS p'); x[0] = 31;
        await p.execute('SELECT ?, 1 AS pe', [32]); x[0] = 32;
        const statement = await p.prepare('SELECT ?, 1 AS pp'); await statement.execute([33]); x[0] = 33;
        await p.end();
    """)
    union = " UNION SELECT "
    statements = {
        1: "SELECT ? AS n, ? AS text", 2: "SELECT ? AS n, ? AS params", 3: "SELECT ? AS n, ? AS options",
        4: "SELECT :a AS n, ? AS named", 5: "SELECT ? AS n, ? AS executed", 6: "SELECT ? AS n, ? AS executed",
        7: "SELECT ? AS n, ? AS prepared", 8: "SELECT ? AS n, ? AS command",
        **dict.fromkeys(range(11, 15), f"SELECT ? AS n{union}?{union}?"),
        **dict.fromkeys((15, 16), f"SELECT ? AS n, ? AS stream{union}?, ?"),
        **dict.fromkeys((17, 18), f"SELECT ? AS n, ? AS data{union}?, ?"),
        20: None, 21: "SELECT ? AS n, ? AS pool", 22: "SELECT ? AS n, ? AS pool_executed", 23: "SELECT ? AS n, ? AS got",
        24: "SELECT ? AS n, ? AS pool_events", 25: "SELECT ?, ? AS promised", 26: "SELECT ?, ? AS mine", 27: "SELECT ?, ? AS cluster", 28: "SELECT ?, ? AS node",
        31: "SELECT ?, ? AS p", 32: "SELECT ?, ? AS pe", 33: "SELECT ?, ? AS pp",
    }  # fmt: skip
    assert sorted(journal.blamed()) == sorted(statements.items())
    context, where = journal.context(2), program.database
    assert (context.driver, context.database, context.server) == (
        "mysql2",
        where.database,
        f"{where.host}:{where.port}",
    )
    assert journal.context(4).parameters[0].startswith("a=")
    assert journal.context(5).parameters != journal.context(6).parameters


@ONCE
def test_promises_alone_are_traced(program: SqlProgram) -> None:
    program.node.write("""
        import { watch } from '@memwatch/node';
        import { createConnection } from 'mysql2/promise';
        const x = watch(new Int32Array(1), { trackSQL: true, name: 'x' });
        const c = await createConnection(JSON.parse(process.env.DATABASE));
        await c.query('SELECT 1'); x[0] = 1;
        await c.end();
    """, "program.mjs")  # fmt: skip
    program.node.run("program.mjs", DATABASE=json.dumps(program.config))
    assert program.node.read().blamed() == [(1, "SELECT ?")]


@ONCE
@pytest.mark.parametrize("wrapped", ["connection", "promise"])
def test_callback_of_the_programs_below_a_promise_has_the_statement(program: SqlProgram, wrapped: str) -> None:
    """What mysql2 calls back to settle its own promise is no code of the program's, unless that stands in between."""
    program.node.write("""
        const x = require('@memwatch/node').watch(new Int32Array(1), { trackSQL: true, name: 'x' });
        const { createConnection } = require('mysql2/promise');
        class Theirs extends Promise {
          constructor(f) { super((done, failed) => f((value) => { if (Array.isArray(value)) x[0] = 1; done(value); }, failed)); }
          static get [Symbol.species]() { return Promise; }
        }
        (async () => {
          const c = await createConnection(JSON.parse(process.env.DATABASE)), { query } = c.connection;
          if (process.env.WRAPPED === 'promise') c.Promise = Theirs;
          else c.connection.query = function (text, back) { return query.call(this, text, (...answer) => { x[0] = 1; back(...answer); }); };
          await c.query('SELECT 1'); x[0] = 2;
          await c.end();
        })();
    """)  # fmt: skip
    program.node.run("program.js", DATABASE=json.dumps(program.config), WRAPPED=wrapped)
    assert program.node.read().blamed() == [(1, "SELECT ?"), (2, "SELECT ?")]


@ONCE
def test_transactions_decide_what_became_of_statements(program: SqlProgram) -> None:
    journal = program.journal("""
        const c = await promise.createConnection({ ...config, multipleStatements: true }), other = await promise.createConnection(config);
        await c.query('CREATE TABLE t (a int PRIMARY KEY, b int) ENGINE=InnoDB');
        const insert = async (n, how = 'query', on = c) => { await on[how]('INSERT INTO t VALUES (?, 0)', [n]); x[0] = n; };
        await insert(1); await insert(2, 'execute');
        await c.beginTransaction(); await insert(3); await insert(4, 'execute'); await c.commit();
        await c.beginTransaction(); await insert(5); await c.rollback(); x[0] = 100;
        await c.query('START TRANSACTION'); await insert(6); await c.query('SAVEPOINT a'); await insert(7);
        await c.query('ROLLBACK TO a'); await insert(8); await c.query('COMMIT');
        await c.beginTransaction(); await insert(9); await c.query('CREATE TABLE u (a int)');        // commits
        await c.query('SET autocommit = 0'); await insert(10); await c.rollback(); await c.query('SET autocommit = 1');
        await c.beginTransaction(); await c.query('SELECT a FROM t'); x[0] = 11; await c.rollback();
        await c.beginTransaction(); await c.query('UPDATE t SET b = 1 WHERE a = 1'); x[0] = 12;
        await other.beginTransaction(); await other.query('UPDATE t SET b = 1 WHERE a = 2'); x[0] = 13;
        const locked = [c.query('UPDATE t SET b = 2 WHERE a = 2'), other.query('UPDATE t SET b = 2 WHERE a = 1')];
        const [one, two] = await Promise.allSettled(locked);
        console.log(one.reason?.code ?? two.reason?.code, one.status);
        await c.commit(); await other.commit();
        await c.beginTransaction(); await insert(14); await c.connection.destroy(); await event(c.connection.stream, 'close');
        await other.beginTransaction(); await insert(15, 'query', other); await other.end();
    """)
    outcomes = {n: journal.outcomes.get(journal.context(n).id) for n in range(1, 16)}
    victim = {outcomes.pop(12), outcomes.pop(13)}
    assert victim == {"committed", "rolled back"}, "a deadlock's victim loses its whole transaction"
    kept = dict.fromkeys((1, 2, 3, 4, 6, 8, 9), "committed")
    assert outcomes == kept | dict.fromkeys((5, 7, 10, 11, 14, 15), "rolled back")
    assert dict(journal.blamed())[100] is None


@ONCE
def test_failures_are_the_programs_own_and_end_their_statement(program: SqlProgram) -> None:
    journal = program.journal("""
        const c = await promise.createConnection(config), killer = await promise.createConnection(config);
        c.on('error', () => {});
        const fails = async (n, f) => {
          x[0] = n;
          try { await f(); console.log('no error'); } catch (error) { console.log(error.constructor.name, error.code); x[0] = n + 100; }
        };
        await fails(1, () => c.query('SELEC 1'));
        await fails(2, () => c.execute('SELECT * FROM missing WHERE a = ?', [1]));
        await fails(3, () => c.execute('SELECT ?', [undefined]));
        await fails(4, () => c.query({ sql: 'SELECT SLEEP(0.2)', timeout: 50 }));
        await fails(5, () => c.query('SELECT 1; SELECT 2'));
        const [[{ id }]] = await c.query('SELECT CONNECTION_ID() AS id');
        await c.beginTransaction(); await c.query('SELECT 6'); x[0] = 6;
        await Promise.all([fails(7, () => c.query('SELECT SLEEP(60)')), killer.query('KILL ' + id)]);
        await fails(8, () => c.query('SELECT 8'));
        await killer.end();
        const d = mysql.createConnection(config); const query = d.query('SELEC 1');
        query.on('error', () => { x[0] = 109; }); await event(query, 'end');
        d.end();
    """)
    assert journal.outcomes[journal.context(6).id] == "rolled back"
    assert [statement for value, statement in journal.blamed() if value > 100] == [None] * 8


@pytest.mark.parametrize("node", [20, 24], indirect=True)
def test_a_hundred_interleaved_flows_never_mix(program: SqlProgram) -> None:
    journal = program.journal("""
        const pool = mysql.createPool({ ...config, connectionLimit: 5 }), pooled = pool.promise();
        const shared = mysql.createConnection(config);
        const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
        const y = watch(new Int32Array(2), { trackSQL: true, name: 'y' });
        const note = (i) => { y[0] = i; };
        const same = (rows, i) => { if (Number(rows[0].n) !== i) throw new Error('wrong row'); note(i); };
        async function flow(i) {
          const text = `SELECT ? AS n, 1 AS f${i}`;
          same((await pooled.query(text, [i]))[0], i);
          await sleep(i % 7); note(i);
          same((await shared.promise().execute(text, [i]))[0], i);
          await new Promise((done) => pool.execute(text, [i], (error, rows) => { same(rows, i); setImmediate(() => { note(i); done(); }); }));
          const c = await pooled.getConnection();
          try {
            await c.beginTransaction();
            same((await c.query(text, [i]))[0], i);
            await null; note(i);
            await sleep(1); note(i);
            await c.commit();
          } finally { c.release(); }
          await new Promise((done) => pool.getConnection((error, c) => c.query(text, [i], (error, rows) => { same(rows, i); c.release(); done(); })));
          const query = pool.query(text, [i]);
          query.on('result', (row) => same([row], i));
          await new Promise((done) => query.on('end', done));
        }
        await Promise.all(Array.from({ length: 100 }, (_, i) => flow(i + 1)));
        await pooled.end(); shared.end();
    """)
    blamed = journal.blamed("y")
    assert len(blamed) == 100 * 10
    assert [pair for pair in blamed if pair[1] != f"SELECT ? AS n, ? AS f{pair[0]}"] == []
