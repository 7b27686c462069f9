"""Drivers are found wherever a package manager has put them, and whatever part of the program loads them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import layouts
import pytest
import servers
from nodejs import ONCE, VERSIONS, Node, environment, unfit

DRIVERS = ("pg", "mysql2", "better-sqlite3", "sqlite3", "postgres")
LAYOUTS = ("pnpm", "pnpm with a store elsewhere", "workspace")
SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
CELLS = list(product(LAYOUTS, VERSIONS)) if SOAK else [("pnpm with a store elsewhere", 20), ("workspace", 26)]

PROGRAM = """
    const { watch } = require('@memwatch/node');
    const x = watch(new Int32Array(1), { trackSQL: true, name: NAME });
    const [postgresql, mariadb] = JSON.parse(process.env.DATABASES);
    (async () => {
      const { Client } = require('pg'), client = new Client(postgresql);
      await client.connect(); await client.query('SELECT 1 AS pg'); x[0] = 1; await client.end();
      const connection = await require('mysql2/promise').createConnection(mariadb);
      await connection.query('SELECT 1 AS mysql2'); x[0] = 2; await connection.end();
      if (!OLD) { const db = new (require('better-sqlite3'))(':memory:'); db.prepare('SELECT 1 AS better').get(); x[0] = 3; db.close(); }
      const { Database } = require('sqlite3'), file = new Database(':memory:');
      await new Promise((done) => file.get('SELECT 1 AS sqlite3', () => { x[0] = 4; done(); }));
      const sql = require('postgres')(postgresql); await sql`SELECT 1 AS postgres`; x[0] = 5; await sql.end();
      const imported = (await import('postgres')).default(postgresql); await imported`SELECT 1 AS module`; x[0] = 6; await imported.end();
    })();
"""
ALIASES = ("pg", "mysql2", "better", "sqlite3", "postgres", "module")
WORKERS = """
    const { Worker } = require('node:worker_threads');
    new Worker('./worker.js').on('exit', () => new Worker(require('node:fs').readFileSync('evaluated.js', 'utf8'), { eval: true }));
"""


@pytest.fixture
def databases(postgresql_database: servers.PostgreSql, mariadb_database: servers.MariaDb) -> str:
    both = [
        {"host": each.host, "port": each.port, "user": each.user, "password": each.password, "database": each.database}
        for each in (postgresql_database, mariadb_database)
    ]
    return json.dumps(both)


@pytest.mark.parametrize(("layout", "node"), CELLS, indirect=["node"])
def test_drivers_in_linked_folders_are_traced_in_scripts_in_code_without_a_file_and_in_workers(
    node: Node, layout: str, databases: str, tmp_path: Path
) -> None:
    drivers = [name for name in DRIVERS if not unfit(node.driver(name), node.version)]
    if "sqlite3" not in drivers:
        pytest.skip(unfit(node.driver("sqlite3"), node.version))
    node = Node(node.version, tmp_path / "project")
    if layout == "workspace":
        layouts.linked(node, *drivers)
    else:
        layouts.pnpm(
            node, (node.folder / "node_modules" / ".pnpm") if layout == "pnpm" else tmp_path / "store", *drivers
        )
    has_better = "better-sqlite3" in drivers

    def text(name: str) -> str:
        return PROGRAM.replace("NAME", repr(name)).replace("OLD", json.dumps(not has_better))

    node.write(text("script") + WORKERS)
    node.write(text("worker"), "worker.js")
    node.write(text("evaluated"), "evaluated.js")
    node.write(text("linked"), "linked.js")
    node.run("program.js", DATABASES=databases)
    node.run("--eval", text("command"), DATABASES=databases)
    link = tmp_path / "link.js"
    link.symlink_to(node.folder / "linked.js")
    node.run(str(link), DATABASES=databases)
    ways = ["script", "worker", "evaluated", "command", "linked"]
    if layout == "workspace":  # pnpm's packages don't find what they need then
        node.write(text("preserving"), "preserving.js")
        node.run("--preserve-symlinks", "preserving.js", DATABASES=databases)
        ways.append("preserving")
    expected = [(n, f"SELECT ? AS {name}") for n, name in enumerate(ALIASES, 1) if name != "better" or has_better]
    found = node.read_all()
    assert {name: found.blamed(name) for name in ways} == dict.fromkeys(ways, expected)


@ONCE
def test_program_that_is_called_as_a_driver_is_none(node: Node) -> None:
    """Its own package, which nothing links to, is left alone."""
    node.install("pg")
    (node.folder / "node_modules" / "pg").unlink()
    (node.folder / "package.json").write_text('{"name": "pg", "main": "own.js"}')
    node.write("exports.Client = class { query() { return 5; } };", "own.js")
    node.write("""
        const { watch } = require('@memwatch/node');
        const x = watch(new Int32Array(1), { trackSQL: true, name: 'x' });
        const { Client } = require('./own'), { query } = Client.prototype;
        x[0] = new Client().query();
        console.log(query.toString());
    """)
    done = node.run("program.js")
    assert (done.stdout, done.stderr) == ("query() { return 5; }\n", "")
    assert node.read().blamed() == [(5, None)]


@ONCE
def test_where_yarn_keeps_packages_in_archives_the_program_is_refused_with_what_to_do(node: Node) -> None:
    (node.folder / "node_modules" / "@memwatch" / "node").unlink()
    (node.folder / ".pnp.cjs").touch()
    node.write("console.log('ran')")
    command = [Path(sys.executable).with_name("memwatch"), "run", "program.js"]
    path = f"{Path(node.path).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=node.folder, env=environment(PATH=path), capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert done.stdout == ""
    assert "nodeLinker: node-modules" in done.stderr
    assert "yarn node --require @memwatch/node/register" in done.stderr
