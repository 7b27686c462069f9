"""sqlite3 of npm: every way to run a statement is followed, in its own flow, on files of SQLite."""

from __future__ import annotations

import pytest
from nodejs import Node
from sqlprograms import SqlProgram


@pytest.fixture
def program(node: Node) -> SqlProgram:
    return SqlProgram(node, "sqlite3", node.folder / "test.db")


OPENED = """
    const db = await new Promise((done) => { const db = new sqlite3.Database(config.file, () => done(db)); });
    const called = (on, name, ...args) => new Promise((done, failed) =>
      on[name](...args, function (error, result) { if (error) return failed(error); x[0]++; done(result); }));
"""


def test_every_way_to_run_a_statement_is_blamed_for_what_is_written_after_it(program: SqlProgram) -> None:
    journal = program.journal(f"""
        {OPENED}
        await called(db, 'exec', 'CREATE TABLE t (a, b)');
        await called(db, 'run', 'INSERT INTO t VALUES (?, ?)', 1, 'one');
        await called(db, 'run', 'INSERT INTO t VALUES (?, ?), (3, 4)', [2, 'two']); x[0] = 9;
        await called(db, 'get', 'SELECT a FROM t WHERE b = $b', {{ $b: 'one' }});
        await called(db, 'all', 'SELECT a FROM t ORDER BY a');
        await called(db, 'map', 'SELECT a, b FROM t'); x[0] = 19;
        await new Promise((done) => db.each('SELECT a FROM t WHERE a < ?', [3], () => {{ x[0]++; }}, () => {{ x[0]++; done(); }}));
        db.each('SELECT a, a FROM t WHERE a = 3', () => {{ x[0]++; }}); await new Promise((done) => setTimeout(done, 50));
        x[0] = 29;
        const statement = db.prepare('SELECT b FROM t WHERE a = ?', [1]);
        await called(statement, 'get'); await called(statement, 'get', 2); await called(statement, 'all', 3);
        await called(statement, 'run', 4);
        statement.finalize();
        db.run('INSERT INTO t VALUES (5, 6)'); x[0] = 40; await called(db, 'get', 'SELECT 1 AS later');
        await new Promise((done) => db.close(() => {{ x[0] = 50; done(); }})); x[0] = 51;
    """)
    less, prepared = "SELECT a FROM t WHERE a < ?", "SELECT b FROM t WHERE a = ?"
    assert journal.blamed() == [
        (1, "CREATE TABLE t (a, b)"), (2, "INSERT INTO t VALUES (?, ?)"), (3, "INSERT INTO t VALUES (?, ?), (?, ?)"),
        (9, "INSERT INTO t VALUES (?, ?), (?, ?)"), (10, "SELECT a FROM t WHERE b = $b"), (11, "SELECT a FROM t ORDER BY a"),
        (12, "SELECT a, b FROM t"), (19, "SELECT a, b FROM t"), (20, less), (21, less), (22, less),
        (23, "SELECT a, a FROM t WHERE a = ?"), (29, "SELECT a, a FROM t WHERE a = ?"), *((n, prepared) for n in range(30, 34)),
        (40, "INSERT INTO t VALUES (?, ?)"), (41, "SELECT ? AS later"), (50, None), (51, None),
    ]  # fmt: skip
    context = journal.context(2)
    assert (context.driver, context.database, context.connection) == ("node-sqlite3", str(program.database), 1)
    assert [len(journal.context(n).parameters) for n in (1, 2, 3, 10, 20, 30, 31)] == [0, 2, 2, 1, 1, 1, 1]
    assert len({journal.context(n).id for n in range(30, 34)}) == 4


def test_transactions_and_savepoints_decide_what_became_of_statements(program: SqlProgram) -> None:
    journal = program.journal(f"""
        {OPENED}
        const exec = (text) => called(db, 'exec', text);
        const insert = async (n) => {{ await called(db, 'run', 'INSERT INTO t VALUES (?)', n); x[0] = 1000 * n; }};
        await exec("CREATE TABLE t (a PRIMARY KEY); CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT ';'; SELECT 1; END; -- BEGIN;");
        await insert(1);
        await exec('BEGIN'); await insert(2); await insert(3); await exec('COMMIT');
        await exec('BEGIN IMMEDIATE'); await insert(4); await exec('ROLLBACK'); x[0] = 77777;
        await exec('SAVEPOINT a'); await insert(5); await exec('SAVEPOINT b'); await insert(6);
        await exec('ROLLBACK TO SAVEPOINT b'); await insert(7); await exec('RELEASE b'); await exec('RELEASE SAVEPOINT a');
        await insert(8);
        await insert(8).catch(() => {{ x[0] = 88888; }});
        await exec('BEGIN; CREATE TABLE u (a); COMMIT;'); await insert(9);
        await exec('BEGIN'); await insert(10);
        await new Promise((done) => db.close(done));
    """)
    kept = dict.fromkeys((1, 2, 3, 5, 7, 8, 9), "committed")
    assert {n: journal.outcomes.get(journal.context(1000 * n).id) for n in range(1, 11)} == kept | dict.fromkeys(
        (4, 6, 10), "rolled back"
    )
    blamed = dict(journal.blamed())
    assert (blamed[77777], blamed[88888]) == (None, None)


def test_a_hundred_interleaved_flows_never_mix(program: SqlProgram) -> None:
    journal = program.journal(f"""
        {OPENED}
        const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
        async function flow(i) {{
          const note = () => {{ x[0] = i; }}, text = `SELECT ? AS n, 1 AS f${{i}}`;
          const get = (on, ...args) => new Promise((done) => on.get(...args, (error, row) => {{
            if (row.n !== i) throw new Error('wrong row');
            note(); setImmediate(() => {{ note(); done(); }});
          }}));
          await get(db, text, i); note();
          await sleep(i % 5); note();
          const statement = db.prepare(text);
          await get(statement, i); note();
          statement.finalize();
          await new Promise((done) => db.each(text, i, note, done)); note();
        }}
        await Promise.all(Array.from({{ length: 100 }}, (_, i) => flow(i + 1)));
    """)
    blamed = journal.blamed()
    assert len(blamed) == 100 * 9
    assert [pair for pair in blamed if pair[1] != f"SELECT ? AS n, ? AS f{pair[0]}"] == []


SAME = """
    const db = await new Promise((done) => { const db = new sqlite3.Database(config.file, () => done(db)); });
    const order = [];
    const said = (name) => function (error, result) {
      order.push([name, error && `${error.message} ${error.errno}`, result, this?.constructor?.name, this?.changes, this?.lastID]);
    };
    process.on('uncaughtException', (error) => order.push(['uncaught', error.message, error.code]));
    db.on('error', (error) => order.push(['on error', error.message]));
    db.serialize();
    db.run('SELEC', said('selec'));
    db.run('SELEC');
    db.exec('SELEC', said('exec'));
    db.exec('SELEC');
    console.log(db.run('CREATE TABLE t (a NOT NULL)') === db, db.exec('SELECT 1', said('exec')) === db);
    db.run('INSERT INTO t VALUES (?)', [null], said('null'));
    db.run('INSERT INTO t VALUES (?)', [null]);
    db.run('INSERT INTO t VALUES (?), (2)', 1, said('two'));
    db.run('INSERT INTO t VALUES ($a)', { $a: 3 }, said('named'));
    db.run('INSERT INTO t VALUES (?)', 1, 2, said('too many'));
    db.get('SELECT a FROM t', said('get'));
    db.get('SELECT a FROM t WHERE a = 77', said('none'));
    db.all('SELECT a FROM t', said('all'));
    db.map('SELECT a, a FROM t', said('map'));
    db.each('SELECT a FROM t', said('row'), said('complete'));
    db.each('SELEC', said('row'), said('complete'));
    const statement = db.prepare('SELECT a FROM t WHERE a > ?', said('prepared'));
    statement.get(0, said('first')).get(said('second')).reset(said('reset')).all(1, said('rest')).bind(2, said('bound')).all(said('bound rest'));
    statement.finalize(said('finalized'));
    try { statement.get(said('late')); } catch (error) { order.push(['thrown', error.message]); }
    console.log(db.run.name, db.run.length, sqlite3.Statement.prototype.get.name, Object.keys(sqlite3.Database.prototype).join());
    await new Promise((done) => db.wait(done));
    await new Promise((done) => db.close(function (...args) { said('closed').apply(this, args); done(); }));
    db.get('SELECT 1', said('after'));
    db.close();
    await new Promise((done) => setTimeout(done, 50));
    console.log(order.map((each) => JSON.stringify(each)).join('\\n'));
"""


def test_library_behaves_as_it_does_alone(program: SqlProgram) -> None:
    traced = program.run(SAME)
    (program.node.folder / "test.db").unlink()
    (program.node.folder / "node_modules" / "@memwatch" / "sql-node-sqlite3").unlink()
    assert program.run(SAME) == traced
    assert traced.count("\n") > 30
