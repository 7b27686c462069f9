"""What drivers publish gets its meaning: statements in flows, parts, windows, transactions, whatever the driver does."""

from __future__ import annotations

import textwrap

import pytest
from nodejs import ONCE, Journal, Node

pytestmark = ONCE
HEAD = """
    const { watch } = require('@memwatch/node');
    const path = require('node:path');
    const { tracer } = require(path.join(path.dirname(require.resolve('@memwatch/node')), 'sql', 'drivers.js'));
    const x = watch(new Int32Array(1), { trackSQL: true, name: 'x' });
    const connection = { name: 'mine' }, sleep = (ms) => new Promise((done) => setTimeout(done, ms));
    const begin = (statement, more = {}) => tracer.begin({ driver: 'dbx', statement, connection, dialect: 'postgresql', ...more });
    const ran = (statement, ends = {}, more = {}) => { const token = begin(statement, more); tracer.end(token, ends); return token; };
    process.on('exit', () => { if (tracer.troubles) console.error('troubles', tracer.troubles); });
"""


def journal(node: Node, body: str) -> Journal:
    node.write(f"{textwrap.dedent(HEAD)}\n(async () => {{ {body} }})();")
    done = node.run("program.js")
    assert done.stderr == ""
    return node.read()


def test_parts_and_expected_statements_are_one_with_the_whole(node: Node) -> None:
    read = journal(node, """
        const orm = begin('SELECT whole', { driver: 'orm' });
        await tracer.within(async () => {
          await sleep(1);
          const part = begin('SELECT part'); x[0] = 1;
          tracer.end(part, { rows: 5, inTransaction: false });
        }, { token: orm });
        tracer.end(orm); x[0] = 2;
        const found = tracer.within(async () => { await sleep(1); const t = begin('SELECT later'); await sleep(1); tracer.end(t); x[0] = 3; ran('SELECT second'); x[0] = 4; }, { driver: 'orm' });
        x[0] = 5;                                           // it hasn't begun
        await found; x[0] = 6;
        const nested = tracer.within(() => tracer.within(() => ran('SELECT deep'))); x[0] = 7;
        const own = tracer.within((own) => { const callback = own(() => { ran('SELECT of the program'); x[0] = 8; }); return () => callback(); });
        own(); x[0] = 9;
        tracer.within(() => { throw new Error('theirs'); }) === 0 || 0;
    """.replace("tracer.within(() => { throw new Error('theirs'); }) === 0 || 0;", "try { tracer.within(() => { throw new Error('theirs'); }); } catch (error) { if (error.message !== 'theirs') throw error; }"))  # fmt: skip
    assert dict(read.blamed()) == {
        1: "SELECT whole", 2: "SELECT whole", 3: "SELECT later", 4: "SELECT second", 5: None, 6: "SELECT second",
        7: "SELECT deep", 8: "SELECT of the program", 9: None,
    }  # fmt: skip
    assert [read.context(n).driver for n in (1, 3, 4, 7)] == ["orm", "orm", "dbx", "dbx"]


def test_rows_bring_a_statement_back_and_closing_ends_it(node: Node) -> None:
    read = journal(node, """
        const outer = begin('SELECT outer'); tracer.end(outer, { fetchable: true });
        tracer.fetched(outer, 1, { enter: true }); x[0] = 1;
        const inner = ran('SELECT inner', { fetchable: true }); x[0] = 2;
        tracer.fetched(outer, 1, { enter: true }); x[0] = 3;
        tracer.transactionEnds(connection, 'committed'); x[0] = 4;
        tracer.fetched(outer, 1, { enter: true }); x[0] = 5;
        tracer.cursorClosed(outer); x[0] = 6;
        tracer.cursorClosed(inner); tracer.cursorClosed(null); tracer.end(null); tracer.fetched(null, 1);
    """)  # fmt: skip
    assert dict(read.blamed()) == {
        1: "SELECT outer", 2: "SELECT inner", 3: "SELECT outer", 4: None, 5: "SELECT outer", 6: None,
    }  # fmt: skip
    assert read.outcomes[read.context(3).id] == "committed"


def test_cursor_that_is_closed_with_all_its_rows_fetched_leaves_its_statement_in_force(node: Node) -> None:
    """As in Python: who has all rows closes the cursor at once, and uses them afterwards."""
    read = journal(node, """
        const rows = (name) => { const token = ran(name, { fetchable: true }); tracer.fetched(token, 1, { enter: true }); return token; };
        tracer.cursorClosed(rows('SELECT left')); x[0] = 1;
        tracer.cursorClosed(rows('SELECT counted'), true); x[0] = 2;
        const last = rows('SELECT exhausted'); tracer.fetched(last, 0, { exhausted: true }); tracer.cursorClosed(last); x[0] = 3;
        tracer.cursorClosed(ran('INSERT none')); x[0] = 4;
    """)  # fmt: skip
    assert dict(read.blamed()) == {1: None, 2: "SELECT counted", 3: "SELECT exhausted", 4: "INSERT none"}


def test_transactions_without_a_word_of_the_server_follow_the_texts(node: Node) -> None:
    read = journal(node, """
        ran('BEGIN'); ran('INSERT 1'); x[0] = 1; ran('SAVEPOINT "A"'); ran('INSERT 2'); x[0] = 2;
        ran('ROLLBACK TO "A"'); ran('INSERT 3'); x[0] = 3; ran('COMMIT'); x[0] = 4;
        ran('BEGIN'); ran('INSERT 5'); x[0] = 5;
        tracer.savepoint(connection, 'b', 'set'); ran('INSERT 6'); x[0] = 6; tracer.savepoint(connection, 'b', 'rolled back');
        tracer.savepoint(connection, 'b', 'released'); ran('INSERT 7'); x[0] = 7;
        tracer.transactionEnds(connection, 'rolled back');
        ran('BEGIN'); ran('INSERT 8'); x[0] = 8; ran('INSERT 9', { error: new RangeError('secret') }); x[0] = 9;
        tracer.transactionEnds(connection, 'closed');
        ran('COMMIT', { inTransaction: true }); ran('SELECT 10', { inTransaction: false }); x[0] = 10;
        ran('BEGIN; INSERT 11; ROLLBACK; SELECT 11'); x[0] = 11;
    """)  # fmt: skip
    outcomes = {n: read.outcomes.get(read.context(n).id) for n in (1, 2, 3, 5, 6, 7, 8, 10)}
    rolled = dict.fromkeys((2, 5, 6, 7, 8), "rolled back")
    assert outcomes == {1: "committed", 3: "committed", 10: "committed"} | rolled
    assert dict(read.blamed())[4] is None
    assert dict(read.blamed())[9] is None


def test_connection_that_is_dropped_rolls_back_and_leaves_its_last_rows(node: Node) -> None:
    node.write(f"""{HEAD}
        (async () => {{
          let mine = {{}}, other = {{}};
          ran('INSERT 1', {{ inTransaction: true }}, {{ connection: mine }}); x[0] = 1; mine = null;
          await sleep(1);
          ran('SELECT 2', {{ inTransaction: false }}, {{ connection: other }}); other = null;
          for (let i = 0; i < 5; i++) {{ global.gc(); await sleep(5); }}
          x[0] = 2;
        }})();
    """)
    node.run("--expose-gc", "program.js")
    read = node.read()
    assert read.outcomes[read.context(1).id] == "rolled back"
    assert read.context(2).statement == "SELECT ?"


def test_statement_ends_with_any_collection_once_no_flow_has_it(node: Node) -> None:
    """V8's registry of what was collected speaks after full collections only, and keeps what it registers until then."""
    node.write(f"""{HEAD}
        const fs = require('node:fs');
        const [folder] = fs.readdirSync('.memwatch'), ended = () => {{
          const [file] = fs.readdirSync(path.join('.memwatch', folder)).filter((name) => name.endsWith('.mwj'));
          return fs.readFileSync(path.join('.memwatch', folder, file), 'latin1').split('"outcome":"ended"').length - 1;
        }};
        (async () => {{
          for (let i = 0; i < 20; i++) {{
            setTimeout(() => {{ ran('INSERT 1', {{ inTransaction: true }}); x[0] = i; }}, 0);
            await sleep(1);
          }}
          for (let i = 0; i < 3; i++) {{ global.gc({{ type: 'minor' }}); await sleep(1); }}
          ran('SELECT 2', {{ inTransaction: true }});
          console.log(ended() >= 15);
        }})();
    """)
    assert node.run("--expose-gc", "program.js").stdout == "true\n"


def test_name_of_an_error_is_kept_whatever_is_in_it(node: Node) -> None:
    read = journal(node, r"""
        const names = ['Plain', '"\\', 'x'.repeat(300), '\u0001'.repeat(300), 'é😀\ud800'.repeat(100), 'toString'];
        names.forEach((name, i) => {
          const error = new (Object.defineProperty(class extends Error {}, 'name', { value: name }))('secret');
          const token = begin('SELECT 1'); x[0] = i; tracer.end(token, { error, inTransaction: false });
        });
    """)  # fmt: skip
    kept = [read.outcomes[event.context.id] for event in read.events if event.context]
    names = ["Plain", '"\\', "x" * 200, "\x01" * 200]
    assert kept[:4] == [f"failed: {name}" for name in names]
    assert kept[4].startswith("failed: é😀?")
    assert kept[5] == "failed: toString"


@pytest.mark.parametrize("named", ["contexts", "program"])
def test_what_a_callback_enters_stays_as_it_does_untraced(node: Node, named: str) -> None:
    """A callback of the driver's runs in the statement's flow, in a context of AsyncLocalStorage's that is put back."""
    read = journal(node, f"""
        const {{ AsyncLocalStorage }} = require('node:async_hooks'), theirs = new AsyncLocalStorage();
        const token = ran('SELECT a'); theirs.enterWith('before'); ran('SELECT b');
        const told = [];
        tracer.run(token, () => {{ told.push(theirs.getStore()); x[0] = 1; {"theirs.enterWith('inside');" * (named == "program")} }}); x[0] = 2;
        told.push(theirs.getStore());
        tracer.run(token, () => {{ {"ran('SELECT c');" * (named == "contexts")} theirs.run('nested', () => {{ x[0] = 3; }}); }}); x[0] = 4;
        await null; x[0] = 5;
        told.push(theirs.getStore());
        if (told.join() !== '{"before,inside,inside" if named == "program" else "before,before,before"}') throw new Error(told.join());
    """)  # fmt: skip
    inside = "SELECT c" if named == "contexts" else "SELECT a"
    assert dict(read.blamed()) == {1: "SELECT a", 2: "SELECT b", 3: inside, 4: "SELECT b", 5: "SELECT b"}


def test_flows_of_callbacks_and_connections(node: Node) -> None:
    read = journal(node, """
        const { EventEmitter } = require('node:events');
        const bus = new EventEmitter();
        const token = ran('SELECT a');
        const bound = tracer.bind(() => { x[0] = 1; });
        tracer.outside(() => setTimeout(() => { x[0] = 2; bus.emit('go'); }, 1));
        await new Promise((done) => bus.once('go', () => tracer.run(token, () => { x[0] = 3; setImmediate(() => { x[0] = 4; done(); }); })));
        ran('SELECT b'); bound(); x[0] = 5;
        tracer.run(token, () => { ran('SELECT c'); x[0] = 6; }); x[0] = 7;
    """)  # fmt: skip
    assert dict(read.blamed()) == {
        1: "SELECT a", 2: None, 3: "SELECT a", 4: "SELECT a", 5: "SELECT b", 6: "SELECT c", 7: "SELECT b",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("'shop'", "shop"),
        ("'postgres://u:p@h/shop'", "?"),
        ("'password=x'", "?"),
        ("() => 'x'.repeat(300)", "x" * 200),
        ("5", ""),
    ],
)
def test_connection_strings_are_not_kept(node: Node, given: str, shown: str) -> None:
    read = journal(node, f"ran('SELECT 1', {{}}, {{ database: {given}, server: () => undefined }}); x[0] = 1;")
    assert (read.context(1).database, read.context(1).server) == (shown, "")


def test_odd_arguments_are_survived(node: Node) -> None:
    node.write(f"""{HEAD}
        const odd = [undefined, null, 5, 5n, '', 'x'.repeat(1e6), Symbol('s'), {{}}, [], () => {{ throw new Error('no'); }}, new Proxy({{}}, {{ get() {{ throw new Error('no'); }} }})];
        for (const a of odd) for (const b of odd) {{
          const token = tracer.begin({{ driver: 'dbx', statement: a, parameters: b, connection: typeof a === 'object' ? a : {{}}, dialect: 'sqlite', database: b }});
          tracer.end(token, {{ rows: NaN, error: b || undefined }});
          tracer.begin(a); tracer.end(a, b ?? undefined); tracer.fetched(a, 1); tracer.cursorClosed(a); tracer.transactionEnds(a, b); tracer.savepoint(a, b, b);
        }}
        x[0] = 1;
        console.log('done', tracer.troubles > 0);
    """)
    done = node.run("program.js")
    assert done.stdout == "done true\n"
    assert done.stderr.count("memwatch: ") == 1
