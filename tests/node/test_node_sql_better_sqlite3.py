"""better-sqlite3: every way to run a statement is followed, on files of SQLite."""

from __future__ import annotations

import pytest
from nodejs import Node
from sqlprograms import SqlProgram


@pytest.fixture
def program(node: Node) -> SqlProgram:
    return SqlProgram(node, "better-sqlite3", node.folder / "test.db")


def test_every_way_to_run_a_statement_is_blamed_for_what_is_written_after_it(program: SqlProgram) -> None:
    journal = program.journal("""
        const db = new Database(config.file);
        x[0] = 1;
        db.exec('CREATE TABLE t (a, b)'); x[0] = 2;
        const insert = db.prepare('INSERT INTO t VALUES (?, ?)');
        insert.run(1, 'one'); x[0] = 3;
        insert.run([2, 'two']); x[0] = 4;
        db.prepare('INSERT INTO t VALUES (@a, $b)').run({ a: 3, b: 'three' }); x[0] = 5;
        x[0] = 10 + db.prepare('SELECT a FROM t WHERE b = ?').bind('one').get().a;
        for (const row of db.prepare('SELECT a FROM t ORDER BY a').all()) x[0] = 20 + row.a;
        for (const row of db.prepare('SELECT a, 0 FROM t ORDER BY a').iterate()) x[0] = 30 + row.a;
        for (const row of db.prepare('SELECT a, 1 FROM t ORDER BY a').iterate()) { x[0] = 40 + row.a; break; }
        x[0] = 50 + db.prepare('SELECT count(*) FROM t').pluck().get();
        db.pragma('user_version = 7'); x[0] = 60;
        db.function('seen', (a) => { x[0] = 70 + a; return a; });
        db.prepare('SELECT seen(a) FROM t WHERE a = 2').get();
        db.prepare('SELECT 5 AS last').get(); x[0] = 80;
        db.close(); x[0] = 90;
    """)
    inserted, ordered = "INSERT INTO t VALUES (?, ?)", " FROM t ORDER BY a"
    assert journal.blamed() == [
        (1, None), (2, "CREATE TABLE t (a, b)"), (3, inserted), (4, inserted), (5, "INSERT INTO t VALUES (@a, $b)"),
        (11, "SELECT a FROM t WHERE b = ?"), *((20 + n, f"SELECT a{ordered}") for n in (1, 2, 3)),
        *((30 + n, f"SELECT a, ?{ordered}") for n in (1, 2, 3)), (41, f"SELECT a, ?{ordered}"),
        (53, "SELECT count(*) FROM t"), (60, "PRAGMA user_version = ?"), (72, "SELECT seen(a) FROM t WHERE a = ?"),
        (80, "SELECT ? AS last"), (90, None),
    ]  # fmt: skip
    context = journal.context(3)
    assert (context.driver, context.database, context.connection) == ("better-sqlite3", str(program.database), 1)
    assert len(context.parameters) == 2
    assert len({journal.context(n).id for n in (3, 4)}) == 2
    assert {journal.context(n).id for n in (21, 22, 23)} == {journal.context(22).id}
    assert len(journal.context(5).parameters) == 2


def test_transactions_and_savepoints_decide_what_became_of_statements(program: SqlProgram) -> None:
    journal = program.journal("""
        const db = new Database(config.file);
        const insertion = (n) => { db.prepare('INSERT INTO t VALUES (?)').run(n); x[0] = n; };
        db.transaction(() => db.exec('CREATE TABLE t (a PRIMARY KEY)'))();
        x[0] = 100;
        insertion(1);
        db.exec('BEGIN'); insertion(2); insertion(3); db.exec('COMMIT');
        db.exec('BEGIN'); insertion(4); db.exec('ROLLBACK');
        db.transaction(() => { insertion(5); })();
        try { db.transaction(() => { insertion(6); throw new Error('mine'); })(); } catch {}
        db.transaction(() => {
          insertion(7);
          try { db.transaction(() => { insertion(8); throw new Error('inner'); })(); } catch {}
          insertion(9);
        })();
        try { insertion(9); } catch { x[0] = 101; }
        db.exec('BEGIN'); insertion(10); db.close();
    """)
    kept = dict.fromkeys((1, 2, 3, 5, 7, 9), "committed")
    assert {n: journal.outcomes.get(journal.context(n).id) for n in range(1, 11)} == kept | dict.fromkeys(
        (4, 6, 8, 10), "rolled back"
    )
    blamed = dict(journal.blamed())
    assert (blamed[100], blamed[101]) == (None, None)


SAME = """
    const db = new Database(config.file, { verbose: (text) => console.log(text) });
    const said = (f) => { try { console.log(f()); } catch (error) { console.log(error.name, error.code, error.message); } };
    said(() => db.prepare('SELEC'));
    said(() => db.exec('CREATE TABLE t (a NOT NULL); SELEC'));
    const insert = db.prepare('INSERT INTO t VALUES (?)');
    said(() => insert.run(null));
    said(() => insert.run());
    said(() => insert.run(1, 2));
    said(() => insert.run(1));
    said(() => insert.get(1));
    said(() => db.prepare('SELECT a FROM t').run());
    said(() => db.prepare('SELECT a FROM t').all());
    said(() => db.prepare('SELECT a FROM t WHERE a = @a').get({ a: 1 }));
    const { run } = insert;
    said(() => run(1));
    said(() => db.transaction(async () => 1)());
    said(() => db.transaction((a) => a * 2).immediate(4));
    said(() => db.pragma('journal_mode', { simple: true }));
    said(() => [...db.prepare('SELECT 1 AS a').raw().iterate()][0]);
    said(() => { for (const _ of db.prepare('SELECT 1 UNION SELECT 2').iterate()) insert.run(5); });
    said(() => insert.run.name + insert.run.length + Database.prototype.exec.length + Object.keys(Database.prototype));
    db.close();
    said(() => insert.run(1));
    said(() => db.exec('SELECT 1'));
    said(() => db.transaction(() => 1)());
    said(() => db.close() === db);
"""


def test_library_behaves_as_it_does_alone(program: SqlProgram) -> None:
    traced = program.run(SAME)
    (program.node.folder / "test.db").unlink()
    (program.node.folder / "node_modules" / "@memwatch" / "sql-better-sqlite3").unlink()
    assert program.run(SAME) == traced
    assert traced.count("\n") > 20
