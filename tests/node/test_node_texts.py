"""A script that bears a file's name has that file's lines only if it says what the file says. Evaluated code has its own."""

from __future__ import annotations

import json
import subprocess

import pytest
from nodejs import ONCE, ROOT, Journal, Node, environment, records, unfit

NAMED = """\
const fs = require('node:fs');
const path = require('node:path');
const vm = require('node:vm');
const { watch } = require('@memwatch/node');

const source = 'function keep(a, b) {\\n  return a; // é\\n}\\n\\nfunction store(t, n) {\\n  t[0] = n;\\n}\\nstore';
const flat = source.replace('// é', ';').replaceAll('\\n', ' ');
const LINE = 6;
const many = `// one\\n${'keep(1, 2); // ö\\n'.repeat(3000)}`;
const files = { // name -> what the file says, what the script says, the line of the store if the file has it
  same: [source],
  'a b%20é': [source],
  wrapped: [source, `(() => {${source.replace(/store$/, 'return store')}\\n})()`],
  'wrapped with a name': [source, `(() => {${source.replace(/store$/, 'return store')}\\n\\n//# sourceURL=NAME\\n})()`],
  'wrapped by lines, counted': [source, `(() => {\\n\\n${source.replace(/store$/, 'return store')}\\n})()`, LINE, { lineOffset: -2 }],
  'wrapped by lines, not counted': [source, `(() => {\\n\\n${source.replace(/store$/, 'return store')}\\n})()`, 0],
  'mark of byte order': ['\\ufeff' + source, source],
  carriage: [source.replaceAll('\\n', '\\r\\n')],
  'carriage alone': [source.replaceAll('\\n', '\\r').replace('// é', '')],
  'wrapped carriage': [source.replaceAll('\\n', '\\r\\n'), `(() => {${source.replaceAll('\\n', '\\r\\n').replace(/store$/, 'return store')}\\n})()`],
  separators: [source.replace('// é', '/* \\u2028\\u2029\\u{1f600} */'), undefined, LINE + 2], // lines for V8, too
  'one line taken out': ['// gone\\n' + source, source, 0],
  'one line put in': [source, '// more\\n' + source, 0],
  'lines of the same length changed places': ['// gone\\n// here\\n' + source, '// here\\n' + source, 0],
  'another line is longer': [source, source.replace('return a;', 'return a + b;'), 0],
  'lines taken out below': [source.replace('\\nstore', '\\n\\n\\nstore'), source, 0],
  'much longer': [source, source.replace('\\nstore', '\\n\\n\\n\\n\\n\\n\\nstore'), 0],
  'one line made three': [flat, flat.replace('{   t[0]', '{\\n\\nt[0]'), 0],
  'one line, wrapped': [flat, `(() => {${flat.replace(/store$/, ';return store')}\\n})()`, 1],
  'nothing in the file': ['', source, 0],
  'many lines': [many.replace('// one', source.replace(/store$/, '')) + 'store'],
  'many lines, wrapped': [source.replace(/store$/, '') + many + 'store', `(() => {${source.replace(/store$/, '')}${many}return store\\n})()`],
};
const early = process.argv[2] === 'early';
let total = early ? undefined : watch(new Int32Array(1), { name: 'total' });
const cases = [];
for (const [name, [file, script = file, line = LINE, options = {}]] of Object.entries(files)) {
  const filename = path.join(__dirname, `${name}.js`);
  fs.writeFileSync(filename, file);
  cases.push([name, line, vm.runInThisContext(script.replace('NAME', filename), { filename, ...options })]);
}
for (const filename of ['nowhere.js', '/nowhere/at/all.js', __dirname]) { // no file that says otherwise
  cases.push([filename, LINE, vm.runInThisContext(source, { filename })]);
}
cases.push(['by its URL', 0, (0, eval)(`// more\\n${source}\\n//# sourceURL=${__dirname}/same.js`)]);
cases.push(['with a query', 0, (0, eval)(`// more\\n${source}\\n//# sourceURL=${__dirname}/same.js?type=script`)]);
cases.push(['a bundler\\'s', 0, (0, eval)(`${source}\\n//# sourceURL=webpack:///./src/same.js?`)]);
total ??= watch(new Int32Array(1), { name: 'total' });
cases.forEach(([, , store], i) => store(total, i + 1));
console.log(JSON.stringify(cases.map(([name, line]) => [name, line])));
"""


@pytest.mark.parametrize("when", ["early", "late"])
def test_line_is_exact_where_the_script_says_what_the_file_says_and_nowhere_else(node: Node, when: str) -> None:
    node.write(NAMED)
    cases = json.loads(node.run("program.js", when).stdout)
    events = node.read().of("total")
    assert [event.new for event in events] == [[n + 1] for n in range(len(cases))]
    found = {
        name: (e.exact, e.site.line if e.exact and e.site else 0) for (name, _), e in zip(cases, events, strict=True)
    }
    assert found == {name: (bool(line), line) for name, line in cases}
    assert len(cases) == 28
    assert {event.site.function for event in events if event.site} == {"store"}


EVALUATED = """\
const { watch } = require('@memwatch/node');
const vm = require('node:vm');
const total = globalThis.total = watch(new Int32Array(1), { name: 'total' });
eval('total[0] = 1');
(0, eval)('\\n  total[0] = 2;\\n//# sourceURL=two.js');
new Function('n', 'total[0] = n')(3);
new Function('\\ntotal[0] = 4;\\n//# sourceURL=/app/four.js')();
vm.runInThisContext('\\n total[0] = 5;', 'file:///app/fi%20ve.js?v=1#x');
vm.runInThisContext('\\n\\n total[0] = 6;\\n//# sourceURL=file:///app/six.js?v=1');
(0, eval)('(function get_it() {\\n total[0] = 7; })\\n//# sourceURL=a-file.js')();
(0, eval)('({ get it() {\\n total[0] = 8; } })').it;
"""


def test_evaluated_code_goes_by_its_url_and_counts_as_stack_traces_do(node: Node) -> None:
    """For V8, ``new Function`` writes two lines before the body."""
    node.write(EVALUATED)
    node.run("program.js")
    events = node.read().of("total")
    assert all(event.exact for event in events)
    assert [(e.site.file, e.site.line, e.site.column, e.site.function) for e in events if e.site] == [
        ("<eval>", 1, 10, "<module>"),
        ("two.js", 2, 12, "<module>"),
        ("<eval>", 3, 10, "<anonymous>"),
        ("/app/four.js", 4, 10, "<anonymous>"),
        ("/app/fi ve.js", 2, 11, "<module>"),
        ("/app/six.js", 3, 11, "<module>"),
        ("a-file.js", 2, 11, "get_it"),
        ("<eval>", 2, 11, "get it"),
    ]


TYPED = """\
import { watch } from '@memwatch/node';

interface Row { readonly näme: 'é' | 'ü' }

const total: Int32Array = watch(new Int32Array(1));

function add(n: number, ö?: Row): void {
  total[0] += n;
}
add(5);
"""


def test_types_that_node_blanks_out_itself_move_no_line(node: Node) -> None:
    if node.version < 24:
        pytest.skip("Node.js runs TypeScript from 24 on without a flag")
    node.write(TYPED, "program.ts")
    node.run("program.ts")
    (event,) = node.read().of("total")
    assert event.site
    assert (event.site.line, event.site.function, event.exact) == (8, "add", True)


BOARD = "// the board\n\nexport const unused = 1;\nexport function record(board, n) {\n  board[0] = n;\n}\n"
PROGRAM = "import { record } from './board.js';\nimport { watch } from '@memwatch/node';\n\nrecord(watch(new Int32Array(1), { name: 'board' }), 3);\n"
BUNDLE = """\
const devtools = process.argv.slice(2);
const configuration = (devtool) => ({
  mode: 'development', target: 'node', devtool, context: __dirname, entry: './src/program.js',
  output: { path: `${__dirname}/dist`, filename: `${devtool}.js` },
  externals: { '@memwatch/node': 'commonjs @memwatch/node' },
});
require('webpack')(devtools.map(configuration), (error, stats) => {
  if (error || stats.hasErrors()) throw error ?? new Error(stats.toString());
});
"""
MAPPED = ("eval-source-map", "eval-cheap-source-map", "eval-cheap-module-source-map", "source-map", "inline-source-map")


@ONCE
def test_webpacks_evaluated_modules_have_their_lines_by_map_and_else_are_inexact(node: Node) -> None:
    runners = ROOT / ".node" / "runners" / "node_modules"
    if reason := unfit(runners / "webpack", node.version):
        pytest.skip(f"webpack {reason}")
    (node.folder / "src").mkdir()
    node.write(BOARD, "src/board.js")
    node.write(PROGRAM, "src/program.js")
    node.write(BUNDLE, "bundle.js")
    command = [node.path, "bundle.js", "eval", *MAPPED]
    subprocess.run(command, cwd=node.folder, check=True, env=environment(NODE_PATH=str(runners)))
    found = {}
    for devtool in ("eval", *MAPPED):
        known = set(node.sessions())
        node.run(f"dist/{devtool}.js")
        (session,) = set(node.sessions()) - known
        (event,) = Journal(list(records(session))).events
        assert event.site
        found[devtool] = (event.site.file, event.exact, event.site.line if event.exact else 0)
    board = "webpack:///./src/board.js"
    assert found == {"eval": (board, False, 0)} | dict.fromkeys(MAPPED, (board, True, 5))
