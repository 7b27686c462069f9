"""Tracing begins while a program is in the middle of a transaction: what becomes of it is told, or nothing is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import servers
from nodejs import Journal, Node
from sqlprograms import SqlProgram

# How each driver opens a connection, runs a statement on it, and closes it.
DRIVERS = {
    "better-sqlite3": (
        "const db = require('better-sqlite3')(config.file); const run = async (text) => db.prepare(text).run(); const close = () => db.close();"
    ),
    "sqlite3": """
        const { Database } = require('sqlite3'), db = new Database(config.file); await new Promise((done) => db.once('open', done));
        const run = (text) => new Promise((done, failed) => db.run(text, (error) => error ? failed(error) : done()));
        const close = () => new Promise((done) => db.close(done));
    """,
    "pg": """
        const client = new (require('pg').Client)(config); await client.connect();
        const run = (text) => client.query(text), close = () => client.end();
    """,
    "postgres": """
        const sql = require('postgres')({ ...config, max: 1, onnotice() {} });
        const run = (text) => sql.unsafe(text), close = () => sql.end();
    """,
    "mysql2": """
        const db = await require('mysql2/promise').createConnection(config);
        const run = (text) => db.query(text), close = () => db.end();
    """,
}  # fmt: skip
NOBODY_SAYS = ("sqlite3", "postgres")
"""They don't tell whether a connection is in a transaction."""


@pytest.fixture(params=DRIVERS)
def program(node: Node, request: pytest.FixtureRequest) -> SqlProgram:
    fixture = {"pg": "postgresql", "postgres": "postgresql", "mysql2": "mariadb"}.get(request.param)
    database: servers.PostgreSql | servers.MariaDb | Path
    database = request.getfixturevalue(fixture) if fixture else node.folder / "test.db"
    return SqlProgram(node, request.param, database)


def late(program: SqlProgram, before: str, after: str) -> Journal:
    """Of a program that has run `before` when tracing begins, and then runs `after`."""
    program.node.write(f"""
        const config = JSON.parse(process.env.DATABASE);
        (async () => {{
          {DRIVERS[program.driver]}
          await run('DROP TABLE IF EXISTS late'); await run('CREATE TABLE late (a INTEGER)');
          {before}
          const x = require('@memwatch/node').watch(new Int32Array(1), {{ trackSQL: true, name: 'x' }});
          {after}
        }})();
    """)
    program.node.run("--no-deprecation", "program.js", register=False, DATABASE=json.dumps(program.config))
    return program.node.read()


def outcome(journal: Journal, number: int) -> str | None:
    found = journal.outcomes.get(journal.context(number).id)
    return None if found in ("ended", "closed") else found


INSERT = "await run('INSERT INTO late VALUES (1)');"


@pytest.mark.parametrize("before", ["", INSERT])
@pytest.mark.parametrize(("end", "expected"), [("COMMIT", "committed"), ("ROLLBACK", "rolled back")])
def test_transaction_that_was_open_when_tracing_began_ends_as_it_does(
    program: SqlProgram, before: str, end: str, expected: str
) -> None:
    journal = late(
        program,
        f"await run('BEGIN'); {before}",
        f"{INSERT} x[0] = 1; {INSERT} x[0] = 2; await run('{end}'); {INSERT} x[0] = 3; await close();",
    )
    # PostgreSQL answers a ROLLBACK alike where there is nothing to roll back.
    told = None if program.driver == "postgres" and end == "ROLLBACK" else expected
    assert [outcome(journal, n) for n in (1, 2, 3)] == [told, told, "committed"]


def test_transaction_that_was_open_when_tracing_began_and_is_never_ended_is_not_committed(program: SqlProgram) -> None:
    journal = late(program, "await run('BEGIN');", f"{INSERT} x[0] = 1; await close();")
    assert outcome(journal, 1) == (None if program.driver in NOBODY_SAYS else "rolled back")


@pytest.mark.parametrize(("end", "expected"), [("COMMIT", "committed"), ("ROLLBACK", "rolled back")])
def test_connection_that_was_idle_when_tracing_began_commits_statement_by_statement(
    program: SqlProgram, end: str, expected: str
) -> None:
    journal = late(
        program, "", f"{INSERT} x[0] = 1; await run('BEGIN'); {INSERT} x[0] = 2; await run('{end}'); await close();"
    )
    assert outcome(journal, 1) == (None if program.driver == "postgres" else "committed")
    assert outcome(journal, 2) == expected
