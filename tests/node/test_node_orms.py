"""ORMs and query builders, as their documentation shows them: each write is under the statement of its own flow."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import servers
from nodejs import EVERY_NODE, ORMS, PACKAGE, PRISMA, PROGRAMS, Node, environment
from sqlprograms import SqlProgram

SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
LIBRARIES = ("knex", "knex.raw", "objection", "drizzle", "kysely", "typeorm", "sequelize")
OF_POSTGRESQL = ("pg-promise", "mikro-orm", "sequelize 7", "drizzle over postgres.js")
FLOWS = 20
WRITES = 6 * FLOWS
NEWEST = pytest.mark.parametrize("node", EVERY_NODE if SOAK else EVERY_NODE[-1:], indirect=True)
"""Of each version in the long tests."""


def check(program: SqlProgram, *libraries: str, **variables: str) -> None:
    program.node.write((PROGRAMS / "orms.js").read_text())
    done = program.node.run(
        "--no-deprecation",
        "program.js",
        program.driver,
        str(FLOWS),
        *libraries,
        timeout=300,
        DATABASE=json.dumps(program.config),
        **variables,
    )
    seen = dict(program.node.read().blamed())
    told: list[tuple[int, str | None, str]] = json.loads(done.stdout)
    wrong = [
        f"{label}: {seen[n]}, not {name}"
        for n, name, label in told
        if (re.search(rf"\b{name}\b", seen[n] or "") is None if name else seen[n] is not None)
    ]
    assert wrong == []
    assert done.stderr == ""
    counts = {label: sum(label == other for *_, other in told) for label in libraries}
    assert {label: count for label, count in counts.items() if count < WRITES} == {}


@NEWEST
def test_writes_are_under_the_statement_of_their_flow_with_postgresql(
    node: Node, postgresql_database: servers.PostgreSql
) -> None:
    check(SqlProgram(node, "pg", postgresql_database, ("sequelize", "postgres"), ORMS), *LIBRARIES, *OF_POSTGRESQL)


@NEWEST
def test_writes_are_under_the_statement_of_their_flow_with_mysql(node: Node, mariadb_database: servers.MariaDb) -> None:
    program = SqlProgram(node, "mysql2", mariadb_database, ("sequelize",), ORMS)
    check(program, *LIBRARIES)


@pytest.mark.skipif(not SOAK, reason="the same as with servers: in the long tests (make soak)")
@NEWEST
def test_writes_are_under_the_statement_of_their_flow_with_sqlite(node: Node, tmp_path: Path) -> None:
    driver = node.driver("better-sqlite3")
    (node.folder / "node_modules" / "better-sqlite3").symlink_to(driver)
    program = SqlProgram(node, "better-sqlite3", tmp_path / "file.db", packages=ORMS)
    check(program, "knex", "knex.raw", "drizzle", "kysely", "typeorm", NODE_PATH=str(driver.parent))


@NEWEST
def test_writes_are_under_the_statement_of_their_flow_with_sqlite3(node: Node, tmp_path: Path) -> None:
    check(SqlProgram(node, "sqlite3", tmp_path / "file.db", packages=ORMS), "sequelize 7")


def generate(program: SqlProgram, provider: str) -> None:
    """Prisma's client. The engine of its command line, which isn't on npm, has no part in this."""
    if provider == "sqlite" and program.node.version < 22:
        pytest.skip("Prisma's better-sqlite3 is here in a version for Node.js 22 and later only")
    folder = program.node.folder
    schema = (PROGRAMS / "schema.prisma").read_text().replace("PROVIDER", provider)
    program.node.write(schema, "schema.prisma")
    command = [program.node.path, str(PRISMA / "prisma" / "build" / "index.js"), "generate", "--schema=schema.prisma"]
    settings = {
        "PRISMA_SCHEMA_ENGINE_BINARY": "/bin/true",
        "CHECKPOINT_DISABLE": "1",
        "PRISMA_HIDE_UPDATE_MESSAGE": "1",
    }
    subprocess.run(command, cwd=folder, env=environment(**settings), capture_output=True, check=True, timeout=120)
    (folder / "generated" / "package.json").write_text('{"type": "module"}')
    if program.node.version < 22:  # strips no types
        esbuild = PACKAGE / "node_modules" / ".bin" / "esbuild"
        options = [
            "--bundle",
            "--packages=external",
            "--platform=node",
            "--format=esm",
            "--outfile=generated/client.js",
        ]
        subprocess.run([esbuild, "generated/client.ts", *options], cwd=folder, capture_output=True, check=True)


WITH_PRISMA = pytest.mark.skipif(not SOAK or not PRISMA.is_dir(), reason="in the long tests: make soak installs Prisma")


@WITH_PRISMA
@NEWEST
def test_writes_are_under_the_statement_of_their_flow_with_prisma_and_postgresql(
    node: Node, postgresql_database: servers.PostgreSql
) -> None:
    program = SqlProgram(node, "pg", postgresql_database, packages=PRISMA)
    generate(program, "postgresql")
    check(program, "prisma", "prisma.$queryRaw", NODE_NO_WARNINGS="1", NODE_PATH=str(ORMS))


@WITH_PRISMA
@NEWEST
def test_writes_are_under_the_statement_of_their_flow_with_prisma_and_sqlite(node: Node, tmp_path: Path) -> None:
    program = SqlProgram(node, "better-sqlite3", tmp_path / "file.db", packages=PRISMA)
    generate(program, "sqlite")
    check(program, "prisma", "prisma.$queryRaw", NODE_NO_WARNINGS="1", NODE_PATH=str(ORMS))


@WITH_PRISMA
@NEWEST
@pytest.mark.parametrize("driver", ["pg", "better-sqlite3"])
def test_in_a_transaction_of_prisma_and_after_find_unique_each_flow_has_its_own_statement_or_none(
    node: Node, driver: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with_server = driver == "pg"
    database = request.getfixturevalue("postgresql_database") if with_server else tmp_path / "file.db"
    program = SqlProgram(node, driver, database, packages=PRISMA)
    generate(program, "postgresql" if with_server else "sqlite")
    node.write((PROGRAMS / "prisma.js").read_text())
    done = node.run(
        "--no-deprecation", "program.js", driver, "50",
        timeout=300, DATABASE=json.dumps(program.config), NODE_NO_WARNINGS="1", MEMWATCH_SQL_PARAMETERS="full",
    )  # fmt: skip
    seen = {
        event.new[0]: {event.context.statement, *event.context.parameters} if event.context else {None}
        for event in node.read().events
    }
    told: list[tuple[int, list[int | str | None], str]] = json.loads(done.stdout)
    wrong = [
        f"{label}: {seen[n]}, not {of}"
        for n, of, label in told
        if seen[n].isdisjoint(each if each is None else str(each) for each in of)
    ]
    assert wrong == []
    assert (done.stderr, len(told), len(seen)) == ("", 50 * 26, 50 * 26)


BATCHES = """
    const Loader = require('dataloader');
    const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
    const pool = new pg.Pool({ ...config, max: 2 });
    let batches = 0;
    const batch = async (keys) => { batches++; await sleep(1); await pool.query('SELECT 1 AS batch'); return keys; };
    const loader = new Loader(batch);
    const barrier = () => { // all three go on at once
      let here = 0, open;
      const gate = new Promise((done) => { open = done; });
      return () => { if (++here === 3) open(); return gate; };
    };
    const first = barrier(), second = barrier();
    await Promise.all([1, 2, 3].map(async (i) => {
      await pool.query(`SELECT 1 AS own${i}`); x[0] = 10 + i;
      await first();
      await loader.load(i % 2); x[0] = 20 + i;
      await second();
      await loader.loadMany([i, 7]); x[0] = 30 + i;
    }));
    console.log(batches);
    await pool.end();
"""


@NEWEST
def test_all_that_await_a_batch_have_its_statement(node: Node, postgresql_database: servers.PostgreSql) -> None:
    program = SqlProgram(node, "pg", postgresql_database, packages=ORMS)
    assert program.run(BATCHES) == "2\n"
    batch = dict.fromkeys((21, 22, 23, 31, 32, 33), "SELECT ? AS batch")
    assert dict(program.node.read().blamed()) == {10 + i: f"SELECT ? AS own{i}" for i in (1, 2, 3)} | batch
