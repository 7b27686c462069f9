"""A generated program's events lead to the lines that people wrote; a bad map changes nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from nodejs import PACKAGE, PROGRAMS, VERSIONS, Node, environment, executable


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """programs/typescript, by two compilers, in every form in which maps come."""
    folder = tmp_path_factory.mktemp("typescript") / "app"
    shutil.copytree(PROGRAMS / "typescript", folder)
    node = next((path for version in VERSIONS if (path := executable(version)).exists()), None)
    packages = PACKAGE / "node_modules"
    if node is None or not (packages / "esbuild").exists():
        pytest.skip("Node.js, TypeScript or esbuild isn't here: make node installs them")
    subprocess.run([node, "compile.js", packages], cwd=folder, check=True, env=environment())
    return folder


@pytest.mark.parametrize(
    "program",
    [
        "commonjs/program.js",
        "module/program.js",
        "root/program.js",
        "inline/program.js",
        "bundle/program.js",
        "bundle/program.mjs",
    ],
)
def test_store_of_a_compiled_program_has_the_line_that_was_written(node: Node, compiled: Path, program: str) -> None:
    shutil.copytree(compiled, node.folder, dirs_exist_ok=True)
    node.run(program)
    journal = node.read()
    board, main = (str(node.folder / "src" / name) for name in ("board.ts", "program.ts"))
    assert {(e.site.file, e.site.line, e.site.function, e.exact) for e in journal.events if e.site} == {
        (board, 10, "record", True),
        (main, 6, "average", True),
        (main, 13, "<module>", True),
    }
    assert len(journal.events) == 3002
    (watched,) = journal.watched
    site = watched.variable.watched_at
    assert site
    assert (watched.variable.name, site.file, site.line) == ("board", board, 7)


EVALUATED = """\
const { watch } = require('@memwatch/node');
const vm = require('node:vm');
const total = watch(new Int32Array(4));
globalThis.total = total;
function encoded(map) {
  return 'data:application/json;charset=utf-8;base64,' + Buffer.from(JSON.stringify(map)).toString('base64');
}
const whole = { version: 3, sources: ['/a/whole.ts'], names: [], mappings: 'AAIE' };
const sectioned = { version: 3, sections: [
  { offset: { line: 0, column: 0 }, map: { ...whole, sources: ['webpack://app/./a.ts'] } },
  { offset: { line: 1, column: 2 }, map: { ...whole, sources: [null, 'b \\u00e9.ts'], sourceRoot: 'file:///b', mappings: 'ACEA' } },
] };
(0, eval)(`total[0] = 1;\\n//# sourceURL=/app/one.js\\n//# sourceMappingURL=${encoded(whole)}`);
vm.runInThisContext(`total[0] = 2;\\n  total[0] = 3;\\n//# sourceMappingURL=${encoded(sectioned)}`, '/app/two.js');
vm.runInThisContext('total[0] = 4;\\n//@ sourceMappingURL=data:application/json,' + encodeURIComponent(JSON.stringify(whole)));
const late = new vm.Script(`(function late() {\\n\\n total[0] = 5; })\\n//# sourceMappingURL=${encoded(whole)}`, '/app/four.js');
late.runInThisContext()();
"""


def test_maps_of_evaluated_code_and_of_sections_are_followed_and_unmapped_lines_stay(node: Node) -> None:
    node.write(EVALUATED)
    node.run("program.js")
    assert [(e.site.file, e.site.line, e.exact) for e in node.read().of("total") if e.site] == [
        ("/a/whole.ts", 5, True),
        ("webpack://app/./a.ts", 5, True),
        ("/b/b \u00e9.ts", 3, True),
        ("/a/whole.ts", 5, True),
        ("/app/four.js", 3, True),
    ]


UNSOUND = """\
const { watch } = require('@memwatch/node');
const fs = require('node:fs');
const vm = require('node:vm');
const total = watch(new Int32Array(1));
globalThis.total = total;
let n = 0;
function store(url) {
  vm.runInThisContext(`total[0] = ${++n};\\n//# sourceMappingURL=${url}`, `${__dirname}/generated.js`);
}
const data = (text) => 'data:application/json;base64,' + Buffer.from(text).toString('base64');
const map = { version: 3, sources: ['a.ts'], names: ['f'], mappings: 'AAAAA' };
const changed = (fields) => data(JSON.stringify({ ...map, ...fields }));

for (const mappings of ['AAAAAAAA', 'AA', 'ACAA', 'AADA', 'A!', 'gggggggggggggB', 'AAAAC', '/////////D', 5, null, {}, ['AAAA']]) {
  store(changed({ mappings }));
}
for (const sources of [[], null, 'a.ts', [null], [''], [5], ['a\\nb.ts'], ['\\u001b[31m.ts'], ['x'.repeat(5000)], {}]) {
  store(changed({ sources }));
}
for (const text of ['', '{', 'null', '[]', '"x"', '{}', '{"mappings"', '{"mappings":"AAAA",}', '['.repeat(1e6), '{"a":'.repeat(1e5),
  `{"x":${'['.repeat(1e5)}${']'.repeat(1e5)}}`, JSON.stringify(map) + 'x', '{"mappings":"\\\\ud8', '\\u0000', ')]}']) store(data(text));
for (const sections of [[{}], [5], [{ map }], [{ map, offset: { line: 0, column: 0 } }],
  [{ offset: { line: -1, column: 0 }, map }], [{ offset: { line: 1e300, column: 0 }, map }], [{ offset: { line: 0, column: 0 }, map: { sections: [] } }],
]) store(data(JSON.stringify({ version: 3, sections })));
fs.mkdirSync('folder.map');
require('node:child_process').execFileSync('mkfifo', ['pipe.map']);
fs.writeFileSync('secret.map', JSON.stringify(map), { mode: 0 });
for (const url of ['missing.map', 'folder.map', 'pipe.map', '/dev/zero', '/dev/stdin', '%00', 'http://localhost:1/x.map', 'file:///', 'data:',
  'data:text/plain,x', 'data:application/json;base64,!!!', '%', '..', '/', 'x'.repeat(100000)]) store(url);

// Every change of a byte of a sound one: whatever comes of it, nothing breaks.
const sound = JSON.stringify({ ...map, sourceRoot: '/r', sources: ['a.ts', '\\\\u00e9'], mappings: 'AAAAA,SCCA;;EAAA' });
const told = n;
for (let i = 0; i < sound.length; i++) {
  for (const c of ['', '"', '\\\\', '9', '\\u0000', 'g', '}']) store(data(sound.slice(0, i) + c + sound.slice(i + 1)));
}
console.log(total[0] === n, n - told, told);
"""


def test_unsound_map_changes_neither_the_program_nor_what_is_read(node: Node) -> None:
    node.write(UNSOUND)
    done = node.run("program.js")
    held, mutated, told = done.stdout.split()
    assert (held, done.stderr) == ("true", "")
    assert int(mutated) > 600
    events = node.read().of("total")
    assert [event.new for event in events] == [[n] for n in range(1, int(mutated) + int(told) + 1)]
    generated = str(node.folder / "generated.js")
    assert {(e.site.file, e.site.line) for e in events[: int(told)] if e.site} == {(generated, 1)}
    assert all(e.site and e.site.file.isprintable() and len(e.site.file) < 5000 for e in events)
