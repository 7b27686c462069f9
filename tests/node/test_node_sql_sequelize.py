"""sequelize, over pg, mysql2 and sqlite3: a call of the program's is one statement, in force when it has returned."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import servers
from nodejs import ONCE, Node
from sqlprograms import SqlProgram

CONNECTED = """
    const sequelize = new Sequelize({
      ...config, dialect: 'DIALECT', storage: config.file, username: config.user, logging: false,
    });
    const Author = sequelize.define('author', { name: DataTypes.TEXT }, { timestamps: false });
    const Book = sequelize.define('book', { title: DataTypes.TEXT }, { timestamps: false });
    Author.hasMany(Book); Book.belongsTo(Author);
"""


@pytest.fixture(params=["sqlite3", "pg", "mysql2"])
def program(node: Node, request: pytest.FixtureRequest) -> SqlProgram:
    below: str = request.param
    if below != "sqlite3" and node.version != {"pg": 24, "mysql2": 20}[below] and not os.environ.get("MEMWATCH_SOAK"):
        pytest.skip("the same for each version: all of them in the long tests (make soak)")
    database: servers.PostgreSql | servers.MariaDb | Path = node.folder / "test.db"
    if below != "sqlite3":
        database = request.getfixturevalue(f"{'postgresql' if below == 'pg' else 'mariadb'}_database")
    return SqlProgram(node, "sequelize", database, (below,))


def connected(program: SqlProgram) -> str:
    return CONNECTED.replace("DIALECT", {"sqlite3": "sqlite", "pg": "postgres", "mysql2": "mysql"}[program.below[0]])


def test_call_of_the_programs_is_blamed_for_what_is_written_after_it(program: SqlProgram) -> None:
    journal = program.journal(f"""
        {connected(program)}
        x[0] = 1;
        await sequelize.query('SELECT 2 AS two'); x[0] = 2;
        await sequelize.sync(); x[0] = 3;
        const author = await Author.create({{ name: 'Ada' }}); x[0] = 4;
        const book = await author.createBook({{ title: 'Notes' }}); x[0] = 5;
        await Book.findAll({{ where: {{ title: 'Notes' }} }}); x[0] = 6;
        await Book.findOne(); x[0] = 7;
        await Book.count(); x[0] = 8;
        await author.getBooks(); x[0] = 9;
        await book.update({{ title: 'Other' }}); x[0] = 10;
        await book.reload(); x[0] = 11;
        await Book.update({{ title: 'Third' }}, {{ where: {{}} }}); x[0] = 12;
        await sequelize.query('SELECT title FROM books WHERE title = :t', {{ replacements: {{ t: 'Third' }} }}); x[0] = 13;
        await Book.destroy({{ where: {{ title: 'Third' }} }}); x[0] = 14;
        for (const each of await Author.findAll()) x[0] = 15;
        await sequelize.getQueryInterface().addIndex('books', ['title']); x[0] = 16;
        await sequelize.close();
    """)
    blamed = dict(journal.blamed())
    assert blamed[1] is None
    starts = {
        2: "SELECT ? AS two", 4: "INSERT INTO", 5: "INSERT INTO", 6: "SELECT", 7: "SELECT", 8: "SELECT count(*)", 9: "SELECT",
        10: "UPDATE", 11: "SELECT", 12: "UPDATE", 13: "SELECT title FROM books WHERE title = ?", 14: "DELETE FROM", 15: "SELECT", 16: "ALTER TABLE" if program.below == ("mysql2",) else "CREATE INDEX",
    }  # fmt: skip
    assert {n: str(blamed[n])[: len(start)] for n, start in starts.items()} == starts
    assert blamed[3]
    assert {journal.context(n).driver for n in range(2, 17)} == {"sequelize"}
    assert len({journal.context(n).id for n in range(2, 17)}) == 15
    assert {journal.outcomes.get(journal.context(n).id) for n in range(4, 15)} == {"committed"}
    database = program.database
    assert journal.context(2).database == (str(database) if isinstance(database, Path) else database.database)


def test_managed_and_other_transactions_decide_what_became_of_statements(program: SqlProgram) -> None:
    journal = program.journal(f"""
        {connected(program)}
        await sequelize.sync();
        const create = async (n, transaction) => {{ await Author.create({{ name: `${{n}}` }}, {{ transaction }}); x[0] = n; }};
        await sequelize.transaction((t) => create(1, t));
        await sequelize.transaction(async (t) => {{ await create(2, t); throw new Error('mine'); }}).catch(() => {{}});
        const t = await sequelize.transaction();
        await create(3, t);
        await t.commit(); x[0] = 100;
        const u = await sequelize.transaction();
        await create(4, u);
        await u.rollback();
        await create(5);
        console.log((await Author.findAll()).map((each) => each.name).join());
        await sequelize.close();
    """)
    outcomes = {n: journal.outcomes.get(journal.context(n).id) for n in range(1, 6)}
    assert outcomes == dict.fromkeys((1, 3, 5), "committed") | dict.fromkeys((2, 4), "rolled back")
    assert {journal.context(n).driver for n in range(1, 6)} == {"sequelize"}
    assert dict(journal.blamed())[100] is None


def test_fifty_interleaved_flows_never_mix(program: SqlProgram) -> None:
    journal = program.journal(f"""
        {connected(program)}
        await sequelize.sync();
        async function flow(i) {{
          const note = () => {{ x[0] = i; }};
          await sequelize.query(`SELECT 1 AS f${{i}}`); note();
          await new Promise((done) => setTimeout(done, i % 5)); note();
          await Author.findAll({{ attributes: [[sequelize.literal('2'), `f${{i}}`]] }}); note();
          setImmediate(note);
          await null; note();
        }}
        await Promise.all(Array.from({{ length: 50 }}, (_, i) => flow(i + 1)));
        await sequelize.close();
    """)
    blamed = journal.blamed()
    assert len(blamed) == 50 * 5
    assert [
        (n, text) for n, text in blamed if f"f{n}" not in str(text).replace('"', "").replace("`", "").split(" ")
    ] == []


SAME = """
    await sequelize.sync();
    const said = async (f) => { try { console.log(JSON.stringify(await f())); } catch (error) { console.log(error.name, error.message); } };
    await said(() => Author.create({ name: 'Ada' }));
    await said(() => Author.findAll({ where: { nothing: 1 } }));
    await said(() => sequelize.query('SELEC 1'));
    await said(() => sequelize.query('SELECT 1 AS a', { type: 'SELECT' }));
    await said(() => Author.findOrCreate({ where: { name: 'Ada' } }));
    await said(() => Author.findAndCountAll());
    await said(() => Author.bulkCreate([{ name: 'a' }, { name: 'b' }]));
    await said(() => sequelize.transaction(async (t) => { await Author.destroy({ where: {}, transaction: t }); throw new Error('mine'); }));
    await said(() => Author.count());
    console.log(Author.findAll.name, Author.findAll.length, Object.keys(Sequelize.Model).join());
    await sequelize.close();
    await said(() => Author.count());
"""


@ONCE
def test_library_behaves_as_it_does_alone(program: SqlProgram) -> None:
    traced = program.run(connected(program) + SAME)
    for plugin in (program.node.folder / "node_modules").glob("@memwatch/sql-*"):
        plugin.unlink()
    if isinstance(program.database, Path):
        program.database.unlink()
        assert program.run(connected(program) + SAME) == traced
    assert traced.count("\n") > 10
