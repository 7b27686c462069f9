"""postgres.js: every way to run a statement is followed, in its own flow, against a real PostgreSQL, in both its builds."""

from __future__ import annotations

import json

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


WHERE = """
    const { watch } = require('@memwatch/node');
    let postgres = EARLY ? null : require('postgres');
    const x = watch(new Int32Array(1), { trackSQL: true, name: 'x' });
    (async () => {
      postgres = IMPORTED ? (await import('postgres')).default : postgres ?? require('postgres');
      const sql = postgres({ ...JSON.parse(process.env.DATABASE), max: 1, fetch_types: FETCHES });
      await sql`SELECT 1`; x[0] = 1;
      const mine = await sql.reserve();
      await mine`SELECT 2`; x[0] = 2; mine.release();
      await sql.end();
    })();
"""


@pytest.mark.parametrize("node", [20, 26], indirect=True)
@pytest.mark.parametrize(
    ("imported", "early", "fetches"),
    [(False, True, True), (False, False, False), (True, True, True), (True, False, False)],
)
def test_events_name_the_server_and_the_database_where_the_library_can_be_asked(
    node: Node, postgresql_database: servers.PostgreSql, imported: bool, early: bool, fetches: bool
) -> None:
    program, where = SqlProgram(node, "postgres", postgresql_database), postgresql_database
    text = WHERE
    for name, value in {"EARLY": early, "IMPORTED": imported, "FETCHES": fetches}.items():
        text = text.replace(name, json.dumps(value))
    node.write(text)
    node.run("program.js", DATABASE=json.dumps(program.config))
    journal = node.read()
    named = where.database if early and not imported else ""
    assert [(journal.context(n).server, journal.context(n).database) for n in (1, 2)] == [
        (f"{where.host}:{where.port}", named)
    ] * 2


@ONCE
def test_transactions_and_savepoints_decide_what_became_of_statements(program: SqlProgram) -> None:
    journal = program.journal("""
        const sql = postgres({ ...config, max: 2, onnotice() {} });
        await sql`CREATE TABLE t (a int PRIMARY KEY, b int REFERENCES t DEFERRABLE INITIALLY DEFERRED)`;
        const insert = async (on, n) => { await on`INSERT INTO t VALUES (${n})`; x[0] = n; };
        const stop = new Error('stop'), fails = (promise) => promise.then(() => console.log('no error'), () => {});
        await insert(sql, 1);
        await sql.begin(async (sql) => { await insert(sql, 2); await insert(sql, 3); }); x[0] = 100;
        await fails(sql.begin(async (sql) => { await insert(sql, 4); throw stop; })); x[0] = 101;
        await sql.begin('isolation level serializable', async (sql) => {
          await insert(sql, 5);
          await fails(sql.savepoint(async (sql) => { await insert(sql, 6); throw stop; })); x[0] = 102;
          await sql.savepoint('named', async (sql) => { await insert(sql, 7); });
        });
        await fails(sql.begin(async (sql) => { await insert(sql, 8); await sql`INSERT INTO t VALUES (1)`.catch(() => { x[0] = 103; }); }));
        await fails(sql.begin(async (sql) => { await insert(sql, 9); await sql`UPDATE t SET b = -1 WHERE a = 9`; x[0] = 10; })); // at its COMMIT
        await sql.begin((sql) => [sql`SELECT 1`, insert(sql, 11)]);
        const mine = await sql.reserve();
        await mine`BEGIN`; await insert(mine, 12); await mine.unsafe('COMMIT AND CHAIN'); await insert(mine, 13); await mine`rollback`;
        await mine`BEGIN`; await insert(mine, 14);
        await mine`INSERT INTO t VALUES (1)`.catch(() => {});
        await mine`COMMIT`;                               // PostgreSQL answers ROLLBACK
        await mine.unsafe("BEGIN; SELECT 'COMMIT;'"); await mine`SAVEPOINT a`; await insert(mine, 15);
        await mine`ROLLBACK TO a`; await insert(mine, 16); await mine.unsafe('SELECT 1; END; SELECT 2');
        await mine.unsafe('CREATE FUNCTION f() RETURNS int LANGUAGE SQL BEGIN ATOMIC SELECT 1; END'); await insert(mine, 17);
        await mine.unsafe('BEGIN'); await mine.unsafe('CREATE FUNCTION g() RETURNS int LANGUAGE SQL BEGIN ATOMIC SELECT 1; END');
        await insert(mine, 18); await mine`ABORT`;
        mine.release();
        await sql.end();
    """)
    outcomes = {n: journal.outcomes.get(journal.context(n).id) for n in range(1, 19)}
    kept = dict.fromkeys((1, 2, 3, 5, 7, 11, 12, 16, 17), "committed")
    assert outcomes == kept | dict.fromkeys((4, 6, 8, 9, 10, 13, 14, 15, 18), "rolled back")
    assert [dict(journal.blamed())[n] for n in range(100, 104)] == [None] * 4


@ONCE
def test_failures_are_the_programs_own_and_end_their_statement(program: SqlProgram) -> None:
    out = program.run("""
        const sql = postgres({ ...config, max: 2, onnotice() {}, onclose: () => { x[0] = 50; } });
        const fails = async (n, f) => {
          x[0] = n;
          try { await f(); console.log('no error'); } catch (error) { x[0] = n + 100; console.log(error.constructor.name, error.code ?? error.message); }
        };
        await fails(1, () => sql`SELEC 1`);
        await fails(2, () => sql`SELECT ${'no number'}::int`);
        await fails(3, () => sql`SELECT ${undefined}`);
        const other = postgres({ ...config, max: 1 }); // to cancel takes a connection of its own, and may come late
        await fails(4, () => { const q = other`SELECT pg_sleep(60)`.execute(); setTimeout(() => q.cancel(), 50); return q; });
        await fails(5, () => { const q = other`SELECT 5`; q.cancel(); return q; });
        await fails(6, () => sql`SELECT generate_series(1, 5)`.cursor(2, () => { throw new Error('mine'); }));
        await fails(7, () => sql`SELECT generate_series(1, 5)`.forEach(() => { throw new Error('mine'); }));
        await fails(8, () => sql.file('missing.sql'));
        const killer = postgres({ ...config, max: 1 });
        await fails(9, () => sql.begin(async (sql) => { // idle when it's lost
          const [{ pid }] = await sql`SELECT pg_backend_pid() AS pid`; x[0] = 10;
          await killer`SELECT pg_terminate_backend(${pid})`;
          await new Promise(() => {});
        }));
        await sql`SELECT 11`; x[0] = 11;
        const mine = await sql.reserve(), [{ pid }] = await mine`SELECT pg_backend_pid() AS pid`;
        await mine`BEGIN`; await mine`SELECT 15`; x[0] = 15;
        await Promise.all([fails(16, () => mine`SELECT pg_sleep(60)`), killer`SELECT pg_terminate_backend(${pid})`]);
        await killer.end();
        await fails(17, () => killer`SELECT 17`);
        await fails(18, () => postgres({ ...config, port: 1 })`SELECT 18`);
        process.exit(0);
    """)
    syntax, value, undefined, cancelled, closed = "42601", "22P02", "UNDEFINED_VALUE", "57014", "CONNECTION_CLOSED"
    assert [line.split(" ")[1] for line in out.splitlines()] == [
        *(syntax, value, undefined, cancelled, cancelled, "mine", "mine", "ENOENT", closed, closed),
        *("CONNECTION_ENDED", "ECONNREFUSED"),
    ]
    journal = program.node.read()
    assert [journal.outcomes[journal.context(n).id] for n in (10, 11, 15)] == [
        "rolled back",
        "committed",
        "rolled back",
    ]
    failed = (1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 18)
    assert [pair for pair in journal.blamed() if pair[0] > 100] == [(n + 100, None) for n in failed]
    assert {statement for value, statement in journal.blamed() if value == 50} == {None}


@pytest.mark.parametrize("node", [20, 26], indirect=True)
def test_fifty_interleaved_flows_never_mix(program: SqlProgram) -> None:
    journal = program.journal("""
        const sql = postgres({ ...config, max: 3, max_pipeline: 5 });
        const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
        const y = watch(new Int32Array(2), { trackSQL: true, name: 'y' });
        const note = (i) => { y[0] = i; };
        const rowOf = (rows, i) => { if (rows[0].n !== i) throw new Error('wrong row'); note(i); };
        async function flow(i) {
          const name = sql(`f${i}`), select = (on) => on`SELECT ${i}::int AS n, 1 AS ${name}`;
          rowOf(await select(sql), i);
          await sleep(i % 7); note(i);
          await sql.begin(async (sql) => {
            rowOf(await select(sql), i);
            await null; note(i);
            await sql.savepoint(async (sql) => { rowOf(await select(sql), i); await sleep(i % 3); note(i); });
          });
          await select(sql).forEach((row) => rowOf([row], i)); note(i);
          for await (const rows of select(sql).cursor(1)) rowOf(rows, i);
          rowOf((await Promise.all([select(sql), select(sql)]))[1], i);
          const repository = async () => { const rows = await select(sql); await sleep(1); return rows; };
          rowOf(await repository(), i);
          rowOf(await sql.unsafe(`SELECT ${i} AS n, 1 AS f${i}`), i);
        }
        await Promise.all(Array.from({ length: 50 }, (_, i) => flow(i + 1)));
        await sql.end();
    """)
    blamed = journal.blamed("y")
    assert len(blamed) == 50 * 12
    own = [(f'SELECT $1::int AS n, ? AS "f{i}"', f"SELECT ? AS n, ? AS f{i}") for i, _ in blamed]
    assert [pair for pair, statements in zip(blamed, own, strict=True) if pair[1] not in statements] == []


@ONCE
def test_module_that_was_imported_before_sql_is_asked_for_is_traced(program: SqlProgram) -> None:
    head = "import { watch } from '@memwatch/node'; import postgres from 'postgres';"
    if program.file == "program.js":
        head = "const { watch } = require('@memwatch/node'), postgres = require('postgres');"
    program.node.write(f"""{head}
        (async () => {{
          const sql = postgres(JSON.parse(process.env.DATABASE));
          await sql`SELECT 1 AS untraced`;
          const x = watch(new Int32Array(1), {{ trackSQL: true, name: 'x' }});
          x[0] = 1;
          await sql`SELECT 2 AS traced`; x[0] = 2;
          await sql.end(); x[0] = 3;
        }})();
    """, program.file)  # fmt: skip
    program.node.run(program.file, register=False, DATABASE=json.dumps(program.config))
    assert program.node.read().blamed() == [(1, None), (2, "SELECT ? AS traced"), (3, None)]


@ONCE
def test_program_gets_the_same_of_its_own_promises_and_queries(program: SqlProgram) -> None:
    program.node.write("""
        class Early extends Promise {} // of the program's: nothing of it is run
        Object.defineProperty(Early, 'name', { get() { console.log('name'); } });
        Object.defineProperty(Early.prototype, 'constructor', { get() { console.log('constructor'); return Early; } });
        const strange = () => Reflect.construct(Promise, [() => {}], new Proxy(Early, { get(...args) { return Reflect.get(...args); } }));
        const odd = function () {}; odd.prototype = new Proxy({}, { getPrototypeOf() { console.log('prototype'); return null; }, getOwnPropertyDescriptor() { console.log('descriptor'); } });
        const postgres = (await import('postgres')).default;
        new Early(() => {}); strange(); Reflect.construct(Promise, [() => {}], odd);
        const sql = postgres(JSON.parse(process.env.DATABASE));
        const query = sql`SELECT ${1}::int AS a`, rows = await query;
        console.log(rows, rows.count, rows.command, Object.getOwnPropertyNames(query), Object.keys(query), query.statement.string);
        console.log(Object.getOwnPropertyNames(Object.getPrototypeOf(query)), query.handle.name, query.handle.length, query instanceof Promise);
        console.log(await sql.unsafe({ toString() { console.log('text'); return 'SELECT 1 AS b'; } }), { ...await sql`SELECT ${1}::int AS a`.describe(), name: '' });
        await sql.unsafe({ toString() { throw new Error('theirs'); } }).catch((error) => console.log(error.message));
        await sql`SELECT ${{ toString() { console.log('parameter'); return 'c'; } }}`.catch((error) => console.log(error.code));
        await sql`SELEC`.catch((error) => console.log(error.message, error.query, error.stack.split('\\n').filter((line) => !line.includes('node:internal'))));
        for (const wrong of [null, 5, {}]) try { console.log(await sql.unsafe(wrong).catch((error) => error.message)); } catch (error) { console.log('thrown', error.message); }
        await sql.end();
    """.replace("(await import('postgres')).default", "(await import('postgres')).default" if program.file.endswith(".mjs") else "require('postgres')"), "body.mjs")  # fmt: skip
    body = (program.node.folder / "body.mjs").read_text()
    ask = "import('@memwatch/node').then(({ watch }) => watch(new Int32Array(1), { trackSQL: true }))"
    both = []
    for traced in (False, True):
        program.node.write(f"(async () => {{ {f'await {ask};' if traced else ''} {body} }})();", program.file)
        both.append(program.node.run(program.file, register=traced, DATABASE=json.dumps(program.config)))
    plain, traced_run = both
    assert traced_run.stdout == plain.stdout
    assert traced_run.stderr == plain.stderr == ""
    assert len(plain.stdout.splitlines()) > 20
