"""SQL of Node.js programs in sessions: who is traced, what is kept, for how long, and what must never happen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import servers
from nodejs import ONCE, ROOT, Journal, Node, environment, records
from sqlprograms import SqlProgram

from memwatch_core import config as configuration
from memwatch_core.journal.session import create_session
from memwatch_core.records import Event, Outcome

MEMWATCH = str(Path(sys.executable).with_name("memwatch"))
pytestmark = ONCE


@pytest.fixture
def program(node: Node, postgresql_database: servers.PostgreSql) -> SqlProgram:
    return SqlProgram(node, "pg", postgresql_database)


def memwatch_run(program: SqlProgram, settings: str, *command: str) -> subprocess.CompletedProcess[str]:
    """With console and jsonl; the program sits in program.js."""
    (program.node.folder / "memwatch.toml").write_text(settings)
    done = subprocess.run(
        [
            MEMWATCH,
            "run",
            "--sink",
            "console",
            "--sink",
            "jsonl",
            "--track-sql",
            *(command or ("--", "node", "program.js")),
        ],
        cwd=program.node.folder,
        env=environment(
            PATH=f"{Path(program.node.path).parent}:{os.environ['PATH']}",
            MEMWATCH_SINKS_JSONL_PATH="events.jsonl",
            DATABASE=json.dumps(program.config),
        ),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def statements(program: SqlProgram) -> list[str | None]:
    lines = [json.loads(line) for line in (program.node.folder / "events.jsonl").read_text().splitlines()]
    return [line["context"] and line["context"]["statement"] for line in lines if "seq" in line]


def session(program: SqlProgram, settings: Mapping[str, Mapping[str, Any]], body: str) -> Journal:
    """The program in a session that has these settings."""
    folder = program.node.folder / ".memwatch"
    made = create_session(folder, ["test"])
    configuration.save(configuration.load(overrides=settings, directory=program.node.folder, environment={}), made)
    program.run(body, MEMWATCH_SESSION=str(made))
    return Journal(list(records(made)))


QUERY = """
    const client = new pg.Client(config); await client.connect();
    await client.query('SELECT 1'); x[0] = 1;
    await client.end();
"""


def test_configuration_selects_which_drivers_are_traced(program: SqlProgram) -> None:
    """By the Python distributions alone: nothing is installed from npm."""
    (program.node.folder / "node_modules" / "@memwatch" / "sql-pg").unlink()
    program.write(QUERY)
    for chosen, expected in (('"sqlite3"', None), ('"sqlite3", "pg", "mysql2"', "SELECT ?")):
        memwatch_run(program, f"[plugins]\nsql = [{chosen}]\n")
        assert statements(program) == [expected], chosen
        (program.node.folder / "events.jsonl").unlink()


def test_packed_plugins_hold_what_they_need(program: SqlProgram) -> None:
    folder = program.node.folder
    names = ("sql-pg", "sql-mysql2")
    path = f"{Path(program.node.path).parent}:{os.environ['PATH']}"
    pack = [
        "npm",
        "pack",
        "--silent",
        "--pack-destination",
        str(folder),
        *(str(ROOT / "plugins" / f"memwatch-{name}") for name in names),
    ]
    packed = subprocess.run(pack, cwd=folder, env=environment(PATH=path), capture_output=True, text=True, check=True)
    for name, tarball in zip(names, packed.stdout.split(), strict=True):
        installed = folder / "node_modules" / "@memwatch" / name
        installed.unlink(missing_ok=True)
        installed.mkdir()
        subprocess.run(["tar", "-xzf", tarball, "--strip-components=1", "-C", installed], cwd=folder, check=True)
        files = sorted(path.name for path in installed.rglob("*") if path.is_file())
        assert files == ["README.md", "driver.js", "package.json"]
    assert program.journal(QUERY).blamed() == [(1, "SELECT ?")]


def test_python_programs_ignore_the_drivers_of_node(program: SqlProgram) -> None:
    (program.node.folder / "program.py").write_text("import memwatch_core\nx = memwatch_core.watch(1)\nx += 1\n")
    done = memwatch_run(program, '[plugins]\nsql = ["pg", "mysql2", "sqlite3"]\n', "program.py")
    assert statements(program) == [None]
    assert "pg" not in done.stderr


def test_without_its_plugin_a_driver_is_left_alone(program: SqlProgram) -> None:
    (program.node.folder / "node_modules" / "@memwatch" / "sql-pg").unlink()
    assert program.journal(QUERY).blamed() == [(1, None)]


def test_driver_that_was_loaded_before_memwatch_is_traced(program: SqlProgram) -> None:
    program.node.write(f"""
        const pg = require('pg'), config = JSON.parse(process.env.DATABASE);
        const x = require('@memwatch/node').watch(new Int32Array(1), {{ trackSQL: true, name: 'x' }});
        (async () => {{ {QUERY} }})();
    """)
    program.node.run("program.js", register=False, DATABASE=json.dumps(program.config))
    assert program.node.read().blamed() == [(1, "SELECT ?")]


@pytest.mark.parametrize("source", ["import pg from 'pg'", "import { Client } from 'pg'; const pg = { Client }"])
def test_driver_that_is_imported_is_traced(program: SqlProgram, source: str) -> None:
    program.node.write(
        f"import {{ watch }} from '@memwatch/node'; {source}; const config = JSON.parse(process.env.DATABASE);"
        f"const x = watch(new Int32Array(1), {{ trackSQL: true, name: 'x' }}); {QUERY}",
        "program.mjs",
    )
    program.node.run("program.mjs", DATABASE=json.dumps(program.config))
    assert program.node.read().blamed() == [(1, "SELECT ?")]


def test_driver_that_is_a_module_is_traced_under_the_host(program: SqlProgram) -> None:
    """In its threads too; no value of a parameter gets out."""
    program.node.write("""
        import { watch } from '@memwatch/node'; import postgres from 'postgres'; import { Worker, isMainThread } from 'node:worker_threads';
        const x = watch(new Int32Array(1), { trackSQL: true, name: 'x' }), sql = postgres(JSON.parse(process.env.DATABASE));
        await sql`SELECT ${'s3cret'} AS ${sql(isMainThread ? 'main' : 'worker')}`; x[0] = 1;
        await sql.end();
        if (isMainThread) await new Promise((done) => new Worker(new URL(import.meta.url)).on('exit', done));
    """, "program.mjs")  # fmt: skip
    done = memwatch_run(program, "", "--", "node", "program.mjs")
    assert statements(program) == [f'SELECT $1 AS "{thread}"' for thread in ("main", "worker")]
    out = (done.stdout + done.stderr + (program.node.folder / "events.jsonl").read_text()).encode() + program.bytes()
    for secret in ("s3cret", str(program.config["password"])):
        assert secret.encode() not in out


def test_workers_have_statements_of_their_own(program: SqlProgram) -> None:
    journal = program.journal("""
        const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');
        const { share, receive } = require('@memwatch/node');
        const y = isMainThread ? x : receive(workerData);
        const client = new pg.Client(config); await client.connect();
        for (let i = 1; i <= 20; i++) {
          await client.query(`SELECT 1 AS ${isMainThread ? 'main' : 'worker'}`);
          y[0] = i + (isMainThread ? 0 : 100);
        }
        await client.end();
        if (isMainThread) await event(new Worker(__filename, { workerData: share(x) }), 'exit');
    """)
    blamed = [(value, statement) for value, statement in journal.blamed() if statement]
    assert sorted(blamed) == [
        (i + extra, f"SELECT ? AS {where}") for extra, where in ((0, "main"), (100, "worker")) for i in range(1, 21)
    ]
    assert {event.context.thread for event in journal.events if event.context} == {"main", "worker 1"}


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("statement", {1: None, 2: None, 3: "SELECT generate_series(?, ?) AS n", 4: None}),
        ("fetch", {1: None, 2: None, 3: "SELECT generate_series(?, ?) AS n", 4: None}),
        ("until-next", {1: "SELECT ?", 2: "SELECT ?", 3: "SELECT generate_series(?, ?) AS n", 4: None}),
        ("transaction", {1: "SELECT ?", 2: "SELECT ?", 3: "SELECT generate_series(?, ?) AS n", 4: None}),
    ],
)
def test_window_sets_when_a_statement_ends_at_the_latest(
    program: SqlProgram, window: str, expected: dict[int, str | None]
) -> None:
    journal = session(program, {"sql": {"window": window}}, """
        const client = new pg.Client(config); await client.connect();
        await client.query('SELECT 1'); x[0] = 1;
        await new Promise((done) => setTimeout(done, 5)); x[0] = 2;
        const query = client.query(new pg.Query('SELECT generate_series(1, 1) AS n'));
        query.on('row', () => { x[0] = 3; });
        await event(query, 'end');
        await client.end(); x[0] = 4;
    """)  # fmt: skip
    assert dict(journal.blamed()) == expected


LATE = """
    const { AsyncResource } = require('node:async_hooks');
    const { watch } = require('@memwatch/node');
    const pg = require('pg'), Cursor = require('pg-cursor');
    const config = JSON.parse(process.env.DATABASE), [, , when] = process.argv;
    const begin = () => watch(new Int32Array(1), { name: 'x' });
    let x = when === 'early' ? begin() : undefined;
    const flows = [], later = (n) => flows.push(AsyncResource.bind(() => { x[0] = n; }));
    (async () => {
      const client = new pg.Client(config); await client.connect();
      const insert = async (n) => { await client.query('INSERT INTO t VALUES ($1)', [n]); later(n); };
      await client.query('CREATE TABLE t (a int PRIMARY KEY)'); later(1);
      await insert(2);
      await client.query('BEGIN'); await insert(3); await client.query('SAVEPOINT a'); await insert(4);
      await client.query('ROLLBACK TO a'); await insert(5); await client.query('COMMIT'); later(6);
      await client.query('BEGIN'); await insert(7); await client.query('ROLLBACK'); later(8);
      await client.query('SELECT 1/0').catch(() => later(9));
      const cursor = client.query(new Cursor('SELECT generate_series(1, 5) AS n'));
      await cursor.read(2); later(10);
      await cursor.close();
      const other = new pg.Client(config); await other.connect();
      const open = other.query(new Cursor('SELECT generate_series(1, 5) AS later'));
      await open.read(2);
      for (let n = 0; n < 300; n++) await client.query('SELECT 1'); // nobody holds them
      await client.query('BEGIN'); await insert(11);
      if (when !== 'never') {
        x ??= begin();
        for (const flow of flows) flow();
        x[0] = 12;
      }
      await client.query('COMMIT');
      await insert(13);
      if (when !== 'never') flows.pop()();
      await open.read(1);
      if (when !== 'never') x[0] = 14;
      await other.end(); await client.end();
    })();
"""


def watched(program: SqlProgram, when: str, window: str) -> tuple[list[Any], list[Path]]:
    """What the program's writes are blamed on, and what became of that; the journals."""
    folder = program.node.folder
    made = create_session(folder / when, ["test"])
    settings: dict[str, dict[str, Any]] = {"watch": {"track_sql": True}, "sql": {"window": window}}
    configuration.save(configuration.load(overrides=settings, directory=folder, environment={}), made)
    program.database.administer("DROP TABLE IF EXISTS t")  # type: ignore[union-attr]
    program.node.write(LATE)
    done = program.node.run("program.js", when, DATABASE=json.dumps(program.config), MEMWATCH_SESSION=str(made))
    assert not done.stderr
    journal = Journal(list(records(made)))
    found = [
        (event.new[0], event.context and (event.context.statement, journal.outcomes.get(event.context.id)))
        for event in journal.events
    ]
    return found, list(made.glob("*.mwj"))


@pytest.mark.parametrize("window", ["until-next", "statement", "fetch", "transaction"])
def test_what_was_run_before_the_first_watch_is_told_with_it(program: SqlProgram, window: str) -> None:
    late, _ = watched(program, "late", window)
    assert len(late) == 14
    assert late == watched(program, "early", window)[0]
    assert window == "statement" or late[-1][1], "whose rows were fetched after the watch"
    assert window in ("statement", "fetch") or sum(what is not None for _, what in late) >= 7


def test_program_that_runs_sql_and_never_watches_leaves_no_journal(program: SqlProgram) -> None:
    assert watched(program, "never", "until-next") == ([], [])


def test_parameters_are_kept_as_the_configuration_says(program: SqlProgram) -> None:
    body = """
        const client = new pg.Client(config); await client.connect();
        await client.query('SELECT $1::int, $2', [5, "planted"]); x[0] = 1;
        await client.query('SELECT $1', ["planted"]); x[0] = 2;
        await client.end();
    """
    kept = {
        how: [journal.context(n).parameters for n in (1, 2)]
        for how in ("none", "hash", "full")
        for journal in [session(program, {"sql": {"parameters": how}}, body)]
    }
    assert kept["none"] == [(), ()]
    assert kept["full"] == [("5", '"planted"'), ('"planted"',)]
    (_, text), (same,) = kept["hash"]
    assert text == same
    assert len(text) == 16


def test_settings_without_a_host_come_from_the_environment(program: SqlProgram) -> None:
    body = """
        const client = new pg.Client(config); await client.connect();
        await client.query('SELECT $1', ["planted"]); x[0] = 1;
        await client.end();
    """
    program.run(body, MEMWATCH_SQL_PARAMETERS="full", MEMWATCH_SQL_WINDOW="until-next")
    assert program.node.read().context(1).parameters == ('"planted"',)
    done = program.node.run("program.js", check=1, DATABASE="{}", MEMWATCH_SQL_WINDOW="untilnext")
    assert 'MEMWATCH_SQL_WINDOW is "untilnext"; it can be until-next, statement, fetch, transaction' in done.stderr


def test_no_secret_of_the_program_gets_out(program: SqlProgram) -> None:
    password = program.config["password"]
    body = """
        const url = `postgres://${config.user}:${config.password}@${config.host}:${config.port}/${config.database}`;
        const pool = new pg.Pool({ connectionString: url });
        await pool.query("SELECT 's3cret-literal', $tag$s3cret-dollar$tag$ /* s3cret-comment */, $1, $2::json", ['s3cret-value', { a: 's3cret-json' }]);
        x[0] = 1;
        await pool.query({ text: 'SELECT $1', values: [Buffer.from('s3cret-bytes')], name: 's3cret-name' }); x[0] = 2;
        await pool.query("SELECT 's3cret-failed'::int").catch(() => {}); x[0] = 3;
        await pool.query("SELEC 's3cret-syntax").catch(() => {}); x[0] = 4;
        await pool.end();
    """
    program.write(body)
    done = memwatch_run(program, "")
    assert statements(program)[:2] == ["SELECT ?, ? , $1, $2::json", "SELECT $1"]
    out = (done.stdout + done.stderr + (program.node.folder / "events.jsonl").read_text()).encode()
    for secret in (b"s3cret", str(password).encode()):
        assert secret not in out
        assert secret not in program.bytes()


def test_statements_end_when_no_flow_has_them_any_more(program: SqlProgram) -> None:
    program.write("""
        const client = new pg.Client(config); await client.connect();
        for (let i = 0; i < 200; i++) { await client.query('SELECT 1 AS early'); x[0] = i; }
        for (let i = 0; i < 5; i++) { global.gc(); await new Promise((done) => setTimeout(done, 10)); }
        await client.query('SELECT 2 AS late'); x[0] = 1000;
        process.exit(0);
    """)
    program.node.run("--expose-gc", "program.js", DATABASE=json.dumps(program.config))
    said = program.node.read().records
    (late,) = [i for i, record in enumerate(said) if isinstance(record, Event) and record.new[0] == 1000]
    told = [record for record in said[:late] if isinstance(record, Outcome)]
    assert len(told) > 150, "those of the beginning were told before the end"
    assert len([record for record in said if isinstance(record, Outcome)]) == 201
    assert {record.outcome for record in said if isinstance(record, Outcome)} == {"committed"}


BROKEN = """
    module.exports = { name: 'pg', target: 'pg', install(pg, { tracer, replace }) {
      %s
      replace(pg.Client.prototype, 'query', (query) => function () {
        const token = tracer.begin(() => { throw new Error('s3cret'); });
        tracer.guard(() => { throw new TypeError('s3cret'); });
        return tracer.run(token, () => Reflect.apply(query, this, arguments));
      });
    } };
"""


@pytest.mark.parametrize("at_install", ["", "throw new RangeError('s3cret');"])
def test_failure_in_tracing_stays_inside_and_is_said_once(program: SqlProgram, at_install: str) -> None:
    link = program.node.folder / "node_modules" / "@memwatch" / "sql-pg"
    link.unlink()
    link.mkdir()
    (link / "index.js").write_text(BROKEN % at_install)
    program.write(f"{QUERY} console.log('done');")
    done = program.node.run("program.js", DATABASE=json.dumps(program.config))
    assert done.stdout == "done\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith("memwatch: tracing a SQL statement failed (" + ("RangeError" if at_install else "Error"))
    assert "s3cret" not in line
    assert program.node.read().blamed() == [(1, None)]


def test_program_that_closes_its_session_goes_on(program: SqlProgram) -> None:
    out = program.run("""
        const client = new pg.Client(config); await client.connect();
        await client.query('BEGIN'); await client.query('SELECT 1'); x[0] = 1;
        require('@memwatch/node').session().close();
        await client.query('SELECT 2'); await client.query('COMMIT');
        console.log((await client.query('SELECT 3 AS n')).rows[0].n); await client.end();
    """)
    assert out == "3\n"
    assert program.node.read().blamed() == [(1, "SELECT ?")]


def test_plugins_are_listed_with_the_others(node: Node) -> None:
    done = subprocess.run(
        [MEMWATCH, "plugins", "--json"], cwd=node.folder, env=environment(), capture_output=True, text=True
    )
    listed = {each["name"]: each for each in map(json.loads, done.stdout.splitlines()) if each["kind"] == "sql"}
    for name in ("pg", "mysql2", "postgres"):
        assert (listed[name]["state"], listed[name]["distribution"]) == ("loaded", f"memwatch-sql-{name}")
    assert (ROOT / "plugins" / "memwatch-sql-pg" / "memwatch_sql_pg" / "driver.js").is_file()
