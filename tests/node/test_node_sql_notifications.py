"""What a server sends by itself belongs to no statement, whoever has the connection: notifications, notices, lost connections."""

from __future__ import annotations

import pytest
import servers
from nodejs import Node
from sqlprograms import SqlProgram

FLOWS = 50
OLDEST_AND_24 = pytest.mark.parametrize("node", [20, 24], indirect=True)
"""The two ways to know which flow runs."""
HEAD = """
    const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
    const y = watch(new Int32Array(2), { trackSQL: true, name: 'y' });
    const z = watch(new Int32Array(1), { trackSQL: true, name: 'z' });
    const got = new Set();
"""
PG = """
    const pool = new pg.Pool({ ...config, max: 3 });
    await pool.query('SELECT 1 AS before');            // the client connects under it, and is listened to
    const client = new pg.Client(config); await client.connect();
    client.on('notification', async ({ payload }) => {
      x[0] = Number(payload); got.add(payload);
      await client.query(`SELECT 1 AS heard${payload}`); z[0] = Number(payload);
    });
    client.on('notice', () => { x[0] = 1000; });
    await client.query('LISTEN channel'); y[0] = 0;
    await Promise.all(Array.from({ length: FLOWS }, async (_, i) => {
      const n = i + 1, on = n % 3 ? client : pool;       // the listener's own connection too
      await sleep(n % 5);
      await on.query(`SELECT 1 AS f${n}`); y[0] = n;
      await on.query("SELECT pg_notify('channel', $1)", [String(n)]);
      await on.query(`SELECT 1 AS f${n}`); y[0] = n;
      await client.query(`DO $$ BEGIN RAISE NOTICE 'f${n}'; END $$`);
      await new Promise((done) => client.query(`SELECT 1 AS f${n}`, () => { y[0] = n; done(); }));
    }));
    await pool.query("SELECT pg_notify('channel', n::text) FROM generate_series(101, 100 + FLOWS) n"); // at once
    while (got.size < 2 * FLOWS) await sleep(1);
    await sleep(10);
    client.on('error', () => { x[0] = 1001; }); client.on('end', () => { x[0] = 1002; });
    const { rows: [{ pid }] } = await client.query('SELECT pg_backend_pid() AS pid');
    await pool.query('SELECT pg_terminate_backend($1)', [pid]);
    await sleep(50);
    await pool.end();
"""
POSTGRES = """
    let listened = 0;
    const sql = postgres({ ...config, max: 3, onnotice() { x[0] = 1000; } });
    await sql`SELECT 1 AS before`;
    const heard = async (payload) => {
      x[0] = Number(payload); got.add(payload);
      const query = sql.unsafe(`SELECT 1 AS heard${payload}`).execute();
      await query; z[0] = Number(payload);
    };
    await sql.listen('channel', heard, () => { if (listened++) x[0] = 1001; }); y[0] = 0;
    await Promise.all(Array.from({ length: FLOWS }, async (_, i) => {
      const n = i + 1, text = `SELECT 1 AS f${n}`;
      await sleep(n % 5);
      await sql.unsafe(text); y[0] = n;
      await sql.notify('channel', String(n));
      await sql.unsafe(text); y[0] = n;
      await sql.unsafe(`DO $$ BEGIN RAISE NOTICE 'f${n}'; END $$`);
      await sql.unsafe(text); y[0] = n;
    }));
    await sql`SELECT pg_notify('channel', n::text) FROM generate_series(101, 100 + FLOWS) n`; // at once
    while (got.size < 2 * FLOWS) await sleep(1);
    await sleep(10);
    await sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'listen%' AND datname = ${config.database}`;
    while (listened < 2) await sleep(1);               // it connects anew
    await sql.notify('channel', '999');
    while (!got.has('999')) await sleep(1);
    await sleep(10);
    await sql.end();
"""


@OLDEST_AND_24
@pytest.mark.parametrize(
    ("driver", "body", "file"),
    [("pg", PG, "program.js"), ("postgres", POSTGRES, "program.js"), ("postgres", POSTGRES, "program.mjs")],
    ids=["pg", "postgres", "postgres-module"],
)
def test_notifications_have_no_statement_but_the_one_that_the_listener_runs(
    node: Node, postgresql_database: servers.PostgreSql, driver: str, body: str, file: str
) -> None:
    program = SqlProgram(node, driver, postgresql_database, file=file)
    journal = program.journal(HEAD + body.replace("FLOWS", str(FLOWS)))
    heard = {*range(1, FLOWS + 1), *range(101, 101 + FLOWS)}
    if driver == "postgres":
        heard.add(999)
    none = {*heard, 1000} | ({1001, 1002} if driver == "pg" else set())
    again = {(1001, 'listen "channel"')} if driver == "postgres" else set()
    """Its own: the library has run it once more."""
    assert set(journal.blamed()) == {(n, None) for n in none} | again
    assert set(journal.blamed("z")) == {(n, f"SELECT ? AS heard{n}") for n in heard}
    flows = journal.blamed("y")
    assert len(flows) == 1 + 3 * FLOWS
    assert (flows[0][1] or "").lower() == ("listen channel" if driver == "pg" else 'listen "channel"')
    assert [pair for pair in flows[1:] if pair[1] != f"SELECT ? AS f{pair[0]}"] == []
