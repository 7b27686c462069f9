"""Risk: a text of several statements that rolls back in the end passes for one that lasted."""

from __future__ import annotations

import json
import os

import pytest
import servers
from nodejs import ONCE, Node
from recorded import statements
from scripts import Dialect, scripts
from sqlprograms import SqlProgram

COUNT = 300 if os.environ.get("MEMWATCH_SOAK") else 40
DIALECTS: dict[str, Dialect] = {
    "pg": "postgresql", "postgres": "postgresql", "mysql2": "mysql", "better-sqlite3": "sqlite", "sqlite3": "sqlite",
}  # fmt: skip
CLIENTS = {
    "pg": """
        const open = async () => { const c = new pg.Client(config); await c.connect(); return c; };
        const run = (c, text) => c.query(text), close = (c) => c.end();
        const names = async (c) => (await c.query('SELECT a FROM t')).rows.map(({ a }) => a);
    """,
    "postgres": """
        const open = () => postgres({ ...config, max: 1, onnotice() {} });
        const run = (c, text) => c.unsafe(text), close = (c) => c.end();
        const names = async (c) => (await c.unsafe('SELECT a FROM t')).map(({ a }) => a);
    """,
    "mysql2": """
        const open = () => promise.createConnection({ ...config, multipleStatements: true });
        const run = (c, text) => c.query(text), close = (c) => c.end();
        const names = async (c) => (await c.query('SELECT a FROM t'))[0].map(({ a }) => a);
    """,
    "better-sqlite3": """
        const open = () => new Database(config.file);
        const run = (c, text) => c.exec(text), close = (c) => c.close();
        const names = (c) => c.prepare('SELECT a FROM t').pluck().all();
    """,
    "sqlite3": """
        const called = (f) => new Promise((done, fail) => f((error, rows) => (error ? fail(error) : done(rows))));
        const open = () => new Promise((done) => { const c = new sqlite3.Database(config.file, () => done(c)); });
        const run = (c, text) => called((back) => c.exec(text, back)), close = (c) => called((back) => c.close(back));
        const names = async (c) => (await called((back) => c.all('SELECT a FROM t', back))).map(({ a }) => a);
    """,
}
BODY = """
    const first = await open();
    for (const text of JSON.parse(process.env.SETUP)) await run(first, text);
    const failed = [];
    for (const texts of JSON.parse(require('node:fs').readFileSync('scripts.json', 'utf8'))) {
        const c = await open();
        let fails = false;
        for (const text of texts) {
            try { await run(c, text); } catch { fails = true; }
        }
        await close(c);
        failed.push(fails);
    }
    console.log(JSON.stringify([await names(first), failed]));
    await close(first);
"""
SETUP = {
    "postgresql": ["CREATE TABLE t (a varchar(20))"],
    "mysql": [
        "CREATE TABLE t (a varchar(20))", "CREATE PROCEDURE rolls_back() ROLLBACK", "CREATE PROCEDURE commits() COMMIT",
    ],
    "sqlite": ["PRAGMA journal_mode = WAL", "PRAGMA synchronous = OFF", "CREATE TABLE t (a)"],
}  # fmt: skip


@ONCE
@pytest.mark.parametrize("driver", list(DIALECTS))
def test_no_outcome_that_is_told_is_another_one(driver: str, node: Node, request: pytest.FixtureRequest) -> None:
    dialect = DIALECTS[driver]
    fixtures = {"postgresql": "postgresql_database", "mysql": "mariadb_database"}
    where: servers.PostgreSql | servers.MariaDb | object = (
        request.getfixturevalue(fixtures[dialect]) if dialect in fixtures else node.folder / "test.db"
    )
    program = SqlProgram(node, driver, where)  # type: ignore[arg-type]
    several = list(scripts(dialect, COUNT, tags="node"))
    (node.folder / "scripts.json").write_text(json.dumps([script.statements for script in several]))
    setup = SETUP[dialect]
    printed = program.run(f"{CLIENTS[driver]}{BODY}", SETUP=json.dumps(setup))
    present, failed = json.loads(printed)
    (journal,) = [file for folder in node.sessions() for file in folder.glob("*.mwj")]
    told = statements(journal)[len(setup) :]
    wrong = []
    for script, fails in zip(several, failed, strict=True):
        if fails and dialect == "sqlite":
            script.certain = script.sure = False  # nobody says how far it went
        if driver == "postgres" and script.text.startswith("COMMIT"):
            script.certain = False  # of answers without rows the library keeps the last, perhaps a ROLLBACK's
        if driver == "postgres" and fails and "AND CHAIN" in script.text:
            script.certain = False  # nor does it say whether a transaction is open now
        script.done = [(text, outcome) for text, (_, outcome) in zip(script.statements, told, strict=False)]
        told = told[len(script.statements) :]
        wrong += [f"{script.statements}: {each}" for each in script.judge(set(present))]
    assert len(told) == 1, "the SELECT"
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong[:40])
