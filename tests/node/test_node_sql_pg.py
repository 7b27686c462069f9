"""pg: every way to run a statement is followed, in its own flow, against a real PostgreSQL."""

from __future__ import annotations

import json

import pytest
import servers
from nodejs import ONCE, Node
from sqlprograms import SqlProgram


@pytest.fixture
def program(node: Node, postgresql_database: servers.PostgreSql) -> SqlProgram:
    return SqlProgram(node, "pg", postgresql_database)


def test_every_way_to_run_a_statement_is_blamed_for_what_is_written_after_it(program: SqlProgram) -> None:
    journal = program.journal("""
        const client = new pg.Client(config);
        await client.connect();
        let r = await client.query('SELECT 1 AS text'); x[0] = 1;
        r = await client.query('SELECT $1::int AS values', [2]); x[0] = 2;
        r = await client.query({ text: 'SELECT $1::int AS config', values: [3] }); x[0] = 3;
        for (const n of [4, 5]) { await client.query({ name: 'named', text: 'SELECT $1::int AS named', values: [n] }); x[0] = n; }
        await client.query({ name: 'named', values: [6] }); x[0] = 6;
        await new Promise((done) => client.query('SELECT 7 AS callback', (error, r) => { x[0] = 7; done(); }));
        await new Promise((done) => client.query('SELECT $1::int AS both', [8], (error, r) => { x[0] = 8; done(); }));
        client.query({ text: 'SELECT 9 AS of_config', callback: () => { x[0] = 9; } });
        await client.query('SELECT 10'); x[0] = 10;
        const query = client.query(new pg.Query('SELECT generate_series(11, 13) AS n'));
        query.on('row', (row) => { x[0] = row.n; }).on('end', () => { x[0] = 14; });
        await event(query, 'end');
        const Cursor = require('pg-cursor'), QueryStream = require('pg-query-stream');
        const cursor = client.query(new Cursor('SELECT generate_series(1, 5) AS cursor'));
        let rows, n = 15;
        while ((rows = await cursor.read(2)).length) x[0] = n++;
        await cursor.close();
        for await (const row of client.query(new QueryStream('SELECT generate_series(20, 22) AS stream'))) x[0] = row.stream;
        const stream = client.query(new QueryStream('SELECT generate_series(30, 32) AS data'));
        stream.on('data', (row) => { x[0] = row.data; });
        await event(stream, 'end');
        await client.end();
        x[0] = 50;
        const pool = new pg.Pool(config);
        await pool.query('SELECT 51 AS pool'); x[0] = 51;
        await new Promise((done) => pool.query('SELECT 52 AS pooled', (error, r) => { x[0] = 52; done(); }));
        pool.connect((error, client, release) => client.query('SELECT 53 AS connected', () => { x[0] = 53; release(); }));
        const mine = await pool.connect();
        await mine.query('SELECT 54 AS mine'); x[0] = 54; mine.release();
        await pool.end();
    """)
    statements = {
        1: "SELECT ? AS text", 2: "SELECT $1::int AS values", 3: "SELECT $1::int AS config", 4: "SELECT $1::int AS named",
        5: "SELECT $1::int AS named", 6: "SELECT $1::int AS named", 7: "SELECT ? AS callback", 8: "SELECT $1::int AS both",
        9: "SELECT ? AS of_config", 10: "SELECT ?", 51: "SELECT ? AS pool", 52: "SELECT ? AS pooled",
        53: "SELECT ? AS connected", 54: "SELECT ? AS mine", 50: None,
        **dict.fromkeys(range(11, 15), "SELECT generate_series(?, ?) AS n"),
        **dict.fromkeys(range(15, 18), "SELECT generate_series(?, ?) AS cursor"),
        **dict.fromkeys(range(20, 23), "SELECT generate_series(?, ?) AS stream"),
        **dict.fromkeys(range(30, 33), "SELECT generate_series(?, ?) AS data"),
    }  # fmt: skip
    assert sorted(journal.blamed()) == sorted(statements.items())
    context = journal.context(2)
    where = program.database
    assert (context.driver, context.database, context.server) == ("pg", where.database, f"{where.host}:{where.port}")
    assert (context.thread, context.connection, context.started > 0) == ("main", 1, True)
    assert len({journal.context(n).id for n in statements if n not in (50, *range(11, 33))}) == 14


@ONCE
def test_transactions_and_savepoints_decide_what_became_of_statements(program: SqlProgram) -> None:
    journal = program.journal("""
        const client = new pg.Client(config);
        await client.connect();
        await client.query('CREATE TABLE t (a int PRIMARY KEY)');
        const insert = async (n) => { await client.query('INSERT INTO t VALUES ($1)', [n]); x[0] = n; };
        await insert(1);
        await client.query('BEGIN'); await insert(2); await insert(3); await client.query('COMMIT');
        await client.query('BEGIN'); await insert(4); await client.query('ROLLBACK'); x[0] = 100;
        await client.query('BEGIN'); await insert(5); await client.query('SAVEPOINT a'); await insert(6);
        await client.query('ROLLBACK TO a'); await insert(7); await client.query('COMMIT');
        await client.query('BEGIN'); await insert(8);
        await insert(1).catch(() => { x[0] = 101; });
        await client.query('COMMIT');                     // PostgreSQL answers ROLLBACK
        await client.query('BEGIN'); await insert(9);
        await client.end();
    """)
    outcomes = {n: journal.outcomes.get(journal.context(n).id) for n in range(1, 10)}
    rolled = "rolled back"
    kept = dict.fromkeys((1, 2, 3, 5, 7), "committed")
    assert outcomes == kept | dict.fromkeys((4, 6, 8, 9), rolled)
    assert dict(journal.blamed())[100] is None
    assert dict(journal.blamed())[101] is None


@ONCE
def test_failures_are_the_programs_own_and_end_their_statement(program: SqlProgram) -> None:
    journal = program.journal("""
        const client = new pg.Client(config);
        await client.connect();
        client.on('error', () => {});
        const fails = async (n, f) => {
          x[0] = n;
          try { await f(); console.log('no error'); } catch (error) { console.log(error.constructor.name, error.code); x[0] = n + 100; }
        };
        await fails(1, () => client.query('SELEC 1'));
        await fails(2, () => client.query('SELECT $1::int', ['no number']));
        await fails(3, () => client.query({ text: 'SELECT pg_sleep(60)', query_timeout: 50 }));
        const other = new pg.Client(config); other.on('error', () => {});
        await other.connect();
        await other.query("SET statement_timeout = '50ms'");
        await fails(4, () => other.query('SELECT pg_sleep(60)'));
        await other.query('SET statement_timeout = 0');
        const { rows: [{ pid }] } = await other.query('SELECT pg_backend_pid() AS pid');
        const third = new pg.Client(config); await third.connect();
        await other.query('BEGIN'); await other.query('SELECT 5'); x[0] = 5;
        await Promise.all([fails(6, () => other.query('SELECT pg_sleep(60)')), third.query('SELECT pg_terminate_backend($1)', [pid])]);
        await fails(7, () => other.query('SELECT 7'));
        await third.end(); await client.end();
        await fails(8, () => third.query('SELECT 8'));
        try { third.query(null); } catch (error) { console.log(error.constructor.name); }
        process.exit(0);
    """)
    assert journal.outcomes[journal.context(5).id] == "rolled back"
    assert [statement for value, statement in journal.blamed() if value > 100] == [None] * 7


def test_a_hundred_interleaved_flows_never_mix(program: SqlProgram) -> None:
    journal = program.journal("""
        const pool = new pg.Pool({ ...config, max: 5 });
        const shared = new pg.Client(config); await shared.connect();
        const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
        const y = watch(new Int32Array(2), { trackSQL: true, name: 'y' });
        const note = (i) => { y[0] = i; };
        const rowOf = (r, i) => { if (r.rows[0].n !== i) throw new Error('wrong row'); };
        async function flow(i) {
          const text = `SELECT $1::int AS n, 1 AS f${i}`;
          rowOf(await pool.query(text, [i]), i); note(i);
          await sleep(i % 7); note(i);
          rowOf(await shared.query(text, [i]), i); note(i);
          await new Promise((done) => pool.query(text, [i], (error, r) => { rowOf(r, i); note(i); setImmediate(() => { note(i); done(); }); }));
          const client = await pool.connect();
          try {
            await client.query('BEGIN');
            rowOf(await client.query(text, [i]), i); note(i);
            await null; note(i);
            await sleep(1); note(i);
            await client.query('COMMIT');
          } finally { client.release(); }
          await new Promise((done) => pool.connect((error, client, release) => client.query(text, [i], (error, r) => { rowOf(r, i); note(i); release(); done(); })));
          rowOf(await pool.query(text, [i]), i); note(i);
        }
        await Promise.all(Array.from({ length: 100 }, (_, i) => flow(i + 1)));
        await pool.end(); await shared.end();
    """)
    blamed = journal.blamed("y")
    assert len(blamed) == 100 * 10
    assert [pair for pair in blamed if pair[1] != f"SELECT $1::int AS n, ? AS f{pair[0]}"] == []


@ONCE
def test_callback_of_the_programs_below_a_promise_has_the_statement(program: SqlProgram) -> None:
    """Another library has replaced query() by one that makes the promise itself, when tracing begins."""
    program.node.write("""
        const { Client } = require('pg'), { query } = Client.prototype;
        Client.prototype.query = function (text, values) {
          return new Promise((done, failed) => query.call(this, text, values, (error, result) => {
            x[0] = 1;
            return error ? failed(error) : done(result);
          }));
        };
        const x = require('@memwatch/node').watch(new Int32Array(1), { trackSQL: true, name: 'x' });
        (async () => {
          const client = new Client(JSON.parse(process.env.DATABASE)); await client.connect();
          await client.query('SELECT 1 AS n', []); x[0] = 2;
          await client.end();
        })();
    """)
    program.node.run("program.js", DATABASE=json.dumps(program.config))
    assert program.node.read().blamed() == [(1, "SELECT ? AS n"), (2, "SELECT ? AS n")]
