"""postgres.js: every way to run a statement is followed, in its own flow, against a real PostgreSQL, in both its builds."""

from __future__ import annotations

import pytest
import servers
from nodejs import ONCE, Node
from sqlprograms import SqlProgram


@pytest.fixture(params=["program.js", "program.mjs"])
def program(request: pytest.FixtureRequest, node: Node, postgresql_database: servers.PostgreSql) -> SqlProgram:
    """Once with the CommonJS build, once with the ECMAScript module."""
    return SqlProgram(node, "postgres", postgresql_database, file=request.param)


def test_every_way_to_run_a_statement_is_blamed_for_what_is_written_after_it(program: SqlProgram) -> None:
    journal = program.journal("""
        const { writeFileSync } = process.getBuiltinModule('node:fs');
        const sql = postgres({ ...config, max: 2, onnotice() {} });
        await sql`SELECT 1 AS tagged`; x[0] = 1;
        await sql`SELECT ${2}::int AS parameter`; x[0] = 2;
        for (const n of [3, 4]) { await sql`SELECT ${n}::int AS again`; x[0] = n; }
        await sql`SELECT ${sql('a')} FROM (VALUES (${5}::int)) AS ${sql('t')} (a) WHERE ${sql`a = ${5}`}`; x[0] = 5;
        await sql.unsafe('SELECT 6 AS unsafe'); x[0] = 6;
        await sql.unsafe('SELECT $1::int AS unsafe', [7]); x[0] = 7;
        await sql`SELECT 8 AS simple`.simple(); x[0] = 8;
        await sql`SELECT 9 AS "values"`.values(); x[0] = 9;
        await sql`SELECT 10 AS raw`.raw(); x[0] = 10;
        await sql`SELECT 11 AS started`.execute(); x[0] = 11;
        await sql`SELECT 12 AS caught`.catch(() => {}); x[0] = 12;
        await new Promise((done) => sql`SELECT 13 AS then`.then(() => { x[0] = 13; done(); }));
        await sql`SELECT 14 AS finally`.finally(() => { x[0] = 14; });
        const waiting = sql`SELECT 15 AS later`; await waiting; x[0] = 15;
        writeFileSync('query.sql', 'SELECT 16 AS file');
        await sql.file('query.sql'); x[0] = 16;
        await sql`SELECT generate_series(20, 22) AS each`.forEach(({ each }) => { x[0] = each; });
        await sql`SELECT generate_series(30, 34) AS cursor`.cursor(2, ([{ cursor }]) => { x[0] = cursor; });
        for await (const [{ n }] of sql`SELECT generate_series(40, 42) AS n`.cursor()) {
          x[0] = n;
          await sql`SELECT 1 AS between`; x[0] = n + 10;
        }
        await sql`CREATE TABLE copied (a int)`;
        const into = await sql`COPY copied FROM STDIN`.writable(); x[0] = 60;
        into.write('1\\n'); into.end('2\\n');
        await event(into, 'finish'); x[0] = 61;
        const out = await sql`COPY copied TO STDOUT`.readable(); x[0] = 62;
        out.on('data', () => { x[0] = 63; });
        await event(out, 'end'); x[0] = 64;
        await sql.begin(async (sql) => { await sql`SELECT 70 AS begun`; x[0] = 70; });
        const mine = await sql.reserve();
        await mine`SELECT 71 AS reserved`; x[0] = 71; mine.release();
        await sql`SELECT 72 AS before`; await sql`SELECT ${72}::int AS described`.describe(); x[0] = 72;
        await sql.end(); x[0] = 73;
    """)
    statements = {
        1: "SELECT ? AS tagged", 2: "SELECT $1::int AS parameter", 3: "SELECT $1::int AS again",
        4: "SELECT $1::int AS again", 5: 'SELECT "a" FROM (VALUES ($1::int)) AS "t" (a) WHERE a = $2', 6: "SELECT ? AS unsafe",
        7: "SELECT $1::int AS unsafe", 8: "SELECT ? AS simple", 9: 'SELECT ? AS "values"', 10: "SELECT ? AS raw",
        11: "SELECT ? AS started", 12: "SELECT ? AS caught", 13: "SELECT ? AS then", 14: "SELECT ? AS finally",
        15: "SELECT ? AS later", 16: "SELECT ? AS file", 60: "COPY copied FROM STDIN", 61: "COPY copied FROM STDIN",
        **dict.fromkeys((20, 21, 22), "SELECT generate_series(?, ?) AS each"),
        **dict.fromkeys((30, 32, 34), "SELECT generate_series(?, ?) AS cursor"),
        **dict.fromkeys((40, 41, 42), "SELECT generate_series(?, ?) AS n"), **dict.fromkeys((50, 51, 52), "SELECT ? AS between"),
        **dict.fromkeys((62, 63, 64), "COPY copied TO STDOUT"), 70: "SELECT ? AS begun", 71: "SELECT ? AS reserved",
        72: "SELECT ? AS before", 73: None,
    }  # fmt: skip
    assert sorted(set(journal.blamed()), key=lambda pair: pair[0]) == sorted(statements.items())
    context = journal.context(2)
    assert (context.driver, context.thread, context.started > 0) == ("postgres", "main", True)
    assert (len(context.parameters), journal.context(1).parameters) == (1, ())
    assert journal.context(3).parameters != journal.context(4).parameters
